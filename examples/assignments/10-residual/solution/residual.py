"""Assignment 10: residual networks."""

import numpy as np

from minires import BatchNorm2d, Conv2d, GlobalAvgPool2d, Layer, Linear, ReLU, Sequential


class Residual(Layer):
    """y = F(x) + S(x): x moves y along both ways, so dx is the sum of both backwards."""

    def __init__(self, branch, shortcut=None):
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x):
        past = x if self.shortcut is None else self.shortcut.forward(x)
        return self._remember(self.branch.forward(x) + past)

    def backward(self, dy):
        self._recall(dy)
        past = dy if self.shortcut is None else self.shortcut.backward(dy)
        return self.branch.backward(dy) + past


class ShortcutA(Layer):
    """Every stride-th pixel, and zeros for the new channels (He et al. 2015, section 4.2, option A)."""

    def __init__(self, outputs, stride):
        self.outputs, self.stride = outputs, stride

    def forward(self, x):
        taken = x[:, :, :: self.stride, :: self.stride]
        N, C, H, W = taken.shape
        y = np.zeros((N, self.outputs, H, W), x.dtype)
        y[:, :C] = taken
        return self._remember(y, x.shape)

    def backward(self, dy):
        (shape,) = self._recall(dy)
        dx = np.zeros(shape, dy.dtype)
        dx[:, :, :: self.stride, :: self.stride] = dy[:, : shape[1]]
        return dx


def block(channels, outputs, stride=1, shortcut="A", seed=0):
    """ReLU(F(x) + S(x)), F being two convolutions, each with a batch norm."""
    branch = Sequential(
        Conv2d(channels, outputs, 3, stride=stride, padding=1, bias=False, rng=seed),
        BatchNorm2d(outputs),
        ReLU(),
        Conv2d(outputs, outputs, 3, padding=1, bias=False, rng=seed + 1),
        BatchNorm2d(outputs),
    )
    past = None
    if stride != 1 or channels != outputs:
        project = Conv2d(channels, outputs, 1, stride=stride, bias=False, rng=seed + 2)
        past = ShortcutA(outputs, stride) if shortcut == "A" else Sequential(project, BatchNorm2d(outputs))
    return Sequential(Residual(branch, past), ReLU())


def resnet20(shortcut="A", seed=0):
    """1 + 3 * 3 * 2 convolutions and a linear layer: 20 layers."""
    layers = [Conv2d(3, 16, 3, padding=1, bias=False, rng=seed), BatchNorm2d(16), ReLU()]
    channels = 16
    for outputs in (16, 32, 64):
        for number in range(3):
            stride = 2 if outputs != 16 and number == 0 else 1
            layers.append(block(channels, outputs, stride, shortcut, seed + 10 * len(layers)))
            channels = outputs
    return Sequential(*layers, GlobalAvgPool2d(), Linear(64, 10, rng=seed + 1))


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
