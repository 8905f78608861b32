"""Assignment 6: convolution as one matrix product."""

import numpy as np

from minires import Layer, Parameter


def output_size(size, K, stride, padding):
    """How many windows of K fit into size + 2 padding, one every stride."""
    return (size + 2 * padding - K) // stride + 1


def im2col(x, K, stride, padding):
    """(N, C, H, W) -> (N, C, K, K, P, Q): entry (n, c, i, j, p, q) is padded x at (stride p + i, stride q + j)."""
    N, C, H, W = x.shape
    P, Q = output_size(H, K, stride, padding), output_size(W, K, stride, padding)
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    columns = np.empty((N, C, K, K, P, Q), x.dtype)
    for i in range(K):
        for j in range(K):
            columns[:, :, i, j] = padded[:, :, i : i + stride * P : stride, j : j + stride * Q : stride]
    return columns


def col2im(columns, shape, stride, padding):
    """The adjoint: where im2col read a pixel, add. Windows that overlap meet in one pixel, hence += in the loop."""
    N, C, H, W = shape
    K, P, Q = columns.shape[2], *columns.shape[4:]
    padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding), columns.dtype)
    for i in range(K):
        for j in range(K):
            padded[:, :, i : i + stride * P : stride, j : j + stride * Q : stride] += columns[:, :, i, j]
    return padded[:, :, padding : padding + H, padding : padding + W].copy()


class Conv2d(Layer):
    """y = W cols + b, with cols = im2col(x): dW = dy cols^T, dcols = W^T dy, dx = col2im(dcols)."""

    def __init__(self, channels, outputs, K, stride=1, padding=0, seed=0):
        self.stride, self.padding = stride, padding
        deviation = np.sqrt(2 / (channels * K * K))
        self.weight = Parameter(np.random.default_rng(seed).normal(0, deviation, (outputs, channels, K, K)))
        self.bias = Parameter(np.zeros(outputs))

    def forward(self, x):
        O, C, K, _ = self.weight.data.shape
        columns = im2col(x, K, self.stride, self.padding)
        N, P, Q = len(x), *columns.shape[4:]
        columns = columns.reshape(N, C * K * K, P * Q)
        y = self.weight.data.reshape(O, -1).astype(x.dtype) @ columns + self.bias.data.astype(x.dtype)[:, None]
        return self._remember(y.reshape(N, O, P, Q), columns, x.shape)

    def backward(self, dy):
        columns, shape = self._recall(dy)
        O, C, K, _ = self.weight.data.shape
        N, _, P, Q = dy.shape
        dy = dy.reshape(N, O, P * Q)
        self.weight.grad += np.sum(dy @ columns.transpose(0, 2, 1), axis=0).reshape(O, C, K, K)
        self.bias.grad += dy.sum(axis=(0, 2))
        dcolumns = self.weight.data.reshape(O, -1).T.astype(dy.dtype) @ dy
        return col2im(dcolumns.reshape(N, C, K, K, P, Q), shape, self.stride, self.padding)
