r"""Is the identity hard to learn? And the residual idea in its oldest form: fit, look at what is left, fit that.

He et al. 2015 (arXiv:1512.03385, section 3.1) suppose that a solver finds it hard to make an identity of a stack of
nonlinear layers, and easy to drive the branches of residual blocks to zero. ``fit_stacks`` asks both to fit x, and a
small perturbation of it. What ``straight_line`` leaves is then fitted by ``boosted_stumps`` (Friedman, Annals of
Statistics 29, 2001) and by ``residual_stages``, a residual net of which block t is trained on what all before leave.
"""

from contextlib import suppress
from itertools import islice, product, repeat
from typing import NamedTuple

import numpy as np

from minires.checks import require
from minires.diverged import Diverged
from minires.kernels import relu
from minires.layers import BatchNorm2d, Identity, Linear, ReLU, Residual, Sequential
from minires.losses import mean_squared_error
from minires.networks.blocks import basic_block, conv3x3
from minires.optim import SGD, warm_up_then_cosine
from minires.progress import Progress
from minires.train import steps

# -- the identity ---------------------------------------------------------------------------------------------

KINDS = {  # of stacks: is there a shortcut, a ReLU after the addition, does the branch begin at zero
    "plain": (False, True, False),
    "residual": (True, True, False),  # He et al. 2015
    "residual, clear path": (True, False, False),  # no ReLU after the addition: He et al. 2016, arXiv:1603.05027
    "residual, from zero": (True, True, True),  # last gammas are 0 at first: Goyal et al., arXiv:1706.02677, 5.1
}

LEAST = 1e-12  # errors below this are drawn at the foot of the axis


def stack(kind, blocks, channels=8, rng=None):
    """Return a stack of blocks of two 3x3 convolutions, of one of the ``KINDS``, on (N, channels, H, W)."""
    require(kind in KINDS, "stack", f"one of {', '.join(map(repr, KINDS))}", repr(kind))
    (shortcut, last_relu, from_zero), rng = KINDS[kind], np.random.default_rng(rng)
    option = "A" if shortcut else None
    net = Sequential(*(basic_block(channels, channels, shortcut=option, rng=rng) for _ in range(blocks)))
    for block in net:
        if from_zero:
            block.residual.branch.bn2.weight.data[...] = 0
        if not last_relu:
            block.relu = Identity()
    return net


class StackFit(NamedTuple):
    """How one stack came to fit its target; see ``fit_stacks``."""

    kind: str
    blocks: int
    lr: float  # the best of those tried
    curve: np.ndarray  # error before each step
    final: float  # mean over the last tenth of the steps


def fit_stacks(depths, perturbation=0.0, *, kinds=tuple(KINDS), steps=300, lrs=(0.03, 0.1, 0.3), rng=0):
    r"""Ask stacks of every kind and depth to fit relu(x + perturbation * F(x)); return [StackFit, ...].

    x are activations as after a ReLU: max(0, n) with n normal, 16 images of 8 x 8 with 8 channels, new ones at each
    step, so that nothing can be learnt by heart. F is a 3x3 convolution with random weights and a batch norm.

    For the identity, perturbation = 0, the error is \|y - x\|^2 as a part of the variance of x: 1 is as good as the
    best constant. Otherwise it is \|y - target\|^2 as a part of \|x - target\|^2: 1 is as good as handing x on.

    ``depths`` are numbers of blocks. SGD has momentum 0.9, a warm-up over a tenth of the steps, then half a cosine;
    each stack is given the best of the learning rates ``lrs``.
    """
    depths, kinds = ([one] if np.isscalar(one) else list(one) for one in (depths, kinds))
    require(depths and min(depths) > 0, "fit_stacks", "depths of at least one block", depths)
    teacher_rng, net_seed, data_seed = np.random.default_rng(rng).spawn(3)
    teacher = Sequential(conv3x3(8, 8, rng=teacher_rng), BatchNorm2d(8))
    net_seed, data_seed = (int(own.integers(2**32)) for own in (net_seed, data_seed))  # the same for every stack
    fits = []
    with Progress(len(kinds) * len(depths) * len(lrs), "stacks") as progress:
        for kind, blocks in product(kinds, depths):
            tries = []
            for lr in lrs:
                stream = _activations(teacher, perturbation, data_seed)
                curve = _fit(stack(kind, blocks, rng=net_seed), stream, steps, lr)
                tries.append(StackFit(kind, blocks, lr, curve, float(curve[-max(1, steps // 10) :].mean())))
                progress.update()
            fits.append(min(tries, key=lambda fit: (np.isnan(fit.final), fit.final)))
    return fits


def _activations(teacher, perturbation, seed):
    """Yield (x, target) without end."""
    rng = np.random.default_rng(seed)
    while True:
        target = x = relu(rng.standard_normal((16, 8, 8, 8), np.float32))
        if perturbation:
            with teacher.without_caches():
                target = relu(x + np.float32(perturbation) * teacher.forward(x))
        yield x, target


def _fit(net, stream, count, lr):
    """The error before each step, in parts of what counts as 1; nan from where it is not finite."""
    curve, optimizer = np.full(count, np.nan), SGD(net.parameters(), lr, momentum=0.9)
    schedule, stream = warm_up_then_cosine(lr, count), islice(stream, count)
    with suppress(Diverged):
        for step in steps(net, optimizer, stream, loss=mean_squared_error, schedule=schedule):
            one = np.mean((step.x - step.target) ** 2) or np.var(step.x)
            curve[step.number - 1] = step.loss / one
    return curve


# -- fit what is left -----------------------------------------------------------------------------------------


def wave(points=80, noise=0.15, rng=0):
    """Return (x, y): a line, a wave and a step with noise; x from -1 to 1, float64."""
    rng = np.random.default_rng(rng)
    x = np.sort(rng.uniform(-1, 1, points))
    return x, 0.6 * x + 0.5 * np.sin(5 * x) + 0.5 * (x > 0.3) + noise * rng.standard_normal(points)


def straight_line(x, y):
    """Return what least squares makes of y, a + b x at each x.

    What is left, y - (a + b x), has sum 0 and is at right angles to x: no other line fits better.

    >>> straight_line(np.array([0.0, 1, 2]), np.array([1.0, 3, 5])).round(6).tolist()
    [1.0, 3.0, 5.0]
    """
    A = np.stack([np.ones_like(x), x], axis=1)
    coefficients, *_ = np.linalg.lstsq(A, y, rcond=None)
    return A @ coefficients


def stump(x, y):
    """Return the step function that fits y best: (where it steps, its value on the left, on the right).

    >>> stump(np.array([0.0, 1, 2, 3]), np.array([1.0, 1, 5, 5]))
    (1.5, 1.0, 5.0)
    """
    _check("stump", x, y)
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    left = np.arange(1, len(y))  # numbers of points left of each possible step
    below, total = np.cumsum(y)[:-1], y.sum()
    gain = below**2 / left + (total - below) ** 2 / (len(y) - left)  # what the two means take off the squares
    gain[x[1:] == x[:-1]] = -np.inf
    require(np.any(gain > -np.inf), "stump", "at least two different x", "none or one")
    best = int(np.argmax(gain))
    n = best + 1
    return float((x[best] + x[n]) / 2), float(below[best] / n), float((total - below[best]) / (len(y) - n))


def _check(who, x, y):
    fits = np.ndim(x) == 1 and np.shape(x) == np.shape(y)
    require(fits, who, "x and y (points,)", f"{np.shape(x)} and {np.shape(y)}")


def boosted_stumps(x, y, rounds, shrink=0.3):
    """Return the fit after 0, 1, ..., ``rounds`` stumps, each fitted to what is left and shrunk: (rounds + 1, points).

    What is left is the negative gradient of the squared error: fitting it is a step of gradient descent, taken not in
    the parameters of a function but in its values.
    """
    fits = [np.full_like(y, y.mean())]
    for _ in range(rounds):
        where, left, right = stump(x, y - fits[-1])
        fits.append(fits[-1] + shrink * np.where(x < where, left, right))
    return np.array(fits)


def residual_stages(x, y, blocks, *, steps=600, lr=0.05, width=16, rng=0):
    """Train a residual net block by block, each on what is left; return its fit after each: (blocks + 1, points).

    g_0 = w_0 x + b_0, a vector of ``width`` numbers; g_(t+1) = g_t + f_t(g_t), f_t two linear layers with a ReLU
    between; the prediction is v . g_t, one and the same v for all t. So block t adds v . f_t(g_t) to the prediction:
    it is trained, alone, to add what is left. Before the first block v . g_0 is a straight line.
    """
    _check("residual_stages", x, y)
    rng, data = np.random.default_rng(rng), x[:, None]
    g0, readout = Linear(1, width, rng=rng), Linear(width, 1, bias=False, rng=rng)
    readout.weight.data /= np.linalg.norm(readout.weight.data)
    y = y[:, None]

    def predict(g):
        with readout.without_caches():
            return readout.forward(g)

    _descend(Sequential(g0, readout), g0.parameters(), data, y, steps, lr)
    g = g0.forward(data)
    fits = [predict(g)]
    for _ in range(blocks):
        branch = Sequential(Linear(width, width, rng=rng), ReLU(), Linear(width, width, rng=rng))
        branch[2].weight.data *= 0.1
        block = Residual(branch)
        _descend(Sequential(branch, readout), branch.parameters(), g, y - fits[-1], steps, lr)
        g = block.forward(g)
        fits.append(predict(g))
    return np.array(fits)[:, :, 0]


def _descend(net, parameters, x, y, count, lr):
    """Fit y by gradient descent on all points at once, with momentum 0.9."""
    for _ in steps(net, SGD(parameters, lr, momentum=0.9), repeat((x, y), count), loss=mean_squared_error):
        pass
