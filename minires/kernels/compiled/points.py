"""Between images and the six points of Winograd's convolution, whose matrices and limits winograd.py derives.

Points and products keep their numbers by channel, tile (4 rows of output), image of the piece, and column of the
padded row. Images are read and written from their first number to their last, so that memory can be asked for ahead. A
row that is no whole number of vectors ends with "some" columns; a row outside the image has none, and reads as zeros.
"""

from typing import NamedTuple

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
MENDED = 16  # of so many outputs one is computed by its definition at most, by one thread; of more, all
CANCELLED = 512.0  # times: how much larger all that a weight gradient multiplies may be than what is left
UNEVEN = 128.0  # times: how much larger a tile's rows may be than those three that an output sees

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
rows_to_windows = linear_map([[1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1], [1] * 6])
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
    across: int  # numbers from the sizes of two rows to those of the next two
    columns: int  # of the kernel
    offset: np.ndarray  # of each channel and column of the kernel
    pad: tuple  # rows above and columns left
    sizes: tuple  # numbers that a thread needs for x at the points, for products there, and for the sizes of rows


@compiled
def evaluate(x, points, sizes, channels, image, tile, plan):
    """points[a, c, t, g, left + column] = (B^T rows)[a] for the six rows of x that tile t of image g sees

    What lies outside the image is 0. Columns outside are never written: they are 0 from the start. The squares of each
    two rows are added to ``sizes``, column by column.
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
    """dproducts[:, o, t, g] = A dy[image + g, channels[0] + o, 4*(tile + t) : 4*(tile + t) + 4]

    And the sum of all squares in sizes[place_of_dy(g, t)], spread over the lanes of a vector.
    """
    images, tiles, pitch = plan.images, plan.band, plan.pitch
    N, C, H, W = dy.shape
    flat, n, plane = dy.ravel(), lanes(dy), dproducts.shape[2]
    rows, at_points = steps(0, ROWS, W, ROWS), steps(0, POINTS, dproducts.shape[1] * plane, POINTS)
    itself = steps(0, 0, 1, 1)
    for g in range(images):
        height = H if image + g < N else 0
        for c in range(channels[0], channels[1]):
            for t in range(tiles):
                h = ROWS * (tile + t)
                line = (((image + g) * C + c) * H + h) * W
                for i in range(line + AHEAD, line + AHEAD + ROWS * W, n):
                    fetch(flat, i)
                position = (c - channels[0]) * plane + (t * images + g) * pitch
                at, total = place_of_dy(g, t, plan), zeros_each(sizes, ROWS, 1)
                for q in range(0, W, n):
                    seen = load_each_some(flat, rows, line + q, inside(h, height, W - q, ROWS))
                    total = add_squares(total, seen)
                    store_each_some(dproducts, at_points, position + q, rows_to_points_transposed(seen), W - q)
                store_each(sizes, itself, at, (add(sum_of(total), load(sizes, at)),))


# -- whether rows are so uneven that differences of them lose what an output sees --------------------------------------


@compiled
def place_of_sizes(g, t, plan):
    """Where the sizes of the first two rows begin that tile t of image g sees."""
    return (g * (2 * plan.band + 1) + 2 * t) * plan.across


@compiled
def place_of_dy(g, t, plan):
    """Where the size of tile t of image g of dy is kept, behind those of the rows of x."""
    return place_of_sizes(plan.images, 0, plan) + (1 + g * plan.band + t) * plan.across


@compiled
def set_apart(sizes, apart, image, tile, plan, out_size):
    """apart[image + g, tile + t]: whether two rows in there are small, somewhere, beside all that a window sees"""
    n, dtype, none = lanes(sizes), sizes.dtype.type, zeros(sizes)
    for g in range(min(plan.images, apart.shape[0] - image)):
        for t in range(min(plan.band, plan.out_rows - tile)):
            outputs, found = min(ROWS, out_size[0] - ROWS * (tile + t)), apart[image + g, tile + t]
            for q in range(0, out_size[1], n):
                total, least = none, none
                for i in range(3):
                    pair, at = none, place_of_sizes(g, t, plan) + i * plan.across + q
                    for column in range(plan.columns):
                        pair = add(pair, load(sizes, at + column))
                    total = add(total, pair)
                    if i < (outputs + 2) // 2:  # else no row of output sees both
                        least = least_of(least, pair) if i else pair
                found |= any_larger(total, dtype(UNEVEN**2), least)
            apart[image + g, tile + t] = found


@compiled
def add_energy(sizes, sums, plan):
    """sums[-1] += sum over tiles of all squares in its rows of x, times all squares in its rows of dy"""
    for place in range(plan.images * plan.band):
        g, t, n = place // plan.band, place % plan.band, lanes(sizes)
        total, at = zeros(sizes), place_of_sizes(g, t, plan)
        for i in range(at, at + 3 * plan.across, n):
            total = add(total, load(sizes, i))
        sums[-1] += total_of(total) * total_of(load(sizes, place_of_dy(g, t, plan)))


@compiled
def cancels(sums):
    """Whether the numbers of some tap are small beside all that was multiplied; ``sums``: of all parts and groups."""
    found, last = False, sums.shape[2] - 1
    for place in range(sums.shape[1] * last):
        group, tap, total, size = place // last, place % last, sums.dtype.type(0), sums.dtype.type(0)
        for part in range(sums.shape[0]):
            total, size = total + sums[part, group, last], size + sums[part, group, tap]
        found |= total > sums.dtype.type(CANCELLED**2) * size
    return found


@compiled
def sizes_of_windows(x, windows, channels, image, h, plan):
    """windows[r*across + q] = sum of the squares of all that output q of row r of a tile sees

    And with r = 4 that of all six rows of x, from h on, in the same columns.
    """
    (_, C, H, W), left, n, flat = x.shape, plan.pad[1], lanes(x), x.ravel()
    rows, at_rows = steps(0, SEEN, W, SEEN), steps(0, SEEN, plan.across, SEEN)
    begin, end = max(0, -left), min(W, plan.pitch - left)
    windows[:] = 0
    for q in range(begin, end, n):
        total, some = zeros_each(x, SEEN, 1), inside(h, H, end - q, SEEN)
        for c in range(channels[0], channels[1]):
            line = ((image * C + c) * H + h) * W + q
            total = add_squares(total, load_each_some(flat, rows, line, some))
        store_each(windows, at_rows, left + q, total)
    for q in range(0, plan.across - n - plan.columns, n):
        total = zeros_each(x, SEEN, 1)
        for column in range(plan.columns):
            total = add_each(total, load_each(windows, at_rows, q + column))
        store_each(windows, at_rows[:5], q, rows_to_windows(total))


@compiled
def mend(arrays, which, turned, plan, doubts, part, start, stop):
    """y by its definition, for outputs that see little of what is in their columns; the bias where they see nothing.

    In the tiles which[start:stop], counted image by image. ``arrays``: x, kernels at the points, bias, y. A kernel
    of its own, since many calls need none. doubts[part] is no longer 0 if too many outputs would be computed so.
    """
    (x, kernels, bias, y), plan, limit, little = arrays, Plan(*plan), arrays[0].dtype.type(UNEVEN**2), 0
    (N, _, H, W), (_, _, height, width), (top, left), across = x.shape, y.shape, plan.pad, plan.across
    (groups, filters), columns, C = bias.shape, plan.columns, x.shape[1] // bias.shape[0]
    taps, w = C * columns, kernels[0]
    windows, seen = np.empty(SEEN * across, x.dtype), np.empty(3 * taps, x.dtype)
    for place in range(start * groups, stop * groups):
        number, group = which[place // groups], place % groups
        image, h = number // plan.out_rows, ROWS * (number % plan.out_rows)
        sizes_of_windows(x, windows, (group * C, (group + 1) * C), image, h - top, plan)
        for output in range(min(ROWS, height - h) * width if little * MENDED <= N * height * width else 0):
            row, column = output // width, output % width
            some = windows[row * across + column]
            if not windows[ROWS * across + column] > limit * some:
                continue
            if some > 0:
                little += 1
                for i in range(3):
                    for j in range(columns):
                        a, b = h + row + i - top, column - left + (columns - 1 - j if turned else j)
                        there = 0 <= a < H and 0 <= b < W
                        for c in range(C):
                            value = x[image, group * C + c, a, b] if there else x.dtype.type(0)
                            seen[i * taps + c * columns + j] = value
            for o in range(filters):
                value = bias[group, o]
                if some > 0:
                    value += product_of(w, groups * filters * taps, (group * filters + o) * taps, seen)
                y[image, group * filters + o, h + row, column] = value
    doubts[part] += little * MENDED > N * height * width


@compiled
def product_of(w, point, at, seen):
    """The sum of a kernel of three rows times what it sees: from the points, rows are 4 p0, 3 (p2 - p1) and p5."""
    total, taps = seen.dtype.type(0), seen.size // 3
    for k in range(taps):
        i = at + k
        middle = 3 * (w[2 * point + i] - w[point + i])
        total += 4 * w[i] * seen[k] + middle * seen[taps + k] + w[5 * point + i] * seen[2 * taps + k]
    return total


# -- kernels at the points ---------------------------------------------------------------------------------------------


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
def empty_points(points, weight, squares, start, stop):
    """weight[g, o, c, :, j] = G^T sum over parts of points[part, :, g, o, (c, j)], for the rows (g, o)

    The squares of all numbers of a tap (i, j) are added to squares[g, i*kw + j]. Returns a number that is 0 unless
    something in there is not finite.
    """
    parts, _, _, rows, taps = points.shape
    groups, O, C, _, kw = weight.shape
    w, n, point, doubt = weight.ravel(), lanes(points), groups * rows * taps, zeros(points)
    at_points, of_kernel = steps(0, POINTS, point, POINTS), steps(0, 3, kw, 3)
    for row in range(start, stop):
        of_group = squares[row // O]
        for q in range(0, kw, n):
            sizes = load_each_some(of_group, of_kernel, q, kw - q)
            for c in range(C):
                total = zeros_each(points, POINTS, 1)
                for part in range(parts):
                    j = POINTS * point * part + (row // O * rows + row % O) * taps + c * kw + q
                    total = add_each(total, load_each_some(points, at_points, j, kw - q))
                found = points_to_kernel(total)
                sizes = add_squares(sizes, found)
                store_each_some(w, of_kernel, (row * C + c) * 3 * kw + q, found, kw - q)
            store_each_some(of_group, of_kernel, q, sizes, kw - q)
            doubt = multiply_add(0, sum_of(sizes), doubt)
    return total_of(doubt)
