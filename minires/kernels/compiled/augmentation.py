"""Normalise, pad, crop and mirror a batch of images in one pass from their bytes to the x of the first layer."""

import numpy as np

from minires.kernels.compiled.shapes import expect
from minires.kernels.machine.compiler import as_compiled, compiled
from minires.kernels.machine.threads import over_threads


def augment(images, index, top, left, flip, pad, shift, scale):
    rows = {"top": (top, (len(index),)), "left": (left, (len(index),)), "flip": (flip, (len(index),))}
    expect("augment", **rows, shift=(shift, images.shape[1:]), scale=(scale, images.shape[1:2]))
    if len(index) and not 0 <= np.min(index) <= np.max(index) < len(images):
        raise IndexError(
            f"augment: expected indices from 0 to {len(images) - 1}, got {np.min(index)} to {np.max(index)}."
        )
    x = np.empty((len(index), *images.shape[1:]), np.float32)
    images, shift, scale, *pieces = map(as_compiled, (images, shift, scale, index, top, left, flip))
    over_threads(_augment, len(x), images, tuple(pieces), pad, shift, scale, x, work=x.size)
    return x


@compiled
def _augment(images, pieces, pad, shift, scale, x, start, stop):
    (_, C, H, W), (index, top, left, flip) = images.shape, pieces
    for n in range(start, stop):
        down, right = top[n] - pad, left[n] - pad  # pixel (h, w) of the piece is (h + down, w + right) of the image
        begin, end = max(0, -right), max(0, min(W, W - right))  # the w that lie in the image
        for c in range(C):
            for h in range(H):
                piece = x[n, c, h]
                piece[:] = 0
                if 0 <= h + down < H:
                    image = images[index[n], c, h + down, begin + right : end + right]
                    mean = shift[c, h + down, begin + right : end + right]
                    for w in range(image.size):
                        piece[begin + w] = (np.float32(image[w]) - mean[w]) * scale[c]
                    if flip[n]:
                        for w in range(W // 2):
                            piece[w], piece[W - 1 - w] = piece[W - 1 - w], piece[w]
