"""The command ``minires train``: a network by name or from a file, in a folder that goes on."""

import json

import pytest
from test_data import write_mnist
from test_example import few_images

from minires.cli import main
from minires.lab import experiment
from minires.lab.runs import read_runs
from minires.report import inside

BUILD = """
from minires import GlobalAvgPool2d, Linear, Sequential

def build(classes=10):
    return Sequential(GlobalAvgPool2d(), Linear(3, classes, rng=0))
"""

LITTLE = ["--data", "synthetic", "--steps", "4", "--batch-size", "8"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiment, "synthetic", few_images)
    (tmp_path / "mine.py").write_text(BUILD)
    return tmp_path


@pytest.mark.parametrize(
    "net, name, config",
    [
        ("resnet-8", "resnet-8-seed0", {"net": "resnet", "depth": 8}),
        ("mine.py:build", "mine-py-build-seed0", {"net": "mine.py:build", "depth": None, "args": ""}),
    ],
)
def test_it_trains_a_network_in_a_folder_named_by_what_is_in_it(folder, capsys, net, name, config):
    assert main(["train", net, *LITTLE]) == 0
    out = capsys.readouterr().out
    run = folder / "runs" / "synthetic-3m-4-steps-batches-of-8" / name
    assert f"{net}: training error" in out and str(run.relative_to(folder)) in out
    about = json.loads((run / "run.json").read_text())
    assert about["status"] == "finished" and config.items() <= about["config"].items()
    assert (run / "log.png").exists()
    assert main(["train", net, *LITTLE]) == 0  # found finished
    assert len(json.loads((run / "run.json").read_text())["sessions"]) == 1


def test_it_trains_on_every_set_of_images_it_can_read(folder, capsys):
    write_mnist(folder / "MNIST/raw")
    assert main(["train", "resnet-8", *LITTLE, "--data", "mnist", "--data-dir", "."]) == 0
    [run] = folder.glob("runs/*/resnet-8-seed0")
    about = json.loads((run / "run.json").read_text())
    assert about["config"]["data"] == "MNIST, training" and "images: MNIST" in about["deviations"]
    assert inside.network_of(*read_runs([run])).conv1.in_channels == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nonet-8"], "nonet-8"),
        (["mine.py:nothing"], "no nothing in mine.py"),
        (["resnet-8", "--steps", "0"], "expected a whole number above 0, got '0'"),
        (["resnet-8", "--seed", "-1"], "argument --seed: expected a whole number"),
        (["resnet-8", "--budget", "5m"], "invalid choice: '5m'"),
        (["mine.py:build", "--args", "3"], "label"),
    ],
)
def test_what_a_person_can_get_wrong_is_one_line(folder, capsys, arguments, message):
    assert main(["train", *LITTLE, *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
