"""Convolution as one product with shifted rows, for all geometries; planes.py says what planes and offsets are."""

import math

import numpy as np

from minires.kernels.compiled.plan import (
    Plan,
    Task,
    find_taps,
    find_taps_back,
    gradient_parts,
    job_of,
    jobs,
    make_plan,
)
from minires.kernels.compiled.planes import (
    FILTERS,
    LARGE,
    NO,
    VECTOR,
    Grid,
    ceil_div,
    gather,
    multiply,
    multiply_transposed,
    scatter,
    turn,
)
from minires.kernels.machine.compiler import compiled
from minires.kernels.machine.memory import empty_lines, workspaces
from minires.kernels.machine.threads import num_threads, over_parts


@compiled
def source_grid(plan):
    return Grid(plan.phases, plan.images, plan.rows, plan.pitch, plan.plane, *plan.source)


@compiled
def correlate(arrays, plan, room, part, start, stop):
    """y = weight applied to x, for the jobs start to stop. ``arrays``: x, weight, bias, y.

    ``room``: where threads compute, planes and results, and what they find, which is 0 unless y may be not finite.

    A step of the plan > 1 means that the pixels of y whose row and column leave the remainders a, b by it have taps of
    their own, those from cuts[step*a + b] on.
    """
    (x, weight, bias, y), (planes, results, doubts), plan = arrays, room, Plan(*plan)
    cuts, straight, length = plan.cuts, plan.straight, plan.length
    in_channels, source = x.shape[1] // weight.shape[0], source_grid(plan)
    planes = planes[part]
    planes[: plan.sizes[0]] = 0
    filters = plan.filters if straight else min(plan.filters, FILTERS)
    results = results[part, : 0 if straight else (cuts.size - 1) * filters * length].reshape(-1, filters, length)
    pixels = y.reshape(y.shape[0], y.shape[1], -1)
    past = straight and y.size >= LARGE and y.ctypes.data % 64 == 0 and pixels.shape[2] % VECTOR == 0
    for number in range(start, stop):
        image, row, begin, end = job_of(number, plan)
        for group in range(weight.shape[0]):
            channels = group * in_channels, (group + 1) * in_channels
            if plan.direct:
                planes = x[image, channels[0] :].ravel()
            else:
                gather(x, planes, channels, image, row, source)
            first = group * plan.filters
            for o in range(begin, end, filters):
                last = min(o + filters, end)
                for i in range(cuts.size - 1):
                    if straight:
                        to = pixels[image, first + o : first + last]
                        span = row * plan.pitch, min(row + plan.band, plan.out_rows) * plan.pitch
                    else:
                        to, span = results[i], (NO, length)
                    some, taps = weight[group, o:last], (cuts[i], cuts[i + 1])
                    doubts[part] += multiply(some, bias[group, o:last], planes, plan.offset, taps, to, span, past)
                if not straight:
                    scatter(results, y, (first + o, first + last), image, row, plan)


@compiled
def correlate_transposed(arrays, plan, room, part, start, stop):
    """weight[part] = the derivative of correlate with respect to weight, of the jobs start to stop; y is dy."""
    (x, dweight, _, dy), (planes, results, _), plan = arrays, room, Plan(*plan)
    groups, length = dweight.shape[1], plan.length
    in_channels, source = x.shape[1] // groups, source_grid(plan)
    itself = Grid(np.zeros((1, 2), np.int64), plan.images, plan.band, plan.pitch, length, 1, 1, 0, 0)
    planes = planes[part]
    planes[: plan.sizes[0]] = 0
    dout = results[part, : plan.sizes[1]].reshape(-1, length)
    dout[:] = 0
    pixels = dy.reshape(dy.shape[0], dy.shape[1], -1)
    for number in range(start, stop):
        image, row, begin, end = job_of(number, plan)
        for group in range(groups):
            channels = group * in_channels, (group + 1) * in_channels
            if plan.direct:
                planes = x[image, channels[0] :].ravel()
            else:
                gather(x, planes, channels, image, row, source)
            first = group * plan.filters
            of_part = dweight[part % len(dweight), group, begin : ceil_div(end, 4) * 4]
            if number == start or number % plan.pieces == 0:
                of_part[:] = 0
            if plan.straight:
                seen = pixels[image, first + begin : first + end]
                span = row * plan.pitch, min(row + plan.band, plan.out_rows) * plan.pitch
            else:
                gather(dy, dout.ravel(), (first + begin, first + end), image, row, itself)
                seen, span = dout, (NO, length)
            multiply_transposed(seen, span, planes, plan.offset, of_part)


# -- the operators, for filters (groups, O, C, kh, kw) and a geometry (stride, pad, dilation) --------------------------


def conv2d(x, filters, bias, out_size, geometry):
    """(y, whether any of it may be not finite)"""
    stride, pad, dilation = geometry
    groups, O, C, *kernel_size = filters.shape
    y = empty_images((len(x), groups * O, *out_size), x.dtype)
    pixelwise = is_pixelwise(kernel_size, stride, pad, x, y)
    long_x, long_y = long_rows(x, y) if pixelwise else (x, y)
    taps, phases = find_taps(tuple(kernel_size), stride, dilation)
    source, size = (*stride, pad[0][0], pad[1][0]), long_y.shape[2:]
    task = Task(len(x), C, O, size, long_x.shape[3], taps, phases, (0, len(taps)), source, pixelwise=pixelwise)
    return y, correlated(long_x, filters.reshape(groups, O, -1), bias, long_y, make_plan(task))


def input_gradient(dy, filters, x_shape, geometry):
    """(dx, whether any of it may be not finite)"""
    stride, pad, dilation = geometry
    groups, O, C, *kernel_size = filters.shape
    dx = empty_images(x_shape, dy.dtype)
    order, taps, phases, cuts, before = find_taps_back(tuple(kernel_size), stride, dilation, pad[0][0], pad[1][0])
    pixelwise = is_pixelwise(kernel_size, stride, pad, dy, dx)
    long_dy, long_dx = long_rows(dy, dx) if pixelwise else (dy, dx)
    size, source = tuple(map(ceil_div, long_dx.shape[2:], stride)), (1, 1, *before)
    task = Task(len(dy), O, C, size, long_dy.shape[3], taps, phases, cuts, source, stride, True, pixelwise)
    turned = turn(filters.reshape(groups, O, C, -1), order)
    return dx, correlated(long_dy, turned, None, long_dx, make_plan(task))


def correlated(x, filters, bias, y, plan):
    """Fill y, and return whether anything in it is in doubt, not being finite."""
    shape = filters.shape[:2]
    shift = np.zeros(shape, x.dtype) if bias is None else np.ascontiguousarray(bias).reshape(shape)
    threads = num_threads()
    planes, results = workspaces(threads, x.dtype, *plan.sizes)
    doubts = np.zeros(threads, x.dtype)
    over_parts(correlate, jobs(plan), (x, filters, shift, y), tuple(plan), (planes, results, doubts))
    return np.count_nonzero(doubts) > 0  # NaN counts


def weight_gradient(dy, x, shape, geometry):
    """(dweight, whether any of it is not finite), for filters of this shape (groups, O, C, kh, kw)"""
    stride, pad, dilation = geometry
    groups, O, C, *kernel_size = shape
    pixelwise = is_pixelwise(kernel_size, stride, pad, x, dy)
    long_x, long_dy = long_rows(x, dy) if pixelwise else (x, dy)
    taps, phases = find_taps(tuple(kernel_size), stride, dilation)
    source, size, sums = (*stride, pad[0][0], pad[1][0]), long_dy.shape[2:], math.prod(shape)
    cuts = 0, len(taps)
    task = Task(len(x), C, O, size, long_x.shape[3], taps, phases, cuts, source, pixelwise=pixelwise, sums=sums)
    plan, threads = make_plan(task), num_threads()
    parts = np.empty((gradient_parts(plan), groups, ceil_div(O, 4) * 4, plan.offset.size), x.dtype)
    room = *workspaces(threads, x.dtype, *plan.sizes), None
    over_parts(correlate_transposed, jobs(plan), (long_x, parts, None, long_dy), tuple(plan), room)
    parts = parts[:, :, :O, : C * len(taps)]
    dweight = parts.sum(axis=0) if len(parts) > 1 else parts[0]
    return dweight.reshape(shape), not np.isfinite(dweight).all()


def empty_images(shape, dtype):
    """np.empty, but what is LARGE starts with a line of the cache, so that it can be written past the caches."""
    return (empty_lines if math.prod(shape) >= LARGE else np.empty)(shape, dtype)


def is_pixelwise(kernel_size, stride, pad, x, y):
    """Whether every pixel of y is a product of the one pixel of x at the same place, and none is left out."""
    same = tuple(kernel_size) == (1, 1) and stride == (1, 1) and pad == ((0, 0), (0, 0))
    return same and x.shape[2:] == y.shape[2:]


def long_rows(*images):
    """The same images in rows of at least 128 pixels: what lies beside what makes no difference to such a product."""
    _, _, H, W = images[0].shape
    together = next((r for r in range(1, H) if H % r == 0 and r * W >= 128), H)
    return [image.reshape(*image.shape[:2], H // together, together * W) for image in images]
