"""minires: a small deep-learning engine written to be read.

Every layer is a class with a ``forward`` and a hand-written ``backward``. What a notebook uses daily can be
imported from here; the rest from where it lives (``minires.networks``, ``minires.optim``, ...).
"""

__version__ = "0.1.0"  # first: files below ask for it

from minires.gradcheck import GradientError, check_layer, check_loss
from minires.layer import Buffer, Layer, Parameter
from minires.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Identity,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SubsampleShortcut,
)
from minires.losses import mean_squared_error, softmax_cross_entropy
from minires.networks import basic_block, cifar_plain, cifar_resnet, network
from minires.optim import SGD
from minires.probe import Probe, gradient_flow
from minires.walk import summary

__all__ = [
    "SGD",
    "AvgPool2d",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "GradientError",
    "Identity",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Parameter",
    "Probe",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "SubsampleShortcut",
    "basic_block",
    "check_layer",
    "check_loss",
    "cifar_plain",
    "cifar_resnet",
    "gradient_flow",
    "mean_squared_error",
    "network",
    "softmax_cross_entropy",
    "summary",
]
