"""Batch normalisation."""

import numpy as np

from minires import kernels
from minires.checks import expected, real, sizes
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
    gamma and beta act on every value of the channel: dgamma = sum(dy xhat), dbeta = sum(dy). And dxhat = gamma dy.

    mu and s = sqrt(sigma^2 + eps) depend on x, so every pixel of a channel moves every other. A small change of x by
    delta x moves mu by mean(delta x) and, since sigma^2 is the mean of (x - mu)^2, s by mean(xhat delta x). Then

    .. math::
        \delta \hat x = \frac{\delta x - \delta \mu - \hat x \, \delta s}{s}
                      = \frac{\delta x - \mathrm{mean}(\delta x) - \hat x \, \mathrm{mean}(\hat x \, \delta x)}{s}

    As a matrix this map is symmetric, (I - 1 1'/m - xhat xhat'/m) / s; so dxhat goes back through the same map, and
    its three terms are the three paths of [Ioffe2015], section 3, collected:

    .. math::
        dx = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}
             \left(dy - \mathrm{mean}(dy) - \hat x \,\mathrm{mean}(dy \, \hat x)\right)

    that is dy minus its projections on 1 and on xhat: a constant dy gives dx = 0.
    In evaluation the statistics are constants, and dx = gamma * dy / sqrt(var + eps).

    References
    ----------
    .. [Ioffe2015] Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167.

    >>> y = BatchNorm2d(3).forward(np.random.default_rng(0).normal(5, 2, (8, 3, 4, 4)))
    >>> bool(np.allclose(y.mean(axis=(0, 2, 3)), 0)), bool(np.allclose(y.std(axis=(0, 2, 3)), 1, atol=1e-4))
    (True, True)
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        (self.num_features,) = sizes("BatchNorm2d", num_features=num_features)
        self.eps = real("BatchNorm2d", "eps", eps, least=0)
        self.momentum = real("BatchNorm2d", "momentum", momentum, least=0, most=1)
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.running_mean = Buffer(np.zeros(num_features, np.float32))
        self.running_var = Buffer(np.ones(num_features, np.float32), least=0)

    def forward(self, x):
        sizes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (self.num_features,))
        gamma, beta, mean, var = self._check_input(x, "N", self.num_features, "H", "W", **sizes)
        if self.training:
            mean, var = kernels.batchnorm_statistics(x)
            self._move_running_statistics(mean, var, x)
        invstd = 1 / np.sqrt(var + self.eps)
        y = kernels.batchnorm_normalise(x, mean, invstd, gamma, beta)
        return self._remember(y, x, mean, invstd, gamma, self.training)

    @np.errstate(under="ignore")
    def backward(self, dy):
        x, mean, invstd, gamma, training = self._recall(dy)
        if training:
            dx, dgamma, dbeta = kernels.batchnorm_backward(dy, x, mean, invstd, gamma)
        else:
            dgamma, dbeta = kernels.batchnorm_reductions(dy, x, mean, invstd)
            dx = dy * (gamma * invstd)[:, None, None]
        self.weight.grad += dgamma
        self.bias.grad += dbeta
        return dx

    @np.errstate(under="ignore")
    def _move_running_statistics(self, mean, var, x):
        m = x.size // self.num_features
        if m == 1:
            hint = "One value has no variance. Use a larger batch, or eval()."
            raise expected(self._who(), "more than one value per channel in training", f"x of shape {x.shape}", hint)
        for running, batch in ((self.running_mean.data, mean), (self.running_var.data, var * (m / (m - 1)))):
            running *= 1 - self.momentum
            running += self.momentum * batch
