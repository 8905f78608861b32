"""Files that survive: round trips, damaged files, wrong networks, kills in the middle of a write."""

import json
import os
import zipfile

import numpy as np
import pytest

from minires.checkpoint import CheckpointError, load_checkpoint, load_inputs, read_progress, save_checkpoint
from minires.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, ReLU, Sequential
from minires.optim import SGD, Schedule, WarmUpUntil
from minires.run import Run, read_log, read_run_json


def make(seed=0, features=3, generator=np.random.default_rng):
    net = Sequential(
        conv=Conv2d(2, features, 3, rng=seed),
        bn=BatchNorm2d(features),
        relu=ReLU(),
        dropout=Dropout(0.5, rng=generator(seed)),
        flatten=Flatten(),
        linear=Linear(features * 4, 5, rng=seed),
    )
    parts = {
        "net": net,
        "optimizer": SGD(net.parameters(), lr=0.1, momentum=0.9),
        "schedule": WarmUpUntil(Schedule(0.1)),
        "rng": generator(seed + 1),
    }
    return parts


def advance(parts, steps):
    """Train on numbers drawn from the parts' own generator; return the last output."""
    for _ in range(steps):
        y = parts["net"].forward(parts["rng"].standard_normal((4, 2, 4, 4)).astype(np.float32))
        parts["net"].zero_grad().backward(y)
        parts["schedule"].observe(0.7)
        parts["optimizer"].step()
    return y


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox])
def test_training_goes_on_bit_for_bit_from_a_checkpoint(tmp_path, kind):
    def generator(seed):
        return np.random.Generator(kind(seed))

    straight, saved, loaded = make(0, generator=generator), make(0, generator=generator), make(9, generator=generator)
    advance(straight, 6)
    advance(saved, 3)
    save_checkpoint(tmp_path / "c.npz", **saved, step=3, history=[0.5, None])
    assert load_checkpoint(tmp_path / "c.npz", **loaded) == {"step": 3, "history": [0.5, None]}
    np.testing.assert_array_equal(advance(loaded, 3), advance(saved, 3))
    for parts in (saved, loaded):
        for name, array in straight["net"].state_dict().items():
            np.testing.assert_array_equal(parts["net"].state_dict()[name], array, err_msg=name)
        assert parts["schedule"].state_dict() == straight["schedule"].state_dict()


def test_how_images_become_x_is_kept_with_the_net(tmp_path):
    shift, scale = np.full((3, 4, 4), 120, np.float32), np.full(3, 1 / 255, np.float32)
    inputs = {"normalisation": (shift, scale), "classes": ("cat", "dog")}
    save_checkpoint(tmp_path / "c.npz", make()["net"], inputs=inputs, step=3)
    save_checkpoint(tmp_path / "without.npz", make()["net"])
    found = load_inputs(tmp_path / "c.npz")
    assert found["classes"] == ["cat", "dog"] and load_inputs(tmp_path / "without.npz") is None
    np.testing.assert_array_equal(found["normalisation"][0], shift)
    np.testing.assert_array_equal(found["normalisation"][1], scale)
    assert load_checkpoint(tmp_path / "c.npz", make(5)["net"]) == {"step": 3}


def test_a_net_alone_can_be_loaded_from_a_checkpoint_of_everything(tmp_path):
    saved, loaded = make(0), make(9)
    advance(saved, 1)
    save_checkpoint(tmp_path / "c.npz", **saved)
    load_checkpoint(tmp_path / "c.npz", loaded["net"])
    np.testing.assert_array_equal(loaded["net"].bn.running_var.data, saved["net"].bn.running_var.data)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "c.npz"
    net = Linear(2, 3, rng=0)
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    optimizer.step()
    save_checkpoint(path, net, optimizer, step=7)
    return path


def loaded_or_error(path):
    """Load into a new net; if that fails, check that it changed nothing. Returns the net's state or the message."""
    net = Linear(2, 3, rng=5)
    optimizer = SGD(net.parameters(), lr=0.5, momentum=0.9)
    before = net.state_dict()
    try:
        assert load_checkpoint(path, net, optimizer) == {"step": 7}
        return net.state_dict()
    except CheckpointError as error:
        assert optimizer.lr == 0.5 and optimizer.state_dict()["velocity"] == [None, None]
        for name, array in net.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
        return str(error)


def test_a_checkpoint_cut_at_any_length_is_refused_in_one_line(checkpoint):
    whole = checkpoint.read_bytes()
    for length in range(0, len(whole), 17):
        checkpoint.write_bytes(whole[:length])
        message = loaded_or_error(checkpoint)
        assert "c.npz: damaged or cut short (" in message and "\n" not in message


def test_a_checkpoint_with_any_byte_altered_is_refused_or_unharmed(checkpoint):
    whole, refused = checkpoint.read_bytes(), 0
    good = loaded_or_error(checkpoint)
    for place in range(0, len(whole), 5):
        altered = bytearray(whole)
        altered[place] ^= 0x15
        checkpoint.write_bytes(altered)
        result = loaded_or_error(checkpoint)
        if isinstance(result, str):
            refused += 1
        else:  # a byte that says nothing, such as the date of a member
            for name in good:
                np.testing.assert_array_equal(result[name], good[name])
    assert refused > 0.8 * len(range(0, len(whole), 5))


def test_files_that_are_not_checkpoints_are_named(tmp_path):
    net = Linear(2, 3, rng=0)
    with pytest.raises(CheckpointError, match=r"nothing.npz: no such file"):
        load_checkpoint(tmp_path / "nothing.npz", net)
    np.savez(tmp_path / "foreign.npz", weights=np.ones(3))
    with pytest.raises(CheckpointError, match=r"foreign.npz: not a checkpoint of minires; it holds weights"):
        load_checkpoint(tmp_path / "foreign.npz", net)
    np.savez(tmp_path / "later.npz", about=json.dumps({"format": 2}))
    with pytest.raises(CheckpointError, match=r"later.npz: expected format 1, got 2. Is minires up to date\?"):
        load_checkpoint(tmp_path / "later.npz", net)


class Unpicklable:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_pickle_in_a_checkpoint_is_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("c.npz", about=np.array([Unpicklable()], dtype=object))
    assert not os.path.exists("harm")
    with pytest.raises(CheckpointError, match="allow_pickle=False"):
        load_checkpoint("c.npz", Linear(2, 3, rng=0))
    assert not os.path.exists("harm")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda parts: parts | make(features=4), r"c.npz: does not fit. SGD: expected the velocity of parameter 0"),
        (lambda parts: parts | {"net": make(features=4)["net"]}, r"expected \w+.\w+ of shape \(.*\. Is it the same"),
        (lambda parts: parts | {"net": Linear(2, 3, rng=0)}, "its random layers are dropout.rng, the net's nothing"),
        (lambda parts: parts | {"optimizer": SGD(parts["net"].parameters()[:2], 0.1)}, "velocity, a list of 2, got"),
        (lambda parts: parts | {"schedule": Schedule(0.1)}, r"its schedule is of another kind than Schedule"),
        (lambda parts: parts | {"rng": np.random.Generator(np.random.MT19937(0))}, "its random generator is PCG64"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_and_changes_nothing(tmp_path, change, message):
    saved = make(0)
    advance(saved, 1)
    save_checkpoint(tmp_path / "c.npz", **saved)
    parts = change(make(9))
    before, state = parts["net"].state_dict(), parts["rng"].bit_generator.state
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "c.npz", **parts)
    for name, array in parts["net"].state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert parts["optimizer"].state_dict()["velocity"][0] is None
    assert str(parts["rng"].bit_generator.state) == str(state)


def test_asking_for_what_was_not_saved_is_named(tmp_path):
    net = Linear(2, 3, rng=0)
    save_checkpoint(tmp_path / "c.npz", net)
    with pytest.raises(CheckpointError, match="saved without the optimizer"):
        load_checkpoint(tmp_path / "c.npz", net, SGD(net.parameters(), lr=0.1))


def test_a_write_that_fails_leaves_the_checkpoint_before_it(checkpoint, monkeypatch):
    before = checkpoint.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(CheckpointError, match=r"could not be written \(No space left on device\)"):
        save_checkpoint(checkpoint, Linear(2, 3, rng=0))
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == ["c.npz"]


def test_the_checkpoint_before_stays_beside_the_new_one(checkpoint):
    save_checkpoint(checkpoint, Linear(2, 3, rng=0), step=8)
    net = Linear(2, 3, rng=1)
    assert load_checkpoint(checkpoint, net)["step"] == 8
    assert load_checkpoint(checkpoint.with_name("c.npz.previous"), net)["step"] == 7


# -- run folders ----------------------------------------------------------------------------------------------


def test_numbers_and_arrays_of_numpy_may_be_in_the_configuration_and_the_progress(tmp_path):
    for number in (np.int64(8), 8):
        with Run(tmp_path, {"depth": number, "widths": np.array([16, 32])}).open({}) as run:
            run.begin(0)
    save_checkpoint(tmp_path / "c.npz", Linear(2, 3, rng=0), best=np.float32(0.5))
    assert read_progress(tmp_path / "c.npz") == {"best": 0.5}


def run_a_little(folder, **config):
    net = Linear(2, 3, rng=0)
    run = Run(folder, config)
    with run.open({"steps": 2}):
        run.restore(net=net)
        run.begin(0)
        for step in (1, 2):
            run.log({"kind": "train", "step": step})
            run.save(net=net, step=step)
    return net


def test_a_run_writes_its_configuration_versions_and_machine(tmp_path):
    run_a_little(tmp_path / "run", depth=20)
    about = read_run_json(tmp_path / "run")
    assert about["config"] == {"depth": 20, "steps": 2}
    assert about["status"] == "finished"
    (session,) = about["sessions"]
    assert session["threads"] >= 1 and session["kernels"] in ("reference", "compiled")
    assert session["versions"]["numpy"] == np.__version__
    assert session["ended"] >= session["started"] and session["seconds"] >= 0


@pytest.mark.parametrize(
    "config, message",
    [
        ({"depth": 56}, r"holds a run with depth = 20, this one has depth = 56. Choose another folder, or delete"),
        ({}, "holds a run with depth = 20, this one has depth = nothing"),
        ({"depth": 20, "seed": 1}, "holds a run with seed = nothing, this one has seed = 1"),
    ],
)
def test_a_folder_that_holds_another_run_is_refused(tmp_path, config, message):
    run_a_little(tmp_path, depth=20)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match=message):
        run_a_little(tmp_path, **config)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_in_use_is_refused_and_free_again_afterwards(tmp_path):
    with Run(tmp_path).open({}):
        with pytest.raises(CheckpointError, match="another process is at work there"):
            with Run(tmp_path).open({}):
                pass
    with Run(tmp_path).open({}):
        pass


def test_a_damaged_checkpoint_of_a_run_is_set_aside_for_the_one_before(tmp_path, capsys):
    net = run_a_little(tmp_path)
    path = tmp_path / "checkpoint.npz"
    cut = path.read_bytes()[:-30]
    path.write_bytes(cut)
    run = Run(tmp_path)
    with run.open({"steps": 2}):
        assert run.restore(net=net) == {"step": 1}
        assert run.lines == [{"kind": "train", "step": 1}]
        assert "Kept as checkpoint.npz.damaged; going on from checkpoint.npz.previous." in capsys.readouterr().err
        assert (tmp_path / "checkpoint.npz.damaged").read_bytes() == cut
        run.begin(1)
        run.save(net=net, step=2)
        assert run.restore(net=net) == {"step": 2}


def test_a_damaged_checkpoint_without_another_is_an_error(tmp_path):
    net = run_a_little(tmp_path)
    (tmp_path / "checkpoint.npz.previous").unlink()
    (tmp_path / "checkpoint.npz").write_bytes(b"PK")
    run = Run(tmp_path)
    with run.open({"steps": 2}), pytest.raises(CheckpointError, match="damaged or cut short"):
        run.restore(net=net)


def test_a_kill_between_the_two_renamings_loses_nothing(tmp_path):
    net = run_a_little(tmp_path)
    (tmp_path / "checkpoint.npz").rename(tmp_path / "checkpoint.npz.new")
    run = Run(tmp_path)
    with run.open({"steps": 2}):
        assert run.restore(net=net) == {"step": 1}


def test_a_line_cut_by_a_kill_is_left_out(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1}, {"step": 2}]
    assert read_log(tmp_path / "none.jsonl") == []


def test_a_checkpoint_holds_plain_arrays_only(checkpoint):
    with zipfile.ZipFile(checkpoint) as file:
        assert sorted(file.namelist()) == [
            "about.npy",
            "net/bias.npy",
            "net/weight.npy",
            "velocity/0.npy",
            "velocity/1.npy",
        ]


def test_tuples_in_tuples_are_tuples_again(tmp_path):
    saved, loaded = Conv2d(2, 3, 3, padding=1, rng=0), Conv2d(2, 3, 3, padding=1, rng=1)
    save_checkpoint(tmp_path / "c.npz", saved)
    load_checkpoint(tmp_path / "c.npz", loaded)
    assert loaded.pad == saved.pad == ((1, 1), (1, 1))  # JSON has lists alone, and those are no keys of a cache
