"""The shortcut without parameters, for blocks that change the shape of x."""

import numpy as np

from minires.checks import whole
from minires.layer import Layer


class SubsampleShortcut(Layer):
    r"""Option A: keep every s-th pixel of every s-th row, and add channels of zeros, half before and half after.

    .. math::
        y[n,\; before + c,\; p, \; q] = x[n,\; c,\; s p,\; s q], \qquad before = \lfloor (O - C) / 2 \rfloor

    and y = 0 in the other channels. Without parameters, it leaves a residual net as large as its plain twin.

    Parameters
    ----------
    in_channels, out_channels : int
        C, and O >= C.
    stride : int, default 2
        s.

    Shapes
    ------
    x, dx : (N, C, H, W);  y, dy : (N, O, ceil(H / s), ceil(W / s))

    Backward
    --------
    Some numbers of x are copied, each once: dx takes their dy from where they went. The pixels stepped over go
    nowhere, so their dx is 0; the new channels come from nowhere, so their dy is dropped.

    References
    ----------
    .. [He2015] He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 3.3.

    >>> SubsampleShortcut(1, 3).forward(np.arange(16.0).reshape(1, 1, 4, 4))[0, :, 0]     # the first row
    array([[0., 0.],
           [0., 2.],
           [0., 0.]])
    """

    def __init__(self, in_channels, out_channels, stride=2):
        who, hint = "SubsampleShortcut", "It adds channels of zeros and cannot take any away; a 1x1 Conv2d can."
        self.in_channels = whole(who, "in_channels", in_channels, least=1)
        self.out_channels = whole(who, "out_channels", out_channels, least=self.in_channels, hint=hint)
        self.stride = whole(who, "stride", stride, least=1)
        self._before = (self.out_channels - self.in_channels) // 2  # channels of zeros

    def forward(self, x):
        self._check_input(x, "N", self.in_channels, "H", "W")
        kept = x[:, :, :: self.stride, :: self.stride]
        N, _, Ho, Wo = kept.shape
        y = np.zeros((N, self.out_channels, Ho, Wo), x.dtype)
        y[:, self._before : self._before + self.in_channels] = kept
        return self._remember(y, x.shape)

    def backward(self, dy):
        (x_shape,) = self._recall(dy)
        dx = np.zeros(x_shape, dy.dtype)
        dx[:, :, :: self.stride, :: self.stride] = dy[:, self._before : self._before + self.in_channels]
        return dx
