"""Visible tests of assignment 1. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np
import pytest

from minires.course import seeded, submitted

mine = submitted(__file__, "arrays.py")


def test_task_1_1_columns_have_mean_0_and_deviation_1():
    x = seeded(1).normal(3, 5, size=(20, 4))
    z = mine.standardise(x)
    assert z.shape == (20, 4)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-12)


def test_task_1_2_one_hot_of_three_labels():
    hot = mine.one_hot(np.array([2, 0, 1]), 4)
    np.testing.assert_array_equal(hot, [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]])
    assert hot.dtype == np.float32


def test_task_1_3_axes_move_and_pixels_stay():
    images = seeded(2).integers(0, 256, size=(2, 4, 5, 3)).astype(np.uint8)
    batch = mine.to_batch(images)
    assert batch.shape == (2, 3, 4, 5) and batch.dtype == np.float32
    np.testing.assert_allclose(batch[1, 2, 3, 4], images[1, 3, 4, 2] / 255, rtol=1e-6)


def test_task_1_4_distances_are_those_of_two_loops():
    a, b = seeded(3).normal(size=(4, 3)), seeded(4).normal(size=(5, 3))
    expected = [[np.sum((p - q) ** 2) for q in b] for p in a]
    np.testing.assert_allclose(mine.squared_distances(a, b), expected, rtol=1e-9)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (4, 1), (3, 4, 5)])
def test_task_1_5_the_gradient_of_what_was_broadcast_is_a_sum(shape):
    dy, b = seeded(5).normal(size=(3, 4, 5)), np.zeros(shape)
    db = mine.sum_to_shape(dy, shape)
    assert db.shape == shape
    change = seeded(6).normal(size=shape)  # L = sum(y dy) is linear in b: its change is exactly sum(db change)
    np.testing.assert_allclose(np.sum((b + change + np.zeros((3, 4, 5))) * dy), np.sum(db * change), rtol=1e-9)
