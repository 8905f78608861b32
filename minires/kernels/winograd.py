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
points one product with shifted rows, as in kernels/planes.py, but with rows that hold a quarter of the pixels.

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

from minires.kernels.parallel import compiled, num_threads, over_parts, over_threads
from minires.kernels.planes import (
    BLOCK,
    ceil_div,
    gather,
    in_blocks,
    multiply,
    multiply_transposed,
    plan_pieces,
    row_pitch,
    scatter,
)
from minires.kernels.simd import add, lanes, load, multiply_add, store

POINTS, ROWS = 6, 4  # products for each tile, and the rows of output it gives
OUT_BLOCKS = 8  # blocks of 4 filters whose products are kept before they are interpolated
ITSELF = np.zeros((1, 2), np.int64)  # the only phase: the stride is 1


# -- to the six points and back; a row here is a row of the piece, images side by side ------------------------------


@compiled
def evaluate(rows, line, tiles, points, start, region):
    """points[a, t, q] = (B^T x)[a] for x = rows[4*t : 4*t + 6, q]"""
    n = lanes(rows)
    for t in range(tiles):
        for q in range(0, line, n):
            i, j = 4 * t * line + q, start + t * line + q
            x0, x1, x2 = load(rows, i), load(rows, i + line), load(rows, i + 2 * line)
            x3, x4, x5 = load(rows, i + 3 * line), load(rows, i + 4 * line), load(rows, i + 5 * line)
            store(points, j, multiply_add(4, x0, multiply_add(-5, x2, x4)))
            even, odd = multiply_add(-4, x2, x4), multiply_add(-4, x1, x3)
            store(points, j + region, add(even, odd))
            store(points, j + 2 * region, multiply_add(-1, odd, even))
            even, odd = multiply_add(-1, x2, x4), multiply_add(-1, x1, x3)
            store(points, j + 3 * region, multiply_add(2, odd, even))
            store(points, j + 4 * region, multiply_add(-2, odd, even))
            store(points, j + 5 * region, multiply_add(4, x1, multiply_add(-5, x3, x5)))


@compiled
def interpolate(products, o, line, tiles, rows):
    """rows[4*t : 4*t + 4, q] = A^T products[:, o, t, q]

    From right to left: the last vector of a row runs over into the next row, which is then written later.
    """
    n = lanes(rows)
    m0, m1, m2 = products[0, o], products[1, o], products[2, o]
    m3, m4, m5 = products[3, o], products[4, o], products[5, o]
    for t in range(tiles):
        for q in range((line - 1) // n * n, -1, -n):
            j = t * line + q
            even, odd = add(load(m1, j), load(m2, j)), multiply_add(-1, load(m2, j), load(m1, j))
            even2, odd2 = add(load(m3, j), load(m4, j)), multiply_add(-1, load(m4, j), load(m3, j))
            i = 4 * t * line + q
            store(rows, i, add(load(m0, j), add(even, even2)))
            store(rows, i + line, multiply_add(2, odd2, odd))
            store(rows, i + 2 * line, multiply_add(4, even2, even))
            store(rows, i + 3 * line, add(load(m5, j), multiply_add(8, odd2, odd)))


@compiled
def interpolate_transposed(rows, line, tiles, dproducts, o):
    """dproducts[:, o, t, q] = A rows[4*t : 4*t + 4, q]"""
    n = lanes(rows)
    m0, m1, m2 = dproducts[0, o], dproducts[1, o], dproducts[2, o]
    m3, m4, m5 = dproducts[3, o], dproducts[4, o], dproducts[5, o]
    for t in range(tiles):
        for q in range(0, line, n):
            i, j = 4 * t * line + q, t * line + q
            y0, y1, y2, y3 = load(rows, i), load(rows, i + line), load(rows, i + 2 * line), load(rows, i + 3 * line)
            store(m0, j, y0)
            even, odd = add(y0, y2), add(y1, y3)
            store(m1, j, add(even, odd))
            store(m2, j, multiply_add(-1, odd, even))
            even, odd = multiply_add(4, y2, y0), multiply_add(4, y3, y1)
            store(m3, j, multiply_add(2, odd, even))
            store(m4, j, multiply_add(-2, odd, even))
            store(m5, j, y3)
    dproducts[:, o, tiles * line : tiles * line + n] = 0  # where the last vector ran over


# -- the loops over pieces of work ------------------------------------------------------------------------------------


@compiled
def gather_points(x, points, rows, channels, image, row, layout, source, tiles, region):
    """points[a, c] = the six points of the channels' tiles"""
    line = layout[0] * layout[2]
    for c in range(channels[0], channels[1]):
        gather(x, rows, (c, c + 1), ITSELF, image, row, layout, source)
        evaluate(rows, line, tiles, points, (c - channels[0]) * tiles * line, region)


@compiled
def correlate_rows(x, weight, bias, y, offset, plan, source, doubts, part, start, stop):
    """y = kernels of three rows, given at the six points, applied to x, for the pieces of work start to stop."""
    images, tiles, pitch, length, region, out_channels = plan
    N, _, Ho, Wo = y.shape
    groups, blocks = weight.shape[1], weight.shape[2]
    in_channels = x.shape[1] // groups
    bands, line = (Ho + 4 * tiles - 1) // (4 * tiles), images * pitch
    layout = images, 4 * tiles + 2, pitch
    rows = np.zeros((4 * tiles + 2) * line + lanes(x), x.dtype)
    points = np.zeros(6 * region, x.dtype)
    products = np.empty((6, 4 * min(blocks, OUT_BLOCKS), length + lanes(x)), x.dtype)
    result = np.empty((1, 4 * tiles * line + lanes(x)), x.dtype)
    for piece in range(start, stop):
        image, row = piece // bands * images, piece % bands * 4 * tiles
        for group in range(groups):
            mine = group * in_channels, (group + 1) * in_channels
            gather_points(x, points, rows, mine, image, row, layout, source, tiles, region)
            for block in range(0, blocks, OUT_BLOCKS):
                last = min(block + OUT_BLOCKS, blocks)
                for a in range(6):
                    some, shift = weight[a, group, block:last], bias[a, group, block:last]
                    doubts[part] += multiply(some, shift, points[a * region :], offset, products[a, :, :length])
                for o in range(4 * block, min(4 * last, out_channels)):
                    interpolate(products, o - 4 * block, line, tiles, result[0])
                    channel, last_row = group * out_channels + o, min(row + 4 * tiles, Ho)
                    scatter(result, y, channel, 1, image, row, last_row, Wo, layout, (1, 1, 0, 0))


@compiled
def correlate_rows_transposed(x, dy, dweight, offset, plan, source, part, start, stop):
    """dweight[part] += the derivative of correlate_rows with respect to weight, for the pieces start to stop."""
    images, tiles, pitch, length, region, out_channels = plan
    N, _, Ho, Wo = dy.shape
    groups = dweight.shape[2]
    in_channels = x.shape[1] // groups
    bands, line = (Ho + 4 * tiles - 1) // (4 * tiles), images * pitch
    rows = np.zeros((4 * tiles + 2) * line + lanes(x), x.dtype)
    drows = np.zeros(4 * tiles * line + lanes(x), x.dtype)
    points = np.zeros(6 * region, x.dtype)
    dproducts = np.zeros((6, 4 * dweight.shape[3], length + lanes(x)), x.dtype)
    for piece in range(start, stop):
        image, row = piece // bands * images, piece % bands * 4 * tiles
        for group in range(groups):
            mine = group * in_channels, (group + 1) * in_channels
            gather_points(x, points, rows, mine, image, row, (images, 4 * tiles + 2, pitch), source, tiles, region)
            for o in range(out_channels):
                channel = group * out_channels + o
                gather(dy, drows, (channel, channel + 1), ITSELF, image, row, (images, 4 * tiles, pitch), (1, 1, 0, 0))
                interpolate_transposed(drows, line, tiles, dproducts, o)
            for a in range(6):
                multiply_transposed(dproducts[a, :, :length], points[a * region :], offset, dweight[part, a, group])


# -- plans and operators ----------------------------------------------------------------------------------------------


def fits(kernel_size, stride, dilation, channels, out_channels, N, out_size):
    """Whether this way is open (three rows, one apart) and pays (channels, rows for tiles, pixels)."""
    return (
        kernel_size[0] == 3
        and stride == (1, 1)
        and dilation == (1, 1)
        and min(channels, out_channels) >= 8
        and out_size[0] >= ROWS
        and N * out_size[0] * out_size[1] >= 1024
    )


@functools.lru_cache(maxsize=1024)
def make_plan(N, channels, kernel_columns, out_size, source_width, left, out_channels):
    """(plan, offset, pieces)"""
    Ho, Wo = out_size
    pitch = row_pitch(Wo, kernel_columns - 1, source_width, left)
    images, tiles = plan_pieces(N, POINTS * channels, ceil_div(Ho, ROWS), pitch, 0)
    plane = tiles * images * pitch
    length = ceil_div(plane, BLOCK) * BLOCK
    offset = [c * plane + column for c in range(channels) for column in range(kernel_columns)]
    offset += offset[-1:] * (-len(offset) % 4)
    region = offset[-1] + max(length, plane) + BLOCK  # numbers from one point to the next
    pieces = ceil_div(N, images) * ceil_div(ceil_div(Ho, ROWS), tiles)
    return (images, tiles, pitch, length, region, out_channels), np.array(offset), pieces


@compiled
def fill_points(weight, blocks, start, stop):
    """blocks[:, g, b, (c, j), f] = G weight[g, 4*b + f, c, :, j]"""
    groups, O, C, _, kw = weight.shape
    for job in range(start, stop):
        g, b = job // blocks.shape[2], job % blocks.shape[2]
        for c in range(C):
            for f in range(min(4, O - 4 * b)):
                for j in range(kw):
                    w, k = weight[g, 4 * b + f, c, :, j], c * kw + j
                    w0, w1, w2 = w[0], w[1], w[2]
                    blocks[0, g, b, k, f] = w0 / 4
                    blocks[1, g, b, k, f] = -(w0 + w1 + w2) / 6
                    blocks[2, g, b, k, f] = -(w0 - w1 + w2) / 6
                    blocks[3, g, b, k, f] = (w0 + 2 * w1 + 4 * w2) / 24
                    blocks[4, g, b, k, f] = (w0 - 2 * w1 + 4 * w2) / 24
                    blocks[5, g, b, k, f] = w2


@compiled
def empty_points(blocks, weight, start, stop):
    """weight[g, o, c, :, j] = sum over parts of G^T blocks[part, :, g, o // 4, (c, j), o % 4]"""
    _, O, C, _, kw = weight.shape
    for job in range(start, stop):
        g, o = job // O, job % O
        for c in range(C):
            for j in range(kw):
                w0 = w1 = w2 = weight.dtype.type(0)
                for part in range(blocks.shape[0]):
                    point = blocks[part, :, g, o // 4, c * kw + j, o % 4]
                    w0 += point[0] / 4 - (point[1] + point[2]) / 6 + (point[3] + point[4]) / 24
                    w1 += (point[2] - point[1]) / 6 + (point[3] - point[4]) / 12
                    w2 += (point[3] + point[4] - point[1] - point[2]) / 6 + point[5]
                weight[g, o, c, 0, j], weight[g, o, c, 1, j], weight[g, o, c, 2, j] = w0, w1, w2


def at_points(weight):
    """G w, for weight (groups, O, C, 3, kw): (6, groups, blocks, C*kw, 4)"""
    groups, O, C, _, kw = weight.shape
    blocks = np.zeros((POINTS, groups, ceil_div(O, 4), ceil_div(C * kw, 4) * 4, 4), weight.dtype)
    over_threads(fill_points, groups * blocks.shape[2], weight, blocks, work=weight.size)
    return blocks


def conv2d_rows(x, weight, bias, out_size, pad):
    """(y, whether any of it is in doubt, not being finite), for weight (groups, O, C, 3, kw)"""
    N, _, _, W = x.shape
    groups, O, C, _, kw = weight.shape
    (top, _), (left, _) = pad
    plan, offset, pieces = make_plan(N, C, kw, out_size, W, left, O)
    y = np.empty((N, groups * O, *out_size), x.dtype)
    blocks = at_points(weight)
    shift = np.zeros((POINTS, *blocks.shape[1:3], 4), x.dtype)
    if bias is not None:
        shift[1] = in_blocks(bias.reshape(groups, O, 1, 1))[:, :, 0]  # enters all four rows with the factor 1
    doubts = np.zeros(num_threads(), x.dtype)
    over_parts(correlate_rows, pieces, x, blocks, shift, y, offset, plan, (1, 1, top, left), doubts)
    return y, doubts.any()


def conv2d_rows_weight_gradient(dy, x, weight_shape, pad):
    """dweight, of shape (groups, O, C, 3, kw)"""
    groups, O, C, _, kw = weight_shape
    (top, _), (left, _) = pad
    plan, offset, pieces = make_plan(x.shape[0], C, kw, dy.shape[2:], x.shape[3], left, O)
    parts = np.zeros((num_threads(), POINTS, groups, ceil_div(O, 4), offset.size, 4), x.dtype)
    over_parts(correlate_rows_transposed, pieces, x, dy, parts, offset, plan, (1, 1, top, left))
    dweight = np.empty(weight_shape, x.dtype)
    over_threads(empty_points, groups * O, parts, dweight, work=parts.size)
    return dweight
