"""What the wrong entries of a gradient bring to mind."""

import itertools
import math

import numpy as np


def ratio_and_guess(numeric, claimed, worst, channel, x_shape, y_per_x):
    """analytic / numeric at the worst entry, and what the wrong entries together bring to mind.

    ``x_shape`` is None where other entries are right: no size of x explains that.
    """
    if np.max(np.abs(claimed)) <= 1e-13 * np.max(np.abs(numeric)):
        return "0: it stayed zero. Is a path forgotten, or the gradient never added?"
    if numeric[worst] == 0:
        return "infinite: the slope is 0."
    error, ratio = claimed - numeric, claimed[worst] / numeric[worst] + 0.0  # no -0
    shown = f"{ratio:#.3g}".rstrip(".") if abs(ratio - 1) > 0.01 else f"{ratio:.7f}"
    same_factor = _proportional(error, numeric)
    small = np.allclose(claimed, numeric, rtol=1e-6, atol=1e-7 * np.max(np.abs(numeric)))
    if small and not (same_factor and len(error) > 1):
        return f"{shown}: the digits of float32 only. Is it rounded to float32, summed in it, or a small eps left out?"
    if same_factor:
        factor = max(abs(ratio), 1 / abs(ratio))
        if abs(ratio + 1) < 1e-4:
            return f"{shown}: a sign?"
        if abs(factor - round(factor)) > 1e-4 * factor or round(factor) == 1:
            return f"{shown}, the same factor everywhere." if len(error) > 1 else f"{shown}."
        many, y_per_x = ("too many", 0) if abs(ratio) > 1 else ("too few", y_per_x)
        return f"{shown}: a factor {round(factor)} {many}?{_as_sizes(round(factor), x_shape, y_per_x)}"
    if abs(ratio - 1) > 0.01 and np.allclose(np.sort(claimed), np.sort(numeric), rtol=1e-4):
        return f"{shown}: the right numbers in the wrong places. Transposed, or flipped?"
    channels = [channel == c for c in np.unique(channel)]
    if len(error) > 2 * len(channels):
        if all(_proportional(error[mine], numeric[mine]) for mine in channels):
            return f"{shown}: a factor of its own for each channel. A scale such as gamma?"
        if x_shape and all(np.ptp(error[mine]) < 1e-3 * np.max(np.abs(error)) for mine in channels):
            return f"{shown}: off by one number all over each channel. The path through the mean?"
    return f"{shown}."


def at_index(index):
    return "[" + ", ".join(map(str, index)) + "]"


def _proportional(a, b):
    return abs(a @ b) > (1 - 1e-6) * np.linalg.norm(a) * np.linalg.norm(b)


def _as_sizes(factor, x_shape, y_per_x):
    """ " N*H = 12." where that product of sizes of x is the factor; each x may also go into that many of y."""
    if y_per_x == factor:
        return f" y has {factor} entries for each of x. Their gradients are added up."
    x_shape = x_shape or ()
    names = {2: "ND", 4: "NCHW"}.get(len(x_shape), ["N", *(f"x.shape[{i}]" for i in range(1, len(x_shape)))])
    for count in range(1, len(x_shape) + 1):
        for axes in itertools.combinations(range(len(x_shape)), count):
            if math.prod(x_shape[axis] for axis in axes) == factor:
                return f" {'*'.join(names[axis] for axis in axes)} = {factor}."
    return ""
