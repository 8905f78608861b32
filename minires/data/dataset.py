"""A set of labelled images, checked once when it is made."""

import zlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from minires.checks import as_array, expected, instance, require, shown


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images with their labels.

    Parameters
    ----------
    images : uint8 array (N, C, H, W)
        Planes of 0 to 255: red, green and blue, 32 x 32 pixels, in CIFAR and the synthetic set; one, 28 x 28, in MNIST.
    labels : integer array (N,)
        Numbers of classes, 0 to len(classes) - 1; kept as int64.
    classes : sequence of str
        Their names.
    name : str
        For titles, logs and messages.
    train : Dataset, optional
        The set whose statistics normalise these images: for a test set its training set, for a training set itself
        (the default). A part, ``dataset[:45000]``, goes by the statistics of the whole.
    mirror : bool, default True
        Whether a mirrored image is one of the same class, so that ``batches`` may mirror it. A digit is not.

    Examples
    --------
    >>> from minires.data import synthetic
    >>> train_set, test_set = synthetic(train_size=200, test_size=50)
    >>> train_set[:150]
    Dataset('synthetic, training': 150 images of 3x32x32, 10 classes)
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple
    name: str = "images"
    train: "Dataset | None" = None
    mirror: bool = True

    def __post_init__(self):
        who, masked = f"Dataset {self.name!r}", np.ma.isMaskedArray(self.images) or np.ma.isMaskedArray(self.labels)
        require(not masked, who, "plain arrays", "a masked one", "Use .filled(0).")
        require(np.iterable(self.classes), who, "classes, names of classes", shown(self.classes))
        images, labels = as_array(who, "images", self.images), as_array(who, "labels", self.labels)
        classes = tuple(self.classes)
        hint = "Are they 0 to 1? Use (255 * images).round().astype(np.uint8); batches() normalises them."
        require(images.dtype == np.uint8, who, "images of uint8, 0 to 255", images.dtype, hint)
        nhwc = _is_nhwc(images.shape)
        hint = "Is it NHWC? Use images.transpose(0, 3, 1, 2)." if nhwc else ""
        hint = "Are they grey? Use images[:, None]." if images.ndim == 3 else hint
        fits = images.ndim == 4 and images.size and not nhwc
        require(fits, who, "images of shape (N, C, H, W)", images.shape, hint)
        hint = "Use the number of the class, such as labels.astype(np.int64)."
        require(labels.dtype.kind in "iu", who, "labels that are whole numbers", labels.dtype, hint)
        fits = labels.shape == images.shape[:1]
        require(fits, who, f"{len(images)} labels, one for each image", f"shape {labels.shape}")
        wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if wrong.size:
            got = f"{labels[wrong[0]]} for image {wrong[0]}"
            wanted = f"labels 0 to {len(classes) - 1} (there are {len(classes)} classes)"
            raise expected(who, wanted, got, "Labels count from 0.")
        if self.train is not None:
            instance(who, "train", self.train, Dataset, "a Dataset or None")
        if self.train is not None and self.train.images.shape[1:] != images.shape[1:]:
            raise expected(who, f"images of {_size(self.train.images)} as in train, {self.train!r}", _size(images))
        object.__setattr__(self, "images", np.require(images, requirements="CW"))
        object.__setattr__(self, "labels", labels.astype(np.int64))
        object.__setattr__(self, "classes", classes)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, part):
        """The images of a slice, or of an array of indices."""
        fits = isinstance(part, slice | list | np.ndarray)
        require(fits, repr(self), "a slice or an array of indices", shown(part), "See .images, .labels.")
        return replace(self, images=self.images[part], labels=self.labels[part], train=self.train or self)

    @cached_property
    def pixel_mean(self):
        """Mean image, float32 (C, H, W), 0 to 255."""
        total = np.zeros(self.images.shape[1:], np.int64)
        for part in self._parts():
            total += part.sum(axis=0, dtype=np.uint16)  # exact: 256 * 255 < 2**16
        return (total / len(self)).astype(np.float32)

    @cached_property
    def channel_mean_std(self):
        """Mean and standard deviation of each colour over all images and pixels, float32 (C,) each, 0 to 255."""
        total = squares = np.zeros(self.images.shape[1], np.int64)
        for part in self._parts():
            total = total + part.sum(axis=(0, 2, 3), dtype=np.int64)
            squares = squares + np.square(part, dtype=np.uint16).sum(axis=(0, 2, 3), dtype=np.int64)
        count = self.images[:, 0].size
        mean = total / count
        return mean.astype(np.float32), np.sqrt(squares / count - mean**2).astype(np.float32)

    def _parts(self, size=256):
        return (self.images[start : start + size] for start in range(0, len(self), size))

    def __repr__(self):
        return f"Dataset({self.name!r}: {len(self)} images of {_size(self.images)}, {len(self.classes)} classes)"


def fingerprint(dataset):
    """What tells one dataset from another, for the configuration of a run."""
    if dataset is None:
        return None
    return f"{len(dataset)} images, checksum {zlib.crc32(dataset.labels, zlib.crc32(dataset.images)):08x}"


def _size(images):
    return "x".join(map(str, images.shape[1:]))


def _is_nhwc(shape):
    """Whether (N, a, b, c) looks like a height, a width and one, three or four colours rather than C, H, W."""
    return len(shape) == 4 and shape[1] not in (1, 3) and shape[3] in (1, 3, 4) and shape[1] > shape[3] != shape[2]
