"""minires: a small deep-learning engine written to be read.

Every layer is a class with a ``forward`` and a hand-written ``backward``. What a notebook uses daily can be
imported from here; the rest from where it lives (``minires.networks``, ``minires.optim``, ...).
"""

import sys

from minires.gradcheck import GradientError, check_layer, check_loss
from minires.layer import Buffer, Layer, Parameter
from minires.layers import *  # noqa: F403  (all of them)
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
from minires.version import VERSION as __version__
from minires.walk import summary


def __getattr__(name):
    raise no_attribute(sys.modules[__name__], "minires", name)
