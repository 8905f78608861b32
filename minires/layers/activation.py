"""Nonlinearities, applied to each number by itself; x of any shape."""

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
    The slope of y is 1 where x > 0 and 0 where x < 0; at the kink, x = 0, it is taken as 0. Since y > 0 exactly
    where x > 0, the output alone is kept: dx = dy where y > 0, else 0.

    References
    ----------
    .. [Nair2010] Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", ICML 2010.
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

    With e = exp(-\|x\|), which cannot overflow, y = 1 / (1 + e) for x >= 0 and e / (1 + e) for x < 0.

    Shapes
    ------
    x, y, dx, dy : any, all the same

    Backward
    --------
    From y = (1 + e^{-x})^{-1}, the slope is e^{-x} (1 + e^{-x})^{-2} = y (1 - y), so dx = dy y (1 - y).

    References
    ----------
    .. [Srivastava2015] Srivastava, Greff and Schmidhuber, "Highway Networks", arXiv:1505.00387: the gate T.
    """

    def forward(self, x):
        self._check_floats("x", x)
        e = np.exp(-np.abs(x))
        y = np.where(x >= 0, 1, e) / (1 + e)
        return self._remember(y, y)

    def backward(self, dy):
        (y,) = self._recall(dy)
        return dy * y * (1 - y)
