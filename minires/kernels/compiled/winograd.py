r"""Convolution with three-row kernels in half the multiplications ([Winograd1980], [Lavin2015]).

Four rows of output of a kernel with three rows take 4*3 = 12 products of rows, in the definition. Seen as the product
of two polynomials, kernel and image, 6 are enough: evaluate both at 6 points (0, 1, -1, 2, -2 and "infinity"), multiply
point by point, interpolate:

.. math::
    y = A^T \left[ (G w) \odot (B^T x) \right]

with x six rows of the padded image, w the three rows of the kernel, y four rows of output, and

.. math::
    A^T = \begin{bmatrix} 1&1&1&1&1&0 \\ 0&1&-1&2&-2&0 \\ 0&1&1&4&4&0 \\ 0&1&-1&8&-8&1 \end{bmatrix}, \quad
    B^T = \begin{bmatrix} 4&0&-5&0&1&0 \\ 0&-4&-4&1&1&0 \\ 0&4&-4&-1&1&0 \\
          0&-2&-1&2&1&0 \\ 0&2&-1&-2&1&0 \\ 0&4&0&-5&0&1 \end{bmatrix}, \quad
    G = \begin{bmatrix} 1/4&0&0 \\ -1/6&-1/6&-1/6 \\ -1/6&1/6&-1/6 \\
        1/24&1/12&1/6 \\ 1/24&-1/12&1/6 \\ 0&0&1 \end{bmatrix}.

B^T and A^T need additions and a few multiplications by 4, 5 and 8, once for each channel and not for each pair of
channels; G w is computed once for all images. The sum over channels and over the columns of the kernel stays what it
was: for each of the six points one product with shifted rows, as in kernels/compiled/planes.py, but with rows that hold
a quarter of the pixels.

The derivatives are those of the formula, read from right to left: for the weights

.. math::
    dw = G^T \left[ \sum (A\, dy) \odot (B^T x) \right],

and dx is again a convolution of dy with three-row kernels. Rounding errors are several times those of the definition
(1e-6 instead of 1e-7 of the largest output in float32), since B^T takes differences of neighbouring rows.

So a row can leave traces in outputs that do not see it: those of the same six rows and the same columns. An output
whose own three rows are all 0 would not come out as 0, and one beside a much larger row would lose digits. Where images
are so uneven, they are left to the product of the definition (kernels/compiled/direct.py): while x is read, the squares
of each two rows are summed, over all channels and, lane by lane, over every so many columns as a vector has lanes. An
output sees both rows of one of the three pairs in its tile. If in any lane the root of all three sums is more than 32
times that of one of them, the images of this piece are set apart. (For the weights dy is treated likewise.) So what
sees only zeros comes out as zero, and an error is at most some 32 * eps times the norms of w and of what is seen in the
same lanes. Numbers whose squares are 0, below 1e-22 in float32, count as zeros.

References
----------
.. [Winograd1980] S. Winograd, "Arithmetic Complexity of Computations", SIAM, 1980.
.. [Lavin2015] Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308, section 4.
"""

import functools
from typing import NamedTuple

import numpy as np

from minires.kernels.compiled.plan import (
    filters_in_fours,
    gradient_parts,
    job_of,
    jobs,
    pieces_of,
    plan_pieces,
    row_pitch,
)
from minires.kernels.compiled.planes import (
    AHEAD,
    BLOCK,
    FILTERS,
    NEVER,
    NO,
    VECTOR,
    WIDE,
    ceil_div,
    multiply,
    multiply_transposed,
    whole_vectors,
)
from minires.kernels.machine.blocks import (
    add_each,
    add_squares,
    any_larger,
    inside,
    linear_map,
    load_each,
    load_each_some,
    steps,
    store_each,
    store_each_some,
    sum_of,
    zeros_each,
)
from minires.kernels.machine.compiler import compiled
from minires.kernels.machine.memory import workspaces
from minires.kernels.machine.threads import num_threads, over_parts, over_phases, over_threads
from minires.kernels.machine.vectors import add, fetch, lanes, load, multiply_add, total_of, zeros

POINTS, ROWS = 6, 4  # products for each tile, and the rows of output it gives
SEEN = ROWS + 2  # rows of x that a tile sees
OWN = 224 * 1024  # numbers: kernels at the points are made by each thread for itself, where its L2 can keep them
UNEVEN = 32.0  # times: how much larger a tile's rows may be than two that an output sees

A = np.array([[1, 0, 0, 0], [1, 1, 1, 1], [1, -1, 1, -1], [1, 2, 4, 8], [1, -2, 4, -8], [0, 0, 0, 1]])
B = np.array(
    [
        [4, 0, 0, 0, 0, 0],
        [0, -4, 4, -2, 2, 4],
        [-5, -4, -4, -1, -1, 0],
        [0, 1, -1, 2, -2, -5],
        [1, 1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
)
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24

rows_to_points, points_to_rows = linear_map(B.T), linear_map(A.T)
kernel_to_points, rows_to_points_transposed, points_to_kernel = linear_map(G), linear_map(A), linear_map(G.T)


class Plan(NamedTuple):
    """How a convolution is done; band and out_rows are in tiles, of four rows."""

    images: int
    band: int
    out_rows: int
    filters: int
    pieces: int
    shares: int
    pitch: int
    length: int  # numbers of a channel at one point
    region: int  # numbers from one point to the next
    offset: np.ndarray  # of each channel and column of the kernel
    pad: tuple  # rows above and columns left
    sizes: tuple  # numbers that a thread needs for x at the points, for products there, and for the sizes of rows


class Room(NamedTuple):
    """Where threads compute, a row for each; what is 0 unless results may be not finite; which images are set apart."""

    points: np.ndarray
    products: np.ndarray
    sizes: np.ndarray
    kernels: np.ndarray
    doubts: np.ndarray
    apart: np.ndarray


# -- to the six points and back ---------------------------------------------------------------------------------------

# Both keep their numbers by channel, tile (4 rows of output), image of the piece, and column of the padded row. Images
# are read and written from their first number to their last, so that memory can be asked for ahead. A row that is
# no whole number of vectors ends with "some" columns; a row outside the image has none, and reads as zeros.


@compiled
def evaluate(x, points, sizes, channels, image, tile, plan):
    """points[a, c, t, g, left + column] = (B^T rows)[a] for the six rows of x that tile t of image g sees

    What lies outside the image is 0. Columns outside are never written: they are 0 from the start.
    """
    images, tiles, pitch, (top, left) = plan.images, plan.band, plan.pitch, plan.pad
    N, C, H, W = x.shape
    flat, n = x.ravel(), lanes(x)
    begin, end = max(0, -left), min(W, pitch - left)
    rows, at_points = steps(0, SEEN, W, SEEN), steps(0, POINTS, plan.region, POINTS)
    of_tile, of_last = steps(0, 2, n, 2), steps(2, 2, n, 1)  # in sizes, a vector for each two rows
    for g in range(images):
        height = H if image + g < N else 0
        for c in range(channels[0], channels[1]):
            for t in range(tiles):
                h = ROWS * (tile + t) - top
                line = (((image + g) * C + c) * H + h) * W
                for i in range(line + AHEAD, line + AHEAD + ROWS * W, n):
                    fetch(flat, i)
                position = left + (((c - channels[0]) * tiles + t) * images + g) * pitch
                at = (g * (2 * tiles + 1) + 2 * t) * n
                size, more = load_each(sizes, of_tile, at), load_each(sizes, of_last, at)
                for q in range(begin, end, n):
                    count = end - q
                    if h >= 0 and h + SEEN <= height and count >= n:
                        seen = load_each(flat, rows, line + q)
                    else:
                        seen = load_each_some(flat, rows, line + q, inside(h, height, count, SEEN))
                    size = add_squares(size, seen[:ROWS])  # the next tile sees the other two again
                    if t == tiles - 1:
                        more = add_squares(more, seen[ROWS:])
                    store_each_some(points, at_points, position + q, rows_to_points(seen), count)
                store_each(sizes, of_tile, at, size)
                if t == tiles - 1:
                    store_each(sizes, of_last, at, more)


@compiled
def interpolate(products, y, channels, image, tile, plan):
    """y[image + g, channels[0] + o, 4*(tile + t) : 4*(tile + t) + 4] = A^T products[:, o, t, g]"""
    images, pitch = plan.images, plan.pitch
    N, C, H, W = y.shape
    flat, n, plane = y.ravel(), lanes(y), products.shape[2]
    rows, at_points = steps(0, ROWS, W, ROWS), steps(0, POINTS, products.shape[1] * plane, POINTS)
    for g in range(min(images, N - image)):
        for c in range(channels[0], channels[1]):
            for t in range(min(plan.band, plan.out_rows - tile)):
                h = ROWS * (tile + t)
                line = (((image + g) * C + c) * H + h) * W
                position = (c - channels[0]) * plane + (t * images + g) * pitch
                for q in range(0, W, n):
                    found = points_to_rows(load_each(products, at_points, position + q))
                    store_each_some(flat, rows, line + q, found, inside(h, H, W - q, ROWS))


@compiled
def interpolate_transposed(dy, dproducts, sizes, channels, image, tile, plan):
    """dproducts[:, o, t, g] = A dy[image + g, channels[0] + o, 4*(tile + t) : 4*(tile + t) + 4]"""
    images, tiles, pitch = plan.images, plan.band, plan.pitch
    N, C, H, W = dy.shape
    flat, n, plane = dy.ravel(), lanes(dy), dproducts.shape[2]
    rows, at_points = steps(0, ROWS, W, ROWS), steps(0, POINTS, dproducts.shape[1] * plane, POINTS)
    of_tile = steps(0, 2, n, 2)
    for g in range(images):
        height = H if image + g < N else 0
        for c in range(channels[0], channels[1]):
            for t in range(tiles):
                h = ROWS * (tile + t)
                line = (((image + g) * C + c) * H + h) * W
                for i in range(line + AHEAD, line + AHEAD + ROWS * W, n):
                    fetch(flat, i)
                position = (c - channels[0]) * plane + (t * images + g) * pitch
                at = (g * (2 * tiles + 1) + 2 * t) * n
                size = load_each(sizes, of_tile, at)
                for q in range(0, W, n):
                    seen = load_each_some(flat, rows, line + q, inside(h, height, W - q, ROWS))
                    size = add_squares(size, seen)
                    store_each_some(dproducts, at_points, position + q, rows_to_points_transposed(seen), W - q)
                store_each(sizes, of_tile, at, size)


@compiled
def set_apart(sizes, apart, pairs, image, tile, plan, out_rows):
    """Whether two rows in a tile of this piece are small beside its ``pairs`` of rows; the sizes are then forgotten."""
    n, found, dtype = lanes(sizes), False, sizes.dtype.type
    none = zeros(sizes)
    for g in range(min(plan.images, apart.size - image)):
        for t in range(plan.band):
            at, left = (g * (2 * plan.band + 1) + 2 * t) * n, out_rows - ROWS * (tile + t)
            seen = min(pairs, (left + pairs - 1) // 2)  # those that some row of output sees, or is in
            total = none
            for i in range(seen):
                total = add(total, load(sizes, at + i * n))
            for i in range(seen):
                found |= any_larger(total, dtype(UNEVEN**2), load(sizes, at + i * n))
    if found:
        apart[image : image + plan.images] = True
    sizes[: plan.images * (2 * plan.band + 1) * n] = 0
    return found


@compiled
def fill_points(weight, points, start, stop):
    """points[:, g, o, (c, j)] = G weight[g, o, c, :, j], for the rows (g, o)"""
    _, O, C, _, kw = weight.shape
    for row in range(start, stop):
        g, o = row // O, row % O
        for c in range(C):
            w = weight[g, o, c]
            for j in range(kw):
                found = kernel_to_points((w[0, j], w[1, j], w[2, j]))
                for a in range(POINTS):
                    points[a, g, o, c * kw + j] = found[a]


@compiled
def fill_own_points(weight, turned, points):
    """The same in vectors, for points that the cache of this core holds; ``turned``: as for conv2d.

    Where points come from further away, this is slower: a store of some numbers of a line must wait for the line.
    """
    groups, O, C, _, kw = weight.shape
    _, _, rows, taps = points.shape
    w, n, at_points = weight.ravel(), lanes(points), steps(0, POINTS, groups * rows * taps, POINTS)
    of_kernel = (2 * kw, kw, 0) if turned else (0, kw, 2 * kw)
    step = 3 * kw * (C if turned else 1)  # from one kernel to the next
    for row in range(groups * rows):
        i, j = 3 * kw * (row // rows * O * C + row % rows if turned else row * C), row * taps
        for _ in range(taps // kw):
            for q in range(0, kw, n):
                seen = load_each_some(w, of_kernel, i + q, kw - q)
                store_each_some(points, at_points, j + q, kernel_to_points(seen), kw - q)
            i, j = i + step, j + kw


@compiled
def empty_points(points, weight, start, stop):
    """weight[g, o, c, :, j] = G^T sum over parts of points[part, :, g, o, (c, j)], for the rows (g, o)

    Returns a number that is 0 unless something in there is not finite.
    """
    parts, _, _, rows, taps = points.shape
    groups, O, C, _, kw = weight.shape
    w, n, point, doubt = weight.ravel(), lanes(points), groups * rows * taps, zeros(points)
    at_points, of_kernel = steps(0, POINTS, point, POINTS), steps(0, 3, kw, 3)
    for row in range(start, stop):
        for c in range(C):
            for q in range(0, kw, n):
                total = zeros_each(points, POINTS, 1)
                for part in range(parts):
                    j = POINTS * point * part + (row // O * rows + row % O) * taps + c * kw + q
                    total = add_each(total, load_each_some(points, at_points, j, kw - q))
                found = points_to_kernel(total)
                store_each_some(w, of_kernel, (row * C + c) * 3 * kw + q, found, kw - q)
                doubt = multiply_add(0, sum_of(found), doubt)
    return total_of(doubt)


# -- the loops over jobs ----------------------------------------------------------------------------------------------


@compiled
def correlate(arrays, ways, plan, room, part, start, stop):
    """y = kernels of three rows applied to x, for the jobs start to stop. ``arrays``: x, weight, bias at the points, y.

    ``ways``: whether each thread has its own kernels at the points, and makes them here; and whether from turned ones.
    """
    (x, weight, bias, y), (own, turned), plan, room = arrays, ways, Plan(*plan), Room(*room)
    groups, length = weight.shape[0], plan.length
    in_channels = x.shape[1] // groups
    taps = in_channels * weight.shape[4]
    kernels = room.kernels[part if own else 0, : POINTS * groups * plan.filters * taps]
    kernels = kernels.reshape(POINTS, groups, plan.filters, taps)
    if own:
        fill_own_points(weight, turned, kernels)
    filters, width = min(plan.filters, FILTERS), length + lanes(x)
    points, sizes = room.points[part, : POINTS * plan.region], room.sizes[part]
    products = room.products[part, : POINTS * filters * width].reshape(POINTS, filters, width)
    doubts = room.doubts
    points[:], sizes[:] = 0, 0
    for number in range(start, stop):
        image, tile, begin, end = job_of(number, plan)
        for group in range(groups):
            channels = group * in_channels, (group + 1) * in_channels
            evaluate(x, points, sizes, channels, image, tile, plan)
            if set_apart(sizes, room.apart, 3, image, tile, plan, y.shape[2]):
                continue
            first = group * plan.filters
            for o in range(begin, end, FILTERS):
                last = min(o + FILTERS, end)
                for a in range(POINTS):
                    some, shift, at = kernels[a, group, o:last], bias[a, group, o:last], points[a * plan.region :]
                    doubts[part] += multiply(some, shift, at, plan.offset, (NO, taps), products[a], (NO, length), NEVER)
                interpolate(products, y, (first + o, first + last), image, tile, plan)


@compiled
def correlate_transposed(arrays, plan, room, phase, part, start, stop):
    """dweight = the derivative of correlate with respect to weight. ``arrays``: x, dkernels, dweight, dy.

    In phase 0 dkernels[part] becomes that with respect to kernels, of the jobs start to stop; in phase 1 they are added
    up and turned into dweight, of which each part has as many rows as it had jobs, in proportion.
    """
    (x, dkernels, dweight, dy), plan, room = arrays, Plan(*plan), Room(*room)
    if phase == 1:
        rows, all_jobs = dweight.shape[0] * dweight.shape[1], plan.pieces * plan.shares
        room.doubts[part] = empty_points(dkernels, dweight, rows * start // all_jobs, rows * stop // all_jobs)
        return
    groups, in_channels = dkernels.shape[2], x.shape[1] // dkernels.shape[2]
    points, sizes = room.points[part, : POINTS * plan.region], room.sizes[part]
    dproducts = room.products[part, : plan.sizes[1]].reshape(POINTS, -1, plan.length)
    points[:], sizes[:], dproducts[:] = 0, 0, 0
    for number in range(start, stop):
        image, tile, begin, end = job_of(number, plan)
        for group in range(groups):
            channels, first = (group * in_channels, (group + 1) * in_channels), group * plan.filters
            evaluate(x, points, sizes, channels, image, tile, plan)
            set_apart(sizes, room.apart, 3, image, tile, plan, dy.shape[2])
            interpolate_transposed(dy, dproducts, sizes, (first + begin, first + end), image, tile, plan)
            set_apart(sizes, room.apart, 2, image, tile, plan, dy.shape[2])
            for a in range(POINTS):
                of_part = dkernels[part % len(dkernels), a, group, begin : ceil_div(end, 4) * 4]
                if number == start or number % plan.pieces == 0:
                    of_part[:] = 0
                multiply_transposed(dproducts[a], (NO, plan.length), points[a * plan.region :], plan.offset, of_part)


# -- plans and operators ----------------------------------------------------------------------------------------------


def fits(shape, geometry, N, out_size):
    """Whether this way is open (three rows, one apart) and pays (channels, rows for tiles, pixels).

    And whether each output sees both rows of a pair that is not all padding, as set_apart expects.
    """
    _, O, C, rows, _ = shape
    stride, pad, dilation = geometry
    open_to_it = rows == 3 and tuple(stride) == (1, 1) and tuple(dilation) == (1, 1)
    open_to_it = open_to_it and max(pad[0]) <= 1
    return open_to_it and min(C, O) >= 8 and out_size[0] >= ROWS and N * out_size[0] * out_size[1] >= 256


@functools.lru_cache(maxsize=1024)
def make_plan(x_shape, shape, out_size, pad, turned=False, sums=False):
    """The Plan for images and filters of these shapes; ``turned``: the columns of the kernel come last to first.

    ``sums``: for the weight gradient.
    """
    (N, _, _, W), (_, O, C, _, kw), (Ho, Wo) = x_shape, shape, out_size
    pitch = row_pitch(Wo, kw - 1, W, pad[1])
    all_tiles = ceil_div(Ho, ROWS)
    images, tiles, shares = plan_pieces(N, POINTS * C, all_tiles, pitch, 0, O)
    plane = tiles * images * pitch
    length = whole_vectors(plane)
    columns = range(kw)[:: -1 if turned else 1]
    offset = [c * plane + column for c in range(C) for column in columns]
    offset += offset[-1:] * (-len(offset) % WIDE)
    region = max(offset) + max(length, plane) + BLOCK
    results = filters_in_fours(O, shares) * length if sums else min(O, FILTERS) * (length + VECTOR)
    sizes = POINTS * region, POINTS * results, images * (2 * tiles + 1) * VECTOR
    pieces = pieces_of(N, images, all_tiles, tiles)
    return Plan(images, tiles, all_tiles, O, pieces, shares, pitch, length, region, np.array(offset), pad, sizes)


def conv2d(x, weight, bias, out_size, pad, turned=False):
    """(y, whether any of it may be not finite, which images of it are set apart), for weight (groups, O, C, 3, kw)

    ``turned``: with the filter weight[g, :, c, ::-1, ::-1] for each channel c of y instead.
    """
    groups, O, C, _, kw = weight.shape
    O, C = (C, O) if turned else (O, C)
    plan = make_plan(x.shape, (groups, O, C, 3, kw), tuple(out_size), (pad[0][0], pad[1][0]), turned)
    y = np.empty((len(x), groups * O, *out_size), x.dtype)
    shift = np.zeros((POINTS, groups, O), x.dtype)
    if bias is not None:  # it enters all four rows of point 1 with the factor 1
        shift[1] = bias.reshape(groups, O)
    threads, size = num_threads(), POINTS * groups * O * C * kw
    own = size <= OWN
    *spaces, kernels = workspaces(threads, x.dtype, *plan.sizes, size if own else 0)
    if not own:
        kernels = np.empty((1, size), x.dtype)
        rows = weight.swapaxes(1, 2)[:, :, :, ::-1] if turned else weight
        over_threads(fill_points, groups * O, rows, kernels.reshape(POINTS, groups, O, C * kw), work=size)
    doubts, apart = np.zeros(threads, x.dtype), np.zeros(len(x), np.bool_)
    room = *spaces, kernels, doubts, apart
    over_parts(correlate, jobs(plan), (x, weight, shift, y), (own, turned), tuple(plan), room)
    return y, np.count_nonzero(doubts) > 0, apart  # NaN counts


def weight_gradient(dy, x, shape, pad):
    """(dweight, of shape (groups, O, C, 3, kw), whether any of it may be not finite, whether an image is set apart)"""
    groups, O = shape[:2]
    plan = make_plan(x.shape, shape, dy.shape[2:], (pad[0][0], pad[1][0]), sums=True)
    dkernels = np.empty((gradient_parts(plan), POINTS, groups, ceil_div(O, 4) * 4, plan.offset.size), x.dtype)
    dweight, threads = np.empty(shape, x.dtype), num_threads()
    doubts, apart = np.zeros(threads, x.dtype), np.zeros(len(x), np.bool_)
    room = *workspaces(threads, x.dtype, *plan.sizes), None, doubts, apart
    over_phases(correlate_transposed, 2, jobs(plan), (x, dkernels, dweight, dy), tuple(plan), room)
    return dweight, np.count_nonzero(doubts) > 0, np.count_nonzero(apart) > 0
