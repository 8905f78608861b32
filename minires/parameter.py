"""What a layer holds: the arrays that training changes, and those that it only keeps."""

import numpy as np

from minires.checks import InvalidArgument, expected, require, shown
from minires.pytorch import no_attribute


class Member:
    """What a Layer finds among its attributes: Parameter, Buffer, Layer."""


class Array(Member):
    """What Parameter and Buffer share: ``data``, an array whose shape and dtype stay.

    It has the ``shape``, ``dtype``, ``ndim``, ``size`` and ``T`` of ``data``, and ``np.asarray`` gives ``data``.
    """

    kinds, wanted, least = "fiub", "numbers", None

    def __init__(self, data):
        data = np.array(data, order="C")
        if data.dtype.kind not in self.kinds or data.dtype.char in "eg":  # float16, longdouble
            name = type(self).__name__
            raise InvalidArgument(f"{name}: expected an array of {self.wanted}, got {data.dtype}. Use np.float32(...).")
        self._data = data.astype(data.dtype.newbyteorder("="), copy=False)

    @property
    def data(self):
        return self._data

    @data.setter
    def data(self, value):
        self._data = self._assigned("data", self._data, value)

    def _assigned(self, name, old, value):
        if value is old:
            return old
        expected = f"{type(self).__name__}.{name}: expected an array"
        if isinstance(value, (np.ma.MaskedArray, np.matrix)) or not isinstance(value, (np.ndarray, np.generic)):
            hint = " zero_grad() sets it to 0." if name == "grad" and value is None else ""
            raise InvalidArgument(f"{expected} of NumPy, got {shown(value)}.{hint}")
        if value.dtype.char in "eg":
            raise InvalidArgument(f"{expected} of {old.dtype}, got {value.dtype}. Use .astype(np.{old.dtype}).")
        return _like(old, value, expected)

    def astype(self, dtype):
        self._data = self._data.astype(dtype)
        return self

    shape = property(lambda self: self._data.shape)
    dtype = property(lambda self: self._data.dtype)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: self._data.size)
    T = property(lambda self: self._data.T)

    def __array__(self, dtype=None, copy=None):
        return np.array(self._data, dtype, copy=copy)

    def __getattr__(self, name):
        raise no_attribute(self, "Parameter", name)

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

    def __init__(self, data):
        super().__init__(data)
        self._grad = np.zeros_like(self._data)

    @property
    def grad(self):
        return self._grad

    @grad.setter
    def grad(self, value):
        self._grad = self._assigned("grad", self._grad, value)

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


def _like(old, value, expected, hint=""):
    """Return ``value`` as a writable array in the dtype of ``old``, of whose shape it must be."""
    if value.shape != old.shape:
        raise InvalidArgument(f"{expected} of shape {old.shape}, got {value.shape}.{hint}")
    if not np.can_cast(value.dtype, old.dtype, "same_kind"):
        raise InvalidArgument(f"{expected} of {old.dtype}, got {shown(value) if value.ndim == 0 else value.dtype}.")
    return np.require(value, old.dtype, "W")


def loadable(who, name, old, value, least=None):
    """Return ``value`` as an array that can take the place of ``old``: of its shape, of finite numbers in its dtype."""
    try:
        array = np.asarray(value)
    except Exception as error:  # of a tensor that wants detach(), of lists of unequal lengths
        raise InvalidArgument(f"{who}: expected {name} as an array; np.asarray says: {error}") from None
    plain = not isinstance(value, np.ma.MaskedArray)
    require(plain, who, f"{name} as a plain array", "a masked one", "Use .filled(0).")
    with np.errstate(all="ignore"):
        array = _like(old, array, f"{who}: expected {name}", " Is it the same network?")
    finite = np.isfinite(array).all()
    require(finite, who, f"{name} of numbers that are finite in {old.dtype}", "NaN, infinity or too large ones")
    if least is not None and np.any(array < least):
        raise expected(who, f"{name} of numbers of at least {least}", array.min())
    return array
