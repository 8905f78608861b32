r"""A residual net, unravelled: a sum over paths, most of them shallow (Veit et al. 2016, arXiv:1605.06431).

Each block offers two ways, y = branch(x) + shortcut(x), so n blocks offer 2^n from the input to the output::

    dx = (J_1 + S_1)^T (J_2 + S_2)^T ... (J_n + S_n)^T dy  =  sum over all 2^n choices of J_i or S_i

with J_i the derivative of a branch and S_i that of a shortcut. The length of a path is the number of branches on it.
What do paths weigh? Delete blocks; send the gradient down one path alone; or count, while it comes down all of them,
how many branches each part of it has passed. No layer knows of it: as with a ``Probe``, methods of layer objects are
replaced while a ``with`` lasts.
"""

import copy
import math
import re
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import combinations
from typing import NamedTuple
from unittest import mock

import numpy as np

from minires.checks import require, whole
from minires.layer import Layer
from minires.layers import Conv2d, Identity, Residual, SubsampleShortcut
from minires.losses import softmax_cross_entropy
from minires.train import evaluate


class Block(NamedTuple):
    """A block of a net, as ``blocks_of`` finds it."""

    path: str  # "stage1.0"
    layer: Layer
    residual: Residual | None  # the addition in it; None in a plain net
    shortcut: Layer  # what is left of the block once it is deleted
    keeps_shape: bool


def blocks_of(net):
    """Return the blocks ``stage1.0``, ``stage1.1``, ... of a net, from input to output."""
    blocks = []
    for path, layer in net.named_layers():
        if re.fullmatch(r"(.*\.)?stage\d+\.\d+", path):
            convs = [inner for _, inner in layer.named_layers() if isinstance(inner, Conv2d)]
            residual = next((inner for _, inner in layer.named_layers() if isinstance(inner, Residual)), None)
            branch = [conv for _, conv in (residual.branch if residual else layer).named_layers() if conv in convs]
            if not branch:
                raise ValueError(f"blocks_of: expected convolutions in block {path}, got {layer!r}.")
            channels, stride = (branch[0].in_channels, branch[-1].out_channels), math.prod(c.stride[0] for c in branch)
            keeps = channels[0] == channels[1] and stride == 1
            past = residual.shortcut if residual else Identity() if keeps else SubsampleShortcut(*channels, stride)
            blocks.append(Block(path, layer, residual, past, keeps))
    if not blocks:
        raise ValueError("blocks_of: the net has no layers called stage1.0, ... as those of minires.networks have.")
    return blocks


@contextmanager
def replaced(methods):
    """Within the ``with``, layers have other methods: ``replaced([(layer, {"forward": other.forward}), ...])``."""
    with ExitStack() as stack:
        for layer, others in methods:
            stack.enter_context(mock.patch.multiple(layer, **others))
        yield


# -- lesions --------------------------------------------------------------------------------------------------


@contextmanager
def deleted(net, paths):
    """Within the ``with``, the blocks with these paths are gone.

    Of a residual block its shortcut is left. A plain block hands x on; where it would change the shape, as option A
    does: x subsampled, with channels of zeros.
    """
    blocks = blocks_of(net)
    paths = _known(paths, blocks, "deleted")
    gone = [(block.residual or block.layer, block.shortcut) for block in blocks if block.path in paths]
    with replaced((layer, {"forward": past.forward, "backward": past.backward}) for layer, past in gone):
        yield net


@contextmanager
def reordered(net, order):
    """Within the ``with``, the block at place i does what block ``order[i]`` did; ``order`` is a permutation."""
    blocks = blocks_of(net)
    places = list(range(len(blocks)))
    require(sorted(order) == places, "reordered", f"a permutation of 0 to {places[-1]}", list(order))
    own = [{"forward": block.layer.forward, "backward": block.layer.backward} for block in blocks]
    with replaced((block.layer, own[source]) for block, source in zip(blocks, order)):
        yield net


def delete_each(net, dataset):
    """Delete one block at a time; return {path: error on the dataset}, under ``""`` that of the whole net."""
    errors = {"": evaluate(net, dataset)[0]}
    for block in blocks_of(net):
        with deleted(net, block.path):
            errors[block.path] = evaluate(net, dataset)[0]
    return errors


def delete_some(net, dataset, counts, draws=3, rng=0):
    """Delete k blocks drawn at random, for each k in ``counts``; return {k: error of each draw}."""
    rng, paths = np.random.default_rng(rng), [block.path for block in blocks_of(net)]
    hint, errors = f"The net has {len(paths)} blocks.", {}
    for k in [whole("delete_some", "counts", k, most=len(paths), hint=hint) for k in np.atleast_1d(counts)]:
        errors[k] = []
        for _ in range(draws):
            with deleted(net, rng.choice(paths, k, replace=False).tolist()):
                errors[k].append(evaluate(net, dataset)[0])
    return errors


def reorder_some(net, dataset, swaps, draws=3, rng=0):
    """Swap pairs of blocks drawn at random, ``draws`` times for each count; return [(Kendall's tau, error), ...].

    Only blocks of one stage that keep the shape of x change places. tau is 1 for the order of training; each pair of
    blocks that stands the wrong way round takes 2 / (number of pairs) off.
    """
    rng, blocks, pairs = np.random.default_rng(rng), blocks_of(net), swappable(net)
    swaps = [whole("reorder_some", "swaps", count) for count in swaps]
    if not pairs:
        raise ValueError("reorder_some: no two blocks of a stage keep the shape. Use a deeper net, of 20 layers say.")
    results = []
    for count in swaps:
        for _ in range(draws):
            order = list(range(len(blocks)))
            for i, j in rng.choice(pairs, count):
                order[i], order[j] = order[j], order[i]
            with reordered(net, order):
                results.append((kendall_tau(order), evaluate(net, dataset)[0]))
    return results


def swappable(net):
    """Return the pairs (i, j) of blocks that can change places: both of one stage, both keep the shape of x."""
    blocks = enumerate(blocks_of(net))
    places = [(block.path.rpartition(".")[0], i) for i, block in blocks if block.keeps_shape]
    return [(i, j) for (stage, i), (other, j) in combinations(places, 2) if stage == other]


def kendall_tau(order):
    """Return (pairs that rise - pairs that fall) / pairs: 1 for an order that rises, -1 for one that falls."""
    pairs = list(combinations(order, 2))
    return sum(np.sign(b - a) for a, b in pairs) / len(pairs) if pairs else 1.0


# -- paths ----------------------------------------------------------------------------------------------------


def path_lengths(n):
    """Return the part of the 2^n paths through n blocks that pass k branches, for k = 0 ... n: C(n, k) / 2^n."""
    n = whole("path_lengths", "n", n)
    return np.array([math.comb(n, k) / 2**n for k in range(n + 1)])


def path_gradient(net, x, labels, through):
    """Return dL/dx along one path: through the branches of the blocks ``through``, past all others.

    The forward pass is the whole net's. So is the loss: the mean softmax cross-entropy. The net stays as it is.
    """
    net = copy.deepcopy(net)
    blocks = residual_blocks(net, "path_gradient")
    through = _known(through, blocks, "path_gradient")
    parts = [block.residual.branch if block.path in through else block.residual.shortcut for block in blocks]
    with replaced((block.residual, {"backward": part.backward}) for block, part in zip(blocks, parts)):
        _, dlogits = softmax_cross_entropy(net.forward(x), labels)
        return net.backward(dlogits)


def sample_path_gradients(net, x, labels, samples=10, rng=0):
    """Return {k: array of |dL/dx| along ``samples`` paths drawn among those of k branches}, for k = 0 ... n."""
    blocks, rng = residual_blocks(net, "sample_path_gradients"), np.random.default_rng(rng)
    samples = whole("sample_path_gradients", "samples", samples, least=1)
    paths = [block.path for block in blocks]
    norms = {}
    for k in range(len(paths) + 1):
        draws = [rng.choice(paths, k, replace=False).tolist() for _ in range(min(samples, math.comb(len(paths), k)))]
        gradients = (path_gradient(net, x, labels, through) for through in draws)
        norms[k] = np.array([np.linalg.norm(dx.astype(np.float64)) for dx in gradients])
    return norms


def gradient_by_length(net, x, labels):
    r"""Return, for every k, the sum of dL/dx over *all* paths of k branches, however many there are.

    Going backward through a block, the part of the gradient that has passed k branches comes down the shortcut as it
    is, and down the branch as part k + 1:

    .. math:: dx_k = S^T dy_k + J^T dy_{k-1}, \qquad dx = \sum_k dx_k

    An array (n + 1, N, ...); its sum over the first axis is the gradient that ``backward`` gives. The net is in its
    mode: in evaluation no image acts on another; in training batch norm's derivative J mixes the batch.
    """
    net = copy.deepcopy(net)
    n = len(residual_blocks(net, "gradient_by_length"))
    _, dlogits = softmax_cross_entropy(net.forward(x), labels)
    with in_parts(net, len(x), partial(one_longer, len(x), n)):
        return net.backward(dlogits).reshape(n + 1, *x.shape)


def one_longer(N, most, residual, dy):
    """What the parts of dy become at a block, by ``gradient_by_length``; a part beyond ``most`` branches is dropped."""
    past, through = residual.shortcut.backward(dy), residual.branch.backward(dy[: most * N]) if most else None
    dx = np.zeros((min(len(dy) + N, (most + 1) * N), *past.shape[1:]), past.dtype)
    dx[: len(dy)] = past
    if through is not None:
        dx[N : N + len(through)] += through
    return dx


@contextmanager
def in_parts(net, N, join):
    """Within the ``with``, ``net.backward`` takes several gradients for the forward pass before it, of N images.

    They are stacked along the batch, (parts * N, ...). A layer takes them one after another, with what it remembered
    restored each time; its parameters get the sum. At an addition ``join(residual, dy)`` returns dx: more parts than dy
    has, fewer or as many.
    """
    layers = [layer for _, layer in net.named_layers()]
    ways = [(layer, partial(join, layer)) for layer in layers if isinstance(layer, Residual)]
    ways += [(layer, _one_by_one(layer, N)) for layer in layers if not layer.children()]
    with replaced((layer, {"backward": backward}) for layer, backward in ways):
        yield net


def _one_by_one(layer, N):
    one, cache = layer.backward, layer._cache

    def backward(dy):
        parts = []
        for first in range(0, len(dy), N):
            layer._cache = cache
            parts.append(one(dy[first : first + N]))
        return np.concatenate(parts)

    return backward


def effective_lengths(weights, part=0.95):
    """Return (first, last) of the shortest run of lengths that carry this part of the sum of ``weights``."""
    if not 0 < part <= 1 or not np.sum(weights) > 0:
        raise ValueError(f"effective_lengths: expected weights, a part above 0 and up to 1; got {weights}, {part}.")
    total = np.concatenate([[0.0], np.cumsum(weights)])
    n = len(weights)
    runs = [(j - i, i, j) for i in range(n) for j in range(i, n) if total[j + 1] - total[i] >= part * total[-1]]
    _, first, last = min(runs)
    return first, last


class RandomBlocks(Layer):
    """A residual net of which each training step uses ``keep`` blocks, drawn at random; the others are shortcuts.

    So no path of more than ``keep`` branches is ever trained, and their lengths are those of ``keep`` tosses of a coin:
    Veit et al., section 5.2, keep 23 of 54. In evaluation every block acts, its branch scaled by keep / n, as much
    of it as there was on average in training (Huang et al. 2016, arXiv:1603.09382, section 3).
    """

    def __init__(self, net, keep, rng=None):
        n = len(residual_blocks(net, "RandomBlocks"))
        self.keep = whole("RandomBlocks", "keep", keep, least=1, most=n, hint=f"The net has {n} blocks.")
        self.net, self.rng = net, np.random.default_rng(rng)
        self._stack = ExitStack()

    def forward(self, x):
        self._stack.close()  # a forward whose backward never came
        blocks = blocks_of(self.net)
        if self.training:
            kept = self.rng.choice(len(blocks), self.keep, replace=False)
            gone = [block.path for i, block in enumerate(blocks) if i not in kept]
            self._stack.enter_context(deleted(self.net, gone))
            return self.net.forward(x)
        branches = [block.residual.branch for block in blocks]
        with replaced((one, {"forward": partial(self._scaled, one.forward, len(blocks))}) for one in branches):
            return self.net.forward(x)

    def _scaled(self, forward, n, x):
        return np.float32(self.keep / n).astype(x.dtype) * forward(x)

    def backward(self, dy):
        if not self.training:
            raise RuntimeError("RandomBlocks: backward in evaluation mode, where it is for testing only. Call train().")
        dx = self.net.backward(dy)
        self._stack.close()
        return dx


def residual_blocks(net, who):
    """Return the blocks of a net of which each is branch + shortcut; a ValueError in the name of ``who`` if not."""
    blocks = blocks_of(net)
    for block in blocks:
        if type(block.residual) is not Residual:
            why = "multiplies its branch by a number" if block.residual else "has none, and so a single path"
            raise ValueError(f"{who}: expected blocks that are branch + shortcut; {block.path} {why}.")
    return blocks


def _known(paths, blocks, who):
    """The paths as a set; a KeyError if one of them is no block."""
    every = [block.path for block in blocks]
    paths = [paths] if isinstance(paths, str | int) else list(paths)
    unknown = [path for path in paths if path not in every]
    if unknown:
        raise KeyError(f"{who}: no block {unknown[0]!r}; the blocks are {', '.join(every)}.")
    return set(paths)
