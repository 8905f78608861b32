"""The roofline: its limits come from work that is really done, and every operator is where its numbers put it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lab_commands import refused

from minires.bench.ours import amount_of_work
from minires.cli import main
from minires.kernels.compiled import planes
from minires.lab.roofline.figure import roofline_figure
from minires.lab.roofline.measure import OPERATIONS, against_roof, multiply_often, read

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))  # where python examples/x.py looks
SMALL = "--net resnet-8 --batch-size 4 --image-size 16 --repeat 2 --memory-mb 2 --cache-mb 1"
LIMITS = {"peak": 500.0, "memory": 50.0, "cache": 200.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roofline") / "new"
    assert main(["lab", "roofline", *SMALL.split(), "--out", str(folder)]) == 0
    return folder, json.loads((folder / "numbers.json").read_text())


def rows_of(report, operator):
    return [row for row in report["operators"] if row["operator"] == operator]


def test_it_measures_draws_and_keeps_the_numbers(run):
    folder, about = run
    report = about["numbers"]
    assert (folder / "roofline.png").read_bytes()[:4] == b"\x89PNG" and about["machine"]["threads"]
    assert "resnet-8, batch of 4 x 3x16x16" in report["what"] and " 1 threads" not in about["setting"]
    assert set(report["rates"]) == {"peak", "memory, read", "memory, add", "cache, read", "cache, add"}
    assert all(rate > 0 for rate in report["rates"].values())
    assert report["limits"]["memory"] == max(report["rates"]["memory, read"], report["rates"]["memory, add"])


def test_every_kernel_of_the_step_has_a_place_under_the_roof(run):
    report = run[1]["numbers"]
    without = {row["operator"] for row in report["operators"] if "of_roof" not in row}
    assert without == {"loss", "SGD step", "all else"}
    (row,) = [row for row in rows_of(report, "conv2d") if row["shape"].startswith("3x3, 64")]
    images, weights, operations = 2 * 4 * 64 * 4 * 4, 64 * 64 * 9, 2 * 4 * 16 * 64 * 64 * 9
    assert row["intensity"] == pytest.approx(operations / (4 * (images + weights)))


def test_the_images_that_are_counted_are_those_that_move(run):
    report = run[1]["numbers"]
    seen = 0
    for operator, (_, images) in OPERATIONS.items():
        for row in rows_of(report, operator):
            assert row["bytes"] == 4 * images * 4 * np.prod([int(size) for size in row["shape"].split("x")])
            seen += 1
    assert seen >= 18  # six operators on images of three shapes


def test_the_bytes_of_a_convolution_are_its_images_and_its_weights():
    x, weight, y = (np.zeros(shape, np.float32) for shape in [(2, 3, 8, 8), (5, 3, 3, 3), (2, 5, 8, 8)])
    _, amount = amount_of_work("conv2d", (x, weight, None, (1, 1)), y)
    assert amount == {"flops": 2 * y.size * 27, "bytes": x.nbytes + weight.nbytes + y.nbytes}


def row(operator, intensity, gflops, share=0.1, shape="16x32x32"):
    return {"operator": operator, "shape": shape, "share": share, "intensity": intensity, "gflops_per_s": gflops}


@pytest.mark.parametrize(
    "operator, flops, rate, of_roof, limit",
    [("conv2d", 4e9, 250, 0.5, "arithmetic"), ("conv2d", 0.1e9, 40, 0.8, "memory"), ("relu", None, 5, 0.8, "memory")],
)
def test_what_an_operator_waits_for(operator, flops, rate, of_roof, limit):
    moved = 0.1e9
    flops, given = (flops, {"flops": flops}) if flops else (moved / 8, {})
    ms = flops * 3 / rate / 1e6
    found = against_roof({"operator": operator, "bytes": moved, "calls": 3, "ms": ms, **given}, LIMITS)
    assert (found["of_roof"], found["limit"]) == (pytest.approx(of_roof), limit)
    assert found["gflops_per_s"] == pytest.approx(rate)


def test_the_products_that_are_timed_are_those_that_are_counted():
    rng = np.random.default_rng(0)
    weight, planes = rng.random((8, 8), np.float32), rng.random((3, 8 * 64), np.float32)
    bias, out = rng.random(8, np.float32), np.zeros((3, 8, 64), np.float32)
    multiply_often(weight, bias, planes, np.arange(8) * 64, out, 2, 0, 3)
    expected = weight @ planes.reshape(3, 8, 64) + bias[:, None]
    np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_the_products_left_to_the_compiler_are_the_same_products():
    """Of examples/what_each_trick_buys.py, where they stand in for those of kernels/compiled/planes.py."""
    tricks, rng = importlib.import_module("what_each_trick_buys"), np.random.default_rng(0)
    weight, bias, image = rng.random((8, 5), np.float32), rng.random(8, np.float32), rng.random(200, np.float32)
    offset = np.array([0, 1, 2, 40, 41, 42, 43, 44])
    ours, plain = np.zeros((2, 8, 150), np.float32)
    for multiply, out in ((planes.multiply, ours), (tricks.plain_multiply, plain)):
        multiply(weight, bias, image, offset, (0, 5), out, (20, 120), False)
    assert plain[:, 20:120].all() and not plain[:, 120:].any()
    np.testing.assert_allclose(plain, ours, rtol=1e-5)
    sums, plain_sums = np.zeros((2, 8, 8), np.float32)
    planes.multiply_transposed(ours, (20, 116), image, offset, sums)
    tricks.plain_multiply_transposed(ours, (20, 116), image, offset, plain_sums)
    np.testing.assert_allclose(plain_sums, sums, rtol=1e-5)


@pytest.mark.parametrize(
    "rows",
    [
        ["loops", "im2col"],
        pytest.param(
            ["passes", "rows", "registers", "winograd", "memory", "ahead", "threads", "board"], marks=pytest.mark.slow
        ),
    ],
)
def test_every_row_of_the_table_of_tricks_trains(rows, tmp_path):
    """The script itself compares the losses of the rows."""
    options = ["--batch-size", "2", "--turns", "1", "--json", str(tmp_path / "tricks.json"), "--rows", *rows]
    subprocess.run([sys.executable, EXAMPLES / "what_each_trick_buys.py", *options], check=True)
    times = json.loads((tmp_path / "tricks.json").read_text())["seconds"]
    assert list(times) == rows and all(seconds > 0 for row in rows for seconds in times[row])


def test_reading_reads_everything():
    x, totals = np.arange(100, dtype=np.float32), np.zeros(2, np.float32)
    read(x, totals, 0, 0, 40)
    read(x, totals, 1, 40, 100)
    assert totals.tolist() == [x[:40].sum(), x[40:].sum()]


def test_the_figure_puts_every_dot_where_its_numbers_are():
    rows = [row("conv2d", 40, 300, 0.4, "3x3, 16 to 16 channels, 32x32"), row("relu", 1 / 8, 5), row("add", 1 / 12, 4)]
    figure = roofline_figure([*rows, {"operator": "loss", "shape": "", "share": 0.2}], LIMITS, "what was run")
    (axis,) = figure.axes
    dots = axis.collections[0]
    np.testing.assert_allclose(dots.get_offsets(), [[40, 300], [1 / 8, 5], [1 / 12, 4]])
    assert dots.get_sizes()[0] == pytest.approx(4 * dots.get_sizes()[1])
    corners = [tuple(line.get_xydata()[1]) for line in axis.lines[:2]]
    assert corners == [(2.5, 500), (10, 500)]  # where cache and memory are just fast enough
    words = [text.get_text() for text in (*axis.texts, *figure.texts)]
    assert {"3x3, 16 to 16 channels, 32x32: 40%", "relu: 10%", "memory: 50 GB/s", "what was run"} <= set(words)


def test_no_name_covers_a_dot_or_another_name_or_lies_outside():
    rng = np.random.default_rng(0)
    shapes = [f"3x3, {c} to {c} channels, 32x32" for c in range(8)]
    rows = [row("conv2d", 20 * 1.3**i, 400 * rng.uniform(2.4, 3.4), 0.05, shape) for i, shape in enumerate(shapes)]
    rows += [row(name, 0.1 * 1.4**i, 20, 0.03) for i, name in enumerate(("relu", "add", "batchnorm_a", "batchnorm_b"))]
    (axis,) = roofline_figure(rows, LIMITS).axes
    named = [text.get_window_extent() for text in axis.texts if "%" in text.get_text()]
    assert len(named) >= 8
    dots = axis.transData.transform(axis.collections[0].get_offsets())
    inside = axis.get_window_extent()
    for i, box in enumerate(named):
        assert inside.y0 < box.y0 and box.y1 < inside.y1
        assert not box.count_overlaps(named[:i])
        assert not any(box.contains(*dot) for dot in dots)


def test_a_figure_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one row with an intensity"):
        roofline_figure([{"operator": "loss", "shape": "", "share": 1}], LIMITS)


@pytest.mark.parametrize(
    "text, message",
    [
        ("--repeat 0", "expected a whole number above 0, got '0'"),
        ("--memory-mb 1.5", "expected a whole number above 0, got '1.5'"),
        ("--net resnet-21", "6n"),
    ],
)
def test_impossible_options_are_named_in_one_line(text, message, lab, capsys):
    assert refused(capsys, lab.run(f"roofline {text} --out out"), message)
