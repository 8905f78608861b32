"""From the bytes of files to images and labels: the binary form of CIFAR, its pickles, and the idx files of MNIST.

A reader gets the bytes of the files that belong together, the number N of images that they hold and the shape (C, H, W)
of one. It returns images, uint8 (N, C, H, W), and labels (N,), or raises a ValueError that says what is wrong.
"""

import io
import pickle
import pickletools
import re
from math import prod

import numpy as np


def records(label_bytes):
    """Return the reader of CIFAR's binary form: records of ``label_bytes``, the last one the class, and C*H*W pixels.

    A record of CIFAR-100 has two labels, that of the superclass and that of the class.
    """

    def read(data, N, shape):
        size = label_bytes + prod(shape)
        if len(data) != N * size:
            raise ValueError(f"expected {N * size:,} bytes, got {len(data):,}")
        rows = np.frombuffer(data, np.uint8).reshape(N, size)
        return rows[:, label_bytes:].reshape(N, *shape), rows[:, label_bytes - 1]

    return read


def idx(images, labels, N, shape):
    """Read MNIST's form: a file of images and one of labels. A part of it, fewer than N images, is read as well."""
    images, labels = _idx_array(images, 2051, N, shape[1:]), _idx_array(labels, 2049, N, ())
    if len(images) != len(labels):
        raise ValueError(f"expected a label for each image, got {len(images):,} images and {len(labels):,} labels")
    return images.reshape(-1, *shape), labels


def _idx_array(data, magic, N, shape):
    """A magic number, the sizes, each a big-endian int32, and then the bytes of the array (LeCun et al. 1998)."""
    start = 4 * (2 + len(shape))
    got, count, *sizes = np.frombuffer(data[:start].ljust(start, b"\0"), ">i4").tolist()
    if got != magic:
        raise ValueError(f"expected an idx file that begins with the number {magic}, got {got}")
    if tuple(sizes) != shape or not 0 < count <= N or len(data) - start != count * prod(shape):
        wanted = " x ".join(map(str, (f"up to {N:,}", *shape)))
        says, after = " x ".join(map(str, (count, *sizes))), max(0, len(data) - start)
        raise ValueError(f"expected {wanted} bytes, got a head that says {says} and {after:,} bytes after it")
    return np.frombuffer(data, np.uint8, offset=start).reshape(count, *shape)


def pickled(key):
    """Return the reader of CIFAR's form for Python: a pickled dict with "data" (N, C*H*W) and the labels at ``key``."""

    def read(data, N, shape):
        try:
            content = unpickled(data, most=8 * N + 1000)
            images, labels = content["data"], content[key]
        except Exception as error:  # a damaged or hostile pickle can fail in any way
            raise ValueError(f"refused: {f'no entry {error}' if isinstance(error, KeyError) else error}") from None
        if isinstance(labels, list) and {*map(type, labels)} == {int} and max(map(abs, labels)) < 2**31:
            labels = np.array(labels)
        for name, array, wanted in (("data", images, (N, prod(shape))), (key, labels, (N,))):
            is_array = isinstance(array, np.ndarray)
            if not is_array or array.shape != wanted or name == "data" and array.dtype != np.uint8:
                kind = "uint8" if name == "data" else "whole numbers"
                got = f"{array.dtype} {array.shape}" if is_array else f"a {type(array).__name__} of something else"
                raise ValueError(f"expected {name!r} to be {kind} {wanted}, got {got}")
        return images.reshape(N, *shape), labels

    return read


# -- pickles ------------------------------------------------------------------------------------------------------

# A pickle is a program for a stack machine, which can call any function and set any attribute. These are the
# instructions that a dict of numbers, texts and arrays of whole numbers consists of.
ALLOWED = set(
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 BINFLOAT STRING BINSTRING "
    "SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 "
    "EMPTY_LIST EMPTY_DICT EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 TUPLE LIST DICT APPEND APPENDS SETITEM SETITEMS PUT BINPUT "
    "LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD".split()
)


def unpickled(data, most):
    """Return what is in a pickle of at most ``most`` instructions: dicts, lists, numbers, texts, arrays of integers.

    When it asks for anything else, a ValueError says so; a damaged one may raise another kind.
    """
    for count, (opcode, _, _) in enumerate(pickletools.genops(data)):
        if count > most:
            raise ValueError(f"it has more than {most:,} instructions")
        if opcode.name not in ALLOWED:
            raise ValueError(f"it has the instruction {opcode.name}, and a batch of images needs none such")
    result = _Unpickler(io.BytesIO(data), encoding="latin-1").load()
    if isinstance(result, dict):
        result = {key: getattr(value, "array", value) for key, value in result.items()}
    return result


class _Unpickler(pickle._Unpickler):
    """The one in Python: where it would call or fill something, it finds what stands for it here.

    Keys of dicts are texts: the hash of a tuple in tuples in tuples can crash Python.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module, name):
        known = str(module).replace("numpy._core.", "numpy.core."), name
        if known not in FUNCTIONS:
            shown = f"{module}.{name}"[:80]
            shown = shown if shown.isprintable() else ascii(shown)
            raise ValueError(f"it asks for {shown}, and a batch of images needs NumPy arrays only")
        return _Name(name, FUNCTIONS[known])

    def set_items(self, items):
        keys = [_of(str, key.decode("latin-1") if isinstance(key, bytes) else key) for key in items[::2]]
        _of(dict, self.stack[-1]).update(zip(keys, items[1::2], strict=True))

    def load_dict(self):
        items = self.pop_mark()
        self.stack.append({})
        self.set_items(items)

    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.SETITEM[0]] = lambda self: self.set_items([self.stack.pop(-2), self.stack.pop()])
    dispatch[pickle.SETITEMS[0]] = lambda self: self.set_items(self.pop_mark())


def _of(kind, value):
    if not isinstance(value, kind):
        raise ValueError(f"it does to a {type(value).__name__} what is not done to one")
    return value


class _Name:
    """What a pickle calls a function."""

    def __init__(self, name, function):
        self.name, self.function = name, function

    def __call__(self, *arguments):
        if self.function is None:
            raise ValueError(f"it calls {self.name}")
        return self.function(*arguments)

    def __setstate__(self, state):
        _of((_Array, _Kind), self)  # or attributes of this object would be set


class _Kind:
    """Stands for a dtype of whole numbers."""

    def __init__(self, text):
        if not re.fullmatch(r"[<>|=]?[iu][1248]", _of(str, text)):
            raise ValueError(f"it holds an array of type {text[:20]!r}, and only whole numbers are expected")
        self.dtype = np.dtype(text)

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for an array: made empty, as NumPy's pickles do, and filled afterwards."""

    def __setstate__(self, state):
        _, shape, kind, fortran, data = state
        data = data.encode("latin-1") if isinstance(data, str) else _of((bytes, bytearray), data)
        array = np.frombuffer(data, _of(_Kind, kind).dtype)
        self.array = array.reshape(_of(tuple, shape), order="F" if fortran else "C")


def _filled(data, kind, shape, order):
    array = _Array()
    array.__setstate__((1, shape, kind, order == "F", data))
    return array


# The names that NumPy's arrays go by: of the array, of its dtype, and of how Python 3 writes bytes for Python 2.
FUNCTIONS = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy.core.numeric", "_frombuffer"): _filled,  # protocol 5
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): lambda text, *_: _Kind(text),
    ("_codecs", "encode"): lambda text, *_: _of(str, text).encode("latin-1"),
}
