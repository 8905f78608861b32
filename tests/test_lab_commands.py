"""The commands of the lab that look at gradients and responses, from end to end on a handful of small images."""

import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from lab_commands import drawn, refused

from minires.cli import main
from minires.commands.lab import rooms
from minires.lab import shattered
from minires.lab.experiment import Table, number
from minires.lab.flow.figure import gradient_flow_figure, river_figure
from minires.lab.responses.figure import responses_figure
from minires.lab.responses.measure import decay_alone, findings
from minires.lab.shattered.measure import fall
from minires.optim import warm_up_then_cosine
from minires.pretrained.__main__ import main as ship
from minires.probe import BlockFlow

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))  # where python examples/x.py looks
SMALL = "--data synthetic --depths 8 14 --steps 2 --batch-size 8 --images 8 --out out"
LAB = Path(shattered.__path__[0]).parent


def test_without_a_name_the_lab_lists_its_rooms_with_their_questions(capsys):
    assert main(["lab"]) == 0
    out = capsys.readouterr().out
    assert "paths           Is a residual net an ensemble of shallow ones?" in out
    assert all(question.endswith("?") for question in rooms().values()) and len(rooms()) == 19


@pytest.mark.parametrize("room", rooms())
def test_a_room_has_its_page_its_figure_and_help(room, capsys):
    folder = LAB / room
    assert {"README.md", "figure.py", "command.py"} <= {path.name for path in folder.iterdir()}
    with pytest.raises(SystemExit, match="0"):
        main(["lab", room, "--help"])
    assert f"minires lab {room}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, message",
    [
        ("path", "no experiment 'path'. Did you mean paths?"),
        ("flow --setps 3", "unrecognized arguments: --setps 3. See minires lab flow --help"),
        ("flow --data synthetic --runs nowhere", "nowhere: no such run there"),
        ("flow --data synthetic --depths 21", "expected 6n"),
        ("flow --data-dir ''", "data_dir: expected a path, got an empty one. Is a variable of the shell not set?"),
        ("flow --data synthetic --seeds -1", "argument --seeds: expected a whole number from 0 on, got '-1'"),
        ("gates --data synthetic --seed -1", "argument --seed: expected a whole number"),
        ("explanations --data synthetic --lr nan", "lab explanations: expected lr, a finite number of at least 0"),
        ("flow --data synthetic --bare-lr -1", "lab flow: expected bare_lr, a finite number of at least 0, got -1.0"),
        ("responses --data synthetic --seeds 0 1", "unrecognized arguments: --seeds 0 1"),
        ("explanations --data synthetic --depths 8", "plain and resnet of two depths each"),
        ("explanations --data synthetic --nets plain --depths 8 14", "got plain-8, plain-14"),
    ],
)
def test_what_cannot_be_done_is_one_line(text, message, lab, capsys):
    assert refused(capsys, lab.run(text), message)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
@pytest.mark.parametrize("room", [name for name in rooms() if name != "roofline"])
def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_trained(room, lab, capsys):
    lab.folder.joinpath("locked").mkdir(mode=0o500)
    assert refused(capsys, lab.run(f"{room} --out locked/out"), "--out: locked/out cannot be written to")


@pytest.mark.parametrize("room", [name for name in rooms() if name != "roofline"])
def test_a_file_in_the_place_of_the_folder_is_refused_before_anything_is_trained(room, lab, capsys):
    lab.folder.joinpath("taken").write_text("a file")
    assert refused(capsys, lab.run(f"{room} --out taken"), "--out: taken cannot be written to")


def test_a_folder_is_named_by_what_is_in_it(lab):
    for text in ("", "--steps 0", "--steps 0 --images 4 --batch-norm with"):
        lab.run(f"flow --data synthetic --depths 8 {text}" if text else "shattered --networks 1 --seed 3")
    assert sorted(path.name for path in (lab.folder / "runs").iterdir()) == [
        "flow-synthetic-depths-8-steps-0",
        "flow-synthetic-depths-8-steps-0-images-4-batch-norm-with",
        "shattered-networks-1-seed-3",
    ]


def test_gradient_flow_with_and_without_batch_norm(lab, capsys):
    assert lab.run(f"flow {SMALL} --nets plain preact") == 0
    kept = lab.about
    assert {row["net"] for row in kept["numbers"]} == {
        f"{net}-{depth}{words}" for net in ("plain", "preact") for depth in (8, 14) for words in ("", " without")
    }
    assert {row["step"] for row in kept["numbers"]} == {0, 2}
    assert "2 steps of 8 images" in kept["setting"] and kept["machine"]["kernels"]
    assert kept["command"].startswith("minires lab flow --data synthetic")
    out = capsys.readouterr().out
    assert out.count("preact-14") == 4 and "nan" not in out
    (last,) = (row for row in kept["numbers"] if (row["net"], row["step"]) == ("preact-14", 2))
    norms = drawn(lab.figures["gradient-flow"].axes[3])["step 2"]
    np.testing.assert_array_equal(norms, [block["entering"] for block in last["blocks"]])
    assert {"river-step-0", "river-without-batch-norm-step-2"} < set(lab.figures)


def test_the_learning_rate_is_the_one_that_was_asked_for(lab):
    ends = []
    for rate in (0.1, 0.0001):
        lab.run(f"flow {SMALL} --nets plain --depths 8 --batch-norm with --lr {rate}")
        ends.append(lab.numbers[-1]["blocks"])
    assert ends[0] != ends[1]


def test_a_net_from_a_run_begins_as_its_run_did_and_stands_as_its_checkpoint(lab):
    degradation = importlib.import_module("degradation_cifar")
    degradation.main("--data synthetic --depths 8 --steps 3 --batch-size 8 --seeds 4 --out trained".split())
    lab.run("flow --data synthetic --runs trained --images 8 --out out")
    kept = {(row["net"], row["step"]): row for row in lab.numbers}
    assert set(kept) == {(net, step) for net in ("plain-8", "resnet-8") for step in (0, 3)}
    lab.run("responses --data synthetic --runs trained --images 8 --out out")
    rates = warm_up_then_cosine(0.05, 3)
    assert lab.numbers[0]["decay_alone"] == decay_alone([rates.lr(step) for step in range(3)])
    lab.run("flow --data synthetic --depths 8 --seeds 4 --steps 0 --images 8 --batch-norm with --out out")
    fresh = {(row["net"], row["step"]): row for row in lab.numbers}
    assert fresh["resnet-8", 0]["blocks"] == kept["resnet-8", 0]["blocks"]
    assert "from runs of examples/degradation_cifar.py" not in lab.about["setting"]


def test_a_net_that_comes_with_minires_is_seen_before_early_in_and_after_its_training(lab, capsys, monkeypatch):
    degradation = importlib.import_module("degradation_cifar")
    degradation.main("--data synthetic --nets resnet --depths 8 --steps 3 --batch-size 8 --out trained".split())
    run, shipped = lab.folder / "trained" / "resnet-8-seed0", lab.folder / "shipped"
    run.joinpath("step2.npz").write_bytes(run.joinpath("checkpoint.npz").read_bytes())
    shipped.mkdir()
    ship([str(run), "--out", str(shipped)])
    monkeypatch.setattr(importlib.import_module("minires.pretrained"), "HERE", shipped)
    assert lab.run("flow --data synthetic --pretrained --images 8 --out out") == 0
    kept = {row["step"]: row["blocks"] for row in lab.numbers}
    assert list(kept) == [0, 2, 3] and "trained networks that come with minires" in lab.about["setting"]
    assert lab.run("flow --data synthetic --runs trained --images 8 --out out") == 0
    assert {row["step"]: row["blocks"] for row in lab.numbers} == {0: kept[0], 3: kept[3]}
    for steps, seen in (("", [2, 3]), ("--steps 1", [1])):  # it is taken unasked, but where it is to be trained
        lab.run(f"responses --data synthetic --nets resnet --depths 8 --images 8 --out out {steps}")
        assert [row["step"] for row in lab.numbers] == seen
    before = []
    for begin in ("", "--begin early", "--begin final"):
        lab.run(f"fading --data synthetic --depths 8 --factors 1 --steps 1 --batch-size 8 --images 8 --out out {begin}")
        before.append(lab.numbers["8"]["resnet-8, lambda 1"][0]["before"]["growth"])
    assert (
        before[0] != before[1] == before[2]
        and "the final weights that come with minires, then 1 step" in lab.about["setting"]
    )
    capsys.readouterr()  # a slow training before, one that had to compile, has told how far it was
    message = "--pretrained: no such network comes with minires. There are: resnet-8."
    assert refused(capsys, lab.run("flow --data synthetic --pretrained --depths 56"), message)


def test_runs_on_other_images_are_refused(lab, capsys):
    folder = lab.folder / "trained" / "resnet-8-seed0"
    folder.mkdir(parents=True)
    about = {"config": {"net": "resnet", "depth": 8, "seed": 0, "data": "CIFAR-10, training"}}
    (folder / "run.json").write_text(json.dumps(about))
    message = "trained on 'CIFAR-10, training', not on 'synthetic, training'"
    assert refused(capsys, lab.run("flow --data synthetic --runs trained"), message)


def test_runs_without_weights_and_of_other_scripts_are_named(lab, capsys):
    for name, config in (("ours", {"net": "resnet", "depth": 8, "seed": 0}), ("theirs", {"net": "mine.py:build"})):
        folder = lab.folder / "trained" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"config": config | {"data": "synthetic, training"}}))
    message = "trained/ours: no checkpoint.npz there, so no weights to look at"
    assert refused(capsys, lab.run("flow --data synthetic --runs trained"), message)


def test_layer_responses_and_what_is_said_of_them(lab, capsys):
    assert lab.run(f"responses {SMALL} --nets plain resnet") == 0
    out = capsys.readouterr().out
    assert [len(row["responses"]) for row in lab.numbers] == [7, 13, 7, 13]
    assert "plain-14" in out and "Deeper residual nets respond" in out and "decay alone" in out
    in_order, by_size = map(drawn, lab.figures["layer-responses"].axes)
    assert in_order.pop("weight decay alone, 2 steps")[0] == pytest.approx(1, abs=1e-4)
    for row in lab.numbers:
        np.testing.assert_array_equal(in_order[row["net"]], row["responses"])
        np.testing.assert_array_equal(by_size[row["net"]], sorted(row["responses"], reverse=True))


@pytest.mark.parametrize(
    "means, said",
    [
        ({("plain", 20): 1.0, ("resnet", 20): 0.8}, ["resnet-20 responds less than plain-20: 0.800 against 1.000."]),
        ({("plain", 20): 0.7, ("resnet", 20): 0.8}, ["resnet-20 responds more than plain-20: 0.800 against 0.700."]),
        ({("plain", 20): 0.998, ("resnet", 20): 0.997}, ["resnet-20 responds about as much as plain-20: "
                                                         "0.997 against 0.998."]),
        ({("resnet", 20): 0.998, ("resnet", 56): 0.997}, ["Deeper residual nets respond about as much as shallower "
                                                          "ones: 20 layers 0.998, 56 layers 0.997."]),
        ({("resnet", 20): 0.8, ("resnet", 56): 0.5}, ["Deeper residual nets respond less than shallower ones: "
                                                      "20 layers 0.800, 56 layers 0.500."]),
        ({("resnet", 20): 0.8, ("resnet", 56): 0.9}, ["Deeper residual nets respond not less than shallower ones: "
                                                      "20 layers 0.800, 56 layers 0.900."]),
    ],
)  # fmt: skip
def test_the_words_on_responses_follow_from_the_means(means, said):
    assert findings(means) == said


def test_the_three_explanations_end_in_a_table(lab, capsys):
    assert lab.run(f"explanations {SMALL}") == 0
    out = capsys.readouterr().out
    assert "At the start" in out and "After 2 steps" in out
    assert (lab.folder / "out" / "tables.md").read_text().count("| gradients shatter |") == 2
    start, trained = (lab.figures[f"explanations-{when}"] for when in ("at-the-start", "after-2-steps"))
    assert [axis.get_title() for axis in trained.axes] == [
        "as trained", "do gradients of neighbours agree?", "how far is a block from the identity?"
    ]  # fmt: skip
    assert len(start.axes) == 6  # the variants are shown where they are: at the start
    assert set(drawn(trained.axes[0])) == {f"{net}-{depth}" for net in ("plain", "resnet") for depth in (8, 14)}
    distances = {name: row.tolist() for name, row in drawn(trained.axes[2]).items()}
    identity = lab.numbers["measured"]["After 2 steps"]["plain-8"][0]["identity"]
    assert np.mean(distances["plain-8"]) == pytest.approx(identity)


def test_slopes_of_nets_of_one_number_are_drawn_beside_noise(lab, capsys, monkeypatch):
    command = importlib.import_module("minires.lab.shattered.command")
    monkeypatch.setattr(command, "NETS", {"1 layer": (1, False, 1.0), "3, residual": (3, True, 1.0)})
    kinds = ("plain", "residual", "plain, independent", "residual, independent")
    monkeypatch.setattr(command, "DEPTHS", dict.fromkeys(kinds, [1, 2]))
    assert lab.run("shattered --networks 2 --out out") == 0
    assert "the paper derives 0.50^L" in capsys.readouterr().out
    *traces, lags, depths = lab.figures["shattered-gradients"].axes
    assert [axis.get_title() for axis in traces] == ["1 layer", "3, residual", "brown noise", "white noise"]
    np.testing.assert_array_equal(drawn(lags)["1 layer"], lab.numbers["autocorrelation"]["1 layer"])
    np.testing.assert_array_equal(drawn(depths)["plain"], lab.numbers["by depth"]["plain"][1])


def test_a_law_is_read_off_its_own_curve():
    layers = [1, 2, 4, 8]
    assert fall(layers, 0.7 * 0.6 ** np.array(layers), by_layer=True) == pytest.approx(0.6)
    assert fall(layers, 0.7 * np.array(layers) ** -0.5) == pytest.approx(-0.5)


def test_a_table_has_room_for_long_names_and_no_nan(capsys):
    table = Table("network", "error", first=8)
    table.row("a network with a long name", number(float("nan"), ".1%"))
    assert capsys.readouterr().out.splitlines()[1] == "a network with a long name         -"


def row(path, entering, shortcut, branch):
    return BlockFlow(path, entering, shortcut, branch, 0.0 if shortcut else float("nan"), 1.0, 0.1)


def widths_of(axis):
    """The heights of the strands in the middle of their blocks, in the order in which they are drawn."""
    widths = []
    for strand in axis.collections:
        points = strand.get_paths()[0].vertices
        middle = points[:, 0].min() + 0.5
        heights = points[np.abs(points[:, 0] - middle) < 0.02][:, 1]
        widths.append(heights.max() - heights.min())
    return widths


def test_the_strands_of_a_river_share_its_width_as_their_squared_norms():
    river = river_figure({"net": [row("stage1.0", 4.0, 3.0, 4.0), row("stage1.1", 1.0, 0.0, 4.0)]})
    (axis,) = river.axes
    whole = np.sqrt(5.0)  # the width of a gradient of norm sqrt(9 + 16)
    np.testing.assert_allclose(widths_of(axis), [2, whole * 9 / 25, whole * 16 / 25], rtol=0.02)
    words = [text.get_text() for text in axis.texts]
    assert "1" in words and "5" in words  # at the loss and at the input


def test_two_equal_parts_at_a_right_angle_make_no_bulge():
    part = 1 / np.sqrt(2)
    (axis,) = river_figure({"net": [row("stage1.0", 1.0, part, part)] * 3}).axes
    np.testing.assert_allclose(np.add.reduceat(widths_of(axis), [0, 2, 4]), 1, rtol=0.02)


def test_a_river_without_gradient_is_a_line(recwarn):
    river_figure({"dead": [row("stage1.0", 0.0, 0.0, 0.0)] * 2})
    assert not recwarn.list


@pytest.mark.parametrize("norms", [(np.nan, np.nan), (1.0, np.nan), (np.inf, 1.0), (1.0, 1e300), (0.0, 0.0)])
def test_gradients_that_are_not_finite_are_drawn_as_gaps_but_make_no_river(norms):
    flow = [row(f"stage1.{i}", norm, norm, norm) for i, norm in enumerate(norms)]
    with np.errstate(all="ignore"):
        gradient_flow_figure({"diverged": flow}).draw_without_rendering()
    if any(norms):
        with pytest.raises(
            ValueError, match="^river_figure: expected gradients that are finite, got others in div.*[?]$"
        ):
            river_figure({"diverged": flow})


def test_figures_of_nothing_are_refused():
    with pytest.raises(ValueError, match="river_figure: expected"):
        river_figure({"plain": []})
    with pytest.raises(ValueError, match="responses_figure: expected"):
        responses_figure({})
