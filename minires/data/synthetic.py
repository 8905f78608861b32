"""A synthetic set of ten classes, made from a seed in a second or two: what everything runs on without a download.

Each image shows one of ten shapes at a random place, turned, stretched and textured, on a textured ground with
clutter, in uneven light and noise. The shape is lighter than its ground, but colours say next to nothing about the
class: the outline does, and telling outlines apart takes several layers. Most images are clear; in some the shape all
but disappears, so that the error stays above zero.

Every number comes from additions, products, quotients, roots and comparisons of float32 values, which all processors
round alike: a seed gives the same bytes everywhere. (Sines and logarithms would not.)
"""

import numpy as np

from minires.checks import sizes, whole
from minires.data.dataset import Dataset

SIDE = 32  # pixels

# How hard the set is.
RADIUS = 8.0, 12.0  # of a shape, in pixels
TURN = 0.16  # largest turn of a shape, as the tangent of half the angle: 18 degrees to either side
STRETCH = 1.25  # largest ratio of a shape's sides
FADE = 0.97  # part of the contrast that the hardest images lose
NOISE = 0.12  # standard deviation of the noise in the hardest images, of a range of 1
TEXTURE = 0.2  # range of the textures
CLUTTER = 2  # small pieces before which the shape stands


def synthetic(train_size=10_000, test_size=2_000, seed=0):
    """Return a synthetic set as (train_set, test_set).

    Parameters
    ----------
    train_size, test_size : int
        Numbers of images. The classes are equally frequent. The test set does not depend on the training set's size.
    seed : int, default 0

    Examples
    --------
    >>> train_set, test_set = synthetic(train_size=100, test_size=50)
    >>> train_set
    Dataset('synthetic, training': 100 images of 3x32x32, 10 classes)
    """
    train_size, test_size = sizes("synthetic", train_size=train_size, test_size=test_size)
    seed = whole("synthetic", "seed", seed)
    train_set = Dataset(*_images(train_size, np.random.default_rng([seed, 0])), SHAPES, "synthetic, training")
    test_images = _images(test_size, np.random.default_rng([seed, 1]))
    return train_set, Dataset(*test_images, SHAPES, "synthetic, test", train=train_set)


def _images(size, rng, at_once=100):
    """(images, labels); one class at a time, few enough images at once to stay in the processor's cache."""
    labels = rng.permutation(np.arange(size) % len(SHAPES))
    images = np.empty((size, 3, SIDE, SIDE), np.uint8)
    for label, shape in enumerate(SHAPES.values()):
        where = np.flatnonzero(labels == label)
        for start in range(0, len(where), at_once):
            some = where[start : start + at_once]
            images[some] = _draw(shape, len(some), rng)
    return images, labels


def _draw(shape, N, rng):
    """N images (N, 3, SIDE, SIDE) of one shape, painted from back to front."""
    hardness = _uniform(rng, 0, 1, N, 1, 1, 1)
    hardness = hardness * hardness * hardness  # mostly small; and ** 3 would be a logarithm
    ground = _uniform(rng, 0.1, 0.55, N, 3, 1, 1)
    colour = ground + (1 - FADE * hardness) * _uniform(rng, 0.15, 0.6, N, 3, 1, 1)

    image = _textured(rng, ground)
    for _ in range(CLUTTER):
        u, v, radius = _place(rng, N, (1.2, 4.0), turn=1.0, stretch=2.5)
        round_or_square = np.where(rng.integers(0, 2, (N, 1, 1)), _length(u, v), _larger(u, v))
        _paint(image, _uniform(rng, 0, 1, N, 3, 1, 1), round_or_square - 1, radius)
    u, v, radius = _place(rng, N, RADIUS, TURN, STRETCH)
    _paint(image, _textured(rng, colour), shape(u, v), radius)

    image *= 1 + _ramp(rng, N, 0.0, 0.025)[:, None]  # light from one side
    noise = np.frombuffer(rng.bytes(2 * image.size), np.int8).reshape(2, *image.shape)
    noise = (noise[0].astype(np.float32) + noise[1]) / 104.5  # near normal, standard deviation 1
    image += NOISE * hardness * noise
    return np.clip(255 * image + np.float32(0.5), 0, 255).astype(np.uint8)


# -- shapes: how far outside its outline the point (u, v) lies, negative inside; radius about 1 ---------------------


def _star(u, v):
    """Five lines make a pentagram: a point is inside if it is on the inner side of at least four."""
    largest = second = np.full_like(u, -9)
    for a, b in [(0, 1), (0.951, 0.309), (0.588, -0.809), (-0.588, -0.809), (-0.951, 0.309)]:
        height = a * u + b * v
        largest, second = np.maximum(largest, height), np.maximum(second, np.minimum(largest, height))
    return second - 0.38


def _square(u, v):
    return _larger(u, v) - 0.8


SHAPES = {
    "disc": lambda u, v: _length(u, v) - 0.95,
    "ring": lambda u, v: abs(_length(u, v) - 0.72) - 0.25,
    "triangle": lambda u, v: np.maximum(0.866 * abs(u) + 0.5 * v, -v) - 0.55,
    "square": _square,
    "frame": lambda u, v: abs(_larger(u, v) - 0.65) - 0.22,
    "cross": lambda u, v: np.maximum(_larger(u, v) - 1, np.minimum(abs(u), abs(v)) - 0.33),
    "star": _star,
    "crescent": lambda u, v: np.maximum(_length(u, v) - 1, 0.75 - _length(u - 0.5, v)),
    "dome": lambda u, v: np.maximum(_length(u, v) - 1.1, -0.15 - v),
    "corner": lambda u, v: np.maximum(_square(u, v), np.minimum(u + 0.25, 0.25 - v)),
}


def _length(u, v):
    return np.sqrt(u * u + v * v)


def _larger(u, v):
    return np.maximum(abs(u), abs(v))


# -- pencils and brushes: everything float32, random for each image ---------------------------------------------


PIXELS = np.arange(SIDE, dtype=np.float32) - np.float32((SIDE - 1) / 2)  # from the centre of the image


def _uniform(rng, low, high, *shape):
    return np.float32(low) + np.float32(high - low) * rng.random(shape, dtype=np.float32)


def _direction(rng, N, turn=1.0):
    """(cosine, sine) of an angle of up to 2 atan(turn) to either side, without either function."""
    t = _uniform(rng, -turn, turn, N, 1, 1)
    return (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)


def _place(rng, N, radius, turn, stretch):
    """Coordinates (u, v) of the pixels, seen from a shape of the given range of radii, and its radius."""
    cosine, sine = _direction(rng, N, turn)
    radius = _uniform(rng, *radius, N, 1, 1)
    ratio = _uniform(rng, 1 / stretch, stretch, N, 1, 1)
    margin = np.float32(SIDE / 2) - radius
    x = PIXELS - margin * _uniform(rng, -1, 1, N, 1, 1)
    y = PIXELS[:, None] - margin * _uniform(rng, -1, 1, N, 1, 1)
    return (cosine * x + sine * y) / radius, (cosine * y - sine * x) * (ratio / radius), radius


def _paint(image, colour, outside, radius):
    """Cover the inside of a shape with a colour; pixels on the outline are covered in part."""
    cover = np.clip(np.float32(0.5) - outside * radius, 0, 1)
    image += cover[:, None] * (colour - image)


def _textured(rng, colour):
    """A colour (N, 3, 1, 1) that changes from place to place: in clouds, in stripes, or in between."""
    clouds = _clouds(rng, len(colour))
    pattern = clouds + _uniform(rng, 0, 1, len(colour), 1, 1) * (_stripes(rng, len(colour)) - clouds)
    return colour + (pattern - np.float32(0.5))[:, None] * _uniform(rng, -TEXTURE, TEXTURE, len(colour), 3, 1, 1)


def _ramp(rng, N, least, most):
    """A plane through 0 at the centre of the image, in a random direction, rising by ``least`` to ``most`` a pixel."""
    cosine, sine = _direction(rng, N)
    slope = _uniform(rng, least, most, N, 1, 1) * (2 * rng.integers(0, 2, (N, 1, 1)) - 1).astype(np.float32)
    return (cosine * slope) * PIXELS + (sine * slope) * PIXELS[:, None]


def _stripes(rng, N):
    phase = _ramp(rng, N, 0.06, 0.22) + _uniform(rng, 0, 1, N, 1, 1)
    return abs(2 * (phase - np.floor(phase)) - 1)


def _clouds(rng, N):
    """Random values on a coarse grid, then finer and finer grids in between, with smaller and smaller changes."""
    field = rng.random((N, 3, 3), dtype=np.float32)
    for side, change in ((5, 0.3), (9, 0.18), (17, 0.11), (33, 0)):
        finer = np.empty((N, side, side), np.float32)
        finer[:, ::2, ::2] = field
        finer[:, 1::2, ::2] = (field[:, 1:] + field[:, :-1]) / 2
        finer[:, :, 1::2] = (finer[:, :, 2::2] + finer[:, :, :-1:2]) / 2
        field = finer + _uniform(rng, -change, change, N, side, side) if change else finer
    return field[:, :SIDE, :SIDE]
