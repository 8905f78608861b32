"""Hidden tests of assignment 15: the reference solution runs here, on the same machine, and is timed beside."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from minires.course import load, seeded, submitted

mine = submitted(__file__, "fast.py")
PIPE = 0.02  # seconds that the arrays need on their way to the submission's process and back


def images(N, C, O, H, W, number):
    rng = seeded(number)
    return np.float32(rng.normal(size=(N, C, H + 2, W + 2))), np.float32(rng.normal(size=(O, C, 3, 3)))


def definition(x, weight):
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, weight)


def compared(given, x, weight, times):
    """(least time of the submission, that of a kernel of ours). Each call gets an x that no call has seen."""
    seconds = {mine.fast_conv3x3: [], given: []}
    for number in range(times + 1):  # in turn, so that whatever else the machine does meets both
        moved = np.roll(x, number, axis=3)
        for function, found in seconds.items():
            began = time.perf_counter()
            y = function(moved, weight)
            found.append(time.perf_counter() - began)
            np.testing.assert_allclose(y, definition(moved, weight), atol=1e-3)
    theirs, ours = (min(found[1:]) for found in seconds.values())  # the first call compiles
    return theirs - PIPE, ours


def ours(folder):
    course = os.environ.get("MINIRES_COURSE_ASSIGNMENT", Path(__file__).parents[1])  # these tests may lie elsewhere
    return load(Path(course) / folder / "fast.py")


@pytest.mark.parametrize("shape", [(1, 5, 2, 1, 1), (3, 2, 7, 17, 33), (1, 16, 16, 8, 8)])
def test_task_15_1_other_shapes(shape):
    x, weight = images(*shape, number=11)
    y = mine.fast_conv3x3(x, weight)
    np.testing.assert_allclose(y, definition(x, weight), atol=1e-4)
    assert y.dtype == np.float32


def test_task_15_2_three_times_faster_than_the_kernel_of_the_course():
    theirs, slow = compared(ours("starter").slow_conv3x3, *images(4, 64, 64, 32, 32, number=12), times=5)
    assert theirs < slow / 3, f"{slow / theirs:.1f} times as fast as the kernel that was given"


def test_task_15_3_within_twice_the_reference_solution():
    theirs, reference = compared(ours("solution").fast_conv3x3, *images(4, 64, 64, 32, 32, number=13), times=12)
    assert theirs < 2 * reference, f"{theirs / reference:.1f} times as long as the reference solution"
