"""Visible tests of assignment 8. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "norm.py")


def test_task_8_1_columns_have_mean_0_and_variance_1():
    y = mine.BatchNorm(3, eps=0.0).forward(seeded(1).normal(5, 2, size=(8, 3)))
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-9)


def test_task_8_1_running_statistics_move_a_tenth_of_the_way():
    norm, x = mine.BatchNorm(2), seeded(2).normal(5, 2, size=(8, 2))
    norm.forward(x)
    np.testing.assert_allclose(norm.running_mean.data, 0.1 * x.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(norm.running_var.data, 0.9 + 0.1 * x.var(axis=0, ddof=1), rtol=1e-9)


def test_task_8_2_backward_by_the_graph_is_the_derivative():
    check_layer(mine.BatchNorm(3), seeded(3).normal(size=(6, 3)), modes="train")


def test_task_8_3_backward_in_closed_form_is_the_derivative():
    check_layer(mine.FastBatchNorm(3), seeded(4).normal(size=(6, 3)), modes="train")


def test_task_8_4_evaluation_uses_the_running_statistics():
    norm = mine.BatchNorm(1, eps=0.0)
    norm.running_mean.data[...], norm.running_var.data[...] = 3, 4
    np.testing.assert_allclose(norm.eval().forward(np.array([[5.0], [1.0], [3.0]])), [[1], [-1], [0]])


def test_task_8_4_the_derivative_in_evaluation():
    check_layer(mine.BatchNorm(3), seeded(5).normal(size=(6, 3)), modes="eval")


def test_task_8_5_rows_have_mean_0_and_variance_1():
    y = mine.LayerNorm(5, eps=0.0).forward(seeded(6).normal(5, 2, size=(3, 5)))
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=1), 1, rtol=1e-9)


def test_task_8_5_backward_of_layer_norm_is_the_derivative():
    check_layer(mine.LayerNorm(5), seeded(7).normal(size=(3, 5)))
