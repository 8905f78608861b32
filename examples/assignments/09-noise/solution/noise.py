"""Assignment 9: noise that helps."""

import numpy as np

from minires import Layer, Linear


class Dropout(Layer):
    """y = m x / (1 - p) with a mask m of 0 and 1, drawn anew in training: the mean over m is x. In evaluation y = x.

    For a given mask y is linear in x with the slope m / (1 - p), and so dx = m dy / (1 - p).
    """

    def __init__(self, p, seed=0):
        self.p, self.rng = p, np.random.default_rng(seed)

    def forward(self, x):
        if not self.training:
            return self._remember(x, None)
        factor = ((self.rng.random(x.shape) >= self.p) / (1 - self.p)).astype(x.dtype)
        return self._remember(factor * x, factor)

    def backward(self, dy):
        (factor,) = self._recall(dy)
        return dy if factor is None else factor * dy


class StochasticDepth(Layer):
    """y = x + b f(x), b drawn in training, its mean in evaluation. dx = dy + b (the backward of f)(dy)."""

    def __init__(self, branch, survival, seed=0):
        self.branch, self.survival, self.rng = branch, survival, np.random.default_rng(seed)

    def forward(self, x):
        if self.training:
            b = int(self.rng.random() < self.survival)
        else:
            b = self.survival
        y = x + x.dtype.type(b) * self.branch.forward(x) if b else x
        return self._remember(y, b)

    def backward(self, dy):
        (b,) = self._recall(dy)
        return dy + self.branch.backward(dy.dtype.type(b) * dy) if b else dy


def survivals(blocks, last):
    """[p_1, ..., p_L] along a line from nearly 1 down to ``last``."""
    return [1 - l / blocks * (1 - last) for l in range(1, blocks + 1)]


def expected_depth(blocks, last):
    """The mean of a sum is the sum of the means: p_1 + ... + p_L."""
    return sum(survivals(blocks, last))


def branch(features=4, seed=0):
    """Given: a branch for the tests, a linear layer of minires in float64."""
    return Linear(features, features, rng=seed).astype(np.float64)
