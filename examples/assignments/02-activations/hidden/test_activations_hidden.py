"""Hidden tests of assignment 2: other shapes, other numbers, the ends of the range."""

import numpy as np
import pytest

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "activations.py")


@pytest.mark.parametrize("shape", [(1, 1), (2, 3, 4, 5), (50,)])
def test_task_2_1_relu_in_other_shapes(shape):
    check_layer(mine.ReLU(), 3 * seeded(11).normal(size=shape))
    x = np.linspace(-1, 2, np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(mine.ReLU().forward(x.copy()), (np.abs(x) + x) / 2)


def test_task_2_1_relu_has_the_slope_0_at_0():
    relu = mine.ReLU()
    relu.forward(np.array([[0.0, 1, 0], [2, 0, 0]]))
    np.testing.assert_array_equal(relu.backward(np.ones((2, 3))), [[0, 1, 0], [1, 0, 0]])


def test_task_2_1_relu_stays_float32():
    y = mine.ReLU().forward(np.float32([[1, -2]]))
    assert y.dtype == np.float32 and y.tolist() == [[1, 0]]


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.5])
def test_task_2_2_leaky_relu_with_any_slope(slope):
    x = seeded(12).normal(size=(5, 6))
    expected = np.where(x > 0, x, slope * x)
    np.testing.assert_allclose(mine.LeakyReLU(slope).forward(x), expected, rtol=1e-12)
    check_layer(mine.LeakyReLU(slope), x)


def test_task_2_2_leaky_relu_leaks_a_hundredth_unless_told_otherwise():
    np.testing.assert_allclose(mine.LeakyReLU().forward(np.array([-1.0, 1.0])), [-0.01, 1])


def test_task_2_3_tanh_in_other_shapes():
    check_layer(mine.Tanh(), 0.5 * seeded(13).normal(size=(2, 3, 4)))


def test_task_2_3_tanh_survives_large_numbers():
    tanh = mine.Tanh()
    np.testing.assert_array_equal(tanh.forward(np.array([-1e4, 1e4])), [-1, 1])
    np.testing.assert_array_equal(tanh.backward(np.ones(2)), [0, 0])


def test_task_2_4_gelu_in_other_shapes():
    check_layer(mine.GELU(), 2 * seeded(14).normal(size=(3, 2, 4)))


def test_task_2_4_gelu_far_out_is_x_or_nothing():
    gelu = mine.GELU()
    np.testing.assert_allclose(gelu.forward(np.array([-40.0, 40.0])), [0, 40], atol=1e-12)
    np.testing.assert_allclose(gelu.backward(np.ones(2)), [0, 1], atol=1e-12)
