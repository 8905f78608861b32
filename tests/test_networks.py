"""The networks are the paper's in size, shape, cost and name: He et al. 2015, Table 6 and section 4.2."""

import numpy as np
import pytest

from minires.layers import Identity, SubsampleShortcut
from minires.networks import basic_block, cifar_network, cifar_plain, cifar_resnet, network
from minires.networks.blocks import conv3x3
from minires.probe import Probe
from minires.walk import summary

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


@pytest.mark.parametrize("build", [cifar_plain, cifar_resnet])
@pytest.mark.parametrize(
    "depth, message",
    [
        (18, r"6n \+ 2 with a whole n >= 1, such as 20, 32, 44, 56, 110, 1202; got 18. The nearest are 14 and 20"),
        (2, "got 2"),
        (-4, "got -4"),
        (20.0, "got 20.0"),
        ("20", "got '20'"),
        (True, "got True"),
    ],
)
def test_a_wrong_depth_is_answered_with_the_rule(build, depth, message):
    with pytest.raises(ValueError, match=message):
        build(depth)


@pytest.mark.parametrize("shortcut", ["D", "a", None, 1])
def test_an_unknown_shortcut_is_named(shortcut):
    with pytest.raises(ValueError, match="cifar_plain" if shortcut is None else "expected one of A, B, C, got"):
        cifar_resnet(20, shortcut)


@pytest.mark.parametrize(
    "name, paths",
    [
        ("resnet20", 20),
        ("ResNet-20", 20),
        ("resnet-20-A", 20),
        ("plain-14", 14),
        ("plain14", 14),
    ],
)
def test_networks_have_names(name, paths):
    assert sum(p.data.ndim > 1 for p in network(name, rng=0).parameters()) == paths


def test_a_name_says_the_shortcut():
    assert size(network("resnet-20-B", rng=0)) == PAPER[20][1]
    assert size(network("resnet20c", rng=0)) == PAPER[20][2]


@pytest.mark.parametrize(
    "name, message",
    [
        ("renset-20", "unknown network 'renset-20'. Did you mean resnet-20"),
        ("plan56", "Did you mean plain-56"),
        ("resnet-20-D", "unknown network 'resnet-20-D'"),
        ("vgg", "Known: plain-DEPTH, resnet-DEPTH"),
        ("resnet-21", "The nearest are 20 and 26"),
    ],
)
def test_an_unknown_name_lists_the_known(name, message):
    with pytest.raises(ValueError, match=message):
        network(name)
