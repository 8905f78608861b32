"""Who checks the checker: every mistake has to be rejected, by name, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from mutants import LAYER_MUTANTS, LAYERS, LOSS_MUTANTS, PlainLinear, edited

from minires.gradcheck import GradientError, check_layer, check_loss
from minires.layer import Layer, Parameter
from minires.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential, Sigmoid
from minires.losses import softmax_cross_entropy
from minires.networks import cifar_resnet


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape)


def x_of(shape):
    """A random x; "ties" has two pixels equal, both the largest of their window."""
    if shape != "ties":
        return normal(*shape)
    x = normal(2, 3, 4, 6)
    x[0, 0, 0, :2] = 5
    return x


@pytest.mark.parametrize("name", LAYER_MUTANTS)
def test_a_mistake_is_rejected_and_named(name):
    layer, old, new, shape, message = LAYER_MUTANTS[name]
    with pytest.raises(GradientError, match=message):
        check_layer(edited(layer, old, new), x_of(shape))


@pytest.mark.parametrize("name", LAYERS)
def test_without_the_mistake_the_layer_is_accepted(name):
    layer, shape = LAYERS[name]
    check_layer(layer, x_of(shape))


def test_an_edit_whose_text_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="expected 'no such text' once in the text of ReLU, got 0 times"):
        edited(ReLU(), "no such text", "")


def mutant(name):
    return edited(*LAYER_MUTANTS[name][:3])


@pytest.mark.parametrize("name", LOSS_MUTANTS)
def test_a_mistake_in_a_loss_is_rejected_and_named(name):
    mutant, correct, arguments, message = LOSS_MUTANTS[name]
    with pytest.raises(GradientError, match=message):
        check_loss(mutant, normal(4, 5), *arguments)
    check_loss(correct, normal(4, 5), *arguments)


# -- why it is done as it is done -----------------------------------------------------------------------------


def slope(layer, x, dy, at, h):
    """(L(x + h) - L(x - h)) / 2h for one entry of x, with L = sum(y * dy)."""
    above, below = x.copy(), x.copy()
    above[at] += h
    below[at] -= h
    return np.sum((layer.forward(above) - layer.forward(below)) * dy) / (2 * h)


@pytest.mark.parametrize("layer", [BatchNorm2d(3), mutant("batch norm: zeros")], ids=["correct", "returns zeros"])
def test_with_ones_as_upstream_gradient_a_batch_norm_that_returns_zeros_would_pass(layer):
    x = normal(4, 3, 2, 3)
    ones = np.ones_like(x)
    layer.forward(x)
    dx = layer.backward(ones)
    for at in np.ndindex(x.shape):
        assert slope(layer, x, ones, at, 1e-6) == pytest.approx(0, abs=1e-8)
    assert dx == pytest.approx(np.zeros_like(x), abs=1e-12)


def test_with_x_as_upstream_gradient_a_mask_taken_from_dy_would_pass():
    x = normal(4, 5)
    layer = mutant("relu: mask from dy")
    layer.forward(x)
    dx = layer.backward(x)
    for at in np.ndindex(x.shape):
        assert slope(layer, x, x, at, 1e-6) == pytest.approx(dx[at], rel=1e-6)
    with pytest.raises(GradientError, match="dx is wrong"):  # its dy differs from x, though both have seed 0
        check_layer(mutant("relu: mask from dy"), x, seed=0)


def test_a_correct_net_stays_far_below_the_tolerance():
    report = check_layer(Sequential(Conv2d(2, 3, 3, rng=0), BatchNorm2d(3), ReLU()), normal(2, 2, 6, 5))
    assert all(float(row[5]) < 5e-8 for row in report.rows)


# -- small mistakes in large places ---------------------------------------------------------------------------


ONE_WRONG = "dy.T @ self.x", "dy.T @ self.x * (1 + 0.001 * (np.arange(6000).reshape(100, 60) == 2831))"  # at [47, 11]


def test_one_wrong_entry_of_thousands_is_found_and_named():
    with pytest.raises(GradientError, match=r"weight.grad is wrong at . of .* Worst at \[47, 11\].* ratio 1.001"):
        check_layer(edited(PlainLinear(60, 100, rng=0), *ONE_WRONG), normal(3, 60))


class FlatRegionDoubled(Sigmoid):
    """Wrong by a factor of 2 only where the slope is below 1e-4."""

    def backward(self, dy):
        dx = super().backward(dy)
        return np.where(np.abs(dx) < 1e-4 * np.abs(dy), 2 * dx, dx)


def test_a_wrong_region_of_small_gradients_does_not_hide_behind_large_ones():
    x = normal(3, 7)
    x[:, 4] = [12, -13, 14]  # the slope there is about 1e-6
    with pytest.raises(GradientError, match=r"dx is wrong at 3 of 21 entries.* 4\].*a factor 2 too many"):
        check_layer(FlatRegionDoubled(), x)


class Doubled(Sigmoid):
    @np.errstate(under="ignore")
    def backward(self, dy):
        return 2 * super().backward(dy)


def test_the_message_says_in_which_line_a_backward_of_ones_own_begins():
    source = Path(__file__).read_text(encoding="utf-8")
    line = 2 + source[: source.index("class Doubled")].count("\n")
    with pytest.raises(GradientError, match=rf" Look at backward in test_gradcheck\.py, line {line}\.$"):
        check_layer(Doubled(), normal(2, 3))
    with pytest.raises(GradientError, match=r"subtract large numbers\?$"):  # of a layer of minires
        check_layer(Sigmoid(), np.full((2, 3), 30.0))


def test_a_whole_network_is_checked():
    net = cifar_resnet(8, shortcut="B", rng=0)
    report = check_layer(net, normal(2, 3, 8, 8), modes="train", comparisons=100)
    assert len(report.rows) == 1 + len(net.parameters())


def test_in_a_network_the_last_wrong_tensor_is_the_one_above_the_mistake():
    layers = [Linear(4, 4, rng=0), Sigmoid(), Linear(4, 4, rng=1), mutant("sigmoid: y"), Linear(4, 2, rng=2)]
    with pytest.raises(GradientError, match="dx is wrong") as caught:
        check_layer(Sequential(*layers), normal(3, 4), modes="train")
    *_, last = str(caught.value).splitlines()
    assert "2.bias.grad is wrong" in last  # the layer just below the wrong Sigmoid


def test_of_many_wrong_tensors_the_first_and_the_last_are_shown():
    layers = [layer for i in range(4) for layer in (Linear(4, 4, rng=i), Sigmoid())]
    net = Sequential(*layers, mutant("sigmoid: y"))
    with pytest.raises(GradientError, match=r"dx is wrong[^$]*and 4 more[^$]*6.bias.grad is wrong"):
        check_layer(net, normal(3, 4), modes="train")


# -- kinks ----------------------------------------------------------------------------------------------------


def test_a_few_kinks_are_left_out_and_counted():
    x = normal(2, 3, 4, 5)
    x[0, 0, 0, :4] = 0
    (row,) = check_layer(ReLU(), x, modes="train").rows
    assert row[6] == 4 + 3  # four entries, and the three directions that move all of them


def test_ties_of_maxima_are_kinks():
    (row,) = check_layer(MaxPool2d(2), x_of("ties"), modes="train").rows
    assert row[6] >= 2


def test_a_kink_within_reach_of_the_step_is_stepped_around():
    x = normal(3, 4)
    x[1, 2] = 2.0**-21  # half a step from 0
    (row,) = check_layer(ReLU(), x, modes="train").rows
    assert row[6] == 0


def test_a_kink_excuses_no_mistake_elsewhere():
    x = normal(2, 3, 4, 5)
    x[0, 0, 0, :4] = 0
    with pytest.raises(GradientError, match=r"dx is wrong at \d+ of 120"):
        check_layer(mutant("relu: no mask"), x)


@pytest.mark.parametrize("layer", [ReLU(), Sequential(Conv2d(3, 4, 1, bias=False, rng=0), ReLU())])
def test_nothing_is_said_where_nearly_all_is_kinks(layer):
    with pytest.raises(GradientError, match="meet a kink .* too many to say anything"):
        check_layer(layer, np.zeros((2, 3, 4, 5)))


# -- layers of one's own --------------------------------------------------------------------------------------


class OwnCache:
    """No Layer, and a cache of its own."""

    def __init__(self):
        self.weight = Parameter(np.float32([2, -1, 3]))

    def forward(self, x):
        self.x = x
        return self.weight.data * x if self.training else x

    def backward(self, dy):
        if not self.training:
            return dy
        self.weight.grad += np.sum(dy * self.x, axis=0)
        return self.weight.data * dy


def test_any_object_with_forward_and_backward_can_be_checked():
    report = check_layer(OwnCache(), normal(4, 3))
    assert [row[:2] for row in report.rows] == [
        ("train", "dx"),
        ("train", "weight.grad"),
        ("eval", "dx"),
        ("eval", "weight.grad"),
    ]


class OwnLayer(Layer):
    def forward(self, x):
        self.x = x
        return np.tanh(x)

    def backward(self, dy):
        return dy * (1 - np.tanh(self.x) ** 2)


class KeepsTheTuple(Layer):
    """A student's: right, but it sets _cache by hand and never clears it."""

    def forward(self, x):
        self._cache = (x,)
        return x**3

    def backward(self, dy):
        (x,) = self._cache
        return 3 * x**2 * dy


def test_a_layer_may_set_its_cache_by_hand():
    check_layer(KeepsTheTuple(), np.random.default_rng(0).normal(size=(2, 3)))


def test_a_layer_may_keep_its_cache_in_its_own_way():
    check_layer(OwnLayer(), normal(4, 3))


class NoBackwardYet(Layer):
    def forward(self, x):
        return x


def test_an_unwritten_backward_is_named():
    with pytest.raises(GradientError, match=r"NoBackwardYet.backward\(dy\) is not written yet"):
        check_layer(NoBackwardYet(), normal(4, 3))


class Logarithm(Layer):
    """y = log(weight) + x, which bears no negative weight."""

    def __init__(self):
        self.weight = Parameter(np.float32([0.5, 1, 2, 3]))

    def forward(self, x):
        return self._remember(np.log(self.weight.data) + x)

    def backward(self, dy):
        self._recall(dy)
        self.weight.grad += dy.sum(axis=0) / self.weight.data
        return dy


@pytest.mark.filterwarnings("ignore:invalid value encountered in log")
def test_parameters_stay_where_they_are_if_asked():
    with pytest.raises(GradientError, match="y is not finite.*jitter=False"):
        check_layer(Logarithm(), normal(3, 4))
    check_layer(Logarithm(), normal(3, 4), jitter=False)


def test_parameters_of_any_memory_order_are_moved():
    layer = Linear(3, 4, rng=0)
    layer.weight.data = np.asfortranarray(layer.weight.data)
    check_layer(layer, normal(2, 3))


# -- what it leaves alone, and what it returns ----------------------------------------------------------------


def test_the_layer_and_x_stay_as_they_were():
    net = Sequential(
        Conv2d(2, 3, 3, rng=0), BatchNorm2d(3), Dropout(0.5, rng=0), Flatten(), Linear(36, 2, rng=0)
    ).eval()
    net.train()
    x = np.random.default_rng(1).normal(size=(2, 2, 5, 6)).astype(np.float32)
    y = net.forward(x)
    state, x_before, random = net.state_dict(), x.copy(), net[2].rng.bit_generator.state
    check_layer(net, x, comparisons=50)
    after = net.state_dict()
    assert all(np.array_equal(state[name], after[name]) for name in state)
    assert all(not parameter.grad.any() and parameter.data.dtype == np.float32 for parameter in net.parameters())
    assert np.array_equal(x, x_before) and net.training and net[2].rng.bit_generator.state == random
    net.backward(y)  # its cache is still its own


def test_the_same_seed_gives_the_same_report():
    layer, x = Conv2d(2, 3, 3, rng=0), normal(2, 2, 9, 8)
    assert str(check_layer(layer, x, seed=3)) == str(check_layer(layer, x, seed=3))
    assert str(check_layer(layer, x, seed=3)) != str(check_layer(layer, x, seed=4))


def test_the_report_says_what_was_compared():
    report = check_layer(Linear(5, 4, rng=0), normal(3, 5), modes="train")
    lines = str(report).splitlines()
    assert lines[0] == "Linear(5, 4): backward is the derivative of forward."
    assert lines[1].split() == [
        "mode",
        "tensor",
        "shape",
        "entries",
        "directions",
        "worst",
        "error",
        "kinks",
        "hidden",
        "sees",
    ]
    assert lines[3].startswith("train  weight.grad  (4, 5)  20 of 20  3  ")


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"weight": np.array([1, 2, 0.5, 0, 0.7])}])
def test_cross_entropy_is_accepted_with_options(options):
    check_loss(softmax_cross_entropy, normal(4, 5), np.array([0, 1, 4, 1]), **options)


@pytest.mark.parametrize(
    "layer, x, error, message",
    [
        (ReLU(), np.arange(4), TypeError, "expected x to be an array of floats, got int64"),
        (ReLU(), [1.0, 2.0], TypeError, "expected x to be an array of floats, got list"),
        (ReLU(), np.ma.ones(2), TypeError, "expected x to be an array of floats, got MaskedArray"),
        (ReLU(), np.zeros((0, 3)), ValueError, r"expected x to hold finite numbers, got the empty shape \(0, 3\)"),
        (ReLU(), np.array([1, np.nan]), ValueError, "expected x to hold finite numbers, got NaN"),
        (ReLU, normal(2, 3), TypeError, r"got the class ReLU itself"),
        (np.tanh, normal(2, 3), TypeError, r"expected a layer, .* without forward"),
        (Linear(5, 4, rng=0), normal(2, 3), ValueError, r"Linear\(5, 4\): expected x of shape \(N, 5\), got \(2, 3\)"),
    ],
)
def test_wrong_use_is_an_error_in_one_line(layer, x, error, message):
    with pytest.raises(error, match=message) as caught:
        check_layer(layer, x)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loss", [int, ReLU(), lambda x: (0.0, x)], ids=["a type", "a layer", "too few arguments"])
def test_a_loss_that_does_not_take_the_arguments_is_named(loss):
    with pytest.raises(
        TypeError, match=r"^check_loss: expected a loss, a function of the arguments after it, got .*\)\.$"
    ):
        check_loss(loss, normal(2, 3), normal(2, 3))


def test_an_array_given_as_jitter_is_named():
    with pytest.raises(TypeError, match="check_layer: expected jitter, True or False, got array"):
        check_layer(ReLU(), normal(2, 3), jitter=normal(2, 3))


def test_an_unknown_mode_is_named():
    with pytest.raises(ValueError, match=r"expected modes out of \('train', 'eval'\), got 'training'"):
        check_layer(ReLU(), normal(2, 3), modes="training")
