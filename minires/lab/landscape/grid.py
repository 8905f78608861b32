"""Slices of the loss landscape, computed point by point, and kept as they come.

A plane of 25 by 25 points is 625 passes through a net. A finished point is a line in a file; after Ctrl-C, a kill or a
power cut the same call computes what is missing.
"""

import json
import zlib
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path

import numpy as np

from minires import kernels
from minires.files import written_safely
from minires.kernels.machine.cores import num_threads
from minires.lab.landscape.measure import Landscape, Surface
from minires.progress import Progress
from minires.run import owned, read_log
from minires.train import Interrupted


def landscapes(slices, x, labels, folder=None):
    """Compute slices, ``{"resnet-20": Slice(net, (direction, other), (ticks, ticks)), ...}``: {name: Landscape}.

    All images ``x`` (N, C, H, W) go through a net in one batch. Points are kept in the folder, in a file for each slice
    that is named by all it depends on, and those found there are not computed again. Raises CheckpointError when
    another process is at work there, and Interrupted after Ctrl-C.
    """
    surfaces = {name: Surface(slice, x, labels) for name, slice in slices.items()}  # checks them all
    steps = {name: list(product(*slice.ticks)) for name, slice in slices.items()}
    total = sum(map(len, steps.values()))
    with _kept(folder, {name: _checksum(slice, x, labels) for name, slice in slices.items()}) as (done, keep):
        try:
            with Progress(total, "landscape", done=sum(map(len, done.values()))) as progress:
                for name, surface in surfaces.items():
                    for at in [at for at in range(len(steps[name])) if at not in done[name]]:
                        keep(name, at, *surface(*steps[name][at]))
                        progress.update()
        except KeyboardInterrupt:
            kept = f"kept in {folder}" if folder else "not kept, without a folder"
            raise Interrupted(f"Stopped after {progress.done} of {total} points, {kept}.") from None
    found = {}
    for name, slice in slices.items():
        points = np.array([done[name][at] for at in range(len(steps[name]))])
        found[name] = Landscape(tuple(map(np.asarray, slice.ticks)), *points.T.reshape(2, *map(len, slice.ticks)))
    return found


def _checksum(slice, x, labels):
    """Eight digits that are others when anything changes that the points depend on."""
    net, directions, ticks, statistics = slice
    words = [f"{path} {layer!r}" for path, layer in net.named_layers()] + [statistics, num_threads(), kernels.chosen]
    arrays = [x, labels, *net.state_dict().values(), *(d for way in directions for d in way.values()), *ticks]
    checksum = zlib.crc32(json.dumps(words).encode())
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array), checksum)
    return f"{checksum:08x}"


@contextmanager
def _kept(folder, checksums):
    """Own the folder, and yield ({name: {at: (loss, error)}} as found, a function that keeps one more of them)."""
    done, files = {name: {} for name in checksums}, {}

    def line(name, at):
        loss, error = done[name][at]
        return json.dumps({"point": at, "loss": loss, "error": error}).encode() + b"\n"

    def keep(name, at, loss, error):
        done[name][at] = loss, error
        if files:
            files[name].write(line(name, at))
            files[name].flush()  # from here on the line outlives this process

    with ExitStack() as stack:
        if folder is not None:
            folder = Path(folder)
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(owned(folder))
            for name, checksum in checksums.items():
                path = folder / f"{name}-{checksum}.jsonl"
                done[name] = {line["point"]: (line["loss"], line["error"]) for line in read_log(path)}
                with written_safely(path) as file:  # without the line at which it was killed
                    file.writelines(line(name, at) for at in done[name])
                files[name] = stack.enter_context(open(path, "ab"))
        yield done, keep
