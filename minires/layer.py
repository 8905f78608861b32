"""The contract every layer keeps: ``forward``, ``backward``, and what lies in between.

A layer is a function y = f(x; p) together with its derivative. Training needs two products with that
derivative, given dL/dy: dL/dx, to hand on to the layer below, and dL/dp, for the optimizer. ``forward``
computes y and leaves behind what the derivative needs; ``backward`` uses it up.

Three things an author of a layer writes::

    class Scale(Layer):
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

from contextlib import contextmanager

import numpy as np

from minires.checks import some


class _Member:
    """What a Layer finds among its attributes."""


class Parameter(_Member):
    """An array that training changes, with the gradient of the loss with respect to it.

    Parameters
    ----------
    data : array of floats
        The value; kept as a contiguous array of its own dtype.

    Attributes
    ----------
    data, grad : arrays of one shape and dtype
        ``grad`` is dL/d(data). Every ``backward`` adds to it until ``zero_grad()``.
    """

    def __init__(self, data):
        self.data = np.array(data, order="C")
        if self.data.dtype.kind != "f":
            raise TypeError(f"Parameter: expected an array of floats, got {self.data.dtype}. Use np.float32(...).")
        self.grad = np.zeros_like(self.data)

    def astype(self, dtype):
        self.data, self.grad = self.data.astype(dtype), self.grad.astype(dtype)
        return self

    def __repr__(self):
        return f"Parameter(shape={self.data.shape}, dtype={self.data.dtype})"


class Buffer(_Member):
    """An array that is saved with the layer but not trained: running statistics."""

    def __init__(self, data):
        self.data = np.array(data, order="C")

    def astype(self, dtype):
        self.data = self.data.astype(dtype)
        return self

    def __repr__(self):
        return f"Buffer(shape={self.data.shape}, dtype={self.data.dtype})"


class Layer(_Member):
    """Base of all layers: finds parameters, keeps the cache, checks shapes.

    A subclass writes ``forward(x)`` and ``backward(dy)``. Parameters, Buffers and child Layers are found among
    the attributes, in the order in which they were assigned, and named by dotted path (``stage1.0.conv1.weight``);
    a list or tuple of layers counts as well. Nothing is registered.

    Attributes
    ----------
    training : bool
        True after ``train()``, the default; False after ``eval()``.

    Examples
    --------
    >>> from minires import Linear
    >>> [name for name, _ in Linear(3, 2, rng=0).named_parameters()]
    ['weight', 'bias']
    """

    training = True
    _cache = None  # what backward needs: a tuple, set by forward, taken once by backward
    _keeps_cache = True  # False inside without_caches()
    _y_shape = _y_dtype = None
    _forwards = 0  # since the cache was last taken
    _in_own_names = None  # networks that other projects know as well: networks.foreign.in_own_names
    _overwritten = False  # whether a cache had been overwritten when it was last taken

    def forward(self, x):
        """Return y = f(x) and remember what backward needs."""
        raise NotImplementedError(f"{type(self).__name__}.forward(x) is not written yet.")

    def backward(self, dy):
        """Given dy = dL/dy, add dL/dp to the grad of each own parameter and return dL/dx."""
        raise NotImplementedError(f"{type(self).__name__}.backward(dy) is not written yet.")

    # -- the tree ---------------------------------------------------------------------------------------------

    def _members(self):
        """Return [(name, Parameter | Buffer | Layer), ...] of this layer alone, in order of assignment."""
        members = []
        for name, value in vars(self).items():
            if isinstance(value, _Member):
                members.append((name, value))
            elif isinstance(value, (list, tuple)):
                for index, item in enumerate(value):
                    if isinstance(item, _Member):
                        members.append((f"{name}.{index}", item))
        return members

    def named_layers(self, prefix=""):
        """Yield (path, layer) of this layer (path ``""``) and of all below it, parents first."""
        return ((path, layer) for path, layer, _ in self._walk(prefix))

    def _walk(self, prefix=""):
        members = self._members()
        found = [(prefix, self, members)]
        for name, member in members:
            if isinstance(member, Layer):
                found += member._walk(f"{prefix}.{name}" if prefix else name)
        return found

    def _named(self, kind):
        seen = set()
        for path, _, members in self._walk():
            for name, member in members:
                if isinstance(member, kind) and id(member) not in seen:
                    seen.add(id(member))
                    yield f"{path}.{name}" if path else name, member

    def named_parameters(self):
        """Yield (path, Parameter), each object once."""
        return self._named(Parameter)

    def parameters(self):
        """Return the Parameters of the whole tree as a list."""
        return [parameter for _, parameter in self.named_parameters()]

    def state_dict(self):
        """Return {path: copy of the array} of all Parameters and Buffers."""
        return {name: member.data.copy() for name, member in self._named((Parameter, Buffer))}

    def load_state_dict(self, state, strict=True):
        """Copy arrays by name into Parameters and Buffers, keeping their dtype; return the layer.

        Everything is checked before anything is written.

        Raises
        ------
        KeyError
            With ``strict``, when names are missing or unexpected.
        ValueError
            When a shape differs.
        """
        members = dict(self._named((Parameter, Buffer)))
        if self._in_own_names is not None:
            state = self._in_own_names(members, state, strict)
        missing = [name for name in members if name not in state]
        unexpected = [name for name in state if name not in members]
        if strict and (missing or unexpected):
            raise KeyError(
                f"load_state_dict: missing {some(missing)}; unexpected {some(unexpected)}. "
                "Is it the same network, with the same depth and shortcut? strict=False loads what fits."
            )
        for name in members.keys() & state.keys():
            wanted, got = members[name].data.shape, np.shape(state[name])
            if wanted != got:
                raise ValueError(
                    f"load_state_dict: expected {name} of shape {wanted}, got {got}. Is it the same network?"
                )
        for name in members.keys() & state.keys():
            members[name].data[...] = state[name]
        return self

    def zero_grad(self):
        """Set every gradient to zero; return the layer. (``optimizer.zero_grad()`` need not look for them first.)"""
        for parameter in self.parameters():
            parameter.grad.fill(0)
        return self

    def astype(self, dtype):
        """Convert every parameter, gradient and buffer of floats; return the layer."""
        for _, member in self._named((Parameter, Buffer)):
            if member.data.dtype.kind == "f":
                member.astype(dtype)
        return self

    def train(self, mode=True):
        """Set ``training`` on the whole tree; return the layer."""
        for _, layer in self.named_layers():
            layer.training = bool(mode)
        return self

    def eval(self):
        """Set ``training = False`` on the whole tree; return the layer."""
        return self.train(False)

    @contextmanager
    def without_caches(self):
        """Within the ``with``, forward keeps nothing for backward: inference in a fraction of the memory."""
        layers = [layer for _, layer in self.named_layers()]
        before = [layer._keeps_cache for layer in layers]
        for layer in layers:
            layer._keeps_cache = False
        try:
            yield self
        finally:
            for layer, keeps in zip(layers, before):
                layer._keeps_cache = keeps

    # -- the cache --------------------------------------------------------------------------------------------

    def _remember(self, y, *needed):
        """Last line of forward: keep ``needed`` for backward, and return y."""
        if self._keeps_cache:
            self._cache = needed
            self._y_shape, self._y_dtype = y.shape, y.dtype
            self._forwards += 1
        return y

    def _recall(self, dy):
        """First line of backward: take what forward kept, once, and check dy against the y it belongs to."""
        if self._cache is None:
            raise RuntimeError(f"{self!r}: {self._why_no_cache()}")
        self._check_floats("dy", dy)
        if dy.shape != self._y_shape:
            raise ValueError(
                f"{self!r}: expected dy of shape {self._y_shape}, the shape of the y that forward returned, "
                f"got {dy.shape}."
            )
        if dy.dtype != self._y_dtype:
            raise TypeError(
                f"{self!r}: expected dy of {self._y_dtype}, the dtype of the y that forward returned, got {dy.dtype}. "
                f"Use dy.astype(np.{self._y_dtype})."
            )
        needed, self._cache = self._cache, None
        self._overwritten, self._forwards = self._forwards > 1, 0
        return needed

    def _why_no_cache(self):
        if not self._keeps_cache:
            return "backward inside without_caches(), where forward keeps nothing. Leave the with block to train."
        if self._y_shape is None:
            return "backward before forward. Call forward(x) first (and not inside without_caches())."
        if self._overwritten:
            return (
                "backward a second time, after forward ran more than once. Is this one layer object used in two "
                "places? It has one cache, so make an object for each place."
            )
        return "backward twice after one forward. The cache is taken once; call forward(x) again first."

    # -- checks -----------------------------------------------------------------------------------------------

    def _check_floats(self, name, x):
        if not isinstance(x, np.ndarray):
            raise TypeError(f"{self!r}: expected {name} to be a NumPy array, got {type(x).__name__}. Use np.asarray.")
        if x.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"{self!r}: expected {name} of float32 (or float64), got {x.dtype}. "
                f"Use {name}.astype(np.float32); images of 0 to 255 also want scaling."
            )

    def _check_input(self, x, *shape):
        """First line of forward: x must be an array of floats of this shape, not empty.

        A size is an int where it is fixed and a name ("N", "H") where it is free.
        """
        self._check_floats("x", x)
        fits = len(x.shape) == len(shape) and all(w == g for w, g in zip(shape, x.shape) if isinstance(w, int))
        if not fits or x.size == 0:
            wanted = "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
            got = f"the empty batch {x.shape}." if fits else f"{x.shape}.{_likely_cause(x.shape, shape)}"
            raise ValueError(f"{self!r}: expected x of shape {wanted}, got {got}")

    def __repr__(self):
        return f"{type(self).__name__}()"


def _likely_cause(got, wanted):
    """A guess in one sentence, starting with a space, or nothing."""
    if len(wanted) == 4 and len(got) == 3:
        return " Is it one image? Use x[None]."
    if len(wanted) == 4 and len(got) == 4 and isinstance(wanted[1], int):
        if got[3] == wanted[1]:
            return " Is it NHWC? Use x.transpose(0, 3, 1, 2)."
        return f" The layer before hands on {got[1]} channels; this one was made for {wanted[1]}."
    if len(wanted) == 2 and len(got) > 2:
        return " Is a GlobalAvgPool2d or Flatten missing before it?"
    if len(wanted) == 2 and len(got) == 1:
        return " Is it one example? Use x[None]."
    return ""
