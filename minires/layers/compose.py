"""Layers made of layers: one after another, and side by side. They keep nothing; their children do."""

from minires import kernels
from minires.layer import Layer


class Identity(Layer):
    """Hand x on: y = x, and so dx = dy. The shortcut of a residual block whose shape does not change."""

    def forward(self, x):
        self._check_floats("x", x)
        return self._remember(x)

    def backward(self, dy):
        self._recall(dy)
        return dy


class Sequential(Layer):
    r"""Apply layers one after another: y = f_k(... f_2(f_1(x))).

    Parameters
    ----------
    *layers : Layer
        Named "0", "1", ...
    **named : Layer
        Named by their keywords, ``Sequential(conv1=..., bn1=...)``, and reached as attributes, ``net.conv1``.

    Shapes
    ------
    x, dx : as the first layer takes it;  y, dy : as the last one returns it

    Backward
    --------
    By the chain rule, dL/dx = J_1^T (J_2^T ... (J_k^T dy)), J_i the derivative of f_i: the last layer first, so that
    each step is a product with a vector and no matrix of derivatives is ever formed.

    Examples
    --------
    >>> net = Sequential(first=Identity(), second=Identity())
    >>> len(net), net[0] is net.first
    (2, True)
    """

    def __init__(self, *layers, **named):
        for name, layer in [*((str(i), layer) for i, layer in enumerate(layers)), *named.items()]:
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"Sequential: expected layer {name!r} to be a Layer, got {layer!r}. "
                    "Is a list missing its star, Sequential(*layers), or a class its parentheses?"
                )
            if hasattr(self, name):
                raise ValueError(f"Sequential: no layer can be named {name!r}, an attribute that every layer has.")
            setattr(self, name, layer)

    def forward(self, x):
        for layer in self:
            x = layer.forward(x)
        return x

    def backward(self, dy):
        for layer in reversed(self):
            dy = layer.backward(dy)
        return dy

    def __getitem__(self, index):
        return [member for _, member in self._members() if isinstance(member, Layer)][index]

    def __len__(self):
        return len(self[:])

    def __repr__(self):
        return tree(self)


class Residual(Layer):
    r"""Two paths side by side, added: y = branch(x) + shortcut(x).

    ::

            x ----+---- branch -----+---> y
                  |                 |
                  +--- shortcut ----+

    Parameters
    ----------
    branch : Layer
        F, what is learned on top of the shortcut.
    shortcut : Layer, default Identity()
        Where the branch changes the shape of x, a SubsampleShortcut or a projection.

    Shapes
    ------
    x, dx : (N, C, H, W);  y, dy : as both paths return it

    Backward
    --------
    x feeds both paths, and y takes both with weight 1, so dx = J_branch^T dy + J_shortcut^T dy. With the identity as
    shortcut, dx = J_branch^T dy + dy: whatever the branch does to dy, dy itself arrives undiminished, through every
    such block one after another ([He2016], equation 5).

    References
    ----------
    .. [He2015] He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 3.2.
    .. [He2016] He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027, section 2.
    """

    def __init__(self, branch, shortcut=None):
        self.branch = branch
        self.shortcut = Identity() if shortcut is None else shortcut

    def forward(self, x):
        return add(self.branch.forward(x), self.shortcut.forward(x))

    def backward(self, dy):
        # x feeds both paths, so their gradients add; an identity shortcut hands dy on undiminished.
        return add(self.branch.backward(dy), self.shortcut.backward(dy))

    def __repr__(self):
        return tree(self)


def add(a, b):
    """a + b, for two arrays of one shape and dtype; nothing is broadcast."""
    if a.shape != b.shape:
        raise ValueError(
            f"Residual: expected branch and shortcut to give one shape, got {a.shape} and {b.shape}. "
            "Where the branch changes channels or stride, use SubsampleShortcut or a 1x1 Conv2d with its stride."
        )
    return kernels.add(a, b)


def tree(layer):
    """The layer and those below it, one a line, each with its name."""
    lines = [f"{type(layer).__name__}("]
    for name, member in layer._members():
        if isinstance(member, Layer):
            lines.append(f"  ({name}): " + repr(member).replace("\n", "\n  "))
    return "\n".join([*lines, ")"])
