"""Assignment 8: normalisation."""

import numpy as np

from minires import Buffer, Layer, Parameter


class BatchNorm(Layer):
    """Each column with mean 0 and variance 1 over the batch, then scaled and shifted."""

    def __init__(self, features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = Parameter(np.ones(features)), Parameter(np.zeros(features))
        self.running_mean, self.running_var = Buffer(np.zeros(features)), Buffer(np.ones(features))

    def forward(self, x):
        N = len(x)
        if self.training:
            mean, variance = x.mean(axis=0), x.var(axis=0)
            for running, new in ((self.running_mean, mean), (self.running_var, variance * N / (N - 1))):
                running.data[...] = (1 - self.momentum) * running.data + self.momentum * new
        else:
            mean, variance = self.running_mean.data.astype(x.dtype), self.running_var.data.astype(x.dtype)
        scale = (1 / np.sqrt(variance + self.eps)).astype(x.dtype)
        centred = x - mean
        y = self.weight.data.astype(x.dtype) * centred * scale + self.bias.data.astype(x.dtype)
        return self._remember(y, centred, scale, self.training)

    def backward(self, dy):
        """By the graph. From y back: x_hat = c r; r = (v + eps)^-1/2; v = mean c^2; c = x - mu; mu = mean x."""
        centred, scale, training = self._recall(dy)
        N = len(dy)
        self.weight.grad += np.sum(dy * centred * scale, axis=0)
        self.bias.grad += dy.sum(axis=0)
        dnormal = self.weight.data.astype(dy.dtype) * dy
        if not training:
            return dnormal * scale
        dscale = np.sum(dnormal * centred, axis=0)
        dvariance = dscale * -0.5 * scale**3
        dcentred = dnormal * scale + dvariance * 2 * centred / N
        dmean = -dcentred.sum(axis=0)
        return dcentred + dmean / N


class FastBatchNorm(BatchNorm):
    """The same with the paths collected: dx = gamma r (dy - mean(dy) - x_hat mean(dy x_hat))."""

    def backward(self, dy):
        centred, scale, training = self._recall(dy)
        normal = centred * scale
        self.weight.grad += np.sum(dy * normal, axis=0)
        self.bias.grad += dy.sum(axis=0)
        dx = dy
        if training:
            dx = dy - dy.mean(axis=0) - normal * np.mean(dy * normal, axis=0)
        return self.weight.data.astype(dy.dtype) * scale * dx


class LayerNorm(Layer):
    """Each example with mean 0 and variance 1 over its entries. gamma differs along the mean, so it stays inside."""

    def __init__(self, features, eps=1e-5):
        self.eps = eps
        self.weight, self.bias = Parameter(np.ones(features)), Parameter(np.zeros(features))

    def forward(self, x):
        scale = 1 / np.sqrt(x.var(axis=1, keepdims=True) + x.dtype.type(self.eps))
        normal = (x - x.mean(axis=1, keepdims=True)) * scale
        y = self.weight.data.astype(x.dtype) * normal + self.bias.data.astype(x.dtype)
        return self._remember(y, normal, scale)

    def backward(self, dy):
        normal, scale = self._recall(dy)
        self.weight.grad += np.sum(dy * normal, axis=0)
        self.bias.grad += dy.sum(axis=0)
        dnormal = self.weight.data.astype(dy.dtype) * dy
        along = normal * np.mean(dnormal * normal, axis=1, keepdims=True)
        return scale * (dnormal - dnormal.mean(axis=1, keepdims=True) - along)
