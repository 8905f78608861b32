"""Grids of the loss landscape: processes, files, kills and refusals; and the script that draws them."""

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from lab_commands import drawn, refused

from minires.checkpoint import CheckpointError
from minires.lab.landscape import grid
from minires.lab.landscape.grid import landscapes
from minires.lab.landscape.measure import Slice, Surface, random_direction
from minires.networks import cifar_plain, cifar_resnet
from minires.run import owned
from minires.train import Interrupted


@pytest.fixture
def net():
    return cifar_resnet(8, classes=3, rng=0)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.standard_normal((12, 3, 8, 8)).astype(np.float32), rng.integers(0, 3, 12)


TICKS = np.linspace(-1, 1, 5)


def plane(net, seed=0, ticks=TICKS, **options):
    return Slice(net, (random_direction(net, seed), random_direction(net, seed + 1)), (ticks, ticks), **options)


def same(one, other):
    """Bit for bit."""
    return all(one[name].loss.tobytes() == other[name].loss.tobytes() for name in {**one, **other}) and all(
        one[name].error.tobytes() == other[name].error.tobytes() for name in {**one, **other}
    )


GRID = """
import sys
import numpy as np
from minires.lab.landscape.grid import landscapes
from minires.lab.landscape.measure import Slice, random_direction
from minires.networks import cifar_resnet

def main(folder):
    net, rng = cifar_resnet(8, rng=0), np.random.default_rng(0)
    x, labels = rng.standard_normal((32, 3, 16, 16)).astype(np.float32), rng.integers(0, 10, 32)
    ticks = np.linspace(-1, 1, 20)
    slices = {"plane": Slice(net, (random_direction(net, 1), random_direction(net, 2)), (ticks, ticks))}
    return landscapes(slices, x, labels, folder=folder)

if __name__ == "__main__":
    main(sys.argv[1])
"""


def start(folder):
    (script := folder.parent / "grid.py").write_text(GRID)
    environment = {**os.environ, "MINIRES_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen([sys.executable, script, folder], env=environment)


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "points"
    assert start(folder).wait() == 0
    return sorted(read(next(folder.glob("plane-*"))), key=lambda line: line["point"])


def test_a_grid_killed_in_the_middle_goes_on_and_ends_with_the_same_numbers(tmp_path, never_killed):
    process, deadline = start(tmp_path / "points"), time.monotonic() + 240
    while not any(path.read_bytes().count(b"\n") > 5 for path in tmp_path.glob("points/*.jsonl")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    (points,) = tmp_path.glob("points/*.jsonl")
    process.kill()
    process.wait()
    assert 5 < points.read_bytes().count(b"\n") < 400
    with open(points, "ab") as file:
        file.write(b'{"point": 399, "lo')  # as if it had been killed while it wrote

    assert start(points.parent).wait() == 0
    lines = read(points)
    assert sorted(lines, key=lambda line: line["point"]) == never_killed
    assert [line["point"] for line in never_killed] == list(range(400))  # no point was computed twice


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_points_that_are_there_are_not_computed_again(net, batch, tmp_path, monkeypatch):
    slices = {"plane": plane(net)}
    found = landscapes(slices, *batch, folder=tmp_path)
    (path,) = tmp_path.glob("plane-*.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-3]))
    calls, call = [], Surface.__call__
    monkeypatch.setattr(Surface, "__call__", lambda self, *steps: calls.append(steps) or call(self, *steps))
    assert same(landscapes(slices, *batch, folder=tmp_path), found) and len(calls) == 3
    assert same(landscapes(slices, *batch, folder=tmp_path), found) and len(calls) == 3


def test_a_grid_that_was_interrupted_says_how_far_it_came(net, batch, tmp_path, monkeypatch):
    calls, call = [], Surface.__call__

    def interrupted(self, *steps):
        calls.append(steps)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return call(self, *steps)

    slices = {"plane": plane(net)}
    monkeypatch.setattr(Surface, "__call__", interrupted)
    with pytest.raises(Interrupted, match=f"Stopped after 7 of 25 points, kept in {tmp_path}"):
        landscapes(slices, *batch, folder=tmp_path)
    assert len(read(next(tmp_path.glob("plane-*.jsonl")))) == 7
    calls.clear()
    with pytest.raises(Interrupted, match="7 of 25 points, not kept, without a folder"):
        landscapes(slices, *batch)


@pytest.mark.parametrize(
    "change",
    [
        lambda net, x, labels: (plane(net, ticks=np.linspace(-1, 1, 6)), x, labels),
        lambda net, x, labels: (plane(net, ticks=TICKS**3), x, labels),
        lambda net, x, labels: (plane(net, seed=1), x, labels),
        lambda net, x, labels: (plane(net, statistics="running"), x, labels),
        lambda net, x, labels: (plane(net), x[:9], labels[:9]),
        lambda net, x, labels: (plane(net), x, labels[::-1]),
        lambda net, x, labels: (plane(net)._replace(net=cifar_resnet(8, classes=3, rng=1)), x, labels),
    ],
)
def test_points_of_another_slice_have_a_file_of_their_own(change, net, batch, tmp_path):
    first = landscapes({"plane": plane(net)}, *batch, folder=tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    before = path.read_bytes()
    slice, x, labels = change(net, *batch)
    second = landscapes({"plane": slice}, x, labels, folder=tmp_path)
    assert same(second, landscapes({"plane": slice}, x, labels)) and not same(second, first)
    assert path.read_bytes() == before and len([*tmp_path.glob("plane-*.jsonl")]) == 2


def test_other_layers_and_other_threads_have_a_file_of_their_own(net, batch, tmp_path, monkeypatch):
    plain = cifar_plain(8, classes=3, rng=0)
    assert all((a.data == b.data).all() for a, b in zip(plain.parameters(), net.parameters()))
    for layers, threads in ((net, 3), (net, 7), (plain, 3), (net, 3)):
        monkeypatch.setattr(grid, "num_threads", lambda threads=threads: threads)
        landscapes({"line": Slice(layers, (), ())}, *batch, folder=tmp_path)
    assert len([*tmp_path.glob("line-*.jsonl")]) == 3


def test_a_folder_at_which_another_process_is_at_work_is_refused(net, batch, tmp_path):
    with owned(tmp_path), pytest.raises(CheckpointError, match="another process is at work there"):
        landscapes({"plane": plane(net)}, *batch, folder=tmp_path)


@pytest.mark.parametrize(
    "slice, message",
    [
        (lambda net, d: Slice(net, (d,), (TICKS, TICKS)), "got 1 directions and 2 arrays of ticks"),
        (lambda net, d: Slice(net, d, TICKS), "Both are tuples"),
        (lambda net, d: Slice(net, (d, d, d), (TICKS,) * 3), "expected one or two directions"),
        (lambda net, d: Slice(net, (d,), (TICKS,), "eval"), "statistics 'batch' or 'running', got 'eval'"),
        (lambda net, d: Slice(net, (d,), ([np.nan],)), "expected ticks to be arrays of finite numbers"),
        (lambda net, d: Slice(net, (d,), ([],)), "expected ticks to be arrays"),
        (lambda net, d: Slice(cifar_resnet(8, rng=0), (d,), (TICKS,)), "Are they of the same network"),
    ],
)
def test_slices_that_cannot_be_are_refused(slice, message, net, batch):
    with pytest.raises(ValueError, match=message):
        landscapes({"one": slice(net, random_direction(net, 0))}, *batch)


# -- the script -------------------------------------------------------------------------------------------------


SMALL = "landscape --data synthetic --depths 8 --steps 3 --batch-size 8 --images 8 --points 3 --moments 3 --out out"


def test_the_command_trains_measures_and_draws(lab, capsys):
    assert lab.run(SMALL) == 0
    out = capsys.readouterr().out
    assert "two directions hold" in out and "minima" in out
    kept = lab.numbers
    assert {name.removeprefix("plain-8-") for name in kept if name.startswith("plain")} == {
        "random", "running", "plane", "running_plane", "training", "path", "moments"}  # fmt: skip
    moments = kept["plain-8-moments"]
    assert moments["loss"][-1] == moments["drawn"][-1] == kept["plain-8-plane"]["loss"][1][1]
    assert set(lab.figures) == {"planes", "planes-gain", "planes-running", "planes-gain-running", "lines", "paths"}
    np.testing.assert_allclose(drawn(lab.figures["lines"].axes[0])["plain-8"], kept["plain-8-random"]["loss"])
    # Again: nothing is trained or measured anew, and the numbers are the same.
    (weights,) = lab.folder.glob("out/weights/plain-8-seed0-*.npz")
    before = weights.stat().st_mtime_ns
    assert lab.run(SMALL) == 0
    assert weights.stat().st_mtime_ns == before
    assert lab.numbers == kept


def test_what_the_command_cannot_do_is_one_line(lab, capsys):
    for changed, message in {
        "--seeds 0 1": "unrecognized arguments",
        "--points 2": "expected --reach above 0 and --points of at least 3, got 1.0 and 2",
    }.items():
        assert refused(capsys, lab.run(f"{SMALL} {changed}"), message)


def test_nets_trained_otherwise_are_kept_beside_the_others(lab):
    for more in ("", "--steps 4", "--lr 0.2", "--images 9"):
        assert lab.run(f"{SMALL} --nets plain --statistics batch {more}") == 0
    assert len([*lab.folder.glob("out/weights/*.npz")]) == 3 and len([*lab.folder.glob("out/points/*random-*")]) == 4


def test_the_command_takes_nets_from_runs_which_have_no_path(lab, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    degradation = importlib.import_module("degradation_cifar")
    degradation.main("--data synthetic --depths 8 --steps 3 --batch-size 8 --out trained".split())
    lab.run("landscape --data synthetic --runs trained --images 8 --points 3 --statistics batch --out out")
    assert {name.removeprefix("resnet-8-") for name in lab.numbers if name.startswith("resnet")} == {
        "random", "running", "plane", "training"}  # fmt: skip
    assert "paths" not in lab.figures
