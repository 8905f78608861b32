"""Datasets: their checks, the synthetic set, CIFAR and MNIST in each form they come in, the batches of an epoch."""

import gzip
import hashlib
import io
import os
import pickle
import re
import struct
import tarfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minires.cli import main
from minires.data import (
    SOURCES,
    Dataset,
    archives,
    batches,
    endless,
    find,
    find_cifar10,
    load,
    load_cifar10,
    sources,
    synthetic,
)
from minires.data.classes import class_names
from minires.kernels import reference
from minires.kernels.compiled import augmentation


def some_images(N, size=32, seed=0, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (N, channels, size, size), np.uint8)


def some_dataset(N=10, size=8, channels=3, **options):
    return Dataset(some_images(N, size, channels=channels), np.arange(N) % 3, ["a", "b", "c"], **options)


# -- Dataset ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (np.zeros((2, 3, 4, 4), np.float32), [0, 1], r"images of uint8, 0 to 255, got float32. .*255 \* images"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0, 1], r"\(N, C, H, W\), got \(2, 4, 4, 3\). Is it NHWC"),
        (np.zeros((2, 28, 28, 1), np.uint8), [0, 1], r"got \(2, 28, 28, 1\). Is it NHWC"),
        (np.zeros((2, 28, 28), np.uint8), [0, 1], r"got \(2, 28, 28\). Are they grey\? Use images\[:, None\]"),
        (np.zeros((0, 3, 4, 4), np.uint8), [], r"\(N, C, H, W\), got \(0, 3, 4, 4\)"),
        (np.ma.zeros((2, 3, 4, 4), np.uint8), [0, 1], "expected plain arrays, got a masked one"),
        (np.zeros((2, 3, 4, 4), np.uint8), [0.0, 1.0], "labels that are whole numbers, got float64"),
        (np.zeros((2, 3, 4, 4), np.uint8), [0, 1, 2], r"expected 2 labels, one for each image, got shape \(3,\)"),
        (np.zeros((2, 3, 4, 4), np.uint8), [0, 3], r"labels 0 to 2 \(there are 3 classes\), got 3 for image 1"),
        (np.zeros((2, 3, 4, 4), np.uint8), [-1, 0], "got -1 for image 0. Labels count from 0"),
    ],
)
def test_a_dataset_that_cannot_be_right_says_why(images, labels, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Dataset(images, labels, ["a", "b", "c"])


def test_a_test_set_must_have_images_of_the_size_of_its_training_set():
    with pytest.raises(ValueError, match="expected images of 3x8x8 as in train.* got 3x6x6"):
        some_dataset(size=6, train=some_dataset(size=8))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_statistics_are_those_of_the_images(channels):
    dataset = some_dataset(700, size=5, channels=channels)
    floats = dataset.images.astype(np.float64)
    mean, std = dataset.channel_mean_std
    np.testing.assert_allclose(dataset.pixel_mean, floats.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(mean, floats.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std, floats.std(axis=(0, 2, 3)), rtol=1e-6)


def test_a_part_keeps_images_and_labels_together_and_the_statistics_of_the_whole():
    dataset = some_dataset(10)
    for part, chosen in [(slice(2, 5), [2, 3, 4]), ([7, 1], [7, 1]), (dataset.labels == 0, [0, 3, 6, 9])]:
        part = dataset[part]
        np.testing.assert_array_equal(part.images, dataset.images[chosen])
        np.testing.assert_array_equal(part.labels, dataset.labels[chosen])
        assert part.train is dataset
    assert dataset[2:5][:1].train is dataset
    with pytest.raises(TypeError, match="expected a slice or an array of indices, got 3. See .images"):
        dataset[3]


# -- the synthetic set ------------------------------------------------------------------------------------------


SYNTHETIC_CHECKSUMS = [2663533443, 582888010]  # of images and labels; a deliberate change of the set changes them


def test_a_seed_gives_the_same_synthetic_bytes_everywhere():
    train_set, test_set = synthetic(train_size=60, test_size=20, seed=5)
    bytes_of = [array.astype(array.dtype.newbyteorder("<")).tobytes() for array in (train_set.images, train_set.labels)]
    assert [zlib.crc32(b) for b in bytes_of] == SYNTHETIC_CHECKSUMS
    np.testing.assert_array_equal(test_set.images, synthetic(train_size=10, test_size=20, seed=5)[1].images)
    assert (test_set.images != synthetic(train_size=10, test_size=20, seed=6)[1].images).any()
    assert (test_set.images != train_set.images[:20]).any()


def test_synthetic_classes_are_equally_frequent_and_normalised_by_the_training_set():
    train_set, test_set = synthetic(train_size=205, test_size=50)
    assert sorted(np.bincount(train_set.labels)) == [20] * 5 + [21] * 5
    assert test_set.train is train_set
    assert len(train_set.classes) == 10


def test_colours_say_little_about_the_synthetic_class():
    """The mean colour of an image, with the best linear rule on it, stays near the 90 % error of a guess."""
    train_set, test_set = synthetic(train_size=2000, test_size=1000)
    colours, test_colours = (
        np.c_[d.images.mean(axis=(2, 3)), d.images.std(axis=(2, 3)), np.ones(len(d))] for d in (train_set, test_set)
    )
    rule = np.linalg.lstsq(colours, np.eye(10)[train_set.labels], rcond=None)[0]
    assert np.mean((test_colours @ rule).argmax(axis=1) != test_set.labels) > 0.75


@pytest.mark.parametrize("wrong", [{"train_size": 0}, {"test_size": 2.5}, {"seed": -1}, {"seed": None}])
def test_synthetic_names_a_wrong_argument(wrong):
    with pytest.raises(ValueError, match=f"synthetic: expected {next(iter(wrong))}, a whole number"):
        synthetic(**{"train_size": 10, "test_size": 10, **wrong})


# -- CIFAR-10 ---------------------------------------------------------------------------------------------------

RECORDS = 3
BATCHES = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Batches of three images, and a user's folder with nothing in it."""
    for name, source in SOURCES.items():
        monkeypatch.setitem(SOURCES, name, replace(source, train=5 * RECORDS, test=RECORDS))
        monkeypatch.delenv(f"MINIRES_{name.upper().replace('-', '_')}_URL", raising=False)
    monkeypatch.delenv("MINIRES_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


IMAGES, LABELS = some_images(6 * RECORDS), (np.arange(6 * RECORDS) % 10).astype(np.uint8)


def binary_files():
    """{name: bytes} of the six files of the binary version."""
    records = np.c_[LABELS, IMAGES.reshape(len(IMAGES), -1)]
    return {f"{name}.bin": r.tobytes() for name, r in zip(BATCHES, np.split(records, 6))}


def write_folder(folder, **changed):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (binary_files() | changed).items():
        (folder / name).write_bytes(data)
    return folder


def write_archive(path, files, folder):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}" if folder else name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def make_official(monkeypatch, path, name="cifar10"):
    """Take this archive for the official one."""
    known = {SOURCES[name].forms[0].archive: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())}
    monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], files=known))
    return path


@pytest.fixture
def archive(home, monkeypatch):
    files = {"readme.html": b"<html>", **binary_files(), "batches.meta.txt": b"airplane\n"}
    return make_official(monkeypatch, write_archive(home / "cifar-10-binary.tar.gz", files, "cifar-10-batches-bin"))


def assert_is_cifar10(sets):
    train_set, test_set = sets
    np.testing.assert_array_equal(train_set.images, IMAGES[: 5 * RECORDS])
    np.testing.assert_array_equal(train_set.labels, LABELS[: 5 * RECORDS])
    np.testing.assert_array_equal(test_set.images, IMAGES[5 * RECORDS :])
    np.testing.assert_array_equal(test_set.labels, LABELS[5 * RECORDS :])
    assert train_set.classes[0] == "airplane" and test_set.train is train_set
    assert train_set.labels.dtype == np.int64 and train_set.images.flags.c_contiguous


def test_the_archive_is_read_and_never_extracted(archive, home):
    before = sorted(home.rglob("*"))
    assert_is_cifar10(load_cifar10(data_file=archive))
    assert sorted(home.rglob("*")) == before


def test_a_folder_is_found_by_its_own_name_or_its_parents_or_the_environment(home, monkeypatch):
    folder = write_folder(home / "d" / "cifar-10-batches-bin")
    assert_is_cifar10(load_cifar10(data_dir=folder))
    assert_is_cifar10(load_cifar10(data_dir=home / "d"))
    assert find_cifar10() is None
    monkeypatch.setenv("MINIRES_DATA", str(home / "d"))
    assert_is_cifar10(load_cifar10())
    assert find_cifar10() == folder


def test_an_archive_in_the_cache_folder_is_found(archive, home):
    (home / "cache" / "minires").mkdir(parents=True)
    cached = archive.rename(home / "cache" / "minires" / archive.name)
    assert find_cifar10() == cached
    assert_is_cifar10(load_cifar10())


def test_without_cifar10_the_error_names_every_way_to_it(home):
    with pytest.raises(FileNotFoundError, match="no CIFAR-10 in .*minires data .*an hour.*--data-file or MINIRES_DATA"):
        load_cifar10()


def test_without_a_home_nothing_is_found_and_the_download_asks_for_a_folder(home, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert find_cifar10() is None
    with pytest.raises(FileNotFoundError, match="no CIFAR-10 in any place known"):
        load_cifar10()
    with pytest.raises(FileNotFoundError, match="Set MINIRES_DATA to a folder"):
        load_cifar10(download=True)


def test_the_download_goes_to_the_data_folder_and_is_read(archive, home, monkeypatch, capsys):
    asked = []

    def fetch(url, path, *, size, sha256, advice):
        asked.append((url, size, sha256))
        path.parent.mkdir(parents=True)
        return archive.rename(path)

    monkeypatch.setattr(sources, "fetch", fetch)
    assert_is_cifar10(load_cifar10(data_dir=home / "new", download=True))
    assert asked == [(f"{sources.TORONTO}{archive.name}", *SOURCES["cifar10"].files[archive.name])]
    assert "This server is slow: up to an hour" in capsys.readouterr().err
    assert_is_cifar10(load_cifar10(data_dir=home / "new", download=True))
    assert len(asked) == 1


def test_a_mirror_takes_the_place_of_the_official_address(home, monkeypatch, capsys):
    monkeypatch.setenv("MINIRES_CIFAR10_URL", "ftp://mirror/a")
    with pytest.raises(ValueError, match="got 'ftp://mirror/a'"):
        load_cifar10(download=True)
    assert "slow" not in capsys.readouterr().err
    monkeypatch.setenv("MINIRES_CIFAR10_URL", "https://mirror/\x1b[31m")
    with pytest.raises(ValueError, match=r"MINIRES_CIFAR10_URL: expected an address, got 'https://mirror/.x1b\[31m'"):
        load_cifar10(download=True)
    assert capsys.readouterr().err == ""


def test_an_altered_archive_is_refused_before_it_is_opened(archive, monkeypatch):
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    monkeypatch.setattr(tarfile, "open", lambda *_: pytest.fail("opened"))
    with pytest.raises(ValueError, match="cifar-10-binary.tar.gz: expected SHA-256 .* altered; fetch it again"):
        load_cifar10(data_file=archive)


def test_a_truncated_archive_is_refused_before_it_is_opened(archive, monkeypatch):
    archive.write_bytes(archive.read_bytes()[:-10])
    monkeypatch.setattr(tarfile, "open", lambda *_: pytest.fail("opened"))
    with pytest.raises(ValueError, match=r"expected [\d,]+ bytes, got [\d,]+. It is cut short; fetch it again"):
        load_cifar10(data_file=archive)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"data_batch_2.bin": b"short"}, "data_batch_2.bin: expected 9,219 bytes, got 5"),
        ({"data_batch_2.bin": bytes(20_000)}, "data_batch_2.bin: expected up to 19,444 bytes, got more"),
        ({"data_batch_2.bin": b"\x0a" * 9219}, "data_batch_2.bin: expected labels 0 to 9, got others"),
    ],
)
def test_members_of_an_archive_are_checked_too(home, monkeypatch, change, message):
    """Even if somebody made a wrong archive the official one."""
    path = home / "cifar-10-binary.tar.gz"
    make_official(monkeypatch, write_archive(path, binary_files() | change, "cifar-10-batches-bin"))
    with pytest.raises(ValueError, match=message):
        load_cifar10(data_file=path)


def test_members_outside_the_folder_are_not_taken_for_batches(home, monkeypatch):
    files = {f"../cifar-10-batches-bin/{name}": data for name, data in binary_files().items()}
    files |= {f"/cifar-10-batches-bin/{name}": data for name, data in binary_files().items()}
    path = make_official(monkeypatch, write_archive(home / "a.tar.gz", files, folder=""))
    with pytest.raises(ValueError, match=r"expected cifar-10-batches-bin/data_batch_1.bin, .* in it, found none"):
        load_cifar10(data_file=path)


def test_links_in_an_archive_are_not_followed(home, monkeypatch):
    secret = home / "secret"
    secret.write_bytes(binary_files()["data_batch_1.bin"])
    path = home / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
        for name, data in list(binary_files().items())[1:]:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    make_official(monkeypatch, path)
    with pytest.raises(ValueError, match="expected cifar-10-batches-bin/data_batch_1.bin in it, found none"):
        load_cifar10(data_file=path)


def test_files_of_a_folder_are_checked_before_they_are_read(home):
    folder = write_folder(home / "cifar-10-batches-bin", **{"test_batch.bin": b"cut"})
    with pytest.raises(ValueError, match=r"test_batch.bin: expected 9,219 bytes, got 3. Unpack it again"):
        load_cifar10(data_dir=folder)
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*data_batch_3.bin: expected data_batch_1.bin, .* there. Unpack"):
        load_cifar10(data_dir=folder)
    write_folder(folder, **{"data_batch_4.bin": b"\xff" * 9219})
    with pytest.raises(ValueError, match="data_batch_4.bin: expected labels 0 to 9, got others"):
        load_cifar10(data_dir=folder)


def test_a_wrong_place_is_named(home, archive):
    with pytest.raises(FileNotFoundError, match="data_file: no file nowhere.tar.gz"):
        load_cifar10(data_file="nowhere.tar.gz")
    with pytest.raises(ValueError, match="expected an archive, got the folder .* Give it as data_dir"):
        load_cifar10(data_file=home)
    with pytest.raises(ValueError, match="expected a folder, got the file .* Give it as data_file"):
        load_cifar10(data_dir=archive)
    with pytest.raises(ValueError, match="expected data_dir or data_file, got both"):
        load_cifar10(data_dir=home, data_file=archive)


# -- the Python version -----------------------------------------------------------------------------------------


def dictionaries():
    """What the six pickles hold."""
    for name, images, labels in zip(BATCHES, np.split(IMAGES.reshape(-1, 3072), 6), np.split(LABELS, 6)):
        yield name, {"batch_label": name, "labels": labels.tolist(), "data": images, "filenames": ["a.png"] * RECORDS}


def write_python_archive(path, dump, **changed):
    files = {name: dump(content) for name, content in dictionaries()} | changed
    return write_archive(path, files, "cifar-10-batches-py")


def dump_as_python_2(content):
    """The bytes that Python 2 and an old NumPy wrote, protocol 2: byte strings, and NumPy's names of 2009."""

    def string(text):
        text = text.encode() if isinstance(text, str) else text
        return (b"U" + bytes([len(text)]) if len(text) < 256 else b"T" + struct.pack("<i", len(text))) + text

    def number(value):
        return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)

    data = content["data"]
    kind = b"cnumpy\ndtype\n(" + string("u1") + number(0) + number(1) + b"tR"
    kind += b"(" + number(3) + string("|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + number(0) + b"t" + string("b") + b"tR"
    array += b"(" + number(1) + b"(" + b"".join(map(number, data.shape)) + b"t" + kind + b"\x89"
    array += string(data.tobytes()) + b"tb"
    labels = b"](" + b"".join(map(number, content["labels"])) + b"e"
    pairs = string("batch_label") + string(content["batch_label"]) + string("labels") + labels + string("data") + array
    return b"\x80\x02}(" + pairs + b"u."


def test_the_old_pickle_of_this_file_is_one_that_numpy_reads():
    name, content = next(dictionaries())
    loaded = pickle.loads(dump_as_python_2(content), encoding="bytes")
    np.testing.assert_array_equal(loaded[b"data"], content["data"])


@pytest.mark.parametrize("protocol", ["Python 2", 2, 4, 5])
def test_the_python_archive_is_read_whoever_wrote_it(home, protocol):
    dump = dump_as_python_2 if protocol == "Python 2" else lambda content: pickle.dumps(content, protocol)
    assert_is_cifar10(load_cifar10(data_file=write_python_archive(home / "cifar-10-python.tar.gz", dump)))


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "evil, name",
    [
        (Call(os.system, "echo broken > broken"), r"(posix|nt).system"),
        (Call(eval, "1/0"), "builtins.eval"),
        (Call(np.load, "file"), "numpy.load"),
        (Call(getattr, "np", "load"), "builtins.getattr"),
        (np.float64(1), "numpy._core.multiarray.scalar"),
    ],
)
def test_a_pickle_that_calls_anything_is_refused_with_its_name(home, monkeypatch, evil, name):
    monkeypatch.chdir(home)
    evil = pickle.dumps({"data": evil})
    path = write_python_archive(home / "cifar-10-python.tar.gz", pickle.dumps, data_batch_2=evil)
    with pytest.raises(ValueError, match=rf"data_batch_2: refused: it asks for {name}, and a batch of images needs"):
        load_cifar10(data_file=path)
    assert not (home / "broken").exists()


@pytest.mark.parametrize(
    "content, message",
    [
        ({"labels": [0, 1, 2]}, "no entry 'data'"),
        ({"data": np.zeros((3, 30)), "labels": [0, 1, 2]}, "an array of type 'f8', and only whole numbers"),
        ({"data": np.array([{}]), "labels": [0, 1, 2]}, "an array of type 'O8', and only whole numbers"),
        ({"data": np.zeros((3, 3072), np.uint8), "labels": np.array("abc")}, "an array of type 'U3'"),
        (
            {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]},
            r"expected 'data' to be uint8 \(3, 3072\), got uint8 \(2, 3072\)",
        ),
        ({"data": np.zeros((3, 3072), np.int8), "labels": [0, 1, 2]}, r"'data' to be uint8 \(3, 3072\), got int8"),
        ({"data": np.zeros((3, 3072), np.uint8), "labels": [0, 1]}, r"'labels' to be whole numbers \(3,\), got int64"),
        ({"data": np.zeros((3, 3072), np.uint8), "labels": ["a", "b", "c"]}, r"\(3,\), got a list of something else"),
        ({"data": np.zeros((3, 3072), np.uint8), "labels": [0, [1], 2]}, r"\(3,\), got a list of something else"),
        ({"data": np.zeros((3, 3072), np.uint8), "labels": [0, 1, 10**30]}, r"\(3,\), got a list of something else"),
        ({"data": "abc", "labels": [0, 1, 2]}, "got a str of something else"),
        ({"data": np.zeros((3, 3072), np.uint8), "labels": [0, 1, 200]}, "expected labels 0 to 9"),
        ([1, 2], "refused: .*list"),
    ],
)
def test_a_pickle_of_something_else_is_refused(home, content, message):
    path = write_python_archive(home / "cifar-10-python.tar.gz", pickle.dumps, data_batch_2=pickle.dumps(content))
    with pytest.raises(ValueError, match=message):
        load_cifar10(data_file=path)


@pytest.mark.parametrize("part", [slice(200), slice(-400), slice(-8), slice(300, None)])
def test_a_python_archive_cut_short_is_refused(home, part):
    path = write_python_archive(home / "cifar-10-python.tar.gz", pickle.dumps)
    path.write_bytes(path.read_bytes()[part])
    with pytest.raises(ValueError, match="not a whole .tar.gz archive|cut short|another file"):
        load_cifar10(data_file=path)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_python_archive_with_an_altered_byte_is_refused(home, place):
    path = write_python_archive(home / "cifar-10-python.tar.gz", pickle.dumps)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not a whole .tar.gz archive|refused"):
        load_cifar10(data_file=path)


def test_the_python_in_the_documentation_runs(home, monkeypatch):
    monkeypatch.setenv("MINIRES_DATA", str(write_folder(home / "d")))
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(compile(block, "docs/data.md", "exec"), names)
    assert len(names["test_set"]) == 10


# -- hostile archives: each takes little memory and less than a second ---------------------------------------------


@pytest.fixture
def little_memory():
    """No more than 400 MB beyond what this process has."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def tar_header(name, size, kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def write_zeros(path, head, count, end=b""):
    """A gzipped file that begins with ``head`` and goes on with ``count`` zeros."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(head)
        for _ in range(count >> 20):
            file.write(bytes(1 << 20))
        file.write(end)
    return path


FIRST = tar_header("cifar-10-batches-py/", 0, tarfile.DIRTYPE)


@pytest.mark.parametrize(
    "head",
    [
        tar_header("cifar-10-batches-py/data_batch_1", 1 << 80),
        tar_header("cifar-10-batches-py/data_batch_1", 1 << 62),
        tar_header("cifar-10-batches-py/other", 1 << 80),
        tar_header("cifar-10-batches-py/other", -512),
        tar_header("././@LongLink", 2 << 30, tarfile.GNUTYPE_LONGNAME),
        tar_header("././@LongLink", 2 << 30, tarfile.GNUTYPE_LONGLINK),
        tar_header("pax", 2 << 30, tarfile.XHDTYPE),
        tar_header("pax", 2 << 30, tarfile.XGLTYPE),
        tar_header("pax", 2 << 30, tarfile.SOLARIS_XHDTYPE),
        tar_header("sparse", 2 << 30, tarfile.GNUTYPE_SPARSE),
    ],
)
def test_a_member_that_claims_too_much_is_refused_before_it_is_read(home, little_memory, head):
    path = write_zeros(home / "a.tar.gz", FIRST + head, 80 << 20)
    with pytest.raises(ValueError, match=r"a\.tar\.gz: a member claims -?[\d,]+ bytes, too many. Is it the official"):
        load_cifar10(data_file=path)


def test_zeros_without_end_behind_an_archive_are_refused(home, little_memory, monkeypatch):
    whole = write_python_archive(home / "whole.tar.gz", pickle.dumps)
    path = write_zeros(home / "a.tar.gz", gzip.decompress(whole.read_bytes()), 300 << 20)
    monkeypatch.setattr(archives, "ASIDE", 1 << 20)
    with pytest.raises(ValueError, match="a.tar.gz: goes on behind its end"):
        load_cifar10(data_file=path)


def test_a_batch_larger_than_a_batch_is_refused_however_small_it_is_packed(home, little_memory):
    path = write_zeros(home / "a.tar.gz", FIRST + tar_header("cifar-10-batches-py/data_batch_1", 50 << 20), 50 << 20)
    with pytest.raises(ValueError, match="data_batch_1: expected up to 19,444 bytes, got more"):
        load_cifar10(data_file=path)


def test_a_file_that_comes_twice_is_refused(home):
    path = home / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in 2 * list(dictionaries())[:1]:
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data := pickle.dumps(content))
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(ValueError, match="expected one cifar-10-batches-py/data_batch_1, got two"):
        load_cifar10(data_file=path)


NAMED = b"cnumpy.core.multiarray\n_reconstruct\n"
ARRAY = NAMED + b"(cnumpy\nndarray\n(K\x00tC\x01btR"


@pytest.mark.parametrize(
    "program, message",
    [
        (NAMED + b"}X\x08\x00\x00\x00__code__K\x01sb.", "does to a _Name what is not done to one"),
        (NAMED + b"N}X\x08\x00\x00\x00__code__K\x01s\x86b.", "does to a _Name what is not done to one"),
        (b"cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.", "does to a _Name what is not done to one"),
        (ARRAY + b"}X\x05\x00\x00\x00arrayK\x01sb.", "refused"),
        (b"cnumpy\nndarray\n)R.", "it calls ndarray"),
        (b"cnumpy\nndarray\n)\x81.", "it has the instruction NEWOBJ"),
        (b"(K\x01icollections\nOrderedDict\n.", "it has the instruction INST"),
        (b"Pabc\n.", "it has the instruction PERSID"),
        (b"\x82\x01.", "it has the instruction EXT1"),
        (b"cos\x1b[31m\nsystem\n.", r"it asks for 'os.x1b\[31m.system'"),
        (b"c" + 5000 * b"a" + b"\nsystem\n.", "it asks for a{80}, and"),
        (b"}" + 500 * b")" + 499 * b"\x86" + b"K\x01s.", "does to a tuple what is not done to one"),
        (5000 * b"]" + b".", "more than 1,024 instructions"),
        (b"K\x01r\xff\xff\xff\x7f.", "refused"),
        (b"\x8e" + struct.pack("<Q", 1 << 40) + b"abc.", "refused"),
        (b"K\x01", "refused"),
        (b".", "refused"),
        (b"]]K\x01a", "refused"),
        (b"t.", "refused"),
        (b"h\x05.", "refused"),
    ],
)
def test_a_pickle_can_do_nothing_but_hold_arrays(home, little_memory, program, message):
    path = write_python_archive(home / "a.tar.gz", pickle.dumps, data_batch_2=program)
    with pytest.raises(ValueError, match=message) as caught:
        load_cifar10(data_file=path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


# -- recognised by its content, and in the places where others keep it ---------------------------------------------


@pytest.mark.parametrize("name", ["cifar.tgz", "cifar-10-binary.tar.gz", "download (1)", "x.zip"])
def test_the_python_archive_is_known_by_its_content(home, name):
    assert_is_cifar10(load_cifar10(data_file=write_python_archive(home / name, pickle.dumps)))


def test_the_python_archive_may_be_gunzipped_zipped_or_packed_anew(home):
    packed = write_python_archive(home / "a.tar.gz", pickle.dumps)
    (home / "a.tar").write_bytes(gzip.decompress(packed.read_bytes()))
    assert_is_cifar10(load_cifar10(data_file=home / "a.tar"))
    with (
        zipfile.ZipFile(home / "a.zip", "w", zipfile.ZIP_DEFLATED) as file,
        tarfile.open(home / "b.tgz", "w:gz") as tar,
    ):
        file.mkdir("cifar-10-batches-py")
        for name in (".", "./cifar-10-batches-py"):
            member = tarfile.TarInfo(name)
            member.type, member.mtime = tarfile.DIRTYPE, 1.5  # half a second: Python writes pax headers
            tar.addfile(member)
        for name, content in dictionaries():
            member = tarfile.TarInfo(f"./cifar-10-batches-py/{name}")
            member.size, member.mtime = len(data := pickle.dumps(content)), 1.5
            tar.addfile(member, io.BytesIO(data))
            file.writestr(f"cifar-10-batches-py/{name}", data)
    assert_is_cifar10(load_cifar10(data_file=home / "a.zip"))
    assert_is_cifar10(load_cifar10(data_file=home / "b.tgz"))


@pytest.mark.parametrize("name", ["python.tar.gz", "cifar-10-python.tar.gz", "a"])
def test_the_binary_archive_is_known_by_its_content(archive, name):
    assert_is_cifar10(load_cifar10(data_file=archive.rename(archive.with_name(name))))


def test_the_folder_of_torchvision_is_found_instead_of_a_download(home, monkeypatch):
    monkeypatch.setattr(sources, "fetch", lambda *_, **__: pytest.fail("a download"))
    root = home / "root"
    archive = write_python_archive(root / "cifar-10-python.tar.gz", pickle.dumps)
    assert find_cifar10(root) == archive
    assert_is_cifar10(load_cifar10(root, download=True))
    folder = root / "cifar-10-batches-py"
    folder.mkdir()  # as unpacking that was stopped leaves it
    assert find_cifar10(root) == archive
    with pytest.raises(FileNotFoundError, match="no .*data_batch_1: expected data_batch_1, data_batch_2"):
        load_cifar10(folder)
    for name, content in dictionaries():
        (folder / name).write_bytes(pickle.dumps(content, 2))
    (folder / "batches.meta").write_bytes(b"")
    assert find_cifar10(root) == find_cifar10(folder) == folder
    assert_is_cifar10(load_cifar10(root, download=True))
    assert_is_cifar10(load_cifar10(folder, download=True))
    write_folder(root / "cifar-10-batches-bin")
    assert find_cifar10(root) == root / "cifar-10-batches-bin"


@pytest.mark.parametrize(
    "place, message",
    [
        ({"data_dir": ""}, "data_dir: expected a path, got an empty one. Is a variable of the shell not set"),
        ({"data_file": ""}, "data_file: expected a path, got an empty one"),
        ({"data_dir": "~nobody-of-this-name/data"}, "data_dir: there is no user of that name in ~nobody"),
    ],
)
def test_a_place_that_is_none_is_named(home, capsys, place, message):
    with pytest.raises(ValueError, match=message):
        load_cifar10(**place, download=True)
    ((option, value),) = place.items()
    assert main(["data", f"--{option.replace('_', '-')}", value]) == 2
    assert message in capsys.readouterr().err


def test_a_set_that_nobody_knows_is_answered_with_those_there_are(home):
    with pytest.raises(
        ValueError, match="expected one of cifar10, cifar100, mnist, fashion-mnist, synthetic, got 'svhn'"
    ):
        load("svhn")
    assert [len(part) for part in load("synthetic")] == [10_000, 2_000]


# -- CIFAR-100 and MNIST ------------------------------------------------------------------------------------------


def cifar100_files(form):
    """{name: bytes} of 15 and 3 images, superclass 7 and classes that rise to 99."""
    fine = (99 - np.arange(18)).astype(np.uint8)
    for name, part in (("train", slice(15)), ("test", slice(15, 18))):
        images = IMAGES[part].reshape(-1, 3072)
        if form == "bin":
            coarse = np.full(len(images), 7, np.uint8)
            yield f"{name}.bin", np.c_[coarse, fine[part], images].tobytes()
        else:
            yield name, pickle.dumps({"data": images, "coarse_labels": [7] * 3, "fine_labels": fine[part].tolist()}, 2)


@pytest.mark.parametrize("form, folder", [("bin", "cifar-100-binary"), ("py", "cifar-100-python")])
@pytest.mark.parametrize("packed", [True, False])
def test_cifar100_is_read_with_its_fine_labels(home, monkeypatch, form, folder, packed):
    files = dict(cifar100_files(form))
    if packed:
        path = write_archive(home / f"{folder}.tar.gz", files, folder)
        if form == "bin":
            make_official(monkeypatch, path, "cifar100")
    else:
        (home / folder).mkdir()
        for name, data in files.items():
            (home / folder / name).write_bytes(data)
    train_set, test_set = load("cifar100", home)
    np.testing.assert_array_equal(train_set.images, IMAGES[:15])
    np.testing.assert_array_equal(test_set.images, IMAGES[15:])
    np.testing.assert_array_equal(np.r_[train_set.labels, test_set.labels], 99 - np.arange(18))
    assert list(train_set.classes) == class_names(100) and test_set.train is train_set
    with pytest.raises(ValueError if packed and form == "bin" else FileNotFoundError, match="CIFAR-100|no CIFAR-10"):
        load_cifar10(data_file=home / f"{folder}.tar.gz") if packed and form == "bin" else load_cifar10(home)


DIGITS = some_images(18, size=28, channels=1)


def idx_bytes(array):
    """The array in LeCun's form."""
    head = struct.pack(f">{1 + array.ndim}i", 2048 + array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def mnist_files(train=15, test=3):
    for part, where in (("train", slice(train)), ("t10k", slice(15, 15 + test))):
        yield f"{part}-images-idx3-ubyte", idx_bytes(DIGITS[where, 0])
        yield f"{part}-labels-idx1-ubyte", idx_bytes(LABELS[where])


def write_mnist(folder, end="", dot=False, **changed):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (dict(mnist_files()) | changed).items():
        name = name.replace("-idx", ".idx") if dot else name
        (folder / f"{name}{end}").write_bytes(gzip.compress(data) if end else data)
    return folder


def assert_is_mnist(sets, title="MNIST", train=15):
    train_set, test_set = sets
    np.testing.assert_array_equal(train_set.images, DIGITS[:train])
    np.testing.assert_array_equal(test_set.images, DIGITS[15:])
    np.testing.assert_array_equal(train_set.labels, LABELS[:train])
    np.testing.assert_array_equal(test_set.labels, LABELS[15:])
    assert train_set.name == f"{title}, training" and test_set.train is train_set


@pytest.mark.parametrize("end, dot", [("", False), (".gz", False), ("", True)])
@pytest.mark.parametrize(
    "dataset, inside", [("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw"), ("mnist", "")]
)
def test_mnist_is_read_from_the_folder_a_user_has(home, dataset, inside, end, dot):
    folder = write_mnist(home / "d" / inside, end, dot)
    title = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}[dataset]
    assert_is_mnist(load(dataset, home / "d"), title)
    assert_is_mnist(load(dataset, folder), title)
    assert load(dataset, folder)[0].mirror == (dataset != "mnist")
    assert load(dataset, folder)[0].classes[9] == ("9" if dataset == "mnist" else "ankle boot")


@pytest.mark.parametrize("folder", ["", "MNIST/raw/", "any/where/"])
@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_mnist_is_read_from_an_archive_a_user_has(home, kind, end, folder):
    files = {f"{folder}{name}{end}": gzip.compress(data) if end else data for name, data in mnist_files()}
    path = home / "mine"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, data in files.items():
                file.writestr(name, data)
    else:
        write_archive(path, files, "")
        if kind == "tar":
            path.write_bytes(gzip.decompress(path.read_bytes()))
    assert_is_mnist(load("mnist", data_file=path))


def test_a_part_of_mnist_is_read_too(home):
    write_mnist(home, **dict(mnist_files(train=5)))
    assert_is_mnist(load("mnist", home), train=5)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"train-images-idx3-ubyte": idx_bytes(DIGITS[:15, 0])[:-1]}, r"15 x 28 x 28 and 11,759 bytes after it"),
        ({"train-images-idx3-ubyte": idx_bytes(DIGITS[:14, 0])}, "a label for each image, got 14 images and 15 labels"),
        ({"train-images-idx3-ubyte": idx_bytes(DIGITS[:16, 0])}, r"expected up to 15 x 28 x 28 bytes, got a head"),
        ({"train-images-idx3-ubyte": idx_bytes(DIGITS[:15, 0, 1:])}, r"15 x 27 x 28"),
        ({"t10k-images-idx3-ubyte": idx_bytes(LABELS[:3])}, "begins with the number 2051, got 2049"),
        ({"t10k-labels-idx1-ubyte": idx_bytes(np.array([0, 1, 10]))}, "expected labels 0 to 9, got others"),
        ({"t10k-labels-idx1-ubyte": b""}, "begins with the number 2049, got 0"),
        ({"t10k-labels-idx1-ubyte": struct.pack(">ii", 2049, -3)}, "got a head that says -3"),
        ({"train-images-idx3-ubyte": struct.pack(">iiii", 2051, 1 << 30, 28, 28)}, "a head that says 1073741824 x 28"),
    ],
)
def test_a_damaged_idx_file_is_refused(home, changed, message):
    with pytest.raises(ValueError, match=message):
        load("mnist", write_mnist(home / "d", **changed))


def test_a_gzipped_idx_file_is_not_unpacked_without_end(home, little_memory):
    folder = write_mnist(home / "d", ".gz")
    write_zeros(folder / "train-images-idx3-ubyte.gz", b"", 600 << 20)
    with pytest.raises(ValueError, match="train-images-idx3-ubyte.gz: expected up to [0-9,]+ bytes, got more"):
        load("mnist", folder)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(ValueError, match="train-images-idx3-ubyte.gz: damaged or cut short"):
        load("mnist", folder)
    (folder / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="no .*train-images-idx3-ubyte: expected train-images"):
        load("mnist", folder)


def test_without_mnist_the_error_names_the_command(home):
    with pytest.raises(
        FileNotFoundError, match=r"no MNIST in .* expected MNIST/raw/. .*minires data --dataset mnist  \(12 MB"
    ):
        load("mnist")
    assert find("mnist") is None


def test_a_set_that_cannot_be_fetched_is_asked_for_by_its_place(home, monkeypatch):
    monkeypatch.setitem(SOURCES, "mnist", replace(SOURCES["mnist"], files={}))
    with pytest.raises(FileNotFoundError, match=r"no MNIST in .*: expected MNIST/raw/. Name its place: --data-dir"):
        load("mnist", download=True)


def test_the_download_of_several_files_goes_on_after_a_cut(home, monkeypatch, capsys):
    files, asked = {f"{name}.gz": gzip.compress(data) for name, data in mnist_files()}, []

    def fetch(url, path, *, size, sha256, advice):
        asked.append((url, size, sha256))
        if len(asked) == 2:
            raise ConnectionError("cut")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[path.name])

    monkeypatch.setattr(sources, "fetch", fetch)
    with pytest.raises(ConnectionError):
        load("mnist", home / "new", download=True)
    assert_is_mnist(load("mnist", home / "new", download=True))
    assert asked[-1] == (
        f"{SOURCES['mnist'].url}t10k-labels-idx1-ubyte.gz",
        *SOURCES["mnist"].files["t10k-labels-idx1-ubyte.gz"],
    )
    assert find("mnist", home / "new") == home / "new" / "MNIST" / "raw"
    monkeypatch.setenv("MINIRES_MNIST_URL", "https://mirror/mnist")
    load("mnist", home / "other", download=True)
    assert asked[-1][0] == "https://mirror/mnist/t10k-labels-idx1-ubyte.gz"


def test_every_source_is_told_in_full():
    """A row that lacks something would only be noticed by the user who asks for it."""
    for name, source in SOURCES.items():
        for form in source.forms:
            assert source.train % len(form.train) == source.test % len(form.test) == 0, name
        assert source.url.endswith("/") and source.files
        assert all(len(sha256) == 64 and size > 1000 for size, sha256 in source.files.values())
        assert len(source.classes) == len(set(source.classes)) in (10, 100)


@pytest.mark.parametrize("dataset", ["cifar100", "mnist"])
def test_the_command_says_what_is_there(home, capsys, dataset):
    write_mnist(home / "MNIST" / "raw")
    (home / "cifar-100-binary").mkdir()
    for name, data in cifar100_files("bin"):
        (home / "cifar-100-binary" / name).write_bytes(data)
    assert main(["data", "--dataset", dataset, "--data-dir", str(home)]) == 0
    out = capsys.readouterr().out
    assert f"{SOURCES[dataset].title} is in {find(dataset, home)}, whole: 15 training and 3 test images" in out


# -- batches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", [reference.augment, augmentation.augment], ids=["reference", "compiled"])
@pytest.mark.parametrize("C", [1, 3, 4])
def test_augmentation_is_a_crop_of_the_padded_normalised_image(augment, C):
    images, rng = some_images(9, size=7, channels=C), np.random.default_rng(1)
    shift, scale = rng.random((C, 7, 7), np.float32) * 255, np.float32([0.5, 1, 2, 3])[:C]
    index, (top, left), flip = rng.integers(0, 9, 40), rng.integers(0, 9, (2, 40)), rng.integers(0, 2, 40).astype(bool)
    x = augment(images, index, top, left, flip, 4, shift, scale)
    assert x.dtype == np.float32 and x.flags.c_contiguous
    for n in range(40):
        for c in range(C):
            for h in range(7):
                for w in range(7):
                    i, j = h + top[n] - 4, (6 - w if flip[n] else w) + left[n] - 4
                    inside = 0 <= i < 7 and 0 <= j < 7
                    pixel = (float(images[index[n], c, i, j]) - shift[c, i, j]) * scale[c] if inside else 0
                    assert x[n, c, h, w] == pytest.approx(pixel, rel=1e-6, abs=1e-5)


def test_both_kernels_augment_alike():
    images, rng = some_images(20), np.random.default_rng(1)
    arguments = rng.integers(0, 20, 64), *rng.integers(0, 9, (2, 64)), rng.integers(0, 2, 64).astype(bool), 4
    arguments = images, *arguments, rng.random((3, 32, 32), np.float32), np.float32([0.5, 1, 2])
    np.testing.assert_array_equal(reference.augment(*arguments), augmentation.augment(*arguments))


def test_without_rng_images_come_in_order_minus_the_mean_image_of_the_training_set():
    train_set = some_dataset(10)
    test_set = Dataset(some_images(7, 8, seed=1), [0, 1, 2, 0, 1, 2, 0], train_set.classes, train=train_set)
    got = list(batches(test_set, 3))
    assert [x.shape for x, _ in got] == [(3, 3, 8, 8), (3, 3, 8, 8), (1, 3, 8, 8)]
    x, labels = (np.concatenate(parts) for parts in zip(*got))
    np.testing.assert_allclose(x, (test_set.images - train_set.images.mean(axis=0)) / 255, atol=1e-6)
    np.testing.assert_array_equal(labels, test_set.labels)
    assert x.dtype == np.float32 and labels.dtype == np.int64


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_channel_normalisation_gives_each_colour_mean_0_and_deviation_1(channels):
    x, _ = next(batches(some_dataset(50, channels=channels), 50, normalise="channel"))
    np.testing.assert_allclose(x.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=(0, 2, 3)), 1, rtol=1e-5)


def test_an_epoch_holds_each_image_once_with_its_label():
    dataset = some_dataset(53)
    x, labels = (np.concatenate(parts) for parts in zip(*batches(dataset, 8, rng=0, augment=False)))
    plain = next(batches(dataset, 53))[0]
    source = [np.flatnonzero((plain == image).all(axis=(1, 2, 3))).item() for image in x]
    assert sorted(source) == list(range(53)) and source != sorted(source)
    np.testing.assert_array_equal(labels, dataset.labels[source])


def test_crops_and_flips_are_drawn_for_each_image_and_cover_all_places():
    """An image whose every pixel differs tells where it was cut and whether it was mirrored."""
    image = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)
    mean = np.zeros((3, 8, 8), np.float32)
    dataset = Dataset(np.repeat(image[None], 2000, axis=0), np.zeros(2000, int), ["a"])
    dataset.__dict__["pixel_mean"] = mean  # else every pixel would be its own mean
    x, _ = next(batches(dataset, 2000, rng=0))
    padded = np.pad(image * np.float32(1 / 255), ((0, 0), (4, 4), (4, 4)))
    counts = {}
    for piece in x:
        counts[piece.tobytes()] = counts.get(piece.tobytes(), 0) + 1
    for top in range(9):
        for left in range(9):
            crop = np.ascontiguousarray(padded[:, top : top + 8, left : left + 8])
            for piece in (crop, np.ascontiguousarray(crop[:, :, ::-1])):
                assert counts.pop(piece.tobytes(), 0) > 0, (top, left)
    assert not counts


def test_images_that_mean_something_else_in_a_mirror_are_not_mirrored():
    dataset = some_dataset(50, channels=1, mirror=False)
    for part in (dataset, dataset[:50]):
        (x, _), plain = next(batches(part, 50, rng=0)), next(batches(dataset, 50))[0]
        padded = np.pad(plain, ((0, 0), (0, 0), (4, 4), (4, 4)))
        crops = {padded[n, :, t : t + 8, l : l + 8].tobytes() for n in range(50) for t in range(9) for l in range(9)}
        assert all(image.tobytes() in crops for image in x)


def test_a_seed_gives_the_same_epoch_and_the_next_epoch_differs():
    dataset, rng = some_dataset(20), np.random.default_rng(7)
    first, again, second = (list(batches(dataset, 6, rng=state)) for state in (7, rng, rng))
    for (x, labels), (x_again, labels_again) in zip(first, again):
        np.testing.assert_array_equal(x, x_again)
        np.testing.assert_array_equal(labels, labels_again)
    assert any((a != b).any() for (a, _), (b, _) in zip(first, second))


def test_endless_batches_are_epoch_after_epoch_of_one_generator():
    dataset, rng = some_dataset(20), np.random.default_rng(7)
    epochs = [batch for _ in range(3) for batch in batches(dataset, 6, rng, normalise="channel")]
    for (x, labels), (x_again, labels_again) in zip(epochs, endless(dataset, 6, 7, normalise="channel")):
        np.testing.assert_array_equal(x, x_again)
        np.testing.assert_array_equal(labels, labels_again)
    with pytest.raises(ValueError, match="expected batch_size, a whole number of at least 1, got 0"):
        endless(dataset, 0, rng)


@pytest.mark.parametrize("start", [0, 1, 3, 4, 9])
def test_an_epoch_can_be_entered_in_the_middle(start):
    dataset, rngs = some_dataset(20), [np.random.default_rng(7) for _ in range(2)]
    whole = list(batches(dataset, 6, rngs[0]))[start:]
    rest = list(batches(dataset, 6, rngs[1], start=start))
    assert len(whole) == len(rest)
    for (x, labels), (x_rest, labels_rest) in zip(whole, rest):
        np.testing.assert_array_equal(x, x_rest)
        np.testing.assert_array_equal(labels, labels_rest)
    assert rngs[0].bit_generator.state == rngs[1].bit_generator.state


def test_an_epoch_draws_the_same_whatever_the_size_of_a_batch():
    dataset, states = some_dataset(20), []
    for size, drop_last in [(3, False), (20, True), (64, False)]:
        rng = np.random.default_rng(0)
        list(batches(dataset, size, rng, drop_last=drop_last))
        states.append(rng.bit_generator.state)
    assert states[0] == states[1] == states[2]


def test_drop_last_leaves_out_the_smaller_batch():
    assert [len(labels) for _, labels in batches(some_dataset(20), 6, drop_last=True)] == [6, 6, 6]


def test_images_are_not_written_to():
    dataset = some_dataset(20)
    before = dataset.images.copy()
    for x, _ in batches(dataset, 6, rng=0):
        x[:] = 0
    np.testing.assert_array_equal(dataset.images, before)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"batch_size": 0}, "expected batch_size, a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, "expected batch_size, a whole number of at least 1, got 2.5"),
        ({"batch_size": 4, "start": -1}, "expected start, a whole number of at least 0, got -1"),
        ({"batch_size": 11, "drop_last": True}, "expected a batch_size up to 10, .* with drop_last, got 11"),
        ({"batch_size": 4, "normalise": "mean"}, r"normalise='pixel_mean', 'channel' or \(shift, scale\), got 'mean'"),
        (
            {"batch_size": 4, "normalise": (np.zeros((3, 9, 9)), np.ones(3))},
            r"normalise=\(shift, scale\) for images of \(3, 8, 8\), got \(3, 9, 9\) and \(3,\)",
        ),
    ],
)
def test_batches_names_a_wrong_argument_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        batches(some_dataset(10), **arguments)


def test_batches_of_an_array_says_what_to_make_of_it():
    with pytest.raises(TypeError, match=r"expected a Dataset, got ndarray. Use Dataset\(images, labels, classes\)"):
        batches(some_images(4), 2)


def test_a_colour_that_never_changes_cannot_be_divided_by_its_deviation():
    dataset = Dataset(np.zeros((4, 3, 8, 8), np.uint8), [0, 0, 0, 0], ["a"])
    with pytest.raises(ValueError, match="a colour of .* is the same everywhere"):
        batches(dataset, 2, normalise="channel")
