"""A plain net whose layers hand on what they get, at the start: there is no shortcut, yet little is in the way.

    W = delta + noise * He,    delta: 1 in the middle of the kernel from each channel to itself

Where a convolution has more outputs than inputs, delta leads to those that option A leads to. (Zagoruyko and Komodakis,
arXiv:1706.00388, train deep plain nets whose weights *stay* of such a form.)
"""

import numpy as np

from minires.lab.explanations.measure import measure
from minires.lab.paths.measure import blocks_of
from minires.layers import Conv2d


def as_identity(net, noise=0.5):
    """Give the convolutions of a net's blocks the weights delta + noise times those they have; return the net."""
    for block in blocks_of(net):
        for _, layer in block.layer.named_layers():
            if isinstance(layer, Conv2d):
                weight = layer.weight.data
                weight *= noise
                O, C, kh, kw = weight.shape
                channels = np.arange(min(O, C))
                weight[channels + (O - len(channels)) // 2, channels, kh // 2, kw // 2] += 1
    return net


GROWTH, HALF, SPEED = "growth", "half-distance", "unequal dW/W"


def at_the_start(net, x, labels):
    """Return the numbers of ``lab/explanations`` that see degradation, before any step.

    ``growth``: gradient of the first block over that of the last. ``half-distance``: part of the way to another image
    on which gradients come to half agree. ``unequal dW/W``: largest over smallest relative gradient of a block's
    weights.
    """
    found = measure(net, x, labels)
    return {GROWTH: 10 ** found["growing"], HALF: 2 ** found["shattered"], SPEED: 10 ** found["weights"]}
