"""Assignment 7: pooling."""

import numpy as np

from minires import Layer


def window_slices(shape, K, stride):
    """For each offset (i, j) of the window, the slices of rows and columns that it sees in all windows."""
    P, Q = (shape[2] - K) // stride + 1, (shape[3] - K) // stride + 1
    return [
        (..., slice(i, i + stride * (P - 1) + 1, stride), slice(j, j + stride * (Q - 1) + 1, stride))
        for i in range(K)
        for j in range(K)
    ]


class MaxPool2d(Layer):
    """y = max over a window. y moves with the largest x alone: its slope is 1 there and 0 elsewhere."""

    def __init__(self, K, stride):
        self.K, self.stride = K, stride

    def forward(self, x):
        slices = window_slices(x.shape, self.K, self.stride)
        y = x[slices[0]].copy()
        winner = np.zeros(y.shape, np.int64)
        for offset, where in enumerate(slices[1:], 1):
            better = x[where] > y
            y[better] = x[where][better]
            winner[better] = offset
        return self._remember(y, x.shape, winner)

    def backward(self, dy):
        shape, winner = self._recall(dy)
        dx = np.zeros(shape, dy.dtype)
        for offset, where in enumerate(window_slices(shape, self.K, self.stride)):
            dx[where] += np.where(winner == offset, dy, 0)
        return dx


class AvgPool2d(Layer):
    """y = mean over a window. Each pixel of it has the slope 1 / K^2; a pixel in two windows gets from both."""

    def __init__(self, K, stride):
        self.K, self.stride = K, stride

    def forward(self, x):
        y = sum(x[where] for where in window_slices(x.shape, self.K, self.stride)) / self.K**2
        return self._remember(y.astype(x.dtype), x.shape)

    def backward(self, dy):
        (shape,) = self._recall(dy)
        dx = np.zeros(shape, dy.dtype)
        for where in window_slices(shape, self.K, self.stride):
            dx[where] += dy / self.K**2
        return dx
