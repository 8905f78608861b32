"""Pooling: one number per window of a channel, or per channel."""

import numpy as np

from minires import kernels
from minires.checks import flag, whole
from minires.kernels.compiled.geometry import half_at_most, output_sizes, pair
from minires.layer import Layer


class _Pool2d(Layer):
    """What pooling with a window shares: where the window may stand."""

    dilation = (1, 1)

    def __init__(self, kernel_size, stride, padding, ceil_mode):
        who = type(self).__name__
        self.kernel_size = pair(f"{who} kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else pair(f"{who} stride", stride)
        self.padding, self.ceil_mode = padding, flag(who, "ceil_mode", ceil_mode)
        self.pad = half_at_most(who, padding, self.kernel_size)

    def _out_size(self, x):
        self._check_input(x, "N", "C", "H", "W")
        window = self.kernel_size, self.stride, self.pad, self.dilation
        return output_sizes(self, x.shape[2:], *window, self.ceil_mode)


class MaxPool2d(_Pool2d):
    r"""The largest pixel of each window.

    .. math::
        y[n, c, p, q] = \max_{i, j} \; x[n,\; c,\; s p + d i - pad,\; s q + d j - pad]

    The padding counts as minus infinity: it never wins.

    Parameters
    ----------
    kernel_size : int or pair (vertical, horizontal)
    stride : int or pair, default kernel_size
        Step s from window to window.
    padding : int or pair, default 0
        On each side; at most half the kernel.
    dilation : int or pair, default 1
        Distance d of neighbouring pixels of a window.
    ceil_mode : bool, default False
        Whether a last window may hang over the edge. It must start in the image, or in the padding before it.

    Shapes
    ------
    x, dx : (N, C, H, W);  y, dy : (N, C, Ho, Wo), with Ho, Wo as for Conv2d, or rounded up in ceil_mode

    Backward
    --------
    y is a copy of one pixel of its window, and small changes of the others leave it alone. So dy goes to that pixel
    (the first of equals); where windows overlap, a pixel adds up what it gets from several.

    References
    ----------
    .. [Dumoulin2016] Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, 3.

    >>> MaxPool2d(2).forward(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.dilation = pair("MaxPool2d dilation", dilation)

    def forward(self, x):
        out_size = self._out_size(x)
        if any(before and d > size for (before, _), d, size in zip(self.pad, self.dilation, x.shape[2:])):
            raise ValueError(f"{self!r}: a window steps over the whole image of {x.shape[2:]}. Use a smaller dilation.")
        y, argmax = kernels.maxpool2d(x, self.kernel_size, self.stride, self.pad, self.dilation, out_size)
        return self._remember(y, argmax, x.shape)

    def backward(self, dy):
        argmax, x_shape = self._recall(dy)
        return kernels.maxpool2d_backward(dy, argmax, x_shape)


class AvgPool2d(_Pool2d):
    r"""The mean of each window.

    .. math::
        y[n, c, p, q] = \frac{1}{a[p, q]} \sum_{i, j} \; x[n,\; c,\; s p + i - pad,\; s q + j - pad]

    where x is 0 in the padding, and a is the number of pixels of the window. Its padding counts only with
    ``count_include_pad``; what hangs over beyond the padding (ceil_mode) never does.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode
        As for MaxPool2d.
    count_include_pad : bool, default True
    divisor_override : int, optional
        Takes the place of a.

    Shapes
    ------
    x, dx : (N, C, H, W);  y, dy : (N, C, Ho, Wo), with Ho, Wo as for Conv2d, or rounded up in ceil_mode

    Backward
    --------
    y[p, q] changes by 1/a[p, q] of the change of any pixel of its window: each gets dy[p, q] / a[p, q], and adds up
    what it gets from all windows that cover it.

    References
    ----------
    .. [Dumoulin2016] Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, 3.

    >>> AvgPool2d(2).forward(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = flag("AvgPool2d", "count_include_pad", count_include_pad)
        given = divisor_override is not None
        self.divisor_override = whole("AvgPool2d", "divisor_override", divisor_override, 1) if given else None

    def forward(self, x):
        window = self.kernel_size, self.stride, self.pad, self._out_size(x)
        y = kernels.avgpool2d(x, *window, self.count_include_pad, self.divisor_override)
        return self._remember(y, x.shape)

    def backward(self, dy):
        (x_shape,) = self._recall(dy)
        window = self.kernel_size, self.stride, self.pad
        return kernels.avgpool2d_backward(dy, x_shape, *window, self.count_include_pad, self.divisor_override)


class GlobalAvgPool2d(Layer):
    r"""The mean of each channel of an image, whatever its size.

    .. math::
        y[n, c] = \frac{1}{H W} \sum_{h, w} x[n, c, h, w]

    Shapes
    ------
    x, dx : (N, C, H, W);  y, dy : (N, C)

    Backward
    --------
    Each pixel has the weight 1/(H W) in y, so dx[n, c, h, w] = dy[n, c] / (H W), the same for all h and w.

    References
    ----------
    .. [Lin2013] Lin, Chen and Yan, "Network In Network", arXiv:1312.4400, section 3.2.

    >>> GlobalAvgPool2d().forward(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[1.5, 5.5]])
    """

    def forward(self, x):
        self._check_input(x, "N", "C", "H", "W")
        y = x.mean(axis=(2, 3))
        return self._remember(y, x.shape)

    @np.errstate(under="ignore")
    def backward(self, dy):
        (x_shape,) = self._recall(dy)
        _, _, H, W = x_shape
        return np.broadcast_to((dy / (H * W))[:, :, None, None], x_shape)
