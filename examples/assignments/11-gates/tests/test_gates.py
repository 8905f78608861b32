"""Visible tests of assignment 11. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np
import pytest

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "gates.py")


def test_task_11_1_a_closed_gate_hands_x_on():
    x = seeded(1).normal(size=(3, 4))
    np.testing.assert_allclose(mine.Highway(4, gate_bias=-50.0).forward(x), x, rtol=1e-9)
    assert np.all(np.abs(mine.Highway(4, gate_bias=50.0).forward(3 * x)) <= 1), "an open gate hands on h, a tanh"


def test_task_11_1_backward_is_the_derivative():
    check_layer(mine.Highway(4, gate_bias=-1.0), seeded(2).normal(size=(3, 4)))


def test_task_11_2_the_gate_and_its_bias():
    np.testing.assert_allclose(mine.closed_bias(0.5), 0, atol=1e-12)
    assert mine.mean_gate(mine.Highway(3, -2.0), np.zeros((2, 3))) == pytest.approx(1 / (1 + np.exp(2)), rel=1e-9)


def test_task_11_3_every_channel_has_its_own_factor():
    layer, x = mine.SqueezeExcite(3, 2), seeded(3).normal(size=(2, 3, 4, 5))
    factor = layer.forward(x) / x
    assert np.ptp(factor, axis=(2, 3)).max() < 1e-9 and factor.min() > 0 and factor.max() < 1


def test_task_11_3_backward_is_the_derivative():
    check_layer(mine.SqueezeExcite(4, 3), seeded(4).normal(size=(2, 4, 3, 2)))
