"""Batch normalisation."""

import numpy as np

from minires import kernels
from minires.layer import Buffer, Layer, Parameter


class BatchNorm2d(Layer):
    r"""Normalise each channel over the batch and the image, then scale and shift it.

    .. math::
        \hat x = (x - \mu) / \sqrt{\sigma^2 + \epsilon}, \qquad y = \gamma \hat x + \beta

    In training, mu and sigma^2 are the mean and biased variance of the m = N*H*W values of a channel,
    and the running statistics move towards them (towards the *unbiased* variance, m/(m-1) larger).
    In evaluation the running statistics take their place.

    Parameters
    ----------
    num_features : int
        Number of channels C.
    eps : float, default 1e-5
        Added to the variance; keeps constant channels finite.
    momentum : float, default 0.1
        Weight of the current batch: running = (1 - momentum) * running + momentum * batch.

    Shapes
    ------
    x, y, dx, dy : (N, C, H, W);  weight (gamma), bias (beta), running_mean, running_var : (C,)

    Backward
    --------
    dgamma = sum(dy xhat) and dbeta = sum(dy) over the channel. For dx, let g = gamma dy = dL/dxhat and
    s = sqrt(sigma^2 + eps). A change of x moves xhat directly, through mu, and through sigma:

    .. math::
        d\hat x_i = \left(dx_i - \mathrm{mean}(dx) - \hat x_i \, \mathrm{mean}(\hat x \, dx)\right) / s

    (here d is a small change). That matrix, I - 1 1'/m - xhat xhat'/m over s, is symmetric, so the gradient passes
    back through it unchanged ([Ioffe2015], section 3):

    .. math::
        dx = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}
             \left(dy - \mathrm{mean}(dy) - \hat x \,\mathrm{mean}(dy \, \hat x)\right)

    that is dy minus its projections on 1 and on xhat: a constant dy gives dx = 0.
    In evaluation the statistics are constants, and dx = gamma * dy / sqrt(var + eps).

    References
    ----------
    .. [Ioffe2015] Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(5, 3, (8, 2, 4, 4))
    >>> y = BatchNorm2d(2).forward(x)
    >>> bool(np.allclose(y.mean(axis=(0, 2, 3)), 0)), bool(np.allclose(y.var(axis=(0, 2, 3)), 1, atol=1e-5))
    (True, True)
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        if num_features < 1:
            raise ValueError(f"BatchNorm2d: expected num_features of at least 1, got {num_features}.")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.running_mean = Buffer(np.zeros(num_features, np.float32))
        self.running_var = Buffer(np.ones(num_features, np.float32))

    def forward(self, x):
        self._check_input(x, "N", self.num_features, "H", "W")
        gamma, beta = (p.data.astype(x.dtype, copy=False) for p in (self.weight, self.bias))
        if self.training:
            mean, var = kernels.batchnorm_statistics(x)
            self._update_running_statistics(mean, var, m=x.size // self.num_features, shape=x.shape)
        else:
            mean, var = (b.data.astype(x.dtype, copy=False) for b in (self.running_mean, self.running_var))
        invstd = 1 / np.sqrt(var + self.eps)
        y = kernels.batchnorm_normalise(x, mean, invstd, gamma, beta)
        return self._remember(y, x, mean, invstd, self.training)

    def backward(self, dy):
        x, mean, invstd, training = self._recall(dy)
        gamma = self.weight.data.astype(x.dtype, copy=False)
        if training:
            dx, dgamma, dbeta = kernels.batchnorm_backward(dy, x, mean, invstd, gamma)
        else:
            dx = dy * (gamma * invstd)[:, None, None]
            dgamma, dbeta = kernels.batchnorm_reductions(dy, x, mean, invstd)
        self.weight.grad += dgamma
        self.bias.grad += dbeta
        return dx

    def _update_running_statistics(self, mean, var, m, shape):
        if m == 1:
            raise ValueError(
                f"{self!r}: expected more than one value per channel in training, got x of shape {shape}, which has "
                "no variance. Use a larger batch, or eval()."
            )
        for running, batch in ((self.running_mean.data, mean), (self.running_var.data, var * (m / (m - 1)))):
            running *= 1 - self.momentum
            running += self.momentum * batch

    def __repr__(self):
        eps = "" if self.eps == 1e-5 else f", eps={self.eps}"
        momentum = "" if self.momentum == 0.1 else f", momentum={self.momentum}"
        return f"{type(self).__name__}({self.num_features}{eps}{momentum})"
