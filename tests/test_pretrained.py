"""Trained networks that come with the package: made from runs, checked, loaded, used by name."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minires
from minires.checkpoint import load_inputs
from minires.cli import main
from minires.data import batches, synthetic
from minires.networks import network
from minires.optim import SGD
from minires.pretrained import __main__ as ship
from minires.run import Run
from minires.train import train

package = importlib.import_module("minires.pretrained")  # minires.pretrained is the function


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of plain-8, with a copy of its checkpoint after 3 of 6 steps, and its images."""
    folder, data = tmp_path_factory.mktemp("runs") / "plain-8-seed5", synthetic(train_size=64, test_size=20)
    for steps in (3, 6):
        net_rng, rng = np.random.default_rng(5).spawn(2)
        net = network("plain-8", classes=10, rng=net_rng)
        keep = Run(folder, {"net": "plain", "depth": 8, "seed": 5, "data": "synthetic"}, ["steps: 6"])
        rate = SGD(net.parameters(), 0.01)
        train(net, rate, *data, steps=steps, batch_size=16, rng=rng, test_every=3, log_every=1, run=keep, bar=False)
        if steps == 3:
            shutil.copy(folder / "checkpoint.npz", folder.parent / "step3.npz")
            shutil.rmtree(folder)
    (folder.parent / "step3.npz").rename(folder / "step3.npz")
    return folder, net, data


@pytest.fixture
def shipped(run, tmp_path, monkeypatch):
    """The package with what was made from the run, in a folder of its own."""
    monkeypatch.setattr(package, "HERE", tmp_path)
    assert ship.main([str(run[0]), "--out", str(tmp_path)]) == 0
    return tmp_path


def test_what_is_shipped_is_the_net_of_the_run(run, shipped):
    _, trained, (train_set, test_set) = run
    net = minires.pretrained("plain-8")
    assert not net.training
    for name, array in trained.state_dict().items():
        np.testing.assert_array_equal(net.state_dict()[name], array, err_msg=name)
        assert net.state_dict()[name].dtype == np.float32
    inputs = load_inputs(package.weights_file("plain-8"))
    np.testing.assert_array_equal(inputs["normalisation"][0], train_set.pixel_mean)
    assert inputs["classes"] == list(train_set.classes)


def test_the_state_at_step_0_is_what_the_seed_gives_and_the_early_one_lies_between(run, shipped):
    start, early, final = (minires.pretrained("plain-8", at=at) for at in (np.int64(0), "early", "final"))
    fresh = network("plain-8", classes=10, rng=np.random.default_rng(5).spawn(2)[0])
    np.testing.assert_array_equal(start.conv1.weight.data, fresh.conv1.weight.data)
    for a, b in [(start, early), (early, final), (start, final)]:
        assert (a.conv1.weight.data != b.conv1.weight.data).any()


def test_a_start_that_the_seed_no_longer_gives_is_noticed(shipped):
    table = package.models()
    table["plain-8"]["start"] = 64 * "0"
    (shipped / "models.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match="seed 5 no longer gives the weights that plain-8 began with"):
        minires.pretrained("plain-8", at=0)


@pytest.mark.parametrize("name", ["plain-9", "resnet-1001", "", None, 20])
def test_another_name_is_answered_with_those_there_are(shipped, name):
    with pytest.raises(ValueError, match=re.escape(f"pretrained: expected one of plain-8; got {name!r}.")):
        minires.pretrained(name)


def test_a_near_name_is_suggested(shipped):
    with pytest.raises(ValueError, match="Did you mean 'plain-8'?"):
        minires.pretrained("plain-18")


@pytest.mark.parametrize("at", ["last", 7, 1.0, None, True, False, "0"])
def test_another_state_is_answered_with_those_there_are(shipped, at):
    with pytest.raises(ValueError, match=re.escape(f"expected at as 0, 'early', 'final', got {at!r}.")):
        minires.pretrained("plain-8", at=at)


def test_altered_and_lost_files_are_noticed(shipped):
    path = shipped / "plain-8-final.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="plain-8-final.npz: expected SHA-256 .* altered; install minires again"):
        minires.pretrained("plain-8")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="plain-8-final.npz: a file that comes with minires"):
        minires.pretrained("plain-8")
    assert minires.pretrained("plain-8", at="early")


def test_without_any_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "HERE", tmp_path)
    with pytest.raises(ValueError, match="no trained networks come with this copy of minires; got 'resnet-20'"):
        minires.pretrained("resnet-20")


def test_the_card_tells_recipe_errors_and_hashes(run, shipped):
    text = (shipped / "plain-8.md").read_text(encoding="utf-8")
    about = package.models()["plain-8"]
    commit = about["sessions"][-1]["commit"] or "Made with"
    for word in ("6 steps of 16 images", "seed 5", "steps: 6", "synthetic", "numpy", commit):
        assert word in text
    for state in about["states"].values():
        assert f"`{state['file']}` {state['sha256']}" in text
        assert f"{100 * state['test_error']:.2f} %" in text
    assert about["states"]["early"]["step"] == 3 and about["states"]["final"]["step"] == 6
    tests = [json.loads(line) for line in (run[0] / "log.jsonl").read_text().splitlines()]
    assert about["states"]["final"]["test_error"] == [line["error"] for line in tests if line["kind"] == "test"][-1]


def test_the_same_run_gives_the_same_bytes(run, shipped, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    ship.main([str(run[0]), "--out", str(other)])
    for path in shipped.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name
    assert {path.name for path in other.iterdir()} == {
        "models.json",
        "plain-8.md",
        "plain-8-early.npz",
        "plain-8-final.npz",
    }


def test_a_run_that_is_not_finished_is_not_shipped(run, tmp_path):
    shutil.copytree(run[0], tmp_path / "run")
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(about | {"status": "running"}))
    done = subprocess.run(
        [sys.executable, "-m", "minires.pretrained", str(tmp_path / "run"), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "expected a finished run, got one that is 'running'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_predict_needs_no_weights_for_a_net_that_is_shipped(run, shipped, tmp_path, capsys):
    _, net, (train_set, test_set) = run
    Image.fromarray(test_set.images[3].transpose(1, 2, 0)).save(tmp_path / "p.png")
    assert main(["predict", "plain-8", str(tmp_path / "p.png"), "--top", "10"]) == 0
    out = capsys.readouterr().out
    assert "59 arrays" in out or "arrays loaded, in the names of minires" in out
    assert "prepared as those of the run were" in out
    x, _ = next(batches(test_set[3:4], 1))
    logits = net.eval().forward(x)[0].astype(float)
    expected = dict(zip(train_set.classes, 100 * np.exp(logits) / np.exp(logits).sum()))
    for number, name in re.findall(r"([\d.]+)%  (\w+)", out):
        assert float(number) == pytest.approx(expected[name], abs=0.02)
    assert main(["predict", "plain-20", str(tmp_path / "p.png")]) == 2
    assert (
        "expected one of plain-8; got 'plain-20'. Did you mean 'plain-8'? Or give --weights" in capsys.readouterr().err
    )


def test_what_comes_with_the_package_is_whole():
    """Each state of each network that lies in the package loads."""
    for name, about in package.models().items():
        for at in (0, *about["states"]):
            assert minires.pretrained(name, at=at).state_dict()
        assert (package.HERE / f"{name}.md").is_file()
    assert Path(package.HERE).is_dir()
