r"""Looking inside a network: what every layer was given and what it returned, forward and backward.

::

    with Probe(net) as probe:
        logits = net.forward(x)
        loss, dlogits = softmax_cross_entropy(logits, labels)
        net.backward(dlogits)
    probe.y["stage1.0"]                     # the output of the first block
    probe.dx["stage1.0.residual.shortcut"]  # the gradient that came down its shortcut

No layer knows of it: inside the ``with``, the ``forward`` and ``backward`` of each layer object are replaced by a
function that calls the original and writes down its argument and its result.
"""

import copy
import re
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial
from html import escape
from typing import NamedTuple

import numpy as np

from minires.checks import InvalidArgument, require, shown
from minires.layer import Layer
from minires.layers import Residual
from minires.losses import softmax_cross_entropy


class Probe:
    """Record x, y, dy and dx of the layers of a net while the ``with`` lasts.

    Parameters
    ----------
    net : Layer
    paths : str or list of str, optional
        Record only these layers; ``*`` stands for anything: ``"stage1.0"``, ``"*.conv?"``. Default: all.
    reduce : function of an array, optional
        Keep ``reduce(array)``, such as ``np.std``, instead of the array: a deep net at a large batch is gigabytes.

    Attributes
    ----------
    x, y, dy, dx : dicts by dotted path
        Of the latest forward and backward; ``""`` is the net itself. Arrays are not copied: nobody writes into
        an array that crossed a layer boundary.

    Examples
    --------
    >>> from minires import ReLU, Sequential
    >>> net = Sequential(ReLU(), ReLU())
    >>> with Probe(net) as probe:
    ...     y = net.forward(np.array([-1.0, 2.0]))
    >>> probe.y["1"]
    array([0., 2.])
    """

    def __init__(self, net, paths=None, reduce=None):
        require(isinstance(net, Layer), "Probe", "a network", shown(net))
        fits = reduce is None or callable(reduce)
        require(fits, "Probe", "reduce, a function of an array such as np.std", shown(reduce))
        self.net, self.reduce = net, reduce
        every = [path for path, _ in net.named_layers()]
        patterns = ["*"] if paths is None else [paths] if isinstance(paths, str) else paths
        fits = np.iterable(patterns) and all(isinstance(pattern, str) for pattern in patterns)
        require(fits, "Probe", "paths, a str or a list of str", shown(paths))
        for pattern in patterns:
            if not any(fnmatchcase(path, pattern) for path in every):
                raise KeyError(f"Probe: no layer matches {pattern!r}.{_near(pattern, every)}")
        self.paths = [path for path in every if any(fnmatchcase(path, pattern) for pattern in patterns)]
        self.x, self.y, self.dy, self.dx = (_Record(name, every) for name in ("x", "y", "dy", "dx"))
        self._replaced = []

    def __enter__(self):
        if self._replaced:
            raise RuntimeError("Probe: this probe is recording already. Make another Probe(net) for an inner with.")
        wanted = set(self.paths)
        for path, layer in self.net.named_layers():
            if path in wanted:
                for method, given, returned in (("forward", self.x, self.y), ("backward", self.dy, self.dx)):
                    self._replaced.append((layer, method, vars(layer).get(method)))
                    original = getattr(layer, method)
                    setattr(layer, method, partial(_record, original, path, given, returned, self.reduce))
        return self

    def __exit__(self, *_):
        for layer, method, before in reversed(self._replaced):
            if before is None:
                delattr(layer, method)  # the method of the class shows again
            else:
                setattr(layer, method, before)  # an outer probe's
        self._replaced = []


def _record(original, path, given, returned, reduce, argument):
    """Call ``original(argument)`` and write down what it was given and what it returned."""
    given[path] = argument if reduce is None else reduce(argument)  # first: still there if the layer raises
    result = original(argument)
    returned[path] = result if reduce is None else reduce(result)
    return result


class _Record(dict):
    """A dict by path whose KeyError says why there is nothing."""

    def __init__(self, name, every):
        self.name, self.every = name, every

    def __missing__(self, path):
        if path not in self.every:
            raise KeyError(f"probe.{self.name}: no layer {path!r}.{_near(path, self.every)}")
        method = "backward" if self.name.startswith("d") else "forward"
        raise KeyError(f"probe.{self.name}[{path!r}]: its {method} did not run inside the with, or paths= left it out.")


def _near(path, every):
    near = get_close_matches(str(path), every, n=3)
    return f" Did you mean {' or '.join(near)}?" if near else f" The paths begin {', '.join(every[1:6])}."


class BlockFlow(NamedTuple):
    """What one backward pass did at one block; see ``gradient_flow``."""

    path: str
    entering: float  # |dy| of the block
    shortcut: float  # |dx| that came through the shortcut
    branch: float  # |dx| that came through the branch
    cosine: float  # between these two
    activation_std: float  # of y of the block
    weight_ratio: float  # |dW| / |W| over the block's weights


class Rows(list):
    """A list of rows that a prompt and a notebook show as the table that ``print`` shows."""

    def __repr__(self):
        return str(self)

    def _repr_html_(self):
        return f"<pre>{escape(str(self))}</pre>"


class GradientFlow(Rows):
    """The rows of ``gradient_flow``; prints as a table."""

    def __str__(self):
        width = max([len("block"), *(len(row.path) for row in self)]) + 1

        def line(path, *cells):
            return f"{path:<{width}}" + "".join(f"{cell:>11}" for cell in cells)

        def number(value, form):
            return "-" if np.isnan(value) else format(value, form)

        head = line("block", "|dy|", "shortcut", "branch", "cosine", "std of y", "|dW|/|W|")
        rows = [line(row.path, *map(number, row[1:], (".3e", ".3e", ".3e", ".3f", ".3f", ".3e"))) for row in self]
        return "\n".join([head, *rows])


def gradient_flow(net, x, labels, blocks=None):
    r"""Run one forward and backward and return, for every block, where its gradient went.

    At a residual block y = branch(x) + shortcut(x), so the gradient splits into two parts which add:

    .. math:: dx = \text{branch}'(x)^T dy + \text{shortcut}'(x)^T dy

    The pass runs on a copy, in the mode (train or eval) the net is in: the net, its gradients and its running
    statistics stay as they are. The loss of the batch (x, labels) is the mean softmax cross-entropy. ``blocks`` are the
    paths of the blocks, by default the layers called ``stage1.0``, ``stage1.1``, ..., as in ``minires.networks``.

    The ``GradientFlow`` is a list of one ``BlockFlow`` per block, from input to output; norms are Euclidean over the
    batch. Without a shortcut all of dx comes through the branch: ``shortcut`` is 0 and ``cosine`` is nan.

    >>> from minires.networks import cifar_resnet
    >>> flow = gradient_flow(cifar_resnet(8, rng=0), np.ones((2, 3, 8, 8), np.float32), np.array([0, 1]))
    >>> [row.path for row in flow]
    ['stage1.0', 'stage2.0', 'stage3.0']
    """
    require(isinstance(net, Layer), "gradient_flow", "a network", shown(net))
    net = copy.deepcopy(net).zero_grad()
    layers = dict(net.named_layers())
    blocks = block_paths(net, blocks)
    joins = {path: _residual(path, layers) for path in blocks}
    parts = [f"{join}.{part}" for join in joins.values() if join for part in _PARTS]
    with Probe(net, paths=[*blocks, *parts]) as probe:
        _, dlogits = softmax_cross_entropy(net.forward(x), labels)
        net.backward(dlogits)

    flow = GradientFlow()
    for path, join in joins.items():
        whole = probe.dx[path]
        nothing = np.zeros_like(whole)  # came down a branch that stochastic depth left out
        parts = (probe.dx.get(f"{join}.{part}", nothing) for part in _PARTS)
        shortcut, branch = parts if join else (nothing, whole)
        weights = [parameter for parameter in layers[path].parameters() if parameter.data.ndim > 1]
        norms = [_norm(gradient) for gradient in (probe.dy[path], shortcut, branch)]
        cosine = _ratio(_dot(shortcut, branch), norms[1] * norms[2])
        change = _ratio(_norm(*(w.grad for w in weights)), _norm(*(w.data for w in weights)))
        flow.append(BlockFlow(path, *norms, cosine, float(probe.y[path].std()), change))
    return flow


def block_paths(net, blocks=None):
    """Return the paths of a net's blocks as a list: ``blocks`` where they are given, else stage1.0, stage1.1, ..."""
    every = (path for path, _ in net.named_layers())
    if not (blocks is None or (isinstance(blocks, (list, tuple)) and all(isinstance(path, str) for path in blocks))):
        raise InvalidArgument(f"expected blocks, a list of paths such as ['stage1.0'], got {shown(blocks)}.")
    blocks = [path for path in every if re.fullmatch(r"stage\d+\.\d+", path)] if blocks is None else list(blocks)
    if not blocks:
        raise ValueError("The net has no layers called stage1.0, stage1.1, ... Name its blocks: blocks=[...].")
    return blocks


_PARTS = ("shortcut", "branch")


def _residual(block, layers):
    """Path of the Residual at or below a block, or None."""
    below = (path for path in layers if path == block or path.startswith(f"{block}."))
    return next((path for path in below if isinstance(layers[path], Residual)), None)


def _dot(a, b):
    return np.vdot(a.astype(np.float64), b.astype(np.float64))  # squares of vanishing gradients underflow in float32


def _norm(*arrays):
    return float(np.sqrt(sum(_dot(a, a) for a in arrays)))


def _ratio(numerator, denominator):
    return float(numerator / denominator) if denominator else float("nan")
