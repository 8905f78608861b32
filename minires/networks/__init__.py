"""Networks: blocks composed by functions, depths from tables."""

from minires.networks.blocks import basic_block
from minires.networks.cifar import cifar_network, cifar_plain, cifar_resnet
from minires.networks.names import network

__all__ = ["basic_block", "cifar_network", "cifar_plain", "cifar_resnet", "network"]
