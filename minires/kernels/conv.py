"""Convolution, compiled: one product for all geometries (kernels/planes.py), and a faster one for 3x3."""

import numpy as np

from minires.kernels import reference, winograd
from minires.kernels.geometry import output_sizes
from minires.kernels.parallel import as_compiled, compiled, num_threads, over_parts
from minires.kernels.planes import (
    ceil_div,
    find_taps,
    gather,
    in_blocks,
    make_plan,
    multiply,
    multiply_transposed,
    out_of_blocks,
    scatter,
)

OUT_BLOCKS = 8  # blocks of 4 filters whose results are kept before they are written to y


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


# -- the operators ----------------------------------------------------------------------------------------------------


def conv2d(x, weight, bias, stride, pad, dilation, groups):
    x = as_compiled(x)
    N, C, H, W = x.shape
    O, _, kh, kw = weight.shape
    out_size = output_sizes("conv2d", (H, W), (kh, kw), stride, pad, dilation)
    filters = as_compiled(weight).reshape(groups, O // groups, C // groups, kh, kw)
    if winograd.fits((kh, kw), stride, dilation, C // groups, O // groups, N, out_size):
        y, doubt = winograd.conv2d_rows(x, filters, bias, out_size, pad)
    else:
        y = np.empty((N, O, *out_size), x.dtype)
        taps, phases = find_taps((kh, kw), stride, dilation)
        (top, _), (left, _) = pad
        source, target = (*stride, top, left), (1, 1, 0, 0)
        plan = make_plan(N, C // groups, taps, phases, out_size, W, stride, left, O // groups)
        doubt = correlated(x, filters.reshape(*filters.shape[:3], kh * kw), bias, y, plan, source, target)
    if doubt:  # zeros times infinity, in the padding or between rows: let the definition decide
        return reference.conv2d(x, weight, bias, stride, pad, dilation, groups)
    return y


def correlated(x, filters, bias, y, plan, source, target):
    """Fill y, and return whether anything in it is in doubt, not being finite."""
    plan, offset, phases, pieces = plan
    doubts = np.zeros(num_threads(), x.dtype)
    blocks = in_blocks(filters)
    shift = (
        np.zeros_like(blocks[:, :, 0]) if bias is None else in_blocks(bias.reshape(*filters.shape[:2], 1, 1))[:, :, 0]
    )
    over_parts(
        correlate, pieces, x, blocks, np.ascontiguousarray(shift), y, offset, phases, plan, source, target, doubts
    )
    return doubts.any()


def conv2d_input_gradient(dy, weight, x_shape, stride, pad, dilation, groups):
    dy = as_compiled(dy)
    N, C, H, W = x_shape
    O, _, kh, kw = weight.shape
    (top, bottom), (left, right) = pad
    # (groups, C, O, kh, kw): a filter for each channel of x
    turned = as_compiled(weight).reshape(groups, O // groups, C // groups, kh, kw).swapaxes(1, 2)
    if winograd.fits((kh, kw), stride, dilation, O // groups, C // groups, N, (H, W)):
        around = (kh - 1 - top, kh - 1 - bottom), (kw - 1 - left, kw - 1 - right)
        dx, doubt = winograd.conv2d_rows(dy, turned[..., ::-1, ::-1], None, (H, W), around)
    else:
        taps, phases = find_taps((kh, kw), stride, dilation)
        dx = np.empty(x_shape, dy.dtype) if len(phases) == stride[0] * stride[1] else np.zeros(x_shape, dy.dtype)
        doubt = False
        for phase, (a, b) in enumerate(
            phases
        ):  # the pixels of x that leave these remainders, and the taps that reach them
            mine = [t for t, tap in enumerate(taps) if tap[0] == phase]
            down, across = max(taps[t][1] for t in mine), max(taps[t][2] for t in mine)
            backwards = tuple((0, down - taps[t][1], across - taps[t][2]) for t in mine)
            size = ceil_div(top + H - a, stride[0]), ceil_div(left + W - b, stride[1])
            if min(size) > 0:
                plan = make_plan(N, O // groups, backwards, ((0, 0),), size, dy.shape[3], (1, 1), across, C // groups)
                filters = turned.reshape(*turned.shape[:3], kh * kw)[..., mine]
                source, target = (1, 1, down, across), (*stride, top - a, left - b)
                doubt |= correlated(dy, filters, None, dx, plan, source, target)
    if doubt:
        return reference.conv2d_input_gradient(dy, weight, x_shape, stride, pad, dilation, groups)
    return dx


def conv2d_weight_gradient(dy, x, weight_shape, stride, pad, dilation, groups):
    x, dy = as_compiled(x), as_compiled(dy)
    N, C, H, W = x.shape
    O, _, kh, kw = weight_shape
    shape = groups, O // groups, C // groups, kh, kw
    if winograd.fits((kh, kw), stride, dilation, C // groups, O // groups, N, dy.shape[2:]):
        dweight = winograd.conv2d_rows_weight_gradient(dy, x, shape, pad)
    else:
        taps, phases = find_taps((kh, kw), stride, dilation)
        (top, _), (left, _) = pad
        plan, offset, phases, pieces = make_plan(
            N, C // groups, taps, phases, dy.shape[2:], W, stride, left, O // groups
        )
        parts = np.zeros((num_threads(), groups, ceil_div(O // groups, 4), offset.size, 4), x.dtype)
        over_parts(correlate_transposed, pieces, x, dy, parts, offset, phases, plan, (*stride, top, left))
        dweight = out_of_blocks(parts, O // groups, C // groups * kh * kw)
    if not np.isfinite(dweight).all():
        return reference.conv2d_weight_gradient(dy, x, weight_shape, stride, pad, dilation, groups)
    return dweight.reshape(weight_shape)
