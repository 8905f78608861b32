"""Hidden tests of assignment 9."""

import numpy as np
import pytest

import minires
from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "noise.py")


@pytest.mark.parametrize("p", [0.1, 0.9])
def test_task_9_1_the_mean_stays(p):
    y = mine.Dropout(p, seed=3).forward(np.full((300, 100), 2.0))
    assert abs(np.mean(y) - 2) < 4 * 2 * np.sqrt(p / (1 - p) / 3e4)
    assert abs(np.mean(y == 0) - p) < 4 * np.sqrt(p * (1 - p) / 3e4)


def test_task_9_1_every_forward_has_its_own_mask():
    layer, x = mine.Dropout(0.5, seed=4), np.ones((20, 20))
    assert 100 < np.sum(layer.forward(x) != layer.forward(x)) < 300


def test_task_9_1_equal_seeds_give_equal_masks_whatever_else_is_drawn():
    first = mine.Dropout(0.5, seed=5).forward(np.ones((9, 9)))
    assert set(np.unique(first)) == {0, 2}
    np.random.seed(0)
    np.testing.assert_array_equal(mine.Dropout(0.5, seed=5).forward(np.ones((9, 9))), first)


def test_task_9_1_evaluation_draws_nothing():
    one, other, x = mine.Dropout(0.5, seed=6), mine.Dropout(0.5, seed=6), np.ones((9, 9))
    one.eval().forward(x)
    y = other.forward(x)
    np.testing.assert_array_equal(one.train().forward(x), y)
    assert set(np.unique(y)) == {0, 2}


def test_task_9_1_the_derivative_for_a_small_rate():
    check_layer(mine.Dropout(0.2, seed=7), seeded(11).normal(size=(4, 3, 2)))


def test_task_9_2_it_survives_as_often_as_told():
    block, x = mine.StochasticDepth(mine.branch(), 0.8, seed=8), np.ones((1, 4))
    run = np.mean([not np.allclose(block.forward(x), x) for _ in range(400)])
    assert abs(run - 0.8) < 4 * np.sqrt(0.8 * 0.2 / 400)


def test_task_9_2_a_branch_left_out_gets_no_gradient():
    block, x = mine.StochasticDepth(mine.branch(), 0.0), seeded(12).normal(size=(2, 4))
    np.testing.assert_array_equal(block.forward(x), x)
    dy = seeded(13).normal(size=(2, 4))
    np.testing.assert_array_equal(block.backward(dy), dy)
    assert all(np.all(p.grad == 0) for p in block.parameters())
    assert np.any(mine.StochasticDepth(mine.branch(), 1.0).forward(x) != x), "the branch never runs"


def test_task_9_2_a_branch_that_runs_gets_all_of_its_gradient():
    block, x, dy = (
        mine.StochasticDepth(mine.branch(), 1.0),
        seeded(14).normal(size=(2, 4)),
        seeded(15).normal(size=(2, 4)),
    )
    block.forward(x)
    block.backward(dy)
    weight = next(p for p in block.parameters() if p.data.ndim == 2)
    np.testing.assert_allclose(weight.grad, dy.T @ x, rtol=1e-9)


def test_task_9_2_the_derivative_in_both_modes():
    block, x = mine.StochasticDepth(mine.branch(3, 1), 0.7, 1), seeded(16).normal(size=(4, 3))
    minires.check_layer(block, x)
    assert np.all(block.eval().forward(x) != x), "the branch never runs"


@pytest.mark.parametrize("blocks, last", [(1, 0.3), (54, 0.5), (10, 1.0)])
def test_task_9_3_other_depths(blocks, last):
    expected = 1 - np.arange(1, blocks + 1) / blocks * (1 - last)
    np.testing.assert_allclose(mine.survivals(blocks, last), expected, rtol=1e-9)
    np.testing.assert_allclose(mine.expected_depth(blocks, last), expected.sum(), rtol=1e-9)
