"""What is left out at random in training: numbers, and branches of residual blocks."""

import numpy as np

from minires.checks import generator, real
from minires.layer import Layer
from minires.layers.compose import Residual, add


class Dropout(Layer):
    r"""In training set each number to 0 with probability p and enlarge the others; in evaluation hand x on.

    .. math::
        y = mask \cdot x, \qquad mask = 0 \text{ with probability } p, \text{ else } 1 / (1 - p)

    The mean of the mask is 1, so that y is the same in both modes on average ("inverted" dropout).

    Parameters
    ----------
    p : float from 0 to 1, default 0.5
    rng : numpy.random.Generator or int, optional
        Draws the masks, a new one for each forward in training.

    Shapes
    ------
    x, y, dx, dy : any, all the same

    Backward
    --------
    Once the mask is drawn, each number of y is one of x times a constant: dx = mask dy, with the *same* mask.

    References
    ----------
    .. [Srivastava2014] Srivastava et al., "Dropout", JMLR 15 (2014), sections 4 and 10.

    >>> Dropout(p=0.5, rng=1).forward(np.ones(8))
    array([0., 2., 2., 2., 0., 0., 2., 2.])
    """

    def __init__(self, p=0.5, rng=None):
        self.p, self.rng = real("Dropout", "p", p, least=0, most=1), generator("Dropout", rng)

    def forward(self, x):
        self._check_floats("x", x)
        if not self.training or self.p == 0:
            return self._remember(x, None)
        kept = self.rng.random(x.shape, np.float32) >= self.p
        mask = kept * x.dtype.type(1 / (1 - self.p) if self.p < 1 else 0)
        return self._remember(mask * x, mask)

    def backward(self, dy):
        (mask,) = self._recall(dy)
        return dy if mask is None else mask * dy


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

    >>> from minires import Identity
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
