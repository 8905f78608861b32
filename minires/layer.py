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
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from reprlib import recursive_repr
from typing import NamedTuple

import numpy as np

from minires.checks import InvalidArgument, expected, require, shown, some
from minires.parameter import Array, Buffer, Member, Parameter, loadable  # noqa: F401  (Buffer: for importers)
from minires.pytorch import no_attribute
from minires.signature import arguments, settings

RANDOM = (np.random.Generator, np.random.RandomState, random.Random)
FLOATS = (np.float32, np.float64)
DTYPES = tuple(map(np.dtype, FLOATS))  # for comparing with the dtype of an array, ten times faster than with a type
UNLIKE_ARRAYS = (np.ma.MaskedArray, np.matrix)
CONTAINERS = (list, tuple, dict)

# Why a layer keeps nothing for backward.
NO_FORWARD = "backward before forward. Call forward(x) first (and not inside without_caches())."
INSIDE = "backward inside without_caches(), where forward keeps nothing. Leave the with block to train."
TAKEN = "backward twice after one forward. The cache is taken once; call forward(x) again first."
TWO_PLACES = (
    "backward a second time, after forward ran more than once. Is this one layer object used in two "
    "places? It has one cache, so make an object for each place."
)


class Kept(NamedTuple):
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

    __array__ = __array_ufunc__ = __mul__ = __rmul__ = __add__ = __gt__ = __ge__ = __lt__ = __le__ = _refuse

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse(error=AttributeError)


class _SwitchedOff(threading.local):
    """The layers for which something is switched off, in this thread alone, and how many times."""

    def __init__(self):
        self.times = Counter()

    @contextmanager
    def within(self, net):
        layers = [layer for _, layer in net.named_layers()]  # held here, so that no other object gets an id of theirs
        once = Counter(map(id, layers))
        self.times += once
        try:
            yield net
        finally:
            self.times -= once


_CACHES_OFF, _TRAINING_OFF = _SwitchedOff(), _SwitchedOff()


class Layer(Member):
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
        found = []
        for name, value in vars(self).items():
            if isinstance(value, Member):
                found.append((name, value))
            elif isinstance(value, CONTAINERS) and name != "_cache":
                found += _search(name, value, Member)
        return found

    def children(self):
        """Return [(name, Layer), ...] of the layers right below this one."""
        return [(name, member) for name, member in self._members() if isinstance(member, Layer)]

    def named_layers(self, prefix=""):
        """Yield (path, layer) of this layer (path ``""``) and of all below it, parents first."""
        return ((path, layer) for path, layer, _ in self._walk(prefix))

    def _walk(self, prefix="", above=None):
        members, above = self._members(), above or {}
        above[id(self)] = self
        found = [(prefix, self, members)]
        for name, member in members:
            if isinstance(member, Layer) and id(member) not in above:  # a child may know its parent
                found += member._walk(f"{prefix}.{name}" if prefix else name, above)
        del above[id(self)]
        return found

    def _named(self, kind):
        seen, names = set(), set()
        for path, _, members in self._walk():
            for name, member in members:
                if isinstance(member, kind) and id(member) not in seen:
                    seen.add(id(member))
                    name = f"{path}.{name}" if path else name
                    if name in names:
                        what = f"two of its arrays are called {name}. Rename an attribute or key."
                        raise ValueError(f"{self._who()}: {what}")
                    names.add(name)
                    yield name, member

    def named_parameters(self):
        """Yield (path, Parameter), each object once."""
        return self._named(Parameter)

    def parameters(self):
        """Return the Parameters of the whole tree as a list."""
        return [parameter for _, parameter in self.named_parameters()]

    def generators(self):
        """Return [(path, generator), ...] of all that draws random numbers in the tree, NumPy's and Python's."""
        return [
            (f"{path}.{own}" if path else own, generator)
            for path, layer, _ in self._walk()
            for name, value in vars(layer).items()
            if name != "_cache"
            for own, generator in _search(name, value, RANDOM)
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
        if strict and (missing or unexpected):
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
        return self._trains and id(self) not in _TRAINING_OFF.times

    @training.setter
    def training(self, mode):
        self._trains = bool(mode)

    def train(self, mode=True):
        """Set ``training`` on the whole tree; return the layer."""
        for _, layer in self.named_layers():
            layer.training = mode
        return self

    def eval(self):
        """Set ``training = False`` on the whole tree; return the layer."""
        return self.train(False)

    def without_caches(self):
        """Within the ``with``, in this thread, forward keeps nothing for backward: inference in less memory."""
        return _CACHES_OFF.within(self)

    @contextmanager
    def evaluating(self):
        """Within the ``with``, in this thread, the tree is in evaluation mode and keeps no caches."""
        with _TRAINING_OFF.within(self), _CACHES_OFF.within(self):
            yield self

    # -- the cache --------------------------------------------------------------------------------------------

    def _remember(self, y, *needed):
        """Last line of forward: keep ``needed`` for backward, and return y."""
        if not isinstance(y, np.ndarray):
            hint = "For a single number: np.reshape(y, 1)." if np.ndim(y) == 0 else ""
            raise expected(self._who(), "forward to make y, a NumPy array", shown(y), hint)
        if id(self) not in _CACHES_OFF.times:
            vars(self)["_cache"] = Kept(needed, y.shape, y.dtype, self._cache is not None)
        return y

    def _recall(self, dy):
        """First line of backward: take what forward kept, once, and check dy against the y it belongs to."""
        if self._cache is None:
            raise RuntimeError(f"{self._who()}: {INSIDE if id(self) in _CACHES_OFF.times else self._why_empty}")
        self._check_floats("dy", dy)
        needed, shape, dtype, overwrote = self._cache
        if dy.shape != shape:
            raise expected(self._who(), f"dy of shape {shape}, the shape of the y that forward returned", dy.shape)
        if dy.dtype != dtype:
            wanted = f"dy of {dtype}, the dtype of the y that forward returned"
            raise expected(self._who(), wanted, dy.dtype, f"Use dy.astype(np.{dtype}).")
        state = vars(self)  # not through __setattr__: every backward passes here
        state["_cache"], state["_why_empty"] = None, TWO_PLACES if overwrote else TAKEN
        return RecalledTuple(needed)

    # -- checks -----------------------------------------------------------------------------------------------

    def __setattr__(self, name, value):
        if isinstance(vars(self).get(name), Array) and not (value is None or isinstance(value, Member)):
            hint = f"To change its numbers: layer.{name}.data = array."
            raise expected(self._who(), f"{name} to stay a {type(vars(self)[name]).__name__}", shown(value), hint)
        super().__setattr__(name, value)

    def __getattr__(self, name):
        raise no_attribute(self, "Layer", name)

    def _check_floats(self, name, x):
        if type(x) is not np.ndarray and (not isinstance(x, np.ndarray) or isinstance(x, UNLIKE_ARRAYS)):
            raise expected(self._who(), f"{name} to be a NumPy array", type(x).__name__, "Use np.asarray.")
        if x.dtype not in DTYPES:
            hint = f"Use {name}.astype(np.float32); images of 0 to 255 also want scaling."
            raise expected(self._who(), f"{name} of float32 (or float64)", x.dtype, hint)

    def _check_input(self, x, *shape, **members):
        """First line of forward: x must be an array of floats of this shape, not empty.

        A size is a number where it is fixed and a name ("N", "H") where it is free. ``members`` are the shapes that
        parameters and buffers must have had since the layer was made.
        """
        self._check_floats("x", x)
        fits = x.ndim == len(shape)
        for wanted, got in zip(shape, x.shape):  # a loop: every forward passes here, and all(...) takes twice as long
            fits = fits and (wanted == got or isinstance(wanted, str))
        if not fits or x.size == 0:
            wanted = "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
            got, hint = (f"the empty batch {x.shape}", "") if fits else (x.shape, _likely_cause(x.shape, shape))
            raise expected(self._who(), f"x of shape {wanted}", got, hint)
        for name, wanted in members.items():
            member = getattr(self, name)
            if member is not None and member.shape != wanted:
                raise expected(self._who(), f"{name} of shape {wanted}", member.shape)

    # -- text -------------------------------------------------------------------------------------------------

    def arguments(self):
        """Return {name: value} of the constructor's arguments that are kept as attributes of the same names."""
        return arguments(self)

    def _who(self):
        """The layer in one line, as error messages call it."""
        inside = settings(self, (Member, *RANDOM))
        return type(self).__name__ + (f"({inside})" if inside or not self.children() else "")

    @recursive_repr()
    def __repr__(self):
        inside = settings(self, (Member, *RANDOM))
        children = [f"({name}): {child!r}" for name, child in self.children()]
        if not children:
            return self._who()
        lines = "\n".join([inside] * bool(inside) + children).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {lines}\n)"


def _search(name, value, kinds):
    """Return [(dotted name, object), ...] of all of these kinds in a value: itself, or in lists, tuples and dicts."""
    if isinstance(value, kinds):
        return [(name, value)]
    found = []
    if isinstance(value, CONTAINERS):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, kinds) or isinstance(item, CONTAINERS):
                found += _search(f"{name}.{key}", item, kinds)
    return found


def _likely_cause(got, wanted):
    """A guess in one sentence, or nothing."""
    if len(wanted) == 4 and len(got) == 3:
        return "Is it one image? Use x[None]."
    if len(wanted) == 4 and len(got) == 4 and isinstance(wanted[1], int):
        if got[3] == wanted[1]:
            return "Is it NHWC? Use x.transpose(0, 3, 1, 2)."
        return f"The layer before hands on {got[1]} channels; this one was made for {wanted[1]}."
    if len(wanted) == 2 and len(got) > 2:
        return "Is a GlobalAvgPool2d or Flatten missing before it?"
    if len(wanted) == 2 and len(got) == 1:
        return "Is it one example? Use x[None]."
    return ""
