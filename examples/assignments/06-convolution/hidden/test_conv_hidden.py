"""Hidden tests of assignment 6: windows that do not tile, and the adjoint."""

import numpy as np
import pytest

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "conv.py")
CASES = [(3, 1, 0), (3, 2, 0), (2, 3, 1), (1, 2, 0), (4, 1, 2)]  # K, stride, padding


def columns_of(x, K, stride, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (K, K), axis=(2, 3))[:, :, ::stride, ::stride]
    return windows.transpose(0, 1, 4, 5, 2, 3)


@pytest.mark.parametrize("case", CASES)
def test_task_6_1_other_windows(case):
    x = seeded(11).normal(size=(2, 3, 7, 8))
    np.testing.assert_array_equal(mine.im2col(x, *case), columns_of(x, *case))


def test_task_6_1_float32_stays():
    columns = mine.im2col(np.ones((1, 1, 4, 4), np.float32), 2, 1, 1)
    assert columns.dtype == np.float32 and columns.shape == (1, 1, 2, 2, 5, 5) and columns.sum() == 64


@pytest.mark.parametrize("case", CASES)
def test_task_6_2_col2im_is_the_adjoint_of_im2col(case):
    x = seeded(12).normal(size=(2, 3, 7, 8))
    expected = columns_of(x, *case)
    c = seeded(13).normal(size=expected.shape)
    image = mine.col2im(c, x.shape, *case[1:])
    assert image.shape == x.shape
    np.testing.assert_allclose(np.sum(image * x), np.sum(c * expected), rtol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_task_6_3_other_convolutions(case):
    conv, x = mine.Conv2d(3, 2, *case, seed=4), seeded(14).normal(size=(2, 3, 7, 8))
    conv.bias.data[...] = [-1, 0.5]
    expected = np.tensordot(conv.weight.data, columns_of(x, *case), ((1, 2, 3), (1, 2, 3))).transpose(1, 0, 2, 3)
    np.testing.assert_allclose(conv.forward(x), expected + np.array([-1, 0.5]).reshape(1, 2, 1, 1), atol=1e-9)


@pytest.mark.parametrize("case", [(2, 3, 1), (1, 1, 0), (3, 2, 2)])
def test_task_6_4_the_derivative_of_other_convolutions(case):
    check_layer(mine.Conv2d(3, 2, *case), seeded(15).normal(size=(3, 3, 6, 7)), comparisons=150, modes="train")
