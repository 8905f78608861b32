"""Assignment 2: four activations, each with its derivative."""

import math

import numpy as np

from minires import Layer


class ReLU(Layer):
    """y = max(x, 0).

    The slope is 1 where x > 0 and 0 where x < 0. At x = 0 there is a kink; the field takes 0. So dx is dy where
    x > 0, and 0 elsewhere. A mask of booleans is all that backward needs: one byte per number.
    """

    def forward(self, x):
        positive = x > 0
        return self._remember(np.where(positive, x, 0).astype(x.dtype), positive)

    def backward(self, dy):
        (positive,) = self._recall(dy)
        return np.where(positive, dy, 0).astype(dy.dtype)


class LeakyReLU(Layer):
    """y = x where x > 0, and slope * x elsewhere: y = f x with a factor f of 1 or slope, and so dx = f dy."""

    def __init__(self, slope=0.01):
        self.slope = slope

    def forward(self, x):
        factor = np.where(x > 0, 1, self.slope).astype(x.dtype)
        return self._remember(factor * x, factor)

    def backward(self, dy):
        (factor,) = self._recall(dy)
        return factor * dy


class Tanh(Layer):
    """y = tanh(x) = sinh(x) / cosh(x).

    By the quotient rule the slope is (cosh^2 - sinh^2) / cosh^2 = 1 - y^2. It needs y alone, which lives anyway.
    """

    def forward(self, x):
        y = np.tanh(x)
        return self._remember(y, y)

    def backward(self, dy):
        (y,) = self._recall(dy)
        return dy * (1 - y**2)


class GELU(Layer):
    """y = x P(x), where P is the distribution function of the standard normal (Hendrycks and Gimpel 2016, section 2).

    P' = p, the density exp(-x^2 / 2) / sqrt(2 pi). By the product rule dy/dx = P(x) + x p(x).
    """

    def forward(self, x):
        share = normal_cdf(x)
        return self._remember(x * share, x, share)

    def backward(self, dy):
        x, share = self._recall(dy)
        density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
        return dy * (share + x * density)


def normal_cdf(x):
    """P(x), the probability that a standard normal number is at most x; given, nothing to do here."""
    return (0.5 * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)))).astype(x.dtype)
