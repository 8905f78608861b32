r"""The loss landscape: slices through the loss as a function of all weights theta (Li et al. 2018, arXiv:1712.09913).

.. math::
    f(\alpha) = L(\theta + \alpha \, \delta), \qquad f(\alpha, \beta) = L(\theta + \alpha \, \delta + \beta \, \eta)

Directions are scaled filter by filter (``filter_normalised``), so that the weights' scale drops out of the slice. Batch
norm either keeps the running statistics of the end of training (``statistics="running"``, as in the code of Li et al.),
and a slice shows as well how badly they fit other weights; or it takes mean and variance from the measured images, one
batch, and the loss is a function of the weights alone. The room's page compares both.
"""

import copy
from itertools import product
from typing import NamedTuple

import numpy as np

from minires.checks import require
from minires.layer import Layer
from minires.layers import BatchNorm2d
from minires.losses import softmax_cross_entropy


class Slice(NamedTuple):
    """What ``landscapes`` is to compute: the loss on a line or a plane through the weights of a net."""

    net: Layer  # its weights are the centre, where all ticks are 0
    directions: tuple  # one or two
    ticks: tuple  # of each direction an array: alpha, and beta
    statistics: str = "batch"  # of batch norm; or "running"


class Landscape(NamedTuple):
    """A slice, computed. NaN stands where the logits were not finite."""

    ticks: tuple
    loss: np.ndarray  # (len(alpha),) or (len(alpha), len(beta))
    error: np.ndarray  # fraction of wrong images


class PathPlane(NamedTuple):
    """The plane that holds most of a path of training; see ``path_plane``."""

    directions: tuple  # two, of length 1 in the space of all weights
    points: np.ndarray  # (n, 2): where the path passes, in units of them; the last is (0, 0)
    explained: np.ndarray  # (2,): share of the path's variance along each
    right_angles: np.ndarray  # (2,): the same of a path whose steps, as long as these, are all at right angles


# -- directions: {name of a parameter: float64 array} -----------------------------------------------------------


def weights_of(net):
    """Return {name: copy} of the parameters of a net, without running statistics."""
    return {name: parameter.data.copy() for name, parameter in net.named_parameters()}


def random_direction(net, rng):
    """Return a Gaussian direction, filter-normalised to the weights of ``net``.

    The same ``rng`` draws the same numbers for nets with the same parameters: plain and residual ones, say.
    """
    rng, weights = np.random.default_rng(rng), weights_of(net)
    return filter_normalised({name: rng.standard_normal(w.shape) for name, w in weights.items()}, weights)


def filter_normalised(direction, weights):
    r"""Give each filter of a direction the norm of the filter of the weights that it will be added to.

    .. math:: d_{ij} \leftarrow \frac{d_{ij}}{\|d_{ij}\|} \|\theta_{ij}\|

    for filter j of layer i (Li et al., section 4): what makes one output channel of a convolution, or one output of a
    linear layer. Biases and the gains and offsets of batch norm do not move: their d is 0.

    Multiply a filter by a, with batch norm after it, and d is multiplied as well: theta + alpha d has changed by the
    factor a, and the loss not at all.

    >>> d = filter_normalised({"weight": np.array([[3.0, 4.0]]), "bias": np.ones(1)},
    ...                       {"weight": np.array([[0.0, 2.0]]), "bias": np.ones(1)})
    >>> d["weight"].round(3).tolist(), d["bias"].tolist()
    ([[1.2, 1.6]], [0.0])
    """
    _check_fits("filter_normalised", direction, weights)

    def norms(array):
        return np.linalg.norm(array.reshape(len(array), -1).astype(np.float64), axis=1)

    scaled = {}
    for name, d in direction.items():
        if np.ndim(d) < 2:
            scaled[name] = np.zeros(np.shape(d))
            continue
        d_norms = norms(d)
        scale = norms(weights[name]) / np.where(d_norms > 0, d_norms, 1)  # a filter of zeros stays one
        scaled[name] = d * scale.reshape(-1, *[1] * (d.ndim - 1))
    return scaled


def direction_between(start, end):
    """Return end - start: along it, alpha = 0 is ``start`` and alpha = 1 is ``end``.

    Nothing is normalised; all parameters move, batch norm's as well (Goodfellow et al., arXiv:1412.6544).
    """
    _check_fits("direction_between", start, end)
    return {name: end[name].astype(np.float64) - start[name] for name in start}


def path_plane(weights):
    r"""Return the plane through the last of some weights, along the two principal directions of all of them.

    The n weights a net had during training, relative to the last, are the rows of a matrix M (Li et al., section 7), as
    wide as the net is large. Its principal directions are the eigenvectors of the covariance of the columns. They come
    from a matrix of n x n: with C = M minus the mean of its rows,

    .. math::
        C C^T u_k = \lambda_k u_k \quad\Rightarrow\quad v_k = C^T u_k / \sqrt{\lambda_k}, \qquad
        \text{share of the variance} = \lambda_k / \sum_j \lambda_j

    A point of the path is drawn at (M v_1, M v_2): its projection, so the loss there is that of the drawn plane only
    where the path lies in it. Beware of the shares: in many dimensions a long random walk of equal steps has 61 % and
    15 % of its variance, 6 / (pi k)^2, in its first two directions (Antognini and Sohl-Dickstein, arXiv:1806.08805).
    Those to compare with are ``right_angles``, of a path with the same lengths of steps, each at a right angle to all
    others. ``weights`` are ``weights_of(net)`` at three moments of training or more, in order.
    """
    require(len(weights) > 2, "path_plane", "the weights of 3 moments of training or more", len(weights))
    final = weights[-1]
    path = [direction_between(final, moment) for moment in weights]
    M = np.stack([np.concatenate([d.ravel() for d in moment.values()]) for moment in path])
    require(np.isfinite(M).all(), "path_plane", "finite weights", "NaN or infinity", "Has training diverged?")
    eigenvalues, u, C = _principal(M)
    if eigenvalues[1] <= 1e-12 * eigenvalues[0]:
        raise ValueError("path_plane: the weights lie on one line, or do not move. Take more moments of training.")
    v = C.T @ u[:, :2] / np.sqrt(eigenvalues[:2])
    v *= np.where(M[0] @ v < 0, -1, 1)  # an eigenvector has no sign: let training begin at the upper right
    lengths = np.linalg.norm(np.diff(M, axis=0), axis=1)
    apart, *_ = _principal(np.tril(np.ones((len(M), len(M) - 1)), -1) * lengths)  # a step in each coordinate
    ends = np.cumsum([array.size for array in final.values()])[:-1]
    shaped = [zip(final.items(), np.split(column, ends)) for column in v.T]
    return PathPlane(
        directions=tuple({name: part.reshape(array.shape) for (name, array), part in parts} for parts in shaped),
        points=M @ v,
        explained=eigenvalues[:2] / eigenvalues.sum(),
        right_angles=apart[:2] / apart.sum(),
    )


def _principal(M):
    """(eigenvalues of C C^T from the largest, none below 0; its eigenvectors; C), with C = M minus the mean row."""
    C = M - M.mean(axis=0)
    eigenvalues, u = np.linalg.eigh(C @ C.T)
    return np.maximum(eigenvalues[::-1], 0), u[:, ::-1], C


# -- the loss at a point ----------------------------------------------------------------------------------------


class Surface:
    """L(theta + steps of directions) of one slice on one batch: call it with a number for each direction.

    It works on a copy. The net that was handed in keeps its weights and running statistics, whatever happens.
    """

    def __init__(self, slice, x, labels):
        _check_slice(slice)
        net, self.directions, _, statistics = slice
        self.net = copy.deepcopy(net).eval()
        for _, layer in self.net.named_layers():
            if isinstance(layer, BatchNorm2d):
                layer.train(statistics == "batch")
        self.centre = weights_of(net)
        self.x, self.labels = x, labels

    def __call__(self, *steps):
        """Return (loss, error): mean cross-entropy and fraction of wrong images; NaN where logits are not finite."""
        for name, parameter in self.net.named_parameters():
            moved = self.centre[name].astype(np.float64)
            for step, direction in zip(steps, self.directions):
                moved += step * direction[name]
            with np.errstate(over="ignore"):
                parameter.data[...] = moved
        with np.errstate(all="ignore"), self.net.without_caches():
            logits = self.net.forward(self.x)
        if not np.isfinite(logits).all():
            return float("nan"), float("nan")
        loss, _ = softmax_cross_entropy(logits, self.labels)
        return loss, float(np.mean(logits.argmax(axis=1) != self.labels))


def local_minima(loss):
    """Return how many points of a line or a plane, those at its edge left out, are lower than all around them.

    One is a valley; many, at the fineness of the grid, are what Li et al. call chaotic.

    >>> local_minima(np.array([[3, 3, 3, 3], [3, 1, 2, 3], [3, 3, 3, 3]]))
    1
    """
    axes, inside = tuple(range(np.ndim(loss))), (slice(1, -1),) * np.ndim(loss)
    around = [np.roll(loss, by, axes) for by in product((-1, 0, 1), repeat=len(axes)) if any(by)]
    return int(np.all([loss < other for other in around], axis=0)[inside].sum())


# -- checks -----------------------------------------------------------------------------------------------------


def _check_fits(who, one, other):
    shapes, others = ({name: np.shape(array) for name, array in weights.items()} for weights in (one, other))
    if shapes != others:
        name = next(name for name in {**shapes, **others} if shapes.get(name) != others.get(name))
        there, here = shapes.get(name, "missing"), others.get(name, "missing")
        raise ValueError(f"{who}: {name} is {there} in one and {here} in the other. Are they of the same network?")


def _check_slice(slice):
    net, directions, ticks, statistics = slice
    require(statistics in ("batch", "running"), "Slice", "statistics 'batch' or 'running'", repr(statistics))
    got = f"{len(directions)} directions and {len(ticks)} arrays of ticks"
    wanted, hint = "one or two directions with an array of ticks for each", "Both are tuples: (direction,), (ticks,)."
    require(len(directions) == len(ticks) <= 2, "Slice", wanted, got, hint)
    for each in ticks:
        sound = np.ndim(each) == 1 and np.size(each) and np.isfinite(each).all()
        require(sound, "Slice", "ticks to be arrays of finite numbers, as np.linspace(-1, 1, 25)", each)
    for direction in directions:
        _check_fits("Slice", weights_of(net), direction)
