"""What is checked: copies in float64 of layers, of any object with forward and backward, of losses."""

import copy
import inspect
from pathlib import Path

import numpy as np

from minires.layer import Buffer, Layer, Parameter


class GradientError(AssertionError):
    """``backward`` is not the derivative of ``forward``, the layer breaks its contract, or x does not tell."""


class Adopted(Layer):
    """Any object with forward and backward, seen as a Layer."""

    def __init__(self, thing):
        self._thing = thing
        self.has_own_modes = callable(getattr(thing, "train", None)) and callable(getattr(thing, "eval", None))
        self.has_modes = self.has_own_modes or hasattr(thing, "training")

    def _members(self):
        return Layer._members(self._thing)

    def train(self, mode=True):
        if self.has_own_modes:
            self._thing.train() if mode else self._thing.eval()
        self._thing.training = bool(mode)
        return super().train(mode)

    def forward(self, x):
        return self._thing.forward(x)

    def backward(self, dy):
        return self._thing.backward(dy)

    def _who(self):
        return type(self._thing).__name__


def place(layer):
    """Where a layer's ``backward`` begins, ``"activations.py, line 40"``; "" in minires, and in a notebook: no file."""
    kind = type(layer._thing if isinstance(layer, Adopted) else layer)
    if hasattr(kind, "_place"):  # a stand-in for a layer of another process
        return layer._place
    code = getattr(inspect.unwrap(kind.backward), "__code__", None)  # not of a decorator such as np.errstate
    file = Path(code.co_filename if code else "")
    inside = Path(__file__).parents[1] in file.parents
    return "" if inside or not file.is_file() else f"{file.name}, line {code.co_firstlineno}"


class Loss(Layer):
    """A loss as a layer: y is its value, and backward hands on the gradient that came with it."""

    def __init__(self, loss, arguments, options):
        self._loss, self._options = loss, options
        self._arguments = [np.asarray(a) if isinstance(a, np.matrix) else a for a in arguments]  # whose * is another

    def forward(self, x):
        others = enumerate([*self._arguments, *self._options.values()], 2)
        written = watch({f"argument {i}": other for i, other in others})
        result = self._loss(x, *self._arguments, **self._options)
        if name := written():
            raise GradientError(f"the loss writes into its {name}. Make a new array.")
        if not (isinstance(result, tuple) and len(result) == 2 and np.ndim(result[0]) == 0):
            raise GradientError("expected the loss to return (value, gradient), the value a single number.")
        value, gradient = result
        return self._remember(np.full(1, value, x.dtype), gradient)

    def backward(self, dy):
        (gradient,) = self._recall(dy)
        return gradient * float(dy[0]) if isinstance(gradient, np.ndarray) else gradient

    def astype(self, dtype):
        """Targets are as exact as predictions: (y - t)**2 of float32 y and float64 t would be float64."""
        self._arguments = [a.astype(dtype) if is_floats(a) else a for a in self._arguments]
        return super().astype(dtype)

    def _who(self):
        return getattr(self._loss, "__name__", type(self._loss).__name__)


def is_floats(array):
    return isinstance(array, np.ndarray) and array.dtype.kind == "f"


def watch(arrays):
    """Return a function that names the first of these arrays that was written into since, or None."""
    kept = {name: (array, array.copy()) for name, array in arrays.items() if isinstance(array, np.ndarray)}
    return lambda: next((name for name, pair in kept.items() if not np.array_equal(*pair, equal_nan=True)), None)


def float64_copy(layer, rng):
    """A copy without gradients and caches; given an rng, its parameters and buffers are moved.

    Each entry is moved relative to its own size: 1e-6 and 1e6 may stand side by side. Half the entries of a parameter
    change sign, so that some gamma is negative. A positive buffer, a variance, stays positive. All values are exact in
    float32, so that both precisions compute at the same point.
    """
    layer = copy.deepcopy(layer).astype(np.float64).zero_grad()
    for _, inner in layer.named_layers():
        inner._cache = None
    for _, member in layer._named((Parameter, Buffer)):
        data = member.data
        if data.dtype.kind != "f" or not data.size:
            continue
        if isinstance(member, Buffer) and np.ptp(data) and np.array_equal(data, np.rint(data)):  # a mask of 0 and 1
            continue
        if rng and isinstance(member, Buffer) and np.all(data > 0):
            data = data * rng.uniform(0.5, 1.5, data.shape)
        elif rng:
            size = np.where(data == 0, np.sqrt(np.mean(data**2)) or 1, np.abs(data))
            data = data + 0.3 * size * rng.normal(size=data.shape)
            if isinstance(member, Parameter):
                data *= np.where(rng.permutation(data.size) % 2, -1, 1).reshape(data.shape)
        member.data = np.array(data, np.float32, order="C").astype(np.float64)  # contiguous: Slopes moves entries
    return layer


def short(array):
    """A float64 without its last five bits: where h is a power of two, array + h and array - h are exact."""
    digits, exponent = np.frexp(array)
    return np.ldexp(np.rint(digits * 2.0**48), exponent - 48)


def strided_and_read_only(array):
    view = np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array.copy()
    view.flags.writeable = False
    return view
