"""The training loop: what it logs, that it goes on where it was stopped, and what it says when numbers explode."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minires.checkpoint import CheckpointError
from minires.data.batches import batches
from minires.data.dataset import Dataset
from minires.layers import BatchNorm2d, Conv2d, Dropout, GlobalAvgPool2d, Identity, Linear, ReLU, Sequential
from minires.losses import mean_squared_error, softmax_cross_entropy
from minires.networks import cifar_resnet
from minires.optim import SGD, Cosine, Schedule, WarmUpUntil
from minires.run import Run, read_log, read_run_json
from minires.train import Diverged, Interrupted, evaluate, steps, train


def coloured(size, seed=0):
    """Three classes, each brighter in one colour: easy to learn for a tiny net."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, size)
    images = rng.integers(0, 100, (size, 3, 8, 8))
    images[np.arange(size), labels] += 60
    return Dataset(images.astype(np.uint8), labels, ["red", "green", "blue"])


TRAIN, TEST = coloured(70), coloured(40, seed=1)
STEPS = 30  # of 16 images: an epoch is 5 steps, the last with 6 images


def tiny_net(*more):
    return Sequential(
        conv=Conv2d(3, 4, 3, padding=1, bias=False, rng=0),
        bn=BatchNorm2d(4),
        relu=ReLU(),
        dropout=Dropout(0.2, rng=1),
        pool=GlobalAvgPool2d(),
        linear=Linear(4, 3, rng=2),
        **{f"more{i}": layer for i, layer in enumerate(more)},
    )


def tiny_run(folder=None, *more, save_every=1e9, seed=3, **options):
    """Train a tiny net; return (net, lines)."""
    net = tiny_net(*more)
    options = {"steps": STEPS, "batch_size": 16, "log_every": 3, "test_every": 6} | options
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    run = folder and Run(folder, {"seed": seed}, save_every=save_every)
    schedule = options.pop("schedule", None) or WarmUpUntil(Cosine(0.1, STEPS), error=0.9)
    return net, train(net, optimizer, TRAIN, TEST, schedule=schedule, rng=seed, run=run, bar=False, **options)


def without_times(lines):
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in lines]


@pytest.fixture(scope="module")
def straight():
    """The run that nobody interrupted."""
    net, lines = tiny_run()
    return net.state_dict(), without_times(lines)


def assert_same_run(straight, net, lines, folder):
    for name, array in straight[0].items():
        np.testing.assert_array_equal(net.state_dict()[name], array, err_msg=name)
    assert without_times(lines) == straight[1]
    assert without_times(read_log(folder / "log.jsonl")) == straight[1]


def test_it_does_what_the_loop_of_a_notebook_does():
    def notebook(net):
        optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
        rng = np.random.default_rng(3)
        for _ in range(2):
            for x, labels in batches(TRAIN, batch_size=16, rng=rng):
                logits = net.forward(x)
                loss, dlogits = softmax_cross_entropy(logits, labels)
                net.zero_grad()
                net.backward(dlogits)
                optimizer.step()
        return net

    net = tiny_net()
    train(net, SGD(net.parameters(), lr=0.1, momentum=0.9), TRAIN, steps=10, batch_size=16, rng=3, bar=False)
    for name, array in notebook(tiny_net()).state_dict().items():
        np.testing.assert_array_equal(net.state_dict()[name], array, err_msg=name)


def test_a_tiny_net_learns_and_the_log_says_so(straight):
    tests = [line for line in straight[1] if line["kind"] == "test"]
    assert [line["step"] for line in tests] == [6, 12, 18, 24, 30]
    assert tests[-1]["error"] < 0.2 < tests[0]["error"]
    lines = [line for line in straight[1] if line["kind"] == "train"]
    assert [line["step"] for line in lines] == list(range(3, 31, 3))
    assert sum(line["images"] for line in lines) == 6 * 70 and lines[-1]["epoch"] == 6
    assert lines[-1]["lr"] == Cosine(0.1, STEPS).lr(STEPS - 1)


def test_a_train_line_is_the_mean_over_its_images():
    net = tiny_net()
    optimizer = SGD(net.parameters(), lr=0)  # the net stays as it is, so one number describes it
    lines = train(net, optimizer, TRAIN, steps=5, batch_size=16, augment=False, rng=0, bar=False)
    (line,) = lines
    wrong, losses = 0, []
    same = tiny_net()
    for x, labels in batches(TRAIN, 16, np.random.default_rng(0), augment=False):
        logits = same.forward(x)
        loss, _ = softmax_cross_entropy(logits, labels)
        losses.append(loss * len(labels))
        wrong += (logits.argmax(1) != labels).sum()
    assert line["images"] == 70
    assert line["error"] == wrong / 70 and line["loss"] == pytest.approx(sum(losses) / 70, rel=1e-12)


def test_evaluate_measures_in_evaluation_mode_and_leaves_no_trace():
    net = tiny_net()
    net.dropout.eval()  # a mode of its own, to be kept
    state, generator = net.state_dict(), net.dropout.rng.bit_generator.state
    error, loss = evaluate(net, TEST, batch_size=7)
    assert net.training and net.conv.training and not net.dropout.training
    assert net.dropout.rng.bit_generator.state == generator
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    x, labels = next(iter(batches(TEST, len(TEST))))
    logits = net.eval().forward(x)
    assert error == np.mean(logits.argmax(1) != labels)
    assert loss == pytest.approx(softmax_cross_entropy(logits, labels)[0], rel=1e-5)


# -- whose parameters, in which mode ------------------------------------------------------------------------------


def test_an_optimizer_of_another_net_is_refused_by_name(tmp_path):
    net, other = tiny_net(), tiny_net()
    optimizer = SGD(other.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"moves parameter 0 \(4, 3, 3, 3\), .* and not its conv.weight, bn.weight, "):
        train(net, optimizer, TRAIN, steps=2, run=Run(tmp_path / "run"), bar=False)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="the optimizer moves parameter 0"):
        next(steps(net, optimizer, batches(TRAIN, 16)))


def test_an_optimizer_made_before_the_head_was_replaced_is_refused_by_name():
    net = tiny_net()
    optimizer = SGD(net.parameters(), lr=0.1)
    net.linear = Linear(4, 3, rng=5)
    expected = r"moves parameter 3 \(3, 4\), parameter 4 \(3,\), which the net does not have, and not its linear.weight"
    with pytest.raises(ValueError, match=expected + ", linear.bias. Was it made .* before a layer"):
        train(net, optimizer, TRAIN, steps=2, bar=False)


def test_a_part_of_the_parameters_is_fine_and_the_others_stay():
    net = tiny_net()
    before = net.state_dict()
    train(net, SGD(net.linear.parameters(), lr=0.1), TRAIN, steps=2, batch_size=16, bar=False)
    changed = [name for name, array in net.state_dict().items() if not np.array_equal(array, before[name])]
    assert changed == ["bn.running_mean", "bn.running_var", "linear.weight", "linear.bias"]


def test_a_layer_put_into_evaluation_mode_stays_frozen_through_tests_and_resumption(tmp_path):
    def frozen_run(folder, steps):
        net = tiny_net()
        net.bn.eval()
        run = folder and Run(folder, save_every=0)
        train(
            net,
            SGD(net.parameters(), lr=0.1),
            TRAIN,
            TEST,
            steps=steps,
            batch_size=16,
            test_every=2,
            run=run,
            bar=False,
        )
        assert net.training and net.conv.training and not net.bn.training
        return net

    net = frozen_run(None, 6)
    np.testing.assert_array_equal(net.bn.running_mean.data, 0)
    np.testing.assert_array_equal(net.bn.running_var.data, 1)
    assert not np.array_equal(net.bn.weight.data, np.ones(4))
    frozen_run(tmp_path, 4)
    for name, array in frozen_run(tmp_path, 6).state_dict().items():
        np.testing.assert_array_equal(array, net.state_dict()[name])
    thawed = tiny_net()
    with pytest.raises(CheckpointError, match=r"holds a run with frozen = \['bn'\], this one has frozen = nothing"):
        train(
            thawed,
            SGD(thawed.parameters(), lr=0.1),
            TRAIN,
            TEST,
            steps=6,
            batch_size=16,
            test_every=2,
            run=Run(tmp_path),
        )


def test_a_net_in_evaluation_mode_as_a_whole_is_trained():
    net = tiny_net().eval()
    train(net, SGD(net.parameters(), lr=0.1), TRAIN, steps=2, batch_size=16, bar=False)
    assert net.bn.training and not np.array_equal(net.bn.running_mean.data, np.zeros(4))


# -- one step after another ---------------------------------------------------------------------------------------


def test_steps_train_with_any_loss_and_schedule():
    net, rng = Linear(3, 2, rng=0), np.random.default_rng(0)
    x, target = rng.standard_normal((8, 3)), rng.standard_normal((8, 2))
    optimizer, rates, losses = SGD(net.parameters(), lr=9), [], []
    for step in steps(net, optimizer, [(x, target)] * 4, loss=mean_squared_error, schedule=Cosine(0.2, 4), first=1):
        rates.append(optimizer.lr)
        losses.append(step.loss)
    assert rates == [Cosine(0.2, 4).lr(i) for i in (1, 2, 3, 4)] and step.number == 5
    same = Linear(3, 2, rng=0)
    assert losses[0] == mean_squared_error(same.forward(x), target)[0] and losses[3] < losses[0]


def test_a_schedule_observes_the_error_of_each_batch():
    class Listens(Schedule):
        def observe(self, error):
            seen.append(error)

    seen, net = [], tiny_net()
    found = [
        step.wrong / len(step.target)
        for step in steps(net, SGD(net.parameters(), lr=0.1), batches(TRAIN, 16, 0), schedule=Listens(0.1))
    ]
    assert seen == found and len(seen) == 5


def test_a_step_that_would_spoil_a_parameter_is_not_taken():
    net = Linear(3, 2, rng=0)
    net.weight.data *= 100
    before = net.state_dict()
    x = np.full((4, 3), 3e38, np.float32)
    with pytest.raises(Diverged, match="^Step 1, learning rate 0.1: NaN or infinity, first in the output of the net"):
        next(steps(net, SGD(net.parameters(), lr=0.1), [(x, np.zeros(4, int))]))
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_gradients_whose_squares_overflow_are_finite():
    net = Linear(1, 1, bias=False, rng=0)
    big = [(np.full((1, 1), 1e30, np.float32), np.zeros((1, 1), np.float32))]
    taken = next(steps(net, SGD(net.parameters(), lr=1e-60), big, loss=lambda y, t: (0.0, np.ones_like(y))))
    assert taken.number == 1 and net.weight.grad[0, 0] == np.float32(1e30)


# -- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"steps": 1e4}, r"train: expected steps, a whole number of at least 0, got 10000.0. Use int\(10000.0\)"),
        ({"steps": -1}, "train: expected steps, a whole number"),
        ({"batch_size": 0}, "train: expected batch_size, a whole number of at least 1, got 0"),
        ({"test_every": 0}, "train: expected test_every, a whole number of at least 1, got 0"),
        ({"log_every": "often"}, "train: expected log_every"),
        ({"schedule": 0.1}, r"train: expected schedule, a Schedule such as Schedule\(0.1\) .*, got 0.1"),
        ({"schedule": Cosine}, "train: expected schedule, .* got the class Cosine"),
        ({"run": "runs/mine"}, r"train: expected run, a Run such as Run\(.runs/mine.\), got 'runs/mine'"),
        ({"train_set": (TRAIN, TEST)}, r"train: expected train_set, a Dataset, as in .*, got \(Dataset"),
        ({"test_set": TEST.images}, "train: expected test_set, a Dataset"),
        ({"optimizer": SGD}, r"train: expected optimizer, an optimizer such as SGD\(.*, got the class SGD"),
        ({"net": "resnet-20"}, "train: expected net, a Layer, got 'resnet-20'"),
        ({"rng": "seed"}, "train: expected rng"),
        ({"normalise": "pixels"}, "normalise='pixel_mean'"),
    ],
)
def test_arguments_of_the_wrong_kind_get_one_line(changes, message):
    net = tiny_net()
    arguments = {
        "net": net,
        "optimizer": SGD(net.parameters(), lr=0.1),
        "train_set": TRAIN,
        "test_set": TEST,
        "steps": 2,
    }
    with pytest.raises(ValueError, match=message) as caught:
        train(**arguments | changes)
    assert "\n" not in str(caught.value)


# -- stopping and going on ----------------------------------------------------------------------------------------


class Raise(Identity):
    """Sends its own process a signal in one of its forwards."""

    def __init__(self, number, at):
        self.number, self.left = number, at

    def forward(self, x):
        self.left -= self.training
        if self.left == 0 and self.training:
            signal.raise_signal(self.number)
        return super().forward(x)


@pytest.mark.parametrize("number, at", [(signal.SIGINT, 8), (signal.SIGTERM, 20), (signal.SIGINT, 5)])
def test_ctrl_c_saves_and_the_run_goes_on_bit_for_bit(tmp_path, straight, number, at, capsys):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"Stopped at step {at} of {STEPS}; saved in"):
        tiny_run(tmp_path, Raise(number, at))
    assert "saving after this step; once more stops at once" in capsys.readouterr().err
    assert signal.getsignal(number) == before
    assert read_run_json(tmp_path)["status"].startswith("Interrupted")
    net, lines = tiny_run(tmp_path, Identity())
    assert_same_run(straight, net, lines, tmp_path)
    assert read_run_json(tmp_path)["status"] == "finished"
    assert [session["from_step"] for session in read_run_json(tmp_path)["sessions"]] == [0, at]


def test_a_run_leaves_ctrl_c_as_it_was(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    tiny_run(tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_ctrl_c_in_the_last_step_still_stops_what_would_come_next(tmp_path):
    with pytest.raises(Interrupted, match="after the last step"):
        tiny_run(tmp_path, Raise(signal.SIGINT, STEPS))
    assert read_run_json(tmp_path)["status"] == "finished"


SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
from test_train import Identity, tiny_run
class Slow(Identity):
    def forward(self, x):
        time.sleep(0.04)
        return super().forward(x)
tiny_run({folder!r}, Slow(), save_every=0.05)
"""


def test_killed_at_any_moment_it_goes_on_bit_for_bit(tmp_path, straight):
    script = SLOW.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "run"))
    log, kills = tmp_path / "run" / "log.jsonl", 0
    for lines in (1, 4, 9):
        process = subprocess.Popen([sys.executable, "-c", script])
        until = time.monotonic() + 100
        while len(read_log(log)) < lines and process.poll() is None and time.monotonic() < until:
            time.sleep(0.003)
        time.sleep(0.013 * lines % 0.05)
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills >= 2  # on a slow day the last one may have finished before it was killed
    net, lines = tiny_run(tmp_path / "run", Identity())
    assert_same_run(straight, net, lines, tmp_path / "run")
    steps = [session["from_step"] for session in read_run_json(tmp_path / "run")["sessions"]]
    assert steps == sorted(steps) and steps[-1] > 0


class Crash(Identity):
    """As if the process died: nothing that train could do about it."""

    def __init__(self, at):
        self.left = at

    def forward(self, x):
        self.left -= self.training
        if self.left == 0 and self.training:
            raise MemoryError("died")
        return super().forward(x)


@pytest.mark.parametrize("at", [1, 6, 7, 17])
def test_after_a_crash_it_goes_on_from_the_latest_checkpoint(tmp_path, straight, at):
    with pytest.raises(MemoryError):
        tiny_run(tmp_path, Crash(at))
    with pytest.raises(MemoryError):
        tiny_run(tmp_path, Crash(8), save_every=0)  # now one after each step
    net, lines = tiny_run(tmp_path, Identity())
    assert_same_run(straight, net, lines, tmp_path)


def test_a_finished_run_is_not_trained_again(tmp_path, straight):
    tiny_run(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    net, lines = tiny_run(tmp_path, Crash(1))
    assert_same_run(straight, net, lines, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "options, message",
    [
        ({"steps": 31}, "holds a run with steps = 30, this one has steps = 31"),
        ({"schedule": Schedule(0.2)}, r"with schedule = WarmUpUntil\(.*this one has schedule = Schedule\(base=0.2\)"),
        ({"seed": 4}, "holds a run with seed = 3, this one has seed = 4"),
    ],
)
def test_a_folder_with_another_configuration_is_refused(tmp_path, options, message):
    tiny_run(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        tiny_run(tmp_path, **options)


def test_a_folder_with_a_run_on_other_images_is_refused(tmp_path, monkeypatch):
    tiny_run(tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "TRAIN", coloured(70, seed=5))
    with pytest.raises(CheckpointError, match=r"with train_set = 70 images, checksum \w+, this one has"):
        tiny_run(tmp_path)


def test_the_log_is_a_json_object_a_line(tmp_path):
    tiny_run(tmp_path)
    texts = (tmp_path / "log.jsonl").read_text().splitlines()
    assert all(isinstance(json.loads(text), dict) for text in texts) and len(texts) == 15


# -- numbers that are not finite ----------------------------------------------------------------------------------


def test_a_diverging_run_names_the_layer_and_keeps_the_last_good_checkpoint(tmp_path):
    net = cifar_resnet(8, rng=0)
    images = Dataset(np.tile(TRAIN.images, (1, 1, 2, 2)), TRAIN.labels, TRAIN.classes)

    def attempt(lr):
        optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
        run = Run(tmp_path, save_every=0)
        train(net, optimizer, images, steps=20, batch_size=16, schedule=lr, run=run, bar=False)

    class Explodes(Schedule):
        def lr(self, iteration):
            return 0.01 if iteration < 3 else 1e30

    with pytest.raises(Diverged, match=r"tep \d.*: NaN or infinity, first in [\w.]+.*Lower the learning rate"):
        attempt(Explodes(0.01))
    assert "Diverged: " in read_run_json(tmp_path)["status"]
    with np.load(tmp_path / "checkpoint.npz") as file:
        assert all(np.isfinite(file[name]).all() for name in file.files if name != "about")
        assert json.loads(str(file["about"]))["progress"]["step"] >= 3


class Poison(Identity):
    """NaN forward, or infinity backward, at one place of the array, from the third step on."""

    def __init__(self, forward=False, backward=False):
        self.where, self.calls = (forward, backward), 0

    def spoil(self, array):
        array = array.copy()
        array.flat[1] = np.nan
        return array

    def forward(self, x):
        self.calls += 1
        y = super().forward(x)
        return self.spoil(y) if self.where[0] and self.calls > 2 else y

    def backward(self, dy):
        dx = super().backward(dy)
        return self.spoil(dx) if self.where[1] and self.calls > 2 else dx


@pytest.mark.parametrize(
    "poison, message",
    [
        (
            Poison(forward=True),
            r"^Step 3, learning rate 0.1: NaN or infinity, first in the output of more1, going forward",
        ),
        (Poison(backward=True), r"^Step 3, .* first in the gradient of more1, going backward"),
    ],
)
def test_the_first_layer_with_nan_is_named(poison, message):
    with pytest.raises(Diverged, match=message):
        tiny_run(None, Identity(), poison, Identity(), schedule=Schedule(0.1))


def test_a_gradient_of_a_parameter_is_named():
    class Scaled(Linear):
        def backward(self, dy):
            dx = super().backward(dy)
            self.bias.grad[0] = np.inf
            return dx

    with pytest.raises(Diverged, match="first in the gradient of more0.bias, going backward"):
        tiny_run(None, Scaled(3, 3, rng=0))


@pytest.mark.parametrize("folder, message", [(True, "After step 1"), (False, "Step 2, learning rate 0.1")])
def test_a_parameter_that_an_update_spoilt_is_named_and_not_saved(tmp_path, folder, message):
    class Spoils(SGD):
        def step(self):
            super().step()
            self.parameters()[0].data[0] = np.inf

    net, run = tiny_net(), Run(tmp_path, save_every=0) if folder else None
    with pytest.raises(Diverged, match=f"^{message}: NaN or infinity, first in conv.weight, a parameter"):
        train(net, Spoils(net.parameters(), lr=0.1), TRAIN, steps=9, batch_size=16, run=run, bar=False)
    assert not (tmp_path / "checkpoint.npz").exists()


def test_nan_in_the_batch_is_told_apart(monkeypatch):
    def spoilt(*arguments, **options):
        for x, labels in batches(*arguments, **options):
            x[0, 0, 0, 0] = np.nan
            yield x, labels

    monkeypatch.setattr("minires.train.batches", spoilt)
    with pytest.raises(Diverged, match=r"first in the batch x itself. Check the data."):
        tiny_run()


def test_an_error_that_has_nothing_to_do_with_nan_stays_what_it_was():
    with pytest.raises(ValueError, match="expected x of shape"):
        tiny_run(None, Linear(7, 3, rng=0))


def test_evaluation_of_a_spoilt_net_names_the_layer():
    net = tiny_net()
    net.bn.running_var.data[1] = np.nan
    with pytest.raises(Diverged, match="^Evaluation: NaN or infinity, first in the output of bn, going forward"):
        evaluate(net, TEST)
    assert net.training
