"""Every other way to wire a residual block that [He2016] tried, with the test error it got; and one-layer blocks.

``VARIANTS`` is the paper's Tables 1 and 2 as networks. What they have in common: whatever stands on the shortcut, or
behind the sum, stands there once for every block, and a signal through all 54 blocks of ResNet-110 passes all of it.

References
----------
.. [He2015] He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 3.2.
.. [He2016] He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027, Tables 1 and 2.
"""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import NamedTuple

from minires.checks import flag, generator, is_one_of, require, shown
from minires.layers import Conv2d, Dropout, Gated, Product, Residual, Scale, Sequential
from minires.networks.blocks import basic_block, bottleneck_block, conv3x3, gate, residual_block
from minires.networks.cifar import WIDTHS, blocks_per_stage, cifar_network, network_by_depth

# How the two paths of a block become one: functions of (branch, shortcut, gate, rng) and numbers of their own, where
# gate(b) builds a gate.


def plus(branch, shortcut, gate, rng):
    """y = F(x) + x."""
    return Residual(branch, shortcut)


def scaled(branch, shortcut, gate, rng, on_shortcut, on_branch=1):
    """y = on_branch F(x) + on_shortcut x."""
    if on_branch != 1:
        branch.scale = Scale(on_branch)
    return Residual(branch, Sequential(shortcut, Scale(on_shortcut)))


def exclusive_gating(branch, shortcut, gate, rng, b):
    """y = g(x) F(x) + (1 - g(x)) x, where g is a 1x1 convolution with bias b, and Sigmoid."""
    return Gated(branch, gate(b), shortcut)


def shortcut_gating(branch, shortcut, gate, rng, b):
    """y = F(x) + (1 - g(x)) x. As 1 - sigmoid(z) = sigmoid(-z), it is a gate with bias -b on the shortcut."""
    return Residual(branch, Product(gate(-b), shortcut))


def dropout_shortcut(branch, shortcut, gate, rng):
    """y = F(x) + dropout(x)."""
    return Residual(branch, Sequential(shortcut, Dropout(0.5, rng=rng.spawn(1)[0])))


class Variant(NamedTuple):
    """A row of ``VARIANTS``."""

    error_110: float  # test error on CIFAR-10 in %, of 110 layers; inf where the paper says fail, > 20 %
    error_164: float | None = None  # of 164 layers, bottlenecks; None where it was not tried
    order: str = "original"
    shortcut: str | None = None  # default: A for basic blocks, B for bottlenecks
    join: Callable = plus


VARIANTS = {
    "original": Variant(6.61, 5.93),
    # what stands on the shortcut (Table 1)
    "scaling-0": Variant(inf, join=partial(scaled, on_shortcut=0)),
    "scaling-0.5": Variant(inf, join=partial(scaled, on_shortcut=0.5)),
    "scaling-0.5-0.5": Variant(12.35, join=partial(scaled, on_shortcut=0.5, on_branch=0.5)),
    "exclusive-gating-0": Variant(inf, join=partial(exclusive_gating, b=0)),
    "exclusive-gating-5": Variant(inf, join=partial(exclusive_gating, b=-5)),
    "exclusive-gating-6": Variant(8.70, join=partial(exclusive_gating, b=-6)),
    "exclusive-gating-7": Variant(9.81, join=partial(exclusive_gating, b=-7)),
    "shortcut-gating-0": Variant(12.86, join=partial(shortcut_gating, b=0)),
    "shortcut-gating-6": Variant(6.91, join=partial(shortcut_gating, b=-6)),
    "conv-shortcut": Variant(12.22, shortcut="C"),
    "dropout-shortcut": Variant(inf, join=dropout_shortcut),
    # the order of activations (Table 2)
    "bn-after-addition": Variant(8.17, 6.50, order="BN after addition"),
    "relu-before-addition": Variant(7.84, 6.14, order="ReLU before addition"),
    "relu-only-preactivation": Variant(6.71, 5.91, order="ReLU-only pre-activation"),
    "full-preactivation": Variant(6.37, 5.46, order="full pre-activation", shortcut="conv"),
}


def variant_block(in_channels, out_channels, stride=1, variant="original", bottleneck=False, rng=None):
    """Return a block wired as ``VARIANTS[variant]`` says."""
    require(is_one_of(variant, VARIANTS), "variant", f"one of {', '.join(VARIANTS)}", shown(variant))
    row, rng = VARIANTS[variant], generator("variant_block", rng)
    bottleneck = flag("variant_block", "bottleneck", bottleneck)
    build = partial(bottleneck_block, stride_on="1x1") if bottleneck else basic_block
    shortcut = row.shortcut or ("B" if bottleneck else "A")

    def new_gate(bias):
        return gate("conv", Conv2d(in_channels, out_channels, 1, stride=stride, rng=rng.spawn(1)[0]), bias)

    join = partial(row.join, gate=new_gate, rng=rng)
    return build(in_channels, out_channels, stride, shortcut, row.order, join=join, rng=rng)


def cifar_variant(depth, variant="original", bottleneck=None, classes=10, rng=None, in_channels=3):
    """Return the network for 32x32 images whose blocks are wired as ``VARIANTS[variant]`` says.

    ``depth`` is 6n + 2 with basic blocks, such as 110, and 9n + 2 with bottlenecks, such as 164; ``bottleneck`` says
    which, by default bottlenecks from 164 layers on, as in the paper. ``classes, rng, in_channels`` as for
    ``cifar_plain``.

    >>> net = cifar_variant(20, "exclusive-gating-6", rng=0)
    >>> type(net.stage1[0].residual).__name__, VARIANTS["exclusive-gating-6"].error_110
    ('Gated', 8.7)
    """
    block = partial(variant_block, variant=variant)
    deep = partial(block, bottleneck=True)
    preactivation = is_one_of(variant, VARIANTS) and VARIANTS[variant].order.endswith("pre-activation")
    return network_by_depth(depth, bottleneck, block, deep, classes, rng, in_channels, preactivation)


def one_layer_block(in_channels, out_channels, stride=1, shortcut="A", rng=None):
    """Return a block of a single convolution: y = relu(W x + x), nearly a plain layer ([He2015]: no advantage)."""
    rng = generator("one_layer_block", rng)
    return residual_block([conv3x3(in_channels, out_channels, stride, rng)], shortcut, rng=rng)


def cifar_one_layer(depth, shortcut="A", classes=10, rng=None, in_channels=3):
    """Return the network of ``depth`` = 3n + 2 layers whose blocks have one convolution each."""
    blocks = blocks_per_stage(depth, 3, examples=(20, 32, 44, 56))
    block = partial(one_layer_block, shortcut=shortcut)
    return cifar_network(blocks, block, WIDTHS, classes, rng, in_channels)
