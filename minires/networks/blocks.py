"""Blocks: the repeated pieces of a network, composed by functions from layers. No block is a class.

The two blocks of [He2015], Fig. 2, side by side, with their derivative::

         x                                x
         |                                |------------------.
       conv1 -> bn1 -> relu1            conv1 -> bn1 -> relu1 |
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
.. [He2016] He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027.
.. [Zagoruyko2016] Zagoruyko and Komodakis, "Wide Residual Networks", arXiv:1605.07146.
"""

import math
from functools import partial

from minires.checks import generator, instance, is_one_of, real, require, shown, whole
from minires.layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Identity,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SubsampleShortcut,
)

ORDERS = {  # [He2016], Fig. 4: before each convolution, after each, and how many of the last ones follow the sum
    "original": ("", "bn relu", 1),
    "BN after addition": ("", "bn relu", 2),
    "ReLU before addition": ("", "bn relu", 0),
    "ReLU-only pre-activation": ("relu", "bn", 0),
    "full pre-activation": ("bn relu", "", 0),
}


def conv3x3(in_channels, out_channels, stride=1, rng=None):
    """Return the papers' convolution: 3x3, padded to keep the size, no bias (the batch norm after it has one)."""
    return Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False, rng=rng)


def conv1x1(in_channels, out_channels, stride=1, rng=None):
    """Return a linear map of the channels of each pixel."""
    return Conv2d(in_channels, out_channels, 1, stride=stride, bias=False, rng=rng)


def projection(C, O, kernel_size, stride, rng):
    """Return a convolution and batch norm, for the shortcut."""
    return Sequential(Conv2d(C, O, kernel_size, stride=stride, bias=False, rng=rng), BatchNorm2d(O))


SHORTCUTS = {  # functions of (in_channels, out_channels, stride, rng)
    # No parameters: every stride-th pixel, with channels of zeros added.
    "A": lambda C, O, stride, rng: SubsampleShortcut(C, O, stride),
    # A 1x1 convolution and batch norm; with C in every block.
    "B": lambda C, O, stride, rng: projection(C, O, 1, stride, rng),
    "C": lambda C, O, stride, rng: projection(C, O, 1, stride, rng),
    # A 1x1 convolution alone.
    "conv": conv1x1,
    # A 2x2 convolution with stride 2, which looks at every pixel, and batch norm; with stride 1 it is 1x1.
    "2x2": lambda C, O, stride, rng: projection(C, O, stride, stride, rng),
}


def gate(name, layer, bias):
    """Return a gate between 0 and 1: a layer, called ``name``, whose bias starts at ``bias``, and Sigmoid."""
    layer.bias.data.fill(real("gate", "bias", bias))
    return Sequential(**{name: layer}, sigmoid=Sigmoid())


def shortcut_path(name, in_channels, out_channels, stride, rng):
    """Return the layer that carries x past the branch, by its name in ``SHORTCUTS``.

    It is the identity where the shape stays; but C projects in every block. It draws its weights from a stream of its
    own: the branches of a plain net and of residual nets with any shortcut start from the same weights when they are
    given the same seed.
    """
    require(is_one_of(name, SHORTCUTS), "shortcut", f"one of {', '.join(SHORTCUTS)}", shown(name))
    own = rng.spawn(1)[0]
    if (in_channels, stride) == (out_channels, 1) and name != "C":
        return Identity()
    return SHORTCUTS[name](in_channels, out_channels, stride, own)


def residual_block(convolutions, shortcut="A", order="original", dropout=0.0, join=Residual, rng=None):
    """Return a block around these convolutions: batch norms and ReLUs by ``order``, and a path past them.

    Parameters
    ----------
    convolutions : list of Conv2d
        The weights of the branch; they say the channels of x and y, and the stride of the shortcut.
    shortcut : "A", "B", "C", "conv", "2x2" or None, default "A"
        Where the shape changes, A: subsampled, zeros for new channels. B: 1x1 convolution, batch norm. C: that
        everywhere. conv: B without the batch norm. 2x2: B with a 2x2 convolution. None: no shortcut, a plain block.
    order : str, default "original"
        A name in ``ORDERS``. In "full pre-activation", where the shape changes, branch and shortcut share the first
        batch norm and ReLU.
    dropout : float, default 0
        Probability of a Dropout in front of the last convolution.
    join : function of (branch, shortcut), default Residual
        How the two paths become one layer.
    """
    require(is_one_of(order, ORDERS), "order", f"one of {', '.join(map(repr, ORDERS))}", shown(order))
    for conv in convolutions if isinstance(convolutions, (list, tuple)) and convolutions else [convolutions]:
        instance("residual_block", "convolutions", conv, Conv2d, "a list of Conv2d")
    rng, dropout = generator("residual_block", rng), real("residual_block", "dropout", dropout, least=0, most=1)
    before, after, behind = ORDERS[order]
    parts = {}
    for i, conv in enumerate(convolutions, start=1):
        parts |= _named(before, i, conv.in_channels)
        if dropout and i == len(convolutions):
            parts["dropout"] = Dropout(dropout, rng=rng.spawn(1)[0])
        parts |= {f"conv{i}": conv, **_named(after, i, conv.out_channels)}
    if shortcut is None:
        return Sequential(**parts)
    in_channels, out_channels = convolutions[0].in_channels, convolutions[-1].out_channels
    stride = math.prod(conv.stride[0] for conv in convolutions)
    past = shortcut_path(shortcut, in_channels, out_channels, stride, rng)
    shared = not isinstance(past, Identity) and order == "full pre-activation"
    names = [*parts]
    first, last = 2 * shared, len(names) - behind
    inside = Sequential(**{name: parts[name] for name in names[first:last]})
    return Sequential(
        **{name: parts[name] for name in names[:first]},
        residual=join(inside, past),
        **{name.rstrip("0123456789"): parts[name] for name in names[last:]},
    )


def _named(kinds, i, channels):
    """{"bn1": BatchNorm2d(channels), "relu1": ReLU()} for "bn relu"."""
    return {f"{kind}{i}": BatchNorm2d(channels) if kind == "bn" else ReLU() for kind in kinds.split()}


def basic_block(in_channels, out_channels, stride=1, shortcut="A", order="original", rng=None, **options):
    """Return a block of two 3x3 convolutions, plain with ``shortcut=None``, else residual; see ``residual_block``.

    ``in_channels, out_channels`` are the channels of x and of y. A ``stride`` of 2, of the first convolution and of the
    shortcut, halves the image: x (N, in_channels, H, W), y (N, out_channels, ceil(H / stride), ceil(W / stride)).

    >>> [path for path, _ in basic_block(16, 16, rng=0).named_layers() if path.count(".") < 2]
    ['', 'residual', 'residual.branch', 'residual.shortcut', 'relu']
    """
    rng = generator("basic_block", rng)
    convolutions = [conv3x3(in_channels, out_channels, stride, rng), conv3x3(out_channels, out_channels, 1, rng)]
    return residual_block(convolutions, shortcut, order, rng=rng, **options)


def bottleneck_block(
    in_channels,
    out_channels,
    stride=1,
    shortcut="B",
    order="original",
    stride_on="3x3",
    k=1,
    rng=None,
    **options,
):
    """Return a block of three convolutions, the 3x3 on few channels ([He2015], section 4.1, Fig. 5)::

        x ---+--- conv1 1x1, 256 -> 64  -> bn1 -> relu1
             |    conv2 3x3,  64 -> 64  -> bn2 -> relu2
             |    conv3 1x1,  64 -> 256 -> bn3 ----(+)---> relu ---> y
             '-------------------------------------'

    It has 256*64 + 9*64*64 + 64*256 = 69,632 weights, about as many as two 3x3 convolutions of 64 channels, 73,728, and
    four times the channels on its shortcut. Arguments as for ``basic_block``; ``stride_on`` says which convolution
    takes the stride, the "3x3" as in torchvision or the first "1x1" as in the paper. The 3x3 convolution has
    k * out_channels // 4 channels: with k = 2 it is twice as wide (WRN-50-2 of [Zagoruyko2016]).
    """
    fits = is_one_of(stride_on, ("3x3", "1x1"))
    require(fits, "stride_on", "'3x3' (torchvision) or '1x1' (the paper)", shown(stride_on))
    rng, k = generator("bottleneck_block", rng), whole("bottleneck_block", "k", k, least=1)
    width = k * whole("bottleneck_block", "out_channels", out_channels, least=1) // 4
    first, second = (1, stride) if stride_on == "3x3" else (stride, 1)
    convolutions = [
        conv1x1(in_channels, width, first, rng),
        conv3x3(width, width, second, rng),
        conv1x1(width, out_channels, 1, rng),
    ]
    return residual_block(convolutions, shortcut, order, rng=rng, **options)


preact_block = partial(basic_block, shortcut="conv", order="full pre-activation")
preact_bottleneck = partial(bottleneck_block, shortcut="conv", order="full pre-activation")
