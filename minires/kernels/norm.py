"""Batch normalisation in the fewest passes over memory: x is read once for its statistics and once to be normalised.

The unit of work is a plane, the H*W pixels of one channel of one image. Sums are taken plane by plane and then, in
float64, over the images, so that no result depends on how many threads share the planes. A plane fits into the
processor's nearest cache: a second loop over it is cheap, a second loop over x is not. The mean is always subtracted
first, for where it is large against the deviation, x * scale + shift would cancel.
"""

import numpy as np

from minires.kernels.compiler import as_compiled, compiled
from minires.kernels.parallel import over_threads


def batchnorm_statistics(x):
    """Mean and biased variance of each channel: two arrays (C,)."""
    x = as_compiled(x)
    N, C, H, W = x.shape
    means, squares = np.empty((2, N * C))
    over_threads(_plane_statistics, N * C, _planes(x), means, squares, work=x.size)
    mean, var = np.empty((2, C), x.dtype)
    over_threads(_channel_statistics, C, means, squares, H * W, mean, var, work=means.size)
    return mean, var


def batchnorm_normalise(x, mean, invstd, weight, bias):
    """y = weight * xhat + bias, where xhat = (x - mean) * invstd."""
    x = as_compiled(x)
    y = np.empty_like(x)
    rows = [v.astype(x.dtype, copy=False) for v in (mean, invstd, weight, bias)]
    over_threads(_normalise, len(_planes(x)), _planes(x), *rows, _planes(y), work=x.size)
    return y


def batchnorm_reductions(dy, x, mean, invstd):
    """(sum of dy * xhat, sum of dy): dweight and dbias, two arrays (C,)."""
    dy, x = as_compiled(dy), as_compiled(x)
    N, C, _, _ = x.shape
    products, sums = np.empty((2, N * C))
    mean, invstd = (v.astype(x.dtype, copy=False) for v in (mean, invstd))
    over_threads(_plane_reductions, N * C, _planes(dy), _planes(x), mean, products, sums, work=x.size)
    dweight, dbias = np.empty((2, C), x.dtype)
    over_threads(_channel_reductions, C, products, sums, invstd, dweight, dbias, work=sums.size)
    return dweight, dbias


def batchnorm_backward(dy, x, mean, invstd, weight):
    """(dx, dweight, dbias) where mean and invstd are those of x itself, and move with it."""
    dy, x = as_compiled(dy), as_compiled(x)
    dweight, dbias = batchnorm_reductions(dy, x, mean, invstd)
    dx = np.empty_like(x)
    rows = [v.astype(x.dtype, copy=False) for v in (mean, invstd, weight, dweight, dbias)]
    m = x.size // x.shape[1]
    over_threads(_input_gradient, len(_planes(x)), _planes(dy), _planes(x), m, *rows, _planes(dx), work=x.size)
    return dx, dweight, dbias


def _planes(x):
    """(N, C, H, W) seen as (N*C, H*W): row p holds a plane of channel p % C."""
    N, C, H, W = x.shape
    return x.reshape(N * C, H * W)


@compiled
def _plane_statistics(x, means, squares, start, stop):
    for p in range(start, stop):
        plane = x[p]
        total = 0.0
        for i in range(plane.size):
            total += plane[i]
        means[p] = total / plane.size
        mean, square = x.dtype.type(means[p]), x.dtype.type(0)
        for i in range(plane.size):
            square += (plane[i] - mean) ** 2
        squares[p] = square


@compiled
def _channel_statistics(means, squares, pixels, mean, var, start, stop):
    C = mean.size
    for c in range(start, stop):
        total, square, planes = 0.0, 0.0, means[c::C]
        for n in range(planes.size):
            total += planes[n]
        centre = total / planes.size
        # The squares about the common mean: those about each plane's own mean, and those of the planes' means about it.
        for n in range(planes.size):
            square += squares[n * C + c] + pixels * (planes[n] - centre) ** 2
        mean[c], var[c] = centre, square / (planes.size * pixels)


@compiled
def _normalise(x, mean, invstd, weight, bias, y, start, stop):
    for p in range(start, stop):
        c = p % mean.size
        x_plane, y_plane, centre, scale, shift = x[p], y[p], mean[c], weight[c] * invstd[c], bias[c]
        for i in range(x_plane.size):
            y_plane[i] = (x_plane[i] - centre) * scale + shift


@compiled
def _plane_reductions(dy, x, mean, products, sums, start, stop):
    for p in range(start, stop):
        dy_plane, x_plane, m = dy[p], x[p], mean[p % mean.size]
        product, total = 0.0, 0.0
        for i in range(x_plane.size):
            product += dy_plane[i] * (x_plane[i] - m)
            total += dy_plane[i]
        products[p], sums[p] = product, total


@compiled
def _channel_reductions(products, sums, invstd, dweight, dbias, start, stop):
    C = dbias.size
    for c in range(start, stop):
        product, total = 0.0, 0.0
        for n in range(c, sums.size, C):
            product += products[n]
            total += sums[n]
        dweight[c], dbias[c] = product * invstd[c], total


@compiled
def _input_gradient(dy, x, m, mean, invstd, weight, dweight, dbias, dx, start, stop):
    for p in range(start, stop):
        c = p % mean.size
        dy_plane, x_plane, dx_plane = dy[p], x[p], dx[p]
        centre, scale, mean_dy = mean[c], weight[c] * invstd[c], dbias[c] / x.dtype.type(m)
        slope = invstd[c] * dweight[c] / x.dtype.type(m)  # xhat * mean(dy * xhat) = (x - mean) * slope
        for i in range(x_plane.size):
            dx_plane[i] = scale * (dy_plane[i] - mean_dy - slope * (x_plane[i] - centre))
