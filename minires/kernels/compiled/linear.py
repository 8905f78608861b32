"""The fully connected layer, compiled: a matrix product is a convolution with filters of one pixel.

Of one image, one row high: the pixels of channel k are row k of the second matrix, the filters the rows of the first.
"""

import numpy as np

from minires.kernels.compiled.conv import conv2d

GEOMETRY = (1, 1), ((0, 0), (0, 0)), (1, 1), 1  # stride, pad, dilation, groups


def product(a, b):
    """a @ b, for a (M, K) and b (K, P)."""
    if not a.size * b.size:
        return np.zeros((len(a), b.shape[1]), a.dtype)
    image, filters = b[None, :, None, :], a[:, :, None, None]
    return conv2d(image, filters, None, *GEOMETRY)[0, :, 0, :]


def linear(x, weight, bias):
    y = product(weight, x.T).T  # not x @ weight^T: x is smaller to turn than the weights
    return np.ascontiguousarray(y) if bias is None else np.add(y, bias, order="C")


def linear_input_gradient(dy, weight):
    return product(dy, weight)


def linear_weight_gradient(dy, x):
    return product(dy.T, x)
