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


def test_the_number_of_processes_does_not_change_a_bit(net, batch):
    slices = {"plane": plane(net), "line": Slice(net, (random_direction(net, 7),), (TICKS,), "running")}
    one, two = (landscapes(slices, *batch, workers=workers, bar=False) for workers in (1, 2))
    assert same(one, two)


GRID = """
import sys
import numpy as np
from minires.lab.landscape.grid import landscapes
from minires.lab.landscape.measure import Slice, random_direction
from minires.networks import cifar_resnet

def main(folder, workers):
    net, rng = cifar_resnet(8, rng=0), np.random.default_rng(0)
    x, labels = rng.standard_normal((32, 3, 16, 16)).astype(np.float32), rng.integers(0, 10, 32)
    ticks = np.linspace(-1, 1, 20)
    slices = {"plane": Slice(net, (random_direction(net, 1), random_direction(net, 2)), (ticks, ticks))}
    return landscapes(slices, x, labels, folder=folder, workers=workers, bar=False)

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
"""


def children_of(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if parent == str(pid):
            found.append(stat.parent)
    return found


def start(folder, workers):
    (script := folder.parent / "grid.py").write_text(GRID)
    environment = {**os.environ, "MINIRES_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen([sys.executable, script, folder, str(workers)], env=environment)


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "points"
    assert start(folder, 0).wait() == 0
    return sorted(read(folder / "plane.jsonl")[1:], key=lambda line: line["point"])


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_grid_killed_in_the_middle_goes_on_and_ends_with_the_same_numbers(workers, tmp_path, never_killed):
    points = tmp_path / "points" / "plane.jsonl"
    process, deadline = start(points.parent, workers), time.monotonic() + 240
    while not (points.exists() and points.read_bytes().count(b"\n") > 5):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    processes_of_it = children_of(process.pid)
    assert len(processes_of_it) >= workers
    process.kill()
    process.wait()
    assert 5 < points.read_bytes().count(b"\n") < 401
    with open(points, "ab") as file:
        file.write(b'{"point": 399, "lo')  # as if it had been killed while it wrote

    assert start(points.parent, 0).wait() == 0
    lines = read(points)[1:]
    assert sorted(lines, key=lambda line: line["point"]) == never_killed
    assert [line["point"] for line in never_killed] == list(range(400))  # no point was computed twice
    while any(process.exists() for process in processes_of_it):  # those of a killed one end by themselves
        assert time.monotonic() < deadline
        time.sleep(0.05)


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_points_that_are_there_are_not_computed_again(net, batch, tmp_path, monkeypatch, capsys):
    slices = {"plane": plane(net)}
    found = landscapes(slices, *batch, folder=tmp_path)
    assert "landscape: about 1 s for 25 points." in capsys.readouterr().out
    path = tmp_path / "plane.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-3]))
    calls, call = [], Surface.__call__
    monkeypatch.setattr(Surface, "__call__", lambda self, *steps: calls.append(steps) or call(self, *steps))
    assert same(landscapes(slices, *batch, folder=tmp_path, bar=False), found) and len(calls) == 3
    assert same(landscapes(slices, *batch, folder=tmp_path), found) and len(calls) == 3
    assert "about" not in capsys.readouterr().out


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
        landscapes(slices, *batch, folder=tmp_path, bar=False)
    assert len(read(tmp_path / "plane.jsonl")) == 8
    calls.clear()
    with pytest.raises(Interrupted, match="7 of 25 points, not kept, without a folder"):
        landscapes(slices, *batch, bar=False)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda net, x, labels: ({"plane": plane(net, ticks=np.linspace(-1, 1, 6))}, x, labels),
         "ticks = 5 from -1 to 1.*this slice has ticks = 6 from -1 to 1"),
        (lambda net, x, labels: ({"plane": plane(net, ticks=TICKS**3)}, x, labels), "ticks = 5 from -1 to 1, checksum"),
        (lambda net, x, labels: ({"plane": plane(net, seed=1)}, x, labels), "directions = 2, checksum"),
        (lambda net, x, labels: ({"plane": plane(net, statistics="running")}, x, labels), "statistics = batch"),
        (lambda net, x, labels: ({"plane": plane(net)}, x[:9], labels[:9]), "images = 12.*this slice has images = 9"),
        (lambda net, x, labels: ({"plane": plane(net)}, x, labels[::-1]), "images = 12, checksum"),
    ],
)  # fmt: skip
def test_points_of_another_slice_are_refused_and_left_as_they_are(change, message, net, batch, tmp_path):
    landscapes({"plane": plane(net)}, *batch, folder=tmp_path, bar=False)
    before = (tmp_path / "plane.jsonl").read_bytes()
    slices, x, labels = change(net, *batch)
    with pytest.raises(CheckpointError, match=message):
        landscapes({"new": plane(net), **slices}, x, labels, folder=tmp_path, bar=False)
    assert (tmp_path / "plane.jsonl").read_bytes() == before and not (tmp_path / "new.jsonl").exists()


def test_other_weights_layers_threads_and_files_are_refused(net, batch, tmp_path, monkeypatch):
    images = np.zeros((4, 3, 8, 8), np.float32), np.arange(4)
    residual = cifar_resnet(8, rng=0)
    line = Slice(residual, (), ())  # one point
    landscapes({"line": line}, *images, folder=tmp_path, bar=False)
    plain = cifar_plain(8, rng=0)
    assert all((a.data == b.data).all() for a, b in zip(plain.parameters(), residual.parameters()))
    with pytest.raises(CheckpointError, match="layers = .* this slice has layers = "):
        landscapes({"line": line._replace(net=plain)}, *images, folder=tmp_path, bar=False)
    other = cifar_resnet(8, rng=1)
    with pytest.raises(CheckpointError, match="weights = checksum"):
        landscapes({"line": line._replace(net=other)}, *images, folder=tmp_path, bar=False)
    monkeypatch.setattr(grid, "num_threads", lambda: 7)
    with pytest.raises(CheckpointError, match="this slice has threads = 7"):
        landscapes({"line": line}, *images, folder=tmp_path, bar=False)
    (tmp_path / "line.jsonl").write_text('{"step": 3}\n')
    with pytest.raises(CheckpointError, match="not the points of a slice"):
        landscapes({"line": line}, *images, folder=tmp_path, bar=False)


def test_a_folder_at_which_another_process_is_at_work_is_refused(net, batch, tmp_path):
    with owned(tmp_path), pytest.raises(CheckpointError, match="another process is at work there"):
        landscapes({"plane": plane(net)}, *batch, folder=tmp_path, bar=False)


class Dies:
    def __call__(self):
        os._exit(9)


def test_a_worker_that_dies_is_one_line():
    with pytest.raises(ChildProcessError, match="a worker process died. Out of memory"):
        with grid._computing({"plane": Dies()}, 2) as compute:
            list(compute(grid._point, [("plane", 0, ())]))


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
        landscapes({"one": slice(net, random_direction(net, 0))}, *batch, bar=False)


def test_workers_are_a_whole_number(net, batch):
    with pytest.raises(ValueError, match="expected workers to be a whole number from 0 on, got -1"):
        landscapes({}, *batch, workers=-1)


# -- the script -------------------------------------------------------------------------------------------------


SMALL = "landscape --data synthetic --depths 8 --steps 3 --batch-size 8 --images 8 --points 3 --moments 3 --out out"


@pytest.fixture
def here(monkeypatch):
    """Without new processes."""
    command = importlib.import_module("minires.lab.landscape.command")
    monkeypatch.setattr(command, "landscapes", lambda *a, workers, **k: landscapes(*a, **k, workers=0))


def test_the_command_trains_measures_and_draws(here, lab, capsys):
    assert lab.run(SMALL) == 0
    out = capsys.readouterr().out
    assert "landscape: about" in out and "two directions hold" in out and "minima" in out
    kept = lab.numbers
    assert {name.removeprefix("plain-8-") for name in kept if name.startswith("plain")} == {
        "random", "running", "plane", "running_plane", "training", "path", "moments"}  # fmt: skip
    moments = kept["plain-8-moments"]
    assert moments["loss"][-1] == moments["drawn"][-1] == kept["plain-8-plane"]["loss"][1][1]
    assert set(lab.figures) == {"planes", "planes-gain", "planes-running", "planes-gain-running", "lines", "paths"}
    np.testing.assert_allclose(drawn(lab.figures["lines"].axes[0])["plain-8"], kept["plain-8-random"]["loss"])
    # Again: nothing is trained or measured anew, and the numbers are the same.
    weights = lab.folder / "out" / "weights" / "plain-8-seed0.npz"
    before = weights.stat().st_mtime_ns
    assert lab.run(SMALL) == 0
    assert "landscape: about" not in capsys.readouterr().out and weights.stat().st_mtime_ns == before
    assert lab.numbers == kept


def test_what_the_command_cannot_do_is_one_line(here, lab, capsys):
    lab.run(SMALL)
    capsys.readouterr()
    for changed, message in {
        "--steps 4": "trained with steps = 3, asked for steps = 4",
        "--lr 0.2": "trained with learning rate = 0.05, asked for learning rate = 0.2",
        "--images 9": "holds points with images = 8",
        "--direction-seed 2": "holds points with directions",
        "--seeds 0 1": "unrecognized arguments",
        "--points 2": "expected --reach above 0 and --points of at least 3, got 1.0 and 2",
    }.items():
        assert refused(capsys, lab.run(f"{SMALL} {changed}"), message)


def test_the_command_takes_nets_from_runs_which_have_no_path(here, lab, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    degradation = importlib.import_module("degradation_cifar")
    degradation.main("--data synthetic --depths 8 --steps 3 --batch-size 8 --out trained".split())
    lab.run("landscape --data synthetic --runs trained --images 8 --points 3 --statistics batch --out out")
    assert {name.removeprefix("resnet-8-") for name in lab.numbers if name.startswith("resnet")} == {
        "random", "running", "plane", "training"}  # fmt: skip
    assert "paths" not in lab.figures
