"""The rules by which a parameter moves down its gradient, and what is done to gradients before."""

import math

import numpy as np

from minires import kernels
from minires.checks import InvalidArgument, instance, real, require
from minires.optim.base import Optimizer
from minires.parameter import Parameter


class SGD(Optimizer):
    r"""Stochastic gradient descent with momentum, as in PyTorch.

    For each parameter p with gradient g, velocity v and learning rate lr:

    .. math::
        g &\leftarrow g + \mathrm{weight\_decay} \cdot p \\
        v &\leftarrow \mathrm{momentum} \cdot v + (1 - \mathrm{dampening}) \, g
             \quad (v \leftarrow g \text{ in the first step}) \\
        p &\leftarrow p - lr \cdot v
             \quad (p - lr \, (g + \mathrm{momentum} \cdot v) \text{ with Nesterov})

    The first line is the gradient of weight_decay/2 * sum(p**2), which falls on *every* parameter given here, gains and
    biases included; ``split_decay`` makes exceptions easy.

    Parameters
    ----------
    parameters, lr
        As for ``Optimizer``: ``net.parameters()`` or groups, and the learning rate.
    momentum : float, default 0
        How much of the velocity lives on; 0.9 averages over about ten steps.
    dampening : float, default 0
        Keeps part of the gradient out of the velocity.
    weight_decay : float, default 0
        Pulls the parameters towards zero.
    nesterov : bool, default False
        Looks one step of momentum ahead. Wants momentum > 0 and no dampening.

    References
    ----------
    .. [Sutskever2013] Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
       (There lr multiplies the gradient before it enters v; here, as in PyTorch, it multiplies v.)

    >>> from minires import Parameter
    >>> p = Parameter([1.0])
    >>> p.grad[:] = 2.0
    >>> SGD([p], lr=0.25).step()
    >>> p.data
    array([0.5])
    """

    remembers = ("velocity",)
    note = "momentum as in PyTorch: v <- momentum v + g, p <- p - lr v, so lr is outside v"

    def __init__(self, parameters, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(
            parameters, lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )

    def check(self, settings):
        if settings["nesterov"] and (settings["momentum"] == 0 or settings["dampening"] != 0):
            raise InvalidArgument("SGD: nesterov=True wants momentum > 0 and dampening = 0.")

    def move(self, p, g, lr, memory, settings):
        momentum, keep = settings["momentum"], 1 - settings["dampening"]
        if momentum and "velocity" not in memory:
            memory["velocity"], keep = np.zeros_like(p), 1.0
        v = memory["velocity"] if momentum else g  # without momentum, nobody looks at v
        kernels.sgd_step(p, g, v, lr, momentum, keep, settings["weight_decay"], settings["nesterov"])


class Adam(Optimizer):
    r"""Adam: each entry has a rate of its own, from the mean and the mean square of its gradients [Kingma2015]_.

    For each parameter p with gradient g, in step t = 1, 2, ...:

    .. math::
        g &\leftarrow g + \mathrm{weight\_decay} \cdot p \\
        m &\leftarrow \beta_1 m + (1 - \beta_1) \, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) \, g^2 \\
        p &\leftarrow p - lr \, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    m and v begin at 0. Were g the same in each step, m would be (1 - beta_1^t) g after t of them: the divisors
    take this out. The first step is then lr in the direction of the sign of g, however large g is.

    Parameters
    ----------
    parameters : Parameters, or dicts of one group each
    lr : float, default 0.001
    betas : (float, float), default (0.9, 0.999)
        How much of m and of v lives on; less than 1.
    eps : float, default 1e-8
        Keeps the division from 0 / 0.
    weight_decay : float, default 0
        Added to the gradient, so that it is divided by the root of v as well; see ``AdamW``.

    References
    ----------
    .. [Kingma2015] Kingma and Ba, "Adam: A Method for Stochastic Optimization", arXiv:1412.6980, algorithm 1.
    """

    remembers = ("m", "v")
    least = {"v": 0}  # a mean of squares

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def check(self, settings):
        require(max(settings["betas"]) < 1, self._who, "betas less than 1", settings["betas"])

    def move(self, p, g, lr, memory, settings):
        (beta1, beta2), eps, weight_decay = settings["betas"], settings["eps"], settings["weight_decay"]
        if not memory:
            memory["m"], memory["v"] = np.zeros_like(p), np.zeros_like(p)
        m, v = memory["m"], memory["v"]
        if weight_decay:
            g = g + weight_decay * p
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        root = np.sqrt(v) / math.sqrt(1 - beta2**self.steps) + eps
        p -= lr / (1 - beta1**self.steps) * m / root


class AdamW(Adam):
    r"""Adam whose weight decay is a step of its own, not part of the gradient [Loshchilov2019]_.

    .. math:: p \leftarrow (1 - lr \cdot \mathrm{weight\_decay}) \, p

    and then a step of ``Adam`` with the gradient alone. So every entry shrinks by the same factor, whether its
    gradients are large or small. Parameters as for ``Adam``; ``weight_decay`` is 0.01 by default.

    References
    ----------
    .. [Loshchilov2019] Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101, algorithm 2.
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def move(self, p, g, lr, memory, settings):
        p *= 1 - lr * settings["weight_decay"]
        super().move(p, g, lr, memory, {**settings, "weight_decay": 0.0})


def split_decay(net):
    """Split a net's parameters into (weights, rest): what is usually decayed, and biases, gains and the like.

    >>> from minires import Linear
    >>> [p.data.shape for p in split_decay(Linear(3, 2, rng=0))[1]]
    [(2,)]
    """
    instance("split_decay", "net", net, "parameters", "a Layer")
    parameters = net.parameters()
    return [p for p in parameters if p.data.ndim > 1], [p for p in parameters if p.data.ndim <= 1]


def clip_gradients(parameters, max_norm):
    r"""Shrink all gradients together so that the norm of the whole is at most ``max_norm``; return the norm before.

    .. math:: g \leftarrow g \cdot \min(1, \mathrm{max\_norm} / (|g| + 10^{-6})), \quad |g|^2 = \sum_i |g_i|^2

    Raises
    ------
    FloatingPointError
        When a gradient is not finite; nothing is changed then.
    """
    max_norm = real("clip_gradients", "max_norm", max_norm, above=0)
    instance("clip_gradients", "parameters", parameters, "__iter__", "a list such as net.parameters()")
    parameters = list(parameters)
    for index, p in enumerate(parameters):
        instance("clip_gradients", "each of the parameters", p, Parameter, "a Parameter")
        if not np.isfinite(p.grad).all():
            raise FloatingPointError(
                f"clip_gradients: the gradient of parameter {index} of {len(parameters)}, of shape {p.shape}, is not "
                "finite. Lower the learning rate, or look where it begins with minires.probe."
            )
    grads = [p.grad for p in parameters]
    largest = max((float(np.abs(g).max()) for g in grads if g.size), default=0) or 1.0  # so that no square overflows
    norm = largest * math.sqrt(sum(float(np.square(g / largest, dtype=np.float64).sum()) for g in grads))
    if norm + 1e-6 > max_norm:
        for g in grads:
            g *= max_norm / (norm + 1e-6)
    return norm
