"""The residual networks for 32x32 images, and their plain twins: three stages of blocks.

====== ===================== ============ ==========
layer  built of              maps         channels
====== ===================== ============ ==========
conv1  one 3x3 convolution   32 x 32      16
stage1 n blocks              32 x 32      16
stage2 n blocks              16 x 16      32
stage3 n blocks              8 x 8        64
pool   mean over the image   1 x 1        64
linear                                    classes
====== ===================== ============ ==========

Two convolutions per block, 3 * n blocks, the first convolution and the linear layer: 6n + 2 layers with weights
([He2015], section 4.2). Bottlenecks have three convolutions per block, 9n + 2 layers, and four times the channels.

Pre-activation puts batch norm and ReLU in front of each convolution, so that nothing is left behind the sum::

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

Every network takes the number of ``classes`` (default 10), ``rng``, a numpy.random.Generator or a seed (the same seed
gives the convolutions of a plain and a residual network the same weights), and the ``in_channels`` of the images, 1
for grey ones. x is (N, in_channels, 32, 32), or any even H and W; y is (N, classes), the logits.

References
----------
.. [He2015] He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
.. [He2016] He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027.
.. [Huang2016] Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", arXiv:1603.09382.
.. [Zagoruyko2016] Zagoruyko and Komodakis, "Wide Residual Networks", arXiv:1605.07146.
"""

from functools import partial

from minires.checks import flag, generator, is_whole, real, require, shown, whole
from minires.foreign import in_own_names
from minires.layers import BatchNorm2d, GlobalAvgPool2d, Linear, ReLU, Sequential, StochasticResidual
from minires.networks.blocks import basic_block, bottleneck_block, conv3x3, preact_block, preact_bottleneck

DEPTHS, BOTTLENECK_DEPTHS = (20, 32, 44, 56, 110, 1202), (164, 1001)  # of the papers
WIDTHS, BOTTLENECK_WIDTHS = (16, 32, 64), (64, 128, 256)  # channels of the three stages


class Network(Sequential):
    """A residual network, or its plain twin. Its ``load_state_dict`` also understands the names of other projects."""

    def load_state_dict(self, state, strict=True):
        return super().load_state_dict(in_own_names(self.state_dict(), state, strict), strict)


def cifar_plain(depth, classes=10, rng=None, in_channels=3):
    """Return the plain network of ``depth`` = 6n + 2 layers, 8, 14, 20, ...: the one that degrades.

    >>> sum(p.data.size for p in cifar_plain(20, rng=0).parameters())
    269722
    """
    block = partial(basic_block, shortcut=None)
    return cifar_network(blocks_per_stage(depth, 6), block, WIDTHS, classes, rng, in_channels)


def cifar_resnet(depth, shortcut="A", classes=10, rng=None, in_channels=3):
    """Return the residual network of ``depth`` = 6n + 2 layers; the paper's are 20, 32, 44, 56, 110 and 1202.

    ``shortcut`` is how x passes a block that changes its shape, see ``residual_block``; A adds no parameters.

    >>> sum(p.data.size for p in cifar_resnet(20, shortcut="B", rng=0).parameters())
    272474
    """
    hint = "Use cifar_plain(depth)."
    require(shortcut is not None, "cifar_resnet", "a shortcut", "shortcut=None, which is the plain network", hint)
    block = partial(basic_block, shortcut=shortcut)
    return cifar_network(blocks_per_stage(depth, 6), block, WIDTHS, classes, rng, in_channels)


def cifar_bottleneck(depth, shortcut="B", classes=10, rng=None, in_channels=3):
    """Return the residual network of ``depth`` = 9n + 2 layers, three per block, its stages 64, 128, 256 wide.

    It is what [He2016] held the pre-activation against, at 164 and 1001 layers.
    """
    block = partial(bottleneck_block, shortcut=shortcut, stride_on="1x1")
    return network_by_depth(depth, True, None, block, classes, rng, in_channels)


def preact_resnet(depth, bottleneck=None, shortcut="conv", classes=10, rng=None, in_channels=3):
    """Return the pre-activation network of ``depth`` layers [He2016].

    That is 6n + 2 with basic blocks, such as 110, and 9n + 2 with bottlenecks, such as 164 and 1001; ``bottleneck``
    says which, by default bottlenecks from depth 164 on, as in the paper.

    >>> sum(p.data.size for p in preact_resnet(164, rng=0).parameters())
    1703258
    """
    basic = partial(preact_block, shortcut=shortcut)
    deep = partial(preact_bottleneck, shortcut=shortcut, stride_on="1x1")
    return network_by_depth(depth, bottleneck, basic, deep, classes, rng, in_channels, preactivation=True)


def wide_resnet(depth, k, dropout=0.0, classes=10, rng=None, in_channels=3):
    """Return WRN-depth-k [Zagoruyko2016]: pre-activation blocks with k times the channels, 16k, 32k and 64k.

    ``depth`` is 6n + 4, such as 16, 28 and 40; it counts the projections and not the linear layer. ``dropout`` is the
    probability of a Dropout between the two convolutions of a block; 0.3 in the paper.

    >>> sum(p.data.size for p in wide_resnet(16, 4, rng=0).parameters())
    2748890
    """
    k = whole("wide_resnet", "k", k, least=1, hint="WRN-28-10 has k = 10.")
    blocks = blocks_per_stage(depth, 6, rest=4, examples=(16, 22, 28, 40))
    block = partial(preact_block, dropout=dropout)
    return cifar_network(blocks, block, [k * width for width in WIDTHS], classes, rng, in_channels, preactivation=True)


def cifar_stochastic_depth(depth, survival=0.5, shortcut="A", classes=10, rng=None, in_channels=3):
    """Return ``cifar_resnet(depth, shortcut)`` whose blocks are left out at random in training [Huang2016].

    Block l of L is kept with the probability p_l of ``linear_decay``, where p_L is ``survival``, above 0 and at most 1:
    of L = 54 blocks with p_L = 0.5 are 40.25 there on average, (3L - 1)/4. For evaluation all are, branches times p_l.

    >>> net = cifar_stochastic_depth(20, rng=0)
    >>> net.stage3[2].residual.survival
    0.5
    """
    blocks, rng = blocks_per_stage(depth, 6), generator("cifar_stochastic_depth", rng)
    each = zip(linear_decay(3 * blocks, survival), rng.spawn(3 * blocks))
    joins = (partial(StochasticResidual, survival=survives, rng=coin) for survives, coin in each)

    def block(*shape, rng):
        return basic_block(*shape, shortcut, join=next(joins), rng=rng)

    return cifar_network(blocks, block, WIDTHS, classes, rng, in_channels)


def linear_decay(blocks, last=0.5):
    """Return p_l = 1 - l/L (1 - p_L) for each block: the first, on which all others build, survive most often.

    >>> linear_decay(4)
    [0.875, 0.75, 0.625, 0.5]
    """
    last = real("stochastic depth", "survival", last, above=0, most=1)
    return [1 - block / blocks * (1 - last) for block in range(1, blocks + 1)]


def network_by_depth(depth, bottleneck, basic, deep, *arguments, **options):
    """Return the ``cifar_network`` of ``basic`` blocks or, by default from 164 layers on, of ``deep`` ones."""
    by_default = is_whole(depth) and depth >= 164
    if flag("network", "bottleneck", by_default if bottleneck is None else bottleneck):
        blocks = blocks_per_stage(depth, 9, examples=BOTTLENECK_DEPTHS)
        return cifar_network(blocks, deep, BOTTLENECK_WIDTHS, *arguments, **options)
    return cifar_network(blocks_per_stage(depth, 6), basic, WIDTHS, *arguments, **options)


def cifar_network(blocks, block, widths, classes=10, rng=None, in_channels=3, preactivation=False):
    """Return conv1, a stage of ``blocks`` blocks for each width, pooling and a linear layer.

    ``block(in_channels, out_channels, stride, rng=rng)`` builds one block; any function of that form will do. With
    ``preactivation`` the batch norm and ReLU of conv1 come after the last block instead.
    """
    rng = generator("cifar_network", rng)
    conv1 = conv3x3(in_channels, 16, rng=rng)
    built = stages([blocks] * 3, widths, 16, block, rng)
    return residual_network(conv1, built, widths[-1], classes, rng, preactivation)


def stages(counts, widths, channels, block, rng):
    """Return {"stage1": so many blocks of so many channels, ...}; from stage2 on, the first block halves the image."""
    parts = {}
    for i, (count, width) in enumerate(zip(counts, widths), start=1):
        first = block(channels, width, 1 if i == 1 else 2, rng=rng)
        parts[f"stage{i}"] = Sequential(first, *(block(width, width, 1, rng=rng) for _ in range(count - 1)))
        channels = width
    return parts


def residual_network(conv1, body, channels, classes, rng, preactivation):
    """Put the parts together, batch norm and ReLU behind conv1 or, with ``preactivation``, behind the last block."""
    start = {} if preactivation else dict(bn1=BatchNorm2d(conv1.out_channels), relu=ReLU())
    end = dict(bn=BatchNorm2d(channels), relu=ReLU()) if preactivation else {}
    return Network(conv1=conv1, **start, **body, **end, **classifier(channels, classes, rng))


def classifier(channels, classes, rng):
    """Return the end of a network: the mean over the image, and a linear layer."""
    classes = whole("network", "classes", classes, least=1, hint="Is it the seed? Use rng=.")
    return dict(pool=GlobalAvgPool2d(), linear=Linear(channels, classes, rng=rng))


def blocks_per_stage(depth, step, rest=2, examples=DEPTHS):
    """Solve depth = step * n + rest for n."""
    n, left = divmod(depth - rest, step) if is_whole(depth) else (0, 0)
    if n < 1 or left:
        near = f" The nearest are {step * n + rest} and {step * (n + 1) + rest}." if n >= 1 else ""
        rule = f"{step}n + {rest} with a whole n >= 1, such as {', '.join(map(str, examples))}"
        raise ValueError(f"depth: expected {rule}; got {shown(depth)}.{near}")
    return n
