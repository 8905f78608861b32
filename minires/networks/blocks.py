"""Blocks: the repeated pieces of a network, composed by functions from layers. No block is a class.

The two blocks of [He2015], Fig. 2, side by side, with their derivative::

         x                                x
         |                                |------------------.
       conv1 -> bn1 -> relu1            conv1 -> bn1 -> relu  |
       conv2 -> bn2 -> relu2            conv2 -> bn2          | shortcut
         |                                |                   |
         y = H(x)                         + <-----------------'
                                         relu
         plain                            |
         dx = H'(x)^T dy                  y = relu(F(x) + x)
                                         residual, dx = F'(x)^T dz + dz,  dz = dy * (y > 0)

The sum in the last line is the whole idea: with an identity shortcut, dz reaches the layers below undiminished,
whatever F is.

References
----------
.. [He2015] He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
"""

import numpy as np

from minires.layers import BatchNorm2d, Conv2d, Identity, ReLU, Residual, Sequential, SubsampleShortcut


def conv3x3(in_channels, out_channels, stride=1, rng=None):
    """Return the papers' convolution: 3x3, padded to keep the size, no bias (the batch norm after it has one)."""
    return Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False, rng=rng)


def option_a(in_channels, out_channels, stride, rng):
    """No parameters: the identity, or every stride-th pixel with channels of zeros added."""
    if (in_channels, stride) == (out_channels, 1):
        return Identity()
    return SubsampleShortcut(in_channels, out_channels, stride)


def option_b(in_channels, out_channels, stride, rng):
    """The identity, or a 1x1 convolution and batch norm where the shape changes."""
    if (in_channels, stride) == (out_channels, 1):
        return Identity()
    return option_c(in_channels, out_channels, stride, rng)


def option_c(in_channels, out_channels, stride, rng):
    """A 1x1 convolution and batch norm in every block."""
    projection = Conv2d(in_channels, out_channels, 1, stride=stride, bias=False, rng=rng)
    return Sequential(projection, BatchNorm2d(out_channels))


SHORTCUTS = {"A": option_a, "B": option_b, "C": option_c}


def shortcut_path(name, in_channels, out_channels, stride, rng):
    """Return the layer that carries x past the branch, by its name in ``SHORTCUTS``.

    It draws its weights from a stream of its own: the branches of a plain net and of residual nets with any
    shortcut start from the same weights when they are given the same seed.
    """
    if name not in SHORTCUTS:
        raise ValueError(f"shortcut: expected one of {', '.join(SHORTCUTS)}, got {name!r}.")
    return SHORTCUTS[name](in_channels, out_channels, stride, rng.spawn(1)[0])


def basic_block(in_channels, out_channels, stride=1, shortcut="A", rng=None):
    """Return a block of two 3x3 convolutions, plain or residual.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of x and of y.
    stride : int, default 1
        Of the first convolution and of the shortcut: 2 halves the image.
    shortcut : "A", "B", "C" or None, default "A"
        A: identity, zeros for new channels. B: 1x1 convolution where the shape changes. C: everywhere.
        None: no shortcut; the plain block.
    rng : numpy.random.Generator or int, optional

    Shapes
    ------
    x : (N, in_channels, H, W);  y : (N, out_channels, ceil(H / stride), ceil(W / stride))

    Examples
    --------
    >>> [path for path, _ in basic_block(16, 16, rng=0).named_layers() if path.count(".") < 2]
    ['', 'residual', 'residual.branch', 'residual.shortcut', 'relu']
    """
    rng = np.random.default_rng(rng)
    conv1 = conv3x3(in_channels, out_channels, stride, rng)
    conv2 = conv3x3(out_channels, out_channels, 1, rng)
    bn1, bn2 = BatchNorm2d(out_channels), BatchNorm2d(out_channels)
    if shortcut is None:
        return Sequential(conv1=conv1, bn1=bn1, relu1=ReLU(), conv2=conv2, bn2=bn2, relu2=ReLU())
    branch = Sequential(conv1=conv1, bn1=bn1, relu=ReLU(), conv2=conv2, bn2=bn2)
    past = shortcut_path(shortcut, in_channels, out_channels, stride, rng)
    return Sequential(residual=Residual(branch, past), relu=ReLU())
