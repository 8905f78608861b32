"""Assignment 4: optimizers."""

import math

import numpy as np


class SGD:
    """w <- w - lr g."""

    def __init__(self, parameters, lr):
        self.parameters, self.lr = list(parameters), lr

    def step(self):
        for parameter in self.parameters:
            parameter.data -= self.lr * parameter.grad


class Momentum:
    """v <- momentum v + (g + weight_decay w), then w <- w - lr v: a ball with friction rolls down."""

    def __init__(self, parameters, lr, momentum=0.9, weight_decay=0.0):
        self.parameters, self.lr, self.momentum, self.weight_decay = list(parameters), lr, momentum, weight_decay
        self.velocities = [np.zeros_like(parameter.data) for parameter in self.parameters]

    def step(self):
        for parameter, velocity in zip(self.parameters, self.velocities):
            velocity *= self.momentum
            velocity += parameter.grad + self.weight_decay * parameter.data
            parameter.data -= self.lr * velocity


class Adam:
    """Kingma and Ba 2015, algorithm 1: means of g and of g^2, freed from their start at 0.

    With a constant g the mean m after t steps is (1 - beta1^t) g: hence the division.
    """

    def __init__(self, parameters, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
        self.parameters, self.lr, self.beta1, self.beta2, self.eps = list(parameters), lr, beta1, beta2, eps
        self.means = [np.zeros_like(parameter.data) for parameter in self.parameters]
        self.squares = [np.zeros_like(parameter.data) for parameter in self.parameters]
        self.steps = 0

    def step(self):
        self.steps += 1
        for parameter, mean, square in zip(self.parameters, self.means, self.squares):
            mean += (1 - self.beta1) * (parameter.grad - mean)
            square += (1 - self.beta2) * (parameter.grad**2 - square)
            unbiased_mean = mean / (1 - self.beta1**self.steps)
            unbiased_square = square / (1 - self.beta2**self.steps)
            parameter.data -= self.lr * unbiased_mean / (np.sqrt(unbiased_square) + self.eps)


def schedule(step, steps, peak, warmup):
    """The rate of step 0, 1, ..., steps - 1: up a line, then down half a cosine."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
