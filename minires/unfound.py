"""Where Layers and Parameters hide, where a Layer does not look for its members: a closure, a class attribute, a set.

What is not found is not trained, not saved and not checked, and nothing else would say so.
"""

import collections
import contextlib
import functools
import types

import numpy as np

from minires.layer import Layer
from minires.parameter import Member


def unfound(layer):
    """Return where Layers, Parameters and Buffers lie that ``layer`` uses and does not find, each in a few words.

    Looked at are the attributes of each layer of the tree and of its class, and what their functions close over or
    take from their module.

    >>> from minires import Linear, Parameter
    >>> class Shift(Layer):
    ...     weight = Parameter(np.zeros(1, np.float32))
    >>> unfound(Shift())
    ['Shift.weight, an attribute of the class']
    """
    known = {id(member) for _, inner, members in layer._walk() for member in [inner, *(m for _, m in members)]}
    search = _Search(known)
    for path, inner in layer.named_layers():
        name = f"{path}: " if path else ""
        for attribute, value in vars(inner).items():
            search.look(value, f"{name}in the attribute {attribute}")
        for kind in type(inner).__mro__[: type(inner).__mro__.index(Layer)] if isinstance(inner, Layer) else ():
            for attribute, value in vars(kind).items():
                where = f"{name}{kind.__name__}.{attribute}"
                search.look(value, where if callable(value) else f"{where}, an attribute of the class")
    return search.places


class _Search:
    def __init__(self, known):
        self.known, self.seen, self.places = known, set(), []

    def look(self, value, where):
        """Note what hides in a value: in a container, an object, or a function."""
        if isinstance(value, Member):
            if id(value) not in self.known:
                self.places.append(where)
                self.known.add(id(value))
            return
        if id(value) in self.seen or isinstance(value, (str, bytes, int, float, type, types.ModuleType)):
            return
        self.seen.add(id(value))
        for inside, part in self.parts(value):
            self.look(part, f"{where}, {inside}" if inside else where)

    @staticmethod
    def parts(value):
        """Yield (in what, value) of all that a value holds."""
        if isinstance(value, (staticmethod, classmethod, types.MethodType)):
            value = value.__func__
        if isinstance(value, property):
            yield from (("", function) for function in (value.fget, value.fset) if function)
        elif isinstance(value, functools.partial):
            yield from (("in a partial", part) for part in [value.func, *value.args, *value.keywords.values()])
        elif isinstance(value, types.FunctionType):
            for name, cell in zip(value.__code__.co_freevars, value.__closure__ or ()):
                with contextlib.suppress(ValueError):  # a cell may be empty still
                    yield f"which closes over {name}", cell.cell_contents
            for default in [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]:
                yield "as a default value", default
            for name in value.__code__.co_names:
                if isinstance(value.__globals__.get(name), Member):
                    yield f"which uses the global {name}", value.__globals__[name]
        elif isinstance(value, dict):
            yield from (("", part) for part in value.values())
        elif isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object):
            yield from (("", part) for part in value)
        elif isinstance(value, (set, frozenset, collections.deque)):
            yield from ((f"in a {type(value).__name__}", part) for part in value)
        elif hasattr(value, "__dict__") and not isinstance(value, np.ndarray):
            yield from ((f"in a {type(value).__name__}", part) for part in vars(value).values())
