"""Residual networks with stochastic depth [Huang2016]: in training, blocks are left out at random.

The first blocks, on which all others build, should survive most often. Block l of L is kept with probability

    p_l = 1 - l/L (1 - p_L)

so L = 54 blocks with p_L = 0.5 are 40.25 on average, (3L - 1)/4. For evaluation all are there, branches times p_l.

References
----------
.. [Huang2016] Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", arXiv:1603.09382.
"""

from functools import partial

from minires.checks import generator, real
from minires.layers import StochasticResidual
from minires.networks.blocks import basic_block
from minires.networks.cifar import WIDTHS, blocks_per_stage, cifar_network


def linear_decay(blocks, last=0.5):
    """Return the probability with which each block is kept, from the first to the last.

    >>> linear_decay(4)
    [0.875, 0.75, 0.625, 0.5]
    """
    last = real("stochastic depth", "survival", last, above=0, most=1)
    return [1 - block / blocks * (1 - last) for block in range(1, blocks + 1)]


def cifar_stochastic_depth(depth, survival=0.5, shortcut="A", classes=10, rng=None, in_channels=3):
    """Return ``cifar_resnet(depth, shortcut)`` whose block l is kept with probability p_l in training.

    Parameters
    ----------
    depth : int
        6n + 2; the paper's are 110 and 1202.
    survival : float above 0, at most 1, default 0.5
        p_L, of the last block.
    shortcut, classes, rng, in_channels
        As for ``cifar_resnet``, whose branches start from the same weights for the same seed.

    Examples
    --------
    >>> net = cifar_stochastic_depth(20, rng=0)
    >>> net.stage3[2].residual.survival
    0.5
    """
    blocks, rng = blocks_per_stage(depth, 6), generator("cifar_stochastic_depth", rng)
    survivals = iter(linear_decay(3 * blocks, survival))
    coins = iter(rng.spawn(3 * blocks))

    def block(*shape, rng):
        join = partial(StochasticResidual, survival=next(survivals), rng=next(coins))
        return basic_block(*shape, shortcut, join=join, rng=rng)

    return cifar_network(blocks, block, WIDTHS, classes, rng, in_channels)
