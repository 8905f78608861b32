"""Layers made of layers: one after another, and side by side. They keep nothing themselves; their parts do."""

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

    Examples
    --------
    >>> net = Sequential(first=Identity(), second=Identity())
    >>> len(net), net[0] is net.first
    (2, True)
    """

    def __init__(self, *layers, **named):
        name_parts(self, "layer", layers, named)

    def forward(self, x):
        for layer in self:
            x = layer.forward(x)
        return x

    def backward(self, dy):
        for layer in self[::-1]:
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

    Examples
    --------
    >>> import numpy as np
    >>> Residual(branch=Identity()).forward(np.array([1.0, 2.0]))
    array([2., 4.])
    """

    def __init__(self, branch, shortcut=None):
        self.branch = branch
        self.shortcut = Identity() if shortcut is None else shortcut
        check_layers(self, branch=branch, shortcut=self.shortcut)

    def forward(self, x):
        return add(self.branch.forward(x), self.shortcut.forward(x))

    def backward(self, dy):
        # x feeds both paths, so their gradients add; an identity shortcut hands dy on undiminished.
        return add(self.branch.backward(dy), self.shortcut.backward(dy))


def name_parts(owner, word, parts, named):
    """Make the parts of a composite its attributes: "0", "1", ..., then those with names of their own."""
    named = {str(i): part for i, part in enumerate(parts)} | named
    check_layers(owner, **{f"{word} {name!r}": part for name, part in named.items()})
    for name, part in named.items():
        if hasattr(owner, name):
            who = type(owner).__name__
            raise ValueError(f"{who}: no {word} can be named {name!r}, an attribute that every {who} has.")
        setattr(owner, name, part)


def check_layers(owner, **parts):
    """The parts of a composite are Layers."""
    kind = type(owner).__name__
    hint = f"Is a star missing, {kind}(*layers), or are the parentheses after a class?"
    for name, part in parts.items():
        require(isinstance(part, Layer), kind, f"{name} to be a Layer", shown(part), hint)


def add(a, b):
    """a + b, for arrays of one shape: nothing is broadcast."""
    if a.shape != b.shape:
        hint = "Are they branch and shortcut of a Residual? Where the branch changes channels or size, use "
        hint += "SubsampleShortcut or a 1x1 Conv2d as shortcut."
        raise expected("add", "two arrays of one shape", f"{a.shape} and {b.shape}", hint)
    return kernels.add(a, b)
