r"""The exact spectrum of paths: what all paths of a length carry together, and how far they agree.

n blocks make 2^n paths; g_p is dL/dx along path p. For each length k, over the C(n, k) paths that pass k branches,

.. math::
    S_k = \Big\| \sum_p g_p \Big\|, \qquad T_k = \sum_p \|g_p\|, \qquad 0 \le S_k / T_k \le 1

Neither is sampled: going backward, each block makes two gradients of one, past it and through it, so one backward pass
from the loss arrives at the input with all 2^n. S_k / T_k is the coherence.
"""

import copy
from typing import NamedTuple

import numpy as np

from minires.checks import require
from minires.lab.paths.measure import in_parts, residual_blocks
from minires.losses import softmax_cross_entropy

MOST = 12  # blocks: 4,096 gradients of each image at once


def every_path_gradient(net, x, labels):
    """Return dL/dx along every path: (gradients (2^n, N, ...), number of branches on each (2^n,)).

    The net, in its mode, stays as it is. At most 12 blocks.
    """
    net = copy.deepcopy(net)
    n = len(residual_blocks(net, "every_path_gradient"))
    got, hint = f"{n}, with 2^{n} paths", "See gradient_by_length."
    require(n <= MOST, "every_path_gradient", f"at most {MOST} blocks", got, hint)
    _, dlogits = softmax_cross_entropy(net.forward(x), labels)

    def both(residual, dy):
        return np.concatenate([residual.shortcut.backward(dy), residual.branch.backward(dy)])

    with in_parts(net, len(x), both):
        gradients = net.backward(dlogits)
    lengths = np.zeros(1, int)
    for _ in range(n):
        lengths = np.concatenate([lengths, lengths + 1])
    return gradients.reshape(2**n, *x.shape), lengths


class Spectrum(NamedTuple):
    """What the paths of each length carry, arrays (n + 1,)."""

    together: np.ndarray  # S_k, norm of the sum
    apart: np.ndarray  # T_k, sum of the norms

    @property
    def coherence(self):
        return self.together / np.where(self.apart > 0, self.apart, 1)

    @property
    def mean_length(self):
        """Mean of k, weighed by S_k."""
        return float(np.arange(len(self.together)) @ self.together / self.together.sum())


def spectrum(net, x, labels):
    """Return the ``Spectrum`` of a net on a batch: norms are over the whole batch, as one vector."""
    gradients, lengths = every_path_gradient(net, x, labels)
    flat = gradients.reshape(len(gradients), -1)
    norms, each = np.sqrt(np.einsum("pi,pi->p", flat, flat, dtype=np.float64)), range(lengths[-1] + 1)
    together = [np.linalg.norm(flat[lengths == k].sum(axis=0, dtype=np.float64)) for k in each]
    return Spectrum(np.array(together), np.array([norms[lengths == k].sum() for k in each]))
