"""Convolution, compiled: one product for all geometries (direct.py), and a faster one for three rows (winograd.py).

Arguments and results are those of kernels/reference.py, which also decides wherever a result is not finite. A *way* is
how a convolution is done; it depends on shapes alone, so it is found once for each, after they have been compared.
"""

import functools

from minires.kernels import reference
from minires.kernels.compiled import direct, winograd
from minires.kernels.compiled.geometry import output_sizes
from minires.kernels.compiled.shapes import expect
from minires.kernels.machine.compiler import as_compiled
from minires.kernels.machine.threads import num_threads

MOST_KINDS = 64  # kinds of pixels, of which each has taps of its own in dx: with large strides nearly all have none


def conv2d(x, weight, bias, stride, pad, dilation, groups):
    if bias is not None:
        expect("conv2d", bias=(bias, weight.shape[:1]))
    y = product(as_compiled(x), as_compiled(weight), bias, way_forward, weight.shape, (stride, pad, dilation, groups))
    return reference.conv2d(x, weight, bias, stride, pad, dilation, groups) if y is None else y


def conv2d_input_gradient(dy, weight, x_shape, stride, pad, dilation, groups):
    if len(dy) != x_shape[0]:
        expect("conv2d_input_gradient", dy=(dy, (x_shape[0], *dy.shape[1:])))
    shapes = weight.shape, x_shape[1:], (stride, pad, dilation, groups)
    dx = product(as_compiled(dy), as_compiled(weight), None, way_back, *shapes)
    if dx is None:
        return reference.conv2d_input_gradient(dy, weight, x_shape, stride, pad, dilation, groups)
    return dx


def conv2d_weight_gradient(dy, x, weight_shape, stride, pad, dilation, groups):
    x, dy = as_compiled(x), as_compiled(dy)
    way = way_forward(x.shape, weight_shape, (stride, pad, dilation, groups), num_threads(), dy.shape)
    dweight, doubt = way.weight_gradient(dy, x)
    if doubt:
        return reference.conv2d_weight_gradient(dy, x, weight_shape, stride, pad, dilation, groups)
    return dweight.reshape(weight_shape)


def product(x, weight, bias, find_way, *shapes):
    """y, or None where the definition must decide: zeros times infinity, in the padding or between rows."""
    way = find_way(x.shape, *shapes, num_threads())
    if way is None:
        return None
    y, doubt = way.product(x, weight, bias)
    return None if doubt else y


# -- which way, from shapes alone: weight (O, C, kh, kw) is seen as (groups, O / groups, C, kh, kw) --------------------


@functools.lru_cache(maxsize=1024)
def way_forward(x_shape, weight_shape, window, threads, dy_shape=None):
    """The way to y; given the shape of dy, to the gradient of the weight."""
    (N, channels, *size), (O, C, *kernel_size), (stride, pad, dilation, groups) = x_shape, weight_shape, window
    sums = dy_shape is not None
    who = "conv2d_weight_gradient" if sums else "conv2d"
    out_size = output_sizes(who, size, kernel_size, stride, pad, dilation)
    if sums and dy_shape != (N, O, *out_size):
        raise ValueError(f"{who}: expected dy of shape {(N, O, *out_size)}, got {dy_shape}.")
    if channels != groups * C:
        raise ValueError(f"{who}: expected x of shape {(N, groups * C, *size)}, got {x_shape}.")
    shape, geometry = (groups, O // groups, C, *kernel_size), (shortest(stride, out_size), pad, dilation)
    definition = direct.way_forward(x_shape, shape, out_size, geometry, sums)
    if winograd.fits(shape, geometry, N, out_size):
        return winograd.find_way(x_shape, shape, out_size, pad, definition, sums=sums)
    return definition


@functools.lru_cache(maxsize=1024)
def way_back(dy_shape, weight_shape, image_shape, window, threads):
    """The way to dx; None where the definition is faster."""
    (N, *seen), (O, C, kh, kw), (channels, *size) = dy_shape, weight_shape, image_shape
    stride, pad, dilation, groups = window
    out_size = output_sizes("conv2d_input_gradient", size, (kh, kw), stride, pad, dilation)
    if (O, *out_size) != tuple(seen):
        raise ValueError(f"conv2d_input_gradient: expected dy of shape {(N, O, *out_size)}, got {dy_shape}.")
    if channels != groups * C:
        expected = O, channels // groups, kh, kw
        raise ValueError(f"conv2d_input_gradient: expected weight of shape {expected}, got {weight_shape}.")
    shape, geometry = (groups, O // groups, C, kh, kw), (shortest(stride, out_size), pad, dilation)
    around = tuple((k - 1 - before, k - 1 - after) for k, (before, after) in zip((kh, kw), pad))
    turned = groups, C, O // groups, kh, kw
    if geometry[0][0] * geometry[0][1] > MOST_KINDS:
        return None
    definition = direct.way_back(dy_shape, shape, (N, *image_shape), geometry)
    if winograd.fits(turned, (geometry[0], around, dilation), N, size):
        return winograd.find_way(dy_shape, turned, size, around, definition, turned=True)
    return definition


def shortest(stride, out_size):
    """The stride, but 1 along an axis with a single place, where it makes no difference."""
    return tuple(1 if size == 1 else step for step, size in zip(stride, out_size))
