"""Assignment 4: optimizers. The hand-out, README.md, has the equations."""

import numpy as np  # noqa: F401  you will need it


class SGD:
    """w <- w - lr g."""

    def __init__(self, parameters, lr):
        self.parameters, self.lr = list(parameters), lr

    def step(self):
        raise NotImplementedError("Task 4.1: change parameter.data in place, for every parameter.")


class Momentum:
    """v <- momentum v + (g + weight_decay w), then w <- w - lr v."""

    def __init__(self, parameters, lr, momentum=0.9, weight_decay=0.0):
        raise NotImplementedError("Task 4.2: besides the settings, one velocity for each parameter, 0 at first.")

    def step(self):
        raise NotImplementedError("Task 4.2: first the velocity, then the parameter.")


class Adam:
    """Kingma and Ba 2015, algorithm 1."""

    def __init__(self, parameters, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
        raise NotImplementedError("Task 4.3: two means for each parameter, and the number of steps so far.")

    def step(self):
        raise NotImplementedError("Task 4.3: count the step first: t begins at 1.")


def schedule(step, steps, peak, warmup):
    """The rate of step 0, 1, ..., steps - 1: up a line, then down half a cosine."""
    raise NotImplementedError("Task 4.4: two cases, before and after the warm-up.")
