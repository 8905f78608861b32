"""CIFAR-10: 60,000 photographs of 32 x 32 pixels in ten classes (Krizhevsky 2009).

The official binary version is ``cifar-10-binary.tar.gz`` with six files of 10,000 records. A record is one byte of
label and 3,072 bytes of pixels: 1,024 red, 1,024 green, 1,024 blue, row by row.
"""

import gzip
import io
import os
import pickle
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np

from minires.data.dataset import Dataset
from minires.data.download import fetch, verify

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SIZE = 170_052_171
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-bin"
BATCHES = tuple(f"data_batch_{k}" for k in range(1, 6)) + ("test_batch",)
RECORDS = 10_000  # images in each of the six files
PIXELS = 3 * 32 * 32

ADVICE = (
    "Other ways: a mirror, MINIRES_CIFAR10_URL=https://...; an archive brought by other means, --data-file; "
    "no download at all, --data synthetic."
)


def load_cifar10(data_dir=None, data_file=None, download=False, progress=True):
    """Return CIFAR-10 as (train_set, test_set), of 50,000 and 10,000 images.

    Looked for at ``data_file``, else in ``data_dir``, else in the folder named by the environment variable
    ``MINIRES_DATA``, else in the user's cache folder.

    Parameters
    ----------
    data_dir : path, optional
        A folder with ``cifar-10-batches-bin/``, that folder itself, or a folder with ``cifar-10-binary.tar.gz``.
    data_file : path, optional
        An archive: ``cifar-10-binary.tar.gz``, whose SHA-256 is checked before anything is read, or the official Python
        version, which must have "python" in its name; its pickles are read as arrays of numbers and nothing else.
    download : bool, default False
        If it is not there, fetch the binary version (170 MB) from the official address or ``MINIRES_CIFAR10_URL``.
    progress : bool, default True
        Show a bar while it downloads.

    Raises
    ------
    FileNotFoundError
        When it is not there.
    ValueError
        When a file is cut short or altered.
    ConnectionError
        When the download fails; it can go on later.
    """
    place = find_cifar10(data_dir, data_file)
    if place is None:
        folder = _folder(data_dir)
        if not download:
            raise FileNotFoundError(
                f"no CIFAR-10 in {folder or 'any place known'}: expected {FOLDER}/ or cifar-10-binary.tar.gz. "
                "Fetch it with  minires data  (170 MB; the official server may take an hour), or name its place: "
                "--data-dir, --data-file or MINIRES_DATA. Without it: --data synthetic."
            )
        place = _download(folder, progress)
    if place.is_dir():
        batches = ((name, (place / f"{name}.bin").read_bytes()) for name in _checked(place))
    elif "python" in place.name:
        batches = _python_archive(place)
    else:
        verify(place, size=SIZE, sha256=SHA256)
        batches = _binary_archive(place)

    images = np.empty((6 * RECORDS, 3, 32, 32), np.uint8)
    labels = np.empty(6 * RECORDS, np.int64)
    for name, batch in batches:
        where = slice(BATCHES.index(name) * RECORDS, (BATCHES.index(name) + 1) * RECORDS)
        labels[where], images[where] = batch if isinstance(batch, tuple) else _records(batch)
        if not 0 <= labels[where].min() <= labels[where].max() <= 9:
            raise ValueError(f"{place}, {name}: expected labels 0 to 9, got others. Is it CIFAR-10? Fetch it again.")
    last = 5 * RECORDS
    train_set = Dataset(images[:last], labels[:last], CLASSES, "CIFAR-10, training")
    return train_set, Dataset(images[last:], labels[last:], CLASSES, "CIFAR-10, test", train=train_set)


def find_cifar10(data_dir=None, data_file=None):
    """Return the folder or archive that load_cifar10 would read, or None. Nothing is opened.

    Raises
    ------
    FileNotFoundError, ValueError
        When the given file or folder cannot be right.
    """
    if data_file is not None:
        if data_dir is not None:
            raise ValueError("expected data_dir or data_file, got both. Leave one out.")
        if Path(data_file).is_dir():
            raise ValueError(f"data_file: expected an archive, got the folder {data_file}. Give it as data_dir.")
        if not Path(data_file).expanduser().is_file():
            raise FileNotFoundError(f"data_file: no file {data_file}. Is the path right?")
        return Path(data_file).expanduser()
    folder = _folder(data_dir)
    if folder is None:
        return None
    if folder.is_file():
        raise ValueError(f"data folder: expected a folder, got the file {folder}. Give it as data_file.")
    if folder.name == FOLDER and folder.is_dir() or any((folder / f"{name}.bin").is_file() for name in BATCHES):
        return folder
    for place in (folder / FOLDER, folder / "cifar-10-binary.tar.gz"):
        if place.exists():
            return place
    return None


def _folder(data_dir=None):
    """Where data lies, and where it is downloaded to; None when the user has no home."""
    if data_dir is not None or os.environ.get("MINIRES_DATA"):
        return Path(data_dir or os.environ["MINIRES_DATA"]).expanduser()
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "minires"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "minires"
    return home / "Library" / "Caches" / "minires" if sys.platform == "darwin" else home / ".cache" / "minires"


def _download(folder, progress):
    if folder is None:
        raise FileNotFoundError("no home folder to download to. Set MINIRES_DATA to a folder.")
    url = os.environ.get("MINIRES_CIFAR10_URL") or URL
    slow = " This server is slow: up to an hour." if url == URL else ""
    path = folder / "cifar-10-binary.tar.gz"
    print(
        f"minires: fetching {url} ({SIZE / 1e6:,.0f} MB) to {path}.{slow} Ctrl-C stops it; started again, it goes on. "
        f"{ADVICE}",
        file=sys.stderr,
    )
    return fetch(url, path, size=SIZE, sha256=SHA256, advice=ADVICE, progress=progress)


# -- the binary version -----------------------------------------------------------------------------------------


def _records(data):
    """(labels, images) of the bytes of one file."""
    records = np.frombuffer(data, np.uint8).reshape(RECORDS, 1 + PIXELS)
    return records[:, 0], records[:, 1:].reshape(RECORDS, 3, 32, 32)


def _checked(folder):
    """The names of the six files, once all are there with the right size."""
    wanted = RECORDS * (1 + PIXELS)
    for name in BATCHES:
        path = folder / f"{name}.bin"
        if not path.is_file():
            raise FileNotFoundError(f"no {path}: expected six files, {BATCHES[0]}.bin to test_batch.bin. Unpack again.")
        if path.stat().st_size != wanted:
            raise ValueError(
                f"{path}: expected {wanted:,} bytes, got {path.stat().st_size:,}. Unpack it again from the archive."
            )
    return BATCHES


def _binary_archive(archive):
    wanted = RECORDS * (1 + PIXELS)
    for name, data in _members(archive, {f"{FOLDER}/{name}.bin": name for name in BATCHES}, most=wanted):
        if len(data) != wanted:
            raise ValueError(f"{archive}, {name}.bin: expected {wanted:,} bytes, got {len(data):,}. Fetch it again.")
        yield name, data


def _members(archive, wanted, most):
    """Yield (name, bytes) of the wanted members, {path: name}, as they stream past; nothing is extracted."""
    wanted = dict(wanted)
    try:
        with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                path = member.name.removeprefix("./")
                if path not in wanted or not member.isreg():
                    continue
                if member.size > most:
                    raise ValueError(f"{archive}, {path}: expected up to {most:,} bytes, got {member.size:,}.")
                yield wanted.pop(path), tar.extractfile(member).read()
            while stream.read(1 << 20):  # gzip compares its own checksum at the end
                pass
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{archive}: not a whole .tar.gz archive ({error}). Fetch it again.") from None
    if wanted:
        raise ValueError(f"{archive}: expected {', '.join(wanted)} in it, found none. Is it the official archive?")


# -- the Python version -----------------------------------------------------------------------------------------


def _python_archive(archive):
    wanted = {f"cifar-10-batches-py/{name}": name for name in BATCHES}
    for name, data in _members(archive, wanted, most=2 * RECORDS * (1 + PIXELS)):
        try:
            content = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
            content = {key.decode() if isinstance(key, bytes) else key: value for key, value in content.items()}
            images, labels = (np.asarray(_plain(content[key])) for key in ("data", "labels"))
        except Exception as error:  # a damaged or hostile pickle can fail in any way
            why = f"no entry {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{archive}, {name}: refused: {why}. Is it the official archive?") from None
        fits = images.dtype == np.uint8 and images.shape == (RECORDS, PIXELS)
        if not fits or labels.dtype.kind not in "iu" or labels.shape != (RECORDS,):
            raise ValueError(
                f"{archive}, {name}: expected data of uint8 {(RECORDS, PIXELS)} and {RECORDS} labels, "
                f"got {images.dtype} {images.shape} and {labels.dtype} {labels.shape}. Is it the official archive?"
            )
        yield name, (labels, images.reshape(RECORDS, 3, 32, 32))


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of numbers, strings, lists, dicts and arrays of whole numbers.

    An ordinary pickle names functions and has them called. This one knows four names, under which NumPy's arrays
    go; they stand for classes of this file that keep the bytes, so that not even NumPy runs on what it has not checked.
    """

    def find_class(self, module, name):
        where = module.replace("numpy._core.", "numpy.core.")
        known = {
            ("numpy.core.multiarray", "_reconstruct"): _Array,
            ("numpy.core.numeric", "_frombuffer"): _array_from_buffer,  # protocol 5
            ("numpy", "ndarray"): None,
            ("numpy", "dtype"): _Kind,
            ("_codecs", "encode"): _encode,  # how Python 3 writes bytes in the protocols of Python 2
        }
        if (where, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and a batch of images needs NumPy arrays only")
        return known[where, name]


class _Kind:
    """Stands for a dtype of whole numbers."""

    def __init__(self, name, *_):
        self.dtype = np.dtype(name.decode() if isinstance(name, bytes) else name)
        if self.dtype.kind not in "iu":
            raise pickle.UnpicklingError(f"it holds an array of {self.dtype}, and only whole numbers are expected")

    def __setstate__(self, state):
        order = state[1]
        self.dtype = self.dtype.newbyteorder(order.decode() if isinstance(order, bytes) else order)


class _Array:
    """Stands for an array, made by _reconstruct and filled by its state."""

    def __init__(self, *_):
        self.array = None

    def __setstate__(self, state):
        _, shape, kind, fortran, data = state
        self.array = _array_from_buffer(data, kind, shape, "F" if fortran else "C").array


def _array_from_buffer(data, kind, shape, order):
    made = _Array()
    made.array = np.frombuffer(data, kind.dtype).reshape(shape, order=order)
    return made


def _encode(text, encoding):
    return text.encode("latin-1")


def _plain(value):
    return value.array if isinstance(value, _Array) else value
