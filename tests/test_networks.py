"""The networks are their papers' in size, shape, cost and name."""

import numpy as np
import pytest

from minires.layers import Identity, SubsampleShortcut
from minires.networks import (
    basic_block,
    bottleneck_block,
    cifar_bottleneck,
    cifar_network,
    cifar_plain,
    cifar_resnet,
    imagenet_plain,
    imagenet_preact,
    imagenet_resnet,
    imagenet_wide,
    network,
    preact_resnet,
    wide_resnet,
)
from minires.networks.blocks import conv3x3
from minires.probe import Probe
from minires.walk import summary

# -- CIFAR: He et al. 2015, Table 6 and section 4.2 ----------------------------------------------------------------

#        depth: parameters of plain and A,  B,  C;  million multiply-adds of plain and A
PAPER = {
    20: (269_722, 272_474, 283_962, 40.551),
    32: (464_154, 466_906, 489_594, 68.863),
    44: (658_586, 661_338, 695_226, 97.174),
    56: (853_018, 855_770, 900_858, 125.486),
    110: (1_727_962, 1_730_714, 1_826_202, 252.888),
    1202: (19_421_274, 19_424_026, 20_538_714, 2829.2),
}


def size(net):
    return sum(parameter.data.size for parameter in net.parameters())


@pytest.mark.parametrize("depth", PAPER)
def test_parameters_are_the_papers(depth):
    plain, b, c, _ = PAPER[depth]
    assert size(cifar_plain(depth, rng=0)) == plain
    assert [size(cifar_resnet(depth, shortcut, rng=0)) for shortcut in "ABC"] == [plain, b, c]


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_multiply_adds_are_the_papers(depth):
    million = PAPER[depth][3]
    assert round(summary(cifar_resnet(depth, rng=0)).multiply_adds / 1e6, 3) == million


def test_multiply_adds_of_1202_layers_follow_from_those_of_20():
    walk = {depth: summary(cifar_plain(depth, rng=0)).multiply_adds for depth in (20, 26)}
    assert round((walk[20] + 197 * (walk[26] - walk[20])) / 1e6, 1) == PAPER[1202][3]


def test_a_network_has_as_many_layers_with_weights_as_its_name_says():
    for net in (cifar_plain(44, rng=0), cifar_resnet(44, rng=0)):
        assert sum(name.endswith("weight") and p.data.ndim > 1 for name, p in net.named_parameters()) == 44


@pytest.mark.parametrize("net", ["plain-8", "resnet-8-A", "resnet-8-B", "resnet-8-C"])
def test_stages_halve_the_image_and_double_the_channels(net):
    net = network(net, rng=0)
    with Probe(net, paths=["conv1", "stage?", "pool", "linear"], reduce=np.shape) as probe:
        net.forward(np.zeros((2, 3, 32, 32), np.float32))
    assert probe.y == {
        "conv1": (2, 16, 32, 32),
        "stage1": (2, 16, 32, 32),
        "stage2": (2, 32, 16, 16),
        "stage3": (2, 64, 8, 8),
        "pool": (2, 64),
        "linear": (2, 10),
    }


def test_other_numbers_of_classes():
    x = np.zeros((2, 3, 32, 32), np.float32)
    assert cifar_plain(8, classes=7, rng=0).forward(x).shape == (2, 7)
    assert cifar_resnet(8, classes=100, rng=0).forward(x).shape == (2, 100)


def test_option_a_and_b_keep_the_identity_where_the_shape_stays():
    nets = {option: cifar_resnet(14, option, rng=0) for option in "ABC"}
    kinds = {
        option: [type(block.residual.shortcut).__name__ for stage in (net.stage1, net.stage2) for block in stage]
        for option, net in nets.items()
    }
    assert kinds == {
        "A": ["Identity", "Identity", "SubsampleShortcut", "Identity"],
        "B": ["Identity", "Identity", "Sequential", "Identity"],
        "C": ["Sequential"] * 4,
    }


def test_a_stride_alone_and_channels_alone_change_the_shape():
    for shape in ((4, 4, 2), (4, 6, 1)):
        assert isinstance(basic_block(*shape, rng=0).residual.shortcut, SubsampleShortcut)
    assert isinstance(basic_block(4, 4, 1, rng=0).residual.shortcut, Identity)


def test_plain_and_residual_nets_of_one_seed_start_from_the_same_weights():
    def weights(net):
        return [p.data for name, p in net.named_parameters() if p.data.ndim > 1 and ".shortcut." not in name]

    plain = weights(cifar_plain(14, rng=3))
    for option in "ABC":
        residual = weights(cifar_resnet(14, option, rng=3))
        assert len(residual) == len(plain) == 14
        assert all(np.array_equal(a, b) for a, b in zip(plain, residual))
    assert not np.array_equal(plain[0], weights(cifar_plain(14, rng=4))[0])


def test_projections_of_different_blocks_start_from_different_weights():
    net = cifar_resnet(14, "C", rng=0)
    first, second = (block.residual.shortcut[0].weight.data for block in net.stage1)
    assert not np.array_equal(first, second)


def test_weights_have_he_normal_spread():
    net = cifar_resnet(20, rng=0)
    w = net.stage3[2].residual.branch.conv1.weight.data
    assert w.std() == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.02)
    assert abs(w.mean()) < 0.002


def test_a_network_takes_any_block_of_that_form():
    net = cifar_network(2, conv3x3, widths=(8, 12), rng=0)
    assert net.forward(np.zeros((1, 3, 8, 8), np.float32)).shape == (1, 10)


# -- pre-activation and wide: Identity Mappings in Deep Residual Networks; Wide Residual Networks ------------------


@pytest.mark.parametrize("depth, parameters", [(110, 1_730_522), (164, 1_703_258), (1001, 10_327_706)])
def test_preactivation_has_the_papers_parameters(depth, parameters):
    assert size(preact_resnet(depth, rng=0)) == parameters


@pytest.mark.parametrize("depth, parameters", [(164, 1_704_154), (1001, 10_328_602)])
def test_bottleneck_networks_have_the_parameters_of_their_table(depth, parameters):
    by_hand, channels = 3 * 16 * 9 + 2 * 16 + 256 * 10 + 10, 16
    for width in (16, 32, 64):
        by_hand += 4 * width * (channels + 2)  # projection
        for _ in range((depth - 2) // 9):
            by_hand += width * (channels + 9 * width + 4 * width) + 2 * 6 * width
            channels = 4 * width
    assert size(cifar_bottleneck(depth, rng=0)) == by_hand == parameters


WIDE = {
    (16, 4): 2_748_890,
    (40, 1): 563_930,
    (40, 2): 2_243_546,
    (40, 4): 8_949_210,
    (16, 8): 10_961_370,
    (28, 10): 36_479_194,
}


@pytest.mark.parametrize("depth, k", WIDE)
def test_wide_nets_have_the_papers_parameters(depth, k):
    assert size(wide_resnet(depth, k, rng=0)) == WIDE[depth, k]


def layers_with_weights(net):
    """Those on the way from input to output: convolutions and linear layers that are not on a shortcut."""
    return [name for name, p in net.named_parameters() if p.data.ndim > 1 and ".shortcut." not in name]


def test_depth_counts_the_layers_of_the_longest_path():
    assert len(layers_with_weights(preact_resnet(110, rng=0))) == 110
    assert len(layers_with_weights(preact_resnet(164, rng=0))) == 164
    assert len(layers_with_weights(cifar_bottleneck(164, rng=0))) == 164
    assert len(layers_with_weights(wide_resnet(16, 4, rng=0))) == 16 - 3 + 1  # projections count, the linear layer not


def children(layer):
    return [path for path, _ in layer.named_layers() if path and "." not in path]


def test_preactivation_shares_the_first_norm_where_the_shape_changes():
    net = preact_resnet(20, rng=0)
    assert children(net) == ["conv1", "stage1", "stage2", "stage3", "bn", "relu", "pool", "linear"]
    first, second = net.stage2[0], net.stage2[1]
    assert children(first) == ["bn1", "relu1", "residual"]
    assert children(first.residual.branch) == ["conv1", "bn2", "relu2", "conv2"]
    assert repr(first.residual.shortcut) == "Conv2d(16, 32, 1, stride=2, bias=False)"
    assert children(second) == ["residual"]
    assert children(second.residual.branch) == ["bn1", "relu1", "conv1", "bn2", "relu2", "conv2"]


def test_in_preactivation_the_stream_of_sums_is_touched_by_nothing():
    net = preact_resnet(26, bottleneck=False, rng=0)
    with Probe(net, paths=["stage1.*.residual", "stage1.*.residual.branch", "conv1"]) as probe:
        net.forward(np.random.default_rng(0).normal(size=(1, 3, 8, 8)))
    branches = sum(probe.y[f"stage1.{i}.residual.branch"] for i in range(4))
    np.testing.assert_allclose(probe.y["stage1.3.residual"], probe.y["conv1"] + branches, rtol=1e-12)


def test_bottlenecks_take_their_stride_where_they_are_told():
    strides = {}
    for net in (imagenet_resnet(50, stride_on="1x1", rng=0), imagenet_resnet(50, rng=0), cifar_bottleneck(20, rng=0)):
        branch = net.stage2[0].residual.branch
        strides[id(net)] = [branch.conv1.stride[0], branch.conv2.stride[0], branch.conv3.stride[0]]
    assert list(strides.values()) == [[2, 1, 1], [1, 2, 1], [2, 1, 1]]
    with pytest.raises(ValueError, match="stride_on: expected '3x3' .torchvision. or '1x1' .the paper., got 3"):
        imagenet_resnet(50, stride_on=3)


def test_wide_dropout_stands_between_the_convolutions():
    block = wide_resnet(10, 1, dropout=0.3, rng=0).stage1[0]
    assert children(block.residual.branch) == ["bn1", "relu1", "conv1", "bn2", "relu2", "dropout", "conv2"]
    assert block.residual.branch.dropout.p == 0.3


# -- ImageNet: He et al. 2015, Table 1 -----------------------------------------------------------------------------

#           depth: parameters, billion multiply-adds with the stride on the first 1x1, and as torchvision on the 3x3
IMAGENET = {
    18: (11_689_512, 1.814, 1.814),
    34: (21_797_672, 3.664, 3.664),
    50: (25_557_032, 3.858, 4.089),
    101: (44_549_160, 7.570, 7.801),
    152: (60_192_808, 11.282, 11.514),
}


@pytest.mark.parametrize("depth", IMAGENET)
def test_imagenet_layers_parameters_and_multiply_adds_are_the_papers(depth):
    parameters, billion, _ = IMAGENET[depth]
    net = imagenet_resnet(depth, stride_on="1x1", rng=0)
    walk = summary(net, (3, 224, 224))
    assert walk.parameters == size(net) == parameters
    assert round(walk.multiply_adds / 1e9, 3) == billion
    assert len(layers_with_weights(net)) == depth


@pytest.mark.parametrize(
    "depth", [50, pytest.param(101, marks=pytest.mark.slow), pytest.param(152, marks=pytest.mark.slow)]
)
def test_with_the_stride_on_the_3x3_multiply_adds_are_torchvisions(depth):
    walk = summary(imagenet_resnet(depth, rng=0), (3, 224, 224))
    assert (walk.parameters, round(walk.multiply_adds / 1e9, 3)) == (IMAGENET[depth][0], IMAGENET[depth][2])


@pytest.mark.parametrize("depth, parameters", [(18, 11_515_688), (34, 21_623_848)])
def test_imagenet_plain_nets_are_as_large_as_those_with_option_a(depth, parameters):
    assert size(imagenet_plain(depth, rng=0)) == size(imagenet_resnet(depth, shortcut="A", rng=0)) == parameters


def test_wide_50_2_has_the_parameters_that_torchvision_has():
    assert size(imagenet_wide(50, 2, rng=0)) == 68_883_240


def bottleneck_parameters(blocks):
    """Of a pre-activation network, added up by hand: each batch norm is in front of its convolution."""
    total, channels = 3 * 64 * 49, 64
    for count, width in zip(blocks, (64, 128, 256, 512)):
        total += channels * 4 * width  # projection
        for _ in range(count):
            total += channels * width + 9 * width * width + width * 4 * width + 2 * (channels + width + width)
            channels = 4 * width
    return total + 2 * channels + channels * 1000 + 1000


def test_preactivation_200_has_the_parameters_of_its_table():
    walk = summary(imagenet_preact(200, rng=0), (3, 224, 224))
    assert walk.parameters == bottleneck_parameters((3, 24, 36, 3)) == 64_666_152
    assert round(walk.multiply_adds / 1e9, 3) == 15.007


@pytest.mark.slow
@pytest.mark.parametrize(
    "build, billion",
    [
        (lambda: imagenet_plain(18, rng=0), 1.795),
        (lambda: imagenet_plain(34, rng=0), 3.644),
        (lambda: imagenet_preact(200, stride_on="1x1", rng=0), 14.776),
        (lambda: imagenet_wide(50, 2, rng=0), 11.398),
        (lambda: imagenet_wide(50, 2, stride_on="1x1", rng=0), 10.936),
    ],
    ids=["plain-18", "plain-34", "preact-200 1x1", "wrn-50-2", "wrn-50-2 1x1"],
)
def test_multiply_adds_of_the_other_imagenet_networks(build, billion):
    assert round(summary(build(), (3, 224, 224)).multiply_adds / 1e9, 3) == billion


def test_a_bottleneck_has_about_the_weights_of_a_basic_block_of_a_quarter_of_its_channels():
    def weights(block):
        return sum(p.data.size for p in block.parameters() if p.data.ndim > 1)

    assert weights(bottleneck_block(256, 256, rng=0)) == 69_632
    assert weights(basic_block(64, 64, rng=0)) == 73_728


def test_the_lectures_walk_through_resnet18():
    rows = {row.path: row for row in summary(imagenet_resnet(18, shortcut="2x2", rng=0), (3, 224, 224))}
    outputs = {"conv1": (64, 112, 112), "pool1": (64, 56, 56), "pool": (512,), "linear": (1000,)}
    for i, (channels, size) in enumerate([(64, 56), (128, 28), (256, 14), (512, 7)], start=1):
        for block in range(2):
            outputs |= {f"stage{i}.{block}.residual.branch.conv{c}": (channels, size, size) for c in (1, 2)}
    assert {path: rows[path].output for path in outputs} == outputs
    assert rows["conv1"].arithmetic == ("floor((224 + 2*3 - 1*(7-1) - 1)/2) + 1 = 112",)
    assert rows["pool1"].arithmetic == ("floor((112 + 2*1 - 1*(3-1) - 1)/2) + 1 = 56",)
    shortcut = rows["stage2.0.residual.shortcut.0"]
    assert (shortcut.output, shortcut.parameters) == ((128, 28, 28), 64 * 128 * 2 * 2)
    assert shortcut.arithmetic == ("floor((56 + 2*0 - 1*(2-1) - 1)/2) + 1 = 28",)


def test_the_2x2_shortcut_is_1x1_where_only_channels_change():
    net = imagenet_resnet(50, shortcut="2x2", rng=0)
    assert [net.stage1[0].residual.shortcut[0].kernel_size, net.stage2[0].residual.shortcut[0].kernel_size] == [
        (1, 1),
        (2, 2),
    ]
    assert isinstance(net.stage1[1].residual.shortcut, Identity)
