"""The layers, one topic per file."""

from minires.layers.activation import ReLU, Scale, Sigmoid
from minires.layers.compose import Concat, Gated, Identity, Product, Residual, Sequential, add
from minires.layers.conv import Conv2d
from minires.layers.dropout import Dropout, StochasticResidual
from minires.layers.linear import Flatten, Linear
from minires.layers.norm import BatchNorm2d
from minires.layers.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from minires.layers.shortcut import SubsampleShortcut

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "Concat",
    "Conv2d",
    "Dropout",
    "Flatten",
    "Gated",
    "GlobalAvgPool2d",
    "Identity",
    "Linear",
    "MaxPool2d",
    "Product",
    "ReLU",
    "Residual",
    "Scale",
    "Sequential",
    "Sigmoid",
    "StochasticResidual",
    "SubsampleShortcut",
    "add",
]
