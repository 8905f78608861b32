"""Assignment 5: a gradient checker. The hand-out, README.md, has the equations."""

import numpy as np


def one_entry_moved(x, i, step):
    """Given: a copy of x in float64 with its i-th entry, counted through all axes, moved by step."""
    moved = np.array(x, np.float64)
    moved.reshape(-1)[i] += step
    return moved


def numeric_gradient(f, x, h=1e-6):
    """The slope of f along every entry of x, looked at from both sides; of the shape of x."""
    raise NotImplementedError("Task 5.1: a loop over range(x.size).")


def worst_error(numeric, claimed):
    """The largest |n - c| / (max(|n|, |c|) + max |n| / 10)."""
    raise NotImplementedError("Task 5.2: mind 0 / 0, and NaN.")


def check(forward, backward, x, seed=0):
    """The worst error of backward(x, dy), for y = forward(x) and a dy that hides nothing."""
    raise NotImplementedError("Task 5.3: L(x) = sum(dy * forward(x)); which dy?")


def kinks(f, x, h=1e-6):
    """For each entry of x, whether the slopes of f to its right and to its left differ."""
    raise NotImplementedError("Task 5.4: two one-sided slopes.")
