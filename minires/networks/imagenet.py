"""The networks of [He2015], Table 1, for 224x224 images of 1000 classes.

====== ============================= ========= ===================== ======================
layer  built of                      maps      channels, basic block channels, bottleneck
====== ============================= ========= ===================== ======================
conv1  7x7 convolution, stride 2     112 x 112 64                    64
pool1  3x3 max pooling, stride 2     56 x 56   64                    64
stage1 blocks                        56 x 56   64                    256
stage2 blocks, the first stride 2    28 x 28   128                   512
stage3 blocks, the first stride 2    14 x 14   256                   1024
stage4 blocks, the first stride 2    7 x 7     512                   2048
pool   mean over the image           1 x 1     512                   2048
linear                                         classes               classes
====== ============================= ========= ===================== ======================

References
----------
.. [He2015] He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
.. [He2016] He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027, section 5.
.. [Zagoruyko2016] Zagoruyko and Komodakis, "Wide Residual Networks", arXiv:1605.07146, section 3.
"""

from functools import partial

from minires.checks import generator, is_whole, require, shown, whole
from minires.layers import Conv2d, MaxPool2d
from minires.networks.blocks import basic_block, bottleneck_block, preact_bottleneck
from minires.networks.cifar import residual_network, stages

WIDTHS = (64, 128, 256, 512)
BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}  # depth: blocks of the four stages
BOTTLENECK = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}


def imagenet_plain(depth, classes=1000, rng=None):
    """Return plain-18 or plain-34, which have no shortcuts."""
    blocks = _blocks("imagenet_plain", depth, BASIC)
    return imagenet_network(blocks, partial(basic_block, shortcut=None), 1, classes, rng)


def imagenet_resnet(depth, shortcut="B", stride_on="3x3", classes=1000, rng=None):
    """Return ResNet-18 or 34, of basic blocks, or ResNet-50, 101 or 152, of bottlenecks.

    ``shortcut`` is "A", "B", "C" or "2x2", a 2x2 convolution with stride 2 where the image is halved; the paper has B.
    See ``residual_block``, and ``bottleneck_block`` for ``stride_on``. ``rng`` is a numpy.random.Generator or a seed.
    x is (N, 3, 224, 224), any multiple of 32 will do; y is (N, classes), the logits.

    >>> sum(p.data.size for p in imagenet_resnet(18, rng=0).parameters())
    11689512
    """
    blocks = _blocks("imagenet_resnet", depth, [*BASIC, 50, 101, 152])
    hint = "Use imagenet_plain(depth), of 18 or 34."
    require(shortcut is not None, "imagenet_resnet", "a shortcut", "shortcut=None, which is the plain network", hint)
    basic = partial(basic_block, shortcut=shortcut), 1
    deep = partial(bottleneck_block, shortcut=shortcut, stride_on=stride_on), 4
    return imagenet_network(blocks, *(basic if depth in BASIC else deep), classes, rng)


def imagenet_preact(depth=200, stride_on="3x3", classes=1000, rng=None):
    """Return the pre-activation network of 50, 101, 152 or 200 layers, all of bottlenecks."""
    blocks, block = _blocks("imagenet_preact", depth, BOTTLENECK), partial(preact_bottleneck, stride_on=stride_on)
    return imagenet_network(blocks, block, 4, classes, rng, preactivation=True)


def imagenet_wide(depth=50, k=2, shortcut="B", stride_on="3x3", classes=1000, rng=None):
    """Return WRN-depth-k: ResNet-50, 101 or 152 with k times the channels in the 3x3 convolutions."""
    blocks, k = _blocks("imagenet_wide", depth, [50, 101, 152]), whole("imagenet_wide", "k", k, least=1)
    block = partial(bottleneck_block, shortcut=shortcut, stride_on=stride_on, k=k)
    return imagenet_network(blocks, block, 4, classes, rng)


def imagenet_network(blocks, block, expansion, classes=1000, rng=None, preactivation=False):
    """Return conv1 and max pooling, a stage for each number in ``blocks``, mean pooling and a linear layer.

    ``block(in_channels, out_channels, stride, rng=rng)`` builds one block; a stage has ``expansion`` times the channels
    of ``WIDTHS``. With ``preactivation`` the batch norm and ReLU of conv1 come after the last block instead.
    """
    rng = generator("imagenet_network", rng)
    conv1 = Conv2d(3, 64, 7, stride=2, padding=3, bias=False, rng=rng)
    widths = [expansion * width for width in WIDTHS]
    body = dict(pool1=MaxPool2d(3, stride=2, padding=1), **stages(blocks, widths, 64, block, rng))
    return residual_network(conv1, body, widths[-1], classes, rng, preactivation)


def _blocks(who, depth, depths):
    """Return how many blocks the four stages have, if the depth is among these."""
    fits = is_whole(depth) and depth in depths
    require(fits, who, f"depth {', '.join(map(str, depths))}", shown(depth))
    return {**BASIC, **BOTTLENECK}[depth]
