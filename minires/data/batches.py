"""From a Dataset to the batches of one epoch: shuffled, cropped, mirrored, normalised."""

from itertools import chain, count

import numpy as np

from minires import kernels
from minires.checks import expected, flag, generator, is_one_of, require, shown, whole
from minires.data.dataset import Dataset

PAD = 4  # pixels on every side, from which a crop of the original size is cut


def batches(dataset, batch_size, rng=None, *, augment=True, normalise="pixel_mean", start=0, drop_last=False):
    """Yield one epoch of (x, labels).

    With ``rng`` the images come in random order and, as in the papers, each padded with 4 zero pixels on all sides,
    cut back to its size at a random place, and, if ``dataset.mirror``, mirrored with probability 1/2. Without ``rng``
    nothing is random: the images come in order and as they are, for a test.

    An epoch draws the same numbers from ``rng`` whatever the size of a batch, all of them before the first batch. So
    one generator, handed in again for each epoch, gives the same training in every run; and an epoch can be entered in
    the middle: with the generator in the state it had before the epoch, ``start=k`` gives batches k, k + 1, ...

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
        Images per batch. The last batch of an epoch is smaller where the images do not come out even.
    rng : numpy.random.Generator or int, optional
    augment : bool, default True
        False: shuffle only.
    normalise : "pixel_mean", "channel" or a tuple of arrays (shift (C, H, W), scale (C,))
        x = (image - shift) * scale. "pixel_mean", as He et al.: the mean image of the training set (``dataset.train``)
        is subtracted; values of 0 to 255 are then divided by 255. "channel", as wide residual networks: of each colour
        the mean is subtracted, and the result divided by the standard deviation. Arrays: what given weights expect.
    start : int, default 0
        Number of batches to leave out.
    drop_last : bool, default False
        Leave out a smaller last batch.

    Shapes
    ------
    x : float32 (N, C, H, W);  labels : int64 (N,)

    References
    ----------
    He et al. 2015, section 4.2; Zagoruyko and Komodakis 2016, section 3.

    Examples
    --------
    >>> from minires.data import synthetic
    >>> train_set, test_set = synthetic(train_size=200, test_size=50)
    >>> [len(labels) for x, labels in batches(train_set, batch_size=128, rng=1)]
    [128, 72]
    """
    hint = "Use Dataset(images, labels, classes), or train_set and test_set of load_cifar10() and synthetic()."
    require(isinstance(dataset, Dataset), "batches", "a Dataset", type(dataset).__name__, hint)
    batch_size, start = whole("batches", "batch_size", batch_size, least=1), whole("batches", "start", start)
    N = len(dataset)
    wanted = f"a batch_size up to {N}, the images of {dataset!r}, with drop_last"
    require(not flag("batches", "drop_last", drop_last) or batch_size <= N, "batches", wanted, batch_size)
    shift, scale = normalisation(dataset, normalise)

    order, *places = _drawn(dataset, rng, flag("batches", "augment", augment))
    end = N - N % batch_size if drop_last else N

    def stream():
        for first in range(start * batch_size, end, batch_size):
            index, *where = (numbers[first : first + batch_size] for numbers in (order, *places))
            yield kernels.augment(dataset.images, index, *where, PAD, shift, scale), dataset.labels[index]

    return stream()


def _drawn(dataset, rng, augment):
    """(order, top, left, flip) of the images of an epoch."""
    N = len(dataset)
    order, top, left, flip = np.arange(N), np.full(N, PAD), np.full(N, PAD), np.zeros(N, bool)
    if rng is not None:
        rng = generator("batches", rng)
        order = rng.permutation(N)
        if augment:
            top, left = rng.integers(0, 2 * PAD + 1, size=(2, N))
            flip = rng.integers(0, 2, size=N).astype(bool) & dataset.mirror
    return order, top, left, flip


def endless(dataset, batch_size, rng, **options):
    """Yield batches for ever, epoch after epoch, each in an order of its own; ``options`` are those of ``batches``.

    Examples
    --------
    >>> from itertools import islice
    >>> from minires.data import synthetic
    >>> train_set, test_set = synthetic(train_size=200, test_size=50)
    >>> [len(labels) for x, labels in islice(endless(train_set, batch_size=128, rng=1), 5)]
    [128, 72, 128, 72, 128]
    """
    rng = generator("endless", rng)  # made once: a seed shall not give the same epoch again and again
    epochs = (batches(dataset, batch_size, rng, **options) for _ in count())
    return chain(next(epochs), chain.from_iterable(epochs))  # the first one at once, for its errors


def normalisation(dataset, normalise):
    """Return the arrays (shift (C, H, W), scale (C,)) with which ``batches`` makes x = (image - shift) * scale."""
    train = dataset.train or dataset
    if is_one_of(normalise, ["pixel_mean"]):
        return train.pixel_mean, np.full(len(train.pixel_mean), 1 / 255, np.float32)
    if is_one_of(normalise, ["channel"]):
        mean, std = train.channel_mean_std
        if not std.all():
            raise ValueError(f"batches: a colour of {train!r} is the same everywhere; use normalise='pixel_mean'.")
        return np.broadcast_to(mean[:, None, None], train.images.shape[1:]), 1 / std
    if isinstance(normalise, tuple) and len(normalise) == 2:
        shape, (shift, scale) = train.images.shape[1:], (np.asarray(part, np.float32) for part in normalise)
        fits = scale.shape == shape[:1] and shift.shape in (shape, (*shape[:1], 1, 1))
        require(fits, "batches", f"normalise=(shift, scale) for images of {shape}", f"{shift.shape} and {scale.shape}")
        return np.broadcast_to(shift, shape), scale
    raise expected("batches", "normalise='pixel_mean', 'channel' or (shift, scale)", shown(normalise))
