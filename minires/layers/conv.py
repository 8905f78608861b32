"""Convolution."""

import numpy as np

from minires import kernels
from minires.kernels.geometry import options, output_sizes, pair, span
from minires.layer import Layer, Parameter


class Conv2d(Layer):
    r"""Slide a bank of filters over the image; each output pixel is the inner product of a filter and a window.

    .. math::
        y[n, o, p, q] = b[o] + \sum_{c, i, j} w[o, c, i, j] \; x[n,\; c,\; p s + i d - top,\; q s + j d - left]

    with x = 0 in the padding. (This is a correlation: the filter is not flipped.) With the windows unfolded into the
    columns of a matrix (:func:`minires.kernels.im2col`) it is one matrix product, y = w @ cols + b.

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size, stride, dilation : int or pair (vertical, horizontal), default 1 for the last two
        Size (kh, kw) of the filter; the step s from window to window; the distance d of neighbouring filter taps.
    padding : int, pair, "valid" or "same", default 0
        Zeros on each side. "valid" is none; "same" (stride 1 only) is what keeps H and W, an odd one going to the
        bottom or right.
    groups : int, default 1
        Split the channels into that many groups, each filtered on its own; C groups are a depthwise convolution.
    bias : bool, default True
        Whether to add b. Batch norm right after it makes it useless.
    rng : numpy.random.Generator or int, optional
        Source of the initial weights, normal with sigma = sqrt(2 / fan_in), fan_in = C/groups * kh * kw [He2015].
        The bias starts at 0.

    Shapes
    ------
    x, dx : (N, C, H, W);  y, dy : (N, O, Ho, Wo);  weight : (O, C/groups, kh, kw);  bias : (O,)

    Ho = floor((H + top + bottom - d*(kh-1) - 1) / s) + 1, and Wo likewise: a window that does not fit is left out.

    Backward
    --------
    y is linear in cols and in w. Image by image, y = w @ cols + b, so with <dy, y> = <dy, w @ cols> + <dy, b>

    .. math::
        dw = \sum_n dy \; cols^T, \qquad db = \sum_{n, p, q} dy, \qquad dcols = w^T dy

    and since im2col copies pixels, its transpose adds the copies up: dx = col2im(dcols). Written out, pixel (h, k)
    collects w[o, c, i, j] dy[n, o, p, q] from every window with p s + i d - top = h and q s + j d - left = k: a
    convolution of dy with the *flipped* filter, spread apart by the stride.

    References
    ----------
    .. [He2015] He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", arXiv:1502.01852, section 2.2.
    .. [Dumoulin2016] Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.

    Examples
    --------
    >>> conv = Conv2d(3, 16, 3, stride=2, padding=1, rng=0)
    >>> conv.forward(np.zeros((8, 3, 32, 32), np.float32)).shape
    (8, 16, 16, 16)
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, rng=None
    ):
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: expected in_channels and out_channels to be positive multiples of groups, "
                f"got {in_channels}, {out_channels} and groups={groups}."
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = kh, kw = pair("Conv2d kernel_size", kernel_size)
        self.stride = pair("Conv2d stride", stride)
        self.dilation = pair("Conv2d dilation", dilation)
        self.padding = padding if isinstance(padding, str) else pair("Conv2d padding", padding, least=0)
        self.pad = self._sides()

        shape = out_channels, in_channels // groups, kh, kw
        sigma = np.sqrt(2 / (in_channels // groups * kh * kw))
        self.weight = Parameter(np.random.default_rng(rng).normal(0, sigma, shape).astype(np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def _sides(self):
        """The padding as ((top, bottom), (left, right))."""
        if self.padding == "valid":
            return (0, 0), (0, 0)
        if self.padding == "same":
            if self.stride != (1, 1):
                raise ValueError(
                    f'Conv2d: padding="same" keeps H and W, which needs stride 1, got stride={self.stride}. '
                    "Give the padding as a number, kernel_size // 2 for an odd kernel."
                )
            around = [span(k, d) - 1 for k, d in zip(self.kernel_size, self.dilation)]
            return tuple((n // 2, n - n // 2) for n in around)
        if isinstance(self.padding, str):
            raise ValueError(f'Conv2d: expected padding "same", "valid", an int or a pair, got {self.padding!r}.')
        return tuple((n, n) for n in self.padding)

    def forward(self, x):
        self._check_input(x, "N", self.in_channels, "H", "W")
        output_sizes(self, x.shape[2:], self.kernel_size, self.stride, self.pad, self.dilation)
        weight = self.weight.data.astype(x.dtype, copy=False)
        bias = None if self.bias is None else self.bias.data.astype(x.dtype, copy=False)
        y = kernels.conv2d(x, weight, bias, self.stride, self.pad, self.dilation, self.groups)
        return self._remember(y, x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        weight = self.weight.data.astype(x.dtype, copy=False)
        geometry = self.stride, self.pad, self.dilation, self.groups
        self.weight.grad += kernels.conv2d_weight_gradient(dy, x, weight.shape, *geometry)
        if self.bias is not None:
            self.bias.grad += dy.sum(axis=(0, 2, 3))
        return kernels.conv2d_input_gradient(dy, weight, x.shape, *geometry)

    def __repr__(self):
        shown = options(self, kernel_size=None, stride=1, padding=0, dilation=1, groups=1)
        bias = "" if self.bias else ", bias=False"
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels}{shown}{bias})"
