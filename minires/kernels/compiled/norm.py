"""Batch normalisation in the fewest passes over memory: x is read once for its statistics and once to be normalised.

The unit of work is a plane, the H*W pixels of one channel of one image. Sums are taken plane by plane and then, in
float64, over the images, so that no result depends on how many threads share the planes. A plane fits into the
processor's nearest cache: a second loop over it is cheap, a second loop over x is not. The mean is always subtracted
first, for where it is large against the deviation, x * scale + shift would cancel.
"""

import numpy as np

from minires.kernels.compiled.shapes import expect
from minires.kernels.machine.compiler import as_compiled, compiled
from minires.kernels.machine.threads import over_phases, over_threads


def batchnorm_statistics(x):
    x = as_compiled(x)
    of_planes, mean, var = _room(x)
    over_phases(_statistics, 2, len(_planes(x)), _planes(x), of_planes, mean, var, work=x.size)
    return mean, var


def batchnorm_normalise(x, mean, invstd, weight, bias):
    x = as_compiled(x)
    y = np.empty_like(x)
    rows = _rows("batchnorm_normalise", x, mean=mean, invstd=invstd, weight=weight, bias=bias)
    over_threads(_normalise, len(_planes(x)), _planes(x), *rows, _planes(y), work=x.size)
    return y


def batchnorm_reductions(dy, x, mean, invstd):
    dy, x = as_compiled(dy), as_compiled(x)
    rows = _rows("batchnorm_reductions", x, dy, mean=mean, invstd=invstd)
    of_planes, dweight, dbias = _room(x)
    planes, results = (_planes(dy), _planes(x)), (of_planes, dweight, dbias)
    over_phases(_reductions, 2, len(planes[0]), planes, rows, results, work=x.size)
    return dweight, dbias


def batchnorm_backward(dy, x, mean, invstd, weight):
    dy, x = as_compiled(dy), as_compiled(x)
    rows = _rows("batchnorm_backward", x, dy, mean=mean, invstd=invstd, weight=weight)
    dx, (of_planes, dweight, dbias) = np.empty_like(x), _room(x)
    planes, results = (_planes(dy), _planes(x)), (of_planes, dweight, dbias)
    over_phases(_backward, 3, len(planes[0]), planes, rows, results, _planes(dx), work=x.size)
    return dx, dweight, dbias


def _room(x):
    """For two sums of each plane, in float64, and for two numbers of each channel."""
    N, C, _, _ = x.shape
    return np.empty((2, N * C)), *np.empty((2, C), x.dtype)


def _rows(kernel, x, dy=None, **rows):
    """The rows, of one number per channel, in the dtype of x."""
    if dy is not None and dy.shape != x.shape:
        expect(kernel, dy=(dy, x.shape))
    each, dtype = x.shape[1:2], x.dtype
    for name, row in rows.items():
        if row.shape != each:
            expect(kernel, **{name: (row, each)})
        if row.dtype is not dtype:
            rows[name] = row.astype(dtype)
    return tuple(rows.values())


def _planes(x):
    """(N, C, H, W) seen as (N*C, H*W): row p holds a plane of channel p % C."""
    N, C, H, W = x.shape
    return x.reshape(N * C, H * W)


@compiled
def _statistics(x, of_planes, mean, var, phase, part, start, stop):
    """In phase 0 the mean of each plane and its squares about it; in phase 1, by one thread, those of each channel."""
    means, squares = of_planes[0], of_planes[1]
    if phase == 0:
        for p in range(start, stop):
            plane = x[p]
            total = 0.0
            for i in range(plane.size):
                total += plane[i]
            means[p] = total / plane.size
            centre, square = x.dtype.type(means[p]), x.dtype.type(0)
            for i in range(plane.size):
                square += (plane[i] - centre) ** 2
            squares[p] = square
    elif part == 0:
        N, C, pixels = means.size // mean.size, mean.size, x.shape[1]
        for c in range(C):
            total, square = 0.0, 0.0
            for p in range(c, means.size, C):
                total += means[p]
            centre = total / N
            # The squares about the common mean: those about a plane's own, and those of the planes' means about it.
            for p in range(c, means.size, C):
                square += squares[p] + pixels * (means[p] - centre) ** 2
            mean[c], var[c] = centre, square / (N * pixels)


@compiled
def _normalise(x, mean, invstd, weight, bias, y, start, stop):
    for p in range(start, stop):
        c = p % mean.size
        x_plane, y_plane, centre, scale, shift = x[p], y[p], mean[c], weight[c] * invstd[c], bias[c]
        for i in range(x_plane.size):
            y_plane[i] = (x_plane[i] - centre) * scale + shift


@compiled
def _reductions(planes, rows, results, phase, part, start, stop):
    """In phase 0 the two sums of each plane; in phase 1, by one thread, those of each channel."""
    (dy, x), (mean, invstd), (of_planes, dweight, dbias) = planes, rows, results
    products, sums = of_planes[0], of_planes[1]
    if phase == 0:
        for p in range(start, stop):
            dy_plane, x_plane, m = dy[p], x[p], mean[p % mean.size]
            product, total = 0.0, 0.0
            for i in range(x_plane.size):
                product += dy_plane[i] * (x_plane[i] - m)
                total += dy_plane[i]
            products[p], sums[p] = product, total
    elif part == 0:
        for c in range(mean.size):
            product, total = 0.0, 0.0
            for p in range(c, sums.size, mean.size):
                product += products[p]
                total += sums[p]
            dweight[c], dbias[c] = product * invstd[c], total


@compiled
def _backward(planes, rows, results, dx, phase, part, start, stop):
    """In phases 0 and 1 the reductions, which each number of dx needs; in phase 2 dx."""
    if phase < 2:
        _reductions(planes, rows[:2], results, phase, part, start, stop)
        return
    (dy, x), (mean, invstd, weight), (_, dweight, dbias) = planes, rows, results
    m = x.dtype.type(x.size // mean.size)
    for p in range(start, stop):
        c = p % mean.size
        dy_plane, x_plane, dx_plane = dy[p], x[p], dx[p]
        centre, scale, mean_dy = mean[c], weight[c] * invstd[c], dbias[c] / m
        slope = invstd[c] * dweight[c] / m  # xhat * mean(dy * xhat) = (x - mean) * slope
        for i in range(x_plane.size):
            dx_plane[i] = scale * (dy_plane[i] - mean_dy - slope * (x_plane[i] - centre))
