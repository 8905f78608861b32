"""Visible tests of assignment 15. Run them with  python -m pytest  in this assignment's folder."""

import time

import numpy as np
import pytest

from minires.course import seeded, submitted

mine = submitted(__file__, "fast.py")


def images(N, C, O, H, W, number):
    rng = seeded(number)
    return np.float32(rng.normal(size=(N, C, H + 2, W + 2))), np.float32(rng.normal(size=(O, C, 3, 3)))


def definition(x, weight):
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, weight)


def least_time(function, x, weight, times=5):
    """The least of several, the first of which compiles. Each gets other numbers, and its result must be right."""
    function(x, weight)
    seconds = []
    for number in range(times):
        moved = np.roll(x, number + 1, axis=3)
        began = time.perf_counter()
        y = function(moved, weight)
        seconds.append(time.perf_counter() - began)
        np.testing.assert_allclose(y, definition(moved, weight), atol=1e-3)
    return min(seconds)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3, 4), (2, 3, 4, 6, 5)])
def test_task_15_1_the_definition(shape):
    x, weight = images(*shape, number=1)
    np.testing.assert_allclose(mine.fast_conv3x3(x, weight), definition(x, weight), atol=1e-4)


def test_task_15_2_three_times_faster():
    x, weight = images(2, 64, 64, 32, 32, number=2)  # large, so that the way to the process counts little
    fast = least_time(mine.fast_conv3x3, x, weight)
    slow = least_time(mine.slow_conv3x3, x, weight, times=2)
    assert fast < slow / 3, f"{1000 * fast:.1f} ms, and the given kernel {1000 * slow:.1f} ms: {slow / fast:.1f} times"
