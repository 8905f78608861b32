"""Hidden tests of assignment 11."""

import numpy as np
import pytest

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "gates.py")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_task_11_1_highway_is_the_mixture():
    layer, x = mine.Highway(3, gate_bias=0.3, seed=5), seeded(11).normal(size=(4, 3))
    layer.bias_h.data[...] = [0.1, -0.2, 0.3]
    h = np.tanh(x @ layer.weight_h.data.T + layer.bias_h.data)
    t = sigmoid(x @ layer.weight_t.data.T + layer.bias_t.data)
    np.testing.assert_allclose(layer.forward(x), t * h + (1 - t) * x, rtol=1e-9)


@pytest.mark.parametrize("shape, bias", [((1, 2), 0.0), ((6, 5), -3.0), ((2, 3), 2.0)])
def test_task_11_1_the_derivative_elsewhere(shape, bias):
    check_layer(mine.Highway(shape[1], bias, seed=6), seeded(12).normal(size=shape))


@pytest.mark.parametrize("mean", [0.01, 0.3, 0.9])
def test_task_11_2_the_inverse_of_the_sigmoid(mean):
    np.testing.assert_allclose(sigmoid(mine.closed_bias(mean)), mean, rtol=1e-9)


def test_task_11_2_the_mean_gate_depends_on_x():
    layer, x = mine.Highway(3, -1.0, seed=7), seeded(13).normal(size=(50, 3))
    expected = np.mean(sigmoid(x @ layer.weight_t.data.T + layer.bias_t.data))
    assert mine.mean_gate(layer, x) == pytest.approx(expected, rel=1e-9)


def test_task_11_3_squeeze_and_excite():
    layer, x = mine.SqueezeExcite(4, 2, seed=8), seeded(14).normal(size=(2, 4, 3, 3))
    e = sigmoid(np.maximum(x.mean(axis=(2, 3)) @ layer.weight1.data.T, 0) @ layer.weight2.data.T)
    np.testing.assert_allclose(layer.forward(x), e[:, :, None, None] * x, rtol=1e-9)


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (3, 5, 2, 4)])
def test_task_11_3_the_derivative_elsewhere(shape):
    check_layer(mine.SqueezeExcite(shape[1], 3, seed=9), 2 * seeded(15).normal(size=shape) + 0.5)
