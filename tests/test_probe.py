"""A probe sees everything that crosses a layer's boundary, changes nothing, and leaves nothing behind."""

import copy

import numpy as np
import pytest

from minires.lab.flow.figure import gradient_flow_figure
from minires.layers import Dropout, Identity, Linear, ReLU, Residual, Sequential
from minires.losses import softmax_cross_entropy
from minires.networks import cifar_plain, cifar_resnet
from minires.probe import Probe, gradient_flow
from minires.walk import summary


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.standard_normal((4, 3, 16, 16)).astype(np.float32), np.array([1, 5, 5, 9])


def run(net, batch):
    """One forward and backward; return dx of the whole net."""
    x, labels = batch
    _, dlogits = softmax_cross_entropy(net.forward(x), labels)
    return net.backward(dlogits)


def test_it_records_what_each_layer_got_and_gave(batch):
    net = cifar_resnet(8, rng=0)
    with Probe(net) as probe:
        dx = run(net, batch)
    paths = [path for path, _ in net.named_layers()]
    assert [set(record) for record in (probe.x, probe.y, probe.dy, probe.dx)] == [set(paths)] * 4
    assert probe.x[""] is batch[0] and probe.dx[""] is dx
    assert probe.y["conv1"] is probe.x["bn1"] and probe.dx["bn1"] is probe.dy["conv1"]
    assert np.array_equal(probe.y["relu"], np.maximum(probe.x["relu"], 0))
    for path in paths:
        assert probe.x[path].shape == probe.dx[path].shape and probe.y[path].shape == probe.dy[path].shape


@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_at_every_residual_add_the_two_parts_sum_to_the_whole(shortcut, batch):
    net = cifar_resnet(14, shortcut, rng=0)
    with Probe(net) as probe:
        run(net, batch)
    blocks = [path for path, layer in net.named_layers() if isinstance(layer, Residual)]
    assert len(blocks) == 6
    for path in blocks:
        for whole, branch, past in (
            (probe.dx[path], probe.dx[f"{path}.branch"], probe.dx[f"{path}.shortcut"]),
            (probe.y[path], probe.y[f"{path}.branch"], probe.y[f"{path}.shortcut"]),
        ):
            assert np.array_equal(whole, branch + past)
            assert np.any(branch) and np.any(past)
    for block in ("stage1.0", "stage2.1"):
        parts = (probe.dx[f"{block}.residual.{part}"] for part in ("branch", "shortcut"))
        assert np.array_equal(probe.dx[block], sum(parts))


def test_an_identity_shortcut_hands_the_gradient_on_undiminished(batch):
    net = cifar_resnet(8, rng=0)
    with Probe(net) as probe:
        run(net, batch)
    assert probe.dx["stage1.0.residual.shortcut"] is probe.dy["stage1.0.residual"]


def test_a_probed_pass_gives_what_an_unprobed_one_gives(batch):
    bare, probed = cifar_resnet(8, rng=0), cifar_resnet(8, rng=0)
    with Probe(probed):
        dx = run(probed, batch)
    assert np.array_equal(dx, run(bare, batch))
    for a, b in zip(bare.parameters(), probed.parameters()):
        assert np.array_equal(a.grad, b.grad)


def test_the_layers_are_themselves_again_afterwards(batch):
    net = cifar_resnet(8, rng=0)
    before = {path: set(vars(layer)) for path, layer in net.named_layers()}
    with Probe(net) as probe:
        run(net, batch)
    seen = probe.y["linear"]
    run(net, batch)
    for path, layer in net.named_layers():
        assert set(vars(layer)) - before[path] <= {"_cache", "_why_empty"}
        assert layer.forward.__func__ is type(layer).forward
    assert probe.y["linear"] is seen


def test_the_layers_are_themselves_again_after_an_error():
    net = cifar_resnet(8, rng=0)
    with pytest.raises(ValueError, match="expected x of shape"):
        with Probe(net) as probe:
            net.forward(np.zeros((1, 4, 16, 16), np.float32))
    assert not any("forward" in vars(layer) or "backward" in vars(layer) for _, layer in net.named_layers())
    assert probe.x["conv1"].shape == (1, 4, 16, 16)  # what the layer that failed was given
    with pytest.raises(KeyError, match="its forward did not run"):
        probe.y["conv1"]


def test_probes_nest(batch):
    net = cifar_resnet(8, rng=0)
    with Probe(net) as outer:
        with Probe(net, paths="stage?", reduce=np.shape) as inner:
            net.forward(batch[0])
        net.forward(batch[0])
        run(net, batch)
    assert inner.y == {"stage1": (4, 16, 16, 16), "stage2": (4, 32, 8, 8), "stage3": (4, 64, 4, 4)}
    assert outer.y["stage1"].shape == (4, 16, 16, 16) and not inner.dx
    assert not any("forward" in vars(layer) for _, layer in net.named_layers())


def test_a_probe_records_again_but_not_twice_at_once(batch):
    net = Sequential(ReLU())
    probe = Probe(net)
    with probe:
        with pytest.raises(RuntimeError, match="recording already"):
            probe.__enter__()
        net.forward(np.array([-1.0, 1.0]))
    with probe:
        net.forward(np.array([3.0]))
    assert probe.y["0"].tolist() == [3.0]
    assert "forward" not in vars(net[0])


def test_one_object_in_two_places_is_seen_in_both():
    relu = ReLU()
    net = Sequential(first=relu, second=relu)
    with Probe(net) as probe:
        net.forward(np.array([-1.0, 2.0]))
    assert set(probe.y) == {"", "first", "second"}
    assert "forward" not in vars(relu)


def test_a_number_can_be_kept_instead_of_an_array(batch):
    net = cifar_resnet(8, rng=0)
    with Probe(net, reduce=np.std) as probe, Probe(net) as whole:
        run(net, batch)
    assert probe.dx["stage2.0"] == whole.dx["stage2.0"].std()
    assert all(np.ndim(value) == 0 for record in (probe.x, probe.y, probe.dy, probe.dx) for value in record.values())


def test_paths_choose_what_is_recorded(batch):
    net = cifar_resnet(8, rng=0)
    with Probe(net, paths=["conv1", "*.bn2"]) as probe:
        run(net, batch)
    assert list(probe.y) == ["conv1", *(f"stage{i}.0.residual.branch.bn2" for i in (1, 2, 3))]
    assert "forward" not in vars(net.linear)


@pytest.mark.parametrize(
    "look, message",
    [
        (lambda probe: probe.y["stage1.O"], "probe.y: no layer 'stage1.O'. Did you mean stage1.0"),
        (lambda probe: probe.dx["qqq"], "no layer 'qqq'. The paths begin conv1, bn1"),
        (lambda probe: probe.dx["conv1"], "its backward did not run inside the with"),
        (lambda probe: Probe(probe.net, paths="stage9"), "no layer matches 'stage9'. Did you mean stage"),
    ],
)
def test_a_path_without_a_record_is_explained(look, message, batch):
    net = cifar_resnet(8, rng=0)
    with Probe(net) as probe:
        net.forward(batch[0])
    with pytest.raises(KeyError, match=message):
        look(probe)


def test_inference_without_caches_can_be_probed(batch):
    net = cifar_resnet(8, rng=0).eval()
    with net.without_caches(), Probe(net, paths="pool") as probe:
        net.forward(batch[0])
    assert probe.y["pool"].shape == (4, 64)


def test_a_copy_made_inside_runs_by_itself(batch):
    net = cifar_resnet(8, rng=0)
    with Probe(net) as probe:
        twin = copy.deepcopy(net)
        twin.conv1.weight.data[...] = 0
        twin.forward(batch[0])
        assert not probe.y
        net.forward(batch[0])
    assert np.any(probe.y["conv1"])


def test_gradient_flow_tells_the_parts_of_every_block(batch):
    net = cifar_resnet(14, rng=0)
    flow = gradient_flow(net, *batch)
    with Probe(net) as probe:
        run(net, batch)
    assert [row.path for row in flow] == [f"stage{i}.{j}" for i in (1, 2, 3) for j in (0, 1)]
    for row in flow:
        past, branch = (probe.dx[f"{row.path}.residual.{part}"] for part in ("shortcut", "branch"))
        assert row.entering == pytest.approx(np.linalg.norm(probe.dy[row.path]), rel=1e-5)
        assert row.shortcut == pytest.approx(np.linalg.norm(past), rel=1e-5)
        assert row.branch == pytest.approx(np.linalg.norm(branch), rel=1e-5)
        whole = row.shortcut**2 + row.branch**2 + 2 * row.cosine * row.shortcut * row.branch
        assert whole == pytest.approx(np.sum(probe.dx[row.path] ** 2), rel=1e-4)
        assert row.activation_std == pytest.approx(probe.y[row.path].std(), rel=1e-5)
        convs = [getattr(dict(net.named_layers())[f"{row.path}.residual.branch"], name) for name in ("conv1", "conv2")]
        dw = sum(np.sum(conv.weight.grad**2) for conv in convs)
        w = sum(np.sum(conv.weight.data**2) for conv in convs)
        assert row.weight_ratio == pytest.approx(np.sqrt(dw / w), rel=1e-5)


def test_in_a_plain_net_all_of_the_gradient_comes_through_the_branch(batch):
    net = cifar_plain(8, rng=0)
    flow = gradient_flow(net, *batch)
    with Probe(net) as probe:
        run(net, batch)
    for row in flow:
        assert row.branch == pytest.approx(np.linalg.norm(probe.dx[row.path]), rel=1e-5)
        assert row.shortcut == 0 and np.isnan(row.cosine)


def test_gradient_flow_leaves_no_trace(batch):
    net = Sequential(stage1=Sequential(cifar_resnet(8, rng=0)), drop=Dropout(0.5, rng=1))
    for parameter in net.parameters():
        parameter.grad += 3
    untouched = copy.deepcopy(net)
    assert gradient_flow(net, *batch) == gradient_flow(copy.deepcopy(net).zero_grad(), *batch)
    before, after = untouched.state_dict(), net.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert all(np.all(parameter.grad == 3) for parameter in net.parameters())
    assert np.array_equal(net.drop.forward(np.ones((8, 8))), untouched.drop.forward(np.ones((8, 8))))
    with pytest.raises(RuntimeError, match="backward before forward"):
        net.stage1[0].linear.backward(np.zeros((4, 10), np.float32))


def test_gradient_flow_inside_a_probe_is_not_recorded_by_it(batch):
    net = cifar_resnet(8, rng=0)
    with Probe(net) as probe:
        flow = gradient_flow(net, *batch)
    assert len(flow) == 3 and not probe.y


def test_gradient_flow_follows_the_mode_of_the_net(batch):
    net = cifar_resnet(8, rng=0)
    assert gradient_flow(net.eval(), *batch) != gradient_flow(net.train(), *batch)


def test_blocks_with_other_names_can_be_given(batch):
    def block():
        return Residual(Sequential(Linear(6, 6, rng=0), ReLU()), Identity())

    net = Sequential(Linear(5, 6, rng=0), block(), block(), Linear(6, 3, rng=0))
    x = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    labels = np.array([0, 1, 2, 0])
    with pytest.raises(ValueError, match="no layers called stage1.0"):
        gradient_flow(net, x, labels)
    flow = gradient_flow(net, x, labels, blocks=["1", "2"])
    assert [row.path for row in flow] == ["1", "2"]
    assert flow[0].entering < flow[0].shortcut + flow[0].branch and flow[1].shortcut == flow[1].entering
    with pytest.raises(KeyError, match="no layer matches '7'"):
        gradient_flow(net, x, labels, blocks=["7"])


def test_gradients_too_small_to_square_in_float32_are_still_measured():
    net = Sequential(Linear(2, 2, rng=0), Sequential(ReLU(), Linear(2, 2, rng=1)))
    net[1][1].weight.data *= 1e-30
    flow = gradient_flow(net, np.ones((1, 2), np.float32), np.array([0]), blocks=["1"])
    assert flow[0].branch > 0


def test_the_table_fits_a_narrow_terminal(batch):
    table = str(gradient_flow(cifar_plain(8, rng=0), *batch))
    assert table.splitlines()[0].split()[:3] == ["block", "|dy|", "shortcut"]
    assert max(map(len, table.splitlines())) <= 80 and "nan" not in table


def test_the_figure_shows_the_numbers_side_by_side(batch, tmp_path):
    nets = {"plain-14": cifar_plain(14, rng=0), "resnet-14": cifar_resnet(14, rng=0)}
    flows = {name: gradient_flow(net, *batch) for name, net in nets.items()}
    figure = gradient_flow_figure(flows, "what was run")
    norms = figure.axes[:2]
    assert [axis.get_title() for axis in norms] == list(flows)
    for axis, (name, flow) in zip(norms, flows.items()):
        drawn = {line.get_label(): list(line.get_ydata()) for line in axis.lines}
        assert drawn["leaving through the branch"] == [row.branch for row in flow]
        assert ("leaving through the shortcut" in drawn) == (name == "resnet-14")
    assert drawn["leaving through the shortcut"] == [row.shortcut for row in flows["resnet-14"]]
    assert norms[0].get_ylim() == norms[1].get_ylim()
    figure.savefig(tmp_path / "flow.png")


def test_a_figure_of_nothing_is_refused():
    with pytest.raises(ValueError, match="expected .* gradient_flow"):
        gradient_flow_figure({"plain": []})


# -- at a prompt, in a notebook -----------------------------------------------------------------------------------


def test_tables_are_shown_as_tables_where_they_are_the_last_line(batch):
    net = cifar_resnet(8, rng=0)
    for table in (summary(net, (3, 16, 16)), gradient_flow(net, *batch)):
        assert repr(table) == str(table) and "(" not in repr(table).splitlines()[0]
        html = table._repr_html_()
        assert html.startswith("<pre>") and html.endswith("</pre>") and "stage1" in html


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda net: Probe("net"), "Probe: expected a network, got 'net'"),
        (lambda net: Probe(net, paths=5), "Probe: expected paths, a str or a list of str, got 5"),
        (lambda net: Probe(net, paths=[5]), r"Probe: expected paths, a str or a list of str, got \[5\]"),
        (lambda net: Probe(net, reduce="std"), "Probe: expected reduce, a function of an array .*, got 'std'"),
        (lambda net: gradient_flow(None, None, None), "gradient_flow: expected a network, got None"),
        (lambda net: summary("resnet-8"), "summary: expected a network, got 'resnet-8'. From a name network"),
        (lambda net: summary(net, 32), r"summary: expected input_shape, such as \(3, 32, 32\), got 32"),
        (lambda net: summary(net, (3, 32.0, 32)), "summary: expected each size of input_shape, a whole .*got 32.0"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(call, message):
    with pytest.raises(TypeError, match=message):
        call(cifar_resnet(8, rng=0))
