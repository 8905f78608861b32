"""What an object was made with, read from its constructor's signature, as scikit-learn does."""

import inspect

from minires.checks import shown


def arguments(thing):
    """Return {name: value} of the constructor's arguments that are kept as attributes of the same names."""
    found = {}
    for name, argument in inspect.signature(type(thing)).parameters.items():
        if name in vars(thing) and argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            value = vars(thing)[name]
            is_flag = isinstance(argument.default, bool)  # bias=True became a Parameter, bias=False None
            found[name] = not (value is None or value is False) if is_flag else value
    return found


def settings(thing, hidden):
    """Return the arguments as ``repr`` shows them, those of the kinds ``hidden`` left out.

    Arguments without a default come first, without their names; of the others only what is not the default.
    """
    texts, values, in_order = [], arguments(thing), True
    for name, argument in inspect.signature(type(thing)).parameters.items():
        if name not in values or isinstance(values[name], hidden):
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
