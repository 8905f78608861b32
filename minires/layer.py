"""The contract every layer keeps: ``forward``, ``backward``, and what lies in between.

A layer is a function y = f(x; p) together with its derivative. Training needs two products with that
derivative, given dL/dy: dL/dx, to hand on to the layer below, and dL/dp, for the optimizer. ``forward``
computes y and leaves behind what the derivative needs; ``backward`` uses it up.

Three things an author of a layer writes::

    class Gain(Layer):
        def __init__(self, factor=1.0):
            self.weight = Parameter(np.full(1, factor, np.float32))   # found because it is an attribute

        def forward(self, x):
            y = self.weight.data.astype(x.dtype) * x
            return self._remember(y, x)            # backward will need x

        def backward(self, dy):
            (x,) = self._recall(dy)                # takes it, once; checks dy against y
            self.weight.grad += np.sum(dy * x)     # dL/dp is added
            return self.weight.data.astype(dy.dtype) * dy     # dL/dx is returned

An array that crossed a layer boundary is frozen: no layer writes into x, into dy or into anything it has
returned. Only ``Parameter.grad``, ``Parameter.data`` (by the optimizer) and running statistics change in place.
"""

import copy
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from minires.checks import UNLIKE_ARRAYS, InvalidArgument, expected, flag, loadable, require, shown, some, wrong_shape
from minires.parameter import Array, Buffer, Member, Parameter  # noqa: F401  (Buffer: for importers)
from minires.pytorch import explained
from minires.signature import Described

RANDOM = (np.random.Generator, np.random.RandomState, random.Random)
FLOATS = (np.float32, np.float64)
DTYPES = tuple(map(np.dtype, FLOATS))  # for comparing with the dtype of an array, ten times faster than with a type
CONTAINERS = (list, tuple, dict)

# Why a layer keeps nothing for backward.
NO_FORWARD = "backward before forward. Call forward(x) first (and not inside without_caches())."
INSIDE = "backward inside without_caches(), where forward keeps nothing. Leave the with block to train."
TAKEN = "backward twice after one forward. The cache is taken once; call forward(x) again first."
REPLACED = "backward after a Parameter was replaced by one of another shape. Call forward(x) again first."
TWO_PLACES = (
    "backward a second time, after forward ran more than once. Is this one layer object used in two "
    "places? It has one cache, so make an object for each place."
)


@dataclass(slots=True)
class Kept:
    """What forward leaves behind."""

    needed: tuple
    shape: tuple  # of y
    dtype: np.dtype
    overwrote: bool  # whether an earlier forward's was still there


class RecalledTuple(tuple):
    """What backward gets from ``_recall``. It says so where it is taken for an array."""

    def _refuse(self, *_, error=TypeError, **__):
        names = ", ".join("abcdefgh"[: len(self)]) + "," * (len(self) == 1)
        raise error(f"self._recall(dy) returns a tuple of {len(self)}. Unpack it: ({names}) = self._recall(dy).")

    __array__ = __array_ufunc__ = __gt__ = __ge__ = __lt__ = __le__ = __add__ = __radd__ = __mul__ = __rmul__ = _refuse
    __sub__ = __rsub__ = __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __mod__ = __neg__ = __abs__ = _refuse
    __floordiv__ = __rfloordiv__ = __pos__ = __float__ = _refuse

    def __getitem__(self, index):
        return super().__getitem__(index) if isinstance(index, (int, slice)) else self._refuse()

    def __getattr__(self, name):
        self._refuse(error=AttributeError)


_OFF = ContextVar("off")  # in each thread, {(what, id of a layer): how many times it is off}


@contextmanager
def _switched_off(net, *what):
    layers = [layer for _, layer in net.named_layers()]  # held here, so that no other object gets an id of theirs
    once = Counter((one, id(layer)) for one in what for layer in layers)
    _OFF.set(_OFF.get(Counter()) + once)
    try:
        yield net
    finally:
        _OFF.set(_OFF.get() - once)


class Layer(Described, Member):
    """Base of all layers: finds parameters, keeps the cache, checks shapes.

    A subclass writes ``forward(x)`` and ``backward(dy)``; ``layer(x)`` is ``layer.forward(x)``. Parameters, Buffers and
    child Layers are found among the attributes, in the order in which they were assigned, also in lists, tuples and
    dicts, and named by dotted path (``stage1.0.conv1.weight``). Nothing is registered.

    Attributes
    ----------
    training : bool
        True after ``train()``, the default; False after ``eval()`` and inside ``evaluating()``.

    Examples
    --------
    >>> from minires import Linear
    >>> [name for name, _ in Linear(3, 2, rng=0).named_parameters()]
    ['weight', 'bias']
    """

    _trains = True  # what train() and eval() set
    _cache, _why_empty = None, NO_FORWARD
    _left_out = (Member, *RANDOM)  # of repr

    def forward(self, x):
        """Return y = f(x) and remember what backward needs."""
        raise NotImplementedError(f"{type(self).__name__}.forward(x) is not written yet.")

    def backward(self, dy):
        """Given dy = dL/dy, add dL/dp to the grad of each own parameter and return dL/dx."""
        raise NotImplementedError(f"{type(self).__name__}.backward(dy) is not written yet.")

    def __call__(self, x):
        return self.forward(x)

    # -- the tree ---------------------------------------------------------------------------------------------

    def _members(self):
        """Return [(name, Parameter | Buffer | Layer), ...] of this layer alone, in order of assignment."""
        return _held(vars(self), Member)

    def children(self):
        """Return [(name, Layer), ...] of the layers right below this one."""
        return [(name, member) for name, member in self._members() if isinstance(member, Layer)]

    def named_layers(self):
        """Yield (path, layer) of this layer (path ``""``) and of all below it, parents first."""
        return ((path, layer) for path, layer, _ in self._walk())

    def _walk(self, path="", above=frozenset()):
        """Return [(path, layer, its members), ...] in the order of ``named_layers``."""
        members, above = self._members(), above | {id(self)}
        found = [(path, self, members)]
        for name, member in members:
            if isinstance(member, Layer) and id(member) not in above:  # a child may know its parent
                found += member._walk(dotted(path, name), above)
        return found

    def _named(self, kind):
        """Yield (path, array), each object once."""
        found, seen = {}, set()
        for path, _, members in self._walk():
            for name, member in members:
                if isinstance(member, kind) and id(member) not in seen:
                    name = dotted(path, name)
                    if name in found:
                        raise ValueError(
                            f"{self._who()}: two of its arrays are called {name}. Rename an attribute or key."
                        )
                    found[name] = member
                    seen.add(id(member))
        return iter(found.items())

    def named_parameters(self):
        """Yield (path, Parameter), each object once."""
        return self._named(Parameter)

    def parameters(self):
        """Return the Parameters of the whole tree as a list."""
        return [parameter for _, parameter in self.named_parameters()]

    def generators(self):
        """Return [(path, generator), ...] of all that draws random numbers in the tree, NumPy's and Python's."""
        return [
            (dotted(path, name), generator)
            for path, layer in self.named_layers()
            for name, generator in _held(vars(layer), RANDOM)
        ]

    def state_dict(self):
        """Return {path: copy of the array} of all Parameters and Buffers."""
        return {name: member.data.copy() for name, member in self._named(Array)}

    def load_state_dict(self, state, strict=True):
        """Copy arrays by name into Parameters and Buffers, keeping their dtype; return the layer.

        Everything is checked before anything is written.

        Raises
        ------
        KeyError
            With ``strict``, when names are missing or unexpected.
        ValueError
            When a shape differs, or when the numbers are not finite ones that fit the dtype.
        """
        require(isinstance(state, Mapping), "load_state_dict", "a dict of arrays by name", shown(state))
        members = dict(self._named(Array))
        missing = [name for name in members if name not in state]
        unexpected = [name for name in state if name not in members]
        if flag("load_state_dict", "strict", strict) and (missing or unexpected):
            raise KeyError(
                f"load_state_dict: missing {some(missing)}; unexpected {some(unexpected)}. "
                "Is it the same network, with the same depth and shortcut? strict=False loads what fits."
            )
        arrays = {
            name: loadable("load_state_dict", name, member.data, state[name], member.least)
            for name, member in members.items()
            if name in state
        }
        for name, array in arrays.items():
            members[name].data[...] = array
        return self

    def zero_grad(self):
        """Set every gradient to zero; return the layer. (``optimizer.zero_grad()`` need not look for them first.)"""
        for parameter in self.parameters():
            parameter.grad.fill(0)
        return self

    def astype(self, dtype):
        """Convert every parameter, gradient and buffer of floats to float32 or float64; return the layer."""
        require(dtype in FLOATS, "astype", "np.float32 or np.float64", shown(dtype))
        for _, member in self._named(Array):
            if member.dtype.kind == "f":
                member.astype(dtype)
        return self

    def __deepcopy__(self, memo):
        twin = memo[id(self)] = type(self).__new__(type(self))
        for name, value in vars(self).items():
            try:
                vars(twin)[name] = copy.deepcopy(value, memo)
            except InvalidArgument:
                raise  # a layer below has said it
            except TypeError as error:
                raise InvalidArgument(
                    f"{self._who()}: its attribute {name} cannot be copied, and so neither can the layer ({error}). "
                    "Import modules at the top of the file; open files and make locks where they are used."
                ) from None
        return twin

    # -- modes ------------------------------------------------------------------------------------------------

    @property
    def training(self):
        return self._trains and ("training", id(self)) not in _OFF.get(())

    @training.setter
    def training(self, mode):
        self._trains = bool(mode)

    def train(self, mode=True):
        """Set ``training`` on the whole tree; return the layer."""
        for _, layer in self.named_layers():
            layer.training = flag(f"{type(self).__name__}.train", "mode", mode)
        return self

    def eval(self):
        """Set ``training = False`` on the whole tree; return the layer."""
        return self.train(False)

    def without_caches(self):
        """Within the ``with``, in this thread, forward keeps nothing for backward: inference in less memory."""
        return _switched_off(self, "caches")

    def evaluating(self):
        """Within the ``with``, in this thread, the tree is in evaluation mode and keeps no caches."""
        return _switched_off(self, "caches", "training")

    # -- the cache --------------------------------------------------------------------------------------------

    def _remember(self, y, *needed):
        """Last line of forward: keep ``needed`` for backward, and return y."""
        if not isinstance(y, np.ndarray):
            hint = "For a single number: np.reshape(y, 1)." if np.ndim(y) == 0 else ""
            raise expected(self._who(), "forward to make y, a NumPy array", shown(y), hint)
        if ("caches", id(self)) not in _OFF.get(()):
            vars(self)["_cache"] = Kept(needed, y.shape, y.dtype, self._cache is not None)
        return y

    def _recall(self, dy):
        """First line of backward: take what forward kept, once, and check dy against the y it belongs to."""
        kept = self._cache
        if kept is None:
            inside = ("caches", id(self)) in _OFF.get(())
            raise RuntimeError(f"{self._who()}: {INSIDE if inside else self._why_empty}")
        self._check_floats("dy", dy)
        y = "the y that forward returned"
        if dy.shape != kept.shape:
            raise expected(self._who(), f"dy of shape {kept.shape}, the shape of {y}", dy.shape)
        if dy.dtype != kept.dtype:
            hint = f"Use dy.astype(np.{kept.dtype})."
            raise expected(self._who(), f"dy of {kept.dtype}, the dtype of {y}", dy.dtype, hint)
        state = vars(self)  # not through __setattr__: every backward passes here
        state["_cache"], state["_why_empty"] = None, TWO_PLACES if kept.overwrote else TAKEN
        return RecalledTuple(kept.needed)

    # -- checks -----------------------------------------------------------------------------------------------

    def __setattr__(self, name, value):
        old = vars(self).get(name)
        if isinstance(old, Array) and not (value is None or isinstance(value, Member)):
            hint = f"To change its numbers: layer.{name}.data = array."
            raise expected(self._who(), f"{name} to stay a {type(old).__name__}", shown(value), hint)
        if isinstance(value, Array) and self._cache is not None and value.shape != getattr(old, "shape", None):
            vars(self).update(_cache=None, _why_empty=REPLACED)
        super().__setattr__(name, value)

    __getattr__ = explained("Layer")

    def _check_floats(self, name, x):
        if type(x) is not np.ndarray and (not isinstance(x, np.ndarray) or isinstance(x, UNLIKE_ARRAYS)):
            raise expected(self._who(), f"{name} to be a NumPy array", type(x).__name__, "Use np.asarray.")
        if x.dtype not in DTYPES:
            hint = f"Use {name}.astype(np.float32); images of 0 to 255 also want scaling."
            raise expected(self._who(), f"{name} of float32 (or float64)", x.dtype, hint)

    def _check_input(self, x, *shape, **members):
        """First line of forward: x must be an array of floats of this shape, not empty.

        A size is a number where it is fixed and a name ("N", "H") where it is free. ``members`` are the shapes that
        parameters and buffers must have had since the layer was made; their arrays are returned, in the dtype of x.
        """
        self._check_floats("x", x)
        fits = x.ndim == len(shape) and x.size > 0
        for wanted, got in zip(shape, x.shape):  # a loop: every forward passes here, and all(...) takes twice as long
            fits = fits and (isinstance(wanted, str) or wanted == got)
        if not fits:
            raise wrong_shape(self._who(), x, shape)
        arrays, dtype = [], x.dtype
        for name, wanted in members.items():
            array = getattr(self, name)
            if array is not None:
                array = array.data
                if array.shape != wanted:
                    raise expected(self._who(), f"{name} of shape {wanted}", array.shape)
                array = array if array.dtype is dtype else array.astype(dtype, copy=False)
            arrays.append(array)
        return arrays


def dotted(path, name):
    """The path of what is called ``name`` in the layer at ``path``; that of the net itself is ``""``."""
    return f"{path}.{name}" if path else name


def _held(container, kinds, prefix=""):
    """Return [(dotted name, object), ...] of all of these kinds in a dict, list or tuple, and in those inside it."""
    found = []
    for key, item in container.items() if isinstance(container, dict) else enumerate(container):
        if isinstance(item, kinds):
            found.append((f"{prefix}{key}", item))
        elif isinstance(item, CONTAINERS):
            found += _held(item, kinds, f"{prefix}{key}.")
    return found
