"""Assignment 8: normalisation. The hand-out, README.md, has the equations."""

import numpy as np

from minires import Buffer, Layer, Parameter


class BatchNorm(Layer):
    """Each column with mean 0 and variance 1 over the batch, then scaled and shifted."""

    def __init__(self, features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = Parameter(np.ones(features)), Parameter(np.zeros(features))
        self.running_mean, self.running_var = Buffer(np.zeros(features)), Buffer(np.ones(features))

    def forward(self, x):
        if self.training:
            raise NotImplementedError("Task 8.1 (Task 8.2 and Task 8.3 need it): statistics of the batch.")
        raise NotImplementedError("Task 8.4: the running statistics.")

    def backward(self, dy):
        raise NotImplementedError("Task 8.2: back through the graph; for evaluation, Task 8.4.")


class FastBatchNorm(BatchNorm):
    """The same, with the backward in closed form."""

    def backward(self, dy):
        raise NotImplementedError("Task 8.3: dy minus its mean, minus its part along x_hat.")


class LayerNorm(Layer):
    """Each example with mean 0 and variance 1 over its entries."""

    def __init__(self, features, eps=1e-5):
        self.eps = eps
        self.weight, self.bias = Parameter(np.ones(features)), Parameter(np.zeros(features))

    def forward(self, x):
        raise NotImplementedError("Task 8.5: which axis? keepdims=True helps.")

    def backward(self, dy):
        raise NotImplementedError("Task 8.5: gamma belongs inside the means here. Why?")
