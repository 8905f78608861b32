"""Hidden tests of assignment 1: corners."""

import numpy as np
import pytest

from minires.course import seeded, submitted

mine = submitted(__file__, "arrays.py")


def test_task_1_1_a_constant_column_becomes_0():
    x = np.array([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
    z = mine.standardise(x)
    np.testing.assert_allclose(z[:, 1], 0)
    np.testing.assert_allclose(z[:, 0], [-1.224744871391589, 0, 1.224744871391589], rtol=1e-12)


def test_task_1_1_a_constant_column_becomes_0_whatever_rounding_makes_of_its_mean():
    x = np.float64([[0.1, -7], [0.1, 0], [0.1, 7]])
    np.testing.assert_allclose(mine.standardise(x), np.float64([[0, -1], [0, 0], [0, 1]]) * np.sqrt(1.5), rtol=1e-12)


@pytest.mark.parametrize("labels", [[0, 4], [-1, 0]])
def test_task_1_2_a_label_out_of_range_is_refused(labels):
    with pytest.raises(ValueError):
        mine.one_hot(np.array(labels), 4)


def test_task_1_2_one_hot_of_many_labels():
    labels = seeded(11).integers(0, 7, size=50)
    np.testing.assert_array_equal(mine.one_hot(labels, 7), np.eye(7)[labels])


def test_task_1_3_white_is_1_and_memory_in_order():
    images = np.full((1, 2, 3, 3), 255, np.uint8)
    images[0, 1, 2] = 0, 51, 102
    batch = mine.to_batch(images)
    np.testing.assert_allclose(batch[0, :, 1, 2], [0, 0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(batch[0, :, 0, 0], 1)
    assert batch.flags.c_contiguous


def test_task_1_4_no_distance_is_negative():
    a = 1000 + seeded(12).normal(size=(30, 8))
    distances = mine.squared_distances(a, a.copy())
    assert distances.shape == (30, 30) and distances.min() >= 0
    np.testing.assert_allclose(np.diag(distances), 0, atol=1e-6)


def test_task_1_4_many_points_fit_into_memory():
    a = seeded(13).normal(size=(700, 900))
    expected = np.sum((a[3] - a[5]) ** 2)
    np.testing.assert_allclose(mine.squared_distances(a, a[:500])[3, 5], expected, rtol=1e-8)


@pytest.mark.parametrize("shape, axes", [((2, 1, 3, 1), (1, 3)), ((1, 1, 1, 1), (0, 1, 2, 3)), ((1,), (0, 1, 2, 3))])
def test_task_1_5_axes_of_size_1_stay(shape, axes):
    dy = seeded(14).normal(size=(2, 5, 3, 4))
    np.testing.assert_allclose(mine.sum_to_shape(dy, shape), dy.sum(axis=axes).reshape(shape), rtol=1e-9)


def test_task_1_5_a_scalar_gets_the_sum_of_all():
    dy = seeded(15).normal(size=(3, 4))
    db = mine.sum_to_shape(dy, ())
    assert np.shape(db) == ()
    np.testing.assert_allclose(db, dy.sum(), rtol=1e-9)
