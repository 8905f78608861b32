"""Slices of the loss landscape: directions, batch norm, and grids that survive whatever happens to them."""

import io

import numpy as np
import pytest
from lab_commands import numbers_on

from minires.lab.landscape.figure import lines_figure, planes_figure
from minires.lab.landscape.grid import landscapes
from minires.lab.landscape.measure import (
    Landscape,
    PathPlane,
    Slice,
    Surface,
    direction_between,
    filter_normalised,
    local_minima,
    path_plane,
    random_direction,
    weights_of,
)
from minires.layers import BatchNorm2d, Conv2d, Dropout, GlobalAvgPool2d, Linear, ReLU, Sequential
from minires.losses import softmax_cross_entropy
from minires.networks import cifar_plain, cifar_resnet
from minires.train import Interrupted


def small_net(eps=1e-5, dtype=np.float32):
    return Sequential(
        Conv2d(3, 4, 3, padding=1, rng=0),
        BatchNorm2d(4, eps=eps),
        ReLU(),
        Conv2d(4, 5, 3, padding=1, rng=1),
        BatchNorm2d(5, eps=eps),
        ReLU(),
        GlobalAvgPool2d(),
        Linear(5, 3, rng=2),
    ).astype(dtype)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.standard_normal((12, 3, 6, 6)).astype(np.float32), rng.integers(0, 3, 12)


TICKS = np.linspace(-1, 1, 5)


def loss_and_error(net, x, labels, statistics="batch"):
    """Of a net as it stands: the centre of its slices."""
    return Surface(Slice(net, (), (), statistics), x, labels)()


def plane(net, seed=0, ticks=TICKS, **options):
    delta, eta = (random_direction(net, rng) for rng in np.random.default_rng(seed).spawn(2))
    return Slice(net, (delta, eta), (ticks, ticks), **options)


def same(one, other):
    """Bit for bit; two NaN are the same."""
    return all(
        one[name].loss.tobytes() == other[name].loss.tobytes()
        and one[name].error.tobytes() == other[name].error.tobytes()
        for name in {**one, **other}
    )


# -- directions -------------------------------------------------------------------------------------------------


def test_every_filter_of_a_direction_has_the_norm_of_its_weights():
    net = cifar_resnet(8, shortcut="B", rng=0)
    filters = 0
    for name, d in random_direction(net, 1).items():
        weights = dict(net.named_parameters())[name].data.astype(np.float64)
        if d.ndim < 2:
            continue
        for one, w in zip(d, weights, strict=True):
            assert np.linalg.norm(one) == pytest.approx(np.linalg.norm(w), rel=1e-13)
            assert abs(np.vdot(one, w)) < 0.9 * np.linalg.norm(w) ** 2 or w.size < 10  # and another direction
            filters += 1
    assert filters == sum(len(p.data) for _, p in net.named_parameters() if p.data.ndim > 1) > 200


def test_biases_and_batch_norm_do_not_move():
    net = small_net()
    still = {name for name, d in random_direction(net, 0).items() if not d.any()}
    assert still == {name for name, p in net.named_parameters() if p.data.ndim == 1} and len(still) == 7


def test_a_filter_of_zeros_stays_where_it_is():
    net = small_net()
    net.parameters()[0].data[2] = 0
    d = random_direction(net, 0)
    first = next(iter(d.values()))
    assert not first[2].any() and first[1].any()
    ones = {"w": np.ones((2, 3))}
    assert not filter_normalised({"w": np.zeros((2, 3))}, ones)["w"].any()


def test_plain_and_residual_nets_are_given_the_same_directions_up_to_their_scale():
    nets = cifar_plain(8, rng=0), cifar_resnet(8, rng=5)
    one, other = (list(random_direction(net, 3).values()) for net in nets)
    assert len(one) == len(other)
    for d, e in zip(one, other):
        for a, b in zip(d, e) if d.ndim > 1 else ():
            assert np.vdot(a, b) == pytest.approx(np.linalg.norm(a) * np.linalg.norm(b), rel=1e-12)


def scaled(net):
    """The same function: filters before batch norm ten times, and a tenth, as large."""
    net = small_net(eps=0, dtype=np.float64).load_state_dict(net.state_dict())
    convs = [p for _, p in net.named_parameters() if p.data.ndim == 4]
    for conv, factors in zip(convs, ([10, 0.1, 1, 3], [7, 1, 0.2, 10, 0.5])):
        conv.data *= np.array(factors)[:, None, None, None]  # their biases are 0
    return net


def test_the_slice_does_not_see_the_scale_of_filters_before_batch_norm(batch):
    x, labels = batch[0].astype(np.float64), batch[1]
    net = small_net(eps=0, dtype=np.float64)
    slices = {name: plane(each) for name, each in (("as it is", net), ("scaled", scaled(net)))}
    found = landscapes(slices, x, labels)
    np.testing.assert_allclose(found["scaled"].loss, found["as it is"].loss, rtol=1e-9)
    assert np.ptp(found["scaled"].loss) > 0.1
    # Without normalisation it does: the same step is large for a small filter.
    rng = np.random.default_rng(0)
    raw = {name: rng.standard_normal(w.shape) for name, w in weights_of(net).items()}
    slices = {name: Slice(each, (raw,), (TICKS,)) for name, each in (("as it is", net), ("scaled", scaled(net)))}
    found = landscapes(slices, x, labels)
    assert np.abs(found["scaled"].loss - found["as it is"].loss).max() > 1e-3


def test_a_line_between_two_sets_of_weights_begins_at_one_and_ends_at_the_other(batch):
    start, end = small_net(), small_net()
    for p in end.parameters():
        p.data += 0.3
    way = direction_between(weights_of(start), weights_of(end))
    found = landscapes({"way": Slice(start, (way,), (np.array([0.0, 0.5, 1.0]),))}, *batch)["way"]
    assert (found.loss[0], found.error[0]) == loss_and_error(start, *batch)
    assert found.loss[2] == pytest.approx(loss_and_error(end, *batch)[0], rel=1e-5)
    assert found.loss[0] != found.loss[1] != found.loss[2]


# -- the path of training ---------------------------------------------------------------------------------------


def moments_of(points, ways):
    """Weights that run through points of the space of some directions, ending anywhere."""
    return [{name: 1 + sum(a * way[name] for a, way in zip(point, ways)) for name in ways[0]} for point in points]


def test_a_path_in_a_plane_is_found_whole():
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((30, 2)))
    ways = [{"a": column[:18].reshape(2, 9), "b": column[18:]} for column in q.T]
    points = np.array([[5.0, 1], [4, -2], [2, -1], [0.5, 0.5], [0, 0]])
    found = path_plane(moments_of(points, ways))
    assert found.explained.sum() == pytest.approx(1) and found.explained[0] > found.explained[1]
    np.testing.assert_allclose(found.points[-1], 0, atol=1e-12)
    gaps = [np.linalg.norm(p[:, None] - p[None], axis=2) for p in (points, found.points)]
    np.testing.assert_allclose(gaps[1], gaps[0], atol=1e-12)  # the same shape, turned
    assert (found.points[0] >= 0).all()
    rebuilt = [
        {name: sum(a * d[name] for a, d in zip(point, found.directions)) + 1 for name in ("a", "b")}
        for point in found.points
    ]
    for there, here in zip(rebuilt, moments_of(points, ways)):
        np.testing.assert_allclose(there["a"], here["a"])
        np.testing.assert_allclose(there["b"], here["b"])


def test_principal_directions_are_those_of_the_large_matrix():
    rng = np.random.default_rng(0)
    moments = [{"w": rng.standard_normal((4, 5)), "b": rng.standard_normal(4)} for _ in range(6)]
    found = path_plane(moments)
    rows = np.array([np.concatenate([m["w"].ravel(), m["b"]]) for m in moments])
    _, sizes, v = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(found.explained, (sizes**2 / (sizes**2).sum())[:2])
    for direction, row in zip(found.directions, v):
        flat = np.concatenate([direction["w"].ravel(), direction["b"]])
        assert np.linalg.norm(flat) == pytest.approx(1) and abs(flat @ row) == pytest.approx(1)


def test_a_random_walk_has_61_and_15_percent_in_two_directions():
    steps = np.random.default_rng(0).standard_normal((60, 20_000))
    walk = [{"w": row.astype(np.float32)} for row in np.cumsum(steps, axis=0)]
    np.testing.assert_allclose(path_plane(walk).explained, [6 / np.pi**2, 6 / (2 * np.pi) ** 2], atol=0.01)


def test_steps_at_right_angles_are_what_the_shares_of_a_path_are_held_against():
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((200, 6)))
    lengths = np.array([9.0, 5, 3, 2, 1, 1])
    walk = np.vstack([np.zeros(200), np.cumsum(lengths[:, None] * q.T, axis=0)])
    found = path_plane([{"w": row} for row in walk])
    np.testing.assert_allclose(found.right_angles, found.explained)
    flat = np.vstack([np.zeros(200), np.cumsum(lengths[:, None] * q.T[[0, 1] * 3], axis=0)])
    turned = path_plane([{"w": row} for row in flat])
    np.testing.assert_allclose(turned.right_angles, found.right_angles)
    assert turned.explained.sum() == pytest.approx(1) and found.explained.sum() < 0.97


@pytest.mark.parametrize(
    "moments, message",
    [
        ([{"w": np.zeros(3)}] * 2, "3 moments of training or more, got 2"),
        ([{"w": np.zeros(3)}] * 4, "lie on one line, or do not move"),
        ([{"w": np.arange(3.0) * i} for i in range(4)], "lie on one line"),
        ([{"w": np.full(3, np.nan)}, {"w": np.zeros(3)}, {"w": np.ones(3)}], "expected finite weights"),
        ([{"w": np.zeros(3)}, {"w": np.zeros(4)}, {"w": np.zeros(4)}], r"w is \(4,\) in one and \(3,\) in the other"),
    ],
)
def test_no_plane_is_drawn_through_what_is_not_a_path(moments, message):
    with pytest.raises(ValueError, match=message):
        path_plane(moments)


# -- the loss at a point ----------------------------------------------------------------------------------------


def test_with_batch_statistics_the_loss_depends_on_the_weights_alone(batch):
    net = small_net()
    before = loss_and_error(net, *batch)
    running = loss_and_error(net, *batch, statistics="running")
    for name, array in net.state_dict().items():
        if "running" in name:
            array += 5
            net.load_state_dict({name: array}, strict=False)
    assert loss_and_error(net, *batch) == before
    assert loss_and_error(net, *batch, statistics="running") != running


def test_batch_statistics_are_what_re_estimating_them_on_the_images_gives(batch):
    net = small_net()
    batch_loss, _ = loss_and_error(net, *batch)
    for _, layer in net.named_layers():
        if isinstance(layer, BatchNorm2d):
            layer.momentum = 1.0  # the running statistics become those of the last batch
    net.train().forward(batch[0])
    assert loss_and_error(net, *batch, "running")[0] == pytest.approx(batch_loss, rel=2e-3)  # m / (m - 1)
    assert loss_and_error(small_net(), *batch, "running")[0] != pytest.approx(batch_loss, rel=2e-3)


def test_running_statistics_and_dropout_are_as_in_evaluation(batch):
    net = Sequential(small_net(), Dropout(0.5, rng=0))
    net.train().forward(batch[0])
    loss, _ = softmax_cross_entropy(net.eval().forward(batch[0]), batch[1])
    assert loss_and_error(net.train(), *batch, "running")[0] == loss
    assert loss_and_error(net, *batch) == loss_and_error(net, *batch)  # no mask is drawn


def test_the_net_is_left_alone_whatever_happens(batch, monkeypatch):
    net = small_net().train()
    before = {name: array.tobytes() for name, array in net.state_dict().items()}
    landscapes({"plane": plane(net), "running": plane(net, statistics="running")}, *batch)
    for failure in (KeyboardInterrupt, ZeroDivisionError):
        forward, calls = Linear.forward, []

        def fails_later(self, x, forward=forward, calls=calls, failure=failure):
            calls.append(1)
            if len(calls) > 3:
                raise failure
            return forward(self, x)

        monkeypatch.setattr(Linear, "forward", fails_later)
        with pytest.raises((Interrupted, ZeroDivisionError)):
            landscapes({"plane": plane(net)}, *batch)
        monkeypatch.setattr(Linear, "forward", forward)
        assert len(calls) == 4
    assert {name: array.tobytes() for name, array in net.state_dict().items()} == before
    assert all(layer.training for _, layer in net.named_layers())


def test_the_middle_of_a_slice_is_the_net_itself(batch):
    net = small_net()
    found = landscapes({"plane": plane(net)}, *batch)["plane"]
    assert (found.loss[2, 2], found.error[2, 2]) == loss_and_error(net, *batch)
    assert found.loss.shape == found.error.shape == (5, 5) and len(np.unique(found.loss)) == 25


def test_alpha_is_the_first_axis(batch):
    net = small_net()
    both = plane(net, ticks=np.array([0.0, 1.0]))
    found = landscapes({"plane": both}, *batch)["plane"]
    first = landscapes({"line": Slice(net, both.directions[:1], both.ticks[:1])}, *batch)["line"]
    assert (found.loss[:, 0] == first.loss).all() and found.loss[0, 1] != first.loss[1]


def test_losses_that_are_not_finite_are_nan_and_the_rest_is_there(batch, tmp_path):
    net = small_net()
    delta = random_direction(net, 0)
    ticks = np.array([0.0, 1.0, 1e38, 1e200])
    slices = {"far": Slice(net, (delta,), (ticks,), "running")}
    found = landscapes(slices, *batch, folder=tmp_path)
    assert np.isfinite(found["far"].loss).tolist() == [True, True, False, False]
    assert np.isnan(found["far"].error[2:]).all() and np.isnan(found["far"].loss[2:]).all()
    assert same(landscapes(slices, *batch, folder=tmp_path), found)  # as read from the disk


# -- what is drawn ----------------------------------------------------------------------------------------------


def test_local_minima_are_counted_inside():
    t = np.linspace(-1, 1, 41)
    bowl = t[:, None] ** 2 + t**2
    assert local_minima(bowl) == 1
    assert local_minima(-bowl) == 0  # those at the edge do not count
    assert local_minima(np.cos(9 * t)[:, None] + np.cos(9 * t) + 0 * bowl) == 4
    assert local_minima(np.full((5, 5), np.nan)) == 0


def a_plane(low, high, n=9):
    t = np.linspace(-1, 1, n)
    return Landscape((t, t), np.geomspace(low, high, n * n).reshape(n, n), np.full((n, n), 0.5))


def test_planes_share_one_colour_scale_and_gaps_are_grey(recwarn):
    holes, flat, nowhere = a_plane(1, 50), a_plane(3, 3), a_plane(1, 2)
    holes.loss[2:4, 3] = np.nan, np.inf
    nowhere.loss[:] = np.nan
    figure = planes_figure({"plain-8": a_plane(0.1, 2), "resnet-8": holes, "plain-14": flat, "resnet-14": nowhere})
    norms = {
        (c.norm.vmin, c.norm.vmax)
        for axis in figure.axes[:4]
        for c in axis.collections
        if c.get_cmap().name == "viridis"
    }
    ((low, high),) = norms
    assert low == pytest.approx(0.1) and high == pytest.approx(50)
    assert not figure.axes[3].collections  # nothing is finite there
    assert len(numbers_on(figure.axes[4])) >= 3  # of the colour bar
    figure.savefig(file := io.BytesIO(), format="rgba")
    pixels = np.frombuffer(file.getvalue(), np.uint8).reshape(-1, 4)
    assert (pixels[:, :3] == 0xBD).all(axis=1).sum() > 20_000
    assert not recwarn.list


def test_the_share_of_the_gain_is_that_of_each_net_alone():
    deep, shallow = a_plane(0.1, 4), a_plane(2.0, 4)
    figure = planes_figure({"resnet-8": deep, "plain-8": shallow}, guess=2.3)
    bar = figure.axes[2]
    assert bar.get_ylabel() == "share of the gain that is left" and bar.get_ylim() == (0, 1)
    for axis, found in zip(figure.axes, (deep, shallow)):
        levels = [level for drawn in axis.collections for level in getattr(drawn, "levels", [])]
        assert 0.5 in levels  # half of the gain is crossed in both, though no loss of the one is in the other
        assert found.loss.min() < 2.3 < found.loss.max()


def test_a_path_is_drawn_where_it_passes():
    points = np.array([[0.8, 0.5], [0.3, -0.4], [0.0, 0.0]])
    way = PathPlane((), points, np.array([0.7, 0.2]), np.array([0.6, 0.2]))
    figure = planes_figure({"resnet-8": a_plane(1, 2)}, {"resnet-8": way})
    axis = figure.axes[0]
    assert any(np.array_equal(line.get_xydata(), points) for line in axis.lines)
    assert "70.0 %" in axis.get_xlabel() and "20.0 %" in axis.get_ylabel()
    assert {"start", "end"} <= {text.get_text() for text in axis.texts}


def test_figures_of_nothing_are_refused():
    line = Landscape((TICKS,), TICKS**2, TICKS**2)
    for wrong in ({}, {"plain-8": line}):
        with pytest.raises(ValueError, match="planes_figure: expected"):
            planes_figure(wrong)
    for wrong in ({}, {"title": {}}):
        with pytest.raises(ValueError, match="lines_figure: expected"):
            lines_figure(wrong)
