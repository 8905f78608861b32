"""What all figures share: exact numbers on every axis, one colour for a depth, no two nets alike, learning curves."""

import numpy as np
import pytest
from lab_commands import drawn, numbers_on

from minires.figures import colours, learning_curves, looks, panel, plot_log, round_numbers, sheet


@pytest.mark.parametrize(
    "limits, numbers", [((0, 10), ["0", "2.5", "5", "7.5", "10"]), ((0, 0.02), ["0", "0.005", "0.01", "0.015", "0.02"])]
)
def test_numbers_on_an_axis_are_not_rounded(limits, numbers):
    axis = panel(sheet(3, 3).subplots(), "title", "x", "y")
    axis.set(xlim=limits, xticks=np.linspace(*limits, 5))
    assert numbers_on(axis, "x") == numbers


@pytest.mark.parametrize("low, high", [(1, 1000), (1.2, 4.5), (0.0031, 0.0042), (1.0, 1.03), (1e-9, 1e7)])
def test_a_logarithmic_axis_has_two_to_ten_numbers_however_short_it_is(low, high):
    axis = panel(sheet(3, 3).subplots(), log="y")
    axis.plot([0, 1], [low, high])
    axis.set_ylim(low, high)
    numbers = numbers_on(axis)
    assert 2 <= len(numbers) <= 10 and len(set(numbers)) == len(numbers)
    assert all(low <= at * (1 + 1e-9) and at <= high * (1 + 1e-9) for at in round_numbers(low, high))
    assert [float(text.replace(" ", "")) for text in numbers] == pytest.approx(round_numbers(low, high), rel=1e-5)


def test_a_depth_has_one_colour_whatever_else_is_in_the_figure():
    alone, among = colours(["resnet-56"]), colours(["resnet-8", "resnet-20", "resnet-56", "resnet-110"])
    assert alone["resnet-56"] == among["resnet-56"] == looks(["plain-20", "plain-56"])["plain-56"]["color"]


def test_no_two_nets_look_alike():
    nets = [f"{kind}-{depth}" for kind in ("plain", "resnet", "preact", "highway") for depth in (8, 20, 56, 57, 67)]
    assert len({str(look) for look in looks([*nets, "mine", "yours"]).values()}) == len(nets) + 2
    for by in ("depth", "kind"):
        assert len(set(colours(nets[:10], by=by).values())) == 10


def test_a_note_does_not_cover_the_panels():
    figure = sheet(6, 3, "what was run " * 40)
    axis = panel(figure.subplots(), "title", "x", "y")
    figure.draw_without_rendering()
    note = figure.texts[0].get_window_extent()
    assert note.y0 >= 0 and note.y1 <= axis.get_tightbbox().y0 and note.x1 <= figure.bbox.width


def line(kind, step, error, loss):
    return {"kind": kind, "step": step, "error": error, "loss": loss, "images": 10}


def test_a_log_is_drawn_as_error_and_loss():
    log = [
        line("train", 10, 0.8, 2.0),
        line("test", 10, 0.7, 1.9),
        line("train", 20, 0.5, 1.5),
        line("test", 20, 0.4, 1),
    ]
    errors, losses = plot_log(log, "a run").axes
    np.testing.assert_allclose([curve.get_ydata() for curve in errors.lines], [[80, 50], [70, 40]])
    np.testing.assert_allclose([curve.get_ydata() for curve in losses.lines], [[2, 1.5], [1.9, 1]])
    two = plot_log({"resnet-20": log, "resnet-56": log}).axes[0]
    assert {text.get_text() for text in two.texts} == {"resnet-20", "resnet-56"}
    with pytest.raises(ValueError, match="plot_log: expected a log with at least one line, got none"):
        plot_log([])


def test_names_at_the_ends_of_curves_do_not_cover_each_other():
    logs = {f"resnet-{depth}": [[line("train", 10, 0.5, 1)]] for depth in (20, 32, 44)}
    axis = sheet(5, 4).subplots()
    learning_curves([axis], {"": logs}, colours(logs))
    heights = sorted(text.get_position()[1] for text in axis.texts)
    assert len(heights) == 3 and min(np.diff(heights)) > 2
    assert drawn(axis) == {}


NAN = float("nan")


@pytest.mark.parametrize("tests, end", [([NAN, NAN], 0), ([2.0, NAN], 2), ([NAN, 2.0], 2), ([2.0, np.inf], 2), ([], 0)])
def test_a_history_with_numbers_that_are_none_is_drawn_as_far_as_it_goes(tests, end):
    log = [line("train", 10, NAN, NAN)] + [line("test", 10 * i, loss, loss) for i, loss in enumerate(tests, 1)]
    figure = plot_log({"mine": log, "yours": [line("train", 5, 0.5, 1.0), line("test", 20, 0.25, 1.5)]})
    figure.draw_without_rendering()
    for axis, unit, other in zip(figure.axes, (100, 1), (25, 1.5), strict=True):
        low, high = axis.get_ylim()
        assert low == 0 and np.isfinite(high) and high >= min(100, other)
        names = {text.get_text(): text.get_position()[1] for text in axis.texts}
        moved = 0.052 * high
        assert abs(names["mine"] - unit * end) <= moved and abs(names["yours"] - other) <= moved
