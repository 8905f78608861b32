"""Networks have names, and what is no name, depth or option is answered in one line."""

import numpy as np
import pytest

from minires.networks import (
    basic_block,
    cifar_bottleneck,
    cifar_plain,
    cifar_resnet,
    imagenet_plain,
    imagenet_resnet,
    imagenet_wide,
    network,
    preact_resnet,
    residual_block,
    wide_resnet,
)
from minires.walk import summary


def size(net):
    return sum(parameter.data.size for parameter in net.parameters())


def children(layer):
    return [path for path, _ in layer.named_layers() if path and "." not in path]


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


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: imagenet_resnet(20), "imagenet_resnet: expected depth 18, 34, 50, 101, 152, got 20"),
        (
            lambda: imagenet_resnet(18, shortcut=None),
            "imagenet_resnet: expected a shortcut, got .* the plain network. Use imagenet_plain",
        ),
        (lambda: cifar_plain(20, 0), "expected classes, a whole number of at least 1, got 0. Is it the seed"),
        (lambda: imagenet_resnet(18, classes=10.0), "expected classes, a whole number .* got 10.0"),
        (lambda: imagenet_plain(50), "imagenet_plain: expected depth 18, 34, got 50"),
        (lambda: imagenet_wide(50, k="2"), "imagenet_wide: expected k, a whole number of at least 1, got '2'"),
        (lambda: residual_block(None), "residual_block: expected convolutions, a list of Conv2d, got None"),
        (lambda: imagenet_wide(18), "imagenet_wide: expected depth 50, 101, 152, got 18"),
        (lambda: wide_resnet(28, 0), "expected k, a whole number of at least 1, got 0. WRN-28-10 has k = 10"),
        (lambda: basic_block(3, 3, order="reversed"), "order: expected one of 'original', 'BN after.*got 'reversed'"),
    ],
)
def test_arguments_out_of_the_tables_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_what_is_no_name_and_no_network_is_said():
    with pytest.raises(TypeError, match="network: expected a name such as 'resnet-20', got 20. By depth: cifar_resnet"):
        network(20)
    with pytest.raises(TypeError, match="summary: expected a network, got 'resnet-20'. From a name"):
        summary("resnet-20")


def test_numbers_of_numpy_are_as_good_as_pythons():
    assert size(wide_resnet(np.int64(16), np.int32(4), rng=0)) == 2_748_890
    assert repr(preact_resnet(np.int64(164), rng=0)) == repr(preact_resnet(164, rng=0))


@pytest.mark.parametrize("shortcut", ["D", "a", None, 1])
def test_an_unknown_shortcut_is_named(shortcut):
    message = "cifar_plain" if shortcut is None else "expected one of A, B, C, conv, 2x2, got"
    with pytest.raises(ValueError, match=message):
        cifar_resnet(20, shortcut)


@pytest.mark.parametrize(
    "name, paths", [("resnet20", 20), ("ResNet-20", 20), ("resnet-20-A", 20), ("plain-14", 14), ("plain14", 14)]
)
def test_networks_have_names(name, paths):
    assert sum(p.data.ndim > 1 for p in network(name, rng=0).parameters()) == paths


@pytest.mark.parametrize(
    "name, build",
    [
        ("resnet18", lambda: imagenet_resnet(18, rng=0)),
        ("resnet-34-a", lambda: imagenet_resnet(34, shortcut="A", rng=0)),
        ("resnet-18-2x2", lambda: imagenet_resnet(18, shortcut="2x2", rng=0)),
        ("plain-18", lambda: imagenet_plain(18, rng=0)),
        ("bottleneck-29", lambda: cifar_bottleneck(29, rng=0)),
        ("preact-110", lambda: preact_resnet(110, rng=0)),
        ("preact164", lambda: preact_resnet(164, rng=0)),
        ("resnet-164", lambda: cifar_bottleneck(164, rng=0)),
        ("resnet-164-c", lambda: cifar_bottleneck(164, "C", rng=0)),
        ("wide_resnet10_2", lambda: wide_resnet(10, 2, rng=0)),
        ("WRN-16-2", lambda: wide_resnet(16, 2, rng=0)),
        ("wrn-10-1-dropout0.3", lambda: wide_resnet(10, 1, dropout=0.3, rng=0)),
    ],
)
def test_a_name_builds_what_its_function_builds(name, build):
    named, built = network(name, rng=0), build()
    assert repr(named) == repr(built)
    assert all(np.array_equal(p.data, q.data) for p, q in zip(named.parameters(), built.parameters()))


def test_depths_of_imagenet_have_its_classes():
    assert network("resnet-18", rng=0).linear.out_features == 1000
    assert network("resnet-18", classes=7, rng=0).linear.out_features == 7
    assert network("resnet-20", rng=0).linear.out_features == 10
    assert "stage4" in children(network("resnet50", rng=0)) and "stage4" not in children(cifar_resnet(50, rng=0))


def test_a_name_says_the_shortcut():
    assert size(network("resnet-20-B", rng=0)) == 272_474
    assert size(network("resnet20c", rng=0)) == 283_962


@pytest.mark.parametrize(
    "name, message",
    [
        ("renset-20", "unknown network 'renset-20'. Did you mean resnet-20"),
        ("plan56", "Did you mean plain-56"),
        ("resnet-20-D", "unknown network 'resnet-20-D'"),
        ("resnet-1000", "The nearest are 998 and 1004"),
        ("lenet", "Known: plain-DEPTH, resnet-DEPTH.*For ImageNet: .*resnet-18, 34, 50"),
        ("resnet-21", "The nearest are 20 and 26"),
        ("preact-111", r"6n \+ 2 .*The nearest are 110 and 116"),
        ("preact-165", r"9n \+ 2 .* such as 164, 1001; got 165. The nearest are 164 and 173"),
        ("wrn-17-4", r"6n \+ 4 .* such as 16, 22, 28, 40; got 17. The nearest are 16 and 22"),
        ("wrn-16", "unknown network 'wrn-16'. Did you mean wrn-16-4"),
    ],
)
def test_an_unknown_name_lists_the_known(name, message):
    with pytest.raises(ValueError, match=message):
        network(name)


@pytest.mark.parametrize(
    "name",
    ["plain-8", "resnet-8", "resnet-8-original", "bottleneck-11", "preact-8", "wrn-10-1", "highway-5", "one-layer-5"],
)
def test_networks_for_small_images_take_any_number_of_channels(name):
    net = network(name, classes=4, rng=0, in_channels=1)
    assert net.eval()(np.zeros((2, 1, 8, 8), np.float32)).shape == (2, 4)
    with pytest.raises(ValueError, match=r"expected x of shape \(N, 1, H, W\), got \(2, 3, 8, 8\)"):
        net(np.zeros((2, 3, 8, 8), np.float32))


def test_vgg_and_stochastic_depth_take_any_number_of_channels():
    assert network("vgg-16", rng=0, in_channels=2).conv1.in_channels == 2
    assert network("stochastic-depth-8", rng=0, in_channels=2).conv1.in_channels == 2


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: cifar_resnet(20, rng="seed"), "expected rng, a numpy.random.Generator"),
        (lambda: cifar_resnet(20, in_channels=0, rng=0), "expected in_channels, a whole number of at least 1, got 0"),
        (lambda: cifar_resnet([20]), r"depth: expected .*got \[20\]"),
        (lambda: imagenet_resnet([18]), r"imagenet_resnet: expected depth .*got \[18\]"),
        (lambda: cifar_resnet(20, ["A"]), r"shortcut: expected one of .*got \['A'\]"),
        (lambda: basic_block(3, 3, order=["original"]), r"order: expected one of .*got \['original'\]"),
        (lambda: wide_resnet(16, 2, dropout="much"), "expected dropout, a number from 0 to 1, got 'much'"),
        (lambda: wide_resnet(16, "2"), "expected k, a whole number of at least 1, got '2'"),
        (lambda: network("highway-20", classes="ten"), "expected classes, a whole number of at least 1, got 'ten'"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(build, message):
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda wrong: basic_block(3, 3, shortcut=wrong), "shortcut: expected one of"),
        (lambda wrong: basic_block(3, 3, order=wrong), "order: expected one of"),
        (lambda wrong: wide_resnet(10, 1, dropout=wrong), "expected dropout, a number from 0 to 1"),
        (lambda wrong: preact_resnet(8, bottleneck=wrong), "expected bottleneck, True or False"),
        (lambda wrong: cifar_bottleneck(wrong), "depth: expected"),
        (lambda wrong: network("resnet-8", in_channels=wrong), "expected in_channels, a whole number"),
    ],
)
@pytest.mark.parametrize("wrong", [np.array([1, 2]), ["a"], {}, 3j, float("nan")], ids=str)
def test_what_cannot_even_be_compared_is_named(build, wrong, message):
    with pytest.raises(ValueError, match=message) as caught:
        build(wrong)
    assert "\n" not in str(caught.value)
