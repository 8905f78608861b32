"""Whether an argument is what a function asks for. One line says who expected what, and what came."""

import math
import numbers

import numpy as np


class InvalidArgument(ValueError, TypeError):
    """An argument of the wrong kind or out of range. It can be caught as either, like scikit-learn's."""


def whole(who, name, value, least=0, most=None, hint=""):
    """Return ``value`` as an int: a whole number from ``least`` to ``most``, of Python's kind or any of NumPy's.

    >>> whole("Conv2d", "stride", np.uint8(2), least=1)
    2
    """
    if is_whole(value) and least <= value and (most is None or value <= most):
        return int(value)
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise InvalidArgument(f"{who}: expected {name}, a whole number {limits}, got {shown(value)}.{_sentence(hint)}")


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
    wanted = f"a {'finite ' if most is None else ''}number{limits}"
    raise InvalidArgument(f"{who}: expected {name}, {wanted}, got {shown(value)}.{_sentence(hint)}")


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
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise InvalidArgument(f"{who}: expected {name}, True or False, got {shown(value)}.")


def is_one_of(value, names):
    """Whether a value is one of these strings; of an array or a list that cannot be asked with ``in``."""
    return isinstance(value, str) and value in names


def generator(who, rng):
    """Return ``rng``, a numpy.random.Generator, a seed or None, as a Generator."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        wanted = "a numpy.random.Generator, a seed (a whole number of at least 0) or None"
        raise InvalidArgument(f"{who}: expected rng, {wanted}, got {shown(rng)}.") from None


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


def _sentence(hint):
    return f" {hint}" if hint else ""
