"""Branches side by side, their channels laid one after another."""

import numpy as np

from minires.checks import expected, require
from minires.layer import Layer
from minires.layers.compose import name_parts


class Concat(Layer):
    r"""Branches side by side: the channels of y are those of the first, then those of the second, ...

    Parameters
    ----------
    *branches : Layer
        Named "0", "1", ... as in Sequential.
    **named : Layer
        Named as given.

    Shapes
    ------
    x, dx : as every branch takes them;  y, dy : (N, sum of the branches' channels, ...)

    Backward
    --------
    Each number of y is one of one branch, so dy is cut where y was joined. x feeds every branch: their gradients add,

    .. math::
        dx = \sum_i J_i^T \, dy_i

    References
    ----------
    .. [Szegedy2014] Szegedy et al., "Going Deeper with Convolutions", arXiv:1409.4842, section 4.

    Examples
    --------
    >>> from minires.layers import Identity, ReLU
    >>> Concat(Identity(), ReLU()).forward(np.array([[1.0, -2.0]]))
    array([[ 1., -2.,  1.,  0.]])
    """

    def __init__(self, *branches, **named):
        require(branches or named, "Concat", "at least one branch", "none")
        name_parts(self, "branch", branches, named)

    def branches(self):
        return [branch for _, branch in self.children()]

    def forward(self, x):
        parts = [branch.forward(x) for branch in self.branches()]
        if len({(len(part), *part.shape[2:]) for part in parts}) > 1:
            shapes = ", ".join(str(part.shape) for part in parts)
            hint = "Have all the same stride, and a padding that keeps the size?"
            raise expected("Concat", "branches whose outputs differ in channels only", shapes, hint)
        ends = np.cumsum([part.shape[1] for part in parts])
        return self._remember(np.concatenate(parts, axis=1), ends[:-1])

    def backward(self, dy):
        (ends,) = self._recall(dy)
        pieces = np.split(dy, ends, axis=1)
        return sum(branch.backward(piece) for branch, piece in zip(self.branches(), pieces))
