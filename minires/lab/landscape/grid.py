"""Slices of the loss landscape, computed point by point: shared over processes, and kept as they come.

A plane of 25 by 25 points is 625 passes through a net. Each stands alone, so they are shared over processes of one
thread each: all cores have work, and no number depends on how many processes there were. A finished point is a line in
a file; after Ctrl-C, a kill or a power cut the same call computes what is missing.
"""

import json
import math
import multiprocessing
import os
import signal
import threading
import time
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minires import kernels
from minires.checkpoint import CheckpointError
from minires.files import written_safely
from minires.kernels.machine.cores import num_threads
from minires.lab.landscape.measure import Landscape, Surface
from minires.progress import BAR
from minires.run import owned, read_log
from minires.train import Interrupted


def landscapes(slices, x, labels, *, folder=None, workers=0, title="landscape", bar=True):
    """Compute slices; return {name: Landscape}.

    Before it starts it times a point of each slice, and says how long all will take.

    Parameters
    ----------
    slices : dict
        ``{"resnet-20": Slice(net, (direction, other), (ticks, ticks)), ...}``
    x : (N, C, H, W) array, labels : (N,) array of int
        The images; all go through a net in one batch.
    folder : str or Path, optional
        Where points are kept, in a file ``<name>.jsonl`` for each slice. Those found there are not computed again. A
        file of another slice, or of other images, is refused.
    workers : int, default 0
        Processes, of one thread each; how many does not change a bit of the result. 0: none, this process computes with
        all its threads. A script that asks for processes must do so under ``if __name__ == "__main__":``.
    title : str
        What the bar says.
    bar : bool, default True
        Print the estimate, and show a bar on a terminal.

    Raises
    ------
    CheckpointError
        When the folder holds something else, or another process is at work there.
    Interrupted
        After Ctrl-C.
    """
    if not isinstance(workers, int) or workers < 0:
        raise ValueError(f"landscapes: expected workers to be a whole number from 0 on, got {workers!r}.")
    if workers == num_threads() == 1:
        workers = 0  # the one process would be like this one
    surfaces = {name: Surface(slice, x, labels) for name, slice in slices.items()}
    steps = {name: list(product(*slice.ticks)) for name, slice in slices.items()}
    settings = {name: _settings(slice, x, labels, 1 if workers else num_threads()) for name, slice in slices.items()}
    with _kept(folder, settings) as (done, keep), _computing(surfaces, workers) as compute:
        total = sum(map(len, steps.values()))
        missing = [(name, at, step) for name in slices for at, step in enumerate(steps[name]) if at not in done[name]]
        count = total - len(missing)
        try:
            if missing and bar:
                print(f"{title}: {_estimate(missing, compute, workers)}.", flush=True)
            hide = None if missing and bar else True
            with tqdm(total=total, initial=count, desc=title, bar_format=BAR, disable=hide) as show:
                for (name, at, _), point in compute(_point, missing):
                    done[name][at] = point
                    keep(name, at, point)
                    count += 1
                    show.update()
        except KeyboardInterrupt:
            kept = f"kept in {folder}" if folder else "not kept, without a folder"
            raise Interrupted(f"Stopped after {count} of {total} points, {kept}.") from None
    found = {}
    for name, slice in slices.items():
        points = np.array([done[name][at] for at in range(len(steps[name]))])
        loss, error = points.T.reshape(2, *map(len, slice.ticks))
        found[name] = Landscape(tuple(map(np.asarray, slice.ticks)), loss, error)
    return found


def _point(surfaces, name, at, steps):
    return surfaces[name](*steps)


def _estimate(missing, compute, workers):
    """Say how long it will take: 'about 4 min for 625 points'."""
    firsts = {name: (name, at, steps) for name, at, steps in reversed(missing)}
    ((_, seconds),) = compute(_seconds, [tuple(firsts.values())])
    total = sum(seconds[name] for name, *_ in missing) / max(1, min(workers, os.cpu_count() or 1))
    how_long = f"{total / 60:.0f} min" if total > 90 else f"{math.ceil(total)} s"
    where = f" in {workers} processes" if workers > 1 else ""
    return f"about {how_long} for {len(missing):,} points{where}"


def _seconds(surfaces, *points):
    seconds = {}
    for point in points:
        _point(surfaces, *point)  # a first call may compile kernels, and loads them
        began = time.perf_counter()
        _point(surfaces, *point)
        seconds[point[0]] = time.perf_counter() - began
    return seconds


# -- what is on the disk ----------------------------------------------------------------------------------------


def _settings(slice, x, labels, threads):
    """What a slice depends on, in words that fit into a line."""
    net, directions, ticks, statistics = slice
    layers = [f"{path} {layer!r}" for path, layer in net.named_layers()]
    return {
        "images": f"{len(x)}, checksum {_checksum(x, labels)}",
        "layers": f"{len(layers)}, checksum {_checksum(*layers)}",
        "weights": f"checksum {_checksum(*net.state_dict().values())}",
        "directions": f"{len(directions)}, checksum {_checksum(*(d for way in directions for d in way.values()))}",
        "ticks": "; ".join(f"{len(t)} from {t[0]:g} to {t[-1]:g}, checksum {_checksum(t)}" for t in ticks),
        "statistics": statistics,
        "threads": threads,
        "kernels": kernels.chosen,
    }


def _checksum(*parts):
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part.encode() if isinstance(part, str) else np.ascontiguousarray(part), checksum)
    return f"{checksum:08x}"


@contextmanager
def _kept(folder, settings):
    """Yield ({name: {at: (loss, error)}} as found, a function that keeps one more point) and own the folder."""
    if folder is None:
        yield {name: {} for name in settings}, lambda name, at, point: None
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with owned(folder), ExitStack() as stack:
        paths = {name: folder / f"{name}.jsonl" for name in settings}
        done = {name: _read(path, settings[name]) for name, path in paths.items()}  # all, before one is written to
        files = {}
        for name, path in paths.items():
            with written_safely(path) as file:  # a new one; or the old, without the line at which it was killed
                file.write(_line({"settings": settings[name]}))
                file.writelines(_line(_point_line(at, point)) for at, point in done[name].items())
            files[name] = stack.enter_context(open(path, "ab"))

        def keep(name, at, point):
            files[name].write(_line(_point_line(at, point)))
            files[name].flush()  # from here on the line outlives this process

        yield done, keep


def _point_line(at, point):
    return {"point": at, "loss": point[0], "error": point[1]}


def _line(content):
    return json.dumps(content).encode() + b"\n"


def _read(path, settings):
    lines = read_log(path)
    if not lines:
        return {}
    there = lines[0].get("settings")
    if there is None:
        raise CheckpointError(f"{path}: not the points of a slice. Choose another folder, or delete the file.")
    for key in {**there, **settings}:
        if there.get(key) != settings.get(key):
            raise CheckpointError(
                f"{path}: holds points with {key} = {there.get(key)}, this slice has {key} = {settings.get(key)}. "
                "Choose another folder, or delete the file."
            )
    return {line["point"]: (line["loss"], line["error"]) for line in lines[1:]}


# -- processes --------------------------------------------------------------------------------------------------

_surfaces = {}  # of a worker process


@contextmanager
def _computing(surfaces, workers):
    """Yield compute(function, jobs), an iterator over (job, function(surfaces, *job)) in the order they finish."""
    if not workers:
        yield lambda function, jobs: ((job, function(surfaces, *job)) for job in jobs)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (surfaces,))

    def compute(function, jobs):
        with _one_thread_for_children():
            futures = {pool.submit(_work, function, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()

    try:
        yield compute
    except BrokenProcessPool:
        raise ChildProcessError(
            "landscapes: a worker process died. Out of memory? Take fewer workers or images. In a script, ask for "
            'workers under  if __name__ == "__main__":'
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_for_children():
    """Processes read these variables when they start, which they do when the pool is given work."""
    names = ("MINIRES_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ |= dict.fromkeys(names, "1")
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]
        os.environ |= before


def _begin(surfaces):
    """In a new worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one sees to it
    _surfaces.update(surfaces)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()  # also when it was killed
    os._exit(1)


def _work(function, job):
    return function(_surfaces, *job)
