"""Stochastic depth: a residual block that is left out at random."""

from minires.checks import generator, real
from minires.layers.compose import Residual, add


class StochasticResidual(Residual):
    r"""A residual sum whose branch is left out at random: y = b branch(x) + shortcut(x).

    In training b is drawn once for each batch: 1 with probability ``survival``, else 0, and then the branch is not even
    computed. In evaluation b = survival, its mean: every branch counts as often as it was there.

    Parameters
    ----------
    branch : Layer
    shortcut : Layer, default Identity()
    survival : float above 0, at most 1, default 0.5
    rng : numpy.random.Generator or int, optional
        Draws b.

    Shapes
    ------
    x, dx : as both paths take them;  y, dy : as both paths give them

    Backward
    --------
    Once b is drawn it is a constant on the branch, so

    .. math::
        dx = J_{branch}^T (b \, dy) + J_{shortcut}^T \, dy

    A branch that was left out has no part in y: its parameters get no gradient, and dx is that of the shortcut alone.

    References
    ----------
    .. [Huang2016] Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", arXiv:1603.09382,
       section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from minires.layers import Identity
    >>> StochasticResidual(Identity(), survival=0.5).eval().forward(np.array([1.0, 2.0]))
    array([1.5, 3. ])
    """

    def __init__(self, branch, shortcut=None, survival=0.5, rng=None):
        super().__init__(branch, shortcut)
        self.survival = real("StochasticResidual", "survival", survival, above=0, most=1)
        self.rng = generator("StochasticResidual", rng)

    def forward(self, x):
        b = float(self.rng.random() < self.survival) if self.training else self.survival
        y = self.shortcut.forward(x)
        if b:
            y = add(b * self.branch.forward(x), y)
        return self._remember(y, b)

    def backward(self, dy):
        (b,) = self._recall(dy)
        dx = self.shortcut.backward(dy)
        return add(self.branch.backward(b * dy), dx) if b else dx
