"""Between images and the six points of Winograd's convolution, whose matrices and limits winograd.py derives.

Points and products keep their numbers by channel, tile (4 rows of output), image of the piece, and column of the
padded row. Images are read and written from their first number to their last, so that memory can be asked for ahead. A
row that is no whole number of vectors ends with "some" columns; a row outside the image has none, and reads as zeros.
"""

import numpy as np

from minires.kernels.compiled.planes import AHEAD
from minires.kernels.machine.blocks import (
    add_each,
    add_squares,
    any_larger,
    inside,
    least_of,
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
from minires.kernels.machine.vectors import add, fetch, lanes, load, multiply_add, total_of, zeros

POINTS, ROWS = 6, 4  # products for each tile, and the rows of output it gives
SEEN = ROWS + 2  # rows of x that a tile sees
UNEVEN = 128.0  # times: how much larger a tile's rows may be than two that an output sees

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
    of_tile, of_last = steps(0, 2, plan.across, 2), steps(2, 2, plan.across, 1)  # in sizes, a row for each two rows
    for g in range(images):
        height = H if image + g < N else 0
        for c in range(channels[0], channels[1]):
            for t in range(tiles):
                h = ROWS * (tile + t) - top
                line = (((image + g) * C + c) * H + h) * W
                for i in range(line + AHEAD, line + AHEAD + ROWS * W, n):
                    fetch(flat, i)
                position = left + (((c - channels[0]) * tiles + t) * images + g) * pitch
                at = (g * (2 * tiles + 1) + 2 * t) * plan.across + left
                for q in range(begin, end, n):
                    count = end - q
                    if h >= 0 and h + SEEN <= height and count >= n:
                        seen = load_each(flat, rows, line + q)
                    else:
                        seen = load_each_some(flat, rows, line + q, inside(h, height, count, SEEN))
                    size = add_squares(load_each(sizes, of_tile, at + q), seen[:ROWS])
                    store_each(sizes, of_tile, at + q, size)  # the next tile sees the other two rows again
                    if t == tiles - 1:
                        more = add_squares(load_each(sizes, of_last, at + q), seen[ROWS:])
                        store_each(sizes, of_last, at + q, more)
                    store_each_some(points, at_points, position + q, rows_to_points(seen), count)


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
    of_tile = steps(0, 2, plan.across, 2)
    for g in range(images):
        height = H if image + g < N else 0
        for c in range(channels[0], channels[1]):
            for t in range(tiles):
                h = ROWS * (tile + t)
                line = (((image + g) * C + c) * H + h) * W
                for i in range(line + AHEAD, line + AHEAD + ROWS * W, n):
                    fetch(flat, i)
                position = (c - channels[0]) * plane + (t * images + g) * pitch
                at = (g * (2 * tiles + 1) + 2 * t) * plan.across
                for q in range(0, W, n):
                    seen = load_each_some(flat, rows, line + q, inside(h, height, W - q, ROWS))
                    store_each(sizes, of_tile, at + q, add_squares(load_each(sizes, of_tile, at + q), seen))
                    store_each_some(dproducts, at_points, position + q, rows_to_points_transposed(seen), W - q)


@compiled
def set_apart(sizes, apart, window, image, tile, plan, out_size):
    """apart[image + g, tile + t]: whether two rows in there are small beside all that a window of pairs of rows sees.

    ``window``: pairs of rows, and columns. Returns how many tiles of this piece are not set apart; the sizes are
    forgotten.
    """
    n, even, dtype, none, (pairs, columns) = lanes(sizes), 0, sizes.dtype.type, zeros(sizes), window
    for g in range(min(plan.images, apart.shape[0] - image)):
        for t in range(min(plan.band, apart.shape[1] - tile)):
            at, left = (g * (2 * plan.band + 1) + 2 * t) * plan.across, out_size[0] - ROWS * (tile + t)
            seen = min(pairs, (left + pairs - 1) // 2)  # those that some row of output sees, or is in
            found = apart[image + g, tile + t]
            for q in range(0, out_size[1], n):
                total, least = none, none
                for i in range(seen):
                    pair = none
                    for column in range(columns):
                        pair = add(pair, load(sizes, at + i * plan.across + q + column))
                    total, least = add(total, pair), least_of(least, pair) if i else pair
                found |= any_larger(total, dtype(UNEVEN**2), least)
            apart[image + g, tile + t] = found
            even += not found
    sizes[: plan.images * (2 * plan.band + 1) * plan.across] = 0
    return even


@compiled
def leave_out(dproducts, apart, filters, image, tile, plan):
    """dproducts[:, :filters, t, g] = 0 for the tiles of this piece that are set apart"""
    for g in range(min(plan.images, apart.shape[0] - image)):
        for t in range(min(plan.band, apart.shape[1] - tile)):
            if apart[image + g, tile + t]:
                place = (t * plan.images + g) * plan.pitch
                dproducts[:, :filters, place : place + plan.pitch] = 0


@compiled
def fill_points(weight, turned, points, start, stop):
    """points[:, g, o, (c, j)] = G weight[g, o, c, :, j], for the rows (g, o); ``turned``: as for Way"""
    groups, O, C, _, kw = weight.shape
    _, _, rows, taps = points.shape
    w, n, at_points = weight.ravel(), lanes(points), steps(0, POINTS, groups * rows * taps, POINTS)
    of_kernel = (2 * kw, kw, 0) if turned else (0, kw, 2 * kw)
    step = 3 * kw * (C if turned else 1)  # from one kernel to the next
    for row in range(start, stop):
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
