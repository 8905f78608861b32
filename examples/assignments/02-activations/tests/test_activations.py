"""Visible tests of assignment 2. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np
import pytest

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "activations.py")
X = np.array([-3.0, -0.5, -0.1, 0.2, 1.0, 4.0])


def test_task_2_1_relu_keeps_what_is_positive():
    y = mine.ReLU().forward(X.copy())
    np.testing.assert_array_equal(y, [0, 0, 0, 0.2, 1, 4])


def test_task_2_1_backward_of_relu_is_its_derivative():
    check_layer(mine.ReLU(), seeded(1).normal(size=(3, 4, 5)))


def test_task_2_2_leaky_relu_keeps_a_part_of_what_is_negative():
    y = mine.LeakyReLU(slope=0.1).forward(X.copy())
    np.testing.assert_allclose(y, [-0.3, -0.05, -0.01, 0.2, 1, 4], rtol=1e-12)


@pytest.mark.parametrize("slope", [0.01, 0.3])
def test_task_2_2_backward_of_leaky_relu_is_its_derivative(slope):
    check_layer(mine.LeakyReLU(slope), seeded(2).normal(size=(3, 7)))


def test_task_2_3_tanh_squashes_into_minus_one_to_one():
    y = mine.Tanh().forward(np.array([-100.0, -1.0, 0.0, 1.0, 100.0]))
    np.testing.assert_allclose(y, [-1, -0.7615941559557649, 0, 0.7615941559557649, 1], rtol=1e-12)


def test_task_2_3_backward_of_tanh_is_its_derivative():
    check_layer(mine.Tanh(), seeded(3).normal(size=(4, 6)))


def test_task_2_4_gelu_weighs_x_by_a_probability():
    y = mine.GELU().forward(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
    expected = [-0.04550026389635842, -0.15865525393145707, 0, 0.8413447460685429, 1.9544997361036416]
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-15)


def test_task_2_4_backward_of_gelu_is_its_derivative():
    check_layer(mine.GELU(), seeded(4).normal(size=(4, 6)))
