"""Visible tests of assignment 10. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np
import pytest

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "residual.py")


def test_task_10_1_a_branch_of_zeros_leaves_the_identity():
    residual, x, dy = mine.Residual(mine.branch()), *seeded(1).normal(size=(2, 2, 2, 4, 4))
    assert np.any(residual.forward(x) != x), "the branch is not there"
    for parameter in residual.parameters():
        parameter.data[...] = 0
    np.testing.assert_array_equal(residual.forward(x), x)
    np.testing.assert_array_equal(residual.backward(dy), dy)


def test_task_10_1_backward_is_the_derivative():
    check_layer(mine.Residual(mine.branch()), seeded(3).normal(size=(2, 2, 4, 5)), comparisons=150)


def test_task_10_2_every_second_pixel_and_zeros():
    y = mine.ShortcutA(3, 2).forward(np.arange(32.0).reshape(1, 2, 4, 4))
    np.testing.assert_array_equal(y[0], [[[0, 2], [8, 10]], [[16, 18], [24, 26]], [[0, 0], [0, 0]]])


def test_task_10_2_backward_is_the_derivative():
    check_layer(mine.ShortcutA(4, 2), seeded(4).normal(size=(2, 3, 5, 6)))


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_task_10_3_a_block_has_its_parameters_and_shapes(shortcut):
    block = mine.block(4, 8, 2, shortcut)
    count = sum(p.data.size for p in block.parameters())
    expected = 8 * 4 * 9 + 8 * 8 * 9 + 4 * 8 + (8 * 4 + 2 * 8) * (shortcut == "B")
    assert count == expected, f"expected {expected} parameters, got {count}"
    assert block.forward(np.ones((2, 4, 8, 8), np.float32)).shape == (2, 8, 4, 4)


def test_task_10_4_resnet20_has_269_722_parameters():
    net = mine.resnet20()
    assert sum(p.data.size for p in net.parameters()) == 269_722
    assert net.eval().forward(np.zeros((2, 3, 32, 32), np.float32)).shape == (2, 10)
