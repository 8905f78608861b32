"""Visible tests of assignment 7. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np
import pytest

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "pool.py")
IMAGE = np.array([[[[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 8.0, 1.0], [7.0, 6.0, 0.0, 2.0]]]])


def test_task_7_1_the_largest_of_each_window():
    np.testing.assert_array_equal(mine.MaxPool2d(2, 1).forward(IMAGE.copy())[0, 0], [[5, 8, 8], [7, 8, 8]])


def test_task_7_2_one_pixel_that_wins_three_times_gets_three():
    pool = mine.MaxPool2d(2, 1)
    pool.forward(IMAGE.copy())
    dx = pool.backward(np.array([[[[1.0, 10.0, 100.0], [0.5, 1000.0, 10000.0]]]]))
    np.testing.assert_array_equal(dx[0, 0], [[0, 1, 0, 0], [0, 0, 11110, 0], [0.5, 0, 0, 0]])


@pytest.mark.parametrize("K, stride", [(2, 2), (3, 2)])
def test_task_7_2_backward_is_the_derivative(K, stride):
    check_layer(mine.MaxPool2d(K, stride), seeded(1).normal(size=(2, 3, 7, 6)))


def test_task_7_3_the_mean_of_each_window():
    y = mine.AvgPool2d(2, 1).forward(IMAGE.copy())
    np.testing.assert_allclose(y[0, 0], [[3.25, 4.75, 2.75], [5, 4.5, 2.75]])


@pytest.mark.parametrize("K, stride", [(2, 2), (3, 2)])
def test_task_7_3_backward_is_the_derivative(K, stride):
    check_layer(mine.AvgPool2d(K, stride), seeded(2).normal(size=(2, 3, 7, 6)))
