"""Numbers that people hand over: what counts as one, and the sentence where it is none."""

import numpy as np
import pytest

from minires.checkpoint import load_checkpoint, load_inputs, read_progress, save_checkpoint
from minires.checks import generator, real, some, whole
from minires.data import Dataset, batches, load
from minires.data.batches import normalisation
from minires.data.images import by_mean_and_std, preprocessing, read_image
from minires.figures import plot_log
from minires.gradcheck import check_layer, check_loss
from minires.layer import Parameter
from minires.layers import AvgPool2d, BatchNorm2d, Conv2d, Linear, MaxPool2d
from minires.losses import mean_squared_error, softmax_cross_entropy
from minires.networks import cifar_resnet, imagenet_resnet, network
from minires.optim import SGD, clip_gradients, split_decay
from minires.pretrained import pretrained
from minires.run import Run, read_log, read_run_json
from minires.trace import Trace, difference, trace
from minires.train import evaluate, steps
from minires.weights import load_weights, read_weights, save_weights

WIDTHS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]


@pytest.mark.parametrize("kind", [int, *WIDTHS])
def test_a_whole_number_of_any_width_becomes_an_int(kind):
    assert type(whole("f", "n", kind(3), least=3, most=3)) is int


@pytest.mark.parametrize(
    "value", [True, np.True_, 3.0, np.float32(3), "3", None, [3], np.array(3), 3 + 0j, np.timedelta64(3), -1, 8]
)
def test_what_is_no_whole_number_or_out_of_range_is_refused_in_one_line(value):
    with pytest.raises(ValueError, match="^f: expected n, a whole number from 0 to 7, got [^\n]*[.] Why[?]$"):
        whole("f", "n", value, most=7, hint="Why?")
    with pytest.raises(TypeError):  # the same error can be caught as either
        whole("f", "n", value, most=7)


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int8(1), np.float64(1)])
def test_a_real_number_becomes_a_float(value):
    number = real("f", "p", value, least=0, most=1)
    assert type(number) is float and number == value


@pytest.mark.parametrize("value", [True, np.nan, np.inf, 10**400, "0.5", None, [0.5], np.zeros(1), 1j, -0.1, 1.1])
def test_what_is_no_real_number_or_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match="^f: expected p, a number from 0 to 1, got [^\n]*[.]$"):
        real("f", "p", value, least=0, most=1)


@pytest.mark.parametrize(
    "limits, words",
    [
        ({}, "a finite number, got nan"),
        ({"least": 0}, "a finite number of at least 0, got nan"),
        ({"above": 0}, "a finite number above 0, got nan"),
        ({"above": 0, "most": 1}, "a number above 0 and at most 1, got nan"),
    ],
)
def test_the_limits_are_told_in_words(limits, words):
    with pytest.raises(ValueError, match=f"expected p, {words}"):
        real("f", "p", np.nan, **limits)


def test_a_limit_that_is_above_excludes_itself():
    assert real("f", "p", 1, above=0) == 1
    with pytest.raises(ValueError, match="above 0, got 0"):
        real("f", "p", 0, above=0)


@pytest.mark.parametrize("rng", ["seed", 1.5, -1])
def test_what_makes_no_generator_is_named(rng):
    with pytest.raises(ValueError, match=f"f: expected rng, a numpy.random.Generator, a seed .*, got {rng!r}[.]"):
        generator("f", rng)
    assert generator("f", np.int64(3)).random() == generator("f", 3).random()


def test_a_long_value_is_cut_and_a_long_list_is_counted():
    with pytest.raises(ValueError) as caught:
        whole("f", "n", list(range(1000)))
    assert len(str(caught.value)) < 200
    assert (some([]), some(["a"]), some("abcdefg")) == ("nothing", "a", "a, b, c, d, e and 2 more")


NET = Linear(3, 2, rng=0)
RATE = SGD(NET.parameters(), lr=0.1)
LOGITS, RAGGED, MANY, IMAGES = np.zeros((2, 3)), [[1], [2, 3]], np.zeros((2, 3, 4, 5)), np.zeros((2, 3, 4, 5), np.uint8)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: softmax_cross_entropy(LOGITS, RAGGED),
            "cross_entropy: expected labels as an array; np.asarray says",
        ),
        (lambda: softmax_cross_entropy(LOGITS, [0, 1], weight=RAGGED), "expected weight as an array; np.asarray says"),
        (
            lambda: mean_squared_error(LOGITS, RAGGED),
            "mean_squared_error: expected target as an array; np.asarray",
        ),
        (lambda: Parameter(RAGGED), "Parameter: expected data as an array; np.asarray says"),
        (lambda: Dataset(RAGGED, [0], ["a"]), "Dataset 'images': expected images as an array; np.asarray says"),
        (lambda: Dataset(IMAGES, [0, 0], None), "Dataset 'images': expected classes, names of classes, got None"),
        (
            lambda: Dataset(IMAGES, [0, 0], ["a"], train="all"),
            "expected train, a Dataset or None, got 'all'",
        ),
        (lambda: normalisation(Dataset(IMAGES, [0, 0], ["a"]), np.ones(2)), r"batches: expected normalise=.*got array"),
        (
            lambda: Conv2d(3, 4, 3, stride=MANY),
            "Conv2d stride: expected a whole number of at least 1, or a pair of them",
        ),
        (lambda: MaxPool2d(2, stride=2**70), "MaxPool2d stride: expected a whole number of at most 1000000000000, got"),
        (lambda: AvgPool2d((2, 2**40), ceil_mode=True), "AvgPool2d kernel_size: expected a whole number of at most"),
        (lambda: Conv2d(3, 4, 3, dilation=2**70), "Conv2d dilation: expected a whole number of at most 1000000000000"),
        (lambda: Conv2d(3, 4, 3, padding=10**12), "Conv2d padding: expected a whole number of at most 100000000, got"),
        (lambda: cifar_resnet(MANY), "depth: expected 6n [+] 2 .*; got array"),
        (lambda: imagenet_resnet(MANY), "imagenet_resnet: expected depth 18, 34, .*, got array"),
        (lambda: network(MANY), "network: expected a name such as 'resnet-20', got array"),
        (lambda: pretrained(MANY), "pretrained: expected one of .*; got array"),
        (
            lambda: clip_gradients(Linear(3, 2), 1.0),
            "clip_gradients: expected parameters, a list such as net.parameters",
        ),
        (lambda: split_decay([Linear(3, 2)]), "split_decay: expected net, a Layer, got"),
        (lambda: check_layer(Linear(3, 2), LOGITS, modes=None), r"check_layer: expected modes out of .*, got None"),
        (lambda: check_layer(Linear(3, 2), LOGITS, comparisons="many"), "check_layer: expected comparisons, a whole"),
        (lambda: check_layer(Linear(3, 2), LOGITS, seed=None), "check_layer: expected seed, a whole number"),
        (lambda: check_layer(MANY, LOGITS), "check_layer: expected a layer, an object .*, got array"),
        (lambda: check_loss(None, LOGITS), "check_loss: expected a loss, a function, got None"),
        (lambda: NET.train(IMAGES), "Linear.train: expected mode, True or False, got array"),
        (lambda: NET.load_state_dict({}, strict=MANY), "load_state_dict: expected strict, True or False, got array"),
        (lambda: load_weights(NET, {}, strict=MANY), "load_weights: expected strict, True or False, got array"),
        (lambda: load_weights(None, {}), "load_weights: expected net, a Layer, got None"),
        (lambda: save_weights(None, "w.npz"), "save_weights: expected net, a Layer, got None"),
        (lambda: save_weights(Linear(3, 2), "w.npz", names=["minires"]), r"save_weights: expected names as one of"),
        (lambda: plot_log(5), "plot_log: expected a log with at least one line, got 5. Has the run started"),
        (lambda: plot_log([None]), r"plot_log: expected a log with at least one line, got \[None\]"),
        (lambda: Conv2d(10**30, 4, 3), "Conv2d: expected in_channels, a whole number from 1 to 100000000, got 1000"),
        (lambda: Linear(3, 10**30), "Linear: expected out_features, a whole number from 1 to 100000000, got 1000"),
        (lambda: BatchNorm2d(10**30), "BatchNorm2d: expected num_features, a whole number from 1 to 100000000"),
        (lambda: SGD(np.array(3), lr=0.1), "SGD: expected a list of Parameters, got ndarray"),
        (
            lambda: clip_gradients([np.zeros(3)], 1.0),
            "clip_gradients: expected each of the parameters, a Parameter, got",
        ),
        (lambda: batches(Dataset(IMAGES, [0, 0], ["a"]), 1, augment="no"), "batches: expected augment, True or False"),
        (lambda: load(MANY), "dataset: expected one of cifar10, .*, got array"),
        (lambda: load("cifar10", data_dir=3), "data_dir: expected a path, got 3"),
        (lambda: preprocessing(["imagenet"]), "preprocessing: expected one of imagenet, .* got .'imagenet'"),
        (lambda: by_mean_and_std("abc", (1, 1, 1)), "by_mean_and_std: expected mean of shape .3,., red, green, blue"),
        (lambda: by_mean_and_std((0, 0, 0), (1, 1, 1), crop="32"), "by_mean_and_std: expected crop, a whole number"),
        (lambda: read_image(None, 32, 32), "read_image path: expected a path, got None"),
        (lambda: Run(None), "Run folder: expected a path, got None"),
        (lambda: Run(""), "Run folder: expected a path, got an empty one. Is a variable of the shell not set"),
        (lambda: Run("r", config={"seeds": {1, 2}}), "Run: expected config made of numbers, .*, got also a set"),
        (lambda: save_checkpoint("c.npz", NET, best=Run), "save_checkpoint: expected progress made of .* also a type"),
        (lambda: Run("r", config="resnet-20"), "Run: expected config, a dict, got 'resnet-20'"),
        (
            lambda: Run("r", deviations="half the steps"),
            "Run: expected deviations, a list of str, got 'half the steps'",
        ),
        (lambda: Run("r", save_every="2 min"), "Run: expected save_every, a finite number of at least 0, got '2 min'"),
        (lambda: read_log(5), "read_log path: expected a path, got 5"),
        (lambda: read_run_json(Run("r")), "read_run_json folder: expected a path, got <minires.run.Run"),
        (lambda: save_checkpoint(NET, "c.npz"), "save_checkpoint: expected net, a Layer, got 'c.npz'"),
        (lambda: save_checkpoint("c.npz", NET, 0.1), "save_checkpoint: expected optimizer, an Optimizer, got 0.1"),
        (lambda: save_checkpoint("c.npz", NET, RATE, 0.1), "save_checkpoint: expected schedule, a Schedule, got 0.1"),
        (
            lambda: save_checkpoint("c.npz", NET, rng=0),
            "save_checkpoint: expected rng, a numpy.random.Generator, got 0",
        ),
        (lambda: save_checkpoint("c.npz", NET, inputs="channel"), "save_checkpoint: expected inputs, a dict of norm"),
        (lambda: load_checkpoint(None, NET), "load_checkpoint path: expected a path, got None"),
        (lambda: load_checkpoint("c.npz", NET, RATE, rng=0), "load_checkpoint: expected rng, a numpy.random.Generator"),
        (lambda: load_inputs(NET), "load_inputs path: expected a path, got Linear"),
        (lambda: read_progress(3), "read_progress path: expected a path, got 3"),
        (lambda: save_weights(NET, None), "save_weights file: expected a path, got None"),
        (lambda: read_weights(NET), "read_weights file: expected a path, got Linear"),
        (lambda: trace("resnet-8", MANY, [0]), "trace: expected net, a Layer, got 'resnet-8'"),
        (lambda: difference("mine.npz", "ref.npz"), "difference: expected mine, a Trace, .*, got 'mine.npz'"),
        (lambda: Trace.load(3), "Trace.load path: expected a path, got 3"),
        (
            lambda: evaluate("resnet-8", Dataset(IMAGES, [0, 0], ["a"])),
            "evaluate: expected net, a Layer, got 'resnet-8'",
        ),
        (lambda: list(steps(None, RATE, [])), "train: expected net, a Layer, got None"),
        (lambda: list(steps(NET, 0.1, [])), "train: expected optimizer, an optimizer such as .*, got 0.1"),
        (lambda: list(steps(NET, RATE, None)), "steps: expected batches, pairs .x, target. such as .*, got None"),
        (
            lambda: list(steps(NET, RATE, [], loss=3.5)),
            "steps: expected loss, a function such as mean_squared_error, got",
        ),
    ],
)
def test_a_wrong_argument_is_named_in_one_line(call, message):
    with pytest.raises(ValueError, match=f"^[^\n]*{message}[^\n]*$"):
        call()
