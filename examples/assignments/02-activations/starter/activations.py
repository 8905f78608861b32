"""Assignment 2: four activations, each with its derivative. The hand-out, README.md, has the equations."""

import math

import numpy as np

from minires import Layer


class ReLU(Layer):
    """y = max(x, 0)."""

    def forward(self, x):
        raise NotImplementedError("Task 2.1: y is x where x > 0, and 0 elsewhere; end with self._remember(y, ...).")

    def backward(self, dy):
        raise NotImplementedError("Task 2.1: begin with self._recall(dy); dx is dy where x > 0, and 0 elsewhere.")


class LeakyReLU(Layer):
    """y = x where x > 0, and slope * x elsewhere."""

    def __init__(self, slope=0.01):
        self.slope = slope

    def forward(self, x):
        raise NotImplementedError("Task 2.2: keep some of what ReLU throws away.")

    def backward(self, dy):
        raise NotImplementedError("Task 2.2: which factor belongs to which entries?")


class Tanh(Layer):
    """y = tanh(x)."""

    def forward(self, x):
        raise NotImplementedError("Task 2.3: which of x and y does backward need?")

    def backward(self, dy):
        raise NotImplementedError("Task 2.3: the slope of tanh, written with y alone.")


class GELU(Layer):
    """y = x P(x), where P is the distribution function of the standard normal: half of 1 + erf(x / sqrt(2))."""

    def forward(self, x):
        raise NotImplementedError("Task 2.4: compute P with the function normal_cdf below.")

    def backward(self, dy):
        raise NotImplementedError("Task 2.4: a product of two functions of x has a derivative of two terms.")


def normal_cdf(x):
    """P(x), the probability that a standard normal number is at most x; given, nothing to do here."""
    return (0.5 * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)))).astype(x.dtype)
