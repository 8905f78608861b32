"""Convolution, compiled: one product for all geometries (kernels/compiled/planes.py), and a faster one for 3x3."""

import math

import numpy as np

from minires.kernels import reference
from minires.kernels.compiled import winograd
from minires.kernels.compiled.geometry import output_sizes
from minires.kernels.compiled.plan import find_taps, find_taps_back, jobs, make_plan, parts_of, piece_of
from minires.kernels.compiled.planes import (
    FILTERS,
    LARGE,
    NO,
    ONE,
    VECTOR,
    ceil_div,
    gather,
    multiply,
    multiply_transposed,
    scatter,
    turn,
)
from minires.kernels.machine.compiler import as_compiled, compiled
from minires.kernels.machine.memory import empty_lines, workspaces
from minires.kernels.machine.threads import num_threads, over_parts


@compiled
def correlate(x, weight, bias, y, offset, cuts, phases, plan, source, step, planes, out, doubts, part, start, stop):
    """y = weight applied to x, for the jobs start to stop.

    ``step`` > 1 means that the pixels of y whose row and column leave the remainders a, b by it have taps of their own,
    those from cuts[step*a + b] on.
    """
    images, band, rows, pitch, length, plane, room, out_rows, columns, straight, direct, pieces, shares = plan
    groups, out_channels, _ = weight.shape
    in_channels = x.shape[1] // groups
    layout = images, rows, pitch
    planes = planes[part]
    planes[:room] = 0
    filters = out_channels if straight else min(out_channels, FILTERS)
    out = out[part, : 0 if straight else (cuts.size - 1) * filters * length].reshape(-1, filters, length)
    pixels = y.reshape(y.shape[0], y.shape[1], -1)
    past = straight > 0 and y.size >= LARGE and y.ctypes.data % 64 == 0 and pixels.shape[2] % VECTOR == 0
    for job in range(start, stop):
        image, row, begin, end = piece_of(job, pieces, images, band, out_rows, shares, out_channels)
        last_row = min(row + band, out_rows)
        for group in range(groups):
            channels = group * in_channels, (group + 1) * in_channels
            if direct:
                planes = x[image, channels[0] :].ravel()
            else:
                gather(x, planes, channels, phases, image, row, layout, plane, source)
            first = group * out_channels
            for o in range(begin, end, filters):
                last = min(o + filters, end)
                some, shift = weight[group, o:last], bias[group, o:last]
                for i in range(cuts.size - 1):
                    if straight:
                        to, p0, p1 = pixels[image, first + o : first + last], row * pitch, last_row * pitch
                    else:
                        to, p0, p1 = out[i], 0, length
                    doubts[part] += multiply(some, shift, planes, offset, cuts[i], cuts[i + 1], to, p0, p1, past)
                if not straight:
                    scatter(out, y, (first + o, first + last), image, row, last_row, columns, layout, step)


@compiled
def correlate_transposed(x, dy, dweight, offset, phases, plan, source, planes, dout, part, start, stop):
    """dweight[part] = the derivative of correlate with respect to weight, of the jobs start to stop."""
    images, band, rows, pitch, length, plane, room, out_rows, columns, straight, direct, pieces, shares = plan
    groups = dweight.shape[1]
    in_channels, out_channels = x.shape[1] // groups, dy.shape[1] // groups
    planes = planes[part]
    planes[:room] = 0
    filters = 4 * ceil_div(ceil_div(out_channels, 4), shares)
    dout = dout[part, : 0 if straight else filters * length].reshape(filters, -1)
    dout[:] = 0
    pixels = dy.reshape(dy.shape[0], dy.shape[1], -1)
    itself, as_it_is = np.zeros((1, 2), np.int64), (ONE, ONE, NO, NO)
    for job in range(start, stop):
        image, row, begin, end = piece_of(job, pieces, images, band, out_rows, shares, out_channels)
        for group in range(groups):
            channels = group * in_channels, (group + 1) * in_channels
            if direct:
                planes = x[image, channels[0] :].ravel()
            else:
                gather(x, planes, channels, phases, image, row, (images, rows, pitch), plane, source)
            first = group * out_channels
            mine, in_fours = (first + begin, first + end), ceil_div(end, 4) * 4
            of_part = dweight[part % len(dweight), group, begin:in_fours]
            if job == start or job % pieces == 0:
                of_part[:] = 0
            if straight:
                seen, p0, p1 = pixels[image, mine[0] : mine[1]], row * pitch, min(row + band, out_rows) * pitch
            else:
                gather(dy, dout.ravel(), mine, itself, image, row, (images, band, pitch), length, as_it_is)
                seen, p0, p1 = dout, 0, length
            multiply_transposed(seen, p0, p1, planes, offset, of_part)


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
        y = empty_images((N, O, *out_size), x.dtype)
        taps, phases = find_taps((kh, kw), stride, dilation)
        (top, _), (left, _) = pad
        pixelwise = is_pixelwise((kh, kw), stride, pad)
        long_x, long_y = long_rows(x, y) if pixelwise else (x, y)
        size, width = long_y.shape[2:], long_x.shape[3]
        plan = make_plan(N, C // groups, taps, phases, size, width, stride, left, O // groups, pixelwise)
        rows = filters.reshape(groups, O // groups, -1)
        cuts = np.array([0, rows.shape[2]])
        doubt = correlated(long_x, rows, bias, long_y, cuts, plan, (*stride, top, left), (1, 1))
    if doubt:  # zeros times infinity, in the padding or between rows: let the definition decide
        return reference.conv2d(x, weight, bias, stride, pad, dilation, groups)
    return y


def correlated(x, filters, bias, y, cuts, plan, source, step):
    """Fill y, and return whether anything in it is in doubt, not being finite."""
    doubts = np.zeros(num_threads(), x.dtype)
    shift = np.zeros(filters.shape[:2], x.dtype) if bias is None else as_compiled(bias).reshape(filters.shape[:2])
    plan, offset, phases, sizes = plan
    spaces = workspaces(num_threads(), x.dtype, *sizes)
    over_parts(correlate, jobs(plan), x, filters, shift, y, offset, cuts, phases, plan, source, step, *spaces, doubts)
    return np.count_nonzero(doubts)  # NaN counts


def conv2d_input_gradient(dy, weight, x_shape, stride, pad, dilation, groups):
    dy = as_compiled(dy)
    N, C, H, W = x_shape
    O, _, kh, kw = weight.shape
    (top, bottom), (left, right) = pad
    filters = as_compiled(weight).reshape(groups, O // groups, C // groups, kh, kw)
    if winograd.fits((kh, kw), stride, dilation, O // groups, C // groups, N, (H, W)):
        around = (kh - 1 - top, kh - 1 - bottom), (kw - 1 - left, kw - 1 - right)
        dx, doubt = winograd.conv2d_rows(dy, filters, None, (H, W), around, turned=True)
    else:
        dx = empty_images(x_shape, dy.dtype)
        order, taps, phases, (down, across), cuts = find_taps_back((kh, kw), stride, dilation, top, left)
        pixelwise = is_pixelwise((kh, kw), stride, pad)
        long_dy, long_dx = long_rows(dy, dx) if pixelwise else (dy, dx)
        size = ceil_div(long_dx.shape[2], stride[0]), ceil_div(long_dx.shape[3], stride[1])
        width, channels = long_dy.shape[3], O // groups
        kinds = len(cuts) - 1
        plan = make_plan(N, channels, taps, phases, size, width, (1, 1), across, C // groups, pixelwise, kinds)
        turned = turn(filters.reshape(*filters.shape[:3], kh * kw), order)
        cuts, source = cuts * channels, (1, 1, down, across)
        doubt = correlated(long_dy, turned, None, long_dx, cuts, plan, source, stride)
    if doubt:
        return reference.conv2d_input_gradient(dy, weight, x_shape, stride, pad, dilation, groups)
    return dx


def conv2d_weight_gradient(dy, x, weight_shape, stride, pad, dilation, groups):
    x, dy = as_compiled(x), as_compiled(dy)
    N, C, H, W = x.shape
    O, _, kh, kw = weight_shape
    shape = groups, O // groups, C // groups, kh, kw
    if winograd.fits((kh, kw), stride, dilation, C // groups, O // groups, N, dy.shape[2:]):
        dweight, doubt = winograd.conv2d_rows_weight_gradient(dy, x, shape, pad)
    else:
        taps, phases = find_taps((kh, kw), stride, dilation)
        (top, _), (left, _) = pad
        pixelwise = is_pixelwise((kh, kw), stride, pad)
        long_x, long_dy = long_rows(x, dy) if pixelwise else (x, dy)
        size, width = long_dy.shape[2:], long_x.shape[3]
        sums = C * O // groups * kh * kw
        made = make_plan(N, C // groups, taps, phases, size, width, stride, left, O // groups, pixelwise, sums=sums)
        plan, offset, phases, sizes = made
        parts = np.empty((parts_of(plan), groups, ceil_div(O // groups, 4) * 4, offset.size), x.dtype)
        source, spaces = (*stride, top, left), workspaces(num_threads(), x.dtype, *sizes)
        over_parts(correlate_transposed, jobs(plan), long_x, long_dy, parts, offset, phases, plan, source, *spaces)
        parts = parts[:, :, : O // groups, : C // groups * kh * kw]
        dweight = parts.sum(axis=0) if len(parts) > 1 else parts[0]
        doubt = not np.isfinite(dweight).all()
    if doubt:
        return reference.conv2d_weight_gradient(dy, x, weight_shape, stride, pad, dilation, groups)
    return dweight.reshape(weight_shape)


def empty_images(shape, dtype):
    """np.empty, but what is LARGE starts with a line of the cache, so that it can be written past the caches."""
    return (empty_lines if math.prod(shape) >= LARGE else np.empty)(shape, dtype)


def is_pixelwise(kernel_size, stride, pad):
    """Whether every pixel of y is a product of the one pixel of x at the same place."""
    return kernel_size == (1, 1) and stride == (1, 1) and pad == ((0, 0), (0, 0))


def long_rows(*images):
    """The same images in rows of at least 128 pixels: what lies beside what makes no difference to such a product."""
    _, _, H, W = images[0].shape
    together = next((r for r in range(1, H) if H % r == 0 and r * W >= 128), H)
    return [image.reshape(*image.shape[:2], H // together, together * W) for image in images]
