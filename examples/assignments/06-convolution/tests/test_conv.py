"""Visible tests of assignment 6. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np
import pytest

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "conv.py")


def by_loops(x, weight, bias, stride, padding):
    """The definition, one window after the other."""
    N, O, K = len(x), len(weight), weight.shape[2]
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    P, Q = (x.shape[2] - K) // stride + 1, (x.shape[3] - K) // stride + 1
    y = np.zeros((N, O, P, Q))
    for p in range(P):
        for q in range(Q):
            window = x[:, :, stride * p : stride * p + K, stride * q : stride * q + K]
            y[:, :, p, q] = np.tensordot(window, weight, ((1, 2, 3), (1, 2, 3))) + bias
    return y


def test_task_6_1_columns_of_a_small_image():
    columns = mine.im2col(np.arange(12.0).reshape(1, 1, 3, 4), 2, 1, 0)
    assert columns.shape == (1, 1, 2, 2, 2, 3)
    np.testing.assert_array_equal(columns[0, 0, 0, 0], [[0, 1, 2], [4, 5, 6]])
    np.testing.assert_array_equal(columns[0, 0, 1, 0], [[4, 5, 6], [8, 9, 10]])


def test_task_6_1_padding_puts_zeros_around():
    columns = mine.im2col(np.ones((1, 1, 3, 3)), 3, 1, 1)
    np.testing.assert_array_equal(columns[0, 0, 0, 0], [[0, 0, 0], [0, 1, 1], [0, 1, 1]])


def test_task_6_2_a_pixel_gets_the_sum_of_its_windows():
    image = mine.col2im(np.ones((1, 1, 2, 2, 2, 2)), (1, 1, 3, 3), 1, 0)
    np.testing.assert_array_equal(image[0, 0], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])


def test_task_6_3_forward_is_the_definition():
    conv, x = mine.Conv2d(3, 4, 3, stride=2, padding=1, seed=1), seeded(1).normal(size=(2, 3, 6, 7))
    conv.bias.data[...] = [1, 2, 3, 4]
    expected = by_loops(x, conv.weight.data, conv.bias.data, 2, 1)
    np.testing.assert_allclose(conv.forward(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stride, padding", [(1, 0), (2, 1)])
def test_task_6_4_backward_is_the_derivative(stride, padding):
    check_layer(mine.Conv2d(2, 3, 3, stride, padding), seeded(2).normal(size=(2, 2, 6, 5)), comparisons=150)
