r"""Train a residual net with the gradient of its short paths only: no part of it that has passed more than k branches.

.. math:: dx_j = S^T dy_j + J^T dy_{j-1} \quad (j \le k), \qquad dx_j = 0 \quad (j > k)

A weight in a branch gets the parts that have passed at most k - 1 branches above it, and its own is the k-th. So k = 0
trains the stem and the last layer only, k = n everything, exactly.
"""

from functools import partial

from minires.checks import whole
from minires.lab.paths.measure import in_parts, one_longer, residual_blocks
from minires.layer import Layer


class ShortPaths(Layer):
    """A residual net whose ``backward`` follows the paths of at most ``most`` branches.

    >>> import numpy as np
    >>> from minires.networks import cifar_resnet
    >>> net, x = cifar_resnet(8, rng=0), np.random.default_rng(0).standard_normal((2, 3, 8, 8))
    >>> whole, short = (ShortPaths(net, most).forward(x) for most in (3, 1))
    >>> bool(np.array_equal(whole, short))
    True
    """

    def __init__(self, net, most):
        self.n = len(residual_blocks(net, "ShortPaths"))
        self.most = whole("ShortPaths", "most", most, most=self.n, hint=f"The net has {self.n} blocks.")
        self.net = net

    def forward(self, x):
        return self._remember(self.net.forward(x), len(x))

    def backward(self, dy):
        (N,) = self._recall(dy)
        if self.most == self.n:
            return self.net.backward(dy)
        with in_parts(self.net, N, partial(one_longer, N, self.most)):
            dx = self.net.backward(dy)
        return dx.reshape(-1, N, *dx.shape[1:]).sum(axis=0)
