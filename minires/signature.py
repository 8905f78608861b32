"""What an object was made with, read from its constructor's signature, as scikit-learn does."""

import inspect
from reprlib import recursive_repr

from minires.checks import shown


class Described:
    """An object whose ``repr`` is the call that makes it; of one that has children, their tree.

    Arguments without a default come first, without their names; of the others only what is not the default.
    """

    _left_out = ()  # kinds of arguments that repr does not show

    def arguments(self):
        """Return {name: value} of the constructor's arguments that are kept as attributes of the same names."""
        found = {}
        for name, argument in inspect.signature(type(self)).parameters.items():
            if name in vars(self) and argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
                value = vars(self)[name]
                is_flag = isinstance(argument.default, bool)  # bias=True became a Parameter, bias=False None
                found[name] = not (value is None or value is False) if is_flag else value
        return found

    def children(self):
        """Return [(name, object), ...] of what lies right below."""
        return []

    def _settings(self):
        texts, values, in_order = [], self.arguments(), True
        for name, argument in inspect.signature(type(self)).parameters.items():
            if name not in values or isinstance(values[name], self._left_out):
                in_order = False
                continue
            value = values[name]
            if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]:
                value = value[0]  # (3, 3) may be given as 3
            if argument.default is argument.empty and in_order:
                texts.append(shown(value))
            elif shown(value) != shown(argument.default):
                texts.append(f"{name}={shown(value)}")
        return ", ".join(texts)

    def _who(self):
        """The object in one line, as error messages call it."""
        inside = self._settings()
        return type(self).__name__ + (f"({inside})" if inside or not self.children() else "")

    @recursive_repr()
    def __repr__(self):
        children = [f"({name}): {child!r}" for name, child in self.children()]
        if not children:
            return self._who()
        lines = "\n".join([*filter(None, [self._settings()]), *children]).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {lines}\n)"
