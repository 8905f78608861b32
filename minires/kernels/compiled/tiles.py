r"""Convolution with 3x3 kernels in a quarter of the multiplications: Winograd's tiles in both directions ([Lavin2015]).

Applied to the rows and to the columns of a tile, the matrices of kernels/compiled/winograd.py make 4x4 outputs of 36
products, not of 144:

.. math::
    Y = A^T \left[ (G w G^T) \odot (B^T X B) \right] A

with X the 6x6 pixels that the 4x4 outputs Y see. For each of the 36 points that is one product of a matrix (O, C) with
a matrix (C, tiles). Of each pair of channels an output takes 2.25 products, and 4.5 with tiles in one direction. But a
pixel becomes 2.25 numbers at the points, and 1.5 there: with few channels the way to the points and back weighs most.

The lanes of a vector are tiles side by side. Images whose rows are short stand side by side, too, so that 4 vectors
hold a row of them; picking every fourth pixel of these gives the vector of the first columns of all tiles, of the
second, and so on. The two columns that a tile sees of its neighbours are a lane away, or 0 at a border.

Rounding errors are twice those of tiles in one direction (root mean square; three times at most). As there, what sees
only zeros comes out as zero: squares are summed in cells of 2x2 pixels over all channels, and each output sees all of
one of the nine cells of its tile. Where they differ 128-fold, the four rows are left to the product of the definition.

References
----------
.. [Lavin2015] Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308, section 4.
"""

from typing import NamedTuple

import numpy as np

from minires.kernels.compiled import winograd
from minires.kernels.compiled.plan import WORKSPACE
from minires.kernels.compiled.planes import AHEAD, BLOCK, FILTERS, NEVER, NO, VECTOR, ceil_div, multiply, whole_vectors
from minires.kernels.compiled.points import POINTS, ROWS, SEEN, UNEVEN, A, G, rows_to_points
from minires.kernels.machine.blocks import (
    add_squares,
    any_larger,
    least_of,
    linear_map_both,
    load_each,
    steps,
    store_each,
    store_each_some,
)
from minires.kernels.machine.compiler import compiled
from minires.kernels.machine.memory import workspaces
from minires.kernels.machine.threads import num_threads, over_parts
from minires.kernels.machine.vectors import (
    BYTES,
    add,
    even_lanes,
    fetch,
    lane_after,
    lane_before,
    lanes,
    load,
    load_some,
    multiply_add,
    odd_lanes,
    store_some,
    zeros,
    zip_high,
    zip_low,
)

ALL = POINTS * POINTS
LANES = BYTES // 4  # of float32: others are left to tiles in one direction
ENOUGH = 16, 48  # channels for this to pay; the second where images must be laid side by side, or leave an L2 cache

kernel_to_points, points_to_tile = linear_map_both(G), linear_map_both(A.T)


class Plan(NamedTuple):
    """How it is done, in pieces of some images."""

    images: int
    beside: int  # of them, to whose tiles the lanes of a vector belong
    width: int  # numbers from one channel to the next, at one point
    region: int  # from one point to the next
    results: int  # and of products
    offset: np.ndarray  # of each channel


class Room(NamedTuple):
    """Where threads compute, a row for each; the rest as for winograd.Room."""

    kernels: np.ndarray
    points: np.ndarray
    products: np.ndarray
    side_by_side: np.ndarray  # a channel of the images, and four rows of y; before that the kernels by tap
    columns: np.ndarray  # the same with its columns at the points, and a row of zeros before it and after it
    sizes: np.ndarray
    doubts: np.ndarray
    apart: np.ndarray  # (N, rows of tiles)


@compiled
def every_fourth(row):
    """The numbers 0, 4, 8, ... of four vectors; 1, 5, 9, ...; 2, 6, 10, ...; 3, 7, 11, ..."""
    a, b, c, d = row
    even, more_even, odd, more_odd = even_lanes(a, b), even_lanes(c, d), odd_lanes(a, b), odd_lanes(c, d)
    return even_lanes(even, more_even), even_lanes(odd, more_odd), odd_lanes(even, more_even), odd_lanes(odd, more_odd)


@compiled
def in_order(columns):
    """The four vectors of which every_fourth made these."""
    a, b, c, d = columns
    low, more_low, high, more_high = zip_low(a, c), zip_low(b, d), zip_high(a, c), zip_high(b, d)
    return zip_low(low, more_low), zip_high(low, more_low), zip_low(high, more_high), zip_high(high, more_high)


@compiled
def places_of(x, plan):
    """(whether it is whole vectors, where they begin) of a row of the images that stand side by side"""
    _, C, H, W = x.shape
    n, image = lanes(x), C * H * W
    i, j, k = n, 2 * n, 3 * n
    whole = W % n == 0 and plan.beside * W == 4 * n
    return whole, (0, i // W * image + i % W, j // W * image + j % W, k // W * image + k % W)


@compiled
def evaluate(x, borders, room, part, image, plan):
    """points[a, c, (q, t, lane)] = (B^T X B)[a] of the tile in this lane, in row t of tiles of the q-th images beside

    and the squares of x in its cells of 2x2 pixels are added to sizes.
    """
    (N, C, H, W), n, flat, none = x.shape, lanes(x), x.ravel(), zeros(x)
    wide, columns, points, sizes = room.side_by_side[part], room.columns[part], room.points[part], room.sizes[part]
    left, right, tile_rows, (whole, places) = load(borders, 0), load(borders, n), H // ROWS, places_of(x, plan)
    of_point, of_cell, of_tile = steps(0, SEEN, n, SEEN), steps(0, 3, n, 3), SEEN * n
    at_points = steps(0, POINTS, POINTS * plan.region, POINTS)
    for q in range(plan.images // plan.beside):
        first = image + q * plan.beside
        straight = whole and first + plan.beside <= N  # a row of these images is four vectors, where it is
        for c in range(C):
            line = (first * C + c) * H * W
            if straight:
                source, of_row, begin, down = flat, places, line, W
            else:
                source, of_row, begin, down = wide, steps(0, 4, n, 4), 0, ROWS * n
                for g in range(plan.beside):
                    count = W if first + g < N else 0
                    for h in range(H):
                        for k in range(0, W, n):
                            fetch(flat, line + (g * C * H + h) * W + k + AHEAD)
                            seen = load_some(flat, line + (g * C * H + h) * W + k, count - k)
                            store_some(wide, h * down + g * W + k, seen, W - k)
            for h in range(H):
                if straight:
                    for place in places:
                        fetch(flat, place + begin + h * down + AHEAD)
                s, t, u, v = every_fourth(load_each(source, of_row, begin + h * down))
                before, after = multiply_add(left, lane_before(v, v), none), multiply_add(right, lane_after(s, s), none)
                seen, cell = (before, s, t, u, v, after), (q * (2 * tile_rows + 1) + (h + 1) // 2) * 3 * n
                store_each(sizes, of_cell, cell, add_squares(load_each(sizes, of_cell, cell), seen))
                store_each(columns, of_point, (h + 1) * of_tile, rows_to_points(seen))
            for t in range(tile_rows):
                for j in range(POINTS):
                    seen = load_each(columns, steps(0, SEEN, of_tile, SEEN), (ROWS * t * POINTS + j) * n)
                    place = c * plan.width + (q * tile_rows + t) * n + j * plan.region
                    store_each(points, at_points, place, rows_to_points(seen))


@compiled
def interpolate(y, channels, room, part, image, plan):
    """y[..., channels[0] : channels[1], :, :] = A^T products A, for the images of this piece"""
    (N, O, H, W), n, flat, tile_rows = y.shape, lanes(y), y.ravel(), y.shape[2] // ROWS
    products, (begin, end), (whole, places) = room.products[part], channels, places_of(y, plan)
    at_points, wide = steps(0, ALL, plan.results, ALL), room.side_by_side[part, H * ROWS * n :]
    for q in range(plan.images // plan.beside):
        first = image + q * plan.beside
        straight = whole and first + plan.beside <= N
        for o in range(begin, end):
            for t in range(tile_rows):
                line = ((first * O + o) * H + ROWS * t) * W
                if straight:
                    to, of_row, here, down = flat, places, line, W
                else:
                    to, of_row, here, down = wide, steps(0, 4, n, 4), 0, ROWS * n
                place = (o - begin) * plan.width + (q * tile_rows + t) * n
                found = points_to_tile(load_each(products, at_points, place))
                store_each(to, of_row, here, in_order(found[:4]))
                store_each(to, of_row, here + down, in_order(found[4:8]))
                store_each(to, of_row, here + 2 * down, in_order(found[8:12]))
                store_each(to, of_row, here + 3 * down, in_order(found[12:]))
                for g in range(0 if straight else min(plan.beside, N - first)):
                    for row in range(ROWS):
                        for k in range(0, W, n):
                            some = load_some(wide, row * down + g * W + k, W - k)
                            store_some(flat, line + (g * O * H + row) * W + k, some, W - k)


@compiled
def set_apart(sizes, apart, image, across, plan):
    """apart[image + g, t]: whether a cell of some tile in this row of tiles is small beside the others.

    ``across``: tiles in a row of an image. Returns how many rows of tiles are not set apart; the sizes are forgotten.
    """
    n, even, (N, tile_rows) = lanes(sizes), 0, apart.shape
    for g in range(min(plan.images, N - image)):
        for t in range(tile_rows):
            row = g // plan.beside * (2 * tile_rows + 1) + 2 * t
            place = row * 3 * n + g % plan.beside * across
            total = least = load_some(sizes, place, across)
            for i in range(1, 9):  # three cells of three rows
                cell = load_some(sizes, place + i * n, across)
                total, least = add(total, cell), least_of(least, cell)
            apart[image + g, t] = any_larger(total, sizes.dtype.type(UNEVEN**2), least)
            even += not apart[image + g, t]
    sizes[:] = 0
    return even


@compiled
def fill_points(weight, turned, by_tap, kernels):
    """kernels[:, o, c] = G weight[o, c] G^T; ``turned``: weight[c, o, ::-1, ::-1] instead"""
    _, O, C = kernels.shape
    size, w, flat = O * C, weight.ravel(), kernels.ravel()
    for o in range(O):
        for c in range(C):
            for tap in range(9):
                by_tap[tap * size + o * C + c] = w[9 * (c * O + o) + 8 - tap] if turned else w[9 * (o * C + c) + tap]
    for i in range(0, size, lanes(kernels)):
        found = kernel_to_points(load_each(by_tap, steps(0, 9, size, 9), i))
        store_each_some(flat, steps(0, ALL, size, ALL), i, found, size - i)


@compiled
def correlate(arrays, turned, plan, room, part, start, stop):
    """y = 3x3 kernels applied to x, for pieces start to stop. ``arrays``: x, weight, bias at the points, y, borders.

    ``turned``: as for winograd.Way.
    """
    (x, weight, bias, y, borders), plan, room = arrays, Plan(*plan), Room(*room)
    (_, C, H, W), O, n, doubts = x.shape, y.shape[1], lanes(x), room.doubts
    kernels, points = room.kernels[part, : ALL * O * C].reshape(ALL, O, C), room.points[part]
    wide, columns, sizes = room.side_by_side[part], room.columns[part], room.sizes[part]
    fill_points(weight, turned, wide, kernels)
    size = plan.images // plan.beside * H // ROWS * n
    wide[:], columns[:], sizes[:] = 0, 0, 0
    for piece in range(start, stop):
        image = piece * plan.images
        evaluate(x, borders, room, part, image, plan)
        if set_apart(sizes, room.apart, image, W // ROWS, plan) == 0:
            continue
        for first in range(0, O, FILTERS):
            last = min(first + FILTERS, O)
            for a in range(ALL):
                begin = a * plan.results
                out = room.products[part, begin : begin + (last - first) * plan.width].reshape(last - first, plan.width)
                some, shift, seen = kernels[a, first:last], bias[a, first:last], points[a * plan.region :]
                doubts[part] += multiply(some, shift, seen, plan.offset, (NO, C), out, (NO, size), NEVER)
            interpolate(y, (first, last), room, part, image, plan)


class Way(NamedTuple):
    """Tiles in both directions for y (or dx) in float32; ``rows``, tiles in one direction, does all else."""

    rows: winograd.Way
    plan: Plan
    sizes: tuple  # numbers that a thread needs for the first six of Room
    borders: np.ndarray  # 0 where the tile in a lane has no neighbour before, and after; 1 elsewhere

    def product(self, x, weight, bias):
        """(y, whether any of it may be not finite)"""
        if x.dtype != np.float32:
            return self.rows.product(x, weight, bias)
        plan, (N, O, *_), threads = self.plan, self.rows.result, num_threads()
        y, shift = np.empty(self.rows.result, x.dtype), np.zeros((ALL, O), x.dtype)
        if bias is not None:  # it enters all outputs of point (1, 1) with the factor 1
            shift[POINTS + 1] = bias
        doubts, apart = np.zeros(threads, x.dtype), np.zeros((N, x.shape[2] // ROWS), np.bool_)
        room = *workspaces(threads, x.dtype, *self.sizes), doubts, apart
        pieces = ceil_div(N, plan.images)
        over_parts(correlate, pieces, (x, weight, shift, y, self.borders), self.rows.turned, tuple(plan), room)
        doubt = np.count_nonzero(doubts) > 0  # NaN counts
        if not doubt and np.count_nonzero(apart):
            return self.rows.uneven.product(x, weight, bias, y, np.flatnonzero(apart))
        return y, doubt

    def weight_gradient(self, dy, x):
        return self.rows.weight_gradient(dy, x)


def better(rows, x_shape):
    """The way with tiles in both directions where it is open and pays, else ``rows``."""
    (N, C, H, W), (groups, O, _, _, kw), pad = x_shape, rows.shape, rows.plan.pad
    same = kw == 3 and pad == (1, 1) and rows.result[2:] == (H, W) and groups == 1
    if not same or H % ROWS or W % ROWS or W > ROWS * LANES:
        return rows
    beside, tile_rows = ROWS * LANES // W, H // ROWS
    groups = ceil_div(BLOCK, tile_rows * LANES)
    images, width = groups * beside, whole_vectors(groups * tile_rows * LANES) | VECTOR  # an odd number of lines
    region, results, kernels = C * width | VECTOR, min(O, FILTERS) * width | VECTOR, ALL * O * C
    whole = W % LANES == 0 and beside * W == ROWS * LANES
    least = ENOUGH[0 if whole and ALL * region <= WORKSPACE // 2 else 1]
    if min(O, C) < least or kernels > winograd.OWN or ALL * region > WORKSPACE or N < images * num_threads():
        return rows
    by_row, cells = ROWS * LANES * (H + ROWS), groups * (2 * tile_rows + 1) * 3 * LANES
    sizes = kernels, ALL * region, ALL * results, max(by_row, 9 * O * C + VECTOR), (H + 2) * SEEN * LANES, cells
    borders = np.ones((2, LANES), np.float32)
    borders[0, :: W // ROWS] = borders[1, W // ROWS - 1 :: W // ROWS] = 0
    return Way(rows, Plan(images, beside, width, region, results, np.arange(C + 1) * width), sizes, borders)
