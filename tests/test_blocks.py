"""Each kind of block has the derivative it claims, is its shortcut when its branch is shut, and has a picture."""

import copy
from functools import partial

import numpy as np
import pytest
from matplotlib.patches import FancyBboxPatch

from minires.gradcheck import check_layer
from minires.lab.blocks.figure import block_figure
from minires.layers import Conv2d, Identity, Sequential, StochasticResidual
from minires.networks import (
    VARIANTS,
    basic_block,
    bottleneck_block,
    cifar_bottleneck,
    cifar_highway,
    cifar_one_layer,
    cifar_plain,
    cifar_resnet,
    cifar_stochastic_depth,
    cifar_variant,
    highway_block,
    highway_mlp,
    imagenet_resnet,
    inception_block,
    one_layer_block,
    preact_block,
    preact_bottleneck,
    preact_resnet,
    variant_block,
    vgg16,
    wide_resnet,
)
from minires.networks.blocks import ORDERS
from minires.networks.imagenet import imagenet_network


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def children(layer):
    return [path for path, _ in layer.named_layers() if path and "." not in path]


# -- derivatives ---------------------------------------------------------------------------------------------------

SAME, CHANGED = (4, 4, 1), (4, 8, 2)  # in_channels, out_channels, stride
BLOCKS = {  # name: a function of the shape that builds the block
    **{f"basic, {order}": partial(basic_block, order=order) for order in ORDERS},
    **{f"bottleneck, {order}": partial(bottleneck_block, order=order) for order in ORDERS},
    "bottleneck, stride on the 1x1": partial(bottleneck_block, stride_on="1x1"),
    "bottleneck, wide": partial(bottleneck_block, k=3),
    "bottleneck, shortcut A": partial(bottleneck_block, shortcut="A"),
    "bottleneck, shortcut C": partial(bottleneck_block, shortcut="C"),
    "basic, shortcut B": partial(basic_block, shortcut="B"),
    "basic, shortcut C": partial(basic_block, shortcut="C"),
    "plain": partial(basic_block, shortcut=None),
    "basic, shortcut conv": partial(basic_block, shortcut="conv"),
    "basic, shortcut 2x2": partial(basic_block, shortcut="2x2"),
    "preact": preact_block,
    "preact, shortcut A": partial(preact_block, shortcut="A"),
    "preact, bottleneck": preact_bottleneck,
    "wide, dropout": partial(preact_block, dropout=0.3),
    **{f"variant, {name}": partial(variant_block, variant=name) for name in VARIANTS},
    "variant, bottleneck": partial(variant_block, variant="exclusive-gating-6", bottleneck=True),
    "highway": partial(highway_block, bias=-1),
    "highway, free carry": partial(highway_block, carry="free"),
    "one layer": one_layer_block,
    "stochastic depth": partial(basic_block, join=partial(StochasticResidual, survival=0.7, rng=0)),
}


@pytest.mark.parametrize("shape", [SAME, CHANGED], ids=["same shape", "shape changed"])
@pytest.mark.parametrize("name", BLOCKS)
def test_backward_of_a_block_is_its_derivative(name, shape):
    check_layer(BLOCKS[name](*shape, rng=0), normal(2, 4, 6, 4), modes="train", comparisons=40)


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_backward_of_a_block_is_its_derivative_in_both_modes(name):
    for shape in (SAME, CHANGED):
        check_layer(BLOCKS[name](*shape, rng=0), normal(3, 4, 6, 4))


def test_backward_of_an_inception_block_is_its_derivative():
    check_layer(inception_block(3, 2, 3, 4, 1, 2, 3, rng=0), normal(2, 3, 5, 4), modes="train", comparisons=60)


def test_backward_of_a_highway_mlp_is_its_derivative():
    for carry in ("1 - T", "free"):
        net = highway_mlp(3, width=5, in_features=12, carry=carry, classes=3, rng=0)
        check_layer(net, normal(3, 3, 2, 2), modes="train", comparisons=60)


NETWORKS = {  # name: the network and the size of its image
    "plain": (cifar_plain(8, rng=0), 6),
    "residual": (cifar_resnet(8, "B", rng=0), 6),
    "bottleneck": (cifar_bottleneck(11, rng=0), 6),
    "preact": (preact_resnet(8, rng=0), 6),
    "preact, bottleneck": (preact_resnet(11, bottleneck=True, rng=0), 6),
    "wide": (wide_resnet(10, 1, dropout=0.3, rng=0), 6),
    "gated": (cifar_variant(8, "shortcut-gating-6", rng=0), 6),
    "highway": (cifar_highway(8, widths=(4, 6, 8), rng=0), 6),
    "stochastic depth": (cifar_stochastic_depth(8, rng=0), 6),
    "vgg": (vgg16(stages=[(4, 4), (6,)], rng=0), 6),
    "imagenet": (imagenet_network((1, 1, 1, 1), basic_block, 1, 5, rng=0), 64),
}


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "imagenet"])
def test_backward_of_a_network_is_its_derivative(name):
    net, size = NETWORKS[name]
    check_layer(net, normal(2, 3, size, size), modes="train", comparisons=20)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_backward_of_a_network_is_its_derivative_by_more_comparisons(name):
    net, size = NETWORKS[name]
    check_layer(net, normal(2, 3, size, size), modes="train", comparisons=100)


# -- what a block is when its branch is shut ---------------------------------------------------------------------


def without_branches(net):
    """A copy with nothing but the shortcut in the place of each residual sum."""
    net = copy.deepcopy(net)
    for _, layer in list(net.named_layers()):
        if hasattr(layer, "residual"):
            layer.residual = layer.residual.shortcut
    return net


@pytest.mark.parametrize(
    "net, last",
    [
        (cifar_resnet(14, "A", rng=0), "bn2"),
        (cifar_resnet(14, "B", rng=0), "bn2"),
        (cifar_resnet(14, "C", rng=0), "bn2"),
        (imagenet_resnet(18, shortcut="2x2", classes=5, rng=0), "bn2"),
        (imagenet_network((1, 1, 1, 1), bottleneck_block, 4, 5, rng=0), "bn3"),
        (cifar_bottleneck(20, rng=0), "bn3"),
        (preact_resnet(14, rng=0), "conv2"),
        (wide_resnet(10, 2, rng=0), "conv2"),
        (cifar_one_layer(8, rng=0), "bn1"),
        (cifar_stochastic_depth(14, rng=0), "bn2"),
    ],
    ids=[
        "A",
        "B",
        "C",
        "imagenet",
        "imagenet bottleneck",
        "bottleneck",
        "preact",
        "wide",
        "one layer",
        "stochastic depth",
    ],
)
def test_a_residual_net_with_zero_weights_at_the_end_of_its_branches_is_its_shortcuts(net, last):
    x = normal(2, 3, 32, 32)
    for path, layer in net.named_layers():
        if path.endswith(f".branch.{last}"):
            layer.weight.data.fill(0)
    expected = without_branches(net).forward(x)
    np.testing.assert_array_equal(net.forward(x), expected)
    assert np.std(expected) > 0


@pytest.mark.parametrize("carry", ["1 - T", "free"])
def test_a_highway_net_that_transforms_nothing_is_its_plain_layers(carry):
    net = cifar_highway(32, widths=(4, 6, 8), bias=-1e4, carry=carry, rng=0)
    plain = copy.deepcopy(Sequential(net.conv1, net.relu, net.stage2[0], net.stage3[0], net.pool, net.linear))
    x, dy = normal(2, 3, 8, 8), normal(2, 10, seed=1)
    np.testing.assert_array_equal(net.forward(x), plain.forward(x))
    np.testing.assert_array_equal(net.backward(dy), plain.backward(dy))


@pytest.mark.parametrize("carry", ["1 - T", "free"])
@pytest.mark.parametrize("layer", ["conv", "linear"])
def test_a_highway_that_transforms_nothing_is_the_identity(layer, carry):
    if layer == "conv":
        stack = Sequential(*(highway_block(3, 3, bias=-1e4, carry=carry, rng=i) for i in range(5)))
        x = normal(2, 3, 4, 4)
    else:
        stack = highway_mlp(6, width=8, in_features=8, bias=-1e4, carry=carry, rng=0).stage1
        x = normal(2, 8)
    np.testing.assert_array_equal(stack.forward(x), x)
    dy = normal(*x.shape, seed=1)
    np.testing.assert_array_equal(stack.backward(dy), dy)


def test_a_highway_that_carries_nothing_is_the_plain_net():
    block = highway_block(3, 3, bias=1e4, rng=0)
    x = normal(2, 3, 4, 4)
    y = block.forward(x)
    np.testing.assert_array_equal(y, copy.deepcopy(block.branch).forward(x))


# -- figures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BLOCKS)
def test_the_figure_of_a_block_has_a_box_for_each_layer(name):
    block = BLOCKS[name](*CHANGED, rng=0)
    layers = [layer for _, layer in block.named_layers() if not children(layer) and not isinstance(layer, Identity)]
    figure = block_figure(block)
    (axis,) = figure.axes
    assert sum(isinstance(patch, FancyBboxPatch) for patch in axis.patches) == len(layers)
    words = [text.get_text() for text in axis.texts]
    assert sum("conv" in word for word in words) == sum(isinstance(layer, Conv2d) for layer in layers)
    inside = [text.get_window_extent() for text in axis.texts if text.get_text()]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in inside)
