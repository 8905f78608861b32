"""Hidden tests of assignment 8."""

import numpy as np
import pytest

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "norm.py")


def test_task_8_1_weight_and_bias_scale_and_shift():
    norm, x = mine.BatchNorm(2, eps=0.5), seeded(11).normal(size=(5, 2))
    norm.weight.data[...], norm.bias.data[...] = [2, -3], [1, 4]
    expected = np.array([2, -3]) * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 0.5) + np.array([1, 4])
    np.testing.assert_allclose(norm.forward(x), expected, rtol=1e-9)


def test_task_8_1_two_batches_with_another_momentum():
    norm, a, b = mine.BatchNorm(2, momentum=0.3), seeded(12).normal(size=(5, 2)), seeded(13).normal(2, size=(4, 2))
    norm.forward(a)
    norm.forward(b)
    np.testing.assert_allclose(norm.running_mean.data, 0.7 * 0.3 * a.mean(axis=0) + 0.3 * b.mean(axis=0), rtol=1e-9)
    expected = 0.7 * (0.7 + 0.3 * a.var(axis=0, ddof=1)) + 0.3 * b.var(axis=0, ddof=1)
    np.testing.assert_allclose(norm.running_var.data, expected, rtol=1e-9)


@pytest.mark.parametrize("shape", [(2, 4), (9, 2)])
def test_task_8_2_the_graph_for_other_shapes(shape):
    check_layer(mine.BatchNorm(shape[1], eps=0.1), 3 * seeded(14).normal(size=shape), modes="train")


@pytest.mark.parametrize("shape", [(2, 4), (9, 2)])
def test_task_8_3_the_closed_form_for_other_shapes(shape):
    check_layer(mine.FastBatchNorm(shape[1], eps=0.1), 3 * seeded(15).normal(size=shape), modes="train")


def test_task_8_4_the_closed_form_in_evaluation():
    check_layer(mine.FastBatchNorm(3), seeded(16).normal(size=(5, 3)), modes="eval")


def test_task_8_4_evaluation_moves_no_statistics():
    norm, x = mine.BatchNorm(2).eval(), seeded(17).normal(3, 2, size=(5, 2))
    norm.forward(x)
    np.testing.assert_array_equal(norm.running_mean.data, [0, 0])
    np.testing.assert_array_equal(norm.running_var.data, [1, 1])
    norm.train().forward(x)
    assert np.all(norm.running_mean.data != 0), "training moved no statistics either"


def test_task_8_4_one_example_is_enough_in_evaluation():
    y = mine.BatchNorm(2).eval().forward(np.array([[2.0, -1.0]]))
    np.testing.assert_allclose(y, np.array([[2.0, -1.0]]) / np.sqrt(1 + 1e-5), rtol=1e-9)


@pytest.mark.parametrize("shape", [(1, 6), (4, 3)])
def test_task_8_5_layer_norm_of_other_shapes(shape):
    norm, x = mine.LayerNorm(shape[1], eps=0.01), seeded(18).normal(size=shape)
    expected = (x - x.mean(axis=1)[:, None]) / np.sqrt(x.var(axis=1)[:, None] + 0.01)
    np.testing.assert_allclose(norm.forward(x), expected, rtol=1e-9)
    check_layer(norm, x)
