"""Where sets of images come from, as a table; and how one of them is found, fetched, checked and read.

A new source is one more row of ``SOURCES``, and a reader in ``formats`` only if its files have a form of their own.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from minires.checks import is_one_of, path_of, require, shown
from minires.data.archives import file_in, files_in, first_name
from minires.data.classes import CIFAR10, FASHION, class_names
from minires.data.dataset import Dataset
from minires.data.download import fetch
from minires.data.formats import idx, pickled, records
from minires.data.synthetic import synthetic
from minires.files import cache_folder, verify


@dataclass(frozen=True)
class Form:
    """A form in which a set is handed on: what its files are called, and the function that reads them."""

    folder: str  # where they lie, on the disk and in an archive
    archive: str  # what an archive of them is called; "" if that may be anything, and the files anywhere in it
    train: tuple  # of tuples of names: files that hold images and their labels together, mostly a single one
    test: tuple
    read: Callable  # read(*bytes, N, shape) of such files returns (images, labels)


@dataclass(frozen=True)
class Source:
    """A set of images."""

    title: str
    classes: tuple
    shape: tuple  # (C, H, W)
    train: int  # images
    test: int
    url: str  # of the folder in which ``files`` are
    files: dict  # what is fetched from there: the size and the SHA-256 of each name; {} if nothing can be
    forms: tuple  # the first one is that of what is fetched
    mirror: bool = True  # whether a mirrored image is one of the same class


CIFAR10_FILES = {
    "cifar-10-binary.tar.gz": (170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")
}
CIFAR100_FILES = {
    "cifar-100-binary.tar.gz": (168_513_733, "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec")
}
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    "train-labels-idx1-ubyte.gz": (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    "t10k-images-idx3-ubyte.gz": (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    "t10k-labels-idx1-ubyte.gz": (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
}
FASHION_FILES = {
    "train-images-idx3-ubyte.gz": (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    "train-labels-idx1-ubyte.gz": (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    "t10k-images-idx3-ubyte.gz": (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    "t10k-labels-idx1-ubyte.gz": (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
}


def _batches(end=""):
    return tuple((f"data_batch_{k}{end}",) for k in range(1, 6)), ((f"test_batch{end}",),)


def _idx_files(folder):
    parts = [((f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"),) for part in ("train", "t10k")]
    return (Form(folder, "", *parts, idx),)


CIFAR10_FORMS = (
    Form("cifar-10-batches-bin", "cifar-10-binary.tar.gz", *_batches(".bin"), records(label_bytes=1)),
    Form("cifar-10-batches-py", "cifar-10-python.tar.gz", *_batches(), pickled("labels")),
)
CIFAR100_FORMS = (
    Form("cifar-100-binary", "cifar-100-binary.tar.gz", (("train.bin",),), (("test.bin",),), records(label_bytes=2)),
    Form("cifar-100-python", "cifar-100-python.tar.gz", (("train",),), (("test",),), pickled("fine_labels")),
)
TORONTO = "https://www.cs.toronto.edu/~kriz/"
AWS = "https://ossci-datasets.s3.amazonaws.com/mnist/", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
CIFAR, GREY = (3, 32, 32), (1, 28, 28)
DIGITS = tuple("0123456789")

# The papers: Krizhevsky 2009 (both CIFARs), LeCun et al. 1998, Xiao et al. 2017. A mirrored digit is none.
SOURCES = {
    "cifar10": Source("CIFAR-10", CIFAR10, CIFAR, 50_000, 10_000, TORONTO, CIFAR10_FILES, CIFAR10_FORMS),
    "cifar100": Source(
        "CIFAR-100", tuple(class_names(100)), CIFAR, 50_000, 10_000, TORONTO, CIFAR100_FILES, CIFAR100_FORMS
    ),
    "mnist": Source("MNIST", DIGITS, GREY, 60_000, 10_000, AWS[0], MNIST_FILES, _idx_files("MNIST/raw"), mirror=False),
    "fashion-mnist": Source(
        "Fashion-MNIST", FASHION, GREY, 60_000, 10_000, AWS[1], FASHION_FILES, _idx_files("FashionMNIST/raw")
    ),
}


def load(dataset, data_dir=None, data_file=None, download=False):
    """Return a set of ``SOURCES``, or the synthetic one, as (train_set, test_set).

    Looked for at ``data_file``, else in ``data_dir``, else in the folder named by the environment variable
    ``MINIRES_DATA``, else in the user's cache folder.

    Parameters
    ----------
    dataset : str
        "cifar10", "cifar100", "mnist", "fashion-mnist" or "synthetic".
    data_dir : path, optional
        A folder that holds the files, or the folder or archive that they come in, such as ``cifar-10-batches-bin/``,
        ``cifar-10-batches-py/``, ``cifar-10-binary.tar.gz``, ``cifar-10-python.tar.gz`` or ``MNIST/raw/``.
    data_file : path, optional
        An archive, whatever it is called. Of CIFAR's binary version the SHA-256 is checked before anything is read; the
        pickles of the Python version are read as arrays of numbers and nothing else.
    download : bool, default False
        If it is not there, fetch it (CIFAR: 170 MB) from the official address, or from ``MINIRES_CIFAR10_URL``,
        ``MINIRES_CIFAR100_URL``, or the folders ``MINIRES_MNIST_URL`` and ``MINIRES_FASHION_MNIST_URL``.

    Raises
    ------
    FileNotFoundError
        When it is not there.
    ValueError
        When a file is cut short or altered.
    ConnectionError
        When the download fails; it can go on later.
    """
    if is_one_of(dataset, ["synthetic"]):
        return synthetic()
    source = _source(dataset)
    place, form = find(dataset, data_dir, data_file), source.forms[0]
    if download and place is not None and place.is_dir() and not form.archive:
        if not all(file_in(place, name) for name in _files(form)):
            place = None  # a download of several files was cut
    if place is None:
        folder = _folder(data_dir)
        if not (download and source.files):
            raise FileNotFoundError(_absent(dataset, source, folder))
        place = _download(dataset, source, folder)
    return _read(source, place)


def load_cifar10(data_dir=None, data_file=None, download=False):
    """Return CIFAR-10 as (train_set, test_set), of 50,000 and 10,000 images: ``load("cifar10", ...)``."""
    return load("cifar10", data_dir, data_file, download)


def find_cifar10(data_dir=None, data_file=None):
    """Return the folder or archive that ``load_cifar10`` would read, or None: ``find("cifar10", ...)``."""
    return find("cifar10", data_dir, data_file)


def find(dataset, data_dir=None, data_file=None):
    """Return the folder or archive that ``load`` would read, or None. Nothing is opened.

    Raises
    ------
    FileNotFoundError, ValueError
        When the given file or folder cannot be right.
    """
    source = _source(dataset)
    if data_file is not None:
        require(data_dir is None, "load", "data_dir or data_file", "both", "Leave one out.")
        path = _path("data_file", data_file)
        require(not path.is_dir(), "data_file", "an archive", f"the folder {data_file}", "Give it as data_dir.")
        if not path.is_file():
            raise FileNotFoundError(f"data_file: no file {data_file}. Is the path right?")
        return path
    folder = _folder(data_dir)
    if folder is None:
        return None
    require(not folder.is_file(), "data folder", "a folder", f"the file {folder}", "Give it as data_file.")
    for form in source.forms:
        for place in (folder, folder / form.folder):
            if place.is_dir() and (folder.match(form.folder) or any(file_in(place, name) for name in _files(form))):
                return place
        if form.archive and (folder / form.archive).is_file():
            return folder / form.archive
    empty = (folder / form.folder for form in source.forms)  # the message says then what it lacks
    return next((place for place in empty if place.is_dir()), None)


def _source(dataset):
    require(is_one_of(dataset, SOURCES), "dataset", f"one of {', '.join(SOURCES)}, synthetic", shown(dataset))
    return SOURCES[dataset]


def _files(form):
    return [name for part in form.train + form.test for name in part]


def _absent(dataset, source, folder):
    names = " or ".join(f"{form.folder}/, {form.archive}".rstrip(", ") for form in source.forms)
    which = "" if dataset == "cifar10" else f" --dataset {dataset}"
    slow = "; the official server may take an hour" if source.url == TORONTO else ""
    fetch = f"Fetch it with  minires data{which}  ({_size(source)}{slow}), or name" if source.files else "Name"
    return (
        f"no {source.title} in {folder or 'any place known'}: expected {names}. {fetch} its place: "
        "--data-dir, --data-file or MINIRES_DATA. Without it: --data synthetic."
    )


def _path(what, value):
    try:
        return path_of(what, value).expanduser()
    except RuntimeError:
        raise ValueError(f"{what}: there is no user of that name in {value}.") from None


def _folder(data_dir=None):
    """Where data lies, and where it is downloaded to; None when the user has no home."""
    if data_dir is not None:
        return _path("data_dir", data_dir)
    return _path("MINIRES_DATA", os.environ["MINIRES_DATA"]) if os.environ.get("MINIRES_DATA") else cache_folder()


def _size(source):
    return f"{sum(size for size, _ in source.files.values()) / 1e6:,.0f} MB"


def _download(dataset, source, folder):
    if folder is None:
        raise FileNotFoundError("no home folder to download to. Set MINIRES_DATA to a folder.")
    variable = f"MINIRES_{dataset.upper().replace('-', '_')}_URL"
    base, form = os.environ.get(variable) or source.url, source.forms[0]
    require(base.isprintable(), variable, "an address", repr(base))
    advice = f"Other ways: a mirror, {variable}=https://...; an archive brought by other means, --data-file; "
    advice += "no download at all, --data synthetic."
    target = folder if form.archive or folder.match(form.folder) else folder / form.folder
    slow = " This server is slow: up to an hour." if base == TORONTO else ""
    what = f"minires: fetching {source.title} ({_size(source)}) from {base} to {target}.{slow}"
    print(f"{what} Ctrl-C stops it; started again, it goes on. {advice}", file=sys.stderr)
    for name, (size, sha256) in source.files.items():
        url = base if form.archive and base != source.url else f"{base.rstrip('/')}/{name}"
        fetch(url, target / name, size=size, sha256=sha256, advice=advice)
    return target / form.archive


def _read(source, place):
    form = _form(source, place)
    if place.is_file() and form.archive in source.files:
        size, sha256 = source.files[form.archive]
        verify(place, size=size, sha256=sha256)
    kinds = ("training", source.train, form.train), ("test", source.test, form.test)
    N = {part: count // len(parts) for _, count, parts in kinds for part in parts}
    most = {name: 2 * N[part] * (2 + prod(source.shape)) + 1000 for part in N for name in part}
    files, train = files_in(place, form.folder if form.archive else "*", most), None
    for kind, _, parts in kinds:
        pairs = []
        for part in parts:
            try:
                pairs.append(form.read(*(files.pop(name) for name in part), N=N[part], shape=source.shape))
                labels = pairs[-1][1]
                if labels.dtype.kind not in "iu" or not 0 <= labels.min() <= labels.max() < len(source.classes):
                    raise ValueError(f"expected labels 0 to {len(source.classes) - 1}, got others")
            except ValueError as error:
                again = "Unpack it again from the archive." if place.is_dir() else "Is it the official archive?"
                raise ValueError(f"{place}, {part[0]}: {error}. {again}") from None
        arrays = map(np.concatenate, zip(*pairs))
        made = Dataset(*arrays, source.classes, f"{source.title}, {kind}", train, source.mirror)
        train = train or made
    return train, made


def _form(source, place):
    """The form in which the set is at a place, going by the content; the first one, if it is none of them."""
    if place.is_dir():
        return max(
            source.forms,
            key=lambda form: (sum(file_in(place, n) is not None for n in _files(form)), place.match(form.folder)),
        )
    top = first_name(place).partition("/")[0]
    for other in SOURCES.values():
        for form in other.forms:
            if form.archive and form.folder == top:
                if other is not source:
                    raise ValueError(f"{place}: expected {source.title}, got an archive of {other.title}.")
                return form
    return source.forms[0]
