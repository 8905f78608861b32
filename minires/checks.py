"""Whether an argument is what a function asks for. One line says who expected what, and what came."""

import math
import numbers

import numpy as np


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


def flag(who, name, value):
    """Return ``value``, True or False, as a bool."""
    require(isinstance(value, (bool, np.bool_)), who, f"{name}, True or False", shown(value))
    return bool(value)


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
