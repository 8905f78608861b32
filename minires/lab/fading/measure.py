"""Between plain and residual: y = relu(F(x) + lambda x), with lambda fixed or falling while the net trains.

lambda = 1 is the residual net, lambda = 0 the plain one with the same weights. He et al. 2016 (arXiv:1603.05027,
section 3.1) look at 110 layers with lambda = 0.5: along the shortcuts alone the gradient is multiplied by 0.5^54.
"""

from minires.lab.paths.measure import residual_blocks
from minires.layers import Scale, Sequential


def with_scaled_shortcuts(net, factor=1.0):
    """Put a ``Scale`` behind every shortcut of a residual net; return the net. ``set_shortcuts`` changes the factor."""
    for block in residual_blocks(net, "with_scaled_shortcuts"):
        block.residual.shortcut = Sequential(path=block.residual.shortcut, scale=Scale(factor))
    return net


def set_shortcuts(net, factor):
    """Set lambda of a net of ``with_scaled_shortcuts``."""
    for block in residual_blocks(net, "set_shortcuts"):
        block.residual.shortcut.scale.factor = float(factor)


def falling(part, first=1 / 3, last=2 / 3):
    """lambda when this part of the steps is done: 1 up to ``first``, 0 from ``last`` on, a straight line between.

    >>> [falling(part) for part in (0.2, 0.5, 0.9)]
    [1.0, 0.5, 0.0]
    """
    return min(1.0, max(0.0, round((last - part) / (last - first), 12)))
