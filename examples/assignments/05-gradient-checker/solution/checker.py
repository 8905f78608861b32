"""Assignment 5: a gradient checker."""

import numpy as np


def one_entry_moved(x, i, step):
    """A copy of x in float64 with its i-th entry, counted through all axes, moved by step."""
    moved = np.array(x, np.float64)
    moved.reshape(-1)[i] += step
    return moved


def numeric_gradient(f, x, h=1e-6):
    """Central differences: f(x + h) - f(x - h) = 2 h f' + h^3 f''' / 3 + ..., the term in h^2 cancels."""
    slopes = [(f(one_entry_moved(x, i, h)) - f(one_entry_moved(x, i, -h))) / (2 * h) for i in range(x.size)]
    return np.array(slopes).reshape(x.shape)


def worst_error(numeric, claimed):
    """The largest |n - c| / (max(|n|, |c|) + max |n| / 10)."""
    if not np.all(np.isfinite(claimed)):
        return np.inf
    size = np.maximum(np.abs(numeric), np.abs(claimed)) + np.max(np.abs(numeric)) / 10
    return np.max(np.abs(numeric - claimed) / np.where(size > 0, size, 1))


def check(forward, backward, x, seed=0):
    """The worst error of backward, for L = sum(dy y) with a random dy: it has a part in every direction."""
    dy = np.random.default_rng((seed, 1)).normal(size=np.shape(forward(x)))
    numeric = numeric_gradient(lambda moved: np.sum(forward(moved) * dy), x)
    return worst_error(numeric, backward(x, dy))


def kinks(f, x, h=1e-6):
    """True where the slopes to the right and to the left differ; for a smooth f by h f'', next to nothing."""
    here = f(np.array(x, np.float64))
    right = np.array([(f(one_entry_moved(x, i, h)) - here) / h for i in range(x.size)])
    left = np.array([(here - f(one_entry_moved(x, i, -h))) / h for i in range(x.size)])
    return (np.abs(right - left) > 1e-3 * np.maximum(np.abs(right), np.abs(left))).reshape(x.shape)
