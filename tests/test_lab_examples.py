"""The scripts of the lab, from end to end on a handful of small images, and their figures."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from minires.data.dataset import Dataset
from minires.plots import responses_figure, river_figure
from minires.probe import BlockFlow

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))  # where python examples/x.py looks
experiment, degradation, flow, responses, explanations = (
    importlib.import_module(name)
    for name in ("experiment", "degradation_cifar", "gradient_flow", "layer_responses", "degradation_or_vanishing")
)
NETS_OF_ONE_NUMBER = ("plain", "residual", "plain, independent", "residual, independent")
SMALL = "--data synthetic --depths 8 14 --steps 2 --batch-size 8 --images 8 --out out"


@pytest.fixture
def place(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 3, 8, 8)).astype(np.uint8)
    everything = Dataset(images, rng.integers(0, 10, 40), [str(i) for i in range(10)], "synthetic, training")
    monkeypatch.setattr(experiment, "synthetic", lambda: (everything[:24], everything[24:]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def numbers(place):
    return json.loads((place / "out" / "numbers.json").read_text())


def test_gradient_flow_with_and_without_batch_norm(place, capsys):
    flow.main([*SMALL.split(), "--nets", "plain", "preact"])
    kept = numbers(place)
    assert {row["net"] for row in kept["numbers"]} == {
        f"{net}-{depth}{words}" for net in ("plain", "preact") for depth in (8, 14) for words in ("", " without")
    }
    assert {row["step"] for row in kept["numbers"]} == {0, 2}
    assert "2 steps of 8 images" in kept["setting"] and kept["machine"]["kernels"]
    for name in ("gradient-flow", "river-step-0", "river-without-batch-norm-step-2"):
        assert (place / "out" / f"{name}.png").stat().st_size > 10_000
    assert capsys.readouterr().out.count("preact-14") == 4


def test_a_net_from_a_run_begins_as_its_run_did_and_stands_as_its_checkpoint(place, capsys):
    degradation.main("--data synthetic --depths 8 --steps 3 --batch-size 8 --seeds 4 --out trained".split())
    flow.main("--data synthetic --runs trained --images 8 --out out".split())
    kept = {(row["net"], row["step"]): row for row in numbers(place)["numbers"]}
    assert set(kept) == {(net, step) for net in ("plain-8", "resnet-8") for step in (0, 3)}
    flow.main("--data synthetic --depths 8 --seeds 4 --steps 0 --images 8 --batch-norm with --out out".split())
    fresh = {(row["net"], row["step"]): row for row in numbers(place)["numbers"]}
    assert fresh["resnet-8", 0]["blocks"] == kept["resnet-8", 0]["blocks"]
    assert "from runs of examples/degradation_cifar.py" not in numbers(place)["setting"]


def test_layer_responses_and_what_is_said_of_them(place, capsys):
    responses.main([*SMALL.split(), "--nets", "plain", "resnet"])
    out = capsys.readouterr().out
    assert [len(row["responses"]) for row in numbers(place)["numbers"]] == [7, 13, 7, 13]
    assert "plain-14" in out and "Deeper residual nets respond" in out


@pytest.mark.parametrize(
    "means, said",
    [
        ({("plain", 20): 1.0, ("resnet", 20): 0.8}, ["resnet-20 responds less than plain-20: 0.800 against 1.000."]),
        ({("plain", 20): 0.7, ("resnet", 20): 0.8}, ["resnet-20 responds not less than plain-20: "
                                                     "0.800 against 0.700."]),
        ({("resnet", 20): 0.8, ("resnet", 56): 0.5}, ["Deeper residual nets respond less than shallower ones: "
                                                      "20 layers 0.800, 56 layers 0.500."]),
        ({("resnet", 20): 0.8, ("resnet", 56): 0.9}, ["Deeper residual nets respond not less than shallower ones: "
                                                      "20 layers 0.800, 56 layers 0.900."]),
    ],
)  # fmt: skip
def test_the_words_on_responses_follow_from_the_means(means, said):
    assert responses.findings(means) == said


def test_the_three_explanations_end_in_a_table(place, capsys, monkeypatch):
    monkeypatch.setattr(explanations, "SCALAR_NETS", {"1 layer": (1, False, 1.0), "3, residual": (3, True, 1.0)})
    monkeypatch.setattr(explanations, "SCALAR_DEPTHS", dict.fromkeys(NETS_OF_ONE_NUMBER, [1, 2]))
    explanations.main([*SMALL.split(), "--networks", "2"])
    out = capsys.readouterr().out
    assert "At the start" in out and "After 2 steps" in out and "the paper derives 0.50^L" in out
    assert (place / "out" / "tables.md").read_text().count("| gradients shatter |") == 2
    for name in ("shattered-gradients", "explanations-at-the-start", "explanations-after-2-steps"):
        assert (place / "out" / f"{name}.png").stat().st_size > 10_000


def test_a_law_is_read_off_its_own_curve():
    layers = [1, 2, 4, 8]
    assert explanations.fall(layers, 0.7 * 0.6 ** np.array(layers), by_layer=True) == pytest.approx(0.6)
    assert explanations.fall(layers, 0.7 * np.array(layers) ** -0.5) == pytest.approx(-0.5)


@pytest.mark.parametrize(
    "script, text, message",
    [
        (flow, "--data synthetic --runs nowhere", "nowhere: no such run there"),
        (flow, "--data synthetic --depths 21", "expected 6n"),
        (responses, "--data synthetic --seeds 0 1", "expected one seed"),
        (explanations, "--data synthetic --depths 8", "plain and resnet of two depths each"),
        (explanations, "--data synthetic --nets plain --depths 8 14", "got plain-8, plain-14"),
    ],
)
def test_what_cannot_be_done_is_one_line(script, text, message, place, capsys):
    with pytest.raises(SystemExit, match="1"):
        script.main(text.split())
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_runs_on_other_images_are_refused(place, capsys):
    (place / "trained" / "resnet-8-seed0").mkdir(parents=True)
    about = {"config": {"net": "resnet", "depth": 8, "seed": 0, "data": "CIFAR-10, training"}}
    (place / "trained" / "resnet-8-seed0" / "run.json").write_text(json.dumps(about))
    with pytest.raises(SystemExit):
        flow.main("--data synthetic --runs trained".split())
    assert "trained on 'CIFAR-10, training', not on 'synthetic, training'" in capsys.readouterr().err


def row(path, entering, shortcut, branch):
    return BlockFlow(path, entering, shortcut, branch, 0.0 if shortcut else float("nan"), 1.0, 0.1)


def test_the_strands_of_a_river_have_the_square_roots_of_the_norms_for_widths():
    river = river_figure({"net": [row("stage1.0", 4.0, 9.0, 16.0), row("stage1.1", 1.0, 0.0, 4.0)]})
    (axis,) = river.axes
    widths = []
    for strand in axis.collections:  # from the loss on: the branch of stage1.1, then shortcut and branch of stage1.0
        points = strand.get_paths()[0].vertices
        middle = points[:, 0].min() + 0.5
        heights = points[np.abs(points[:, 0] - middle) < 0.02][:, 1]
        widths.append(heights.max() - heights.min())
    np.testing.assert_allclose(widths, [2, 3, 4], rtol=0.02)
    words = [text.get_text() for text in axis.texts]
    assert "1" in words and f"{np.sqrt(9.0**2 + 16.0**2):.2g}" in words  # at the loss and at the input


def test_a_river_without_gradient_is_a_line(recwarn):
    river_figure({"dead": [row("stage1.0", 0.0, 0.0, 0.0)] * 2})
    assert not recwarn.list


def test_figures_of_nothing_are_refused():
    with pytest.raises(ValueError, match="river_figure: expected"):
        river_figure({"plain": []})
    with pytest.raises(ValueError, match="responses_figure: expected"):
        responses_figure({})
