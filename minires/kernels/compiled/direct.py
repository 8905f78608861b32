"""Convolution as one product with shifted rows, for all geometries; planes.py says what planes and offsets are."""

import math
from typing import NamedTuple

import numpy as np

from minires.kernels.compiled.plan import Plan, Task, find_taps, find_taps_back, gradient_parts, job_of, jobs, make_plan
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
def planes_of(x, planes, channels, image, row, plan):
    """The planes of a piece of work: x itself, or copied from it to ``planes``."""
    if plan.direct:
        return x[image, channels[0] :].ravel()
    source = Grid(plan.phases, plan.images, plan.rows, plan.pitch, plan.plane, *plan.source)
    gather(x, planes, channels, image, row, source)
    return planes


@compiled
def correlate(arrays, plan, room, part, start, stop):
    """y = weight applied to x, for the jobs start to stop. ``arrays``: x, weight, bias, y.

    ``room``: where threads compute, planes and results, and what they find, which is 0 unless y may be not finite.

    A step of the plan > 1 means that the pixels of y whose row and column leave the remainders a, b by it have taps of
    their own, those from cuts[step*a + b] on.
    """
    (x, weight, bias, y), (planes, results, doubts), plan = arrays, room, Plan(*plan)
    cuts, straight, length = plan.cuts, plan.straight, plan.length
    in_channels, planes = x.shape[1] // weight.shape[0], planes[part]
    planes[: plan.sizes[0]] = 0
    filters = plan.filters if straight else min(plan.filters, FILTERS)
    results = results[part, : 0 if straight else (cuts.size - 1) * filters * length].reshape(-1, filters, length)
    pixels = y.reshape(y.shape[0], y.shape[1], -1)
    past = straight and y.size >= LARGE and y.ctypes.data % 64 == 0 and pixels.shape[2] % VECTOR == 0
    for number in range(start, stop):
        image, row, begin, end = job_of(number, plan)
        for group in range(weight.shape[0]):
            channels = group * in_channels, (group + 1) * in_channels
            seen = planes_of(x, planes, channels, image, row, plan)
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
                    doubts[part] += multiply(some, bias[group, o:last], seen, plan.offset, taps, to, span, past)
                if not straight:
                    scatter(results, y, (first + o, first + last), image, row, plan)


@compiled
def correlate_transposed(arrays, plan, room, part, start, stop):
    """dweight[part] = the derivative of correlate with respect to weight, of the jobs start to stop."""
    (x, dweight, dy), (planes, results, _), plan = arrays, room, Plan(*plan)
    groups, length = dweight.shape[1], plan.length
    itself = Grid(np.zeros((1, 2), np.int64), plan.images, plan.band, plan.pitch, length, 1, 1, 0, 0)
    in_channels, planes = x.shape[1] // groups, planes[part]
    planes[: plan.sizes[0]] = 0
    dout = results[part, : plan.sizes[1]].reshape(-1, length)
    dout[:] = 0
    pixels = dy.reshape(dy.shape[0], dy.shape[1], -1)
    for number in range(start, stop):
        image, row, begin, end = job_of(number, plan)
        for group in range(groups):
            channels = group * in_channels, (group + 1) * in_channels
            seen = planes_of(x, planes, channels, image, row, plan)
            first = group * plan.filters
            of_part = dweight[part % len(dweight), group, begin : ceil_div(end, 4) * 4]
            if number == start or number % plan.pieces == 0:
                of_part[:] = 0
            if plan.straight:
                dy_rows = pixels[image, first + begin : first + end]
                span = row * plan.pitch, min(row + plan.band, plan.out_rows) * plan.pitch
            else:
                gather(dy, dout.ravel(), (first + begin, first + end), image, row, itself)
                dy_rows, span = dout, (NO, length)
            multiply_transposed(dy_rows, span, seen, plan.offset, of_part)


# -- ways, for filters (groups, O, C, kh, kw) and a geometry (stride, pad, dilation) -----------------------------------


class Way(NamedTuple):
    """How a convolution of some shapes is done."""

    plan: Plan
    x_shape: tuple  # as the kernel sees x, in rows that may be longer
    y_shape: tuple  # likewise y
    filters: tuple  # shape of the filters as they are multiplied, or of their gradient
    result: tuple  # shape of what is returned
    order: np.ndarray | None = None  # of the taps of filters that are turned over first

    def product(self, x, weight, bias):
        """(y, whether any of it may be not finite)"""
        plan, shape = self.plan, self.filters[:2]
        filters = weight.reshape(self.filters) if self.order is None else turn(weight, self.filters, self.order)
        y, threads = empty_images(self.result, x.dtype), num_threads()
        shift = np.zeros(shape, x.dtype) if bias is None else np.ascontiguousarray(bias).reshape(shape)
        doubts = np.zeros(threads, x.dtype)
        room = *workspaces(threads, x.dtype, *plan.sizes), doubts
        arrays = x.reshape(self.x_shape), filters, shift, y.reshape(self.y_shape)
        over_parts(correlate, jobs(plan), arrays, tuple(plan), room)
        return y, np.count_nonzero(doubts) > 0  # NaN counts

    def weight_gradient(self, dy, x):
        """(dweight, whether any of it is not finite)"""
        plan, (groups, O, taps) = self.plan, self.filters
        parts = np.empty((gradient_parts(plan), groups, ceil_div(O, 4) * 4, plan.offset.size), x.dtype)
        room = *workspaces(num_threads(), x.dtype, *plan.sizes), None
        arrays = x.reshape(self.x_shape), parts, dy.reshape(self.y_shape)
        over_parts(correlate_transposed, jobs(plan), arrays, tuple(plan), room)
        parts = parts[:, :, :O, :taps]
        dweight = parts.sum(axis=0) if len(parts) > 1 else parts[0]
        return dweight.reshape(self.result), not np.isfinite(dweight).all()


def way_forward(x_shape, shape, out_size, geometry, sums=False):
    """The way to y; with ``sums`` to the gradient of the weight."""
    (stride, pad, dilation), (groups, O, C, *kernel_size) = geometry, shape
    y_shape = x_shape[0], groups * O, *out_size
    pixelwise = is_pixelwise(kernel_size, stride, pad, x_shape, y_shape)
    long_x, long_y = (in_long_rows(s) if pixelwise else s for s in (x_shape, y_shape))
    taps, phases = find_taps(tuple(kernel_size), stride, dilation)
    ends, source = (long_y[2:], long_x[3]), (*stride, pad[0][0], pad[1][0])
    more = {"pixelwise": pixelwise, "sums": math.prod(shape) if sums else 0}
    task = Task(x_shape[0], C, O, *ends, taps, phases, (0, len(taps)), source, **more)
    return Way(make_plan(task), long_x, long_y, (groups, O, C * len(taps)), shape if sums else y_shape)


def way_back(dy_shape, shape, x_shape, geometry):
    """The way to dx."""
    (stride, pad, dilation), (groups, O, C, *kernel_size) = geometry, shape
    order, taps, phases, cuts, before = find_taps_back(tuple(kernel_size), stride, dilation, pad[0][0], pad[1][0])
    pixelwise = is_pixelwise(kernel_size, stride, pad, dy_shape, x_shape)
    long_dy, long_dx = (in_long_rows(s) if pixelwise else s for s in (dy_shape, x_shape))
    size = tuple(map(ceil_div, long_dx[2:], stride))
    task = Task(dy_shape[0], O, C, size, long_dy[3], taps, phases, cuts, (1, 1, *before), stride, True, pixelwise)
    return Way(make_plan(task), long_dy, long_dx, (groups, C, O), x_shape, np.array(order, np.int64))


def empty_images(shape, dtype):
    """np.empty, but what is LARGE starts with a line of the cache, so that it can be written past the caches."""
    return (empty_lines if math.prod(shape) >= LARGE else np.empty)(shape, dtype)


def is_pixelwise(kernel_size, stride, pad, x_shape, y_shape):
    """Whether every pixel of y is a product of the one pixel of x at the same place, and none is left out."""
    same = tuple(kernel_size) == (1, 1) and stride == (1, 1) and pad == ((0, 0), (0, 0))
    return same and x_shape[2:] == y_shape[2:]


def in_long_rows(shape):
    """The same images in rows of at least 128 pixels: what lies beside what makes no difference to such a product."""
    N, C, H, W = shape
    together = next((r for r in range(1, H) if H % r == 0 and r * W >= 128), H)
    return N, C, H // together, together * W
