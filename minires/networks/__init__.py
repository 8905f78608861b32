"""Networks: blocks composed by functions, depths from tables."""

from minires.networks.blocks import basic_block, residual_block
from minires.networks.bottleneck import bottleneck_block, cifar_bottleneck
from minires.networks.cifar import cifar_network, cifar_plain, cifar_resnet
from minires.networks.highway import cifar_highway, highway_block, highway_mlp
from minires.networks.imagenet import imagenet_plain, imagenet_preact, imagenet_resnet, imagenet_wide
from minires.networks.names import network
from minires.networks.preactivation import preact_block, preact_bottleneck, preact_resnet, wide_resnet
from minires.networks.relatives import inception_block, vgg16
from minires.networks.stochastic_depth import cifar_stochastic_depth
from minires.networks.variants import VARIANTS, cifar_one_layer, cifar_variant, one_layer_block, variant_block
