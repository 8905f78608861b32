"""Convolution, compiled.

The definition (kernels/reference.py) copies every window into a column: 9 copies of the image for a 3x3 kernel.
But within one row of the image, the pixels that a tap of the kernel sees as the window moves are simply the row
itself, shifted. Written out as one long row, the padded image with its rows end to end, that holds for the whole
image at once:

    y[o, p] = sum over k = (c, i, j) of weight[o, k] * planes[offset[k] + p],    offset[k] = plane c + i*pitch + j

where p = row*pitch + column runs over all output pixels and ``pitch`` is the length of a padded row. (At the end of
each row stand a few values of p that belong to no pixel; they are computed and left out.) So a convolution is a
matrix product whose second factor needs no copying, only offsets. Three more steps make it general:

* Several images share one plane, row by row: row 0 of image 0, row 0 of image 1, ..., row 1 of image 0, ... The
  step to the next row of the same image is then one number for all of them, and small images fill long rows.
* Stride s: the padded image is dealt out into s*s planes, the pixels whose row and column leave the same remainders.
  On these planes every tap moves by one pixel again.
* The gradient with respect to x is a convolution of dy with the kernel turned over. With stride s, s*s of them, one
  for each remainder, with the taps that reach it.

The innermost loop keeps 4 filters times 4 vectors of pixels as sums in registers and reads each of 8 operands for 16
multiplications; it reaches the processor's peak.
"""

import numpy as np

from minires.kernels.compiler import compiled
from minires.kernels.parallel import over_threads
from minires.kernels.simd import (
    add,
    add_totals,
    even_lanes,
    fetch,
    fill,
    lanes,
    load,
    load_some,
    multiply_add,
    odd_lanes,
    store,
    store_some,
    total_of,
    zeros,
    zip_high,
    zip_low,
)

BLOCK = 64  # pixels: what the innermost loop handles at a time (4 vectors of 16 floats)
FILTERS = 32  # whose results are kept before they are written
TAPS = 192  # at a time, or half of them: what they see of 64 pixels stays in an L1 cache while all filters use it
TOGETHER = 48  # taps, in the weight gradient: what they see of those pixels stays in L2
PIXELS = 1024  # at a time, in the weight gradient: those of 4 filters and of a tap stay in L1
AHEAD = 4096  # numbers: how long before its turn memory is asked for


@compiled
def ceil_div(a, b):
    return -(-a // b)


# -- the innermost loops ----------------------------------------------------------------------------------------------


@compiled
def multiply(weight, bias, planes, offset, start, stop, out):
    """out[4*b + f, p] = bias[b, f] + sum over k from start to stop of weight[b, k, f] * planes[offset[k] + p]

    Returns a number that is finite, and then 0, only if all of out is finite.
    """
    n = lanes(planes)
    doubt = zeros(planes)
    overlap = stop - start > 1 and offset[start + 1] - offset[start] < 4 * n  # neighbours see nearly the same pixels
    taps = TAPS if overlap else TAPS // 2
    steps = out.shape[1] // (4 * n)
    for job in range(max(1, ceil_div(stop - start, taps)) * steps):
        first, p = start + job // steps * taps, job % steps * 4 * n
        for b in range(weight.shape[0]):
            row0, row1, row2, row3 = out[4 * b], out[4 * b + 1], out[4 * b + 2], out[4 * b + 3]
            if first == start:
                s00 = s01 = s02 = s03 = fill(planes, bias[b, 0])
                s10 = s11 = s12 = s13 = fill(planes, bias[b, 1])
                s20 = s21 = s22 = s23 = fill(planes, bias[b, 2])
                s30 = s31 = s32 = s33 = fill(planes, bias[b, 3])
            else:
                s00, s01, s02, s03 = load(row0, p), load(row0, p + n), load(row0, p + 2 * n), load(row0, p + 3 * n)
                s10, s11, s12, s13 = load(row1, p), load(row1, p + n), load(row1, p + 2 * n), load(row1, p + 3 * n)
                s20, s21, s22, s23 = load(row2, p), load(row2, p + n), load(row2, p + 2 * n), load(row2, p + 3 * n)
                s30, s31, s32, s33 = load(row3, p), load(row3, p + n), load(row3, p + 2 * n), load(row3, p + 3 * n)
            for k in range(first, min(first + taps, stop)):
                x0 = load(planes, offset[k] + p)
                x1 = load(planes, offset[k] + p + n)
                x2 = load(planes, offset[k] + p + 2 * n)
                x3 = load(planes, offset[k] + p + 3 * n)
                w = weight[b, k, 0]
                s00, s01 = multiply_add(w, x0, s00), multiply_add(w, x1, s01)
                s02, s03 = multiply_add(w, x2, s02), multiply_add(w, x3, s03)
                w = weight[b, k, 1]
                s10, s11 = multiply_add(w, x0, s10), multiply_add(w, x1, s11)
                s12, s13 = multiply_add(w, x2, s12), multiply_add(w, x3, s13)
                w = weight[b, k, 2]
                s20, s21 = multiply_add(w, x0, s20), multiply_add(w, x1, s21)
                s22, s23 = multiply_add(w, x2, s22), multiply_add(w, x3, s23)
                w = weight[b, k, 3]
                s30, s31 = multiply_add(w, x0, s30), multiply_add(w, x1, s31)
                s32, s33 = multiply_add(w, x2, s32), multiply_add(w, x3, s33)
            store(row0, p, s00), store(row0, p + n, s01), store(row0, p + 2 * n, s02), store(row0, p + 3 * n, s03)
            store(row1, p, s10), store(row1, p + n, s11), store(row1, p + 2 * n, s12), store(row1, p + 3 * n, s13)
            store(row2, p, s20), store(row2, p + n, s21), store(row2, p + 2 * n, s22), store(row2, p + 3 * n, s23)
            store(row3, p, s30), store(row3, p + n, s31), store(row3, p + 2 * n, s32), store(row3, p + 3 * n, s33)
            one = add(add(add(s00, s01), add(s02, s03)), add(add(s10, s11), add(s12, s13)))
            two = add(add(add(s20, s21), add(s22, s23)), add(add(s30, s31), add(s32, s33)))
            doubt = multiply_add(out.dtype.type(0), add(one, two), doubt)
    return total_of(doubt)


@compiled
def multiply_transposed(dout, planes, offset, dweight):
    """dweight[o, k] += sum over p of dout[o, p] * planes[offset[k] + p]: the derivative, for o and k in fours"""
    n, fours, chunks = lanes(planes), dweight.shape[0] // 4, ceil_div(dout.shape[1], PIXELS)
    pixels = ceil_div(dout.shape[1], chunks * n) * n
    taps = min(offset.size, TOGETHER if pixels > 4 * BLOCK else offset.size)
    steps = ceil_div(offset.size, taps)
    for job in range(chunks * steps * fours):
        o, first, start = job % fours * 4, job // fours % steps * taps, job // fours // steps * pixels
        stop = min(start + pixels, dout.shape[1])
        d0, d1, d2, d3 = dout[o], dout[o + 1], dout[o + 2], dout[o + 3]
        for k in range(first, min(first + taps, offset.size), 4):
            o0, o1, o2, o3 = offset[k], offset[k + 1], offset[k + 2], offset[k + 3]
            s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zeros(planes)
            s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = zeros(planes)
            for p in range(start, stop, n):
                y0, y1, y2, y3 = load(d0, p), load(d1, p), load(d2, p), load(d3, p)
                x = load(planes, o0 + p)
                s00, s10 = multiply_add(x, y0, s00), multiply_add(x, y1, s10)
                s20, s30 = multiply_add(x, y2, s20), multiply_add(x, y3, s30)
                x = load(planes, o1 + p)
                s01, s11 = multiply_add(x, y0, s01), multiply_add(x, y1, s11)
                s21, s31 = multiply_add(x, y2, s21), multiply_add(x, y3, s31)
                x = load(planes, o2 + p)
                s02, s12 = multiply_add(x, y0, s02), multiply_add(x, y1, s12)
                s22, s32 = multiply_add(x, y2, s22), multiply_add(x, y3, s32)
                x = load(planes, o3 + p)
                s03, s13 = multiply_add(x, y0, s03), multiply_add(x, y1, s13)
                s23, s33 = multiply_add(x, y2, s23), multiply_add(x, y3, s33)
            sums = s00, s01, s02, s03, s10, s11, s12, s13, s20, s21, s22, s23, s30, s31, s32, s33
            add_totals(dweight, o * offset.size + k, offset.size, sums)


# -- between images and planes ----------------------------------------------------------------------------------------


@compiled
def gather(x, planes, channels, phases, image, first_row, layout, plane, source):
    """planes[c, phase, row, g, column] = x[image + g, c, s*(first_row + row) + a - top, s*column + b - left]

    What lies outside the image is 0. Columns outside are never written: they are 0 from the start.
    """
    images, rows, pitch = layout
    step_h, step_w, top, left = source
    N, C, H, W = x.shape
    flat, n = x.ravel(), lanes(x)
    shift = phases - np.array([top, left])
    begin = np.clip(-(shift[:, 1] // step_w), 0, pitch)  # the first column inside the image
    end = np.maximum(begin, np.minimum(pitch, (W - 1 - shift[:, 1]) // step_w + 1))
    # Pixels 2j and 2j + 1 go to phases (a, 0) and (a, 1), or the other way round. Where all do, they are read together.
    even = left // 2 if left % 2 == 0 else plane + left // 2
    odd = plane + left // 2 if left % 2 == 0 else left // 2 + 1
    pairs = step_w == 2 and W % 2 == 0 and phases.shape[0] % 2 == 0 and left >= 0
    for i in range(0, phases.shape[0] - 1, 2):
        whole = min(end[i] - begin[i], end[i + 1] - begin[i + 1]) == W // 2
        pairs = pairs and whole and phases[i, 0] == phases[i + 1, 0]
    for job in range(images * (channels[1] - channels[0]) * phases.shape[0]):
        phase, c = job % phases.shape[0], job // phases.shape[0] % (channels[1] - channels[0])
        g = job // phases.shape[0] // (channels[1] - channels[0])
        first, last, line_0 = begin[phase], end[phase], ((image + g) * C + channels[0] + c) * H * W
        position_0 = (c * phases.shape[0] + phase) * plane + g * pitch
        for row in range(rows):
            h = step_h * (first_row + row) + shift[phase, 0]
            line, position = line_0 + h * W, position_0 + row * images * pitch
            if h < 0 or h >= H or image + g >= N:
                planes[position + first : position + last] = 0
            elif step_w == 1:
                for column in range(first, last, n):
                    i = line + shift[phase, 1] + column
                    fetch(flat, i + AHEAD)
                    store_some(planes, position + column, load_some(flat, i, last - column), last - column)
            elif pairs and phase % 2 == 0:
                for j in range(0, W // 2, n):
                    i, count = line + 2 * j, W // 2 - j
                    fetch(flat, i + AHEAD), fetch(flat, i + AHEAD + n)
                    low, high = load_some(flat, i, 2 * count), load_some(flat, i + n, 2 * count - n)
                    store_some(planes, position + even + j, even_lanes(low, high), count)
                    store_some(planes, position + odd + j, odd_lanes(low, high), count)
            elif step_w == 2 and not pairs:
                for column in range(first, last, n):
                    i, more = line + shift[phase, 1] + 2 * column, 2 * (last - column) - 1
                    fetch(flat, i + AHEAD), fetch(flat, i + AHEAD + n)
                    low, high = load_some(flat, i, more), load_some(flat, i + n, more - n)
                    store_some(planes, position + column, even_lanes(low, high), last - column)
            elif step_w > 2:
                for column in range(first, last):
                    planes[position + column] = flat[line + shift[phase, 1] + step_w * column]


@compiled
def scatter(out, y, channels, image, first_row, last_row, columns, layout, step):
    """y[image + g, channels[0] + o, s*row + a, s*column + b] = out[s*a + b, o, row, g, column], as far as y goes"""
    images, _, pitch = layout
    step_h, step_w = step
    N, C, H, W = y.shape
    flat, n = y.ravel(), lanes(y)
    for g in range(min(images, N - image)):
        for o in range(channels[1] - channels[0]):
            for row in range(first_row, last_row):
                position = ((row - first_row) * images + g) * pitch
                for a in range(min(step_h, H - step_h * row)):
                    line = (((image + g) * C + channels[0] + o) * H + step_h * row + a) * W
                    if step_w == 1:
                        results = out[a, o]
                        for column in range(0, W, n):
                            fetch(flat, line + column + AHEAD)
                            value = load_some(results, position + column, W - column)
                            store_some(flat, line + column, value, W - column)
                    elif step_w == 2:
                        even, odd = out[2 * a, o], out[2 * a + 1, o]
                        for column in range(0, columns, n):
                            left = load_some(even, position + column, columns - column)
                            right = load_some(odd, position + column, columns - column)
                            i, count = line + 2 * column, W - 2 * column
                            fetch(flat, i + AHEAD), fetch(flat, i + AHEAD + n)
                            store_some(flat, i, zip_low(left, right), count)
                            store_some(flat, i + n, zip_high(left, right), count - n)
                    else:
                        for w in range(W):
                            flat[line + w] = out[a * step_w + w % step_w, o, position + w // step_w]


# -- weights ----------------------------------------------------------------------------------------------------------


@compiled
def fill_fours(weight, fours, start, stop):
    """fours[g, b, k, f] = weight[g, 4*b + f, k]"""
    _, O, K = weight.shape
    for job in range(start, stop):
        g, b = job // fours.shape[1], job % fours.shape[1]
        block, rows = fours[g, b], weight[g, 4 * b : 4 * b + 4]
        if len(rows) == 4:
            for k in range(K):
                block[k, 0], block[k, 1], block[k, 2], block[k, 3] = rows[0, k], rows[1, k], rows[2, k], rows[3, k]
        else:
            block[:] = 0
            for f in range(len(rows)):
                block[:, f] = rows[f]


def in_fours(weight):
    """weight (groups, O, K) as ``multiply`` reads it, four filters side by side: (groups, O / 4, K, 4)"""
    groups, O, K = weight.shape
    fours = np.empty((groups, ceil_div(O, 4), K, 4), weight.dtype)
    over_threads(fill_fours, groups * fours.shape[1], weight, fours, work=weight.size)
    return fours


@compiled
def fill_turned(weight, order, fours, start, stop):
    """fours[g, b, (t, o), f] = weight[g, o, 4*b + f, order[t]]"""
    _, O, C, taps = weight.shape
    flat = weight.ravel()
    for job in range(start, stop):
        g, b = job // fours.shape[1], job % fours.shape[1]
        block, channels = fours[g, b], min(4, C - 4 * b)
        if channels < 4:
            block[:] = 0
        for o in range(O):
            for i in range(0, 4 * taps, lanes(weight)):
                fetch(flat, ((g * O + o + 16) * C + 4 * b) * taps + i)  # filters lie far apart: ask 16 of them ahead
            for t in range(order.size):
                for f in range(channels):
                    block[t * O + o, f] = weight[g, o, 4 * b + f, order[t]]


def turn(weight, order):
    """weight (groups, O, C, taps) as filters for channels, their taps in this order: (groups, C / 4, (taps, O), 4)"""
    groups, O, C, _ = weight.shape
    fours = np.empty((groups, ceil_div(C, 4), len(order) * O, 4), weight.dtype)
    over_threads(fill_turned, groups * fours.shape[1], weight, np.array(order, np.int64), fours, work=weight.size)
    return fours
