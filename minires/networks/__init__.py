"""Networks: blocks composed by functions, depths from tables."""

from minires.networks.blocks import basic_block, bottleneck_block, preact_block, preact_bottleneck, residual_block
from minires.networks.cifar import (
    cifar_bottleneck,
    cifar_network,
    cifar_plain,
    cifar_resnet,
    cifar_stochastic_depth,
    preact_resnet,
    wide_resnet,
)
from minires.networks.highway import cifar_highway, highway_block, highway_mlp
from minires.networks.imagenet import imagenet_plain, imagenet_preact, imagenet_resnet, imagenet_wide
from minires.networks.names import network
from minires.networks.relatives import inception_block, vgg16
from minires.networks.variants import VARIANTS, cifar_one_layer, cifar_variant, one_layer_block, variant_block
