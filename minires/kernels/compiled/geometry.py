"""Where a moving window stands: the arithmetic that convolution and pooling share.

A kernel of k taps, d pixels apart, spans d*(k-1) + 1 pixels. On a row of ``size`` pixels with ``before`` and
``after`` more of padding it can stand at every s-th place where it still fits, which gives

    floor((size + before + after - d*(k-1) - 1) / s) + 1     places.
"""

import functools

from minires.checks import LARGEST, is_whole, require, shown

FARTHEST = 10**12  # of anything in pixels: the kernels count in 64 bits


def pair(name, value, least=1, most=FARTHEST):
    """Return ``value``, an int or a pair of ints, as the pair (vertical, horizontal).

    >>> pair("stride", 2)
    (2, 2)
    """
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    fits = len(sizes) == 2 and all(is_whole(size) and size >= least for size in sizes)
    require(fits, name, f"a whole number of at least {least}, or a pair of them", shown(value))
    require(max(sizes) <= most, name, f"a whole number of at most {most}", shown(value))
    return int(sizes[0]), int(sizes[1])


def span(kernel, dilation=1):
    """Pixels from the first tap of a kernel to its last, both included."""
    return dilation * (kernel - 1) + 1


def sides(name, padding, kernel_size, stride, dilation):
    """Return the padding of a convolution, an int, a pair, "valid" or "same", as ((top, bottom), (left, right)).

    "same" makes as many places as there are pixels: span - 1 more pixels in all, an odd one at the end.

    >>> sides("Conv2d", "same", (3, 4), (1, 1), (1, 1))
    ((1, 1), (1, 2))
    """
    if isinstance(padding, str) and padding == "valid":
        return (0, 0), (0, 0)
    if isinstance(padding, str) and padding == "same":
        if stride != (1, 1):
            raise ValueError(
                f'{name}: padding="same" keeps H and W, which needs stride 1, got stride={stride}. '
                "Give the padding as a number, kernel_size // 2 for an odd kernel."
            )
        both = [span(k, d) - 1 for k, d in zip(kernel_size, dilation)]
        return tuple((n // 2, n - n // 2) for n in both)
    if isinstance(padding, str):
        raise ValueError(f'{name}: expected padding "same", "valid", an int or a pair of ints, got {padding!r}.')
    return tuple((n, n) for n in pair(f"{name} padding", padding, 0, LARGEST))


def half_at_most(name, padding, kernel_size):
    """Return the padding of a pooling window as ((top, bottom), (left, right)); an error where it is over half."""
    pads = pair(f"{name} padding", padding, least=0)
    if any(p > k // 2 for p, k in zip(pads, kernel_size)):
        raise ValueError(
            f"{name}: expected padding of at most half the kernel, got padding={padding} "
            f"with kernel_size={kernel_size}. A window would see nothing but padding."
        )
    return tuple((p, p) for p in pads)


def output_size(size, kernel, stride=1, padding=(0, 0), dilation=1, ceil_mode=False):
    """Number of places along one axis at which the window stands; less than 1 where it does not fit.

    With ``ceil_mode`` (pooling) a last window may hang over the end, so the division rounds up; but a window that
    would start beyond the image, in the padding after it, is left out. ``padding`` is the pair (before, after).

    >>> output_size(32, kernel=3, stride=2, padding=(1, 1))
    16
    """
    room = size + sum(padding) - span(kernel, dilation)
    if not ceil_mode:
        return room // stride + 1
    places = -(-room // stride) + 1
    starts_beyond = (places - 1) * stride >= size + padding[0]
    return places - 1 if starts_beyond else places


def output_size_text(size, kernel, stride=1, padding=(0, 0), dilation=1, ceil_mode=False):
    """The arithmetic of :func:`output_size`, written out.

    >>> output_size_text(32, kernel=3, stride=2, padding=(1, 1))
    'floor((32 + 2*1 - 1*(3-1) - 1)/2) + 1 = 16'
    """
    before, after = padding
    padded = f"{size} + 2*{before}" if before == after else f"{size} + {before} + {after}"
    text = f"{'ceil' if ceil_mode else 'floor'}(({padded} - {dilation}*({kernel}-1) - 1)/{stride}) + 1"
    places = output_size(size, kernel, stride, padding, dilation, ceil_mode)
    room = size + before + after - span(kernel, dilation)
    if ceil_mode and places < -(-room // stride) + 1:
        text += " - 1 (it would start in the padding)"
    return f"{text} = {places}"


def output_sizes(who, image_size, kernel_size, stride, pad, dilation, ceil_mode=False):
    """Return (Ho, Wo) for images of size (H, W); where the kernel does not fit, an error in the name of ``who``."""
    Ho, Wo = _places(tuple(image_size), tuple(kernel_size), stride, pad, dilation, ceil_mode)
    if Ho < 1 or Wo < 1:
        kernel = " x ".join(str(span(k, d)) for k, d in zip(kernel_size, dilation))
        padded = " x ".join(str(size + sum(padding)) for size, padding in zip(image_size, pad))
        raise ValueError(
            f"{who}: the kernel spans {kernel} pixels, but the padded image has only {padded}. "
            "Use a smaller kernel (or dilation), more padding, or larger images."
        )
    return Ho, Wo


@functools.lru_cache(maxsize=1024)
def _places(image_size, kernel_size, stride, pad, dilation, ceil_mode):
    pairs = kernel_size, stride, dilation  # a layer's attributes: somebody may have assigned to them
    fits = all(isinstance(p, tuple) and len(p) == 2 and all(is_whole(n) and n > 0 for n in p) for p in pairs)
    require(fits, "kernel_size, stride, dilation", "pairs of whole numbers of at least 1", shown(pairs))
    return tuple(map(output_size, image_size, kernel_size, stride, pad, dilation, (ceil_mode, ceil_mode)))
