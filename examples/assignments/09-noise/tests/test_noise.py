"""Visible tests of assignment 9. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np

import minires
from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "noise.py")


def test_task_9_1_numbers_are_kept_and_enlarged_or_dropped():
    y = mine.Dropout(0.75).forward(np.ones((100, 100)))
    assert set(np.unique(y)) == {0, 4}
    assert abs(np.mean(y) - 1) < 4 * np.sqrt(3 / 1e4)


def test_task_9_1_evaluation_changes_nothing():
    layer, x = mine.Dropout(0.5), seeded(1).normal(size=(3, 4))
    assert np.all(layer.forward(x.copy()) != x), "training changes nothing either"
    np.testing.assert_array_equal(layer.eval().forward(x.copy()), x)


def test_task_9_1_backward_is_the_derivative():
    check_layer(mine.Dropout(0.5), seeded(2).normal(size=(5, 6)))


def test_task_9_2_the_block_is_run_or_left_out():
    block, x = mine.StochasticDepth(mine.branch(), 0.5), seeded(3).normal(size=(2, 4))
    full = x + mine.branch().forward(x)
    seen = {
        bool(np.allclose(y, full)) if not np.allclose(y, x) else None for y in (block.forward(x) for _ in range(30))
    }
    assert seen == {True, None}


def test_task_9_2_evaluation_weighs_the_branch():
    block, x = mine.StochasticDepth(mine.branch(), 0.8).eval(), seeded(4).normal(size=(2, 4))
    np.testing.assert_allclose(block.forward(x), x + 0.8 * mine.branch().forward(x), rtol=1e-9)


def test_task_9_2_backward_is_the_derivative():
    x = seeded(5).normal(size=(3, 4))
    assert np.any(mine.StochasticDepth(mine.branch(), 1.0).forward(x) != x), "the branch never runs"
    for seed in range(3):
        minires.check_layer(mine.StochasticDepth(mine.branch(), 0.5, seed), x)


def test_task_9_3_survival_falls_along_a_line():
    np.testing.assert_allclose(mine.survivals(4, 0.5), [0.875, 0.75, 0.625, 0.5])
    np.testing.assert_allclose(mine.expected_depth(4, 0.5), 2.75)
