"""Datasets: their checks, the synthetic set, CIFAR-10 from every form it comes in, and the batches of an epoch."""

import hashlib
import io
import os
import pickle
import struct
import tarfile
import zlib

import numpy as np
import pytest

from minires.data import Dataset, batches, cifar10, endless, find_cifar10, load_cifar10, synthetic
from minires.kernels import reference
from minires.kernels.compiled import augmentation


def some_images(N, size=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (N, 3, size, size), np.uint8)


def some_dataset(N=10, size=8, **options):
    return Dataset(some_images(N, size), np.arange(N) % 3, ["a", "b", "c"], **options)


# -- Dataset ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (np.zeros((2, 3, 4, 4), np.float32), [0, 1], r"images of uint8, 0 to 255, got float32. .*255 \* images"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0, 1], r"\(N, 3, H, W\), got \(2, 4, 4, 3\). Is it NHWC"),
        (np.zeros((0, 3, 4, 4), np.uint8), [], r"\(N, 3, H, W\), got \(0, 3, 4, 4\)"),
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


def test_statistics_are_those_of_the_images():
    dataset = some_dataset(700, size=5)
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
    with pytest.raises(ValueError, match=f"synthetic: expected {next(iter(wrong))} to be a whole number"):
        synthetic(**{"train_size": 10, "test_size": 10, **wrong})


# -- CIFAR-10 ---------------------------------------------------------------------------------------------------

RECORDS = 3


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Batches of three images, and a user's folder with nothing in it."""
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)
    for name in ("MINIRES_DATA", "MINIRES_CIFAR10_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


IMAGES, LABELS = some_images(6 * RECORDS), (np.arange(6 * RECORDS) % 10).astype(np.uint8)


def binary_files():
    """{name: bytes} of the six files of the binary version."""
    records = np.c_[LABELS, IMAGES.reshape(len(IMAGES), -1)]
    return {f"{name}.bin": r.tobytes() for name, r in zip(cifar10.BATCHES, np.split(records, 6))}


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


def make_official(monkeypatch, path):
    """Take this archive for the official one."""
    monkeypatch.setattr(cifar10, "SIZE", path.stat().st_size)
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
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
    monkeypatch.setattr(cifar10.Path, "home", homeless)
    assert find_cifar10() is None
    with pytest.raises(FileNotFoundError, match="no CIFAR-10 in any place known"):
        load_cifar10()
    with pytest.raises(FileNotFoundError, match="Set MINIRES_DATA to a folder"):
        load_cifar10(download=True)


def test_the_download_goes_to_the_data_folder_and_is_read(archive, home, monkeypatch, capsys):
    asked = []

    def fetch(url, path, *, size, sha256, advice, progress):
        asked.append((url, size, sha256))
        path.parent.mkdir(parents=True)
        return archive.rename(path)

    monkeypatch.setattr(cifar10, "fetch", fetch)
    assert_is_cifar10(load_cifar10(data_dir=home / "new", download=True))
    assert asked == [(cifar10.URL, cifar10.SIZE, cifar10.SHA256)]
    assert "This server is slow: up to an hour" in capsys.readouterr().err
    assert_is_cifar10(load_cifar10(data_dir=home / "new", download=True))
    assert len(asked) == 1


def test_a_mirror_takes_the_place_of_the_official_address(home, monkeypatch, capsys):
    monkeypatch.setenv("MINIRES_CIFAR10_URL", "ftp://mirror/a")
    with pytest.raises(ValueError, match="got 'ftp://mirror/a'"):
        load_cifar10(download=True)
    assert "slow" not in capsys.readouterr().err


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
        ({"data_batch_2.bin": bytes(20_000)}, "data_batch_2.bin: expected up to 9,219 bytes, got 20,000"),
        ({"data_batch_2.bin": b"\x0a" * 9219}, "data_batch_2: expected labels 0 to 9"),
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
    with pytest.raises(FileNotFoundError, match=r"no .*data_batch_3.bin: expected six files"):
        load_cifar10(data_dir=folder)
    write_folder(folder, **{"data_batch_4.bin": b"\xff" * 9219})
    with pytest.raises(ValueError, match="data_batch_4: expected labels 0 to 9, got others"):
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
    for name, images, labels in zip(cifar10.BATCHES, np.split(IMAGES.reshape(-1, 3072), 6), np.split(LABELS, 6)):
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
        ({"data": np.zeros((3, 30)), "labels": [0, 1, 2]}, "an array of float64, and only whole numbers"),
        ({"data": np.array([{}]), "labels": [0, 1, 2]}, "an array of object, and only whole numbers"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}, r"expected data of uint8 \(3, 3072\) and 3 labels"),
        ({"data": np.zeros((3, 3072), np.uint8), "labels": ["a", "b", "c"]}, "and <U1"),
        ({"data": np.zeros((3, 3072), np.uint8), "labels": [0, 1, 200]}, "expected labels 0 to 9"),
        ([1, 2], "refused: 'list' object has no attribute 'items'"),
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
    with pytest.raises(ValueError, match="not a whole .tar.gz archive .* Fetch it again"):
        load_cifar10(data_file=path)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_python_archive_with_an_altered_byte_is_refused(home, place):
    path = write_python_archive(home / "cifar-10-python.tar.gz", pickle.dumps)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not a whole .tar.gz archive|refused"):
        load_cifar10(data_file=path)


# -- batches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", [reference.augment, augmentation.augment], ids=["reference", "compiled"])
def test_augmentation_is_a_crop_of_the_padded_normalised_image(augment):
    images, rng = some_images(9, size=7), np.random.default_rng(1)
    shift, scale = rng.random((3, 7, 7), np.float32) * 255, np.float32([0.5, 1, 2])
    index, (top, left), flip = rng.integers(0, 9, 40), rng.integers(0, 9, (2, 40)), rng.integers(0, 2, 40).astype(bool)
    x = augment(images, index, top, left, flip, 4, shift, scale)
    assert x.dtype == np.float32 and x.flags.c_contiguous
    for n in range(40):
        for c in range(3):
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


def test_channel_normalisation_gives_each_colour_mean_0_and_deviation_1():
    x, _ = next(batches(some_dataset(50), 50, normalise="channel"))
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
    with pytest.raises(ValueError, match="expected batch_size to be a whole number >= 1, got 0"):
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
        ({"batch_size": 0}, "expected batch_size to be a whole number >= 1, got 0"),
        ({"batch_size": 2.5}, "expected batch_size to be a whole number >= 1, got 2.5"),
        ({"batch_size": 4, "start": -1}, "expected start to be a whole number >= 0, got -1"),
        ({"batch_size": 11, "drop_last": True}, "expected a batch_size up to 10, .* with drop_last, got 11"),
        ({"batch_size": 4, "normalise": "mean"}, "expected normalise='pixel_mean' or 'channel', got 'mean'"),
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
