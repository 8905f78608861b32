"""Whether an argument is what a function asks for. One line says who expected what, and what came."""

import math
import numbers
import os
from pathlib import Path

import numpy as np

LARGEST = 10**8  # of one size: the product of two still has a place in 64 bits
UNLIKE_ARRAYS = (np.ma.MaskedArray, np.matrix)  # arrays of NumPy that do not compute as arrays do


class InvalidArgument(ValueError, TypeError):
    """An argument of the wrong kind or out of range. It can be caught as either, like scikit-learn's."""


def expected(who, wanted, got, hint=""):
    """Return the error that every wrong argument gets, one line: who expected what, what came, the likely fix."""
    return InvalidArgument(f"{who}: expected {wanted}, got {got}.{hint and ' '}{hint}")


def require(fits, who, wanted, got, hint=""):
    """Raise ``expected(who, wanted, got, hint)`` unless ``fits``."""
    if not fits:
        raise expected(who, wanted, got, hint)


def whole(who, name, value, least=0, most=None, hint=""):
    """Return ``value`` as an int: a whole number from ``least`` to ``most``, of Python's kind or any of NumPy's.

    >>> whole("Conv2d", "stride", np.uint8(2), least=1)
    2
    """
    if is_whole(value) and least <= value and (most is None or value <= most):
        return int(value)
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"
    if not hint and isinstance(value, float) and value.is_integer():
        hint = f"Use int({value!r})."
    raise expected(who, f"{name}, a whole number {limits}", shown(value), hint)


def is_whole(value):
    """Whether it is an int or one of NumPy's; a bool, 8.0 and "8" are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64))


def real(who, name, value, least=None, most=None, above=None, hint=""):
    """Return ``value`` as a float: a finite number from ``least`` to ``most``, or greater than ``above``.

    >>> real("Dropout", "p", 1, least=0, most=1)
    1.0
    """
    low, high = (-math.inf if least is None else least), (math.inf if most is None else most)
    if is_real(value) and low <= value <= high and (above is None or value > above):
        return float(value)
    if least is not None and most is not None:
        limits = f" from {least} to {most}"
    else:
        words = {"above": above, "of at least": least, "at most": most}
        limits = " and".join(f" {word} {limit}" for word, limit in words.items() if limit is not None)
    finite = "finite " if most is None else ""
    raise expected(who, f"{name}, a {finite}number{limits}", shown(value), hint)


def is_real(value):
    """Whether it is a number that is neither NaN nor infinite as a float; a bool and "0.1" are none."""
    if not isinstance(value, numbers.Real) or isinstance(value, (bool, np.timedelta64)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # 10**400
        return False


def instance(who, name, value, kind, wanted):
    """Raise InvalidArgument unless the value is of a class, or has all the methods that a text names."""
    is_class = isinstance(value, type)
    fits = all(hasattr(value, method) for method in kind.split()) if isinstance(kind, str) else isinstance(value, kind)
    got = f"the class {value.__name__}" if is_class else shown(value)
    require(fits and not is_class, who, f"{name}, {wanted}", got)


def flag(who, name, value):
    """Return ``value``, True or False, as a bool."""
    require(isinstance(value, (bool, np.bool_)), who, f"{name}, True or False", shown(value))
    return bool(value)


def path_of(what, value):
    """Return a str or os.PathLike as a Path; ``what`` is the name of the argument, as in "Run folder"."""
    require(isinstance(value, (str, os.PathLike)), what, "a path", shown(value))
    require(os.fspath(value), what, "a path", "an empty one", "Is a variable of the shell not set?")
    return Path(value)


def is_one_of(value, names):
    """Whether a value is one of these strings; of an array or a list that cannot be asked with ``in``."""
    return isinstance(value, str) and value in names


def generator(who, rng):
    """Return ``rng``, a numpy.random.Generator, a seed or None, as a Generator."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        wanted = "rng, a numpy.random.Generator, a seed (a whole number of at least 0) or None"
        raise expected(who, wanted, shown(rng)) from None


def sizes(who, **values):
    """Return each of the values as an int of at least 1, and at most ``LARGEST``.

    >>> sizes("Linear", in_features=np.int64(3), out_features=2)
    [3, 2]
    """
    limits = {name: LARGEST if is_whole(v) and v > LARGEST else None for name, v in values.items()}  # named if passed
    return [whole(who, name, value, 1, limits[name]) for name, value in values.items()]


def like_default(who, name, value, default):
    """Return ``value`` checked to be of the kind of an argument's default: a flag, numbers or a number, at least 0."""
    if isinstance(default, bool):
        return flag(who, name, value)
    if not isinstance(default, tuple):
        return real(who, name, value, least=0)
    fits = isinstance(value, (tuple, list)) and len(value) == len(default)
    require(fits, who, f"{name}, numbers such as {default}", shown(value))
    return tuple(real(who, name, number, least=0) for number in value)


def floats(who, name, x):
    """Raise InvalidArgument unless x is a plain array of finite numbers, at least one, of float32 or float64."""
    fits = type(x) in (np.ndarray, np.memmap) and x.dtype in (np.float32, np.float64)
    got = x.dtype if type(x) is np.ndarray else type(x).__name__
    require(fits, who, f"{name}, an array of float32 (or float64)", got)
    require(x.size, who, f"{name} of at least one example", f"the empty batch {x.shape}")
    if not np.isfinite(x).all():
        place = tuple(np.argwhere(~np.isfinite(x))[0].tolist())
        hint = "Is there a NaN in the batch, or has training diverged? Then lower the learning rate."
        raise expected(who, f"finite {name}", f"{x[place]} at {place}", hint)


def as_array(who, name, value):
    """Return what may come as a list or a tensor as an array."""
    try:
        return np.asarray(value)
    except Exception as error:  # of a tensor that wants detach(), of lists of unequal lengths
        raise InvalidArgument(f"{who}: expected {name} as an array; np.asarray says: {error}") from None


def numbers_of_shape(who, name, values, shape, why, mistaken=None, hint=""):
    """Return numbers that may come as a list, as an array of this shape.

    ``hint`` is for who gives another shape, one that is often ``mistaken`` for it.
    """
    array, masked = as_array(who, name, values), isinstance(values, np.ma.MaskedArray)
    hint = hint if array.shape == mistaken else ""
    require(array.shape == shape, who, f"{name} of shape {shape}, {why}", array.shape, hint)
    got = "a masked array" if masked else array.dtype
    require(array.dtype.kind in "fiub" and not masked, who, f"{name}, an array of numbers", got)
    return array


def in_place_of(who, name, old, value, hint=""):
    """Return ``value``, an array, as a writable one in the dtype of ``old``, of whose shape it must be."""
    require(value.shape == old.shape, who, f"{name} of shape {old.shape}", value.shape, hint)
    fits = np.can_cast(value.dtype, old.dtype, "same_kind")
    require(fits, who, f"{name} of {old.dtype}", value.dtype if value.ndim else shown(value))
    return np.require(value, old.dtype, "W")


def loadable(who, name, old, value, least=None):
    """Return ``value`` as an array that can take the place of ``old``: of its shape, of finite numbers in its dtype."""
    array, plain = as_array(who, name, value), not isinstance(value, np.ma.MaskedArray)
    require(plain, who, f"{name} as a plain array", "a masked one", "Use .filled(0).")
    with np.errstate(all="ignore"):
        array = in_place_of(who, name, old, array, "Is it the same network?")
    finite = np.isfinite(array).all()
    require(finite, who, f"{name} of numbers that are finite in {old.dtype}", "NaN, infinity or too large ones")
    if least is not None and np.any(array < least):
        raise expected(who, f"{name} of numbers of at least {least}", array.min())
    return array


def wrong_shape(who, x, shape):
    """Return the error of an x that has not this shape, in which a name such as "N" is a size that is free."""
    wanted = "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
    got, hint = x.shape, ""
    if len(got) == len(shape) - 1:
        hint = f"Is it one {'image' if len(shape) == 4 else 'example'}? Use x[None]."
    elif len(shape) == 2 and len(got) > 2:
        hint = "Is a GlobalAvgPool2d or Flatten missing before it?"
    elif x.size == 0:
        got = f"the empty batch {x.shape}"
    elif len(shape) == len(got) == 4 and isinstance(shape[1], int):
        channels = f"The layer before hands on {got[1]} channels; this one was made for {shape[1]}."
        hint = "Is it NHWC? Use x.transpose(0, 3, 1, 2)." if got[3] == shape[1] else channels
    return expected(who, f"x of shape {wanted}", got, hint)


def some(names, most=5):
    """Join names for a message: the first ``most``, and how many more there are.

    >>> some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"


def shown(value):
    """The repr of a value in one line, cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
