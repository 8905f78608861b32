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

import functools

import numpy as np

from minires.kernels import reference
from minires.kernels.geometry import output_sizes
from minires.kernels.parallel import compiled, num_threads, over_parts
from minires.kernels.simd import add, copy, fill, lanes, load, load_even, multiply_add, store, total_of, zeros

BLOCK = 64  # pixels: what the innermost loop handles at a time (4 vectors of 16 floats)
WORKSPACE = 64 * 1024  # numbers that the planes of one piece of work may hold: a quarter of a typical L2 cache
OUT_BLOCKS = 8  # blocks of 4 filters whose results are kept before they are written to y


# -- the innermost loops ----------------------------------------------------------------------------------------------


@compiled
def multiply(weight, bias, planes, offset, out):
    """out[4*b + f, p] = bias[b, f] + sum over k of weight[b, k, f] * planes[offset[k] + p]

    Returns a number that is finite, and then 0, only if all of out is finite.
    """
    n = lanes(planes)
    doubt = zeros(planes)
    for p in range(0, out.shape[1], 4 * n):
        for b in range(weight.shape[0]):
            s00 = s01 = s02 = s03 = fill(planes, bias[b, 0])
            s10 = s11 = s12 = s13 = fill(planes, bias[b, 1])
            s20 = s21 = s22 = s23 = fill(planes, bias[b, 2])
            s30 = s31 = s32 = s33 = fill(planes, bias[b, 3])
            for k in range(offset.size):
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
            row = out[4 * b]
            store(row, p, s00), store(row, p + n, s01), store(row, p + 2 * n, s02), store(row, p + 3 * n, s03)
            row = out[4 * b + 1]
            store(row, p, s10), store(row, p + n, s11), store(row, p + 2 * n, s12), store(row, p + 3 * n, s13)
            row = out[4 * b + 2]
            store(row, p, s20), store(row, p + n, s21), store(row, p + 2 * n, s22), store(row, p + 3 * n, s23)
            row = out[4 * b + 3]
            store(row, p, s30), store(row, p + n, s31), store(row, p + 2 * n, s32), store(row, p + 3 * n, s33)
            one = add(add(add(s00, s01), add(s02, s03)), add(add(s10, s11), add(s12, s13)))
            two = add(add(add(s20, s21), add(s22, s23)), add(add(s30, s31), add(s32, s33)))
            doubt = multiply_add(out.dtype.type(0), add(one, two), doubt)
    return total_of(doubt)


@compiled
def multiply_transposed(dout, planes, offset, dweight):
    """dweight[b, k, f] += sum over p of dout[4*b + f, p] * planes[offset[k] + p]: the derivative of multiply"""
    n = lanes(planes)
    for k in range(0, offset.size, 4):
        k1, k2, k3 = min(k + 1, offset.size - 1), min(k + 2, offset.size - 1), min(k + 3, offset.size - 1)
        o0, o1, o2, o3 = offset[k], offset[k1], offset[k2], offset[k3]
        for b in range(dweight.shape[0]):
            d0, d1, d2, d3 = dout[4 * b], dout[4 * b + 1], dout[4 * b + 2], dout[4 * b + 3]
            s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zeros(planes)
            s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = zeros(planes)
            for p in range(0, dout.shape[1], n):
                y0, y1, y2, y3 = load(d0, p), load(d1, p), load(d2, p), load(d3, p)
                x = load(planes, o0 + p)
                s00, s01 = multiply_add(x, y0, s00), multiply_add(x, y1, s01)
                s02, s03 = multiply_add(x, y2, s02), multiply_add(x, y3, s03)
                x = load(planes, o1 + p)
                s10, s11 = multiply_add(x, y0, s10), multiply_add(x, y1, s11)
                s12, s13 = multiply_add(x, y2, s12), multiply_add(x, y3, s13)
                x = load(planes, o2 + p)
                s20, s21 = multiply_add(x, y0, s20), multiply_add(x, y1, s21)
                s22, s23 = multiply_add(x, y2, s22), multiply_add(x, y3, s23)
                x = load(planes, o3 + p)
                s30, s31 = multiply_add(x, y0, s30), multiply_add(x, y1, s31)
                s32, s33 = multiply_add(x, y2, s32), multiply_add(x, y3, s33)
            dw = dweight[b]
            dw[k, 0] += total_of(s00)
            dw[k, 1] += total_of(s01)
            dw[k, 2] += total_of(s02)
            dw[k, 3] += total_of(s03)
            if k1 > k:
                dw[k1, 0] += total_of(s10)
                dw[k1, 1] += total_of(s11)
                dw[k1, 2] += total_of(s12)
                dw[k1, 3] += total_of(s13)
            if k2 > k1:
                dw[k2, 0] += total_of(s20)
                dw[k2, 1] += total_of(s21)
                dw[k2, 2] += total_of(s22)
                dw[k2, 3] += total_of(s23)
            if k3 > k2:
                dw[k3, 0] += total_of(s30)
                dw[k3, 1] += total_of(s31)
                dw[k3, 2] += total_of(s32)
                dw[k3, 3] += total_of(s33)


# -- between images and planes ----------------------------------------------------------------------------------------


@compiled
def gather(x, planes, channels, phases, image, first_row, layout, source):
    """planes[c, phase, row, g, column] = x[image + g, c, s*(first_row + row) + a - top, s*column + b - left]

    What lies outside the image is 0. Columns outside are never written: they are 0 from the start.
    """
    images, rows, pitch = layout
    step_h, step_w, top, left = source
    N, C, H, W = x.shape
    flat = x.ravel()
    n = lanes(x)
    position = 0
    for c in range(channels[0], channels[1]):
        for phase in range(phases.shape[0]):
            a, b = phases[phase, 0] - top, phases[phase, 1] - left
            begin = min(pitch, max(0, (-b + step_w - 1) // step_w))  # the first column inside the image
            end = max(begin, min(pitch, (W - 1 - b) // step_w + 1))
            for row in range(rows):
                h = step_h * (first_row + row) + a
                for g in range(images):
                    line = ((image + g) * C + c) * H * W + h * W + b
                    if h < 0 or h >= H or image + g >= N:
                        planes[position + begin : position + end] = 0
                    elif step_w == 1:
                        copy(planes, position + begin, flat, line + begin, end - begin)
                    else:
                        column = begin
                        while step_w == 2 and line + 2 * (column + n) <= flat.size and column + n <= end:
                            store(planes, position + column, load_even(flat, line + 2 * column))
                            column += n
                        for last in range(column, end):
                            planes[position + last] = flat[line + step_w * last]
                    position += pitch


@compiled
def scatter(out, y, channel, channels, image, first_row, last_row, columns, layout, target):
    """y[image + g, channel + o, s*row + a - top, s*column + b - left] = out[o, row, g, column]"""
    images, _, pitch = layout
    step_h, step_w, top, left = target
    N, C, H, W = y.shape
    flat = y.ravel()
    begin = max(0, (left + step_w - 1) // step_w)
    end = min(columns, (W - 1 + left) // step_w + 1)
    for o in range(channels):
        for row in range(first_row, last_row):
            h = step_h * row - top
            if 0 <= h < H:
                for g in range(min(images, N - image)):
                    position = ((row - first_row) * images + g) * pitch
                    line = ((image + g) * C + channel + o) * H * W + h * W - left
                    if step_w == 1:
                        copy(flat, line + begin, out[o], position + begin, end - begin)
                    else:
                        for column in range(begin, end):
                            flat[line + step_w * column] = out[o, position + column]


@compiled
def correlate(x, weight, bias, y, offset, phases, plan, source, target, doubts, part, start, stop):
    """y = weight applied to x, for the pieces of work start to stop."""
    images, band, rows, pitch, length, out_rows, columns, out_channels = plan
    groups, blocks = weight.shape[0], weight.shape[1]
    bands = (out_rows + band - 1) // band
    in_channels = x.shape[1] // groups
    layout = images, rows, pitch
    planes = np.zeros(in_channels * phases.shape[0] * rows * images * pitch + offset.max() + length, x.dtype)
    out = np.empty((4 * min(blocks, OUT_BLOCKS), length), x.dtype)
    for piece in range(start, stop):
        image, row = piece // bands * images, piece % bands * band
        for group in range(groups):
            gather(x, planes, (group * in_channels, (group + 1) * in_channels), phases, image, row, layout, source)
            for block in range(0, blocks, OUT_BLOCKS):
                some = weight[group, block : block + OUT_BLOCKS]
                doubts[part] += multiply(some, bias[group, block:], planes, offset, out)
                channels = min(4 * some.shape[0], out_channels - 4 * block)
                first = group * out_channels + 4 * block
                last_row = min(row + band, out_rows)
                scatter(out, y, first, channels, image, row, last_row, columns, layout, target)


@compiled
def correlate_transposed(x, dy, dweight, offset, phases, plan, source, part, start, stop):
    """dweight[part] += the derivative of correlate with respect to weight, for the pieces of work start to stop."""
    images, band, rows, pitch, length, out_rows, columns, out_channels = plan
    groups = dweight.shape[1]
    bands = (out_rows + band - 1) // band
    in_channels = x.shape[1] // groups
    planes = np.zeros(in_channels * phases.shape[0] * rows * images * pitch + offset.max() + length, x.dtype)
    dout = np.zeros((4 * dweight.shape[2], length), x.dtype)
    itself = np.zeros((1, 2), np.int64)
    for piece in range(start, stop):
        image, row = piece // bands * images, piece % bands * band
        for group in range(groups):
            mine = group * in_channels, (group + 1) * in_channels
            gather(x, planes, mine, phases, image, row, (images, rows, pitch), source)
            for o in range(out_channels):
                mine = group * out_channels + o, group * out_channels + o + 1
                gather(dy, dout[o], mine, itself, image, row, (images, band, pitch), (1, 1, 0, 0))
            multiply_transposed(dout, planes, offset, dweight[part, group])


# -- the plan: which pieces, which offsets ----------------------------------------------------------------------------



def ceil_div(a, b):
    return -(-a // b)


def plan_pieces(N, numbers_per_pixel, out_rows, pitch, more_rows):
    """(images, band): a piece of work is ``band`` output rows of ``images`` images, such that its planes fit in L2.

    Among the sizes that fit, the one that wastes least: on the last block of 64 pixels and on threads left idle.
    """
    threads = num_threads()
    per_image = numbers_per_pixel * (out_rows + more_rows) * pitch
    if per_image > WORKSPACE or N < threads:
        band = max(WORKSPACE // (numbers_per_pixel * pitch) - more_rows, ceil_div(BLOCK, pitch))
        pieces_each = ceil_div(out_rows, min(band, ceil_div(out_rows, ceil_div(threads, N))))
        return 1, ceil_div(out_rows, pieces_each)

    def use(images):
        length = images * out_rows * pitch
        rounds = ceil_div(ceil_div(N, images), threads)
        return length / (ceil_div(length, BLOCK) * BLOCK) * N / (rounds * threads * images)

    most = max(1, min(WORKSPACE // per_image, ceil_div(N, threads)))
    return max(range(1, most + 1), key=lambda images: (round(use(images), 2), images)), out_rows


@functools.lru_cache(maxsize=1024)
def make_plan(N, channels, taps, phases, out_size, source_width, step, left, out_channels):
    """(plan, offset, phases, pieces) for taps ((phase, row shift, column shift), ...) on the planes of the source."""
    more_rows = max(row for _, row, _ in taps)
    more_columns = max(column for _, _, column in taps)
    pitch = out_size[1] + more_columns
    if step == (1, 1):  # the zeros that end a row can be those that begin the next
        right = pitch - left - source_width
        pitch -= max(0, min(left, right, more_columns))
    images, band = plan_pieces(N, channels * len(phases), out_size[0], pitch, more_rows)
    rows = band + more_rows
    line = images * pitch
    plane = rows * line
    offset = [
        (c * len(phases) + phase) * plane + row * line + column for c in range(channels) for phase, row, column in taps
    ]
    length = ceil_div(band * line, BLOCK) * BLOCK
    plan = images, band, rows, pitch, length, out_size[0], out_size[1], out_channels
    pieces = ceil_div(N, images) * ceil_div(out_size[0], band)
    return plan, np.array(offset), np.array(phases), pieces


@functools.lru_cache(maxsize=1024)
def find_taps(kernel_size, stride, dilation):
    """(taps, phases): each tap as (index of its phase, row shift, column shift) on the planes of the image."""
    steps = [
        (divmod(i * dilation[0], stride[0]), divmod(j * dilation[1], stride[1]))
        for i in range(kernel_size[0])
        for j in range(kernel_size[1])
    ]
    phases = sorted({(a, b) for (_, a), (_, b) in steps})
    return tuple((phases.index((a, b)), row, column) for (row, a), (column, b) in steps), tuple(phases)


def in_blocks(weight, groups):
    """weight (groups*O, K) as (groups, blocks, K, 4): four filters side by side, as ``multiply`` reads them."""
    O, K = weight.shape[0] // groups, weight.shape[1]
    blocks = np.zeros((groups, ceil_div(O, 4), K, 4), weight.dtype)
    padded = np.zeros((groups, blocks.shape[1] * 4, K), weight.dtype)
    padded[:, :O] = weight.reshape(groups, O, K)
    blocks[:] = padded.reshape(groups, -1, 4, K).swapaxes(2, 3)
    return blocks


# -- the operators ----------------------------------------------------------------------------------------------------


def conv2d(x, weight, bias, stride, pad, dilation, groups):
    x = np.ascontiguousarray(x)
    N, C, H, W = x.shape
    O, _, kh, kw = weight.shape
    out_size = output_sizes("conv2d", (H, W), (kh, kw), stride, pad, dilation)
    taps, phases = find_taps((kh, kw), stride, dilation)
    (top, _), (left, _) = pad
    plan, offset, phases, pieces = make_plan(N, C // groups, taps, phases, out_size, W, stride, left, O // groups)
    y = np.empty((N, O, *out_size), x.dtype)
    shift = in_blocks(np.zeros((O, 1), x.dtype) if bias is None else bias[:, None], groups)[:, :, 0]
    doubts = np.zeros(num_threads(), x.dtype)
    blocks = in_blocks(weight.reshape(O, -1), groups)
    over_parts(correlate, pieces, x, blocks, shift, y, offset, phases, plan, (*stride, top, left), (1, 1, 0, 0), doubts)
    if doubts.any():  # zeros times infinity, in the padding or between rows: let the definition decide
        return reference.conv2d(x, weight, bias, stride, pad, dilation, groups)
    return y


def conv2d_input_gradient(dy, weight, x_shape, stride, pad, dilation, groups):
    dy = np.ascontiguousarray(dy)
    N, C, H, W = x_shape
    O, _, kh, kw = weight.shape
    (top, _), (left, _) = pad
    taps, phases = find_taps((kh, kw), stride, dilation)
    dx = np.empty(x_shape, dy.dtype) if len(phases) == stride[0] * stride[1] else np.zeros(x_shape, dy.dtype)
    # (groups*C, O, kh*kw): a filter for each channel of x
    turned = weight.reshape(groups, O // groups, C // groups, kh * kw).swapaxes(1, 2).reshape(C, O // groups, kh * kw)
    doubts = np.zeros(num_threads(), dy.dtype)
    for phase, (a, b) in enumerate(phases):
        mine = [t for t, tap in enumerate(taps) if tap[0] == phase]
        down, right = max(taps[t][1] for t in mine), max(taps[t][2] for t in mine)
        backwards = tuple((0, down - taps[t][1], right - taps[t][2]) for t in mine)
        size = ceil_div(top + H - a, stride[0]), ceil_div(left + W - b, stride[1])
        plan, offset, itself, pieces = make_plan(
            N, O // groups, backwards, ((0, 0),), size, dy.shape[3], (1, 1), right, C // groups
        )
        blocks = in_blocks(turned[:, :, mine].reshape(C, -1), groups)
        source, target = (1, 1, down, right), (*stride, top - a, left - b)
        over_parts(correlate, pieces, dy, blocks, np.zeros_like(blocks[:, :, 0]), dx, offset, itself, plan, source, target, doubts)
    if doubts.any():
        return reference.conv2d_input_gradient(dy, weight, x_shape, stride, pad, dilation, groups)
    return dx


def conv2d_weight_gradient(dy, x, weight_shape, stride, pad, dilation, groups):
    x, dy = np.ascontiguousarray(x), np.ascontiguousarray(dy)
    N, C, H, W = x.shape
    O, _, kh, kw = weight_shape
    taps, phases = find_taps((kh, kw), stride, dilation)
    (top, _), (left, _) = pad
    plan, offset, phases, pieces = make_plan(N, C // groups, taps, phases, dy.shape[2:], W, stride, left, O // groups)
    parts = np.zeros((num_threads(), groups, ceil_div(O // groups, 4), offset.size, 4), x.dtype)
    over_parts(correlate_transposed, pieces, x, dy, parts, offset, phases, plan, (*stride, top, left))
    dweight = parts.sum(axis=0).swapaxes(2, 3).reshape(groups, -1, offset.size)[:, : O // groups].reshape(weight_shape)
    if not np.isfinite(dweight).all():
        return reference.conv2d_weight_gradient(dy, x, weight_shape, stride, pad, dilation, groups)
    return dweight
