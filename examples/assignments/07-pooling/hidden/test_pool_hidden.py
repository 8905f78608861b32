"""Hidden tests of assignment 7: ties, windows that do not tile, negative images."""

import numpy as np
import pytest

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "pool.py")
CASES = [(2, 1), (2, 3), (3, 1), (1, 2), (4, 3)]


def windows(x, K, stride):
    return np.lib.stride_tricks.sliding_window_view(x, (K, K), axis=(2, 3))[:, :, ::stride, ::stride]


@pytest.mark.parametrize("K, stride", CASES)
def test_task_7_1_other_windows_of_negative_numbers(K, stride):
    x = seeded(11).normal(-5, 1, size=(2, 2, 8, 9))
    np.testing.assert_array_equal(mine.MaxPool2d(K, stride).forward(x), windows(x, K, stride).max(axis=(4, 5)))


def test_task_7_1_float32_stays():
    y = mine.MaxPool2d(2, 2).forward(np.ones((1, 1, 4, 4), np.float32))
    assert y.dtype == np.float32 and y.tolist() == [[[[1, 1], [1, 1]]]]


@pytest.mark.parametrize("K, stride", CASES)
def test_task_7_2_the_derivative_for_other_windows(K, stride):
    check_layer(mine.MaxPool2d(K, stride), seeded(12).normal(size=(2, 2, 8, 9)), comparisons=150)


def test_task_7_2_of_equal_numbers_the_first_wins_alone():
    pool = mine.MaxPool2d(2, 2)
    pool.forward(np.zeros((1, 1, 4, 4)))
    dx = pool.backward(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]))
    np.testing.assert_array_equal(dx[0, 0], [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("K, stride", CASES)
def test_task_7_3_other_windows(K, stride):
    x = seeded(13).normal(size=(2, 2, 8, 9))
    pool = mine.AvgPool2d(K, stride)
    np.testing.assert_allclose(pool.forward(x), windows(x, K, stride).mean(axis=(4, 5)), rtol=1e-9, atol=1e-12)
    check_layer(pool, x, comparisons=150)


def test_task_7_3_float32_stays():
    y = mine.AvgPool2d(2, 2).forward(np.ones((1, 1, 4, 4), np.float32))
    assert y.dtype == np.float32 and y.tolist() == [[[[1, 1], [1, 1]]]]
