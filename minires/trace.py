r"""A trace: what every layer of a net returned, and the gradient that came back to it, for one batch.

::

    mine = trace(net, x, labels)
    print(mine)                                        # a table: shape, mean, std, min, max, NaN, layer by layer
    mine.save("mine.npz")
    difference(mine, Trace.load("reference.npz"))      # the first layer that differs, and where
    Path("trace.html").write_text(page(mine))         # minires.report.trace.page

Two traces of one network, with the same weights and the same batch, must agree up to rounding (compare in float64: in
float32 rounding takes a number or two to the other side of a ReLU's kink, and its gradient comes or goes). Layers are
compared in the order in which they finish, forward and then backward: of those that differ the first is nearest to the
mistake.
"""

import copy
import inspect
import json
import math
import re
from typing import NamedTuple

import numpy as np

from minires.checks import instance, path_of, real
from minires.files import read_npz, written_safely
from minires.layer import Layer
from minires.layer_state import generator_state, generators, set_generator_state
from minires.losses import softmax_cross_entropy
from minires.probe import Probe

FORMAT = 1


class Stats(NamedTuple):
    """An array in six numbers. Mean, std, min and max are those of the entries that are numbers."""

    shape: tuple
    mean: float
    std: float
    min: float
    max: float
    nan: int

    @classmethod
    def of(cls, array):
        numbers = array[~np.isnan(array)].astype(np.float64)
        if not numbers.size:
            return cls(array.shape, *[math.nan] * 4, array.size)
        with np.errstate(all="ignore"):  # infinities have no mean
            of_all = [float(function(numbers)) for function in (np.mean, np.std, np.min, np.max)]
        return cls(array.shape, *of_all, int(array.size - numbers.size))


class Row(NamedTuple):
    """One layer of a trace."""

    path: str
    kind: str
    y: Stats
    dy: Stats  # of dL/dy


class Trace:
    """Made by ``trace``; prints as a table.

    Attributes
    ----------
    about : dict
        ``loss``, ``training``, ``net`` (a name), ``kinds`` (class of each layer by path), ``equations`` by class and
        ``generators``, the states of random layers before the pass.
    state : dict
        Parameters and buffers before the pass.
    tensors : dict
        ``x`` and ``labels``; then, in the order in which they came about, ``y of PATH``, ``dL/dx of PATH`` and
        ``dL/dp of PATH.NAME``. The path ``""``, the net itself, is left out of the names.
    rows : list of Row
    """

    def __init__(self, about, state, tensors):
        self.about, self.state, self.tensors = about, state, tensors
        self.rows = [Row(*row[:2], *(Stats(tuple(s[0]), *s[1:]) for s in row[2:])) for row in about["rows"]]

    def put_into(self, net):
        """Give a net the weights, the mode and the random generators that this trace was made with; return it."""
        net.load_state_dict(self.state)
        for path, generator in generators(net).items():
            state = self.about.get("generators", {}).get(path)
            if state and state["bit_generator"] == generator_state(generator)["bit_generator"]:
                set_generator_state(generator, state)
        return net.train(self.about["training"])

    def save(self, path):
        """Write an ``.npz`` file of arrays and one JSON text."""
        arrays = {f"state/{name}": array for name, array in self.state.items()}
        arrays |= {f"tensor/{i}": array for i, array in enumerate(self.tensors.values())}
        about = self.about | {"format": FORMAT, "tensors": list(self.tensors)}
        with written_safely(path_of("Trace.save path", path)) as file:
            np.savez(file, about=json.dumps(about), **arrays)

    @classmethod
    def load(cls, path):
        """Read what ``save`` wrote."""
        path = path_of("Trace.load path", path)
        try:
            arrays = read_npz(path)
            about = json.loads(str(arrays["about"]))
            if about.get("format") != FORMAT:
                raise KeyError("format")
            tensors = {name: arrays[f"tensor/{i}"] for i, name in enumerate(about["tensors"])}
            state = {key.removeprefix("state/"): array for key, array in arrays.items() if key.startswith("state/")}
            found = cls(about, state, tensors)
            str(found), tensors["labels"].shape, about["kinds"].keys()  # is all of it there?
            return found
        except FileNotFoundError:
            raise ValueError(f"{path}: no such file. minires trace NET --save {path} writes it.") from None
        except Exception:  # zipfile, NumPy and json raise a dozen kinds
            raise ValueError(f"{path}: expected a trace, as minires trace --save writes it; it is not one.") from None

    @property
    def setting(self):
        """What was traced, in a few words."""
        mode = "training" if self.about["training"] else "evaluation"
        return f"{self.about['net']}: x of {by(self.tensors['x'].shape)}, {mode} mode, loss {self.about['loss']:.6g}"

    @property
    def first_not_finite(self):
        """The name of the first tensor with NaN or infinity in it, such as "y of conv1"; "" if there is none."""
        return next((name for name, array in self.tensors.items() if not np.isfinite(array).all()), "")

    def __str__(self):
        width = max([12, *(len(row.path) for row in self.rows)])
        head = "".join(f"{name:>11}" for name in ("mean", "std", "min", "max", "NaN"))
        lines = [self.setting, "", f"{'layer':<{width}} {'':<4}{'shape':<18}{head}"]
        for row in self.rows:
            for words, name, s in ((row.path, "y", row.y), (f"  {row.kind}", "dy", row.dy)):
                numbers = "".join(f"{number:>11.3g}" for number in s[1:5]) + f"{s.nan or '':>11}"
                lines.append(f"{words:<{width}} {name:<4}{by(s.shape):<18}{numbers}".rstrip())
        if self.first_not_finite:
            lines += ["", f"The first NaN or infinity is in {self.first_not_finite}."]
        lines += ["", "What the layers compute, from their docstrings:"]
        for kind, text in self.about["equations"].items():
            lines.append(f"{kind}: {text['summary']}")
            lines += [f"    {line}" for line in text["forward"] + (text["backward"] or [text["derived"]]) if line]
        return "\n".join(lines)


def trace(net, x, labels, name="net"):
    """Run one forward and backward pass on a copy of a net; return its Trace.

    The loss is the mean softmax cross-entropy. The net stays as it is.

    Examples
    --------
    >>> from minires.networks import cifar_resnet
    >>> mine = trace(cifar_resnet(8, rng=0), np.ones((2, 3, 8, 8), np.float32), np.array([0, 1]))
    >>> mine.rows[0].path, mine.rows[0].y.shape
    ('conv1', (2, 16, 8, 8))
    """
    instance("trace", "net", net, Layer, "a Layer")
    net, state = copy.deepcopy(net).zero_grad(), net.state_dict()
    random = {path: generator_state(generator) for path, generator in generators(net).items()}
    layers = dict(net.named_layers())
    with np.errstate(all="ignore"), Probe(net) as probe:
        logits = net.forward(x)
        try:
            loss, dlogits = softmax_cross_entropy(logits, labels)
        except ValueError:
            if np.isfinite(logits).all():
                raise
            loss, dlogits = math.nan, np.full_like(logits, np.nan)  # a trace is for looking at that, too
        net.backward(dlogits)
    tensors = {"x": x, "labels": np.asarray(labels)}
    tensors |= {_named("y", path): y for path, y in probe.y.items()}
    for path, dx in probe.dx.items():
        for own, member in layers[path]._members():
            if hasattr(member, "grad"):
                tensors[f"dL/dp of {path}.{own}".replace(" .", " ")] = member.grad
        tensors[_named("dL/dx", path)] = dx
    kinds = {path: type(layer).__name__ for path, layer in layers.items()}
    about = {
        "net": name,
        "loss": loss,
        "training": net.training,
        "kinds": kinds,
        "generators": random,
        "rows": [(p, kinds[p], Stats.of(y), Stats.of(probe.dy[p])) for p, y in probe.y.items() if p and p in probe.dy],
        "equations": {type(layer).__name__: equations(layer) for path, layer in layers.items() if path in probe.y},
    }
    about = json.loads(json.dumps(about, default=lambda array: array.tolist()))  # some generators keep arrays
    return Trace(about, state, tensors)


def _named(what, path):
    return f"{what} of {path}" if path else what


def equations(layer):
    """Return {"summary", "forward", "backward", "derived"} of a layer's docstring.

    The first paragraph; the formulas of the operation and of its derivative, in LaTeX; and the first paragraph on the
    derivative.

    >>> from minires.layers import Linear
    >>> equations(Linear(2, 2))["forward"]
    ['y = x \\\\, w^T + b, \\\\qquad y[n, k] = \\\\sum_j x[n, j] \\\\, w[k, j] + b[k]']
    """
    kinds = [kind for kind in type(layer).__mro__ if issubclass(kind, Layer) and kind is not Layer]
    text = next((inspect.cleandoc(kind.__doc__) for kind in kinds if kind.__doc__), "It has no docstring.")
    before, _, after = text.partition("\nBackward\n")
    before, after = (re.split(r"\n[A-Z]\w+\n---", part)[0] for part in (before, after))

    def formulas(part):
        blocks = re.findall(r"^\.\. math::[ ]*(.*(?:\n(?:[ ]+.*|[ ]*(?=\n[ ]+)))*)", part, re.MULTILINE)
        return [" ".join(block.split()) for block in blocks]

    return {
        "summary": " ".join(text.partition("\n\n")[0].split()),
        "forward": formulas(before),
        "backward": formulas(after),
        "derived": " ".join(after.strip(" -\n").partition("\n\n")[0].split()),
    }


class Difference(NamedTuple):
    """Where two traces part; prints as one sentence or two."""

    name: str  # of the first tensor that differs
    path: str  # of the layer that it belongs to
    kind: str  # class of that layer
    reason: str
    count: int  # of tensors that differ
    total: int

    def __str__(self):
        kind = f" ({self.kind})" if self.kind else ""
        return f"First difference: {self.name}{kind}: {self.reason} {self.count} of {self.total} tensors differ."


def difference(mine, reference, tolerance=1e-3):
    r"""Return the first Difference of two traces, or None.

    Two arrays differ when \|mine - reference\| exceeds ``tolerance`` times the largest \|reference\| anywhere, or NaN
    and infinity stand in other places. Forward passes are compared first, then the backward ones.

    A gradient that is zero by its nature, as that of a bias before a batch norm, comes out as rounding: a parameter's
    gradient may also be off by 10,000 roundings of the largest gradient of any parameter of its layer.
    """
    return next(iter(differences(mine, reference, tolerance)), None)


def differences(mine, reference, tolerance=1e-3):
    """Return every Difference of two traces, in the order in which the tensors came about; see ``difference``."""
    real("difference", "tolerance", tolerance, least=0)
    for name, value in {"mine": mine, "reference": reference}.items():
        instance("difference", name, value, Trace, "a Trace, as in  Trace.load(path)")
    found, rounding = [], _rounding(reference.tensors)
    names, kinds = dict.fromkeys([*mine.tensors, *reference.tensors]), reference.about["kinds"] | mine.about["kinds"]
    for name in names:
        if name not in reference.tensors or name not in mine.tensors:
            reason = f"only in {'mine' if name in mine.tensors else 'the reference'}. Is it the same network?"
        else:
            reason = _unlike(mine.tensors[name], reference.tensors[name], tolerance, rounding.get(_layer_of(name), 0.0))
        if reason:
            path = path_in(name)
            found.append((name, path, kinds.get(path, "") if " of " in name else "", reason))
    return [Difference(*one, len(found), len(names)) for one in found]


def path_in(name):
    """Return the path of the layer that a tensor belongs to: "linear" of "dL/dp of linear.bias"; "" of "x"."""
    return _layer_of(name).partition(" of ")[2]


def _layer_of(name):
    """ "dL/dp of linear" of "dL/dp of linear.bias"; any other name as it is."""
    return name.rpartition(".")[0] if name.startswith("dL/dp") else name


def _rounding(tensors):
    """{"dL/dp of PATH": how far rounding may take the gradients of this layer's parameters}"""
    found = {}
    for name, array in tensors.items():
        if name.startswith("dL/dp") and array.dtype.kind == "f":
            largest = np.max(np.abs(array[np.isfinite(array)]), initial=0.0)
            found[_layer_of(name)] = max(found.get(_layer_of(name), 0.0), 1e4 * np.finfo(array.dtype).eps * largest)
    return found


def _unlike(a, b, tolerance, rounding):
    if a.shape != b.shape:
        return f"mine has shape {a.shape}, the reference {b.shape}."
    finite = np.isfinite(b)
    scale = np.max(np.abs(b[finite]), initial=0.0)
    with np.errstate(all="ignore"):
        off = np.where(a == b, 0.0, np.abs(np.asarray(a, np.float64) - b))
    off[np.isnan(a) & np.isnan(b)] = 0
    off[np.isnan(off)] = np.inf  # NaN in one of the two
    if not off.size or not np.max(off) > max(tolerance * scale, rounding):
        return ""
    worst = np.unravel_index(np.argmax(off), off.shape)
    part = f" ({np.max(off) / scale:.2g} of the largest)" if scale else ""
    place = f" at {tuple(int(i) for i in worst)}" if worst else ""
    return f"mine is {a[worst]:.6g}, the reference {b[worst]:.6g}{place}{part}; shape {a.shape}."


def by(shape):
    """Return a shape in words: 2x16x8x8; 1 for a single number."""
    return "x".join(map(str, shape)) or "1"
