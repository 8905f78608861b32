"""Checkpoints: everything that training needs to go on, in one file.

A checkpoint is an ``.npz`` file of arrays and one JSON text: parameters, running statistics, what the optimizer
remembers, schedule, random generators and counters of layers, and how far training has come. Training resumed from it
goes on bit for bit as if it had never stopped. Nothing in it is pickled, so a file from a stranger can be opened.
"""

import copy
import errno
import json

import numpy as np

from minires.checks import instance, path_of, require, shown, some
from minires.files import previous, read_npz, written_safely
from minires.layer import Layer
from minires.layer_state import (
    check_generator_state,
    counters,
    generator_state,
    generators,
    set_counters,
    set_generator_state,
)
from minires.optim import Optimizer

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint or run folder that cannot be used; the message says why, and what to do."""


class Damaged(CheckpointError):
    """The file is not whole."""


def save_checkpoint(path, net, optimizer=None, schedule=None, rng=None, inputs=None, **progress):
    """Write everything that training needs to go on.

    The file is written beside its place, synced to the disk and only then renamed, so ``path`` is always either the
    old checkpoint or the new one. The one before stays as ``<name>.previous``.

    Parameters
    ----------
    path : str or Path
        ``checkpoint.npz``, say; its folder must exist.
    net : Layer
        Its parameters and buffers, and the random generators and counters that its layers hold.
    optimizer : Optimizer, optional
        Its settings, and what it remembers of each parameter.
    schedule : Schedule, optional
        What it has observed.
    rng : numpy.random.Generator, optional
        Or its ``bit_generator.state``, when an earlier one is to be saved.
    inputs : dict, optional
        How images become x, and what the outputs mean, for ``load_inputs``: "normalisation", the arrays (shift, scale)
        of x = (image - shift) * scale, and "classes", their names.
    **progress : numbers, texts, lists and dicts of them
        Whatever else: ``step=1200, epoch=3``. ``load_checkpoint`` returns them.
    """
    path = _checked("save_checkpoint", path, net, optimizer, schedule)
    instance("save_checkpoint", "rng", rng, (np.random.Generator, dict, type(None)), "a numpy.random.Generator")
    instance("save_checkpoint", "inputs", inputs, (dict, type(None)), "a dict of normalisation and classes")
    arrays = {f"net/{name}": array for name, array in net.state_dict().items()}
    about = {
        "format": FORMAT,
        "generators": {name: generator_state(generator) for name, generator in generators(net).items()},
        "counters": counters(net),
        "rng": rng.bit_generator.state if isinstance(rng, np.random.Generator) else rng,
        "schedule": schedule and schedule.state_dict(),
        "progress": progress,
    }
    if optimizer is not None:
        about["optimizer"] = optimizer.state_dict()
        for name in optimizer.remembers:
            kept = about["optimizer"][name]
            arrays |= {f"{name}/{i}": array for i, array in enumerate(kept) if array is not None}
            about["optimizer"][name] = [array is not None for array in kept]
    if inputs is not None:
        arrays["inputs/shift"], arrays["inputs/scale"] = inputs["normalisation"]
        about["classes"] = list(inputs["classes"])
    text = as_json("save_checkpoint", "progress", about)
    try:
        with written_safely(path, keep_previous=True) as file:
            np.savez(file, about=text, **arrays)
    except OSError as error:
        raise CheckpointError(
            f"{path}: could not be written ({error.strerror or error}). The checkpoint before it is unharmed; "
            "make room or choose another folder, and go on from there."
        ) from None


def load_checkpoint(path, net, optimizer=None, schedule=None, rng=None, check=None):
    """Put a checkpoint back into objects made as they were when it was saved; return the progress.

    All of the file is read and checked before anything is changed. Objects left out are left alone.

    Parameters
    ----------
    path, net, optimizer, schedule, rng
        As for ``save_checkpoint``; ``rng`` a Generator.
    check : function, optional
        Is given the progress before anything is changed, and raises ValueError where it does not fit.

    Returns
    -------
    dict
        The keywords given to ``save_checkpoint``.

    Raises
    ------
    CheckpointError
        When the file is missing, cut short, altered, not a checkpoint, or of another network or optimizer.
    """
    path = _checked("load_checkpoint", path, net, optimizer, schedule)
    instance("load_checkpoint", "rng", rng, (np.random.Generator, type(None)), "a numpy.random.Generator")
    arrays, about = _read(path)
    try:
        if check is not None:
            check(about["progress"])
        state = None if optimizer is None else _optimizer_state(optimizer, arrays, about)
        if schedule is not None:
            learnt = about["schedule"] or {}
            if learnt.keys() != schedule.state_dict().keys():
                raise ValueError(f"its schedule is of another kind than {schedule}")
            copy.deepcopy(schedule).load_state_dict(learnt)
        held = generators(net)
        if held.keys() != about["generators"].keys():
            raise ValueError(f"its random layers are {some(about['generators'])}, the net's {some(held)}")
        pairs = [(held[name], kept) for name, kept in about["generators"].items()]
        if rng is not None:
            pairs.append((rng, about["rng"] or _missing("random generator")))
        for generator, kept in pairs:
            check_generator_state(generator, kept)
        own = {name.removeprefix("net/"): array for name, array in arrays.items() if name.startswith("net/")}
        net.load_state_dict(own)  # the last that can fail, and it writes all or nothing
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        why = error.args[0] if error.args else type(error).__name__
        raise CheckpointError(f"{path}: does not fit. {why}") from None
    if optimizer is not None:
        optimizer.load_state_dict(state)
    if schedule is not None:
        schedule.load_state_dict(learnt)
    for generator, kept in pairs:
        set_generator_state(generator, kept)
    set_counters(net, about["counters"])
    return about["progress"]


def read_progress(path):
    """Return the keywords given to ``save_checkpoint``, without a net to load."""
    return _read(path_of("read_progress path", path))[1]["progress"]


def load_inputs(path):
    """Return ``inputs`` as given to ``save_checkpoint``, or None if nothing was."""
    arrays, about = _read(path_of("load_inputs path", path))
    if "classes" not in about:
        return None
    shift, scale, classes = arrays.get("inputs/shift"), arrays.get("inputs/scale"), about["classes"]
    fits = isinstance(classes, list) and shift is not None and scale is not None
    fits = fits and shift.ndim == 3 and scale.shape == shift.shape[:1] and np.isfinite(shift).all()
    if not fits or not np.isfinite(scale).all():
        raise CheckpointError(f"{path}: does not say how images become x. Expected finite shift (C, H, W), scale (C,).")
    return {"normalisation": (shift, scale), "classes": classes}


def as_json(who, name, value):
    """Return as JSON what is made of numbers and arrays, also NumPy's, texts, lists and dicts."""

    def listed(part):
        wanted = f"{name} made of numbers, texts, lists and dicts"
        require(hasattr(part, "tolist"), who, wanted, f"also a {type(part).__name__}")
        return part.tolist()

    return json.dumps(value, default=listed)


def _checked(who, path, net, optimizer, schedule):
    """The path, once all of them are found to be what is asked for."""
    instance(who, "net", net, Layer, "a Layer")
    instance(who, "optimizer", optimizer, (Optimizer, type(None)), "an Optimizer")
    if schedule is not None:
        instance(who, "schedule", schedule, "state_dict load_state_dict", "a Schedule")
    return path_of(f"{who} path", path)


def _optimizer_state(optimizer, arrays, about):
    """The state dict of an optimizer, checked."""
    state = dict(about.get("optimizer") or _missing("optimizer"))
    for name in optimizer.remembers:
        if name not in state:
            raise ValueError(f"it is of another optimizer than {type(optimizer).__name__}")
        state[name] = [arrays[f"{name}/{i}"] if there else None for i, there in enumerate(state[name])]
    state.setdefault("steps", about["progress"].get("step", 0))  # files of old versions do not count them
    optimizer.check_state_dict(state)
    return state


def _read(path):
    """(arrays by name, the JSON text) of a checkpoint."""
    try:
        arrays = read_npz(path)
        if "about" not in arrays:
            raise CheckpointError(
                f"{path}: not a checkpoint of minires; it holds {some(arrays, most=3)}. "
                "For weights of another project use minires.weights."
            )
        about = json.loads(str(arrays.pop("about")))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file. Is it the right folder?") from None
    except CheckpointError:
        raise
    except Exception as error:  # zipfile, NumPy and json raise a dozen kinds for a damaged file
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # to a place before the start
            raise CheckpointError(f"{path}: could not be read ({error.strerror}).") from None
        first_line = str(error).partition("\n")[0]
        copies = f", such as {previous(path).name}" if previous(path).exists() else ""
        raise Damaged(
            f"{path}: damaged or cut short ({first_line}). Restore a copy{copies}, or delete it and start again."
        ) from None
    format = about.get("format") if isinstance(about, dict) else about
    if format != FORMAT:
        raise CheckpointError(f"{path}: expected format {FORMAT}, got {shown(format)}. Is minires up to date?")
    about.setdefault("counters", {})  # files of old versions have none
    for name in ("generators", "progress", "counters"):
        if not isinstance(about.get(name), dict):
            raise Damaged(f"{path}: expected {name} by name, got {shown(about.get(name))}. Restore it from a copy.")
    return arrays, about


def _missing(what):
    raise ValueError(f"it was saved without the {what}. Leave the {what} out, or save it too.")
