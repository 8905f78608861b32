"""From the bytes of files to images and labels: the binary form of CIFAR, its pickles, and the idx files of MNIST.

A reader gets the bytes of the files that belong together, the number N of images that they hold and the shape (C, H, W)
of one. It returns images, uint8 (N, C, H, W), and labels (N,), or raises a ValueError that says what is wrong.
"""

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

# A pickle is a program for a stack machine. Python's own can call any function and set any attribute. This one knows
# only the instructions that a dict of numbers, texts and arrays of whole numbers consists of.
VALUES = (
    "INT BININT BININT1 BININT2 LONG LONG1 BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
)
PUSHED = {name: lambda value: value for name in VALUES.split()} | {
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_LIST": lambda _: [],
    "EMPTY_DICT": lambda _: {},
    "EMPTY_TUPLE": lambda _: (),
}
# The names that NumPy's arrays go by: of the array, of its dtype, and of how Python 3 writes bytes for Python 2.
NAMES = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def unpickled(data, most):
    """Return what is in a pickle of at most ``most`` instructions: dicts, lists, numbers, texts, arrays of integers.

    Raises
    ------
    ValueError
        When it asks for anything else. (A damaged pickle may raise another kind.)
    """
    stack, marks, memo = [], [], {}

    def since_mark():
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if count > most:
            raise ValueError(f"it has more than {most:,} instructions")
        match opcode.name:
            case name if name in PUSHED:
                stack.append(PUSHED[name](argument))
            case "MARK":
                marks.append(len(stack))
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                length = int(name[-1])
                stack[-length:] = [tuple(stack[-length:])]
            case "TUPLE" | "LIST" | "DICT" as name:
                stack.append({"TUPLE": tuple, "LIST": list, "DICT": _dict_of}[name](since_mark()))
            case "APPEND" | "APPENDS" as name:
                items = since_mark() if name == "APPENDS" else [stack.pop()]
                _of(list, stack[-1]).extend(items)
            case "SETITEM" | "SETITEMS" as name:
                items = since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
                _of(dict, stack[-1]).update(_dict_of(items))
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if argument is None else argument] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_Name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(_Name(stack.pop(-2), stack.pop()))
            case "REDUCE":
                arguments = _of(tuple, stack.pop())
                stack.append(_of(_Name, stack.pop()).called(*arguments))
            case "BUILD":
                state = stack.pop()
                _of((_Array, _Kind), stack[-1]).fill(*state)
            case name if name not in ("PROTO", "FRAME", "STOP"):
                raise ValueError(f"it has the instruction {name}, and a batch of images needs none such")
    result = stack.pop()
    if isinstance(result, dict):
        result = {key: value.array if isinstance(value, _Array) else value for key, value in result.items()}
    return result


def _of(kind, value):
    if not isinstance(value, kind):
        raise ValueError(f"it does to a {type(value).__name__} what is not done to one")
    return value


def _dict_of(items):
    """Keys and values in turn. Keys are texts: the hash of a tuple in tuples in tuples can crash Python."""
    keys = [key.decode("latin-1") if isinstance(key, bytes) else _of(str, key) for key in items[::2]]
    return dict(zip(keys, items[1::2], strict=True))


class _Name:
    """What a pickle calls a function; calling one does what is written here."""

    def __init__(self, module, name):
        self.name = name
        if (str(module).replace("numpy._core.", "numpy.core."), name) not in NAMES:
            shown = f"{module}.{name}"[:80]
            shown = shown if shown.isprintable() else ascii(shown)
            raise ValueError(f"it asks for {shown}, and a batch of images needs NumPy arrays only")

    def called(self, *arguments):
        if self.name == "_reconstruct":
            return _Array()
        if self.name == "dtype":
            return _Kind(arguments[0])
        if self.name == "encode":
            return _of(str, arguments[0]).encode("latin-1")
        if self.name == "_frombuffer":  # protocol 5
            data, kind, shape, order = arguments
            array = _Array()
            array.fill(1, shape, kind, order == "F", data)
            return array
        raise ValueError(f"it calls {self.name}")


class _Kind:
    """Stands for a dtype of whole numbers."""

    def __init__(self, text):
        if not re.fullmatch(r"[<>|=]?[iu][1248]", _of(str, text)):
            raise ValueError(f"it holds an array of type {text[:20]!r}, and only whole numbers are expected")
        self.dtype = np.dtype(text)

    def fill(self, version, order, *rest):
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for an array: made empty, as NumPy's pickles do, and filled afterwards."""

    array = None

    def fill(self, version, shape, kind, fortran, data):
        data = data.encode("latin-1") if isinstance(data, str) else _of((bytes, bytearray), data)
        array = np.frombuffer(data, _of(_Kind, kind).dtype)
        self.array = array.reshape(_of(tuple, shape), order="F" if fortran else "C")
