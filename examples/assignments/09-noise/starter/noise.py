"""Assignment 9: noise that helps. The hand-out, README.md, has the equations."""

import numpy as np

from minires import Layer, Linear


class Dropout(Layer):
    """y = m x / (1 - p) with a random mask in training, y = x in evaluation."""

    def __init__(self, p, seed=0):
        self.p, self.rng = p, np.random.default_rng(seed)

    def forward(self, x):
        raise NotImplementedError("Task 9.1: two cases, self.training or not; draw with self.rng.random(x.shape).")

    def backward(self, dy):
        raise NotImplementedError("Task 9.1: the mask of forward.")


class StochasticDepth(Layer):
    """y = x + b f(x) with f the layer ``branch``, and a random b of 0 or 1 in training."""

    def __init__(self, branch, survival, seed=0):
        self.branch, self.survival, self.rng = branch, survival, np.random.default_rng(seed)

    def forward(self, x):
        raise NotImplementedError("Task 9.2: three cases: left out, run, evaluation.")

    def backward(self, dy):
        raise NotImplementedError("Task 9.2: the case that forward had.")


def survivals(blocks, last):
    """[p_1, ..., p_L]: the probability of each block to survive, a list."""
    raise NotImplementedError("Task 9.3: l counts from 1.")


def expected_depth(blocks, last):
    """The mean number of blocks that are run."""
    raise NotImplementedError("Task 9.3: the mean of a sum.")


def branch(features=4, seed=0):
    """Given: a branch for the tests, a linear layer of minires in float64."""
    return Linear(features, features, rng=seed).astype(np.float64)
