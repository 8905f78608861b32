"""Highway networks [Srivastava2015]: a learned gate decides, number by number, what is transformed and what carried.

::

    y = T(x) H(x) + (1 - T(x)) x,        T(x) = sigmoid(W_T x + b_T)

b_T starts negative: then T is nearly 0, every layer nearly the identity, and a deep network starts out shallow. It has
no batch norm, which was not yet known.

References
----------
.. [Srivastava2015] Srivastava, Greff and Schmidhuber, "Highway Networks", arXiv:1505.00387.
"""

from functools import partial

import numpy as np

from minires.checks import generator, is_one_of, require, shown, sizes, whole
from minires.layers import Conv2d, Flatten, Gated, Identity, Linear, Product, ReLU, Residual, Sequential
from minires.networks.blocks import gate
from minires.networks.cifar import WIDTHS, blocks_per_stage, classifier, stages


def highway(build, bias=-1.0, carry="1 - T"):
    """Return a highway layer around ``build()``, a layer with weights and a bias that keeps the shape of x.

    ``build`` is called for H, for T and, where that is free, for C. ``bias`` is where b_T starts. With ``carry="free"``
    y = T(x) H(x) + C(x) x, with a gate C of its own, which starts open by as much as T is closed.
    """
    require(is_one_of(carry, ("1 - T", "free")), "carry", "'1 - T' or 'free'", shown(carry))
    branch, transform = Sequential(layer=build(), relu=ReLU()), gate("layer", build(), bias)
    if carry == "1 - T":
        return Gated(branch, transform)
    return Residual(Product(transform, branch), Product(gate("layer", build(), -bias), Identity()))


def bias_by_depth(depth):
    """The paper's rule: -1, -2, -3 for about 10, 20, 30 layers."""
    return -float(np.clip(round(depth / 10), 1, 3))


def highway_block(in_channels, out_channels, stride=1, bias=-1.0, carry="1 - T", rng=None):
    """Return a highway layer of 3x3 convolutions; where the shape changes, a plain one: convolution, ReLU."""
    C, O = sizes("highway_block", in_channels=in_channels, out_channels=out_channels)
    conv = partial(Conv2d, C, O, 3, stride=stride, padding=1, rng=generator("highway_block", rng))
    if (C, stride) != (O, 1):
        return Sequential(layer=conv(), relu=ReLU())
    return highway(conv, bias, carry)


def cifar_highway(depth, carry="1 - T", bias=None, widths=WIDTHS, classes=10, rng=None, in_channels=3):
    """Return the convolutional highway network of ``depth`` = 3n + 2 layers, such as 11, 20 and 32.

    ``carry`` as for ``highway``; ``bias`` is where b_T starts, by default -1, -2 or -3 by depth; ``widths`` are the
    channels of the three stages. ``classes, rng, in_channels`` as for ``cifar_plain``.

    >>> net = cifar_highway(32, rng=0)
    >>> net.stage1[0].gate.layer.bias.data[0]
    np.float32(-3.0)
    """
    blocks, rng = blocks_per_stage(depth, 3, examples=(11, 20, 32)), generator("cifar_highway", rng)
    block = partial(highway_block, bias=bias_by_depth(depth) if bias is None else bias, carry=carry)
    require(np.shape(widths) == (3,), "cifar_highway", "widths of three stages, such as (16, 32, 64)", shown(widths))
    conv1 = Conv2d(in_channels, widths[0], 3, padding=1, rng=rng)
    body = dict(conv1=conv1, relu=ReLU(), **stages([blocks] * 3, widths, widths[0], block, rng))
    return Sequential(**body, **classifier(widths[-1], classes, rng))


def highway_mlp(depth, width=50, in_features=3 * 32 * 32, carry="1 - T", bias=None, classes=10, rng=None):
    """Return the fully connected highway network: a plain layer, ``depth`` - 1 highway layers, a linear layer.

    The paper's have a ``depth`` of 10, 20, 50 and 100, and a ``width`` of 50 numbers per layer. ``in_features`` are the
    numbers of an image, 784 for MNIST; the others as for ``cifar_highway``.

    >>> highway_mlp(10, rng=0).forward(np.zeros((2, 3, 32, 32))).shape
    (2, 10)
    """
    depth = whole("highway_mlp", "depth", depth, least=2, hint="The paper's are 10, 20, 50 and 100.")
    rng = generator("highway_mlp", rng)
    layer = partial(highway, bias=bias_by_depth(depth) if bias is None else bias, carry=carry)
    first = Linear(in_features, width, rng=rng)
    layers = [layer(partial(Linear, width, width, rng=rng)) for _ in range(depth - 1)]
    last = Linear(width, classes, rng=rng)
    return Sequential(flatten=Flatten(), first=first, relu=ReLU(), stage1=Sequential(*layers), linear=last)
