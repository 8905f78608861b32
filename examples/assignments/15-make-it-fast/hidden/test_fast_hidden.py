"""Hidden tests of assignment 15: the reference solution runs here, on the same machine, and is timed beside."""

import time
from pathlib import Path

import numpy as np
import pytest

from minires.course import seeded, submitted
from minires.course.submission import load

mine = submitted(__file__, "fast.py")
PIPE = 0.015  # seconds that the arrays need on their way to the submission's process and back


def images(N, C, O, H, W, number):
    rng = seeded(number)
    return np.float32(rng.normal(size=(N, C, H + 2, W + 2))), np.float32(rng.normal(size=(O, C, 3, 3)))


def seconds(function, *arguments):
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


@pytest.mark.parametrize("shape", [(1, 5, 2, 1, 1), (3, 2, 7, 17, 33), (1, 16, 16, 8, 8)])
def test_task_15_1_other_shapes(shape):
    x, weight = images(*shape, number=11)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    y = mine.fast_conv3x3(x, weight)
    np.testing.assert_allclose(y, np.einsum("nchwij,ocij->nohw", windows, weight), atol=1e-4)
    assert y.dtype == np.float32


def test_task_15_2_it_is_the_submission_that_calculates():
    x, weight = images(2, 8, 8, 16, 16, number=12)
    first = mine.fast_conv3x3(x, weight)
    second = mine.fast_conv3x3(x, 2 * weight)
    np.testing.assert_allclose(second, 2 * first, atol=1e-3)
    assert np.ptp(first) > 1


def test_task_15_3_within_twice_the_reference_solution():
    reference = load(Path(__file__).parents[1] / "solution" / "fast.py").fast_conv3x3
    x, weight = images(4, 64, 64, 32, 32, number=13)
    mine.fast_conv3x3(x, weight)
    reference(x, weight)
    ours, theirs = [], []
    for _ in range(12):  # in turn, so that whatever else the machine does meets both
        theirs.append(seconds(mine.fast_conv3x3, x, weight) - PIPE)
        ours.append(seconds(reference, x, weight))
    ratio = min(theirs) / min(ours)
    assert ratio < 2, f"{ratio:.1f} times as long as the reference solution"
