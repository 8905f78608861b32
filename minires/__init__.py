"""minires: a small deep-learning engine written to be read.

Every layer is a class with a ``forward`` and a hand-written ``backward``. What a notebook uses daily can be
imported from here; the rest from where it lives (``minires.networks``, ``minires.optim``, ...).
"""

import sys

from minires.gradcheck import GradientError, check_layer, check_loss
from minires.layer import Buffer, Layer, Parameter
from minires.layers import (
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    Gated,
    GlobalAvgPool2d,
    Identity,
    Linear,
    MaxPool2d,
    Product,
    ReLU,
    Residual,
    Scale,
    Sequential,
    Sigmoid,
    StochasticResidual,
    SubsampleShortcut,
)
from minires.losses import mean_squared_error, softmax_cross_entropy
from minires.networks import (
    basic_block,
    cifar_plain,
    cifar_resnet,
    imagenet_resnet,
    network,
    preact_resnet,
    wide_resnet,
)
from minires.optim import SGD, Adam, AdamW
from minires.pretrained import pretrained
from minires.probe import Probe, gradient_flow
from minires.pytorch import no_attribute
from minires.version import VERSION as __version__  # noqa: F401
from minires.walk import summary

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AvgPool2d",
    "BatchNorm2d",
    "Buffer",
    "Concat",
    "Conv2d",
    "Dropout",
    "Flatten",
    "Gated",
    "GlobalAvgPool2d",
    "GradientError",
    "Identity",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Parameter",
    "Probe",
    "Product",
    "ReLU",
    "Residual",
    "Scale",
    "Sequential",
    "Sigmoid",
    "StochasticResidual",
    "SubsampleShortcut",
    "basic_block",
    "check_layer",
    "check_loss",
    "cifar_plain",
    "cifar_resnet",
    "gradient_flow",
    "imagenet_resnet",
    "mean_squared_error",
    "network",
    "preact_resnet",
    "pretrained",
    "softmax_cross_entropy",
    "summary",
    "wide_resnet",
]


def __getattr__(name):
    raise no_attribute(sys.modules[__name__], "minires", name)
