"""Layers made of layers: one after another, or side by side and then added, multiplied, mixed or joined."""

import numpy as np

from minires import kernels
from minires.checks import expected, require, shown
from minires.layer import Layer


class Identity(Layer):
    """Hand x on: y = x, and so dx = dy. The shortcut wherever a residual block keeps the shape of x."""

    def forward(self, x):
        self._check_floats("x", x)
        return self._remember(x)

    def backward(self, dy):
        self._recall(dy)
        return dy


class Sequential(Layer):
    r"""Layers one after another: y = f_k(... f_2(f_1(x))).

    Parameters
    ----------
    *layers : Layer
        Named "0", "1", ...
    **named : Layer
        Named as given: ``Sequential(conv1=..., bn1=...)`` has the attributes ``conv1`` and ``bn1``.

    Both kinds can be reached by index. A layer stored as a further attribute comes after the others.

    Shapes
    ------
    x, dx : as the first layer takes them;  y, dy : as the last one gives them

    Backward
    --------
    With J_i the matrix of derivatives of f_i, the chain rule gives J_k ... J_2 J_1 for the whole, and

    .. math::
        dx = J_1^T (J_2^T \cdots (J_k^T \, dy))

    From the inside out that is one ``backward`` after another, the last layer first, and never a product of matrices.

    >>> net = Sequential(first=Identity(), second=Identity())
    >>> len(net), net[0] is net.first
    (2, True)
    """

    def __init__(self, *layers, **named):
        set_parts(self, "layer", layers, **named)

    def forward(self, x):
        for _, layer in self.children():
            x = layer.forward(x)
        return x

    def backward(self, dy):
        for _, layer in reversed(self.children()):
            dy = layer.backward(dy)
        return dy

    def __getitem__(self, index):
        return [layer for _, layer in self.children()][index]

    def __iter__(self):
        return iter(self[:])

    def __len__(self):
        return len(self[:])


class Residual(Layer):
    r"""Two paths side by side, added: y = branch(x) + shortcut(x).

    ::

        x ---+---- branch ----(+)---> y
             |                 |
             '--- shortcut ----'

    Parameters
    ----------
    branch : Layer
        What is learned, F.
    shortcut : Layer, default Identity()
        What carries x past it: where the branch changes the shape, a SubsampleShortcut or a 1x1 convolution.

    Shapes
    ------
    x, dx : as both paths take them;  y, dy : as both paths give them

    Backward
    --------
    A small change of x changes y by J_branch delta x + J_shortcut delta x, so

    .. math::
        dx = J_{branch}^T \, dy + J_{shortcut}^T \, dy

    An identity has J = I: then dx = J_branch^T dy + dy. Through L such blocks, whatever their branches do, one term
    of dx is the dy of the last, multiplied by nothing ([He2016], equation 5).

    References
    ----------
    .. [He2015] He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 3.
    .. [He2016] He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027, section 2.

    >>> Residual(branch=Identity()).forward(np.array([1.0, 2.0]))
    array([2., 4.])
    """

    def __init__(self, branch, shortcut=None):
        set_parts(self, "", (), branch=branch, shortcut=Identity() if shortcut is None else shortcut)

    def forward(self, x):
        return add(self.branch.forward(x), self.shortcut.forward(x))

    def backward(self, dy):
        # x feeds both paths, so their gradients add; an identity shortcut hands dy on undiminished.
        return add(self.branch.backward(dy), self.shortcut.backward(dy))


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

    >>> from minires import ReLU
    >>> Concat(Identity(), ReLU()).forward(np.array([[1.0, -2.0]]))
    array([[ 1., -2.,  1.,  0.]])
    """

    def __init__(self, *branches, **named):
        require(branches or named, "Concat", "at least one branch", "none")
        set_parts(self, "branch", branches, **named)

    def forward(self, x):
        parts = [branch.forward(x) for _, branch in self.children()]
        if len({(len(part), *part.shape[2:]) for part in parts}) > 1:
            raise expected(
                "Concat",
                "branches whose outputs differ in channels only",
                ", ".join(str(part.shape) for part in parts),
                "Have all the same stride, and a padding that keeps the size?",
            )
        ends = np.cumsum([part.shape[1] for part in parts])
        return self._remember(np.concatenate(parts, axis=1), ends[:-1])

    def backward(self, dy):
        (ends,) = self._recall(dy)
        pieces = np.split(dy, ends, axis=1)
        return sum(branch.backward(piece) for (_, branch), piece in zip(self.children(), pieces))


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

    >>> Product(Identity(), Identity()).forward(np.array([3.0, -2.0]))
    array([9., 4.])
    """

    def __init__(self, left, right):
        set_parts(self, "", (), left=left, right=right)

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

    >>> from minires import Scale
    >>> Gated(branch=Scale(10), gate=Scale(0.25)).forward(np.array([1.0]))  # 0.25 * 10 + 0.75 * 1
    array([3.25])
    """

    def __init__(self, branch, gate, shortcut=None):
        set_parts(self, "", (), branch=branch, gate=gate, shortcut=Identity() if shortcut is None else shortcut)

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


def set_parts(owner, word, parts, /, **named):
    """Make the parts of a composite its attributes: "0", "1", ..., then those with names. Errors call them ``word``."""
    kind = type(owner).__name__
    hint = f"Is a star missing, {kind}(*layers), or are the parentheses after a class?"
    for name, part in [*((str(i), part) for i, part in enumerate(parts)), *named.items()]:
        called = f"{word} {name!r}" if word else name
        require(isinstance(part, Layer), kind, f"{called} to be a Layer", shown(part), hint)
        if hasattr(owner, name):
            raise ValueError(f"{kind}: no {word} can be named {name!r}, an attribute that every {kind} has.")
        setattr(owner, name, part)


def add(a, b):
    """a + b, for arrays of one shape: nothing is broadcast."""
    if a.shape != b.shape:
        hint = (
            "Are they branch and shortcut of a Residual? Where the branch changes channels or size, use "
            "SubsampleShortcut or a 1x1 Conv2d as shortcut."
        )
        raise expected("add", "two arrays of one shape", f"{a.shape} and {b.shape}", hint)
    return kernels.add(a, b)


def _check_same_shape(layer, **paths):
    if len({y.shape for y in paths.values()}) > 1:
        got = ", ".join(f"{name} {y.shape}" for name, y in paths.items())
        hint = "Have they the same stride and the same number of channels?"
        raise expected(type(layer).__name__, "paths that give arrays of one shape", got, hint)
