"""Networks: blocks composed by functions, depths from tables."""

from minires.networks.blocks import basic_block, residual_block
from minires.networks.bottleneck import bottleneck_block, cifar_bottleneck
from minires.networks.cifar import cifar_network, cifar_plain, cifar_resnet
from minires.networks.imagenet import imagenet_plain, imagenet_preact, imagenet_resnet, imagenet_wide
from minires.networks.names import network
from minires.networks.preactivation import preact_block, preact_bottleneck, preact_resnet, wide_resnet

__all__ = [
    "basic_block",
    "bottleneck_block",
    "cifar_bottleneck",
    "cifar_network",
    "cifar_plain",
    "cifar_resnet",
    "imagenet_plain",
    "imagenet_preact",
    "imagenet_resnet",
    "imagenet_wide",
    "network",
    "preact_block",
    "preact_bottleneck",
    "preact_resnet",
    "residual_block",
    "wide_resnet",
]
