"""Each family of networks does what its equation says, and trains."""

import copy
import math

import numpy as np
import pytest

from minires.layers import (
    Concat,
    Conv2d,
    Gated,
    GlobalAvgPool2d,
    Identity,
    Linear,
    MaxPool2d,
    Product,
    ReLU,
    Residual,
    Sequential,
    StochasticResidual,
)
from minires.losses import softmax_cross_entropy
from minires.networks import (
    VARIANTS,
    basic_block,
    cifar_bottleneck,
    cifar_highway,
    cifar_one_layer,
    cifar_plain,
    cifar_resnet,
    cifar_stochastic_depth,
    cifar_variant,
    highway_block,
    highway_mlp,
    imagenet_plain,
    imagenet_preact,
    imagenet_resnet,
    imagenet_wide,
    inception_block,
    network,
    preact_resnet,
    variant_block,
    vgg16,
)
from minires.networks.blocks import ORDERS
from minires.networks.cifar import linear_decay
from minires.networks.highway import bias_by_depth
from minires.networks.relatives import conv_relu
from minires.optim import SGD
from minires.probe import gradient_flow
from minires.walk import summary


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def size(net):
    return sum(parameter.data.size for parameter in net.parameters())


def children(layer):
    return [path for path, _ in layer.named_layers() if path and "." not in path]


# -- what stands where -------------------------------------------------------------------------------------------

WIRING = {  # He et al. 2016, Fig. 4: in the branch, and behind the sum
    "original": ("conv1 bn1 relu1 conv2 bn2", "relu"),
    "BN after addition": ("conv1 bn1 relu1 conv2", "bn relu"),
    "ReLU before addition": ("conv1 bn1 relu1 conv2 bn2 relu2", ""),
    "ReLU-only pre-activation": ("relu1 conv1 bn1 relu2 conv2 bn2", ""),
    "full pre-activation": ("bn1 relu1 conv1 bn2 relu2 conv2", ""),
}


@pytest.mark.parametrize("order", WIRING)
def test_the_order_of_activations_is_the_papers(order):
    branch, behind = WIRING[order]
    block = basic_block(4, 4, order=order, rng=0)
    assert children(block) == ["residual", *behind.split()]
    assert children(block.residual.branch) == branch.split()
    assert list(ORDERS) == list(WIRING)


def test_the_table_holds_the_papers_errors():
    inf = math.inf
    assert {name: row[:2] for name, row in VARIANTS.items()} == {
        "original": (6.61, 5.93),
        "scaling-0": (inf, None),
        "scaling-0.5": (inf, None),
        "scaling-0.5-0.5": (12.35, None),
        "exclusive-gating-0": (inf, None),
        "exclusive-gating-5": (inf, None),
        "exclusive-gating-6": (8.70, None),
        "exclusive-gating-7": (9.81, None),
        "shortcut-gating-0": (12.86, None),
        "shortcut-gating-6": (6.91, None),
        "conv-shortcut": (12.22, None),
        "dropout-shortcut": (inf, None),
        "bn-after-addition": (8.17, 6.50),
        "relu-before-addition": (7.84, 6.14),
        "relu-only-preactivation": (6.71, 5.91),
        "full-preactivation": (6.37, 5.46),
    }


def gate_of(block, x):
    gates = [layer for _, layer in block.named_layers() if children(layer) == ["conv", "sigmoid"]]
    return copy.deepcopy(gates[0]).forward(x) if gates else None


@pytest.mark.parametrize(
    "variant, expected",
    [
        ("original", lambda x, F, g: x + F),
        ("scaling-0", lambda x, F, g: F),
        ("scaling-0.5", lambda x, F, g: 0.5 * x + F),
        ("scaling-0.5-0.5", lambda x, F, g: 0.5 * x + 0.5 * F),
        ("exclusive-gating-6", lambda x, F, g: (1 - g) * x + g * F),
        ("shortcut-gating-6", lambda x, F, g: g * x + F),  # the gate of this block is 1 - g of the paper
        ("relu-before-addition", lambda x, F, g: x + F),
    ],
)
def test_a_variant_is_its_equation(variant, expected):
    block, x = variant_block(4, 4, variant=variant, rng=0), normal(2, 4, 5, 5)
    branch = copy.deepcopy(variant_block(4, 4, variant="original", rng=0).residual.branch)  # the same weights
    if variant == "relu-before-addition":
        branch.relu2 = ReLU()
    y = copy.deepcopy(block.residual).forward(x)
    np.testing.assert_allclose(y, expected(x, branch.forward(x), gate_of(block, x)), rtol=1e-12)


@pytest.mark.parametrize(
    "variant, bias",
    [("exclusive-gating-0", 0), ("exclusive-gating-7", -7), ("shortcut-gating-0", 0), ("shortcut-gating-6", 6)],
)
def test_gates_start_at_their_bias(variant, bias):
    g = gate_of(variant_block(4, 4, variant=variant, rng=0), np.zeros((1, 4, 2, 2)))
    assert g == pytest.approx(1 / (1 + math.exp(-bias)))


def test_gates_of_different_blocks_start_from_different_weights():
    first, second = (
        block.residual.gate.conv.weight.data for block in cifar_variant(14, "exclusive-gating-6", rng=0).stage1
    )
    assert not np.array_equal(first, second)


def test_the_dropout_shortcut_loses_half_of_x():
    block, x = variant_block(4, 4, variant="dropout-shortcut", rng=0), normal(2, 4, 16, 16)
    kept = block.residual.shortcut.forward(x) != 0
    assert 0.45 < kept.mean() < 0.55
    np.testing.assert_array_equal(block.eval().residual.shortcut.forward(x), x)


def test_full_preactivation_is_the_preactivation_network():
    for depth in (14, 164):
        assert repr(cifar_variant(depth, "full-preactivation", rng=0)) == repr(preact_resnet(depth, rng=0))
    assert repr(cifar_variant(14, "original", rng=0)) == repr(cifar_resnet(14, rng=0))
    assert repr(cifar_variant(164, "original", rng=0)) == repr(cifar_bottleneck(164, rng=0))


def test_one_layer_networks_have_the_weights_of_plain_ones():
    one, plain = cifar_one_layer(20, rng=0), cifar_plain(20, rng=0)
    assert size(one) == size(plain)
    assert [children(block) for block in one.stage1] == [["residual", "relu"]] * 6


# -- highway networks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth, bias", [(8, -1), (11, -1), (20, -2), (32, -3), (50, -3)])
def test_the_bias_of_transform_gates_follows_the_depth(depth, bias):
    assert bias_by_depth(depth) == bias
    biases = {
        p.data[0] for name, p in cifar_highway(depth, rng=0).named_parameters() if name.endswith("gate.layer.bias")
    }
    assert biases == {bias}


def test_a_highway_net_has_as_many_layers_as_its_name_says_and_two_convolutions_in_most():
    net = cifar_highway(32, widths=(8, 16, 24), rng=0)
    convolutions = [(path, layer) for path, layer in net.named_layers() if isinstance(layer, Conv2d)]
    gates = [path for path, _ in convolutions if ".gate." in path]
    assert len(convolutions) - len(gates) == 31 and len(gates) == 28  # two layers change the shape: they are plain
    conv = {c: (9 * c + 1) * c for c in (8, 16, 24)}
    changes = (9 * 3 + 1) * 8 + (9 * 8 + 1) * 16 + (9 * 16 + 1) * 24
    assert size(net) == 20 * conv[8] + 18 * (conv[16] + conv[24]) + changes + 24 * 10 + 10


def test_highway_nets_can_be_as_large_as_the_papers():
    assert size(cifar_highway(20, widths=(32, 80, 128), rng=0)) == 2_281_210  # 19 layers, 2.3 M
    assert size(cifar_highway(32, widths=(32, 48, 64), rng=0)) == 1_266_906  # 32 layers, 1.25 M
    assert size(cifar_highway(32, rng=0)) == 901_802


def test_a_free_carry_gate_starts_open():
    block = highway_block(3, 3, bias=-2, carry="free", rng=0)
    biases = {name: p.data[0] for name, p in block.named_parameters() if name.endswith("bias")}
    assert biases == {"branch.left.layer.bias": -2, "branch.right.layer.bias": 0, "shortcut.left.layer.bias": 2}


@pytest.mark.parametrize("depth", [10, 50, 100])
def test_fully_connected_highways_have_a_plain_layer_and_the_rest_gated(depth):
    net = highway_mlp(depth, in_features=784, rng=0)
    assert len(net.stage1) == depth - 1
    assert size(net) == 784 * 50 + 50 + (depth - 1) * 2 * (50 * 50 + 50) + 50 * 10 + 10


# -- stochastic depth --------------------------------------------------------------------------------------------


def test_survival_falls_linearly_and_leaves_forty_blocks_of_resnet_110():
    decay = linear_decay(54, 0.5)
    assert sum(decay) == pytest.approx(40.25)
    blocks = [layer for _, layer in cifar_stochastic_depth(110, rng=0).named_layers() if hasattr(layer, "survival")]
    assert [block.survival for block in blocks] == pytest.approx(decay)


def test_in_training_blocks_are_left_out_as_often_as_they_should():
    block = StochasticResidual(Identity(), survival=0.7, rng=0)
    x = np.ones((1, 1))
    doubled = [block.forward(x)[0, 0] == 2 for _ in range(1000)]
    assert 0.65 < np.mean(doubled) < 0.75


def test_a_branch_left_out_is_not_computed_and_learns_nothing():
    block = StochasticResidual(Linear(3, 3, rng=0), survival=1e-9, rng=0)
    x = normal(2, 3)
    np.testing.assert_array_equal(block.forward(x), x)
    assert block.branch._cache is None
    np.testing.assert_array_equal(block.backward(x), x)
    assert not np.any(block.branch.weight.grad)


def test_the_gradient_flow_of_a_branch_left_out_is_nothing():
    net = cifar_stochastic_depth(14, survival=1e-9, rng=0)
    x, labels = normal(2, 3, 8, 8).astype(np.float32), np.array([0, 1])
    flow = gradient_flow(net, x, labels)
    assert flow[-1].branch == 0 and flow[-1].shortcut > 0  # the last block survives least


def test_in_evaluation_a_branch_counts_as_often_as_it_was_there():
    block = StochasticResidual(Linear(3, 3, rng=0), survival=0.3, rng=0).eval()
    x = normal(2, 3)
    np.testing.assert_allclose(block.forward(x), x + 0.3 * block.branch.forward(x))


def test_with_survival_1_it_is_the_residual_net():
    x = normal(2, 3, 16, 16)
    stochastic, ordinary = cifar_stochastic_depth(14, survival=1, rng=0), cifar_resnet(14, rng=0)
    np.testing.assert_array_equal(stochastic.forward(x), ordinary.forward(x))


def test_blocks_toss_coins_of_their_own():
    net = cifar_stochastic_depth(56, survival=0.5, rng=0)
    blocks = [layer for _, layer in net.named_layers() if isinstance(layer, StochasticResidual)]
    assert len({block.rng.random() for block in blocks}) == len(blocks)


# -- relatives ---------------------------------------------------------------------------------------------------


def test_vgg16_has_the_parameters_of_its_table():
    channels = [3, 64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    by_hand = sum(9 * c * o + 2 * o for c, o in zip(channels, channels[1:])) + 512 * 10 + 10
    net = vgg16(rng=0)
    assert size(net) == by_hand == 14_724_042
    assert summary(net)[-2].output == (512,)


def test_inception_3a_costs_what_googlenets_table_says():
    block = inception_block(192, 64, 96, 128, 16, 32, 32, rng=0)
    walk = summary(block, (192, 28, 28))
    weights = walk.parameters - (64 + 96 + 128 + 16 + 32 + 32)  # the table counts no biases
    assert int(weights / 1024) == 159  # "159K"
    assert round(walk.multiply_adds / 1e6) == 128  # "128M"


def test_an_inception_block_is_three_lines_of_concat():
    rng = np.random.default_rng(0)
    towers = [Sequential(conv_relu(3, 4, 1, rng), conv_relu(4, 5, k, rng)) for k in (3, 5)]
    pooled = Sequential(MaxPool2d(3, stride=1, padding=1), conv_relu(3, 2, 1, rng))
    block = Concat(conv_relu(3, 1, 1, rng), *towers, pooled)
    x = normal(2, 3, 6, 7)
    y = block.forward(x)
    assert y.shape == (2, 1 + 5 + 5 + 2, 6, 7)
    np.testing.assert_array_equal(y[:, 11:], copy.deepcopy(pooled).forward(x))


# -- what a person can get wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: cifar_variant(110, "gating"), "variant: expected one of original, scaling-0, .* got 'gating'"),
        (lambda: cifar_variant(21), r"6n \+ 2"),
        (lambda: cifar_variant(165), r"9n \+ 2 .* such as 164, 1001; got 165"),
        (lambda: cifar_highway(19), r"3n \+ 2 .* such as 11, 20, 32; got 19. The nearest are 17 and 20"),
        (lambda: cifar_highway(20, carry="T"), "carry: expected '1 - T' or 'free', got 'T'"),
        (lambda: highway_mlp(1), "highway_mlp: expected depth, a whole number of at least 2, got 1"),
        (lambda: cifar_one_layer(21), r"3n \+ 2"),
        (lambda: cifar_stochastic_depth(110, survival=0), "expected survival, .* at most 1, got 0"),
        (lambda: cifar_stochastic_depth(20, survival=2), "expected survival, .* at most 1, got 2"),
        (
            lambda: StochasticResidual(Identity(), survival=0),
            "Residual: expected survival, a number above 0 and at most 1",
        ),
        (lambda: cifar_highway(20, widths=16), "expected widths of three stages, such as .16, 32, 64., got 16"),
        (lambda: vgg16(stages=[(64, "m")]), "Conv2d: expected out_channels, a whole number of at least 1, got 'm'"),
        (lambda: Concat(), "Concat: expected at least one branch"),
        (lambda: Concat(forward=Identity()), "Concat: no branch can be named 'forward'"),
        (lambda: Gated(Linear(3, 4), Linear(3, 1)).forward(normal(2, 3)), r"Gated: .* branch \(2, 4\), gate \(2, 1\)"),
        (lambda: Product(Linear(3, 4), Identity()).forward(normal(2, 3)), r"Product: .*left \(2, 4\), right \(2, 3\)"),
        (
            lambda: Concat(Conv2d(1, 2, 3), Identity()).forward(normal(2, 1, 5, 5)),
            r"Concat: .* channels only, got \(2, 2, 3, 3\), \(2, 1, 5, 5\)",
        ),
    ],
)
def test_the_error_names_what_was_wrong(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: Residual(ReLU), "Residual: expected branch to be a Layer, got <class .*parentheses after a class"),
        (lambda: Residual(ReLU(), Conv2d), "Residual: expected shortcut to be a Layer"),
        (lambda: Gated(ReLU(), None), "Gated: expected gate to be a Layer, got None"),
        (lambda: Product(ReLU(), 3), "Product: expected right to be a Layer, got 3"),
        (lambda: Concat([Identity()]), "Concat: expected branch '0' to be a Layer, got .*Is a star missing"),
    ],
)
def test_a_part_that_is_no_layer_is_named(build, message):
    with pytest.raises(TypeError, match=message):
        build()


# -- training ----------------------------------------------------------------------------------------------------

TRAINED = {  # name: learning rate
    **dict.fromkeys(["plain-8", "resnet-8-B", "bottleneck-11", "wrn-10-2-dropout0.3", "vgg-16"], 0.05),
    **dict.fromkeys(["one-layer-8", "stochastic-depth-14", "highway-11"], 0.05),
    "preact-14": 0.02,
    **{f"resnet-8-{name}": 0.02 for name in VARIANTS},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_a_network_trains(name):
    assert_trains(network(name, rng=0), TRAINED[name], (3, 32, 32) if name == "vgg-16" else (3, 16, 16))


@pytest.mark.slow
def test_a_fully_connected_highway_trains():
    assert_trains(highway_mlp(10, in_features=3 * 4 * 4, rng=0), 0.02, (3, 4, 4))


@pytest.mark.slow
def test_a_network_of_inception_blocks_trains():
    blocks = [inception_block(channels, 4, 4, 6, 2, 3, 3, rng=1) for channels in (3, 16)]
    net = Sequential(*blocks, GlobalAvgPool2d(), Linear(16, 4, rng=0))
    assert_trains(net, 0.05, (3, 8, 8))


@pytest.mark.slow
@pytest.mark.parametrize(
    "build, depth",
    [(imagenet_plain, 18), (imagenet_resnet, 18), (imagenet_resnet, 50), (imagenet_preact, 50), (imagenet_wide, 50)],
    ids=["plain", "resnet", "bottlenecks", "preact", "wide"],
)
def test_an_imagenet_network_trains(build, depth):
    assert_trains(build(depth, classes=10, rng=0), 0.01, (3, 64, 64), batch=8, steps=12)


def assert_trains(net, lr, image, batch=16, steps=25):
    """The loss falls, on one batch of images whose mean colours tell the classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(batch) % 4
    x = (rng.normal(size=(batch, *image)) + rng.normal(size=(4, 3, 1, 1))[labels]).astype(np.float32)
    optimizer, losses = SGD(net.parameters(), lr=lr, momentum=0.9), []
    for _ in range(steps):
        loss, dlogits = softmax_cross_entropy(net.forward(x), labels)
        net.zero_grad()
        net.backward(dlogits)
        optimizer.step()
        losses.append(loss)
    assert np.mean(losses[-3:]) < 0.7 * losses[0], losses
