"""Dropout."""

import numpy as np

from minires.checks import generator, real
from minires.layer import Layer


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

    Examples
    --------
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
