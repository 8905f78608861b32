"""Every backward is the derivative of its forward: on the table of cases, and over geometries drawn at random."""

import numpy as np
import pytest
from cases import LAYER_CASES
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minires.gradcheck import check_layer, check_loss
from minires.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SubsampleShortcut,
)
from minires.losses import mean_squared_error, softmax_cross_entropy
from minires.networks import cifar_plain, cifar_resnet
from minires.networks.blocks import basic_block


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", LAYER_CASES)
def test_backward_is_derivative_of_forward(case, training):
    layer, shape = LAYER_CASES[case]
    check_layer(layer, normal(shape), modes="train" if training else "eval")


@pytest.mark.parametrize("N, K", [(1, 2), (3, 5), (7, 4)])
def test_gradient_of_cross_entropy_is_its_derivative(N, K):
    labels = np.random.default_rng(1).integers(K, size=N)
    logits = 3 * normal((N, K))
    check_loss(softmax_cross_entropy, logits, labels)
    check_loss(softmax_cross_entropy, logits, labels, label_smoothing=0.2)
    check_loss(softmax_cross_entropy, logits, labels, label_smoothing=0.2, weight=np.linspace(0.5, 2, K))


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 4)])
def test_gradient_of_squared_error_is_its_derivative(shape):
    check_loss(mean_squared_error, normal(shape), normal(shape, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "net", [cifar_plain(20, rng=0), cifar_resnet(20, shortcut="C", rng=0)], ids=["plain", "resnet"]
)
def test_backward_of_a_deep_network_is_its_derivative(net):
    check_layer(net, normal((2, 3, 8, 8)))


# -- geometries drawn at random -------------------------------------------------------------------------------

few = st.integers(1, 3)


@st.composite
def pairs(draw, numbers):
    """An int for both directions, or a pair."""
    return draw(st.one_of(numbers, st.tuples(numbers, numbers)))


def both(value):
    return value if isinstance(value, tuple) else (value, value)


@st.composite
def convolutions(draw):
    groups = draw(few)
    C, O = groups * draw(few), groups * draw(few)
    kernel_size, stride, dilation = draw(pairs(few)), draw(pairs(few)), draw(pairs(st.integers(1, 2)))
    padding = draw(pairs(st.integers(0, 2)))
    layer = Conv2d(C, O, kernel_size, stride, padding, dilation, groups, bias=draw(st.booleans()), rng=draw(few))
    least = [max(1, (k - 1) * d + 1 - 2 * p) for k, d, p in zip(both(kernel_size), both(dilation), both(padding))]
    return layer, (draw(few), C, *(n + draw(st.integers(0, 5)) for n in least))


@st.composite
def poolings(draw):
    kernel_size = draw(pairs(few))
    stride = draw(st.one_of(st.none(), pairs(few)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in both(kernel_size))
    ceil_mode = draw(st.booleans())
    dilation = 1
    if draw(st.booleans()):
        dilation = draw(pairs(st.integers(1, 2)))
        layer = MaxPool2d(kernel_size, stride, padding, dilation, ceil_mode)
    else:
        layer = AvgPool2d(kernel_size, stride, padding, ceil_mode, count_include_pad=draw(st.booleans()))
    least = [max(2, (k - 1) * d + 1) for k, d in zip(both(kernel_size), both(dilation))]
    return layer, (draw(few), draw(few), *(n + draw(st.integers(0, 4)) for n in least))


@st.composite
def images(draw):
    """(N, C, H, W) of more than two values per channel: batch norm makes +1 and -1 of two, whatever they were."""
    return draw(few), draw(few), draw(st.integers(3, 5)), draw(st.integers(1, 5))


@st.composite
def other_layers(draw):
    N, C, H, W = shape = draw(images())
    O, stride, seed = C + draw(st.integers(0, 3)), draw(few), draw(few)
    layers = {
        "batch norm": BatchNorm2d(C, eps=draw(st.sampled_from([1e-5, 1e-3, 0.1]))),
        "relu": ReLU(),
        "sigmoid": Sigmoid(),
        "global pool": GlobalAvgPool2d(),
        "dropout": Dropout(draw(st.sampled_from([0.2, 0.5])), rng=seed),
        "shortcut": SubsampleShortcut(C, O, stride),
        "linear": Linear(C * H * W, O, rng=seed),
        "projection": Residual(Conv2d(C, O, 3, stride, 1, rng=seed), Conv2d(C, O, 1, stride, rng=seed)),
        "block": basic_block(C, O, stride, draw(st.sampled_from(["A", "B", "C"])), rng=seed),
        "conv, bn, relu": Sequential(Conv2d(C, O, 2, padding=1, rng=seed), BatchNorm2d(O), ReLU()),
    }
    name = draw(st.sampled_from(sorted(layers)))
    if name == "block" and N * -(-H // stride) * -(-W // stride) < 4:
        name = "batch norm"  # two values a channel come out as +1 and -1, whatever they were: hardly a derivative
    return layers[name], (N, C * H * W) if name == "linear" else shape


cases = st.one_of(convolutions(), poolings(), other_layers())


def check_drawn(case, seed):
    layer, shape = case
    check_layer(layer, normal(shape, seed), seed=seed, comparisons=200)


A_ROW_WITHOUT_PIXELS = Conv2d(6, 3, 2, stride=2, padding=(2, 1), dilation=(2, 1), groups=3, rng=0), (2, 6, 1, 1)


@example(A_ROW_WITHOUT_PIXELS, 0)  # every second column of an image of one column: there may be none
@settings(max_examples=30)
@given(cases, st.integers(0, 10**6))
def test_every_layer_is_accepted_over_random_geometries(case, seed):
    check_drawn(case, seed)


@pytest.mark.slow
@settings(max_examples=1000)
@given(cases, st.integers(0, 10**6))
def test_every_layer_is_accepted_over_a_thousand_geometries(case, seed):
    check_drawn(case, seed)
