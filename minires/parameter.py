"""What a layer holds: the arrays that training changes, and those that it only keeps."""

from operator import attrgetter

import numpy as np

from minires.checks import UNLIKE_ARRAYS, as_array, in_place_of, require, shown
from minires.pytorch import explained


class Member:
    """What a Layer finds among its attributes: Parameter, Buffer, Layer."""


def _checked(name):
    """The array ``name`` as a property that is checked where it is assigned."""
    stored = attrgetter(f"_{name}")
    return property(
        stored,
        lambda self, value: setattr(self, f"_{name}", self._assigned(name, stored(self), value)),
        doc="An array whose shape and dtype stay: what is assigned is checked.",
    )


class Array(Member):
    """What Parameter and Buffer share: ``data``, an array whose shape and dtype stay.

    It has the ``shape``, ``dtype``, ``ndim``, ``size`` and ``T`` of ``data``, and ``np.asarray`` gives ``data``.
    """

    kinds, wanted, least = "fiub", "numbers", None

    def __init__(self, data):
        data = np.array(as_array(type(self).__name__, "data", data), order="C")
        fits = data.dtype.kind in self.kinds and data.dtype.char not in "eg"  # float16, longdouble
        require(fits, type(self).__name__, f"an array of {self.wanted}", data.dtype, "Use np.float32(...).")
        self._data = data.astype(data.dtype.newbyteorder("="), copy=False)

    data = _checked("data")
    shape, dtype, ndim, size, T = (
        property(attrgetter(f"_data.{name}")) for name in ("shape", "dtype", "ndim", "size", "T")
    )

    def _assigned(self, name, old, value):
        if value is old:
            return old
        who = f"{type(self).__name__}.{name}"
        plain = isinstance(value, (np.ndarray, np.generic)) and not isinstance(value, UNLIKE_ARRAYS)
        hint = "zero_grad() sets it to 0." if name == "grad" and value is None else ""
        require(plain, who, "an array of NumPy", shown(value), hint)
        fits, hint = value.dtype.char not in "eg", f"Use .astype(np.{old.dtype})."
        require(fits, who, f"an array of {old.dtype}", value.dtype, hint)
        return in_place_of(who, "an array", old, value)

    def astype(self, dtype):
        self._data = self._data.astype(dtype)
        return self

    def __array__(self, dtype=None, copy=None):
        return np.array(self._data, dtype, copy=copy)

    __getattr__ = explained("Parameter")

    def __repr__(self):
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"


class Parameter(Array):
    """An array that training changes, with the gradient of the loss with respect to it.

    Parameters
    ----------
    data : array of floats
        The value; kept as a contiguous array of its own dtype, float32 or float64.

    Attributes
    ----------
    data, grad : arrays of one shape and dtype
        ``grad`` is dL/d(data). Every ``backward`` adds to it until ``zero_grad()``. Another array of that shape may be
        assigned to either; numbers of another dtype are converted.
    """

    kinds, wanted = "f", "floats"
    grad = _checked("grad")

    def __init__(self, data):
        super().__init__(data)
        self._grad = np.zeros_like(self._data)

    def astype(self, dtype):
        self._grad = self._grad.astype(dtype)
        return super().astype(dtype)


class Buffer(Array):
    """An array that is saved with the layer but not trained: running statistics.

    Parameters
    ----------
    data : array of numbers
    least : float, optional
        No number that is loaded may be smaller: 0 for a variance.
    """

    def __init__(self, data, least=None):
        super().__init__(data)
        self.least = least
