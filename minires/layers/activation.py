"""Functions of each number by itself: nonlinearities, and a constant factor."""

import numpy as np

from minires import kernels
from minires.checks import real
from minires.layer import Layer


class ReLU(Layer):
    r"""Keep what is positive: y = max(x, 0).

    Shapes
    ------
    x, y, dx, dy : any, all the same

    Backward
    --------
    The slope is 1 where x > 0 and 0 where x < 0; at the kink, x = 0, we take 0. Since y > 0 exactly where x > 0, it
    is enough to keep y: dx = dy where y > 0, else 0.

    References
    ----------
    .. [Glorot2011] Glorot, Bordes and Bengio, "Deep Sparse Rectifier Neural Networks", AISTATS 2011, section 3.

    >>> ReLU().forward(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """

    def forward(self, x):
        self._check_floats("x", x)
        y = kernels.relu(x)
        return self._remember(y, y)

    def backward(self, dy):
        (y,) = self._recall(dy)
        return kernels.relu_backward(dy, y)


class Sigmoid(Layer):
    r"""Squash into (0, 1): y = 1 / (1 + exp(-x)).

    Computed with e = exp(-\|x\|), which cannot overflow: 1 / (1 + e) for x >= 0, and e / (1 + e) for x < 0.

    Shapes
    ------
    x, y, dx, dy : any, all the same

    Backward
    --------
    The slope of 1 / (1 + exp(-x)) is exp(-x) / (1 + exp(-x))^2, and exp(-x) / (1 + exp(-x)) is 1 - y. So the slope
    is y (1 - y), at most 1/4, and dx = dy y (1 - y).

    References
    ----------
    .. [Srivastava2015] Srivastava, Greff and Schmidhuber, "Highway Networks", arXiv:1505.00387, section 2: the gate.

    >>> Sigmoid().forward(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """

    @np.errstate(under="ignore")
    def forward(self, x):
        self._check_floats("x", x)
        e = np.exp(-np.abs(x))
        y = np.where(x >= 0, 1, e) / (1 + e)
        return self._remember(y, y)

    @np.errstate(under="ignore")
    def backward(self, dy):
        (y,) = self._recall(dy)
        return dy * y * (1 - y)


class Scale(Layer):
    """Multiply by a constant: y = factor x.

    Shapes
    ------
    x, y, dx, dy : any, all the same

    Backward
    --------
    y changes by factor times the change of x, so dx = factor dy. Through L of them in a row dx = factor^L dy: that is
    what a factor on the shortcuts does to a deep net ([He2016], equation 8).

    References
    ----------
    .. [He2016] He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027, section 3.

    >>> Scale(0.5).forward(np.array([1.0, -2.0]))
    array([ 0.5, -1. ])
    """

    def __init__(self, factor):
        self.factor = real("Scale", "factor", factor)

    def forward(self, x):
        self._check_floats("x", x)
        return self._remember(self.factor * x)

    def backward(self, dy):
        self._recall(dy)
        return self.factor * dy
