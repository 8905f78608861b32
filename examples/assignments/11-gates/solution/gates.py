"""Assignment 11: gates."""

import numpy as np

from minires import Layer, Parameter


def sigmoid(z):
    """1 / (1 + exp(-z)), by tanh, which does not overflow; its slope is t (1 - t)."""
    return (1 + np.tanh(z / 2)) / 2


class Highway(Layer):
    """y = t h + (1 - t) x. dy reaches h by the factor t, t by the factor h - x, and x directly by 1 - t."""

    def __init__(self, features, gate_bias=-2.0, seed=0):
        rng = np.random.default_rng(seed)
        self.weight_h = Parameter(rng.normal(0, features**-0.5, (features, features)))
        self.bias_h = Parameter(np.zeros(features))
        self.weight_t = Parameter(rng.normal(0, features**-0.5, (features, features)))
        self.bias_t = Parameter(np.full(features, float(gate_bias)))

    def forward(self, x):
        w_h, b_h, w_t, b_t = (p.data.astype(x.dtype) for p in (self.weight_h, self.bias_h, self.weight_t, self.bias_t))
        h, t = np.tanh(x @ w_h.T + b_h), sigmoid(x @ w_t.T + b_t)
        return self._remember(t * h + (1 - t) * x, x, h, t)

    def backward(self, dy):
        x, h, t = self._recall(dy)
        through_h = dy * t * (1 - h**2)
        through_t = dy * (h - x) * t * (1 - t)
        self.weight_h.grad += through_h.T @ x
        self.bias_h.grad += through_h.sum(axis=0)
        self.weight_t.grad += through_t.T @ x
        self.bias_t.grad += through_t.sum(axis=0)
        w_h, w_t = self.weight_h.data.astype(dy.dtype), self.weight_t.data.astype(dy.dtype)
        return through_h @ w_h + through_t @ w_t + dy * (1 - t)


def mean_gate(layer, x):
    """The mean of t over all entries."""
    return float(np.mean(sigmoid(x @ layer.weight_t.data.T + layer.bias_t.data)))


def closed_bias(mean):
    """t = 1 / (1 + exp(-b)) solved for b: log(t / (1 - t))."""
    return float(np.log(mean / (1 - mean)))


class SqueezeExcite(Layer):
    """y = e x, one e for each channel of each image, made from the means of all channels."""

    def __init__(self, channels, hidden, seed=0):
        rng = np.random.default_rng(seed)
        self.weight1 = Parameter(rng.normal(0, (2 / channels) ** 0.5, (hidden, channels)))
        self.weight2 = Parameter(rng.normal(0, (2 / hidden) ** 0.5, (channels, hidden)))

    def forward(self, x):
        squeezed = x.mean(axis=(2, 3))
        hidden = np.maximum(squeezed @ self.weight1.data.T.astype(x.dtype), 0)
        e = sigmoid(hidden @ self.weight2.data.T.astype(x.dtype))
        return self._remember(e[:, :, None, None] * x, x, squeezed, hidden, e)

    def backward(self, dy):
        x, squeezed, hidden, e = self._recall(dy)
        through_e = np.sum(dy * x, axis=(2, 3)) * e * (1 - e)
        through_hidden = through_e @ self.weight2.data.astype(dy.dtype) * (hidden > 0)
        self.weight2.grad += through_e.T @ hidden
        self.weight1.grad += through_hidden.T @ squeezed
        dsqueezed = through_hidden @ self.weight1.data.astype(dy.dtype)
        pixels = x.shape[2] * x.shape[3]
        return e[:, :, None, None] * dy + dsqueezed[:, :, None, None] / pixels
