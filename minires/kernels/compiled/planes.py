"""Convolution, compiled.

The definition (kernels/reference.py) copies every window into a column: 9 copies of the image for a 3x3 kernel.
But within one row of the image, the pixels that a tap of the kernel sees as the window moves are simply the row
itself, shifted. Written out as one long row, the padded image with its rows end to end, that holds for the whole
image at once:

    y[o, p] = sum over k = (c, i, j) of weight[o, k] * planes[offset[k] + p],    offset[k] = plane c + i*pitch + j

where p = row*pitch + column runs over all output pixels and ``pitch`` is the length of a padded row. (At the end of
each row stand a few values of p that belong to no pixel; they are computed and left out.) So a convolution is a
matrix product whose second factor needs no copying, only offsets. Four more steps make it general and fast:

* Several images share one plane, row by row: row 0 of image 0, row 0 of image 1, ..., row 1 of image 0, ... The
  step to the next row of the same image is then one number for all of them, and small images fill long rows.
* Stride s: the padded image is dealt out into planes by phase. The rows of a plane are every s-th row, so that taps
  move by one row again; for its columns, each column of taps has a plane of its own, with just those pixels it sees.
* Without gaps, then, out is y itself: such an image is written where it belongs, a block of pixels at a time.
* The gradient with respect to x is a convolution of dy with the kernel turned over. With stride s, s*s of them, one
  for each remainder, with the taps that reach it.

The innermost loop keeps a block of sums in registers, 4 filters times 4 vectors of pixels where there are 32 registers,
and reads each of 8 operands for 16 multiplications; it reaches the processor's peak. Pixels left over, less than a
block, go one vector at a time.
"""

from typing import NamedTuple

import numpy as np

from minires.kernels.machine.blocks import (
    add_products,
    add_totals,
    fill_each,
    grid,
    load_each,
    load_each_some,
    pick_each,
    steps,
    store_each,
    store_each_past,
    store_each_some,
    sum_of,
    zeros_each,
)
from minires.kernels.machine.compiler import compiled
from minires.kernels.machine.threads import over_threads
from minires.kernels.machine.vectors import (
    REGISTERS,
    add,
    even_lanes,
    fetch,
    lanes,
    load_some,
    multiply_add,
    odd_lanes,
    settle,
    store_some,
    total_of,
    zeros,
    zip_high,
    zip_low,
)

# The block of sums: TALL filters times WIDE vectors, of pixels or of taps. It leaves registers for WIDE vectors and one
# number: 4*4 + 4 + 1 of 32, or 4*3 + 3 + 1 of 16.
TALL, WIDE = (4, 4) if REGISTERS >= 32 else (4, 3)
BLOCK = 64  # pixels: at most what the innermost loop handles at a time (4 vectors of 16 floats)
VECTOR = 16  # floats: of the rest, as many at a time
FILTERS = 64  # whose results are kept before they are written
TAPS = 192  # at a time, or half of them: what they see of 64 pixels stays in an L1 cache while all filters use it
TOGETHER = 48  # taps, whole blocks, in the weight gradient: what they see of those pixels stays in L2
PIXELS = 1024  # at a time, in the weight gradient: those of 4 filters and of a tap stay in L1
LARGE = 6_000_000  # numbers: what is larger has left L3 again before it is read
NO, NEVER = np.intp(0), np.bool_(False)  # for a plain 0 or False, kernels are compiled once more
AHEAD = 4096  # numbers: how long before its turn memory is asked for


class Grid(NamedTuple):
    """Planes of some images: for phase (a, b) the rows s*row + a - top and the columns s*column + b - left."""

    phases: np.ndarray
    images: int  # whose rows alternate in a plane
    rows: int  # of each
    pitch: int  # numbers from one row to that of the next image
    plane: int  # numbers from one plane to the next
    step_h: int
    step_w: int
    top: int
    left: int


@compiled
def ceil_div(a, b):
    return -(-a // b)


def whole_vectors(pixels):
    """So many pixels and those that fill up the last vector of 16."""
    return ceil_div(pixels, VECTOR) * VECTOR


# -- the innermost loops ----------------------------------------------------------------------------------------------


@compiled
def multiply(weight, bias, planes, offset, taps, out, pixels, past):
    """out[o, p0 + p] = bias[o] + sum over k of weight[o, k] * planes[offset[k] + p], for p from 0 to p1 - p0

    and k from taps[0] to taps[1]; (p0, p1) are ``pixels``. Returns a number that is finite, and then 0, only if all of
    these are finite. With ``past`` they go to memory past the caches, if each is written only once.
    """
    n, doubt, (start, stop), (p0, p1) = lanes(planes), zeros(planes), taps, pixels
    overlap = stop - start > 1 and offset[start + 1] - offset[start] < WIDE * n  # neighbours see nearly the same
    together = TAPS if overlap else TAPS // 2
    past = past and stop - start <= together
    size, end = p1 - p0, weight.shape[0] - 1
    whole = size // (WIDE * n) * WIDE * n
    columns = steps(0, WIDE, n, WIDE)
    for first in range(start, max(stop, start + 1), together):
        last = min(first + together, stop)
        for p in range(0, whole, WIDE * n):
            for o in range(0, end + 1, TALL):  # fewer filters left than rows: the last once more
                filters, block = steps(o, end, weight.shape[1], TALL), grid(steps(o, end, out.shape[1], TALL), columns)
                if first == start:
                    sums = fill_each(planes, pick_each(bias, steps(o, end, 1, TALL), 0), WIDE)
                else:
                    sums = load_each(out, block, p0 + p)
                for k in range(first, last):
                    sums = add_products(sums, pick_each(weight, filters, k), load_each(planes, columns, offset[k] + p))
                if past:
                    store_each_past(out, block, p0 + p, sums)
                else:
                    store_each(out, block, p0 + p, sums)
                doubt = multiply_add(out.dtype.type(0), sum_of(sums), doubt)
        for p in range(whole, size, n):
            place = p, p0 + p, size - p
            doubt = add(doubt, multiply_rest(weight, bias, planes, offset, (first, last), out, place, first == start))
    if past:
        settle()  # before other threads are told that this part is done
    return total_of(doubt)


@compiled
def multiply_rest(weight, bias, planes, offset, taps, out, place, first):
    """The same for ``count`` pixels, at most one vector: 8 filters at a time, since 8 sums keep the processor busy.

    ``place``: the pixel in the planes, the pixel in out, count. Not the first to add to out, it adds to what is there.
    """
    doubt, end, itself, (p, to, count) = zeros(planes), weight.shape[0] - 1, steps(0, 0, 1, 1), place
    for o in range(0, end + 1, 8):
        filters, block = steps(o, end, weight.shape[1], 8), steps(o, end, out.shape[1], 8)
        if first:
            sums = fill_each(planes, pick_each(bias, steps(o, end, 1, 8), 0), 1)
        else:
            sums = load_each_some(out, block, to, count)
        for k in range(taps[0], taps[1]):
            seen = load_each_some(planes, itself, offset[k] + p, count)
            sums = add_products(sums, pick_each(weight, filters, k), seen)
        store_each_some(out, block, to, sums, count)
        doubt = multiply_add(out.dtype.type(0), sum_of(sums), doubt)
    return doubt


@compiled
def multiply_transposed(dout, pixels, planes, offset, dweight):
    """dweight[o, k] += sum over p of dout[o, p0 + p] * planes[offset[k] + p]: the derivative, for whole blocks"""
    n, blocks, (p0, p1) = lanes(planes), dweight.shape[0] // TALL, pixels
    size = p1 - p0
    chunks = ceil_div(size, PIXELS)
    together = ceil_div(size, chunks * n) * n
    taps = min(offset.size, TOGETHER if together > 4 * BLOCK else offset.size)
    rounds = ceil_div(offset.size, taps)
    for i in range(chunks * rounds * blocks):
        o, first, start = i % blocks * TALL, i // blocks % rounds * taps, i // blocks // rounds * together
        end = o + TALL - 1
        filters, totals = steps(o, end, dout.shape[1], TALL), steps(o, end, offset.size, TALL)
        for k in range(first, min(first + taps, offset.size), WIDE):
            seen, sums = pick_each(offset, steps(k, k + WIDE - 1, 1, WIDE), 0), zeros_each(planes, TALL, WIDE)
            for p in range(start, min(start + together, size), n):
                sums = add_products(sums, load_each(dout, filters, p0 + p), load_each(planes, seen, p))
            add_totals(dweight, totals, k, sums)


# -- between images and planes ----------------------------------------------------------------------------------------


@compiled
def gather(x, planes, channels, image, first_row, grid):
    """planes[c, phase, row, g, column] = x[image + g, c, s*(first_row + row) + a - top, s*column + b - left]

    for phase (a, b). What lies outside the image is 0. Columns outside are never written: they are 0 from the start.
    """
    N, C, H, W = x.shape
    flat, phases, count = x.ravel(), grid.phases, grid.phases.shape[0]
    shift, begin, end, h, top_row, end_row = np.empty((6, count), np.int64)
    for i in range(count):
        shift[i], h[i] = phases[i, 1] - grid.left, grid.step_h * first_row + phases[i, 0] - grid.top
        begin[i] = min(max(0, -(shift[i] // grid.step_w)), grid.pitch)  # the first column and row inside the image
        end[i] = max(begin[i], min(grid.pitch, (W - 1 - shift[i]) // grid.step_w + 1))
        top_row[i] = min(max(0, -(h[i] // grid.step_h)), grid.rows)
        end_row[i] = max(top_row[i], min(grid.rows, (H - 1 - h[i]) // grid.step_h + 1))
    # With stride 2, neighbouring pixels go to two planes: where one phase is beside the next, both are read together.
    # And the phase before such two sees what the second sees, a column later.
    beside, before = np.zeros((2, count + 1), np.bool_)
    for i in range(count - 1 if grid.step_w == 2 else 0):
        same = phases[i, 0] == phases[i + 1, 0] and begin[i] == begin[i + 1] and end[i] == end[i + 1]
        beside[i + 1] = same and shift[i] + 1 == shift[i + 1] and not beside[i]
        if i > 0 and beside[i + 1] and not beside[i]:
            one_less = phases[i - 1, 0] == phases[i, 0] and shift[i - 1] == shift[i] - 1
            before[i] = one_less and begin[i - 1] == begin[i] + 1 and end[i - 1] <= end[i] + 1
    for c in range(channels[1] - channels[0]):
        for place in range(grid.images * count):
            g, i = place // count, place % count
            if beside[i] or before[i + 1]:
                continue
            rows = top_row[i], end_row[i] if image + g < N else top_row[i]
            line = (((image + g) * C + channels[0] + c) * H + h[i] + grid.step_h * rows[0]) * W + shift[i]
            position = (c * count + i) * grid.plane + g * grid.pitch
            before_end = end[i - 1] - 1 if before[i] else 0
            columns = begin[i], end[i], end[i] if beside[i + 1] else 0, before_end
            deal_out(flat, planes, line, position, rows, columns, grid.step_h * W, grid)


@compiled
def deal_out(x, planes, line_0, position_0, rows, columns, down, grid):
    """Copy the rows of one phase of an image to its plane, in strips as wide as a vector, from row to row.

    ``columns``: the first, and the end for this phase, for the phase beside it and for the phase before it, or 0.
    """
    n, below, plane = lanes(x), grid.images * grid.pitch, grid.plane
    (first, last), (begin, end, beside, before) = rows, columns
    for q in range(begin, end, n):
        some = end - q
        for row in range(grid.rows - last + first):
            position = position_0 + (row if row < first else row - first + last) * below + q
            store_some(planes, position, zeros(x), some)
            store_some(planes, position + plane, zeros(x), beside - q)
            store_some(planes, position - plane + 1, zeros(x), before - q)
        line, position = line_0 + grid.step_w * q, position_0 + first * below + q
        for _ in range(first, last):
            fetch(x, line + AHEAD)
            if grid.step_w == 1:
                store_some(planes, position, load_some(x, line, some), some)
            elif grid.step_w == 2:
                more = 2 * some - (0 if beside else 1)
                fetch(x, line + AHEAD + n)
                low, high = load_some(x, line, more), load_some(x, line + n, more - n)
                store_some(planes, position, even_lanes(low, high), some)
                if beside:
                    store_some(planes, position + plane, odd_lanes(low, high), some)
                if before:
                    store_some(planes, position - plane + 1, odd_lanes(low, high), before - q)
            else:
                for column in range(min(n, some)):
                    planes[position + column] = x[line + grid.step_w * column]
            line, position = line + down, position + below


@compiled
def scatter(results, y, channels, image, first_row, plan):
    """y[image + g, channels[0] + o, s*row + a, s*column + b] = results[s*a + b, o, row, g, column]

    as far as y goes.
    """
    images, pitch, (step_h, step_w), columns = plan.images, plan.pitch, plan.step, plan.columns
    N, C, H, W = y.shape
    flat, n = y.ravel(), lanes(y)
    for g in range(min(images, N - image)):
        for o in range(channels[1] - channels[0]):
            for row in range(first_row, min(first_row + plan.band, plan.out_rows)):
                position = ((row - first_row) * images + g) * pitch
                for a in range(min(step_h, H - step_h * row)):
                    line = (((image + g) * C + channels[0] + o) * H + step_h * row + a) * W
                    if step_w == 1:
                        rows = results[a, o]
                        for column in range(0, W, n):
                            fetch(flat, line + column + AHEAD)
                            value = load_some(rows, position + column, W - column)
                            store_some(flat, line + column, value, W - column)
                    elif step_w == 2:
                        even, odd = results[2 * a, o], results[2 * a + 1, o]
                        for column in range(0, columns, n):
                            left = load_some(even, position + column, columns - column)
                            right = load_some(odd, position + column, columns - column)
                            i, count = line + 2 * column, W - 2 * column
                            fetch(flat, i + AHEAD), fetch(flat, i + AHEAD + n)
                            store_some(flat, i, zip_low(left, right), count)
                            store_some(flat, i + n, zip_high(left, right), count - n)
                    else:
                        for w in range(W):
                            flat[line + w] = results[a * step_w + w % step_w, o, position + w // step_w]


# -- weights ----------------------------------------------------------------------------------------------------------


@compiled
def fill_turned(weight, order, turned, start, stop):
    """turned[g, c, (t, o)] = weight[g, o, c, order[t]]; as many channels at a time as fill a line of the cache"""
    _, O, C, taps = weight.shape
    flat, lines = weight.ravel(), ceil_div(C, VECTOR)
    for line in range(start, stop):
        g, first = line // lines, line % lines * VECTOR
        last = min(first + VECTOR, C)
        for o in range(O):
            for i in range(0, VECTOR * taps, lanes(weight)):
                fetch(flat, ((g * O + o + 16) * C + first) * taps + i)  # filters lie far apart: ask 16 of them ahead
            seen = weight[g, o, first:last]
            for t in range(order.size):
                tap, to = order[t], turned[g, first:last, t * O + o]
                for c in range(to.size):
                    to[c] = seen[c, tap]


def turn(weight, shape, order):
    """weight (O, C, taps) of each group as filters for channels, their taps in this order: (groups, C, (taps, O))

    With numbers to spare at the end of each filter: an odd number of lines of the cache, else they share its sets.
    """
    groups, C, O = shape
    turned = np.empty((groups, C, whole_vectors(order.size * O) | VECTOR), weight.dtype)
    weight = weight.reshape(groups, O, C, -1)
    over_threads(fill_turned, groups * ceil_div(C, VECTOR), weight, order, turned, work=weight.size)
    return turned
