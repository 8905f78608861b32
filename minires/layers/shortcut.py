"""The parameter-free shortcut where a residual block changes the shape of its input."""

import numpy as np

from minires.layer import Layer


class SubsampleShortcut(Layer):
    r"""Option A: take every s-th pixel, and add channels of zeros, half before and half after.

    .. math::
        y[n,\; before + c,\; p,\; q] = x[n,\; c,\; p s,\; q s], \qquad before = \lfloor (O - C) / 2 \rfloor

    and 0 in the other channels. It has no parameters, so the residual net has exactly those of the plain net.

    Parameters
    ----------
    in_channels, out_channels : int
        C and O >= C.
    stride : int, default 2

    Shapes
    ------
    x, dx : (N, C, H, W);  y, dy : (N, O, ceil(H/s), ceil(W/s))

    Backward
    --------
    y copies some numbers of x; so dx takes their dy from the same places, and is 0 at every pixel passed over.
    The dy of the zero channels goes nowhere.

    References
    ----------
    .. [He2015] He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 3.3.
    """

    def __init__(self, in_channels, out_channels, stride=2):
        if not 1 <= in_channels <= out_channels or stride < 1:
            raise ValueError(
                f"SubsampleShortcut: expected out_channels >= in_channels >= 1 and stride >= 1, "
                f"got {in_channels}, {out_channels} and stride={stride}. It can add channels, not take any away."
            )
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride
        before = (out_channels - in_channels) // 2
        self._copied = slice(before, before + in_channels)

    def forward(self, x):
        self._check_input(x, "N", self.in_channels, "H", "W")
        s = self.stride
        N, _, H, W = x[:, :, ::s, ::s].shape
        y = np.zeros((N, self.out_channels, H, W), x.dtype)
        y[:, self._copied] = x[:, :, ::s, ::s]
        return self._remember(y, x.shape)

    def backward(self, dy):
        (x_shape,) = self._recall(dy)
        s = self.stride
        dx = np.zeros(x_shape, dy.dtype)
        dx[:, :, ::s, ::s] = dy[:, self._copied]
        return dx

    def __repr__(self):
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels}, stride={self.stride})"
