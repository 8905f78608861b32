"""Stochastic gradient descent, and how its learning rate changes over a run.

The optimizer reads ``Parameter.grad`` and moves ``Parameter.data`` in place. It knows nothing of schedules: a
schedule says what the rate of an iteration is, and the training loop hands it on,
``optimizer.lr = schedule.lr(iteration)``.
"""

import math

import numpy as np

from minires import kernels
from minires.layer import Parameter


class SGD:
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
    parameters : Parameters, or dicts of one group each
        ``net.parameters()``, or a list such as ``[{"parameters": weights}, {"parameters": rest, "weight_decay": 0}]``.
        A group may set any of the numbers below for itself. Its ``lr`` counts in proportion: a group made with a
        tenth of the common rate stays at a tenth of it when a schedule sets ``optimizer.lr``.
    lr : float
        Learning rate; set it before any step with ``optimizer.lr = ...``.
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

    Examples
    --------
    >>> p = Parameter([1.0])
    >>> p.grad[:] = 2.0
    >>> SGD([p], lr=0.25).step()
    >>> p.data
    array([0.5])
    """

    def __init__(self, parameters, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
        defaults = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov}
        self.lr = lr
        self.groups = [self._group(group, defaults) for group in _as_groups(parameters)]
        self._velocity = {}  # id(parameter) -> array, from the first step on

        parameters = self.parameters()
        if len({id(parameter) for parameter in parameters}) < len(parameters):
            raise ValueError("SGD: a parameter was given twice, so each step would move it twice. Give each one once.")

    @property
    def lr(self):
        """The learning rate. A group with a rate of its own follows in proportion."""
        return self._lr

    @lr.setter
    def lr(self, lr):
        self._lr = _at_least_zero("lr", lr)

    def _group(self, group, defaults):
        unknown = sorted(group.keys() - defaults.keys() - {"parameters", "lr"})
        if unknown:
            raise ValueError(f"SGD: unknown setting {unknown[0]!r} of a group; known: lr, {', '.join(defaults)}.")
        if "lr" in group and self.lr == 0:
            raise ValueError("SGD: the lr of a group is kept in proportion to the common lr, which must then be > 0.")
        own = {"lr_factor": _at_least_zero("lr", group["lr"]) / self.lr if "lr" in group else 1.0}
        for name, default in defaults.items():
            own[name] = group.get(name, default)
            own[name] = bool(own[name]) if name == "nesterov" else _at_least_zero(name, own[name])
        if own["nesterov"] and (own["momentum"] == 0 or own["dampening"] != 0):
            raise ValueError("SGD: nesterov=True wants momentum > 0 and dampening = 0.")
        return {"parameters": group["parameters"], **own}

    def parameters(self):
        """All parameters, group after group."""
        return [parameter for group in self.groups for parameter in group["parameters"]]

    def zero_grad(self):
        """Set the gradient of every parameter to zero, as before each step."""
        for parameter in self.parameters():
            parameter.grad.fill(0)

    def step(self):
        """Move every parameter one step down its gradient."""
        for group in self.groups:
            lr = self.lr * group["lr_factor"]
            for parameter in group["parameters"]:
                self._move(parameter, lr, group)

    def _move(self, parameter, lr, group):
        p, g, momentum, keep = parameter.data, parameter.grad, group["momentum"], 1 - group["dampening"]
        v = self._velocity.get(id(parameter)) if momentum else g  # without momentum, nobody looks at v
        if v is None:
            v, keep = np.zeros_like(p), 1.0
        if momentum:
            self._velocity[id(parameter)] = v = v.astype(p.dtype, copy=False)  # another one after net.astype
        kernels.sgd_step(p, g, v, lr, momentum, keep, group["weight_decay"], group["nesterov"])

    def state_dict(self):
        """Return {"lr", "groups": settings of each group, "velocity": copy of the array of each parameter, or None}."""
        velocity = [self._velocity.get(id(parameter)) for parameter in self.parameters()]
        return {
            "lr": self.lr,
            "groups": [{k: v for k, v in group.items() if k != "parameters"} for group in self.groups],
            "velocity": [None if v is None else v.copy() for v in velocity],
        }

    def load_state_dict(self, state):
        """Take over what ``state_dict`` returned; everything is checked before anything is changed."""
        self.check_state_dict(state)
        self.lr = state["lr"]
        for group, settings in zip(self.groups, state["groups"]):
            group.update(settings)
        self._velocity = {
            id(parameter): np.array(v, parameter.data.dtype)
            for parameter, v in zip(self.parameters(), state["velocity"])
            if v is not None
        }

    def check_state_dict(self, state):
        """Raise ValueError unless the state belongs to an optimizer of the same parameters."""
        groups, parameters = state["groups"], self.parameters()
        if len(groups) != len(self.groups) or len(state["velocity"]) != len(parameters):
            raise ValueError(
                f"SGD: expected the state of {len(self.groups)} groups with {len(parameters)} parameters, got "
                f"{len(groups)} with {len(state['velocity'])}. Is it the same network, split the same way?"
            )
        for index, (parameter, v) in enumerate(zip(parameters, state["velocity"])):
            if v is not None and np.shape(v) != parameter.data.shape:
                raise ValueError(
                    f"SGD: expected the velocity of parameter {index} of shape {parameter.data.shape}, "
                    f"got {np.shape(v)}. Is it the same network?"
                )

    def __repr__(self):
        def text(group):
            return ", ".join(f"{name}={group[name]}" for name in ("momentum", "dampening", "weight_decay", "nesterov"))

        return f"SGD(lr={self.lr}, {'; '.join(text(group) for group in self.groups)})"


def _as_groups(parameters):
    if isinstance(parameters, (Parameter, dict)):
        parameters = [parameters]
    if not hasattr(parameters, "__iter__"):
        raise TypeError(f"SGD: expected a list of Parameters, got {type(parameters).__name__}. Use net.parameters().")
    given = list(parameters)  # once: it may be a generator
    if not given or not all(isinstance(item, dict) for item in given):
        given = [{"parameters": given}]
    groups = []
    for group in given:
        if "parameters" not in group:
            raise ValueError(f'SGD: a group is a dict with the key "parameters", got the keys {sorted(group)}.')
        group = {**group, "parameters": list(group["parameters"])}
        if not group["parameters"]:
            raise ValueError("SGD: got an empty list of parameters. Was a generator used up before?")
        for item in group["parameters"]:
            if not isinstance(item, Parameter):
                raise TypeError(f"SGD: expected Parameters, got {type(item).__name__}. Use net.parameters().")
        groups.append(group)
    return groups


def _at_least_zero(name, number):
    number = float(number)  # a NumPy float64 would turn float32 parameters into float64 on the way
    if not 0 <= number < math.inf:
        raise ValueError(f"SGD: expected {name} >= 0, got {number}.")
    return number


def split_decay(net):
    """Split a net's parameters into (weights, rest): what is usually decayed, and biases, gains and the like.

    >>> from minires import Linear
    >>> [p.data.shape for p in split_decay(Linear(3, 2, rng=0))[1]]
    [(2,)]
    """
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
    if not max_norm > 0:
        raise ValueError(f"clip_gradients: expected max_norm > 0, got {max_norm}.")
    grads = [parameter.grad for parameter in parameters]
    squares = [float(np.einsum("i,i->", g.ravel(), g.ravel(), dtype=np.float64)) for g in grads]
    for index, (g, square) in enumerate(zip(grads, squares)):
        if not math.isfinite(square):
            raise FloatingPointError(
                f"clip_gradients: the gradient of parameter {index} of {len(grads)}, of shape {g.shape}, is not "
                "finite. Lower the learning rate, or look where it begins with minires.probe."
            )
    norm = math.sqrt(sum(squares))
    if norm + 1e-6 > max_norm:
        for g in grads:
            g *= max_norm / (norm + 1e-6)
    return norm


# -- the learning rate as a function of the iteration -----------------------------------------------------------


class Schedule:
    """The learning rate of iteration 0, 1, 2, ...; a constant one unless a subclass says otherwise.

    A schedule that depends on how training goes also has ``observe`` and a state, which checkpoints save.

    >>> Schedule(0.1).lr(1000)
    0.1
    """

    def __init__(self, base):
        self.base = base

    def lr(self, iteration):
        """Return the learning rate of this iteration."""
        return self.base

    def observe(self, error):
        """Take note of the training error of a batch, between 0 and 1."""

    def state_dict(self):
        """Return what ``observe`` has learnt, as numbers by name."""
        return {}

    def load_state_dict(self, state):
        """Take over what ``state_dict`` returned."""

    def __repr__(self):
        settings = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({settings})"


class MultiStep(Schedule):
    """``base``, multiplied by ``factor`` from each milestone on.

    >>> paper = MultiStep(0.1, [32_000, 48_000])
    >>> [round(paper.lr(i), 6) for i in (0, 31_999, 32_000, 48_000)]
    [0.1, 0.1, 0.01, 0.001]
    """

    def __init__(self, base, milestones, factor=0.1):
        self.base, self.milestones, self.factor = base, list(milestones), factor
        if self.milestones != sorted(self.milestones):
            raise ValueError(f"MultiStep: expected milestones in ascending order, got {self.milestones}.")

    def lr(self, iteration):
        return self.base * self.factor ** sum(iteration >= milestone for milestone in self.milestones)


class Cosine(Schedule):
    r"""From ``base`` down to 0 at iteration ``total`` along half a cosine [Loshchilov2017]_.

    .. math:: lr(i) = \tfrac12 \, base \, (1 + \cos(\pi i / total))

    .. [Loshchilov2017] Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", section 3.
    """

    def __init__(self, base, total):
        self.base, self.total = base, total
        if not total >= 1:
            raise ValueError(f"Cosine: expected total >= 1, got {total}.")

    def lr(self, iteration):
        return 0.5 * self.base * (1 + math.cos(math.pi * min(iteration, self.total) / self.total))


class LinearWarmUp(Schedule):
    """The first ``iterations`` rise in equal steps to what ``then`` has reached by their end; then ``then`` alone.

    >>> [LinearWarmUp(Schedule(0.4), 4).lr(i) for i in range(6)]
    [0.1, 0.2, 0.30000000000000004, 0.4, 0.4, 0.4]
    """

    def __init__(self, then, iterations):
        self.then, self.iterations = then, iterations

    def lr(self, iteration):
        return self.then.lr(iteration) * min(1.0, (iteration + 1) / max(self.iterations, 1))

    def observe(self, error):
        self.then.observe(error)

    def state_dict(self):
        return self.then.state_dict()

    def load_state_dict(self, state):
        self.then.load_state_dict(state)


class WarmUpUntil(Schedule):
    """``low`` until the running training error is below ``error``, from then on the rate that ``then`` has reached.

    He et al. train ResNet-110 so: "we start with 0.01 until the training error is below 80 % (about 400 iterations),
    and then go back to 0.1" [He2015]_. The paper does not say how it measures the error; here it is an exponential
    mean over about 50 batches that starts at 1, so that no lucky batch ends the warm-up.

    .. [He2015] He et al., "Deep Residual Learning for Image Recognition", section 4.2.
    """

    def __init__(self, then, low=0.01, error=0.8):
        self.then, self.low, self.error = then, low, error
        self._running, self._done = 1.0, False

    def lr(self, iteration):
        return self.then.lr(iteration) if self._done else self.low

    def observe(self, error):
        self._running += (error - self._running) / 50
        self._done = self._done or self._running < self.error

    def state_dict(self):
        return {"running": self._running, "done": self._done}

    def load_state_dict(self, state):
        self._running, self._done = float(state["running"]), bool(state["done"])
