"""Run folders under attack: kills and failures at every file operation, damaged files, files that were taken away."""

import io
import json
import os
import random
import sys

import numpy as np
import pytest
from test_train import TEST, TRAIN, tiny_net, without_times

from minires.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from minires.layers import Dropout, Identity, Linear, Sequential
from minires.optim import SGD, Adam, Cosine, MultiStep, Schedule
from minires.run import Run, read_log, read_run_json
from minires.train import train

STEPS = 6
OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.link"}  # as sys.addaudithook calls them


def short_run(folder, steps=STEPS, schedule=None, optimizer=SGD, net=None, **options):
    """A run of a few steps with a checkpoint after each; returns (state of the net, lines without times)."""
    net = net or tiny_net()
    run = folder and Run(folder, {"seed": 3}, save_every=0)
    options = {"batch_size": 16, "log_every": 1, "test_every": 4, "rng": 3, "bar": False} | options
    lines = train(
        net, optimizer(net.parameters(), lr=0.1), TRAIN, TEST, steps=steps, schedule=schedule, run=run, **options
    )
    return net.state_dict(), without_times(lines)


def assert_same(one, other):
    for name, array in one[0].items():
        np.testing.assert_array_equal(array, other[0][name], err_msg=name)
    assert one[1] == other[1]


@pytest.fixture(scope="module")
def straight():
    """The run that nobody interrupted."""
    return short_run(None)


class Attack:
    """Strikes at the k-th thing of one kind that is done to the files of a folder, and at all later ones.

    An "operation" is one of ``OPERATIONS``; a "write" is struck when half of its bytes have reached the disk, an
    "fsync" before it begins.
    """

    folder = None

    def begin(self, folder, kind, k, strike):
        self.folder, self.kind, self.left, self.strike, self.seen = str(folder), kind, k, strike, 0

    def due(self, kind):
        self.seen += kind == self.kind
        return kind == self.kind and self.seen >= self.left > 0

    def __call__(self, event, arguments):
        if self.folder and event in OPERATIONS and any(str(a).startswith(self.folder) for a in arguments[:2]):
            if self.due("operation"):
                self.strike()

    def open(self, path, mode="r", *arguments, **options):
        if self.folder and mode in ("ab", "xb") and str(path).startswith(self.folder):
            return io.BufferedWriter(HalfWritten(path, mode))
        return real_open(path, mode, *arguments, **options)

    def fsync(self, descriptor):
        if self.folder and self.due("fsync"):
            self.strike()
        real_fsync(descriptor)


class HalfWritten(io.FileIO):
    def write(self, data):
        if attack.folder and attack.due("write"):
            super().write(memoryview(data)[: len(data) // 2])
            attack.strike()
        return super().write(data)


real_open, real_fsync, attack = open, os.fsync, Attack()
sys.addaudithook(attack)  # it cannot be taken away again


@pytest.fixture(params=["operation", "write", "fsync"])
def kind(request, monkeypatch):
    """What is struck."""
    monkeypatch.setattr("builtins.open", attack.open)
    monkeypatch.setattr(os, "fsync", attack.fsync)
    monkeypatch.setattr("minires.run.machine", dict)  # it asks git, which takes longer than all else
    return request.param


def moments(folder, kind):
    """The numbers of the things to strike in a short run, in one that goes on too: all, but of the many writes some."""
    attack.begin(folder, kind, -1, None)
    try:
        short_run(folder)
    finally:
        attack.folder = None
    assert attack.seen > 20
    return range(1, attack.seen + 1, 1 + attack.seen // 40)


def killed_at(folder, kind, k):
    """Start a short run in a process that dies at the k-th thing done to files; return whether it did."""
    child = os.fork()
    if child == 0:
        attack.begin(folder, kind, k, lambda: os._exit(9))
        try:
            short_run(folder)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
def test_a_kill_at_any_moment_of_work_on_files_leaves_a_folder_that_goes_on(tmp_path, straight, kind):
    for k in moments(tmp_path / "count", kind):
        folder = tmp_path / str(k)
        assert killed_at(folder, kind, k)
        killed_at(folder, "operation", 7)  # and once more, soon after the start of the second session
        assert_same(short_run(folder), straight)
        assert read_run_json(folder)["status"] == "finished"
        left = {path.name for path in folder.iterdir()} - {"log.jsonl.before", "log.jsonl.before2"}
        assert left == {"checkpoint.npz", "checkpoint.npz.previous", "log.jsonl", "run.json"}


@pytest.mark.slow
def test_a_failure_at_any_moment_of_work_on_files_is_one_line_and_leaves_a_folder_that_goes_on(
    tmp_path, straight, kind
):
    def full():
        raise OSError(28, "No space left on device")

    for k in moments(tmp_path / "count", kind):
        folder = tmp_path / str(k)
        attack.begin(folder, kind, k, full)
        try:
            short_run(folder)  # some may fail without harm: the removal of a lock
        except CheckpointError as error:
            assert "could not be" in str(error) and "\n" not in str(error)
        finally:
            attack.folder = None
        assert_same(short_run(folder), straight)
        assert not list(folder.glob("*.new"))


def test_the_first_kill_leaves_a_folder_that_can_be_used(tmp_path, straight):
    (tmp_path / "log.jsonl").touch()  # as old versions left it: the log, and no run.json yet
    assert_same(short_run(tmp_path), straight)


def test_a_log_of_somebody_else_is_not_touched(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(CheckpointError, match="holds a run but no run.json to say which. Use another folder"):
        short_run(tmp_path)
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 1}\n'


def test_two_checkpoints_cut_short_are_named_and_both_kept(tmp_path):
    short_run(tmp_path)
    for name in ("checkpoint.npz", "checkpoint.npz.previous"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:99])
    with pytest.raises(CheckpointError, match="checkpoint.npz and checkpoint.npz.previous are both damaged") as caught:
        short_run(tmp_path)
    assert "previous.previous" not in str(caught.value)
    assert (tmp_path / "checkpoint.npz").stat().st_size == 99


# -- what was taken away or damaged -------------------------------------------------------------------------------


def test_a_finished_run_without_its_checkpoint_is_not_trained_again(tmp_path):
    short_run(tmp_path)
    for path in tmp_path.glob("checkpoint*"):
        path.unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match="a finished run, but its checkpoint.npz is gone. Put it back"):
        short_run(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def unfinished(folder):
    """A run that died in its fifth step."""

    class Dies(Identity):
        def __init__(self):
            self.left = 5

        def forward(self, x):
            self.left -= self.training
            if not self.left:
                raise MemoryError
            return super().forward(x)

    with pytest.raises(MemoryError):
        short_run(folder, net=tiny_net(Dies()))


def test_the_log_of_an_unfinished_run_without_its_checkpoint_is_kept(tmp_path, capsys):
    straight = short_run(None, net=tiny_net(Identity()))
    unfinished(tmp_path)
    log = (tmp_path / "log.jsonl").read_bytes()
    for path in tmp_path.glob("checkpoint*"):
        path.unlink()
    assert_same(short_run(tmp_path, net=tiny_net(Identity())), straight)
    assert (tmp_path / "log.jsonl.before").read_bytes() == log
    assert "the log as it was is kept as log.jsonl.before" in capsys.readouterr().err


@pytest.mark.parametrize(
    "tail",
    [
        b"\xff\xfe",
        b"5\n",
        b"[]\n",
        b"null\n",
        b"\0\0\0\0",
        b'{"kind": "train"}\n',
        b'{"kind": "train", "step": 1}\n',  # of a step that the checkpoint has counted
        b"\n",
        pytest.param(99999 * b"[", id="nested"),
    ],
)
def test_a_damaged_end_of_the_log_is_left_out_and_said(tmp_path, capsys, tail):
    straight = short_run(None, net=tiny_net(Identity()))
    unfinished(tmp_path)
    with open(tmp_path / "log.jsonl", "ab") as file:
        file.write(tail)
    log = (tmp_path / "log.jsonl").read_bytes()
    assert_same(short_run(tmp_path, net=tiny_net(Identity())), straight)
    assert without_times(read_log(tmp_path / "log.jsonl")) == straight[1]
    assert "log.jsonl: damaged after line" in capsys.readouterr().err
    assert (tmp_path / "log.jsonl.before").read_bytes() == log


@pytest.mark.parametrize("finished", [False, True])
def test_a_log_halved_between_two_starts_is_noticed(tmp_path, capsys, finished):
    if finished:
        short_run(tmp_path)
    else:
        unfinished(tmp_path)
    log = (tmp_path / "log.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "log.jsonl").write_bytes(b"".join(log[: len(log) // 2]))
    short_run(tmp_path, net=None if finished else tiny_net(Identity()))
    assert f"{len(log) - len(log) // 2} of the {len(log)} lines up to step" in capsys.readouterr().err


def test_a_digit_changed_in_the_log_between_two_starts_is_noticed(tmp_path, capsys):
    short_run(tmp_path)
    log = (tmp_path / "log.jsonl").read_bytes()
    short_run(tmp_path)
    assert "changed" not in capsys.readouterr().err
    changed = log.replace(b'"step": 3, ', b'"step": 2, ', 1)
    assert changed != log
    (tmp_path / "log.jsonl").write_bytes(changed)
    short_run(tmp_path)
    assert f"log.jsonl: changed since step {STEPS}. Restore" in capsys.readouterr().err
    assert (tmp_path / "log.jsonl").read_bytes() == changed


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "3",
        "null",
        "",
        "{",
        "\udcff",
        pytest.param(99999 * "[", id="nested"),
        '{"config": {}, "sessions": 3}',
        '{"config": {}, "deviations": 3}',
    ],
)
def test_a_damaged_run_json_is_copied_aside_and_made_anew(tmp_path, capsys, text):
    straight = short_run(None, net=tiny_net(Identity()))
    unfinished(tmp_path)
    config = read_run_json(tmp_path)["config"]
    (tmp_path / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert_same(short_run(tmp_path, net=tiny_net(Identity())), straight)
    assert read_run_json(tmp_path)["config"] == config and read_run_json(tmp_path)["status"] == "finished"
    assert "Kept as run.json.damaged" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="holds a run with steps = 6"):
        short_run(tmp_path, steps=5)


def test_a_run_json_that_is_gone_is_made_anew_from_the_checkpoint(tmp_path):
    short_run(tmp_path)
    (tmp_path / "run.json").unlink()
    with pytest.raises(CheckpointError, match="holds a run with log_every = 1, this one has log_every = 2"):
        short_run(tmp_path, log_every=2)
    short_run(tmp_path)
    assert read_run_json(tmp_path)["status"] == "finished"


def altered(path, **changes):
    """Write the checkpoint again with other texts in it."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    about = json.loads(str(arrays["about"]))
    arrays["about"] = json.dumps(about | changes if isinstance(changes.get("all"), type(None)) else changes["all"])
    with open(path, "wb") as file:
        np.savez(file, **arrays)


GROUP = {"lr_factor": 1.0, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}


@pytest.mark.parametrize(
    "changes",
    [
        {"all": []}, {"all": 3}, {"all": None}, {"all": {}}, {"progress": None}, {"progress": {"step": 1}},
        {"progress": []},
        {"optimizer": {}}, {"optimizer": 3}, {"optimizer": {"lr": "x", "steps": 1, "groups": [GROUP], "velocity": []}},
        {"optimizer": {"lr": 0.1, "steps": 1, "groups": [{}], "velocity": [False] * 5}},
        {"generators": {}}, {"generators": {"dropout.rng": 3}}, {"generators": []},
        {"generators": {"dropout.rng": {"bit_generator": "PCG64"}}},
        {"rng": {"bit_generator": "PCG64", "state": "x"}}, {"rng": None}, {"schedule": {"running": 2}},
        {"counters": 3}, {"counters": []}, {"run": 3}, {"run": {"lines": "x"}}, {"run": {"changed": [1]}},
    ],
)  # fmt: skip
def test_a_checkpoint_with_wrong_texts_is_refused_in_one_line_and_changes_nothing(tmp_path, changes):
    unfinished(tmp_path)
    (tmp_path / "checkpoint.npz.previous").unlink()
    if changes == {"all": None}:
        changes = {"all": "null"}
    if "run" in changes:
        with np.load(tmp_path / "checkpoint.npz") as file:
            changes = {"progress": json.loads(str(file["about"]))["progress"] | changes}
    altered(tmp_path / "checkpoint.npz", **changes)
    net = tiny_net(Identity())
    before, generator = net.state_dict(), str(net.dropout.rng.bit_generator.state)
    with pytest.raises(CheckpointError, match="checkpoint.npz") as caught:
        short_run(tmp_path, net=net)
    assert "\n" not in str(caught.value)
    assert str(net.dropout.rng.bit_generator.state) == generator
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


# -- going on -----------------------------------------------------------------------------------------------------


def test_a_finished_run_with_a_constant_rate_goes_on_for_more_steps(tmp_path):
    longer = short_run(None, steps=9, schedule=Schedule(0.1))
    short_run(tmp_path, schedule=Schedule(0.1))
    state, lines = short_run(tmp_path, steps=9, schedule=Schedule(0.1))
    for name, array in longer[0].items():
        np.testing.assert_array_equal(state[name], array)
    assert [line for line in lines if line["kind"] == "train"] == [
        line for line in longer[1] if line["kind"] == "train"
    ]
    assert read_run_json(tmp_path)["config"]["steps"] == 9
    with pytest.raises(CheckpointError, match="holds a run with steps = 9, this one has steps = 6"):
        short_run(tmp_path, schedule=Schedule(0.1))


@pytest.mark.parametrize("schedule", [Cosine(0.1, 6), MultiStep(0.1, [3])])
def test_another_schedule_does_not_go_on_for_more_steps(tmp_path, schedule):
    short_run(tmp_path, schedule=schedule)
    with pytest.raises(CheckpointError, match="holds a run with steps = 6, this one has steps = 9"):
        short_run(tmp_path, steps=9, schedule=schedule)


def test_a_run_with_adam_goes_on_bit_for_bit(tmp_path):
    straight = short_run(None, optimizer=Adam, net=tiny_net(Identity()))

    class Stop(Exception):
        pass

    class Stops(Adam):
        def step(self):
            if self.steps == 3:
                raise Stop
            super().step()

    Stops.__name__ = "Adam"
    with pytest.raises(Stop):
        short_run(tmp_path, optimizer=Stops, net=tiny_net(Identity()))
    assert_same(short_run(tmp_path, optimizer=Adam, net=tiny_net(Identity())), straight)
    with pytest.raises(CheckpointError, match="holds a run with rule = Adam, this one has rule = SGD"):
        short_run(tmp_path, net=tiny_net(Identity()))


class Moody(Identity):
    """Noise from every kind of generator, and from counters."""

    def __init__(self, rate=0.5):
        self.rate = rate  # an argument of the constructor, and yet it changes
        self.python, self.old = random.Random(5), np.random.RandomState(6)
        self.many = {"a": [np.random.default_rng(7)], "b": (random.Random(8),)}
        self.calls, self.mean, self.seen = 0, 0.5, [1, {"x": 2}]

    def forward(self, x):
        if self.training:
            self.calls, self.mean, self.rate = self.calls + 1, 0.9 * self.mean + 0.01, 0.9 * self.rate
            self.seen.append(self.calls)
            draws = self.python.gauss(0, 1), self.old.normal(), self.many["a"][0].normal(), self.many["b"][0].random()
            x = x * np.float32(
                1 + 0.01 * sum(draws) + self.rate * self.mean + 0.01 * (self.calls % 3) + 0.001 * len(self.seen)
            )
        return super().forward(x)


def test_layers_with_other_randomness_and_counters_go_on_bit_for_bit(tmp_path):
    straight = short_run(None, net=tiny_net(Moody(), Identity()))

    net = tiny_net(Moody(), _dies_after(4))
    with pytest.raises(MemoryError):
        short_run(tmp_path, net=net)
    again = tiny_net(Moody(), Identity())
    assert_same(short_run(tmp_path, net=again), straight)
    assert again.more0.calls == STEPS and again.more0.rate == pytest.approx(0.5 * 0.9**STEPS)
    assert again.more0.seen == [1, {"x": 2}, 1, 2, 3, 4, 5, 6]


def _dies_after(steps):
    class Dies(Identity):
        def __init__(self):
            self.left = steps

        def forward(self, x):
            self.left -= self.training
            if not self.left:
                raise MemoryError
            return super().forward(x)

    return Dies()


def test_what_a_checkpoint_cannot_hold_is_named_once_when_the_run_begins(tmp_path, capsys):
    class Odd(Identity):
        def __init__(self):
            self.numbers, self.size, self.rule = iter([1, 2, 3]), 3, np.tanh
            self.more, self.seen = {"system": random.SystemRandom()}, np.zeros(1)

    short_run(tmp_path, net=tiny_net(Odd()))
    err = capsys.readouterr().err
    assert err.count("a checkpoint does not hold") == 1
    assert "more0.numbers (list_iterator), more0.more.system (SystemRandom), more0.seen (ndarray); if it changes" in err
    assert "size" not in err and "rule" not in err


def test_a_counter_is_state_and_an_argument_of_the_constructor_a_setting(tmp_path):
    net = Sequential(Moody(), Dropout(0.5, rng=0), Linear(2, 2, rng=0))
    net[0].calls = 7
    save_checkpoint(tmp_path / "c.npz", net)
    other = Sequential(Moody(), Dropout(0.25, rng=1), Linear(2, 2, rng=0))
    load_checkpoint(tmp_path / "c.npz", other)
    assert other[0].calls == 7 and other[1].p == 0.25


def test_run_json_says_what_results_depend_on(tmp_path):
    short_run(tmp_path)
    about = read_run_json(tmp_path)
    assert any("lr is outside v" in note for note in about["notes"])
    assert any(note.startswith("pixel_mean of Dataset('images': 70 images") for note in about["notes"])
    assert "commit" in about["sessions"][0] and about["config"]["rule"] == "SGD"
