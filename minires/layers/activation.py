"""Nonlinearities: functions of each number by itself."""

import numpy as np

from minires import kernels
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

    Examples
    --------
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

    Examples
    --------
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
