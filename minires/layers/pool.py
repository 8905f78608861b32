"""Pooling: one number for each window, or for each map."""

import numpy as np

from minires import kernels
from minires.kernels.geometry import half_at_most, options, output_sizes, pair
from minires.layer import Layer


class MaxPool2d(Layer):
    r"""The largest pixel of each window.

    .. math::
        y[n, c, p, q] = \max_{i, j} \; x[n,\; c,\; p s + i d - pad,\; q s + j d - pad]

    The padding counts as minus infinity, so it never wins.

    Parameters
    ----------
    kernel_size : int or pair (vertical, horizontal)
    stride : int or pair, default kernel_size
    padding : int or pair, default 0
        At most half the kernel, so that every window sees the image.
    dilation : int or pair, default 1
    ceil_mode : bool, default False
        Whether a last window may hang over the edge, as long as it starts inside the image (or its left padding).

    Shapes
    ------
    x, dx : (N, C, H, W);  y, dy : (N, C, Ho, Wo), Ho as for Conv2d, or rounded up in ceil_mode

    Backward
    --------
    y is one of the pixels of its window, and a small change of any other leaves it as it is. So dy goes to the pixel
    that was the largest, the first of equals; where windows overlap, a pixel adds up what it gets from several.

    References
    ----------
    .. [Dumoulin2016] Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, 3.
    """

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        self.kernel_size = pair("MaxPool2d kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else pair("MaxPool2d stride", stride)
        self.padding = pair("MaxPool2d padding", padding, least=0)
        self.dilation = pair("MaxPool2d dilation", dilation)
        self.ceil_mode = ceil_mode
        self.pad = half_at_most(self)

    def forward(self, x):
        self._check_input(x, "N", "C", "H", "W")
        window = self.kernel_size, self.stride, self.pad, self.dilation
        out_size = output_sizes(self, x.shape[2:], *window, self.ceil_mode)
        y, argmax = kernels.maxpool2d(x, *window, out_size)
        return self._remember(y, argmax, x.shape)

    def backward(self, dy):
        argmax, x_shape = self._recall(dy)
        return kernels.maxpool2d_backward(dy, argmax, x_shape)

    def __repr__(self):
        shown = options(self, stride=self.kernel_size, padding=0, dilation=1, ceil_mode=False)
        return f"{type(self).__name__}({options(self, kernel_size=None)[2:]}{shown})"


class AvgPool2d(Layer):
    r"""The mean of each window.

    .. math::
        y[n, c, p, q] = \frac{1}{a[p, q]} \sum_{i, j} \; x[n,\; c,\; p s + i - pad,\; q s + j - pad]

    with x = 0 in the padding, and a the number of pixels of the window: its padding counted if
    ``count_include_pad``, what hangs over beyond the padding (ceil_mode) never.

    Parameters
    ----------
    kernel_size : int or pair (vertical, horizontal)
    stride : int or pair, default kernel_size
    padding : int or pair, default 0
        At most half the kernel.
    ceil_mode : bool, default False
        Whether a last window may hang over the edge, as long as it starts inside the image (or its left padding).
    count_include_pad : bool, default True
    divisor_override : int, optional
        Divide by this number in place of a.

    Shapes
    ------
    x, dx : (N, C, H, W);  y, dy : (N, C, Ho, Wo), Ho as for Conv2d, or rounded up in ceil_mode

    Backward
    --------
    dy[p, q]/dx is 1/a[p, q] for every pixel of the window: each gets the share dy / a, and a pixel adds up the
    shares of all windows that cover it.

    References
    ----------
    .. [Dumoulin2016] Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, 3.
    """

    dilation = (1, 1)

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        self.kernel_size = pair("AvgPool2d kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else pair("AvgPool2d stride", stride)
        self.padding = pair("AvgPool2d padding", padding, least=0)
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override
        self.pad = half_at_most(self)

    def forward(self, x):
        self._check_input(x, "N", "C", "H", "W")
        window = self.kernel_size, self.stride, self.pad
        out_size = output_sizes(self, x.shape[2:], *window, self.dilation, self.ceil_mode)
        y = kernels.avgpool2d(x, *window, out_size, self.count_include_pad, self.divisor_override)
        return self._remember(y, x.shape)

    def backward(self, dy):
        (x_shape,) = self._recall(dy)
        window = self.kernel_size, self.stride, self.pad
        return kernels.avgpool2d_backward(dy, x_shape, *window, self.count_include_pad, self.divisor_override)

    def __repr__(self):
        shown = options(
            self, stride=self.kernel_size, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
        )
        return f"{type(self).__name__}({options(self, kernel_size=None)[2:]}{shown})"


class GlobalAvgPool2d(Layer):
    r"""The mean of each map, whatever its size: y[n, c] = mean over h, w of x[n, c, h, w].

    Shapes
    ------
    x, dx : (N, C, H, W);  y, dy : (N, C)

    Backward
    --------
    Every pixel weighs 1/(H W) in the mean, so dx[n, c, h, w] = dy[n, c] / (H W).

    References
    ----------
    .. [Lin2013] Lin, Chen and Yan, "Network In Network", arXiv:1312.4400, section 3.2.
    """

    def forward(self, x):
        self._check_input(x, "N", "C", "H", "W")
        y = x.mean(axis=(2, 3))
        return self._remember(y, x.shape)

    def backward(self, dy):
        (x_shape,) = self._recall(dy)
        _, _, H, W = x_shape
        return np.broadcast_to((dy / (H * W))[:, :, None, None], x_shape)
