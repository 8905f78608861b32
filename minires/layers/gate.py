"""Paths multiplied: by a constant, by each other, by a gate."""

import numpy as np

from minires.checks import expected, real
from minires.layer import Layer
from minires.layers.compose import Identity, add, check_layers


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

    Examples
    --------
    >>> import numpy as np
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


class Product(Layer):
    r"""Two paths side by side, multiplied number by number: y = left(x) right(x).

    Parameters
    ----------
    left, right : Layer
        Such as a gate, whose y is between 0 and 1, and what it lets through.

    Shapes
    ------
    x, dx : as both paths take them;  y, dy : as both paths give them

    Backward
    --------
    By the product rule y changes by right times the change of left and by left times the change of right. So
    dleft = dy right and dright = dy left. Each goes back through its own path, and at x, which feeds both, they add:

    .. math::
        dx = J_{left}^T (dy \cdot right) + J_{right}^T (dy \cdot left)

    Examples
    --------
    >>> import numpy as np
    >>> Product(Identity(), Identity()).forward(np.array([3.0, -2.0]))
    array([9., 4.])
    """

    def __init__(self, left, right):
        check_layers(self, left=left, right=right)
        self.left, self.right = left, right

    @np.errstate(under="ignore")
    def forward(self, x):
        left, right = self.left.forward(x), self.right.forward(x)
        _check_same_shape(self, left=left, right=right)
        return self._remember(left * right, left, right)

    @np.errstate(under="ignore")
    def backward(self, dy):
        left, right = self._recall(dy)
        return add(self.left.backward(dy * right), self.right.backward(dy * left))


class Gated(Layer):
    r"""Two paths side by side, mixed by a gate: y = t h + (1 - t) s.

    ::

        x ---+---- branch ----- h ----(* t)-----(+)---> y
             |---- gate ------- t                |
             '---- shortcut --- s --(* 1 - t)----'

    Where t = 0, y is the shortcut; where t = 1, the branch. With a gate that is learned and an identity as shortcut
    this is a layer of a highway network.

    Parameters
    ----------
    branch : Layer
        H of [Srivastava2015], F of [He2016].
    gate : Layer
        T. Its y should lie between 0 and 1: a convolution or linear layer, then Sigmoid. A negative bias closes it.
    shortcut : Layer, default Identity()

    Shapes
    ------
    x, dx : as all three take them;  y, dy : as all three give them

    Backward
    --------
    y changes by t where h does, by 1 - t where s does, and by h - s where t does; x feeds all three, so

    .. math::
        dx = J_{branch}^T (dy \cdot t) + J_{shortcut}^T (dy \cdot (1 - t)) + J_{gate}^T (dy \cdot (h - s))

    With an identity as shortcut, 1 - t of dy goes straight on; through L such layers, the product of L such factors.

    References
    ----------
    .. [Srivastava2015] Srivastava, Greff and Schmidhuber, "Highway Networks", arXiv:1505.00387, equations 2 to 4.
    .. [He2016] He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027, section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> Gated(branch=Scale(10), gate=Scale(0.25)).forward(np.array([1.0]))  # 0.25 * 10 + 0.75 * 1
    array([3.25])
    """

    def __init__(self, branch, gate, shortcut=None):
        self.branch, self.gate = branch, gate
        self.shortcut = Identity() if shortcut is None else shortcut
        check_layers(self, branch=branch, gate=gate, shortcut=self.shortcut)

    @np.errstate(under="ignore")
    def forward(self, x):
        h, t, s = self.branch.forward(x), self.gate.forward(x), self.shortcut.forward(x)
        _check_same_shape(self, branch=h, gate=t, shortcut=s)
        return self._remember(t * h + (1 - t) * s, h, t, s)

    @np.errstate(under="ignore")
    def backward(self, dy):
        h, t, s = self._recall(dy)
        dx = add(self.branch.backward(dy * t), self.shortcut.backward(dy * (1 - t)))
        return add(dx, self.gate.backward(dy * (h - s)))


def _check_same_shape(layer, **paths):
    if len({y.shape for y in paths.values()}) > 1:
        got = ", ".join(f"{name} {y.shape}" for name, y in paths.items())
        hint = "Have they the same stride and the same number of channels?"
        raise expected(type(layer).__name__, "paths that give arrays of one shape", got, hint)
