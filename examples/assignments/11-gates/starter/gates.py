"""Assignment 11: gates. The hand-out, README.md, has the equations."""

import numpy as np

from minires import Layer, Parameter


def sigmoid(z):
    """Given: 1 / (1 + exp(-z)), by tanh, which does not overflow."""
    return (1 + np.tanh(z / 2)) / 2


class Highway(Layer):
    """y = t h + (1 - t) x, for x of shape (N, features)."""

    def __init__(self, features, gate_bias=-2.0, seed=0):
        rng = np.random.default_rng(seed)
        self.weight_h = Parameter(rng.normal(0, features**-0.5, (features, features)))
        self.bias_h = Parameter(np.zeros(features))
        self.weight_t = Parameter(rng.normal(0, features**-0.5, (features, features)))
        self.bias_t = Parameter(np.full(features, float(gate_bias)))

    def forward(self, x):
        raise NotImplementedError("Task 11.1: h, t, and their mixture with x.")

    def backward(self, dy):
        raise NotImplementedError("Task 11.1: three ways from x to y.")


def mean_gate(layer, x):
    """The mean of the gate t of a Highway layer over all entries, at x: one float."""
    raise NotImplementedError("Task 11.2: with layer.weight_t.data and layer.bias_t.data.")


def closed_bias(mean):
    """The bias for which the gate is ``mean`` where its weights give 0."""
    raise NotImplementedError("Task 11.2: solve t = 1 / (1 + exp(-b)) for b.")


class SqueezeExcite(Layer):
    """y = e x, one e for each channel of each image; ``weight1`` (hidden, channels), ``weight2`` (channels, hidden)."""

    def __init__(self, channels, hidden, seed=0):
        rng = np.random.default_rng(seed)
        self.weight1 = Parameter(rng.normal(0, (2 / channels) ** 0.5, (hidden, channels)))
        self.weight2 = Parameter(rng.normal(0, (2 / hidden) ** 0.5, (channels, hidden)))

    def forward(self, x):
        raise NotImplementedError("Task 11.3: squeeze, two products, and one factor for each channel.")

    def backward(self, dy):
        raise NotImplementedError("Task 11.3: two ways from x to y.")
