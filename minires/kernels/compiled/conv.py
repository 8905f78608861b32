"""Convolution, compiled: one product for all geometries (direct.py), and a faster one for three rows (winograd.py).

Arguments and results are those of kernels/reference.py, which also decides wherever a result is not finite.
"""

import numpy as np

from minires.kernels import reference
from minires.kernels.compiled import direct, winograd
from minires.kernels.compiled.geometry import output_sizes
from minires.kernels.compiled.shapes import expect
from minires.kernels.machine.compiler import as_compiled

MOST_KINDS = 64  # kinds of pixels, of which each has taps of its own in dx: with large strides nearly all have none


def conv2d(x, weight, bias, stride, pad, dilation, groups):
    x, filters = as_compiled(x), in_groups(weight, groups)
    kernel_size = weight.shape[2:]
    out_size = output_sizes("conv2d", x.shape[2:], kernel_size, stride, pad, dilation)
    expect("conv2d", x=(x, (len(x), groups * filters.shape[2], *x.shape[2:])))
    if bias is not None:
        expect("conv2d", bias=(bias, weight.shape[:1]))
    geometry = shortest(stride, out_size), pad, dilation
    if winograd.fits(filters.shape, geometry, len(x), out_size):
        y, doubt, apart = winograd.conv2d(x, filters, bias, out_size, pad)
        if np.count_nonzero(apart) and not doubt:
            y[apart], doubt = direct.conv2d(x[apart], filters, bias, out_size, geometry)
    else:
        y, doubt = direct.conv2d(x, filters, bias, out_size, geometry)
    if doubt:  # zeros times infinity, in the padding or between rows: let the definition decide
        return reference.conv2d(x, weight, bias, stride, pad, dilation, groups)
    return y


def conv2d_input_gradient(dy, weight, x_shape, stride, pad, dilation, groups):
    dy, filters = as_compiled(dy), in_groups(weight, groups)
    out_size = output_sizes("conv2d_input_gradient", x_shape[2:], weight.shape[2:], stride, pad, dilation)
    expect("conv2d_input_gradient", dy=(dy, (x_shape[0], len(weight), *out_size)))
    expect("conv2d_input_gradient", weight=(weight, (len(weight), x_shape[1] // groups, *weight.shape[2:])))
    stride_used, size = shortest(stride, out_size), x_shape[2:]
    geometry = stride_used, pad, dilation
    _, O, C, kh, kw = filters.shape
    around = tuple((k - 1 - before, k - 1 - after) for k, (before, after) in zip((kh, kw), pad))
    if winograd.fits((groups, C, O, kh, kw), (stride_used, around, dilation), len(dy), size):
        dx, doubt, apart = winograd.conv2d(dy, filters, None, size, around, turned=True)
        if np.count_nonzero(apart) and not doubt:
            some = dy[apart]
            dx[apart], doubt = direct.input_gradient(some, filters, (len(some), *x_shape[1:]), geometry)
    else:
        doubt = stride_used[0] * stride_used[1] > MOST_KINDS
        if not doubt:
            dx, doubt = direct.input_gradient(dy, filters, x_shape, geometry)
    if doubt:
        return reference.conv2d_input_gradient(dy, weight, x_shape, stride, pad, dilation, groups)
    return dx


def conv2d_weight_gradient(dy, x, weight_shape, stride, pad, dilation, groups):
    x, dy = as_compiled(x), as_compiled(dy)
    O, C, *kernel_size = weight_shape
    out_size = output_sizes("conv2d_weight_gradient", x.shape[2:], kernel_size, stride, pad, dilation)
    expect("conv2d_weight_gradient", dy=(dy, (len(x), O, *out_size)), x=(x, (len(x), groups * C, *x.shape[2:])))
    shape, geometry = (groups, O // groups, C, *kernel_size), (shortest(stride, dy.shape[2:]), pad, dilation)
    apart = True
    if winograd.fits(shape, geometry, len(x), dy.shape[2:]):
        dweight, doubt, apart = winograd.weight_gradient(dy, x, shape, pad)
    if apart:
        dweight, doubt = direct.weight_gradient(dy, x, shape, geometry)
    if doubt:
        return reference.conv2d_weight_gradient(dy, x, weight_shape, stride, pad, dilation, groups)
    return dweight.reshape(weight_shape)


def in_groups(weight, groups):
    """weight (O, C, kh, kw) as (groups, O / groups, C, kh, kw)"""
    return as_compiled(weight).reshape(groups, len(weight) // groups, *weight.shape[1:])


def shortest(stride, out_size):
    """The stride, but 1 along an axis with a single place, where it makes no difference."""
    return tuple(1 if size == 1 else step for step, size in zip(stride, out_size))
