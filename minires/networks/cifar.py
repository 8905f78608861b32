"""The networks of [He2015], section 4.2, for 32x32 images: one table row per stage, depth 6n + 2.

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

Two convolutions per block, 3 * n blocks, the first convolution and the linear layer: 6n + 2 layers with weights.

References
----------
.. [He2015] He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
"""

from functools import partial

from minires.checks import generator, is_whole, require, whole
from minires.foreign import in_own_names
from minires.layers import BatchNorm2d, GlobalAvgPool2d, Linear, ReLU, Sequential
from minires.networks.blocks import basic_block, conv3x3

DEPTHS = (20, 32, 44, 56, 110, 1202)  # of the paper
WIDTHS = (16, 32, 64)  # channels of the three stages


class Network(Sequential):
    """A residual network, or its plain twin. Its ``load_state_dict`` also understands the names of other projects."""

    def load_state_dict(self, state, strict=True):
        return super().load_state_dict(in_own_names(self.state_dict(), state, strict), strict)


def cifar_plain(depth, classes=10, rng=None, in_channels=3):
    """Return the plain network of ``depth`` = 6n + 2 layers: the one that degrades.

    Parameters
    ----------
    depth : int
        8, 14, 20, 26, ...; the paper's are 20, 32, 44, 56 (and 110).
    classes : int, default 10
    rng : numpy.random.Generator or int, optional
        The same seed gives the convolutions of ``cifar_resnet`` the same weights.
    in_channels : int, default 3
        Channels of the images: 1 for grey ones.

    Shapes
    ------
    x : (N, in_channels, 32, 32), any even H and W will do;  y : (N, classes), the logits

    Examples
    --------
    >>> sum(p.data.size for p in cifar_plain(20, rng=0).parameters())
    269722
    """
    block = partial(basic_block, shortcut=None)
    return cifar_network(blocks_per_stage(depth, 6), block, WIDTHS, classes, rng, in_channels)


def cifar_resnet(depth, shortcut="A", classes=10, rng=None, in_channels=3):
    """Return the residual network of ``depth`` = 6n + 2 layers.

    Parameters
    ----------
    depth : int
        8, 14, 20, 26, ...; the paper's are 20, 32, 44, 56, 110 and 1202.
    shortcut : "A", "B" or "C", default "A"
        How x passes a block that changes its shape; A adds no parameters. See ``basic_block``.
    classes, rng, in_channels
        As for ``cifar_plain``, and the shapes too.

    Examples
    --------
    >>> sum(p.data.size for p in cifar_resnet(20, shortcut="B", rng=0).parameters())
    272474
    """
    hint = "Use cifar_plain(depth)."
    require(shortcut is not None, "cifar_resnet", "a shortcut", "shortcut=None, which is the plain network", hint)
    block = partial(basic_block, shortcut=shortcut)
    return cifar_network(blocks_per_stage(depth, 6), block, WIDTHS, classes, rng, in_channels)


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
    if preactivation:
        parts = dict(conv1=conv1, **body, bn=BatchNorm2d(channels), relu=ReLU())
    else:
        parts = dict(conv1=conv1, bn1=BatchNorm2d(conv1.out_channels), relu=ReLU(), **body)
    return Network(**parts, **classifier(channels, classes, rng))


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
        raise ValueError(f"depth: expected {rule}; got {depth!r}.{near}")
    return n
