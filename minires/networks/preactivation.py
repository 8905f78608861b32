"""Residual networks whose sum nothing touches: pre-activation, and its wide form.

Batch norm and ReLU stand in front of each convolution, so nothing is left behind the sum::

    x -----------------------------------------------------.
    |                                                       |
    bn1 -> relu1 -> conv1 -> bn2 -> relu2 -> conv2 -> (+) <-'
                                                       |
                                                  y = x + F(x)

From block l to block L, x_L = x_l + F_l + ... + F_(L-1), a sum in which x_l is one term ([He2016], equation 4); and so
dx_l = dx_L + what came through the branches. What the wiring needs at its ends and where the shape changes:

- conv1 of the network stands alone; the first block's batch norm and ReLU follow it. (In the paper that block's two
  paths always share them, here only where its shape changes, as with bottlenecks.)
- Where the shape changes, branch and shortcut share one batch norm and ReLU, and the shortcut is a bare 1x1
  convolution ("conv" in ``minires.networks.blocks.SHORTCUTS``).
- Behind the last block the sum has to be normalised: bn, relu.

References
----------
.. [He2016] He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027.
.. [Zagoruyko2016] Zagoruyko and Komodakis, "Wide Residual Networks", arXiv:1605.07146.
"""

from functools import partial

from minires.checks import flag, is_whole, whole
from minires.networks.blocks import basic_block
from minires.networks.bottleneck import BOTTLENECK_DEPTHS, BOTTLENECK_WIDTHS, bottleneck_block
from minires.networks.cifar import WIDTHS, blocks_per_stage, cifar_network

preact_block = partial(basic_block, shortcut="conv", order="full pre-activation")
preact_bottleneck = partial(bottleneck_block, shortcut="conv", order="full pre-activation")


def preact_resnet(depth, bottleneck=None, shortcut="conv", classes=10, rng=None, in_channels=3):
    """Return the pre-activation network for 32x32 images.

    Parameters
    ----------
    depth : int
        6n + 2 with basic blocks, such as 110; 9n + 2 with bottlenecks, such as 164 and 1001.
    bottleneck : bool, optional
        Default: from depth 164 on, as in the paper.
    shortcut : str, default "conv"
        See ``residual_block``.
    classes, rng, in_channels
        As for ``cifar_plain``, and the shapes too.

    Examples
    --------
    >>> sum(p.data.size for p in preact_resnet(164, rng=0).parameters())
    1703258
    """
    if bottleneck_by_depth(depth, bottleneck):
        block = partial(preact_bottleneck, shortcut=shortcut, stride_on="1x1")
        blocks, widths = blocks_per_stage(depth, 9, examples=BOTTLENECK_DEPTHS), BOTTLENECK_WIDTHS
    else:
        block = partial(preact_block, shortcut=shortcut)
        blocks, widths = blocks_per_stage(depth, 6), WIDTHS
    return cifar_network(blocks, block, widths, classes, rng, in_channels, preactivation=True)


def bottleneck_by_depth(depth, bottleneck=None):
    """Whether a network of [He2016] has bottlenecks: from 164 layers on, unless said otherwise."""
    return is_whole(depth) and depth >= 164 if bottleneck is None else flag("network", "bottleneck", bottleneck)


def wide_resnet(depth, k, dropout=0.0, classes=10, rng=None, in_channels=3):
    """Return WRN-depth-k: pre-activation blocks with k times the channels, for 32x32 images.

    Parameters
    ----------
    depth : int
        6n + 4, such as 16, 28 and 40; it counts the projections and not the linear layer.
    k : int
        The stages have 16k, 32k and 64k channels.
    dropout : float, default 0
        Probability of a Dropout between the two convolutions of a block; 0.3 in the paper.
    classes, rng, in_channels
        As for ``cifar_plain``, and the shapes too.

    Examples
    --------
    >>> sum(p.data.size for p in wide_resnet(16, 4, rng=0).parameters())
    2748890
    """
    k = whole("wide_resnet", "k", k, least=1, hint="WRN-28-10 has k = 10.")
    blocks = blocks_per_stage(depth, 6, rest=4, examples=(16, 22, 28, 40))
    block = partial(preact_block, dropout=dropout)
    return cifar_network(blocks, block, [k * width for width in WIDTHS], classes, rng, in_channels, preactivation=True)
