"""Convolution."""

import numpy as np

from minires import kernels
from minires.checks import flag, generator, require, sizes
from minires.kernels.compiled.geometry import output_sizes, pair, sides
from minires.layer import Layer, Parameter


class Conv2d(Layer):
    r"""Slide a bank of filters over the image: each output number is the inner product of a filter and a window.

    .. math::
        y[n, o, p, q] = b[o] + \sum_{c, i, j} w[o, c, i, j] \; x[n,\; c,\; s p + d i - top,\; s q + d j - left]

    where x is 0 in the padding. With the windows of an image unfolded into the columns of a matrix
    (:func:`minires.kernels.im2col`) all its sums together are one matrix product: y = w cols + b.

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size, stride, dilation : int or pair (vertical, horizontal); the last two 1 by default
        Size (kh, kw) of a filter, step s from window to window, distance d of neighbouring taps.
    padding : int, pair, "valid" or "same", default 0
        Zeros on each side. "valid" is none; "same" (stride 1 only) keeps H and W, an odd one is at the bottom or right.
    groups : int, default 1
        Split C and O into this many parts; each part of the filters sees its own part of the channels.
    bias : bool, default True
        Whether there is a b. Before a batch norm it has no effect.
    rng : numpy.random.Generator or int, optional
        Draws w from a normal distribution with sigma = sqrt(2 / fan_in), fan_in = C/groups * kh * kw: then signals
        keep their variance through convolution and ReLU [He2015]. b starts at 0.

    Shapes
    ------
    x, dx : (N, C, H, W);  y, dy : (N, O, Ho, Wo);  weight : (O, C/groups, kh, kw);  bias : (O,)

    Ho = floor((H + top + bottom - d*(kh-1) - 1) / s) + 1, Wo likewise: pixels that fill no whole window are left out.

    Backward
    --------
    Let w, b and x change by small delta w, delta b, delta x. With <u, v> for the sum of u * v over an image, its
    part of the loss changes by

    .. math::
        \langle dy,\; \delta w \, cols + w \, \delta cols + \delta b \rangle
        = \langle dy \, cols^T, \delta w \rangle + \langle w^T dy, \delta cols \rangle + \langle dy, \delta b \rangle

    so dw = dy cols^T, dcols = w^T dy, and db[o] is the sum of dy[o] (dw and db summed over images, too). im2col copies
    pixels, its transpose adds up the copies: dx = col2im(dcols). Pixel by pixel that is a convolution as well, of dy
    spread apart by the stride with the flipped filters.

    References
    ----------
    .. [He2015] He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", arXiv:1502.01852, section 2.2.
    .. [Dumoulin2016] Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.

    >>> conv = Conv2d(3, 16, kernel_size=3, stride=2, padding=1, rng=0)
    >>> conv.forward(np.zeros((8, 3, 32, 32), np.float32)).shape
    (8, 16, 16, 16)
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, rng=None
    ):
        O, C, groups = sizes("Conv2d", out_channels=out_channels, in_channels=in_channels, groups=groups)
        self.in_channels, self.out_channels, self.groups = C, O, groups
        fits, got = C % groups == 0 == O % groups, f"groups={groups} for {C} and {O}"
        require(fits, "Conv2d", "groups to divide in_channels and out_channels", got)
        self.kernel_size = pair("Conv2d kernel_size", kernel_size)
        self.stride = pair("Conv2d stride", stride)
        self.dilation = pair("Conv2d dilation", dilation)
        self.padding = padding
        self.pad = sides("Conv2d", padding, self.kernel_size, self.stride, self.dilation)

        shape = (O, C // groups, *self.kernel_size)
        sigma = np.sqrt(2 / np.prod(shape[1:]))
        self.weight = Parameter(generator("Conv2d", rng).normal(0, sigma, shape).astype(np.float32))
        self.bias = Parameter(np.zeros(O, np.float32)) if flag("Conv2d", "bias", bias) else None

    def forward(self, x):
        O, C = self.out_channels, self.in_channels
        weight, bias = self._check_input(
            x, "N", C, "H", "W", weight=(O, C // self.groups, *self.kernel_size), bias=(O,)
        )
        output_sizes(self, x.shape[2:], self.kernel_size, self.stride, self.pad, self.dilation)
        y = kernels.conv2d(x, weight, bias, self.stride, self.pad, self.dilation, self.groups)
        return self._remember(y, x, weight)

    def backward(self, dy):
        x, weight = self._recall(dy)
        geometry = self.stride, self.pad, self.dilation, self.groups
        self.weight.grad += kernels.conv2d_weight_gradient(dy, x, weight.shape, *geometry)
        if self.bias:
            self.bias.grad += dy.sum(axis=(0, 2, 3))
        return kernels.conv2d_input_gradient(dy, weight, x.shape, *geometry)
