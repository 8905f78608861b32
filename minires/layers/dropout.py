"""Dropout."""

import numpy as np

from minires.layer import Layer


class Dropout(Layer):
    r"""In training, set each number to 0 with probability p, and scale up the others; in evaluation do nothing.

    .. math::
        y = m \, x, \qquad m = 0 \text{ with probability } p, \text{ else } 1 / (1 - p)

    The scale makes the mean of m equal to 1, so evaluation needs no correction ("inverted" dropout).

    Parameters
    ----------
    p : float from 0 to 1, default 0.5
    rng : numpy.random.Generator or int, optional
        Source of the masks; each forward in training draws a new one.

    Shapes
    ------
    x, y, dx, dy : any, all the same

    Backward
    --------
    For the mask that was drawn, y is linear in x: dx = m dy, with the *same* mask.

    References
    ----------
    .. [Srivastava2014] Srivastava et al., "Dropout", JMLR 15 (2014), section 4.
    """

    def __init__(self, p=0.5, rng=None):
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: expected a probability p from 0 to 1, got {p}.")
        self.p = p
        self.rng = np.random.default_rng(rng)

    def forward(self, x):
        self._check_floats("x", x)
        if not self.training or self.p == 0:
            return self._remember(x, None)
        kept = self.rng.random(x.shape, np.float32) >= self.p
        mask = kept * x.dtype.type(1 / (1 - self.p) if self.p < 1 else 0)
        return self._remember(x * mask, mask)

    def backward(self, dy):
        (mask,) = self._recall(dy)
        return dy if mask is None else dy * mask

    def __repr__(self):
        return f"{type(self).__name__}(p={self.p})"
