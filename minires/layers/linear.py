"""The fully connected layer, and what turns images into its vectors."""

import numpy as np

from minires import kernels
from minires.checks import flag, generator, sizes
from minires.layer import Layer, Parameter


class Linear(Layer):
    r"""Multiply by a matrix and add a vector; every row of x is one example.

    .. math::
        y = x \, w^T + b, \qquad y[n, k] = \sum_j x[n, j] \, w[k, j] + b[k]

    Parameters
    ----------
    in_features, out_features : int
        D and K.
    bias : bool, default True
        Whether there is a b.
    rng : numpy.random.Generator or int, optional
        Draws w from a normal distribution with sigma = sqrt(2 / D) [He2015]. b starts at 0.

    Shapes
    ------
    x, dx : (N, D);  y, dy : (N, K);  weight : (K, D);  bias : (K,)

    Backward
    --------
    w[k, j] meets every example once, with the factor x[n, j]; b[k] with the factor 1; x[n, j] meets every output once,
    with the factor w[k, j]. By the chain rule each adds up dy times its factor:

    .. math::
        dw[k, j] = \sum_n dy[n, k] \, x[n, j], \qquad db[k] = \sum_n dy[n, k],
        \qquad dx[n, j] = \sum_k dy[n, k] \, w[k, j]

    that is dw = dy^T x and dx = dy w. No other order of the factors fits the shapes.

    References
    ----------
    .. [He2015] He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", arXiv:1502.01852, section 2.2.

    >>> Linear(64, 10, rng=0).forward(np.zeros((2, 64), np.float32)).shape
    (2, 10)
    """

    def __init__(self, in_features, out_features, bias=True, rng=None):
        self.in_features, self.out_features = D, K = sizes("Linear", in_features=in_features, out_features=out_features)
        self.weight = Parameter(generator("Linear", rng).normal(0, np.sqrt(2 / D), (K, D)).astype(np.float32))
        self.bias = Parameter(np.zeros(K, np.float32)) if flag("Linear", "bias", bias) else None

    def forward(self, x):
        K, D = self.out_features, self.in_features
        weight, bias = self._check_input(x, "N", D, weight=(K, D), bias=(K,))
        return self._remember(kernels.linear(x, weight, bias), x, weight)

    def backward(self, dy):
        x, weight = self._recall(dy)
        self.weight.grad += kernels.linear_weight_gradient(dy, x)
        if self.bias:
            self.bias.grad += dy.sum(axis=0)
        return kernels.linear_input_gradient(dy, weight)


class Flatten(Layer):
    """Lay all axes after the first in one row: (N, C, H, W) becomes (N, C*H*W).

    Shapes
    ------
    x, dx : (N, ...);  y, dy : (N, product of the others)

    Backward
    --------
    No number changes, each only gets another index; so does its gradient: dx is dy in the shape of x.

    >>> Flatten().forward(np.zeros((8, 3, 4, 4), np.float32)).shape
    (8, 48)
    """

    def forward(self, x):
        self._check_input(x, "N", *np.shape(x)[1:])
        return self._remember(x.reshape(len(x), -1), x.shape)

    def backward(self, dy):
        (x_shape,) = self._recall(dy)
        return dy.reshape(x_shape)
