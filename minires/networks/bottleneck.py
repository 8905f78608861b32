"""Bottlenecks: three convolutions per block, the 3x3 on few channels.

::

    x ------------------------------------------------.
    |                                                  |
    conv1 1x1, 256 -> 64   -> bn1 -> relu1             |
    conv2 3x3,  64 -> 64   -> bn2 -> relu2             |
    conv3 1x1,  64 -> 256  -> bn3                      |
    |                                                  |
    (+) <----------------------------------------------'
    relu

It has 256*64 + 9*64*64 + 64*256 = 69,632 weights, about as many as two 3x3 convolutions of 64 channels, 73,728, and
four times the channels on its shortcut.

References
----------
.. [He2015] He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 4.1.
.. [He2016] He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027.
"""

from functools import partial

from minires.checks import generator, is_one_of, require, shown, whole
from minires.networks.blocks import conv1x1, conv3x3, residual_block
from minires.networks.cifar import WIDTHS, blocks_per_stage, cifar_network

BOTTLENECK_DEPTHS = (164, 1001)
BOTTLENECK_WIDTHS = [4 * width for width in WIDTHS]


def bottleneck_block(
    in_channels,
    out_channels,
    stride=1,
    shortcut="B",
    order="original",
    stride_on="3x3",
    width=None,
    rng=None,
    **options,
):
    """Return a block of three convolutions: 1x1 to few channels, 3x3 on these, 1x1 back ([He2015], Fig. 5).

    Parameters
    ----------
    in_channels, out_channels, stride, shortcut, order, rng, **options
        As for ``basic_block``.
    stride_on : "3x3" or "1x1", default "3x3"
        Which convolution takes the stride: the 3x3 as in torchvision, or the first 1x1 as in the paper.
    width : int, default out_channels // 4
        Channels of the 3x3 convolution.
    """
    fits = is_one_of(stride_on, ("3x3", "1x1"))
    require(fits, "stride_on", "'3x3' (torchvision) or '1x1' (the paper)", shown(stride_on))
    rng, out_channels = generator("bottleneck_block", rng), whole("bottleneck_block", "out_channels", out_channels, 1)
    width = out_channels // 4 if width is None else whole("bottleneck_block", "width", width, 1)
    first, second = (1, stride) if stride_on == "3x3" else (stride, 1)
    convolutions = [
        conv1x1(in_channels, width, first, rng),
        conv3x3(width, width, second, rng),
        conv1x1(width, out_channels, 1, rng),
    ]
    return residual_block(convolutions, shortcut, order, rng=rng, **options)


def cifar_bottleneck(depth, shortcut="B", classes=10, rng=None, in_channels=3):
    """Return the residual network of ``depth`` = 9n + 2 layers, three per block, its stages 64, 128, 256 wide.

    It is what [He2016] held the pre-activation against, at 164 and 1001 layers.
    """
    block = partial(bottleneck_block, shortcut=shortcut, stride_on="1x1")
    blocks = blocks_per_stage(depth, 9, examples=BOTTLENECK_DEPTHS)
    return cifar_network(blocks, block, BOTTLENECK_WIDTHS, classes, rng, in_channels)
