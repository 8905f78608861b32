"""Assignment 3: a net of two layers."""

import numpy as np

from minires import Layer, Parameter, ReLU


class Linear(Layer):
    """y = x W^T + b, with ``weight`` W of shape (outputs, inputs) and ``bias`` b (outputs,).

    y_nk = sum_d x_nd W_kd + b_k. Each sum below runs over the index that the result does not have:
    dW_kd = sum_n dy_nk x_nd, db_k = sum_n dy_nk, dx_nd = sum_k dy_nk W_kd.
    """

    def __init__(self, inputs, outputs, seed=0):
        rng = np.random.default_rng(seed)
        self.weight = Parameter(rng.normal(0, np.sqrt(2 / inputs), (outputs, inputs)))
        self.bias = Parameter(np.zeros(outputs))

    def forward(self, x):
        y = x @ self.weight.data.T.astype(x.dtype) + self.bias.data.astype(x.dtype)
        return self._remember(y, x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        self.weight.grad += dy.T @ x
        self.bias.grad += dy.sum(axis=0)
        return dy @ self.weight.data.astype(dy.dtype)


def softmax_cross_entropy(logits, labels):
    """(N, K) floats, (N,) integers -> (mean loss, dL/dlogits).

    L = mean over n of log sum_j exp(z_nj) - z_n,label. The derivative of the first term by z_nk is p_nk, that of the
    second is 1 where k is the label. A number taken from a whole row cancels in L, so exp never sees more than 0.
    """
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    exp = np.exp(shifted)
    sums = exp.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(sums[:, 0]) - shifted[rows, labels])
    dlogits = exp / sums
    dlogits[rows, labels] -= 1
    return loss, dlogits / len(labels)


class TwoLayerNet(Layer):
    """Linear(inputs, hidden), ReLU, Linear(hidden, classes)."""

    def __init__(self, inputs, hidden, classes, seed=0):
        self.first = Linear(inputs, hidden, seed)
        self.relu = ReLU()
        self.second = Linear(hidden, classes, seed + 1)

    def forward(self, x):
        return self.second.forward(self.relu.forward(self.first.forward(x)))

    def backward(self, dy):
        return self.first.backward(self.relu.backward(self.second.backward(dy)))


def train(net, x, labels, steps, lr):
    """Plain gradient descent on the whole set; return the loss of every step."""
    losses = []
    for _ in range(steps):
        loss, dlogits = softmax_cross_entropy(net.forward(x), labels)
        net.zero_grad()
        net.backward(dlogits)
        for parameter in net.parameters():
            parameter.data -= lr * parameter.grad
        losses.append(loss)
    return losses


def spiral(points=60, arms=3, seed=0):
    """Given: points on the arms of a spiral, (points * arms, 2), and the number of the arm of each."""
    rng = np.random.default_rng(seed)
    radius = np.tile(np.linspace(0.1, 1, points), arms)
    labels = np.repeat(np.arange(arms), points)
    angle = 4 * radius + 2 * np.pi * labels / arms + rng.normal(0, 0.1, points * arms)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), labels
