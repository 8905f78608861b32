"""Weights in files, our own and other projects', whose names for them ``foreign.py`` knows.

A state dict is a name and an array for each parameter and running statistic. Files are ``.npz`` or ``.safetensors``,
which hold arrays and nothing else. A ``.pth`` file is a pickle, whose opening can run any program: it is refused.
Whoever trusts it, and has torch, converts it with ``examples/convert_torch_weights.py``.
"""

import json
import os
from collections.abc import Mapping
from operator import itemgetter

import numpy as np

from minires.checks import expected, flag, instance, is_one_of, path_of, shown, some
from minires.files import one_per_name, read_npz, written_safely
from minires.foreign import NAMES, foreign_name, match_names, without_wrapper
from minires.layer import Layer

LARGEST = 4 << 30  # bytes of a file
HEADER = 8 << 20  # bytes of the list of arrays in a .safetensors file; a thousand arrays need 100 kB
PICKLES = {".pth", ".pt", ".pkl", ".pickle", ".th", ".ckpt", ".bin", ".tar"}


class WeightsError(ValueError):
    """Weights that cannot be used; the message says why, and what to do."""


def _require(fits, who, wanted, got, hint=""):
    if not fits:
        raise WeightsError(str(expected(who, wanted, got, hint)))


def load_weights(net, weights, strict=True):
    """Copy weights into a net by name, in the names of whichever project fits; return what was done.

    Everything is checked before anything is written. The arrays of the net keep their dtype: weights of half
    precision become float32.

    Parameters
    ----------
    net : Layer
    weights : str, Path or dict
        An ``.npz`` or ``.safetensors`` file, a ``checkpoint.npz`` of a training run among them; or a state dict of
        arrays. All its names may begin with ``module.``, ``model.`` or ``_orig_mod.``, as wrappers of a net write them.
    strict : bool, default True
        False: load what fits, and say in the result what was missing, unexpected or of another shape. So a net for ten
        classes takes all but the last layer from one for a thousand.

    Returns
    -------
    Loaded

    Raises
    ------
    WeightsError
        When names are missing or unexpected, a shape differs, an array holds anything but finite numbers, or the file
        cannot be read.

    Examples
    --------
    >>> from minires.networks import cifar_resnet
    >>> net, other = cifar_resnet(8, rng=0), cifar_resnet(8, rng=1)
    >>> print(load_weights(net, other.state_dict()))
    37 arrays loaded, in the names of minires
    """
    instance("load_weights", "net", net, Layer, "a Layer")
    fits, is_state = isinstance(weights, str | os.PathLike | Mapping), isinstance(weights, Mapping)
    _require(fits, "load_weights", "a file or a dict of arrays", type(weights).__name__)
    state, origin = (weights, "load_weights") if is_state else (read_weights(weights), str(weights))
    _require(all(isinstance(name, str) for name in state), origin, "names that are texts", some(map(repr, state)))
    own = net.state_dict()
    match = match_names(own, state)
    if flag("load_weights", "strict", strict) and match.complaint():
        raise WeightsError(f"{origin}: {match.complaint()} load_weights(net, file, strict=False) loads what fits.")
    arrays = {}
    for name, theirs in list(match.loaded.items()):
        array, shape = _array_of(origin, theirs, state[theirs], own[name].dtype.kind), own[name].shape
        if array.shape == shape:
            arrays[name] = array
        else:
            wanted = f"{theirs}{'' if theirs == name else f' (here {name})'} of shape {shape}"
            hint = "Is it the same network, with as many classes? strict=False leaves out what has another shape."
            _require(not strict, origin, wanted, array.shape, hint)
            match.reshaped[name] = array.shape, shape
            del match.loaded[name]
    if not arrays:
        raise WeightsError(f"{origin}: fits nothing. It holds {some(list(state))}; the net {some(list(own))}.")
    try:
        net.load_state_dict(arrays, strict=False)
    except ValueError as error:
        raise WeightsError(f"{origin}: {error}") from None
    return match


def save_weights(net, file, names="minires"):
    """Write the parameters and running statistics of a net to an ``.npz`` or ``.safetensors`` file.

    Parameters
    ----------
    net : Layer
    file : str or Path
    names : str, default "minires"
        Whose names to give to the arrays, a key of ``NAMES``: a net in "torchvision" names can be loaded there.
    """
    instance("save_weights", "net", net, Layer, "a Layer")
    if not is_one_of(names, NAMES):
        raise ValueError(f"save_weights: expected names as one of {', '.join(NAMES)}; got {shown(names)}.")
    path = path_of("save_weights file", file)
    write = _format(path)[1]
    # safetensors writes the bytes of an array as they lie in memory; state_dict's copies lie in order.
    state = {foreign_name(name, names): array for name, array in net.state_dict().items()}
    try:
        with written_safely(path) as new:
            write(new, state)
    except OSError as error:
        raise WeightsError(f"{path}: could not be written ({error.strerror or error}). Is the path right?") from None


def classes_of(state):
    """Return the number of classes, the length of the last layer's bias in a state dict; None if there is none."""
    for name, array in state.items():
        if without_wrapper(name) in ("linear.bias", "fc.bias"):
            return np.size(array)
    return None


def _array_of(origin, name, value, kind):
    try:
        array = np.asanyarray(value)  # a masked one stays so: load_state_dict refuses it
    except (TypeError, ValueError, RuntimeError) as error:  # such as a tensor on a GPU
        raise WeightsError(f"{origin}: {name} cannot be made an array ({error}).") from None
    hint = "If it is bfloat16, save it as float32." if array.dtype.itemsize == 2 else ""
    fits = kind != "f" or array.dtype.kind == "f"
    _require(fits, origin, f"{name} to be an array of floats", array.dtype, hint)
    return array


# -- files ----------------------------------------------------------------------------------------------------


def read_weights(file):
    """Return the state dict in an ``.npz`` or ``.safetensors`` file, names as they are there.

    Of a checkpoint of a training run, only the net is returned.
    """
    path = path_of("read_weights file", file)
    read = _format(path)[0]
    if not path.is_file():
        raise WeightsError(f"{path}: no such file. Is the path right?")
    size = path.stat().st_size
    _require(size <= LARGEST, path, f"up to {LARGEST:,} bytes", f"{size:,}")
    try:
        state = read(path)
    except WeightsError:
        raise
    except Exception as error:  # zipfile, NumPy and safetensors raise many kinds for a damaged file
        first_line = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: damaged, cut short, or not of the form {path.suffix} ({first_line}).") from None
    if not state:
        raise WeightsError(f"{path}: holds no arrays.")
    return state


def _format(path):
    """The functions that read and write files with the suffix of ``path``."""
    if path.suffix in PICKLES:
        raise _pickle(path, path.with_suffix(".npz").name)
    if path.suffix not in FORMATS:
        raise WeightsError(f"{path}: expected a file whose name ends in {' or '.join(FORMATS)}.")
    return FORMATS[path.suffix]


def _pickle(path, target):
    return WeightsError(
        f"{path}: a pickle, and opening one can run any program; so minires does not. If you trust it and have "
        f"torch: python examples/convert_torch_weights.py {path} {target}"
    )


def _read_npz(path):
    try:
        state = read_npz(path)
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        hint = "Save one array per name: np.savez(file, **state)."
        raise WeightsError(f"{path}: holds Python objects, which are not opened. {hint}") from None
    if any(name.endswith("data.pkl") for name in state):  # written by torch.save, whatever it is called
        raise _pickle(path, f"{path.stem}-arrays.npz")
    ours = {name.removeprefix("net/"): array for name, array in state.items() if name.startswith("net/")}
    return ours if ours and "about" in state else state  # a checkpoint, or the arrays alone


def _safetensors():
    try:
        import safetensors.numpy
    except ImportError:
        need = "safetensors files need the library safetensors: pip install safetensors (or use .npz)."
        raise WeightsError(need) from None
    return safetensors


def _read_safetensors(path):
    library = _safetensors()
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER:
            raise ValueError(f"its head claims {length:,} bytes")
        json.loads(file.read(length), object_pairs_hook=lambda pairs: one_per_name([name for name, _ in pairs]))
    tensors = library.deserialize(path.read_bytes())
    return {name: _array(path, name, **tensor) for name, tensor in sorted(tensors, key=itemgetter(0))}


DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


def _array(path, name, dtype, shape, data):
    if dtype == "BF16":  # a float32 without its last 16 bits; NumPy has no such type
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if dtype not in DTYPES:
        raise WeightsError(f"{path}: {name} is of type {dtype}; expected one of {', '.join(DTYPES)} and BF16.")
    return np.frombuffer(data, DTYPES[dtype]).reshape(shape)


FORMATS = {  # how files of each suffix are read and written
    ".npz": (_read_npz, lambda file, state: np.savez(file, **state)),
    ".safetensors": (_read_safetensors, lambda file, state: file.write(_safetensors().numpy.save(state))),
}
