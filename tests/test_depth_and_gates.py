"""Order of activations, width at equal cost, few images, highway gates: what is measured, and the scripts."""

import json

import numpy as np
import pytest
from lab_commands import few_images, refused

from minires.lab import experiment
from minires.lab.gates.figure import gates_figure, inside_figure
from minires.lab.gates.measure import transform_gates
from minires.lab.overfitting.figure import overfitting_figure
from minires.lab.preactivation.command import verdict
from minires.lab.preactivation.figure import preactivation_figure
from minires.lab.width.figure import width_figure
from minires.lab.width.measure import net_of_width, width_at_cost
from minires.networks import cifar_highway, cifar_resnet, highway_mlp
from minires.walk import summary

SMALL = "--data synthetic --steps 4 --batch-size 8 --images 8 --out out"


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((5, 3, 8, 8)).astype(np.float32)


@pytest.fixture(autouse=True)
def whole_images(lab):
    lab.use(*few_images(size=32))


# -- width at equal cost ------------------------------------------------------------------------------------------


def test_the_nets_of_the_script_cost_the_same_within_four_percent():
    costs = {58: summary(net_of_width(58, 16, rng=0)).multiply_adds}
    widths = {depth: width_at_cost(depth, costs[58]) for depth in (10, 16, 28, 58)}
    assert widths == {10: 56, 16: 36, 28: 24, 58: 16}
    for depth, channels in widths.items():
        assert summary(net_of_width(depth, channels, rng=0)).multiply_adds == pytest.approx(costs[58], rel=0.04)


@pytest.mark.parametrize("depth, cost", [(10, 20e6), (16, 50e6), (22, 31e6)])
def test_no_other_width_comes_nearer(depth, cost):
    def apart(channels):
        return abs(summary(net_of_width(depth, channels, rng=0)).multiply_adds - cost)

    found = width_at_cost(depth, cost, multiple=1)
    assert apart(found) <= min(apart(found - 1), apart(found + 1))
    assert width_at_cost(depth, cost) % 4 == 0


def test_a_width_or_cost_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="expected width, a whole number of at least 1, got 1.5"):
        net_of_width(10, 1.5)
    with pytest.raises(ValueError, match="expected more than .* multiply-adds, got 1,000"):
        width_at_cost(10, 1000)


# -- gates --------------------------------------------------------------------------------------------------------


def without_gate_weights(net):
    for name, parameter in net.named_parameters():
        if "gate.layer.weight" in name or "left.layer.weight" in name:
            parameter.data[...] = 0
    return net


@pytest.mark.parametrize("carry", ["1 - T", "free"])
@pytest.mark.parametrize("build", [cifar_highway, lambda depth, **o: highway_mlp(depth, in_features=192, **o)])
def test_without_weights_a_gate_is_the_sigmoid_of_its_bias(build, carry, x):
    gates = transform_gates(without_gate_weights(build(11, bias=-2, carry=carry, rng=0)), x)
    for gate in gates:
        assert gate.mean == pytest.approx(1 / (1 + np.exp(2)), rel=1e-6)
        assert gate.by_image == pytest.approx(0, abs=1e-7)
        np.testing.assert_array_equal(gate.bias, -2)
    assert len(gates) == (7 if build is cifar_highway else 10)  # two of nine layers of convolutions change the shape


def test_gates_are_measured_over_images_channels_and_pixels(x):
    net = cifar_highway(5, bias=-1, rng=0)
    (gate,) = transform_gates(net, x)  # the first layer of stage 1; the others change the shape
    t = 1 / (1 + np.exp(-net.stage1[0].gate.layer.forward(net.relu.forward(net.conv1.forward(x))).astype(np.float64)))
    assert gate.path == "stage1.0" and gate.mean == pytest.approx(t.mean())
    by_channel = t.mean(axis=(2, 3))
    assert gate.by_image == pytest.approx(np.sqrt(by_channel.var(axis=0).mean()), rel=1e-5)
    np.testing.assert_allclose(gate.channels, by_channel.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(gate.one, by_channel[0], rtol=1e-5)
    assert gate.by_image > 1e-3


def test_what_closed_gates_hand_on_is_the_same_in_all_layers(x):
    gates = transform_gates(highway_mlp(10, in_features=192, bias=-60, rng=0), x)
    for gate in gates[1:]:
        np.testing.assert_allclose(gate.output, gates[0].output, atol=1e-20)  # T is 1e-26


def test_measuring_gates_leaves_the_net_as_it_is(x):
    net = cifar_highway(8, rng=0)
    gates = transform_gates(net, x)
    net.stage1[0].gate.layer.bias.data[...] = 7
    assert np.all(gates[0].bias == -1)  # a copy
    net.forward(x)  # and no cache of the measurement is left


def test_gates_that_cannot_be_measured_are_refused(x):
    with pytest.raises(ValueError, match="the net has no highway layer"):
        transform_gates(cifar_resnet(8, rng=0), x)
    with pytest.raises(ValueError, match="at least two images, to see gates change, got 1"):
        transform_gates(cifar_highway(5, rng=0), x[:1])


# -- the scripts --------------------------------------------------------------------------------------------------


def test_both_orders_are_trained_at_each_depth_and_found_again(lab, capsys):
    lab.run(f"preactivation {SMALL} --depths 14 8 --seeds 0 1")
    out = capsys.readouterr().out
    note, rows = lab.about["setting"], lab.numbers
    assert [(row["net"], row["depth"]) for row in rows] == [(n, d) for d in (8, 14) for n in ("resnet", "preact")]
    assert all(len(row["test"]) == 2 for row in rows) and "measured on 8 test images" in note
    assert out.count("pre-activation is ahead by") == 2 and "4 steps of 8 images" in out
    curves = lab.figures["preactivation"].axes[:2]
    errors = [[curve.get_ydata()[-1] for curve in axis.lines[1::2]] for axis in curves]  # test errors at the end
    ends = [[100 * np.mean(row["test"]) for row in rows if row["net"] == net] for net in ("resnet", "preact")]
    np.testing.assert_allclose(errors, ends)
    logs = {path: path.read_bytes() for path in (lab.folder / "out").rglob("*.jsonl")}
    assert len(logs) == 8
    lab.run(f"preactivation {SMALL} --depths 8 --nets preact")
    assert {path: path.read_bytes() for path in logs} == logs  # nothing was trained a second time


def test_one_seed_gives_all_networks_the_same_batches_and_the_nets_looked_at(lab, monkeypatch):
    seen = []

    def look(net, optimizer, train_set, test_set, *, rng, run, **_):
        seen.append((rng.bit_generator.state, net.conv1.weight.data))
        raise ValueError("enough")

    monkeypatch.setattr(experiment, "train", look)
    for net in ("resnet", "preact"):
        assert 2 == lab.run(f"preactivation {SMALL} --depths 8 --nets {net} --seeds 3")
    (state, conv), (same_state, same_conv) = seen
    assert state == same_state
    fresh = cifar_resnet(8, rng=np.random.default_rng(3).spawn(2)[0])
    np.testing.assert_array_equal(conv, fresh.conv1.weight.data)
    np.testing.assert_array_equal(conv, same_conv)


def test_width_is_held_against_depth_at_one_cost(lab, capsys):
    lab.run(f"width {SMALL} --depths 10 22 --width 8")
    assert "10 x" in capsys.readouterr().out
    shallow, deep = lab.numbers
    assert deep["width"] == 8 and shallow["width"] > 8
    assert shallow["multiply_adds"] == pytest.approx(deep["multiply_adds"], rel=0.15)  # few channels: coarse steps
    _, final = lab.figures["width-or-depth"].axes
    ends = [[100 * row[of][0] for row in (shallow, deep)] for of in ("training", "test")]
    np.testing.assert_allclose([line.get_xydata().T for line in final.lines], [[[10, 22], errors] for errors in ends])


def test_few_images_are_trained_on_without_augmentation(lab, capsys):
    lab.run(f"overfitting {SMALL} --depths 8 --train-images 16")
    note, (row,) = lab.about["setting"], lab.numbers
    assert note.startswith("16 training images of synthetic") and "No augmentation" in note
    assert row["lowest_test_loss"] <= row["test_loss"] and row["parameters"] == 75_290
    about = json.loads((lab.folder / "out" / "resnet-8-seed0" / "run.json").read_text())
    assert about["config"]["augment"] is False and about["config"]["train_set"].startswith("16 images")
    losses = lab.figures["overfitting"].axes[1].lines[1].get_ydata()
    assert losses[-1] == pytest.approx(row["test_loss"]) and min(losses) == pytest.approx(row["lowest_test_loss"])


def test_gates_are_watched_from_the_first_step_on(lab, capsys):
    lab.run(f"gates {SMALL} --depths 8")
    rows = lab.numbers
    assert {(row["net"], row["step"]) for row in rows} == {
        (net, step) for net in ("highway-8", "highway-mlp-8") for step in (0, 1, 4)
    }
    first = next(row for row in rows if row["net"] == "highway-mlp-8" and row["step"] == 0)
    assert len(first["layers"]) == 7 and first["layers"][0]["bias"] == -1
    means = lab.figures["gates"].axes[1].lines[0].get_ydata()  # of highway-mlp-8, at the start
    np.testing.assert_array_equal(means, [layer["mean"] for layer in first["layers"]])
    assert {"gates-inside-highway-8", "gates-inside-highway-mlp-8"} < set(lab.figures)
    assert "nan" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, message",
    [
        ("preactivation --nets plain", "--nets: expected resnet, preact or both, got 'plain'"),
        ("preactivation --depths 8 21", "depth: expected 6n + 2"),
        ("width --depths 10 20", "depth: expected 6n + 4"),
        ("overfitting --nets resnot", "unknown network 'resnot-20'"),
        ("overfitting --depths 8 21", "depth: expected 6n + 2"),
        ("gates --nets resnet --steps 0", "the net has no highway layer"),
        ("gates --seeds 0 1", "unrecognized arguments: --seeds 0 1"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_anything_is_trained(text, message, lab, capsys):
    room, _, more = text.partition(" ")
    assert refused(capsys, lab.run(f"{room} {SMALL} {more}"), message)
    assert not list((lab.folder / "out").glob("*-seed*"))


def test_with_and_without_augmentation_have_folders_of_their_own(lab):
    few = "overfitting --data synthetic --steps 4 --batch-size 8 --depths 8 --train-images 16"
    assert [lab.run(f"{few} {more}") for more in ("", "--augment", "--data-note noise")] == [0, 0, 0]
    folders = {path.name for path in (lab.folder / "runs").iterdir()}
    name = "overfitting-synthetic-depths-8-steps-4-batch-size-8-train-images-16"
    assert folders == {name, f"{name}-augment"}


def test_another_run_in_the_folder_is_refused(lab, capsys):
    lab.run(f"overfitting {SMALL} --depths 8 --train-images 16")
    again = lab.run(f"overfitting {SMALL} --depths 8 --train-images 16 --augment")
    assert refused(capsys, again, "augment")


def test_with_one_seed_the_words_on_pre_activation_say_so():
    rows = [{"net": net, "depth": 20, "training": [e], "test": [e]} for net, e in (("resnet", 0.5), ("preact", 0.4))]
    assert "ahead by +10.0 (training), +10.0 (test)" in verdict(rows) and "One seed" in verdict(rows)
    assert "One seed" not in verdict([row | {"test": [0.4, 0.5]} for row in rows])


# -- figures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw, given",
    [
        (preactivation_figure, ({}, {})),
        (width_figure, ({}, {})),
        (width_figure, ({(10, 8): [[{"step": 1}]]}, {})),
        (overfitting_figure, ({"resnet-8": []},)),
        (gates_figure, ({"highway-8": {}},)),
        (inside_figure, ([], [])),
    ],
)
def test_figures_of_nothing_are_refused(draw, given):
    with pytest.raises(ValueError, match=f"{draw.__name__}: expected"):
        draw(*given)


def test_rows_of_the_inside_are_layers_and_short_ones_end_in_blanks(x):
    gates = transform_gates(cifar_highway(11, rng=0), x)  # stages of 16, 32 and 64 channels
    figure = inside_figure(gates, gates)
    image = figure.axes[1].images[0].get_array()
    assert image.shape == (7, 64)
    np.testing.assert_array_equal(np.ma.count(np.ma.masked_invalid(image), axis=1), [16] * 3 + [32] * 2 + [64] * 2)
    np.testing.assert_allclose(image[0, :16], gates[0].channels)
