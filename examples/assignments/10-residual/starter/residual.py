"""Assignment 10: residual networks. The hand-out, README.md, says how they are built."""

import numpy as np

from minires import BatchNorm2d, Conv2d, GlobalAvgPool2d, Layer, Linear, ReLU, Sequential  # noqa: F401


class Residual(Layer):
    """y = F(x) + S(x), with F the layer ``branch``, and S the layer ``shortcut`` or the identity."""

    def __init__(self, branch, shortcut=None):
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x):
        raise NotImplementedError("Task 10.1: a new array for the sum.")

    def backward(self, dy):
        raise NotImplementedError("Task 10.1: what comes back along each way?")


class ShortcutA(Layer):
    """Every stride-th pixel, and zeros for the new channels."""

    def __init__(self, outputs, stride):
        self.outputs, self.stride = outputs, stride

    def forward(self, x):
        raise NotImplementedError("Task 10.2: a slice, and an array of zeros to put it into.")

    def backward(self, dy):
        raise NotImplementedError("Task 10.2: the same slice on the other side.")


def block(channels, outputs, stride=1, shortcut="A", seed=0):
    """ReLU(F(x) + S(x)), F being two convolutions, each with a batch norm."""
    raise NotImplementedError(
        "Task 10.3: Conv2d(channels, outputs, 3, stride=..., padding=1, bias=False, rng=seed), ..."
    )


def resnet20(shortcut="A", seed=0):
    """ResNet-20 for images of 32 by 32; every layer gets another seed."""
    raise NotImplementedError("Task 10.4: a list of layers, then Sequential(*layers).")


def branch(channels=2, seed=0):
    """Given: a branch for the tests, a convolution of minires in float64."""
    return Conv2d(channels, channels, 3, padding=1, rng=seed).astype(np.float64)


def image_sizes(net, x):
    """Given: the shapes of what the layers of a Sequential make of x, one after the other."""
    shapes = []
    for _, layer in net.children():
        x = layer.forward(x)
        shapes.append(x.shape)
    return shapes
