"""A trace shows every layer, survives the disk, and names the first layer that differs."""

import re

import numpy as np
import pytest

from minires.cli import main
from minires.figures import equation_svg
from minires.layers import BatchNorm2d, Conv2d, Flatten, Linear, ReLU, Sequential
from minires.networks import cifar_plain, cifar_resnet, cifar_stochastic_depth
from minires.probe import Probe
from minires.report.trace import page
from minires.trace import Difference, Stats, Trace, difference, differences, equations, trace


@pytest.fixture
def batch():
    return np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32), np.array([0, 4, 9])


def test_a_trace_shows_what_a_probe_sees(batch):
    net = cifar_resnet(8, rng=0)
    made = trace(net, *batch)
    with Probe(net) as probe:
        net.forward(batch[0])
    for path, y in probe.y.items():
        assert np.array_equal(made.tensors[f"y of {path}" if path else "y"], y)
    rows = {row.path: row for row in made.rows}
    assert set(rows) == set(probe.y) - {""} and rows["bn1"].kind == "BatchNorm2d"
    assert rows["bn1"].y.std == pytest.approx(1, abs=1e-3) and rows["conv1"].dy.shape == (3, 16, 8, 8)
    assert made.tensors["dL/dp of linear.weight"].shape == (10, 64)


def test_tracing_leaves_the_net_as_it_was(batch):
    net = cifar_resnet(8, rng=0)
    before = net.state_dict()
    trace(net, *batch)
    assert all(np.array_equal(before[name], array) for name, array in net.state_dict().items())
    assert not any(np.any(parameter.grad) for parameter in net.parameters())


def test_numbers_leave_nan_out_and_count_it():
    s = Stats.of(np.array([1.0, np.nan, 3.0]))
    assert (s.mean, s.std, s.min, s.max, s.nan) == (2, 1, 1, 3, 1)
    assert Stats.of(np.full(4, np.nan)).nan == 4


def test_nan_is_traced_to_where_it_begins(batch):
    net = cifar_resnet(8, rng=0)
    net.stage2[0].residual.branch.bn1.bias.data[3] = np.nan
    rows = [row for row in trace(net, *batch).rows if row.y.nan]
    assert rows[0].path == "stage2.0.residual.branch.bn1" and rows[0].y.nan == 3 * 4 * 4


def test_a_saved_trace_comes_back(batch, tmp_path):
    made = trace(cifar_resnet(8, rng=0), *batch)
    made.save(tmp_path / "mine")
    back = Trace.load(tmp_path / "mine")
    assert back.rows == made.rows and list(back.tensors) == list(made.tensors)
    assert difference(made, back, tolerance=0) is None
    (tmp_path / "other").write_text("nothing")
    np.savez(tmp_path / "arrays.npz", a=1)
    np.savez(tmp_path / "rows.npz", about='{"format": 1, "tensors": []}')
    np.savez_compressed(tmp_path / "bomb.npz", about='{"format": 1, "tensors": [], "rows": []}', a=np.zeros(9 << 20))
    for name in ("other", "arrays.npz", "rows.npz", "bomb.npz"):
        with pytest.raises(ValueError, match="expected a trace"):
            Trace.load(tmp_path / name)
    with pytest.raises(ValueError, match="no such file"):
        Trace.load(tmp_path / "none")


@pytest.mark.parametrize("name", ["loss", "training", "net", "kinds", "equations", "rows", "x", "labels"])
def test_a_trace_from_which_something_is_missing_is_refused(batch, tmp_path, name):
    made = trace(cifar_resnet(8, rng=0), *batch)
    (made.about if name in made.about else made.tensors).pop(name)
    made.save(tmp_path / "mine.npz")
    with pytest.raises(
        ValueError, match="mine.npz: expected a trace, as minires trace --save writes it; it is not one"
    ):
        Trace.load(tmp_path / "mine.npz")


class ForgetsGamma(BatchNorm2d):
    def backward(self, dy):
        return super().backward(dy) * np.float32(0.9)


class Shifted(ReLU):
    def forward(self, x):
        return super().forward(x) + np.float32(0.1)


def test_a_mistake_in_backward_is_found_where_it_was_made(batch):
    reference, net = cifar_resnet(8, rng=0), cifar_resnet(8, rng=0)
    net.stage2[0].residual.branch.bn1 = ForgetsGamma(32)
    found = difference(trace(net, *batch), trace(reference, *batch))
    assert found.name == "dL/dx of stage2.0.residual.branch.bn1" and found.kind == "ForgetsGamma"
    assert str(found).startswith("First difference: dL/dx of stage2.0.residual.branch.bn1 (ForgetsGamma): mine is ")
    assert 1 < found.count < found.total


def test_a_mistake_in_forward_is_found_before_those_it_causes(batch):
    reference, net = cifar_resnet(8, rng=0), cifar_resnet(8, rng=0)
    net.stage1[0].residual.branch.relu = Shifted()
    assert difference(trace(net, *batch), trace(reference, *batch)).name == "y of stage1.0.residual.branch.relu"


def test_a_missing_weight_gradient_is_named(batch):
    class NoBias(Linear):
        def backward(self, dy):
            dx = super().backward(dy)
            self.bias.grad.fill(0)
            return dx

    reference, net = cifar_resnet(8, rng=0), cifar_resnet(8, rng=0)
    state, net.linear = net.linear.state_dict(), NoBias(64, 10)
    net.linear.load_state_dict(state)
    found = difference(trace(net, *batch), trace(reference, *batch))
    assert (found.name, found.kind, found.count) == ("dL/dp of linear.bias", "NoBias", 1)


def test_a_gradient_that_is_zero_but_for_rounding_may_differ_and_a_wrong_one_may_not(batch):
    """dL/d(bias) of a convolution before a batch norm."""
    net = Sequential(Conv2d(3, 4, 3, rng=0), BatchNorm2d(4), ReLU(), Flatten(), Linear(144, 10, rng=1)).astype(
        np.float64
    )
    reference, mine = (trace(net, batch[0].astype(np.float64), batch[1]) for _ in range(2))
    assert np.max(np.abs(reference.tensors["dL/dp of 0.bias"])) < 1e-15
    mine.tensors["dL/dp of 0.bias"] = -mine.tensors["dL/dp of 0.bias"] + 1e-17
    assert difference(mine, reference, 1e-6) is None
    mine.tensors["dL/dp of 0.bias"] = np.full(4, 1e-6)
    found = difference(mine, reference, 1e-6)
    assert (found.name, found.path, found.kind, found.count) == ("dL/dp of 0.bias", "0", "Conv2d", 1)


def test_random_layers_draw_what_they_drew_for_the_reference(batch):
    reference = trace(cifar_stochastic_depth(20, rng=0), *batch)
    net = cifar_stochastic_depth(20, rng=7)
    assert difference(trace(net, *batch), reference)
    assert difference(trace(reference.put_into(net), *batch), reference, tolerance=0) is None
    net.eval()
    assert reference.put_into(net).training and all(layer.training for _, layer in net.named_layers())


def test_the_row_of_the_first_difference_is_marked_also_for_a_parameter(batch):
    reference, mine = (trace(cifar_resnet(8, rng=0), *batch) for _ in range(2))
    mine.tensors["dL/dp of linear.bias"] = 2 * mine.tensors["dL/dp of linear.bias"]
    text = page(mine, compared=differences(mine, reference))
    assert re.findall(r'bad" id="first"><th scope="row">(\w+)', text) == ["linear"]


@pytest.mark.parametrize("name, shown", [("dL/dp of linear.bias", ["linear"]), ("x", [])])
def test_the_link_to_the_first_nan_leads_to_its_layer_where_it_is_of_one(batch, name, shown):
    made = trace(cifar_resnet(8, rng=0), *batch)
    made.tensors[name] = np.full_like(made.tensors[name], np.nan)
    text = page(made)
    assert f"The first NaN or infinity is in {name}." in text
    assert re.findall(r'bad" id="first"><th scope="row">(\w+)', text) == shown
    assert ("#first" in text) == bool(shown)


def test_a_tolerance_below_zero_is_refused(batch):
    made = trace(cifar_resnet(8, rng=0), *batch)
    with pytest.raises(ValueError, match="expected tolerance, a finite number of at least 0, got -1"):
        difference(made, made, tolerance=-1)


def test_other_networks_shapes_and_nan_differ(batch):
    resnet = trace(cifar_resnet(8, rng=0), *batch)
    plain = trace(cifar_plain(8, rng=0), *batch)
    assert "only in" in difference(resnet, plain).reason
    smaller = trace(cifar_resnet(8, rng=0), batch[0][:2], batch[1][:2])
    assert "mine has shape (2, 3, 8, 8)" in difference(smaller, resnet).reason
    resnet.tensors["y of conv1"] = np.full_like(resnet.tensors["y of conv1"], np.nan)
    assert difference(resnet, trace(cifar_resnet(8, rng=0), *batch)).name == "y of conv1"


def test_equations_come_from_docstrings():
    found = equations(BatchNorm2d(2))
    assert found["summary"].startswith("Normalise each channel") and r"\hat x" in found["forward"][0]
    assert found["backward"][-1].startswith("dx =") and equations(ReLU())["derived"].startswith("The slope is 1")
    assert equations(Shifted())["summary"] == equations(ReLU())["summary"]


def test_a_formula_is_drawn_and_one_beyond_the_drawer_is_left():
    assert equation_svg(r"\frac{a}{b}").startswith("<img alt=")
    assert equation_svg(r"\begin{cases} a \end{cases}") == ""


def test_the_page_holds_everything_itself(batch):
    text = page(trace(cifar_resnet(8, rng=0), *batch, "resnet-8"))
    assert text.count("<tr") == 2 + len(trace(cifar_resnet(8, rng=0), *batch).rows)
    assert (
        not re.search(r'(src|href)="(?!data:|#)', text) and "stage1.<wbr>0.<wbr>residual.<wbr>branch.<wbr>conv1" in text
    )
    marked = page(
        trace(cifar_resnet(8, rng=0), *batch), compared=[Difference("y of bn1", "bn1", "BatchNorm2d", "", 1, 2)]
    )
    assert 'class="banner"' in marked and re.findall(r'bad" id="first"><th scope="row">(\w+)', marked) == ["bn1"]


def test_the_command_compares_with_a_saved_trace_on_its_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--input", "3,8,8", "--batch", "2"]
    assert main(["trace", "resnet-8", *small, "--save", "ref.npz"]) == 0
    assert "stage3.0.residual.branch.conv2" in capsys.readouterr().out
    assert main(["trace", "resnet-8", "--seed", "5", "--against", "ref.npz", "--html", "t.html"]) == 0
    assert "tensors agree with ref.npz" in capsys.readouterr().out and "<svg" not in (tmp_path / "t.html").read_text()
    (tmp_path / "mine.py").write_text(
        "import minires\n\n"
        "class Bad(minires.ReLU):\n    def backward(self, dy):\n        return 2 * super().backward(dy)\n"
        "\ndef build(depth):\n    net = minires.cifar_resnet(depth)\n    net.stage1[0].relu = Bad()\n    return net\n"
    )
    assert main(["trace", "mine.py:build", "--args", "8", "--against", "ref.npz"]) == 1
    assert "First difference: dL/dx of stage1.0.relu (Bad)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["plain-8", "--against", "ref.npz"], "plain-8 cannot take the weights of ref.npz"),
        (["resnet-8", "--against", "none.npz"], "none.npz: no such file"),
        (["nothing.py:build"], "no file nothing.py"),
        (["resnet-8", "--html", "no/where.html"], "--html: no folder no"),
        (["resnet-8", "--batch", "0"], "--batch: expected a whole number above 0"),
        (["resnet-8", "--batch", "2", "--against", "ref.npz"], "its own batch, weights and mode. Leave --batch or"),
        (["resnet-8", "--checkpoint", "c.npz", "--against", "ref.npz"], "Leave --checkpoint or --against out"),
        (["resnet-8", "--eval", "--against", "ref.npz"], "Leave --eval or --against out"),
        (["resnet-8", "--save", "ref.npz", "--against", "ref.npz"], "--save: ref.npz is what is compared with"),
        (
            ["resnet-8", "--tolerance", "-1", "--against", "ref.npz"],
            "expected tolerance, a finite number of at least 0",
        ),
        (["resnet-8", "--html", "ref.npz"], "--html: ref.npz is there already and no page of minires trace"),
        (
            ["crash.py:build"],
            "trace: crash.py, line 4: AttributeError: 'numpy.ndarray' object has no attribute 'nothing'",
        ),
    ],
)
def test_what_cannot_be_traced_is_said_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    net = cifar_resnet(8, rng=0)
    trace(net, np.ones((2, 3, 8, 8), np.float32), np.array([0, 1])).save("ref.npz")
    (tmp_path / "crash.py").write_text(
        "import minires\nclass Crash(minires.ReLU):\n    def backward(self, dy):\n        return dy.nothing\n"
        "def build():\n    return minires.Sequential(Crash(), minires.GlobalAvgPool2d(), minires.Linear(3, 10))\n"
    )
    before = (tmp_path / "ref.npz").read_bytes()
    assert main(["trace", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1 and (tmp_path / "ref.npz").read_bytes() == before


def test_a_trace_of_a_sequential_without_names_prints():
    net = Sequential(Linear(3, 4, rng=0), ReLU(), Linear(4, 2, rng=1))
    text = str(trace(net, np.ones((2, 3), np.float32), np.array([0, 1])))
    setting, _, head, first, second, *_ = text.splitlines()
    assert setting.startswith("net: x of 2x3, training mode, loss 0.") and head.split()[:2] == ["layer", "shape"]
    assert (first.split()[:3], second.split()[:3]) == (["0", "y", "2x4"], ["Linear", "dy", "2x4"])
    assert "Linear: Multiply by a matrix" in text


@pytest.mark.filterwarnings("error")
def test_the_numbers_of_an_array_with_infinities_come_without_a_warning():
    stats = Stats.of(np.array([1, np.inf, np.nan]))
    assert (stats.mean, stats.min, stats.max, stats.nan) == (np.inf, 1, np.inf, 1) and np.isnan(stats.std)


def test_the_first_tensor_that_is_not_finite_is_named_on_the_page_and_in_the_table(batch):
    net = cifar_resnet(8, rng=0)
    net.stage2[0].residual.branch.conv1.weight.data[0, 0, 0, 0] = np.inf
    made = trace(net, *batch)
    name = "y of stage2.0.residual.branch.conv1"
    assert made.first_not_finite == name and f"The first NaN or infinity is in {name}." in str(made)
    text = page(made)
    assert f"The first NaN or infinity is in {name}." in text
    assert re.findall(r'bad" id="first"><th scope="row">([^/]*)</th>', text) == [name[5:].replace(".", ".<wbr>")]
    assert trace(cifar_resnet(8, rng=0), *batch).first_not_finite == ""


def test_everything_that_differs_is_on_the_page_with_its_value_there(batch):
    mine, reference = (trace(cifar_resnet(8, rng=seed), *batch) for seed in (0, 1))
    found = differences(mine, reference)
    text = page(mine, compared=found)
    assert len(found) > 50 and text.count('class="bad"') + text.count('class="stage bad"') > 20
    for one in found:
        assert one.name in text
    assert "dL/dx of stage1.0" in text and text.count("the reference ") >= len(found)


def test_a_page_has_few_stops_for_the_tabulator(batch):
    text = page(trace(cifar_resnet(20, rng=0), *batch))
    assert text.count("<a ") + text.count("tabindex") < 15
