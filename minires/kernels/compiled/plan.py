"""What is decided before a convolution begins: how it is cut into pieces, and where each tap finds its pixels.

A plan depends on shapes and on the number of threads alone, so it is made once for each and kept. What planes, taps and
offsets are says kernels/compiled/planes.py; kernels/compiled/winograd.py makes plans of its own from the same pieces.
"""

import functools
import math

import numpy as np

from minires.kernels.compiled.planes import BLOCK, FILTERS, VECTOR, WIDE, ceil_div, whole_vectors
from minires.kernels.machine.compiler import compiled
from minires.kernels.machine.threads import num_threads

WORKSPACE = 224 * 1024  # numbers that the planes of one piece of work may hold: most of an L2 cache of 1 MB
FEW = 512  # pixels for a thread, below which threads share out the filters and not the images


def plan_pieces(N, numbers_per_pixel, out_rows, pitch, more_rows, out_channels):
    """(images, band, shares): a piece of work is ``band`` output rows of ``images`` images; filters are in shares.

    There is one share, unless there are few pixels and many filters: then each thread reads all images, but only
    its own filters, which are more to read. Planes of a piece should fit in L2. Among the sizes that do, the one that
    wastes least: on the last vector of pixels and on threads left idle.
    """
    threads = num_threads()
    shares = threads if ceil_div(N, threads) * out_rows * pitch < FEW and out_channels >= 2 * FILTERS * threads else 1
    threads //= shares
    per_image = numbers_per_pixel * (out_rows + more_rows) * pitch
    if per_image > WORKSPACE or N < threads:
        band = max(WORKSPACE // (numbers_per_pixel * pitch) - more_rows, ceil_div(BLOCK, pitch))
        pieces_each = ceil_div(out_rows, min(band, ceil_div(out_rows, ceil_div(threads, N))))
        return 1, ceil_div(out_rows, pieces_each), shares

    def use(images):
        length = images * out_rows * pitch
        rounds = ceil_div(ceil_div(N, images), threads)
        return length / whole_vectors(length) * N / (rounds * threads * images)

    # Filters are read again for every block of pixels: where images are small, take several, if need be beyond L2. Not
    # more, although more may fit: their planes would only fill the cache (ResNet-20 at batch 128 took 3 % longer).
    several = min(ceil_div(12 * BLOCK, out_rows * pitch), 4 * WORKSPACE // per_image)
    most = max(1, min(several, ceil_div(N, threads)))
    return max(range(1, most + 1), key=lambda images: (round(use(images), 2), images)), out_rows, shares


def jobs(plan):
    """Number of jobs: a piece of the images with a share of the filters each."""
    *_, pieces, shares = plan
    return pieces * shares


def parts_of(plan):
    """Number of partial weight gradients: one for each thread, unless each has filters of its own."""
    *_, pieces, shares = plan
    return 1 if shares > 1 else min(num_threads(), pieces)


@compiled
def piece_of(job, pieces, images, band, out_rows, shares, filters):
    """(first image, first row, first and last filter) of a job, of which there are pieces * shares; filters in fours"""
    bands, piece, share, fours = ceil_div(out_rows, band), job % pieces, job // pieces, ceil_div(filters, 4)
    first, last = fours * share // shares * 4, min(fours * (share + 1) // shares * 4, filters)
    return piece // bands * images, piece % bands * band, first, last


def row_pitch(columns, more_columns, source_width, left):
    """Length of a padded row; the zeros that end it can be those that begin the next."""
    right = columns + more_columns - left - source_width
    return columns + more_columns - max(0, min(left, right, more_columns))


@functools.lru_cache(maxsize=1024)
def make_plan(
    N, channels, taps, phases, out_size, source_width, step, left, out_channels, pixelwise=False, kinds=0, sums=0
):
    """(plan, offset, phases, sizes) for taps ((phase, row shift, column shift), ...) on the planes of the source.

    Offsets are ordered by channel and then by tap; or, where a result has pixels of several ``kinds``, each with taps
    of its own, the other way round. ``pixelwise``: every pixel of y is a product of the one of x at its place. ``sums``
    is how many numbers every piece of work adds to. ``sizes``: of the workspaces of a thread, planes and results.
    """
    more_rows = max(row for _, row, _ in taps)
    more_columns = max(column for _, _, column in taps)
    pitch = row_pitch(out_size[1], more_columns, source_width, left if step == (1, 1) else 0)
    results = max(kinds, 1) * min(out_channels, FILTERS)  # kept as well, until they are written
    numbers = max(channels * len(phases), results)
    images, band, shares = plan_pieces(N, numbers, out_size[0], pitch, more_rows, out_channels)
    # Without gaps between rows, what is computed is y, and needs no other place, an image at a time; if every pixel is
    # a product of one of x, x is the plane as it is. But where the last vector of pixels would be nearly empty, several
    # images fill it. In the weight gradient it must be full, like the last four filters; and sums, the more so
    # beyond L2, are not read for few pixels, unless those need no copy.
    size = out_size[0] * out_size[1]
    straight = kinds <= 1 and pitch == out_size[1] and N >= num_threads()
    if sums:
        enough = 12 if sums >= WORKSPACE // 2 else 1 if pixelwise else 4
        straight = straight and out_channels % 4 == 0 and size % VECTOR == 0 and size >= enough * BLOCK
    else:
        straight = straight and size >= 0.9 * whole_vectors(size)
    direct = straight and pixelwise
    if straight:
        whole = BLOCK // math.gcd(BLOCK, pitch)  # rows are a whole number of blocks
        band = max(whole, (WORKSPACE // (numbers * pitch) - more_rows) // whole * whole)
        images, band, shares = 1, out_size[0] if direct else min(band, out_size[0]), 1
    rows = band + more_rows
    line = images * pitch
    plane = whole_vectors(rows * line) | VECTOR  # an odd number of lines of the cache: else all planes share its sets
    if direct:
        plane = size
    of_tap = np.array([phase * plane + row * line + column for phase, row, column in taps])
    of_channel = np.arange(channels) * len(phases) * plane
    offset = np.add.outer(of_tap, of_channel) if kinds else np.add.outer(of_channel, of_tap)
    offset = np.pad(offset.ravel(), (0, -offset.size % WIDE), mode="edge")  # whole blocks; what is left over is cut off
    length = whole_vectors(band * line)
    if out_channels <= 4:  # the rest of a block would be computed for 8 filters
        length = ceil_div(length, BLOCK) * BLOCK
    pieces = ceil_div(N, images) * ceil_div(out_size[0], band)
    room = 0 if direct else max(channels * len(phases) * plane, int(offset.max()) + length)
    results = ceil_div(ceil_div(out_channels, 4), shares) * 4 if sums else max(kinds, 1) * min(out_channels, FILTERS)
    sizes = room, 0 if straight else results * length
    plan = images, band, rows, pitch, length, plane, room, *out_size, int(straight), int(direct), pieces, shares
    return plan, offset, np.array(phases), sizes


def lay_out(taps, stride):
    """(taps, phases), for taps (row modulo stride, row shift, column): each gets the index of its phase instead.

    Along a row, taps of stride 1 share a plane and shift. With larger strides each column of taps has a plane of its
    own: that leaves no gaps between rows, and a vector of pixels begins where a line of the cache does.
    """
    if stride[1] == 1:
        taps = [((a, 0), row, column) for a, row, column in taps]
    else:
        taps = [((a, column), row, 0) for a, row, column in taps]
    phases = sorted({phase for phase, _, _ in taps})
    return tuple((phases.index(phase), row, column) for phase, row, column in taps), tuple(phases)


@functools.lru_cache(maxsize=1024)
def find_taps(kernel_size, stride, dilation):
    """(taps, phases): each tap as (index of its phase, row shift, column shift) on the planes of the image."""
    rows = [divmod(i * dilation[0], stride[0]) for i in range(kernel_size[0])]
    return lay_out([(a, row, j * dilation[1]) for row, a in rows for j in range(kernel_size[1])], stride)


@functools.lru_cache(maxsize=1024)
def find_taps_back(kernel_size, stride, dilation, top, left):
    """Which taps reach a pixel of x, and from where: (order, taps, phases, before, cuts).

    ``taps`` and ``phases`` are as from find_taps, in this ``order``; ``before`` is how many rows above y and columns
    left of it some tap sees.

    x[h, w] is seen by tap (i, j) from y[(h + top - i*d) / s, (w + left - j*d) / s], where that divides. So the pixels
    whose h and w leave the same remainders (a, b) by s are reached by the same taps, order[cuts[s*a + b] : ...], with
    the same shift from (h // s, w // s).
    """
    order, shifts, cuts = [], [], [0]
    for a in range(stride[0]):
        for b in range(stride[1]):
            for i in range(kernel_size[0]):
                for j in range(kernel_size[1]):
                    row, more = divmod(a + top - i * dilation[0], stride[0])
                    column, across = divmod(b + left - j * dilation[1], stride[1])
                    if more == across == 0:
                        order.append(i * kernel_size[1] + j)
                        shifts.append((row, column))
            cuts.append(len(order))
    before = down, across = tuple(-min(shift) for shift in zip(*shifts))
    taps, phases = lay_out([(0, row + down, column + across) for row, column in shifts], stride)
    return order, taps, phases, before, np.array(cuts)
