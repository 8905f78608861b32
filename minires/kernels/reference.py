"""Every heavy operation, defined in a few lines of NumPy: what to read, and what the compiled kernels are held to.

Shapes: x (N, C, H, W), y and dy (N, O, Ho, Wo) or (N, C, Ho, Wo). Kernel sizes, strides and dilations are pairs
(vertical, horizontal), and pad is ((top, bottom), (left, right)). Nothing checks shapes here: the layers did.
"""

import numpy as np

from minires.kernels.compiled.geometry import output_sizes, span

__all__ = (
    "add augment avgpool2d avgpool2d_backward batchnorm_backward batchnorm_normalise batchnorm_reductions "
    "batchnorm_statistics col2im conv2d conv2d_input_gradient conv2d_weight_gradient im2col linear "
    "linear_input_gradient linear_weight_gradient maxpool2d maxpool2d_backward relu relu_backward sgd_step"
).split()


def per_channel(v):
    """Shape (C,) seen as (C, 1, 1), to be broadcast over images and pixels."""
    return v[:, None, None]


# -- convolution: unfold the windows, multiply once, fold back ------------------------------------------------------


def taps(kernel_size, stride, dilation, out_size):
    """Yield (i, j, rows, columns) for each tap of a kernel, row by row.

    ``padded[:, :, rows, columns]``, of shape (N, C, Ho, Wo), is what tap (i, j) sees as the window moves: pixel
    (p*stride + i*dilation, q*stride + j*dilation) of the padded image, for every output pixel (p, q).
    """
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            first = i * dilation[0], j * dilation[1]
            rows, columns = (slice(f, f + s * (size - 1) + 1, s) for f, s, size in zip(first, stride, out_size))
            yield i, j, rows, columns


def im2col(x, kernel_size, stride, pad, dilation):
    r"""Copy the window at each output pixel into a column, so that convolution becomes a matrix product.

    .. math::
        cols[n, (c, i, j), (p, q)] = x[n,\; c,\; p s + i d - top,\; q s + j d - left]

    and 0 where that pixel lies in the padding. A pixel is copied once for each window that covers it.

    Parameters
    ----------
    x : array (N, C, H, W)
    kernel_size, stride, dilation : pairs (vertical, horizontal)
    pad : ((top, bottom), (left, right))

    Returns
    -------
    cols : array (N, C*kh*kw, Ho*Wo)
        Rows are ordered as the entries of a filter (C, kh, kw), columns as the pixels of the output (Ho, Wo).

    Examples
    --------
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> im2col(x, (2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1))[0, :, 0]     # the first window, as a column
    array([0., 1., 3., 4.])
    """
    N, C, H, W = x.shape
    kh, kw = kernel_size
    Ho, Wo = output_sizes("im2col", (H, W), kernel_size, stride, pad, dilation)
    padded = np.pad(x, ((0, 0), (0, 0), *pad))
    cols = np.empty((N, C, kh, kw, Ho, Wo), x.dtype)
    for i, j, rows, columns in taps(kernel_size, stride, dilation, (Ho, Wo)):
        cols[:, :, i, j] = padded[:, :, rows, columns]
    return cols.reshape(N, C * kh * kw, Ho * Wo)


def col2im(cols, x_shape, kernel_size, stride, pad, dilation):
    r"""Add every column back to the pixels it was copied from: the transpose of :func:`im2col`.

    As a linear map im2col copies; its transpose adds up the copies. So <im2col(x), cols> = <x, col2im(cols)>, and
    if cols holds dL/dcols, col2im(cols) is dL/dx. (It is no inverse: a pixel seen by k windows comes back k-fold.)

    Parameters
    ----------
    cols : array (N, C*kh*kw, Ho*Wo)
    x_shape : (N, C, H, W)
    kernel_size, stride, pad, dilation : as for im2col

    Returns
    -------
    x : array (N, C, H, W)
    """
    N, C, H, W = x_shape
    kh, kw = kernel_size
    (top, bottom), (left, right) = pad
    Ho, Wo = output_sizes("col2im", (H, W), kernel_size, stride, pad, dilation)
    cols = cols.reshape(N, C, kh, kw, Ho, Wo)
    padded = np.zeros((N, C, top + H + bottom, left + W + right), cols.dtype)
    for i, j, rows, columns in taps(kernel_size, stride, dilation, (Ho, Wo)):
        padded[:, :, rows, columns] += cols[:, :, i, j]
    return np.ascontiguousarray(padded[:, :, top : top + H, left : left + W])


def conv2d(x, weight, bias, stride, pad, dilation, groups):
    """y = weight @ im2col(x) + bias; each group of filters sees its own group of channels."""
    N, _, H, W = x.shape
    O, _, *kernel_size = weight.shape
    Ho, Wo = output_sizes("conv2d", (H, W), kernel_size, stride, pad, dilation)
    cols = im2col(x, kernel_size, stride, pad, dilation)
    y = weight.reshape(groups, O // groups, -1) @ cols.reshape(N, groups, -1, Ho * Wo)
    y = y.reshape(N, O, Ho, Wo)
    return y if bias is None else y + per_channel(bias)


def conv2d_input_gradient(dy, weight, x_shape, stride, pad, dilation, groups):
    """dcols = weight^T @ dy, then dx = col2im(dcols)."""
    N, O, Ho, Wo = dy.shape
    _, _, *kernel_size = weight.shape
    transposed = weight.reshape(groups, O // groups, -1).swapaxes(1, 2)
    dcols = transposed @ dy.reshape(N, groups, O // groups, Ho * Wo)
    return col2im(dcols, x_shape, kernel_size, stride, pad, dilation)


def conv2d_weight_gradient(dy, x, weight_shape, stride, pad, dilation, groups):
    """dweight = dy @ im2col(x)^T, summed over the images."""
    N, O, Ho, Wo = dy.shape
    _, _, *kernel_size = weight_shape
    cols = im2col(x, kernel_size, stride, pad, dilation)
    dy = dy.reshape(N, groups, O // groups, Ho * Wo)
    dweight = dy @ cols.reshape(N, groups, -1, Ho * Wo).swapaxes(2, 3)
    return dweight.sum(axis=0).reshape(weight_shape)


# -- the fully connected layer: x (N, D), y and dy (N, K), weight (K, D), bias (K,) ----------------------------------


def linear(x, weight, bias):
    """y = x @ weight^T + bias."""
    y = x @ weight.T
    return y if bias is None else y + bias


def linear_input_gradient(dy, weight):
    """dx = dy @ weight."""
    return dy @ weight


def linear_weight_gradient(dy, x):
    """dweight = dy^T @ x, summed over the examples by the product."""
    return dy.T @ x


# -- elementwise ----------------------------------------------------------------------------------------------------


def relu(x):
    """max(x, 0); NaN stays NaN."""
    return np.maximum(x, 0, order="C")


def relu_backward(dy, y):
    """dy where y > 0, else 0."""
    return np.ascontiguousarray(np.where(y > 0, dy, 0))


def add(a, b):
    """a + b."""
    return np.add(a, b, order="C")


def sgd_step(p, g, v, lr, momentum, keep, weight_decay, nesterov):
    """Move p, and v unless momentum is 0, in place: the rule of optim.SGD, where keep is 1 - dampening."""
    if weight_decay:
        g = g + weight_decay * p
    if momentum:
        v[...] = momentum * v + keep * g
        g = g + momentum * v if nesterov else v
    p -= lr * g


# -- batch normalisation: everything is a sum over images and pixels, channel by channel --------------------------


def batchnorm_statistics(x):
    """Mean and biased variance of each channel: two arrays (C,). Summed in float64: then a constant has variance 0."""
    mean, var = x.mean(axis=(0, 2, 3), dtype=np.float64), x.var(axis=(0, 2, 3), dtype=np.float64)
    return mean.astype(x.dtype), var.astype(x.dtype)


def batchnorm_normalise(x, mean, invstd, weight, bias):
    """y = weight * xhat + bias, where xhat = (x - mean) * invstd."""
    xhat = (x - per_channel(mean)) * per_channel(invstd)
    return np.ascontiguousarray(per_channel(weight) * xhat + per_channel(bias))


def batchnorm_reductions(dy, x, mean, invstd):
    """(sum of dy * xhat, sum of dy): dweight and dbias, two arrays (C,)."""
    xhat = (x - per_channel(mean)) * per_channel(invstd)
    return (dy * xhat).sum(axis=(0, 2, 3)), dy.sum(axis=(0, 2, 3))


def batchnorm_backward(dy, x, mean, invstd, weight):
    """(dx, dweight, dbias) where mean and invstd are those of x itself, and move with it."""
    m = x.size // x.shape[1]
    dweight, dbias = batchnorm_reductions(dy, x, mean, invstd)
    xhat = (x - per_channel(mean)) * per_channel(invstd)
    dx = per_channel(weight * invstd) * (dy - per_channel(dbias / m) - xhat * per_channel(dweight / m))
    return np.ascontiguousarray(dx), dweight, dbias


# -- pooling --------------------------------------------------------------------------------------------------------


def pad_for_windows(x, kernel_size, stride, pad, dilation, out_size, value):
    """Pad x, and beyond its padding as far as the last window hangs over (ceil_mode)."""
    widths = [(0, 0)] * (x.ndim - 2)
    for size, (before, after), k, s, d, out in zip(x.shape[-2:], pad, kernel_size, stride, dilation, out_size):
        reach = (out - 1) * s + span(k, d)
        widths.append((before, max(after, reach - size - before)))
    return np.pad(x, widths, constant_values=value)


def maxpool2d(x, kernel_size, stride, pad, dilation, out_size):
    """(y, argmax): the largest pixel of each window, and its flat index into the H*W plane (int32).

    The first of equal maxima wins; a NaN always does. The padding never wins: it is -inf.
    """
    N, C, H, W = x.shape
    index = np.arange(H * W, dtype=np.int32).reshape(H, W)
    padded = pad_for_windows(x, kernel_size, stride, pad, dilation, out_size, -np.inf)
    index = pad_for_windows(index, kernel_size, stride, pad, dilation, out_size, -1)
    y = np.full((N, C, *out_size), -np.inf, x.dtype)
    argmax = np.full(y.shape, -1, np.int32)
    for _, _, rows, columns in taps(kernel_size, stride, dilation, out_size):
        value, where = padded[:, :, rows, columns], index[rows, columns]
        better = (value > y) | np.isnan(value) | ((argmax < 0) & (where >= 0))
        y = np.where(better, value, y)
        argmax = np.where(better, where, argmax)
    return y, argmax


def maxpool2d_backward(dy, argmax, x_shape):
    """Each dy goes to the pixel that was the maximum; where windows overlap, a pixel collects several."""
    N, C, H, W = x_shape
    dx = np.zeros((N, C, H * W), dy.dtype)
    n, c = np.ogrid[:N, :C]
    np.add.at(dx, (n[..., None], c[..., None], argmax.reshape(N, C, -1)), dy.reshape(N, C, -1))
    return dx.reshape(x_shape)


def window_areas(image_size, kernel_size, stride, pad, out_size, count_include_pad):
    """By how much each average is divided, (Ho, Wo): the pixels of the window, the padding counted or not.

    What hangs over beyond the padding (ceil_mode) never counts.
    """
    lengths = []
    for size, k, s, (before, after), out in zip(image_size, kernel_size, stride, pad, out_size):
        first, last = (-before, size + after) if count_include_pad else (0, size)
        start = np.arange(out) * s - before
        lengths.append(np.minimum(start + k, last) - np.maximum(start, first))
    return np.outer(*lengths)


def avgpool2d(x, kernel_size, stride, pad, out_size, count_include_pad, divisor):
    """Sum of each window over its area, or over ``divisor`` where that is not None."""
    N, C, H, W = x.shape
    padded = pad_for_windows(x, kernel_size, stride, pad, (1, 1), out_size, 0)
    y = np.zeros((N, C, *out_size), x.dtype)
    for _, _, rows, columns in taps(kernel_size, stride, (1, 1), out_size):
        y += padded[:, :, rows, columns]
    area = divisor or window_areas((H, W), kernel_size, stride, pad, out_size, count_include_pad)
    return (y / area).astype(x.dtype, copy=False)


def avgpool2d_backward(dy, x_shape, kernel_size, stride, pad, count_include_pad, divisor):
    """Every pixel of a window gets an equal share of its dy."""
    N, C, H, W = x_shape
    out_size = dy.shape[2:]
    area = divisor or window_areas((H, W), kernel_size, stride, pad, out_size, count_include_pad)
    share = (dy / area).astype(dy.dtype, copy=False)
    padded = pad_for_windows(np.zeros(x_shape, dy.dtype), kernel_size, stride, pad, (1, 1), out_size, 0)
    for _, _, rows, columns in taps(kernel_size, stride, (1, 1), out_size):
        padded[:, :, rows, columns] += share
    top, left = pad[0][0], pad[1][0]
    return np.ascontiguousarray(padded[:, :, top : top + H, left : left + W])


# -- images ---------------------------------------------------------------------------------------------------------


def augment(images, index, top, left, flip, pad, shift, scale):
    """Normalise the chosen images, pad them with zeros, cut an H x W piece at (top, left), and mirror some.

    images (M, C, H, W) of uint8, index, top, left, flip (N,), shift (C, H, W), scale (C,); x float32 (N, C, H, W).
    The padding is 0 *after* normalisation: the mean image, or the mean colour.
    """
    x = (images[index] - shift) * per_channel(scale)
    N, C, H, W = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    for n in range(N):
        crop = padded[n, :, top[n] : top[n] + H, left[n] : left[n] + W]
        x[n] = crop[:, :, ::-1] if flip[n] else crop
    return x
