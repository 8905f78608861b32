"""Assignment 14: a recurrent network. The hand-out, README.md, has the equations."""

import numpy as np

from minires import Layer, Parameter


def step(x, h, weight_x, weight_h, bias):
    """(N, D), (N, H) -> (N, H): the next state."""
    raise NotImplementedError("Task 14.1: tanh of a sum of three.")


class RNN(Layer):
    """(N, T, D) -> (N, T, H): all states, from a start at 0."""

    def __init__(self, inputs, hidden, window=None, seed=0):
        rng = np.random.default_rng(seed)
        self.window = window
        self.weight_x = Parameter(rng.normal(0, inputs**-0.5, (hidden, inputs)))
        self.weight_h = Parameter(rng.normal(0, hidden**-0.5, (hidden, hidden)))
        self.bias = Parameter(np.zeros(hidden))

    def forward(self, x):
        raise NotImplementedError("Task 14.2 (Task 14.3 needs it): a loop over t; keep all states.")

    def backward(self, dy):
        raise NotImplementedError("Task 14.2, and Task 14.3 with a window: from the last step to the first.")


def clip(gradients, most):
    """Scale all arrays in place by one factor so that their common norm is at most ``most``; return the norm before."""
    raise NotImplementedError("Task 14.4: one norm of all arrays together.")


def clipped(gradients, most):
    """Given: (norm, arrays) after ``clip`` has worked on copies; the tests call this."""
    copies = [gradient.copy() for gradient in gradients]
    return clip(copies, most), copies
