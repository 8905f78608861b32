"""The learning rate as a function of the iteration."""

import math

import numpy as np

from minires.checks import flag, instance, real, require, shown, whole


class Schedule:
    """The learning rate of iteration 0, 1, 2, ...; a constant one unless a subclass says otherwise.

    A schedule that depends on how training goes also has ``observe`` and a state, which checkpoints save.

    >>> Schedule(0.1).lr(1000)
    0.1
    """

    def __init__(self, base):
        self.base = real(type(self).__name__, "base", base, least=0)

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
        settings = [f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_")]
        return f"{type(self).__name__}({', '.join(settings)})"


class MultiStep(Schedule):
    """``base``, multiplied by ``factor`` from each milestone on.

    >>> paper = MultiStep(0.1, [32_000, 48_000])
    >>> [round(paper.lr(i), 6) for i in (0, 31_999, 32_000, 48_000)]
    [0.1, 0.1, 0.01, 0.001]
    """

    def __init__(self, base, milestones, factor=0.1):
        super().__init__(base)
        fits = np.iterable(milestones) and not isinstance(milestones, str)
        require(fits, "MultiStep", "milestones, a list of iterations", shown(milestones))
        milestones = [whole("MultiStep", "each of the milestones", milestone) for milestone in milestones]
        require(milestones == sorted(milestones), "MultiStep", "milestones in ascending order", milestones)
        self.milestones, self.factor = milestones, real("MultiStep", "factor", factor, least=0)

    def lr(self, iteration):
        return self.base * self.factor ** sum(iteration >= milestone for milestone in self.milestones)


class Cosine(Schedule):
    r"""From ``base`` down to 0 at iteration ``total`` along half a cosine [Loshchilov2017]_.

    .. math:: lr(i) = \tfrac12 \, base \, (1 + \cos(\pi i / total))

    .. [Loshchilov2017] Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", section 3.
    """

    def __init__(self, base, total):
        super().__init__(base)
        self.total = whole("Cosine", "total", total, least=1)

    def lr(self, iteration):
        return 0.5 * self.base * (1 + math.cos(math.pi * min(iteration, self.total) / self.total))


class LinearWarmUp(Schedule):
    """The first ``iterations`` rise in equal steps to what ``then`` has reached by their end; then ``then`` alone.

    >>> [LinearWarmUp(Schedule(0.4), 4).lr(i) for i in range(6)]
    [0.1, 0.2, 0.30000000000000004, 0.4, 0.4, 0.4]
    """

    def __init__(self, then, iterations):
        instance("LinearWarmUp", "then", then, Schedule, "a Schedule to follow, such as Schedule(0.1)")
        self.then, self.iterations = then, whole("LinearWarmUp", "iterations", iterations)

    def lr(self, iteration):
        return self.then.lr(iteration) * min(1.0, (iteration + 1) / max(self.iterations, 1))

    def observe(self, error):
        self.then.observe(error)

    def state_dict(self):
        return self.then.state_dict()

    def load_state_dict(self, state):
        self.then.load_state_dict(state)


def warm_up_then_cosine(base, steps):
    """Return the schedule of short runs: a linear warm-up over a tenth of the steps, then half a cosine down to 0.

    >>> warm_up_then_cosine(0.1, 1000)
    LinearWarmUp(then=Cosine(base=0.1, total=1000), iterations=100)
    """
    return LinearWarmUp(Cosine(base, steps), steps // 10)


class WarmUpUntil(Schedule):
    """``low`` until the running training error is below ``error``, from then on the rate that ``then`` has reached.

    He et al. train ResNet-110 so: "we start with 0.01 until the training error is below 80 % (about 400 iterations),
    and then go back to 0.1" [He2015]_. The paper does not say how it measures the error; here it is an exponential
    mean over about 50 batches that starts at 1, so that no lucky batch ends the warm-up.

    .. [He2015] He et al., "Deep Residual Learning for Image Recognition", section 4.2.
    """

    def __init__(self, then, low=0.01, error=0.8):
        instance("WarmUpUntil", "then", then, Schedule, "a Schedule to follow, such as Schedule(0.1)")
        self.then, self.low = then, real("WarmUpUntil", "low", low, least=0)
        self.error = real("WarmUpUntil", "error", error, least=0, most=1)
        self._running, self._done = 1.0, False

    def lr(self, iteration):
        return self.then.lr(iteration) if self._done else self.low

    def observe(self, error):
        self._running += (error - self._running) / 50
        self._done = self._done or self._running < self.error

    def state_dict(self):
        return {"running": self._running, "done": self._done}

    def load_state_dict(self, state):
        running = real("WarmUpUntil", "running", state["running"], least=0, most=1)
        self._running, self._done = running, flag("WarmUpUntil", "done", state["done"])
