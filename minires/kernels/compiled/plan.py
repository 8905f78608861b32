"""How a convolution is cut up, and where each tap finds its pixels: what is decided before it begins.

* A *piece* of work is ``band`` rows of output of some images: as many as a core's L2 cache keeps the planes of.
* A *share* is some of the filters. There is one, all filters; but where pixels are few and filters many, one for each
  thread, since filters are then more to read than images.
* A *job* is one share of one piece. Kernels take a range of jobs, numbered share by share.
* A *part* is the jobs that one thread does, from ``start`` to ``stop``.

A plan depends on shapes and on the number of threads alone. What planes, taps and offsets are says
kernels/compiled/planes.py; kernels/compiled/winograd.py makes plans of its own from the same pieces.
"""

import math
from typing import NamedTuple

import numpy as np

from minires.kernels.compiled.planes import BLOCK, FILTERS, VECTOR, WIDE, ceil_div, whole_vectors
from minires.kernels.machine.compiler import compiled
from minires.kernels.machine.threads import num_threads

WORKSPACE = 224 * 1024  # numbers that the planes of one piece of work may hold: most of an L2 cache of 1 MB
FEW = 512  # pixels for a thread, below which threads share out the filters and not the images


class Task(NamedTuple):
    """What a plan is made for: a product of ``filters`` filters for each group, of so many channels, with images."""

    N: int
    channels: int
    filters: int
    out_size: tuple
    width: int  # of a row of the source
    taps: tuple  # as from find_taps
    phases: tuple
    cuts: tuple  # kind i of pixels is reached by the taps cuts[i] to cuts[i + 1]
    source: tuple  # step down and across in the source; rows above it and columns left of it
    step: tuple = (1, 1)  # from a pixel of the result to the next of its kind
    back: bool = False  # whether offsets are ordered by tap and then by channel, not the other way round
    pixelwise: bool = False  # whether every pixel of the result is a product of the one at its place
    sums: int = 0  # numbers that every piece of work adds to, in a weight gradient


class Plan(NamedTuple):
    """How a task is done.

    Kernels get the plain tuple, which takes a microsecond less to hand over than one with names, and name it again:
    ``plan = Plan(*plan)``. All plans begin with the same six fields.
    """

    images: int  # of a piece
    band: int  # rows of output of a piece
    out_rows: int
    filters: int  # of a group
    pieces: int
    shares: int
    rows: int  # of each plane
    pitch: int  # numbers from one row of a plane to the next
    plane: int  # numbers from one plane to the next
    length: int  # numbers of a result
    phases: np.ndarray
    source: tuple  # as in the task
    offset: np.ndarray  # of each tap and channel, in the planes
    cuts: np.ndarray
    step: tuple
    columns: int  # of the result, of one kind
    straight: bool  # whether what is computed has no gaps and is written where it belongs
    direct: bool  # whether x itself is the planes
    sizes: tuple  # numbers that a thread needs for planes and results


def plan_pieces(N, numbers_per_pixel, out_rows, pitch, more_rows, filters):
    """(images, band, shares).

    Planes of a piece should fit in L2. Among the sizes that do, the one that wastes least: on the last vector of pixels
    and on threads left idle.
    """
    threads = num_threads()
    shares = threads if ceil_div(N, threads) * out_rows * pitch < FEW and filters >= 2 * FILTERS * threads else 1
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


def pieces_of(N, images, out_rows, band):
    """Number of pieces."""
    return ceil_div(N, images) * ceil_div(out_rows, band)


def jobs(plan):
    """Number of jobs."""
    return plan.pieces * plan.shares


def gradient_parts(plan):
    """Number of partial weight gradients: one for each thread, unless each has filters of its own."""
    return 1 if plan.shares > 1 else min(num_threads(), plan.pieces)


def filters_in_fours(filters, shares):
    """The most filters that a share has, as whole fours."""
    return ceil_div(ceil_div(filters, 4), shares) * 4


@compiled
def job_of(number, plan):
    """(first image, first row, first and last filter) of a job; filters in fours"""
    bands, piece, share = ceil_div(plan.out_rows, plan.band), number % plan.pieces, number // plan.pieces
    fours = ceil_div(plan.filters, 4)
    first, last = fours * share // plan.shares * 4, min(fours * (share + 1) // plan.shares * 4, plan.filters)
    return piece // bands * plan.images, piece % bands * plan.band, first, last


def row_pitch(columns, more_columns, source_width, left):
    """Length of a padded row; the zeros that end it can be those that begin the next."""
    right = columns + more_columns - left - source_width
    return columns + more_columns - max(0, min(left, right, more_columns))


def is_straight(task, pitch):
    """Whether what is computed has no gaps between rows and is y itself, an image at a time.

    But where the last vector of pixels would be nearly empty, several images fill it. In the weight gradient it must be
    full, like the last four filters; and sums, the more so beyond L2, are not read for few pixels, unless those need no
    copy.
    """
    size = math.prod(task.out_size)
    if len(task.cuts) > 2 or pitch != task.out_size[1] or task.N < num_threads():
        return False
    if task.sums:
        enough = 12 if task.sums >= WORKSPACE // 2 else 1 if task.pixelwise else 4
        return task.filters % 4 == 0 and size % VECTOR == 0 and size >= enough * BLOCK
    return size >= 0.9 * whole_vectors(size)


def make_plan(task):
    """The Plan of a Task."""
    N, channels, filters, out_size, width, taps, phases, cuts, source, step, *_ = task
    kinds, kept = len(cuts) - 1, min(filters, FILTERS)
    more_rows = max(row for _, row, _ in taps)
    more_columns = max(column for _, _, column in taps)
    pitch = row_pitch(out_size[1], more_columns, width, source[3] if source[:2] == (1, 1) else 0)
    numbers = max(channels * len(phases), kinds * kept)  # of each pixel; results are kept until they are written
    straight = is_straight(task, pitch)
    direct = straight and task.pixelwise
    if straight:
        whole = BLOCK // math.gcd(BLOCK, pitch)  # rows are a whole number of blocks
        band = max(whole, (WORKSPACE // (numbers * pitch) - more_rows) // whole * whole)
        images, band, shares = 1, out_size[0] if direct else min(band, out_size[0]), 1
    else:
        images, band, shares = plan_pieces(N, numbers, out_size[0], pitch, more_rows, filters)
    rows, line = band + more_rows, images * pitch
    plane = whole_vectors(rows * line) | VECTOR  # an odd number of lines of the cache: else all planes share its sets
    if direct:
        plane = math.prod(out_size)
    of_tap = np.array([phase * plane + row * line + column for phase, row, column in taps])
    of_channel = np.arange(channels) * len(phases) * plane
    offset = np.add.outer(of_tap, of_channel) if task.back else np.add.outer(of_channel, of_tap)
    offset = np.pad(offset.ravel(), (0, -offset.size % WIDE), mode="edge")  # whole blocks; what is left over is cut off
    length = whole_vectors(band * line)
    if filters <= 4:  # the rest of a block would be computed for 8 filters
        length = ceil_div(length, BLOCK) * BLOCK
    room = 0 if direct else max(channels * len(phases) * plane, int(offset.max()) + length)
    results = 0 if straight else (filters_in_fours(filters, shares) if task.sums else kinds * kept) * length
    pieces = pieces_of(N, images, out_size[0], band)
    return Plan(
        *(images, band, out_size[0], filters, pieces, shares),
        *(rows, pitch, plane, length, np.array(phases), source, offset, np.array(cuts) * channels, step),
        *(out_size[1], straight, direct, (room, results)),
    )


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


def find_taps(kernel_size, stride, dilation):
    """(taps, phases): each tap as (index of its phase, row shift, column shift) on the planes of the image."""
    rows = [divmod(i * dilation[0], stride[0]) for i in range(kernel_size[0])]
    return lay_out([(a, row, j * dilation[1]) for row, a in rows for j in range(kernel_size[1])], stride)


def find_taps_back(kernel_size, stride, dilation, top, left):
    """Which taps reach a pixel of x, and from where: (order, taps, phases, cuts, before).

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
    return tuple(order), taps, phases, tuple(cuts), before
