"""What layers hold besides Parameters and Buffers: random generators and counters."""

import copy
import inspect
import types
from contextlib import suppress

import numpy as np

from minires.layer import Buffer, Layer, Parameter, dotted

FIXED = (Parameter, Buffer, Layer, np.dtype, type, types.ModuleType)


def generators(net):
    """Return {path: generator} of those whose state can be saved."""
    found = {}
    for path, generator in net.generators():
        with suppress(NotImplementedError):  # random.SystemRandom has no state
            generator_state(generator)
            found[path] = generator
    return found


def generator_state(generator):
    """Return the state of a generator as numbers, texts and arrays, with its kind under "bit_generator"."""
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, np.random.RandomState):
        return {"bit_generator": "RandomState", "state": generator.get_state(legacy=False)}
    return {"bit_generator": "random.Random", "state": generator.getstate()}


def set_generator_state(generator, state):
    """Put back what ``generator_state`` returned."""
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state["state"])
    else:
        version, numbers, gauss = state["state"]
        generator.setstate((version, tuple(numbers), gauss))


def check_generator_state(generator, state):
    """Raise ValueError unless the state is one of a generator of this kind."""
    kind = state.get("bit_generator") if isinstance(state, dict) else state
    if kind != generator_state(generator)["bit_generator"]:
        raise ValueError(f"its random generator is {kind}, expected {generator}")
    try:
        set_generator_state(copy.deepcopy(generator), state)
    except Exception as error:  # NumPy and Python raise several kinds
        raise ValueError(f"the state of its random generator is damaged ({error})") from None


def counters(net, settings=False):
    """Return {path: value} of the plain values that layers hold: numbers, texts, lists and dicts of them.

    An attribute with the name of an argument of the constructor is a setting, and among them only if asked for.
    """
    return {
        path: copy.deepcopy(value)
        for path, layer, name, value in _attributes(net)
        if _plain(value) and (settings or name not in inspect.signature(type(layer)).parameters)
    }


def set_counters(net, values):
    """Put back what ``counters`` returned, as far as the layers have such attributes."""
    for path, layer, name, value in list(_attributes(net)):
        if path in values and _plain(value):
            setattr(layer, name, _like(values[path], value))


def _like(saved, now):
    """A value read from JSON, which has no tuples: with tuples where ``now`` has them."""
    if isinstance(saved, list) and isinstance(now, (list, tuple)):
        return type(now)(_like(item, now[min(i, len(now) - 1)] if now else item) for i, item in enumerate(saved))
    if isinstance(saved, dict) and isinstance(now, dict):
        return {key: _like(item, now.get(key)) for key, item in saved.items()}
    return saved


def not_saved(net):
    """Return [path (kind)] of what layers hold that may change in training and that a checkpoint cannot keep."""
    saved = generators(net)
    return [
        f"{at} ({type(leaf).__name__})"
        for path, _, _, value in _attributes(net)
        for at, leaf in _leaves(path, value)
        if not (_plain(leaf) or isinstance(leaf, FIXED) or callable(leaf) or at in saved)
    ]


def _attributes(net):
    """Yield (path, layer, name, value) of the attributes of all layers, but for those that every layer has."""
    for path, layer in net.named_layers():
        for name, value in vars(layer).items():
            if not hasattr(Layer, name):
                yield dotted(path, name), layer, name, value


def _leaves(path, value):
    if type(value) in (list, tuple, dict):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(f"{path}.{key}", item)
    else:
        yield path, value


def _plain(value):
    if type(value) in (list, tuple):
        return all(map(_plain, value))
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(_plain, value.values()))
    return value is None or type(value) in (bool, int, float, str) or isinstance(value, (np.integer, np.floating))
