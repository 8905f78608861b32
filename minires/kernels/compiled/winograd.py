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

B^T and A^T need additions
and a few multiplications by 4, 5 and 8, once for each channel and not for each pair of channels; G w is computed once
for all images. The sum over channels and over the columns of the kernel stays what it was: for each of the six
points one product with shifted rows, as in kernels/compiled/planes.py, but with rows that hold a quarter of the pixels.

The derivatives are those of the formula, read from right to left: for the weights

.. math::
    dw = G^T \left[ \sum (A\, dy) \odot (B^T x) \right],

and dx is again a convolution of dy with three-row kernels. Rounding errors are several times those of the definition
(1e-6 instead of 1e-7 of the largest output in float32), since B^T takes differences of neighbouring rows.

References
----------
.. [Winograd1980] S. Winograd, "Arithmetic Complexity of Computations", SIAM, 1980.
.. [Lavin2015] Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308, section 4.
"""

import functools

import numpy as np

from minires.kernels.compiled.plan import jobs, parts_of, piece_of, plan_pieces, row_pitch
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
from minires.kernels.machine.compiler import compiled
from minires.kernels.machine.memory import workspaces
from minires.kernels.machine.threads import num_threads, over_parts, over_phases, over_threads
from minires.kernels.machine.vectors import (
    add,
    fetch,
    lanes,
    load,
    load_some,
    multiply_add,
    store_some,
    total_of,
    zeros,
)

POINTS, ROWS = 6, 4  # products for each tile, and the rows of output it gives
OWN = 224 * 1024  # numbers: kernels at the points are made by each thread for itself, where its L2 can keep them


# -- to the six points and back ---------------------------------------------------------------------------------------

# Both keep their numbers by channel, tile (4 rows of output), image of the piece, and column of the padded row. Images
# are read and written from their first number to their last, so that memory can be asked for ahead. A row that is
# no whole number of vectors ends with "some" columns; a row outside the image has none, and reads as zeros.


@compiled
def evaluate(x, points, channels, image, row, plan, source):
    """points[a, c, t, g, left + column] = (B^T rows)[a] for the six rows of x that tile t of image g sees

    What lies outside the image is 0. Columns outside are never written: they are 0 from the start.
    """
    (images, tiles, pitch), region = plan[:3], plan[4]
    top, left = source
    N, C, H, W = x.shape
    flat, n = x.ravel(), lanes(x)
    begin, end = max(0, -left), min(W, pitch - left)
    for g in range(images):
        there = image + g < N
        for c in range(channels[0], channels[1]):
            for t in range(tiles):
                h = row + 4 * t - top
                inside = there and h >= 0 and h + 5 < H
                line = (((image + g) * C + c) * H + h) * W
                for i in range(line + AHEAD, line + AHEAD + 4 * W, n):
                    fetch(flat, i)
                position = left + (((c - channels[0]) * tiles + t) * images + g) * pitch
                for q in range(begin, end, n):
                    i, j, count = line + q, position + q, end - q
                    if inside and count >= n:
                        x0, x1, x2 = load(flat, i), load(flat, i + W), load(flat, i + 2 * W)
                        x3, x4, x5 = load(flat, i + 3 * W), load(flat, i + 4 * W), load(flat, i + 5 * W)
                    else:
                        x0 = load_some(flat, i, count if there and 0 <= h < H else 0)
                        x1 = load_some(flat, i + W, count if there and 0 <= h + 1 < H else 0)
                        x2 = load_some(flat, i + 2 * W, count if there and 0 <= h + 2 < H else 0)
                        x3 = load_some(flat, i + 3 * W, count if there and 0 <= h + 3 < H else 0)
                        x4 = load_some(flat, i + 4 * W, count if there and 0 <= h + 4 < H else 0)
                        x5 = load_some(flat, i + 5 * W, count if there and 0 <= h + 5 < H else 0)
                    even, odd = multiply_add(-4, x2, x4), multiply_add(-4, x1, x3)
                    store_some(points, j, multiply_add(4, x0, multiply_add(-5, x2, x4)), count)
                    store_some(points, j + region, add(even, odd), count)
                    store_some(points, j + 2 * region, multiply_add(-1, odd, even), count)
                    even, odd = multiply_add(-1, x2, x4), multiply_add(-1, x1, x3)
                    store_some(points, j + 3 * region, multiply_add(2, odd, even), count)
                    store_some(points, j + 4 * region, multiply_add(-2, odd, even), count)
                    store_some(points, j + 5 * region, multiply_add(4, x1, multiply_add(-5, x3, x5)), count)


@compiled
def interpolate(products, y, channels, image, row, plan):
    """y[image + g, channels[0] + o, row + 4*t : row + 4*t + 4] = A^T products[:, o, t, g]"""
    images, tiles, pitch = plan[:3]
    N, C, H, W = y.shape
    flat, m, n = y.ravel(), products.ravel(), lanes(y)
    plane, point = products.shape[2], products.shape[1] * products.shape[2]
    for g in range(min(images, N - image)):
        for c in range(channels[0], channels[1]):
            for t in range(min(tiles, (H - row + 3) // 4)):
                h = row + 4 * t
                line = (((image + g) * C + c) * H + h) * W
                position = (c - channels[0]) * plane + (t * images + g) * pitch
                for q in range(0, W, n):
                    i, j, count = line + q, position + q, W - q
                    m1, m2 = load(m, j + point), load(m, j + 2 * point)
                    m3, m4 = load(m, j + 3 * point), load(m, j + 4 * point)
                    even, odd = add(m1, m2), multiply_add(-1, m2, m1)
                    even2, odd2 = add(m3, m4), multiply_add(-1, m4, m3)
                    y3 = add(load(m, j + 5 * point), multiply_add(8, odd2, odd))
                    store_some(flat, i, add(load(m, j), add(even, even2)), count)
                    store_some(flat, i + W, multiply_add(2, odd2, odd), count if h + 1 < H else 0)
                    store_some(flat, i + 2 * W, multiply_add(4, even2, even), count if h + 2 < H else 0)
                    store_some(flat, i + 3 * W, y3, count if h + 3 < H else 0)


@compiled
def interpolate_transposed(dy, dproducts, channels, image, row, plan):
    """dproducts[:, o, t, g] = A dy[image + g, channels[0] + o, row + 4*t : row + 4*t + 4]"""
    images, tiles, pitch = plan[:3]
    N, C, H, W = dy.shape
    flat, m, n = dy.ravel(), dproducts.ravel(), lanes(dy)
    plane, point = dproducts.shape[2], dproducts.shape[1] * dproducts.shape[2]
    for g in range(images):
        for c in range(channels[0], channels[1]):
            for t in range(tiles):
                h = row + 4 * t
                rows = H - h if image + g < N else 0
                line = (((image + g) * C + c) * H + h) * W
                for i in range(line + AHEAD, line + AHEAD + 4 * W, n):
                    fetch(flat, i)
                position = (c - channels[0]) * plane + (t * images + g) * pitch
                for q in range(0, W, n):
                    i, j, count = line + q, position + q, W - q
                    y0 = load_some(flat, i, count if rows > 0 else 0)
                    y1 = load_some(flat, i + W, count if rows > 1 else 0)
                    y2 = load_some(flat, i + 2 * W, count if rows > 2 else 0)
                    y3 = load_some(flat, i + 3 * W, count if rows > 3 else 0)
                    even, odd = add(y0, y2), add(y1, y3)
                    even2, odd2 = multiply_add(4, y2, y0), multiply_add(4, y3, y1)
                    store_some(m, j, y0, count)
                    store_some(m, j + point, add(even, odd), count)
                    store_some(m, j + 2 * point, multiply_add(-1, odd, even), count)
                    store_some(m, j + 3 * point, multiply_add(2, odd2, even2), count)
                    store_some(m, j + 4 * point, multiply_add(-2, odd2, even2), count)
                    store_some(m, j + 5 * point, y3, count)


@compiled
def fill_points(weight, points, start, stop):
    """points[:, g, o, (c, j)] = G weight[g, o, c, :, j], for the rows (g, o)"""
    _, O, C, _, kw = weight.shape
    for row in range(start, stop):
        g, o = row // O, row % O
        p0, p1, p2 = points[0, g, o], points[1, g, o], points[2, g, o]
        p3, p4, p5 = points[3, g, o], points[4, g, o], points[5, g, o]
        for c in range(C):
            w = weight[g, o, c]
            for j in range(kw):
                w0, w1, w2, k = w[0, j], w[1, j], w[2, j], c * kw + j
                p0[k], p1[k], p2[k] = w0 / 4, -(w0 + w1 + w2) / 6, -(w0 - w1 + w2) / 6
                p3[k], p4[k], p5[k] = (w0 + 2 * w1 + 4 * w2) / 24, (w0 - 2 * w1 + 4 * w2) / 24, w2


@compiled
def fill_own_points(weight, turned, points):
    """The same in vectors, for points that the cache of this core holds; ``turned``: as for conv2d_rows.

    Where points come from further away, this is slower: a store of some numbers of a line must wait for the line.
    """
    groups, O, C, _, kw = weight.shape
    _, _, rows, taps = points.shape
    w, flat, n, point, none = weight.ravel(), points.ravel(), lanes(points), groups * rows * taps, zeros(points)
    top, bottom = (2 * kw, 0) if turned else (0, 2 * kw)
    step = 3 * kw * (C if turned else 1)  # from one kernel to the next
    for row in range(groups * rows):
        i, j = 3 * kw * (row // rows * O * C + row % rows if turned else row * C), row * taps
        for _ in range(taps // kw):
            for q in range(0, kw, n):
                count = kw - q
                w0, w1 = load_some(w, i + top + q, count), load_some(w, i + kw + q, count)
                w2 = load_some(w, i + bottom + q, count)
                even, odd = multiply_add(-1 / 6, add(w0, w2), none), multiply_add(-1 / 6, w1, none)
                even2 = multiply_add(1 / 24, w0, multiply_add(1 / 6, w2, none))
                odd2 = multiply_add(1 / 12, w1, none)
                store_some(flat, j + q, multiply_add(1 / 4, w0, none), count)
                store_some(flat, j + q + point, add(even, odd), count)
                store_some(flat, j + q + 2 * point, multiply_add(-1, odd, even), count)
                store_some(flat, j + q + 3 * point, add(even2, odd2), count)
                store_some(flat, j + q + 4 * point, multiply_add(-1, odd2, even2), count)
                store_some(flat, j + q + 5 * point, w2, count)
            i, j = i + step, j + kw


@compiled
def empty_points(points, weight, start, stop):
    """weight[g, o, c, :, j] = sum over parts of G^T points[part, :, g, o, (c, j)], for the rows (g, o)

    Returns a number that is 0 unless something in there is not finite.
    """
    parts, _, _, rows, taps = points.shape
    groups, O, C, _, kw = weight.shape
    w, flat, n, point = weight.ravel(), points.ravel(), lanes(points), groups * rows * taps
    doubt = zeros(points)
    for row in range(start, stop):
        for c in range(C):
            for q in range(0, kw, n):
                i, count = (row * C + c) * 3 * kw + q, kw - q
                w0 = w1 = w2 = zeros(points)
                for part in range(parts):
                    j = 6 * point * part + (row // O * rows + row % O) * taps + c * kw + q
                    p1, p2 = load_some(flat, j + point, count), load_some(flat, j + 2 * point, count)
                    p3, p4 = load_some(flat, j + 3 * point, count), load_some(flat, j + 4 * point, count)
                    even, odd = add(p1, p2), multiply_add(-1, p1, p2)
                    even2, odd2 = add(p3, p4), multiply_add(-1, p4, p3)
                    w0 = multiply_add(1 / 4, load_some(flat, j, count), multiply_add(-1 / 6, even, w0))
                    w0, w1 = multiply_add(1 / 24, even2, w0), multiply_add(1 / 6, odd, w1)
                    w1, w2 = multiply_add(1 / 12, odd2, w1), add(load_some(flat, j + 5 * point, count), w2)
                    w2 = multiply_add(1 / 6, multiply_add(-1, even, even2), w2)
                store_some(w, i, w0, count)
                store_some(w, i + kw, w1, count)
                store_some(w, i + 2 * kw, w2, count)
                doubt = multiply_add(0, add(w0, add(w1, w2)), doubt)
    return total_of(doubt)


# -- the loops over pieces of work ------------------------------------------------------------------------------------


@compiled
def correlate_rows(
    x, weight, turned, own, bias, y, offset, plan, source, kernels, points, products, doubts, part, start, stop
):
    """y = kernels of three rows applied to x, for the jobs start to stop.

    ``kernels``: what fill_points made of the weight; or, if each thread has its ``own``, room where it does so here.
    """
    images, tiles, pitch, length, region, all_tiles, out_channels, pieces, shares = plan
    groups, in_channels = weight.shape[0], x.shape[1] // weight.shape[0]
    taps = in_channels * weight.shape[4]
    size = 6 * groups * out_channels * taps
    at_points = kernels[part if own else 0, :size].reshape(6, groups, out_channels, taps)
    if own:
        fill_own_points(weight, turned, at_points)
    filters, width = min(out_channels, FILTERS), length + lanes(x)
    points, products = points[part, : 6 * region], products[part, : 6 * filters * width].reshape(6, filters, width)
    points[:] = 0
    for job in range(start, stop):
        image, tile, begin, end = piece_of(job, pieces, images, tiles, all_tiles, shares, out_channels)
        for group in range(groups):
            channels = group * in_channels, (group + 1) * in_channels
            evaluate(x, points, channels, image, 4 * tile, plan, source)
            first = group * out_channels
            for o in range(begin, end, FILTERS):
                last = min(o + FILTERS, end)
                for a in range(6):
                    some, shift, at = at_points[a, group, o:last], bias[a, group, o:last], points[a * region :]
                    doubts[part] += multiply(some, shift, at, offset, NO, taps, products[a], NO, length, NEVER)
                interpolate(products, y, (first + o, first + last), image, 4 * tile, plan)


@compiled
def correlate_rows_transposed(
    x, dy, dkernels, dweight, offset, plan, source, points, dproducts, doubts, phase, part, start, stop
):
    """dweight = the derivative of correlate_rows with respect to weight.

    In phase 0 dkernels[part] becomes that with respect to kernels, of the jobs start to stop; in phase 1 they are added
    up and turned into dweight, of which each part has as many rows as it had jobs, in proportion.
    """
    images, tiles, pitch, length, region, all_tiles, out_channels, pieces, shares = plan
    if phase == 1:
        rows, jobs = dweight.shape[0] * dweight.shape[1], pieces * shares
        doubts[part] = empty_points(dkernels, dweight, rows * start // jobs, rows * stop // jobs)
        return
    groups, fours = dkernels.shape[2], dkernels.shape[3] // 4
    in_channels = x.shape[1] // groups
    filters = 4 * ceil_div(fours, shares)
    points, dproducts = points[part, : 6 * region], dproducts[part, : 6 * filters * length].reshape(6, filters, length)
    points[:] = 0
    dproducts[:] = 0
    for job in range(start, stop):
        image, tile, begin, end = piece_of(job, pieces, images, tiles, all_tiles, shares, out_channels)
        for group in range(groups):
            channels = group * in_channels, (group + 1) * in_channels
            evaluate(x, points, channels, image, 4 * tile, plan, source)
            first = group * out_channels
            interpolate_transposed(dy, dproducts, (first + begin, first + end), image, 4 * tile, plan)
            in_fours = ceil_div(end, 4) * 4
            for a in range(6):
                of_part = dkernels[part % len(dkernels), a, group, begin:in_fours]
                if job == start or job % pieces == 0:
                    of_part[:] = 0
                multiply_transposed(dproducts[a], NO, length, points[a * region :], offset, of_part)


# -- plans and operators ----------------------------------------------------------------------------------------------


def fits(kernel_size, stride, dilation, channels, out_channels, N, out_size):
    """Whether this way is open (three rows, one apart) and pays (channels, rows for tiles, pixels)."""
    return (
        kernel_size[0] == 3
        and stride == (1, 1)
        and dilation == (1, 1)
        and min(channels, out_channels) >= 8
        and out_size[0] >= ROWS
        and N * out_size[0] * out_size[1] >= 256
    )


@functools.lru_cache(maxsize=1024)
def make_plan(N, channels, kernel_columns, out_size, source_width, left, out_channels, turned=False):
    """(plan, offset, sizes), as in plan.py; ``turned``: the columns of the kernel come last to first."""
    Ho, Wo = out_size
    pitch = row_pitch(Wo, kernel_columns - 1, source_width, left)
    all_tiles = ceil_div(Ho, ROWS)
    images, tiles, shares = plan_pieces(N, POINTS * channels, all_tiles, pitch, 0, out_channels)
    plane = tiles * images * pitch
    length = whole_vectors(plane)
    columns = range(kernel_columns)[:: -1 if turned else 1]
    offset = [c * plane + column for c in range(channels) for column in columns]
    offset += offset[-1:] * (-len(offset) % WIDE)
    region = max(offset) + max(length, plane) + BLOCK  # numbers from one point to the next
    pieces = ceil_div(N, images) * ceil_div(all_tiles, tiles)
    plan = images, tiles, pitch, length, region, all_tiles, out_channels, pieces, shares
    results = max(
        min(out_channels, FILTERS) * (length + VECTOR), 4 * ceil_div(ceil_div(out_channels, 4), shares) * length
    )
    return plan, np.array(offset), (POINTS * region, POINTS * results)


def conv2d_rows(x, weight, bias, out_size, pad, turned=False):
    """(y, whether any of it is in doubt, not being finite), for weight (groups, O, C, 3, kw)

    ``turned``: with the filter weight[g, :, c, ::-1, ::-1] for each channel c of y instead.
    """
    N, _, _, W = x.shape
    groups, O, C, _, kw = weight.shape
    O, C = (C, O) if turned else (O, C)
    (top, _), (left, _) = pad
    plan, offset, sizes = make_plan(N, C, kw, out_size, W, left, O, turned)
    y = np.empty((N, groups * O, *out_size), x.dtype)
    shift = np.zeros((POINTS, groups, O), x.dtype)
    if bias is not None:  # it enters all four rows of point 1 with the factor 1
        shift[1] = bias.reshape(groups, O)
    doubts = np.zeros(num_threads(), x.dtype)
    size = POINTS * groups * O * C * kw
    own = size <= OWN
    *spaces, kernels = workspaces(num_threads(), x.dtype, *sizes, size if own else 0)
    if not own:
        kernels = np.empty((1, size), x.dtype)
        rows = weight.swapaxes(1, 2)[:, :, :, ::-1] if turned else weight
        over_threads(fill_points, groups * O, rows, kernels.reshape(POINTS, groups, O, C * kw), work=size)
    rest = plan, (top, left), kernels, *spaces, doubts
    over_parts(correlate_rows, jobs(plan), x, weight, turned, own, shift, y, offset, *rest)
    return y, np.count_nonzero(doubts)  # NaN counts


def conv2d_rows_weight_gradient(dy, x, weight_shape, pad):
    """(dweight, of shape (groups, O, C, 3, kw), whether any of it is in doubt, not being finite)"""
    groups, O, C, _, kw = weight_shape
    (top, _), (left, _) = pad
    plan, offset, sizes = make_plan(x.shape[0], C, kw, dy.shape[2:], x.shape[3], left, O)
    dkernels = np.empty((parts_of(plan), POINTS, groups, ceil_div(O, 4) * 4, offset.size), x.dtype)
    dweight, doubts = np.empty(weight_shape, x.dtype), np.zeros(num_threads(), x.dtype)
    rest = plan, (top, left), *workspaces(num_threads(), x.dtype, *sizes), doubts
    over_phases(correlate_rows_transposed, 2, jobs(plan), x, dy, dkernels, dweight, offset, *rest)
    return dweight, np.count_nonzero(doubts)
