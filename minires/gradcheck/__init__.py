"""Checking derivatives: is ``backward`` the derivative of ``forward``?

For a random dy of the shape of y, L = sum(y * dy) is one number, and ``backward(dy)`` claims to return dL/dx and to
add dL/dp to the grad of every parameter p. Move x (or p) a little way h along a direction u, forth and back: the slope

    (L(x + h u) - L(x - h u)) / 2h  =  dL/dx . u  +  O(h^2)

comes from ``forward`` alone, so no mistake of ``backward`` can hide in it. docs/gradient-checking.md gives the reasons
for every choice made here.
"""

import inspect
from operator import methodcaller

import numpy as np

from minires.checks import expected, flag, is_one_of, require, shown, some, whole
from minires.gradcheck.contract import Check
from minires.gradcheck.subjects import Adopted, GradientError, Loss, float64_copy
from minires.layer import Layer
from minires.unfound import unfound

# pytest shows the test and the layer that raised, not what is between
__tracebackhide__ = methodcaller("errisinstance", (GradientError, NotImplementedError))
__all__ = ["GradientError", "Report", "check_layer", "check_loss"]


class Report:
    """What was compared, one row for each mode and tensor; ``print`` shows the table."""

    HEAD = ("mode", "tensor", "shape", "entries", "directions", "worst error", "kinks", "hidden", "sees")

    def __init__(self, title, rows):
        self.title, self.rows = title, rows

    def __str__(self):
        table = [self.HEAD, *self.rows]
        widths = [max(len(str(row[i])) for row in table) for i in range(len(self.HEAD))]
        lines = ["  ".join(f"{cell!s:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in table]
        lines += [
            f"{mode} {tensor}: y does not move with {tensor.removesuffix('.grad').removeprefix('d')} here, "
            "and the gradient is 0: nothing else was checked."
            for mode, tensor, *_, sees in self.rows
            if sees == "-"
        ]
        return "\n".join([f"{self.title}: backward is the derivative of forward.", *lines])

    __repr__ = __str__


def check_layer(layer, x, *, modes=("train", "eval"), comparisons=1000, jitter=True, seed=0):
    """Compare ``layer.backward`` with slopes of ``layer.forward`` at x, and check the rest of the contract.

    All happens on copies in float64, their parameters and running statistics moved off the special values (gamma = 1)
    behind which mistakes hide. Only this x is tried: choose several images, H != W and a stride that does not tile.

    Parameters
    ----------
    layer : Layer, or any object with ``forward(x)`` and ``backward(dy)``
    x : array of floats
    modes : "train", "eval", or both
    comparisons : int
        Slopes to measure in each mode, shared among x and the parameters. A tensor with no more entries than its
        share is checked entry by entry; with 1000 or more, so is a larger one where all is small and forward is fast.
        Else a sample is checked, and directions that together move every entry.
    jitter : bool
        False leaves the parameters where they are, for a layer that cannot bear others.
    seed : int
        For dy, the jitter and the directions.

    Returns
    -------
    Report

    Raises
    ------
    GradientError
        Names the layer, the mode, the tensor and its worst entry, and guesses at the cause; or says that x does not
        tell: the layer is saturated there, rounding hides what is to be seen, or most of x is kinks and ties.

    Examples
    --------
    >>> from minires.layers import ReLU
    >>> print(check_layer(ReLU(), np.array([[1.0, -2.0, 3.0]]), modes=("train",)))
    ReLU(): backward is the derivative of forward.
    mode   tensor  shape   entries  directions  worst error  kinks  hidden  sees
    train  dx      (1, 3)  3 of 3   3           0.0e+00      0      0       2e-08
    """
    who, wanted = "check_layer", "a layer, an object with forward(x) and backward(dy)"
    require(not isinstance(layer, type), who, wanted, f"the class {getattr(layer, '__name__', layer)} itself")
    for method in ("forward", "backward"):
        require(callable(getattr(layer, method, None)), who, wanted, f"{shown(layer)} without {method}")
    _check_floats(who, "x", x)
    modes, comparisons = (modes,) if isinstance(modes, str) else modes, whole(who, "comparisons", comparisons)
    given = modes if isinstance(modes, (tuple, list, set)) else [modes]
    unknown = [shown(mode) for mode in given if not is_one_of(mode, ("train", "eval"))]
    require(not unknown, who, "modes out of ('train', 'eval')", ", ".join(unknown))
    layer = layer if isinstance(layer, Layer) else Adopted(layer)
    title, rows = layer._who(), []
    if places := unfound(layer):
        raise GradientError(
            f"{title}: a Parameter, Buffer or Layer lies where it is not found, so it is neither trained nor checked: "
            f"{some(places)}. Make it an attribute: self.weight = ..."
        )
    for mode in modes:
        rng = _own_rng(who, seed)
        moved = float64_copy(layer, rng if flag(who, "jitter", jitter) else None)
        moved.train(mode == "train")
        rows += [(mode, *row) for row in Check(moved, x, rng, f"{title}, {mode} mode").run(comparisons)]
    return Report(title, rows)


def check_loss(loss, prediction, *arguments, comparisons=1000, seed=0, **options):
    """Check the gradient in ``value, gradient = loss(prediction, *arguments, **options)`` as check_layer does.

    Examples
    --------
    >>> from minires.losses import mean_squared_error
    >>> print(check_loss(mean_squared_error, np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    mean_squared_error: backward is the derivative of forward.
    mode  tensor       shape  entries  directions  worst error  kinks  hidden  sees
    -     dprediction  (2,)   2 of 2   3           0.0e+00      0      0       1e-08
    """
    _check_floats("check_loss", "prediction", prediction)
    require(callable(loss), "check_loss", "a loss, a function", shown(loss))
    try:
        names = inspect.signature(loss).bind(prediction, *arguments, **options).arguments
    except (TypeError, ValueError) as error:
        raise expected(
            "check_loss", "a loss, a function of the arguments after it", f"{shown(loss)} ({error})"
        ) from None
    comparisons, layer = whole("check_loss", "comparisons", comparisons), Loss(loss, arguments, options)
    check = Check(layer, prediction, _own_rng("check_loss", seed), layer._who(), next(iter(names)))
    return Report(layer._who(), [("-", *row) for row in check.run(comparisons)])


def _own_rng(who, seed):
    """Not default_rng(seed): x often comes from that, and dy would be the same numbers, a mask (dy > 0) right."""
    return np.random.default_rng((whole(who, "seed", seed), 1))


def _check_floats(who, name, x):
    plain = isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray)
    got = x.dtype if plain else type(x).__name__
    require(plain and x.dtype.kind == "f", who, f"{name} to be an array of floats", got, "Use rng.normal(size=...).")
    got = "NaN or infinite values" if x.size else f"the empty shape {x.shape}"
    require(x.size and np.all(np.isfinite(x)), who, f"{name} to hold finite numbers", got)
