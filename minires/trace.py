r"""A trace: what every layer of a net returned, and the gradient that came back to it, for one batch.

::

    mine = trace(net, x, labels)
    print(mine)                                        # a table: shape, mean, std, min, max, NaN, layer by layer
    mine.save("mine.npz")
    difference(mine, Trace.load("reference.npz"))      # the first layer that differs, and where
    Path("trace.html").write_text(page(mine))

Two traces of one network, with the same weights and the same batch, must agree up to rounding (compare in float64: in
float32 rounding takes a number or two to the other side of a ReLU's kink, and its gradient comes or goes). Layers are
compared in the order in which they finish, forward and then backward: of those that differ the first is nearest to the
mistake.
"""

import copy
import html
import inspect
import json
import math
import re
import zipfile
from typing import NamedTuple

import numpy as np

from minires.layer import Layer
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
            of_all = (float(function(numbers)) for function in (np.mean, np.std, np.min, np.max))
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
        ``loss``, ``training``, ``net`` (a name), ``kinds`` (class of each layer by path) and ``equations`` by class.
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

    def save(self, path):
        """Write an ``.npz`` file of arrays and one JSON text."""
        arrays = {f"state/{name}": array for name, array in self.state.items()}
        arrays |= {f"tensor/{i}": array for i, array in enumerate(self.tensors.values())}
        about = self.about | {"format": FORMAT, "tensors": list(self.tensors)}
        with open(path, "wb") as file:  # np.savez would add .npz to another name
            np.savez(file, about=json.dumps(about), **arrays)

    @classmethod
    def load(cls, path):
        """Read what ``save`` wrote."""
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                if about.get("format") != FORMAT:
                    raise KeyError("format")
                tensors = {name: file[f"tensor/{i}"] for i, name in enumerate(about["tensors"])}
                state = {key.removeprefix("state/"): file[key] for key in file.files if key.startswith("state/")}
        except FileNotFoundError:
            raise ValueError(f"{path}: no such file. minires trace NET --save {path} writes it.") from None
        except (KeyError, ValueError, OSError, zipfile.BadZipFile):
            raise ValueError(f"{path}: expected a trace, as minires trace --save writes it; it is not one.") from None
        return cls(about, state, tensors)

    def __str__(self):
        width = max([12, *(len(row.path) for row in self.rows)])
        head = f"{'layer':<{width}} {'':<4}{'shape':<18}" + "".join(
            f"{n:>11}" for n in ("mean", "std", "min", "max", "NaN")
        )
        lines = [head]
        for row in self.rows:
            for name, s in (("y", row.y), ("dy", row.dy)):
                numbers = "".join(f"{number:>11.3g}" for number in s[1:5]) + f"{s.nan or '':>11}"
                lines.append(
                    f"{row.path if name == 'y' else '':<{width}} {name:<4}{_by(s.shape):<18}{numbers}".rstrip()
                )
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
    net, state = copy.deepcopy(net).zero_grad(), net.state_dict()
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
        "rows": [(p, kinds[p], Stats.of(y), Stats.of(probe.dy[p])) for p, y in probe.y.items() if p and p in probe.dy],
        "equations": {type(layer).__name__: equations(layer) for path, layer in layers.items() if path in probe.y},
    }
    return Trace(json.loads(json.dumps(about)), state, tensors)


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
    kind: str  # class of the layer
    reason: str
    count: int  # of tensors that differ
    total: int

    def __str__(self):
        kind = f" ({self.kind})" if self.kind else ""
        return f"First difference: {self.name}{kind}: {self.reason}. {self.count} of {self.total} tensors differ."


def difference(mine, reference, tolerance=1e-3):
    r"""Return the first Difference of two traces, or None.

    Two arrays differ when \|mine - reference\| exceeds ``tolerance`` times the largest \|reference\| anywhere, or NaN
    and infinity stand in other places. Forward passes are compared first, then the backward ones.
    """
    found, total = [], 0
    for name in dict.fromkeys([*mine.tensors, *reference.tensors]):
        total += 1
        if name not in reference.tensors or name not in mine.tensors:
            reason = f"only in {'mine' if name in mine.tensors else 'the reference'}. Is it the same network?"
        else:
            reason = _unlike(mine.tensors[name], reference.tensors[name], tolerance)
        if reason:
            found.append((name, reason))
    if not found:
        return None
    name, reason = found[0]
    path = name.partition(" of ")[2] if " of " in name else ""
    path = path.rpartition(".")[0] if name.startswith("dL/dp") else path
    kinds = reference.about["kinds"] | mine.about["kinds"]
    return Difference(name, kinds.get(path, "") if " of " in name else "", reason, len(found), total)


def _unlike(a, b, tolerance):
    if a.shape != b.shape:
        return f"mine has shape {a.shape}, the reference {b.shape}"
    finite = np.isfinite(b)
    scale = np.max(np.abs(b[finite]), initial=0.0)
    with np.errstate(all="ignore"):
        off = np.where(a == b, 0.0, np.abs(np.asarray(a, np.float64) - b))
    off[np.isnan(a) & np.isnan(b)] = 0
    off[np.isnan(off)] = np.inf  # NaN in one of the two
    if not off.size or not np.max(off) > tolerance * scale:
        return ""
    worst = np.unravel_index(np.argmax(off), off.shape)
    part = f" ({np.max(off) / scale:.2g} of the largest)" if scale else ""
    place = f" at {tuple(int(i) for i in worst)}" if worst else ""
    return f"mine is {a[worst]:.6g}, the reference {b[worst]:.6g}{place}{part}; shape {a.shape}"


# -- the page -------------------------------------------------------------------------------------------------

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #333; margin: 1.5em auto; max-width: 1350px; padding: 0 1em }
h1 { font-size: 1.4em } h2 { font-size: 1.15em; margin-top: 2em } .wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: 2px 8px; text-align: right; white-space: nowrap } th { font-weight: 600; color: #777 }
td:first-child, td:nth-child(2), th:first-child, th:nth-child(2) { text-align: left }
thead th { position: sticky; top: 0; background: #fff; border-bottom: 1px solid #aaa }
tr.stage td { border-top: 1px solid #ddd } td.bar { background-repeat: no-repeat }
tr.bad td { background-color: #fde3e0 } a { color: #0072b2; text-decoration: none }
.banner { padding: .6em 1em; background: #fde3e0 } .banner.same { background: #e0f2e9 } code { font-size: 13px }
.equation { margin: .3em 0 .3em 1.5em } .equation img { vertical-align: middle; max-width: 100% }
"""
SHORTCUT, BRANCH = "#bfd9ea", "#f6d3bd"  # behind the numbers: forward, backward


def page(made, equation=None, compared=None):
    """Return a trace as one self-contained HTML page.

    Parameters
    ----------
    made : Trace
    equation : function of a LaTeX formula, optional
        Returns the formula as SVG, or "" where it cannot; default: the LaTeX is shown as text.
    compared : str, optional
        What the comparison with another trace came to, for the head of the page.
    """
    about = made.about
    bars = [_bars([getattr(row, which).std for row in made.rows], colour) for which, colour in _COLUMNS.items()]
    rows, above = [], None
    for row, *behind in zip(made.rows, *bars):
        stage = row.path.partition(".")[0]
        bad = row.y.nan or row.dy.nan or (compared and f" {row.path} (" in compared)
        classes = f"{'stage ' if stage != above else ''}{'bad' if bad else ''}"
        cells = [
            f"<td>{html.escape(row.path)}</td>",
            f'<td><a href="#{html.escape(row.kind)}">{html.escape(row.kind)}</a></td>',
        ]
        for s, bar in zip((row.y, row.dy), behind):
            numbers = [f"{number:.3g}" for number in s[1:5]]
            cells += [
                f"<td>{_by(s.shape)}</td><td>{numbers[0]}</td>",
                f'<td class="bar" style="{bar}">{numbers[1]}</td>',
            ]
            cells += [f"<td>{number}</td>" for number in (*numbers[2:], s.nan or "")]
        rows.append(f'<tr class="{classes}">{"".join(cells)}</tr>')
        above = stage
    names = "<th>shape</th><th>mean</th><th>std</th><th>min</th><th>max</th><th>NaN</th>"
    banner = ""
    if compared:
        banner = f'<p class="banner{"" if compared.startswith("First") else " same"}">{html.escape(compared)}</p>'
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(about["net"])}: a trace</title><style>{STYLE}</style></head><body>
<h1>{html.escape(about["net"])}: one batch, forward and backward</h1>
<p>x of shape {_by(made.tensors["x"].shape)}; {"training" if about["training"] else "evaluation"} mode; loss
{about["loss"]:.6g}. For each layer, in the order in which it finished: y is what it returned, dL/dy the gradient that
came back to it. Bars behind a standard deviation are logarithmic, from the smallest of the column to the largest.
Rows with NaN are red.</p>{banner}
<div class="wide"><table><thead><tr><th></th><th></th><th colspan="6">forward: y</th>
<th colspan="6">backward: dL/dy</th></tr><tr><th>layer</th><th>class</th>{names}{names}</tr></thead><tbody>
{chr(10).join(rows)}
</tbody></table></div><h2>What the layers compute</h2>
{chr(10).join(_equations_in_html(kind, text, equation) for kind, text in about["equations"].items())}
</body></html>
"""


_COLUMNS = {"y": SHORTCUT, "dy": BRANCH}


def _bars(numbers, colour):
    """CSS of a bar behind each number, its length by the logarithm."""
    logs = np.array([math.log10(number) if 0 < number < math.inf else math.nan for number in numbers])
    if np.isnan(logs).all():
        return [""] * len(numbers)
    low, high = np.nanmin(logs), np.nanmax(logs)
    part = 10 + 90 * (logs - low) / (high - low or 1)
    image = f"background-image:linear-gradient({colour},{colour})"
    return ["" if np.isnan(width) else f"{image};background-size:{width:.0f}% 100%" for width in part]


def _equations_in_html(kind, text, equation):
    def shown(formula):
        drawn = equation(formula) if equation else ""
        return f'<p class="equation">{drawn or f"<code>{html.escape(formula)}</code>"}</p>'

    formulas = "".join(shown(formula) for formula in text["forward"])
    if text["backward"] or text["derived"]:
        formulas += f"<p>Backward: {'' if text['backward'] else html.escape(text['derived'])}</p>"
        formulas += "".join(shown(formula) for formula in text["backward"])
    return f'<h3 id="{html.escape(kind)}">{html.escape(kind)}</h3><p>{html.escape(text["summary"])}</p>{formulas}'


def _by(shape):
    return "x".join(map(str, shape)) or "1"
