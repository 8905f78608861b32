"""The layers, one topic a file."""

from minires.layers.activation import ReLU, Sigmoid
from minires.layers.compose import Identity, Residual, Sequential, add
from minires.layers.conv import Conv2d
from minires.layers.dropout import Dropout
from minires.layers.linear import Flatten, Linear
from minires.layers.norm import BatchNorm2d
from minires.layers.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from minires.layers.shortcut import SubsampleShortcut

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Identity",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "SubsampleShortcut",
    "add",
]
