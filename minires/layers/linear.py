"""The fully connected layer, and what makes vectors of images."""

import numpy as np

from minires.layer import Layer, Parameter


class Linear(Layer):
    r"""Multiply by a matrix and add a vector: y = x W^T + b, one example a row.

    Parameters
    ----------
    in_features, out_features : int
        D and K.
    bias : bool, default True
    rng : numpy.random.Generator or int, optional
        Source of the initial weights, normal with sigma = sqrt(2 / D) [He2015]. The bias starts at 0.

    Shapes
    ------
    x, dx : (N, D);  y, dy : (N, K);  weight : (K, D);  bias : (K,)

    Backward
    --------
    y[n, k] = sum_d x[n, d] W[k, d] + b[k]. Each entry of W meets every example once, each entry of x every
    output, hence the sums over n and over k:

    .. math::
        dW[k, d] = \sum_n dy[n, k] \, x[n, d], \qquad db[k] = \sum_n dy[n, k],
        \qquad dx[n, d] = \sum_k dy[n, k] \, W[k, d]

    that is dW = dy^T x and dx = dy W: the only products whose shapes fit.

    References
    ----------
    .. [He2015] He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", arXiv:1502.01852, section 2.2.
    """

    def __init__(self, in_features, out_features, bias=True, rng=None):
        if min(in_features, out_features) < 1:
            raise ValueError(
                f"Linear: expected in_features and out_features of at least 1, got {in_features} and {out_features}."
            )
        self.in_features, self.out_features = in_features, out_features
        weight = np.random.default_rng(rng).normal(0, np.sqrt(2 / in_features), (out_features, in_features))
        self.weight = Parameter(weight.astype(np.float32))
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None

    def forward(self, x):
        self._check_input(x, "N", self.in_features)
        y = x @ self.weight.data.astype(x.dtype, copy=False).T
        if self.bias is not None:
            y = y + self.bias.data.astype(x.dtype, copy=False)
        return self._remember(y, x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        self.weight.grad += dy.T @ x
        if self.bias is not None:
            self.bias.grad += dy.sum(axis=0)
        return dy @ self.weight.data.astype(x.dtype, copy=False)

    def __repr__(self):
        return f"{type(self).__name__}({self.in_features}, {self.out_features}{'' if self.bias else ', bias=False'})"


class Flatten(Layer):
    """Lay all axes after the first in one row: (N, C, H, W) becomes (N, C*H*W).

    Shapes
    ------
    x, dx : (N, ...);  y, dy : (N, product of the rest)

    Backward
    --------
    Each number only moves to another place; dy moves back: dx = dy in the shape of x.
    """

    def forward(self, x):
        self._check_floats("x", x)
        return self._remember(x.reshape(len(x), -1), x.shape)

    def backward(self, dy):
        (x_shape,) = self._recall(dy)
        return dy.reshape(x_shape)
