r"""Width against depth: networks of different depth that cost the same (Zagoruyko and Komodakis, arXiv:1605.07146).

The weights of a 3x3 convolution from w to w channels are 9 w^2, and each is used once a pixel. So a net of n blocks a
stage costs about

.. math:: \text{multiply-adds} = a(n) w^2 + b(n) w + c, \qquad a(n) \propto n

and at one cost the width falls with the square root of the depth: four times the layers, half the channels.
"""

import math

import numpy as np

from minires.checks import whole
from minires.networks import cifar_network, preact_block
from minires.networks.cifar import blocks_per_stage
from minires.walk import summary


def net_of_width(depth, width, classes=10, rng=None, in_channels=3):
    """Return the pre-activation net of ``depth`` = 6n + 4 layers whose stages have w, 2w and 4w channels.

    It is ``wide_resnet(depth, k)`` for w = 16k, and is there for the widths in between. As there, the depth counts the
    projections and not the linear layer.

    >>> from minires.networks import wide_resnet
    >>> nets = net_of_width(16, 32, rng=0), wide_resnet(16, 2, rng=0)
    >>> len({sum(parameter.data.size for parameter in net.parameters()) for net in nets})
    1
    """
    width = whole("net_of_width", "width", width, least=1)
    blocks = blocks_per_stage(depth, 6, rest=4, examples=(10, 16, 28, 58))
    widths = width, 2 * width, 4 * width
    return cifar_network(blocks, preact_block, widths, classes, rng, in_channels, preactivation=True)


def width_at_cost(depth, multiply_adds, multiple=4):
    """Return the width at which ``net_of_width(depth, width)`` comes nearest to this cost for one 32x32 image.

    The cost is a quadratic in the width, so three counts give it. Only multiples of ``multiple`` are looked at: the
    kernels work on a few channels at once, and others would be slower than they cost.
    """
    widths = [8, 16, 32]
    a, b, c = np.polyfit(widths, [summary(net_of_width(depth, w, rng=0)).multiply_adds for w in widths], 2)
    if multiply_adds <= c:
        raise ValueError(f"width_at_cost: expected more than {c:,.0f} multiply-adds, got {multiply_adds:,}.")
    width = (-b + math.sqrt(b * b - 4 * a * (c - multiply_adds))) / (2 * a)
    return max(multiple, round(width / multiple) * multiple)


def milliseconds(logs, batch_size):
    """Return the time of a step: the median over the lines of some logs, since the first steps also compile kernels."""
    rates = [line["images_per_second"] for log in logs for line in log if line["kind"] == "train"]
    return 1000 * batch_size / float(np.median(rates))
