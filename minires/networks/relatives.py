"""Relatives from before: VGG, a plain network, and the inception block of GoogLeNet, whose branches stand side by side.

References
----------
.. [Simonyan2014] Simonyan and Zisserman, "Very Deep Convolutional Networks", arXiv:1409.1556, Table 1.
.. [Szegedy2014] Szegedy et al., "Going Deeper with Convolutions", arXiv:1409.4842, Fig. 2b and Table 1.
"""

from itertools import count

from minires.checks import generator
from minires.layers import BatchNorm2d, Concat, Conv2d, MaxPool2d, ReLU, Sequential
from minires.networks.blocks import conv3x3
from minires.networks.cifar import classifier

VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # channels; pooling after each stage


def vgg16(classes=10, stages=VGG16, rng=None, in_channels=3):
    """Return VGG-16 for 32x32 images: 13 convolutions, each with batch norm and ReLU, and one linear layer.

    The linear layers of 4096 numbers that give the original its 16 are left out, as usual for small images.

    >>> sum(p.data.size for p in vgg16(rng=0).parameters())
    14724042
    """
    rng = generator("vgg16", rng)
    parts, channels, numbers = {}, in_channels, count(1)  # numbered through all stages
    for stage, widths in enumerate(stages, start=1):
        for width, i in zip(widths, numbers):
            parts |= {f"conv{i}": conv3x3(channels, width, rng=rng), f"bn{i}": BatchNorm2d(width), f"relu{i}": ReLU()}
            channels = width
        parts[f"pool{stage}"] = MaxPool2d(2)
    return Sequential(**parts, **classifier(channels, classes, rng))


def conv_relu(in_channels, out_channels, kernel_size, rng=None):
    """Return a convolution that keeps the size, with bias, and ReLU."""
    conv = Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, rng=rng)
    return Sequential(conv=conv, relu=ReLU())


def inception_block(in_channels, n1x1, reduce3x3, n3x3, reduce5x5, n5x5, projected, rng=None):
    """Return an inception block; the numbers of channels are a row of GoogLeNet's Table 1.

    Shapes
    ------
    x : (N, in_channels, H, W);  y : (N, n1x1 + n3x3 + n5x5 + projected, H, W)

    >>> import numpy as np
    >>> inception_3a = inception_block(192, 64, 96, 128, 16, 32, 32, rng=0)
    >>> inception_3a.forward(np.zeros((1, 192, 4, 4))).shape
    (1, 256, 4, 4)
    """
    rng = generator("inception_block", rng)
    wide = [(reduce3x3, n3x3, 3), (reduce5x5, n5x5, 5)]
    towers = [Sequential(conv_relu(in_channels, few, 1, rng), conv_relu(few, n, k, rng)) for few, n, k in wide]
    pooled = Sequential(MaxPool2d(3, stride=1, padding=1), conv_relu(in_channels, projected, 1, rng))
    return Concat(conv_relu(in_channels, n1x1, 1, rng), *towers, pooled)
