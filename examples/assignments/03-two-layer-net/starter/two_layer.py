"""Assignment 3: a net of two layers. The hand-out, README.md, has the equations."""

import numpy as np

from minires import Layer, Parameter, ReLU  # noqa: F401  you will need them


class Linear(Layer):
    """y = x W^T + b, with ``weight`` W of shape (outputs, inputs) and ``bias`` b (outputs,)."""

    def __init__(self, inputs, outputs, seed=0):
        rng = np.random.default_rng(seed)
        self.weight = Parameter(rng.normal(0, np.sqrt(2 / inputs), (outputs, inputs)))
        self.bias = Parameter(np.zeros(outputs))

    def forward(self, x):
        raise NotImplementedError("Task 3.1: one matrix product; which operand is transposed?")

    def backward(self, dy):
        raise NotImplementedError("Task 3.1: add to weight.grad and bias.grad, return dx.")


def softmax_cross_entropy(logits, labels):
    """(N, K) floats, (N,) integers -> (mean loss, dL/dlogits)."""
    raise NotImplementedError("Task 3.2: first take the largest logit of each row from its row.")


class TwoLayerNet(Layer):
    """Linear(inputs, hidden), ReLU, Linear(hidden, classes)."""

    def __init__(self, inputs, hidden, classes, seed=0):
        raise NotImplementedError("Task 3.3: three layers as attributes; give them different seeds.")

    def forward(self, x):
        raise NotImplementedError("Task 3.3: through the three layers.")

    def backward(self, dy):
        raise NotImplementedError("Task 3.3: back through them.")


def train(net, x, labels, steps, lr):
    """Plain gradient descent on the whole set; return the loss of every step."""
    raise NotImplementedError("Task 3.4: forward, loss, zero the gradients, backward, step.")


def spiral(points=60, arms=3, seed=0):
    """Given: points on the arms of a spiral, (points * arms, 2), and the number of the arm of each."""
    rng = np.random.default_rng(seed)
    radius = np.tile(np.linspace(0.1, 1, points), arms)
    labels = np.repeat(np.arange(arms), points)
    angle = 4 * radius + 2 * np.pi * labels / arms + rng.normal(0, 0.1, points * arms)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), labels
