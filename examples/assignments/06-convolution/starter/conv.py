"""Assignment 6: convolution as one matrix product. The hand-out, README.md, has the equations."""

import numpy as np

from minires import Layer, Parameter


def output_size(size, K, stride, padding):
    """Given: how many windows of K fit into size + 2 padding, one every stride."""
    return (size + 2 * padding - K) // stride + 1


def im2col(x, K, stride, padding):
    """(N, C, H, W) -> (N, C, K, K, P, Q): entry (n, c, i, j, p, q) is padded x at (stride p + i, stride q + j)."""
    raise NotImplementedError("Task 6.1: np.pad, then one strided slice for each (i, j).")


def col2im(columns, shape, stride, padding):
    """The adjoint of im2col: (N, C, K, K, P, Q) -> shape (N, C, H, W), adding where im2col copied."""
    raise NotImplementedError("Task 6.2: the same slices, on the other side of +=; then cut the padding off.")


class Conv2d(Layer):
    """A convolution with ``weight`` (O, C, K, K) and ``bias`` (O,)."""

    def __init__(self, channels, outputs, K, stride=1, padding=0, seed=0):
        self.stride, self.padding = stride, padding
        deviation = np.sqrt(2 / (channels * K * K))
        self.weight = Parameter(np.random.default_rng(seed).normal(0, deviation, (outputs, channels, K, K)))
        self.bias = Parameter(np.zeros(outputs))

    def forward(self, x):
        raise NotImplementedError(
            "Task 6.3 (and Task 6.4 after it): one product of weights and columns, plus the bias."
        )

    def backward(self, dy):
        raise NotImplementedError("Task 6.4: the three derivatives of a linear layer, then col2im.")
