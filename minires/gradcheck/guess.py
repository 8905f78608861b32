"""What the wrong entries of a gradient bring to mind."""

import itertools
import math

import numpy as np


def ratio_and_guess(numeric, claimed, worst, channel, x_shape, y_shape):
    """analytic / numeric at the worst entry, and what the wrong entries together bring to mind."""
    if not np.any(claimed):
        return "0: it stayed zero. Is a path forgotten, or the gradient never added?"
    if numeric[worst] == 0:
        return "infinite: the slope is 0."
    ratio = claimed[worst] / numeric[worst]
    shown = f"{ratio:#.3g}" if abs(ratio - 1) > 0.01 else f"{ratio:.8f}"
    if np.allclose(claimed, numeric, rtol=1e-6, atol=0):
        return f"{shown}: the digits of float32 only. Is it rounded to float32, or summed in it?"
    if _proportional(claimed, numeric):
        factor = max(abs(ratio), 1 / abs(ratio))
        if abs(ratio + 1) < 1e-4:
            return f"{shown}: a sign?"
        if abs(factor - round(factor)) > 1e-4 * factor or round(factor) == 1:
            return f"{shown}, the same factor everywhere."
        many = "too many" if abs(ratio) > 1 else "too few"
        return f"{shown}: a factor {round(factor)} {many}?{_as_sizes(round(factor), x_shape, y_shape)}"
    if np.allclose(np.sort(claimed), np.sort(numeric), rtol=1e-4):
        return f"{shown}: the right numbers in the wrong places. Transposed, or flipped?"
    error, channels = claimed - numeric, [channel == c for c in np.unique(channel)]
    if len(error) > 2 * len(channels):
        if all(_proportional(claimed[mine], numeric[mine]) for mine in channels):
            return f"{shown}: a factor of its own for each channel. A scale such as gamma?"
        if all(np.ptp(error[mine]) < 1e-3 * np.max(np.abs(error)) for mine in channels):
            return f"{shown}: off by one number all over each channel. The path through the mean?"
    return f"{shown}."


def at_index(index):
    return "[" + ", ".join(map(str, index)) + "]"


def _proportional(a, b):
    return abs(a @ b) > (1 - 1e-8) * np.linalg.norm(a) * np.linalg.norm(b)


def _as_sizes(factor, x_shape, y_shape):
    """ " N*H = 12." where that product of sizes of x is the factor; each x may also go into that many of y."""
    x_size, y_size = math.prod(x_shape), math.prod(y_shape)
    if y_size == factor * x_size:
        return f" y has {factor} entries for each of x. Their gradients are added up."
    names = "NCHW" if len(x_shape) == 4 else "ND" if len(x_shape) == 2 else "N" if x_shape else ""
    for count in range(1, len(names) + 1):
        for axes in itertools.combinations(range(len(names)), count):
            if math.prod(x_shape[axis] for axis in axes) == factor:
                return f" {'*'.join(names[axis] for axis in axes)} = {factor}."
    return ""
