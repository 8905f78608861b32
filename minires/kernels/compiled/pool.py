"""Maximum and average pooling, a row of outputs at a time.

Tap (i, j) of the window at output pixel (p, q) sees pixel

    h = p*stride + i*dilation - top,    w = q*stride + j*dilation - left

of the image, if there is one. For one tap, the pixels seen by a row of outputs stand ``stride`` apart in one row of
the image; which q see the image at all is worked out beforehand (:func:`_inside`), so that the loop over q asks
nothing and runs in vector lanes.
"""

import numpy as np

from minires.kernels.compiled.shapes import expect
from minires.kernels.machine.compiler import as_compiled, compiled
from minires.kernels.machine.threads import over_threads
from minires.kernels.reference import window_areas


def maxpool2d(x, kernel_size, stride, pad, dilation, out_size):
    x = as_compiled(x)
    y = np.empty((*x.shape[:2], *out_size), x.dtype)
    argmax = np.empty(y.shape, np.int32)
    geometry = tuple(kernel_size), tuple(stride), (pad[0][0], pad[1][0]), tuple(dilation)
    over_threads(_maxpool, len(_planes(x)), _planes(x), geometry, _planes(y), _planes(argmax), work=x.size)
    return y, argmax


def maxpool2d_backward(dy, argmax, x_shape):
    dy, argmax = as_compiled(dy), as_compiled(argmax)
    expect("maxpool2d_backward", argmax=(argmax, dy.shape), dy=(dy, (*x_shape[:2], *dy.shape[2:])))
    dx = np.empty(x_shape, dy.dtype)
    N, C, H, W = x_shape
    rows = dy.reshape(N * C, -1), argmax.reshape(N * C, -1), dx.reshape(N * C, -1)
    over_threads(_maxpool_backward, N * C, *rows, work=dx.size)
    return dx


def avgpool2d(x, kernel_size, stride, pad, out_size, count_include_pad, divisor):
    x = as_compiled(x)
    y = np.empty((*x.shape[:2], *out_size), x.dtype)
    area = _areas(x.shape, kernel_size, stride, pad, out_size, count_include_pad, divisor)
    geometry = tuple(kernel_size), tuple(stride), (pad[0][0], pad[1][0])
    over_threads(_avgpool, len(_planes(x)), _planes(x), *geometry, area, _planes(y), work=x.size)
    return y


def avgpool2d_backward(dy, x_shape, kernel_size, stride, pad, count_include_pad, divisor):
    dy = as_compiled(dy)
    expect("avgpool2d_backward", dy=(dy, (*x_shape[:2], *dy.shape[2:])))
    dx = np.empty(x_shape, dy.dtype)
    area = _areas(x_shape, kernel_size, stride, pad, dy.shape[2:], count_include_pad, divisor)
    geometry = tuple(kernel_size), tuple(stride), (pad[0][0], pad[1][0])
    over_threads(_avgpool_backward, len(_planes(dx)), _planes(dy), *geometry, area, _planes(dx), work=dx.size)
    return dx


def _planes(x):
    """(N, C, H, W) seen as (N*C, H, W)."""
    N, C, H, W = x.shape
    return x.reshape(N * C, H, W)


def _areas(x_shape, kernel_size, stride, pad, out_size, count_include_pad, divisor):
    """By how much the sum over each window is divided, (Ho, Wo)."""
    if divisor:
        return np.full(out_size, float(divisor))
    return window_areas(x_shape[2:], kernel_size, stride, pad, out_size, count_include_pad).astype(float)


@compiled
def _inside(offset, stride, size, places):
    """The range of those q in range(places) for which q*stride + offset is in range(size)."""
    first = max(0, -(offset // stride))
    last = min(places, (size - 1 - offset) // stride + 1)
    return first, max(first, last)


@compiled
def _seen(start, length, size):
    """The range of those of ``length`` pixels from ``start`` on that lie in range(size)."""
    return max(0, start), min(size, start + length)


@compiled
def _maxpool(x, geometry, y, argmax, start, stop):
    (_, H, W), (kernel_size, stride, before, dilation) = x.shape, geometry
    _, Ho, Wo = y.shape
    buffer = np.empty(Wo, x.dtype)
    step = np.int32(stride[1])
    for plane in range(start, stop):
        for p in range(Ho):
            y_row, argmax_row = y[plane, p], argmax[plane, p]
            for q in range(Wo):
                y_row[q], argmax_row[q] = -np.inf, -1
            top, most = p * stride[0] - before[0], (Wo - 1) * stride[1]
            for i in range(*_inside(top, dilation[0], H, kernel_size[0])):
                h = top + i * dilation[0]
                row = x[plane, h]
                for j in range(*_inside(most - before[1], dilation[1], W + most, kernel_size[1])):
                    offset = j * dilation[1] - before[1]
                    first, last = _inside(offset, stride[1], W, Wo)
                    best, where = y_row[first:last], argmax_row[first:last]
                    w = first * stride[1] + offset
                    at = np.int32(h * W + w)
                    seen = buffer[: best.size]
                    for q in range(best.size):
                        seen[q] = row[np.uint64(q * stride[1] + w)]
                    for q in range(best.size):
                        v = seen[q]
                        better = (v > best[q]) | (v != v) | (where[q] < 0)
                        best[q] = v if better else best[q]
                        where[q] = at + np.int32(q) * step if better else where[q]


@compiled
def _maxpool_backward(dy, argmax, dx, start, stop):
    for plane in range(start, stop):
        dx[plane] = 0
        for k in range(dy.shape[1]):
            if 0 <= argmax[plane, k] < dx.shape[1]:  # -1: a window that saw only padding
                dx[plane, argmax[plane, k]] += dy[plane, k]


@compiled
def _avgpool(x, kernel_size, stride, before, area, y, start, stop):
    _, H, W = x.shape
    _, Ho, Wo = y.shape
    sums = np.empty(W, x.dtype)  # down each column of the window; then along the row
    for plane in range(start, stop):
        for p in range(Ho):
            sums[:] = 0
            for h in range(*_seen(p * stride[0] - before[0], kernel_size[0], H)):
                row = x[plane, h]
                for w in range(W):
                    sums[w] += row[w]
            for q in range(Wo):
                total = x.dtype.type(0)
                for w in range(*_seen(q * stride[1] - before[1], kernel_size[1], W)):
                    total += sums[w]
                y[plane, p, q] = total / area[p, q]


@compiled
def _avgpool_backward(dy, kernel_size, stride, before, area, dx, start, stop):
    _, H, W = dx.shape
    _, Ho, Wo = dy.shape
    shares = np.empty(W, dx.dtype)  # what each pixel of a row gets; the rows of a window get the same
    for plane in range(start, stop):
        dx[plane] = 0
        for p in range(Ho):
            shares[:] = 0
            for q in range(Wo):
                share = dy[plane, p, q] / area[p, q]
                for w in range(*_seen(q * stride[1] - before[1], kernel_size[1], W)):
                    shares[w] += share
            for h in range(*_seen(p * stride[0] - before[0], kernel_size[0], H)):
                row = dx[plane, h]
                for w in range(W):
                    row[w] += shares[w]
