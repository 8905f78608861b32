"""Assignment 7: pooling. The hand-out, README.md, has the equations."""

import numpy as np  # noqa: F401  you will need it

from minires import Layer


def window_slices(shape, K, stride):
    """Given: for each offset (i, j) of the window, an index such that x[index] is what it sees in all windows.

    x[index] has the shape of y. The offsets come in reading order: (0, 0), (0, 1), ..., (K - 1, K - 1).
    """
    P, Q = (shape[2] - K) // stride + 1, (shape[3] - K) // stride + 1
    return [
        (..., slice(i, i + stride * (P - 1) + 1, stride), slice(j, j + stride * (Q - 1) + 1, stride))
        for i in range(K)
        for j in range(K)
    ]


class MaxPool2d(Layer):
    """The largest number of each window."""

    def __init__(self, K, stride):
        self.K, self.stride = K, stride

    def forward(self, x):
        raise NotImplementedError("Task 7.1 (and Task 7.2 after it): begin with a copy of what the first offset sees.")

    def backward(self, dy):
        raise NotImplementedError("Task 7.2: for each offset, add dy where this offset has won.")


class AvgPool2d(Layer):
    """The mean of each window."""

    def __init__(self, K, stride):
        self.K, self.stride = K, stride

    def forward(self, x):
        raise NotImplementedError("Task 7.3: a sum over the offsets, divided by their number.")

    def backward(self, dy):
        raise NotImplementedError("Task 7.3: what does each offset get of dy?")
