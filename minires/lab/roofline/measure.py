"""The limits of a machine, and the operators of a training step held against them."""

from functools import partial

import numpy as np

from minires import kernels
from minires.bench.engine import seconds
from minires.kernels.compiled.planes import BLOCK, multiply
from minires.kernels.machine.compiler import compiled
from minires.kernels.machine.cores import num_threads
from minires.kernels.machine.threads import over_parts, over_threads

# operations on each number of an image, and images that must be read or written
OPERATIONS = {
    "relu": (1, 2),
    "relu_backward": (1, 3),
    "add": (1, 3),
    "batchnorm_statistics": (4, 1),  # add to the mean; subtract it, square, add
    "batchnorm_normalise": (3, 2),
    "batchnorm_reductions": (4, 2),
    "batchnorm_backward": (9, 3),  # the reductions, then dx
}
TAPS, FILTERS, TIMES = 64, 16, 2000  # 16 KB of planes, 4 KB of weights, 4 KB of sums: half an L1 cache


@compiled
def multiply_often(weight, bias, planes, offset, out, times, start, stop):
    for thread in range(start, stop):
        for _ in range(times):
            multiply(weight, bias, planes[thread], offset, (0, offset.size), out[thread], (0, out.shape[2]), False)


@compiled
def read(x, totals, part, start, stop):
    x, total = x[start:stop], x.dtype.type(0)
    for i in range(x.size):
        total += x[i]
    totals[part] = total


def best_rates(repeat, memory_mb, cache_mb):
    """The most GFLOP/s ("peak") and GB/s ("memory, read", ...) among some trials, which take turns."""
    threads = num_threads()
    weight, bias = np.ones((FILTERS, TAPS), np.float32), np.zeros(FILTERS, np.float32)
    planes, out = np.ones((threads, TAPS * BLOCK), np.float32), np.empty((threads, FILTERS, BLOCK), np.float32)
    numbers = weight, bias, planes, np.arange(TAPS) * BLOCK, out, TIMES
    work = {"peak": (2 * weight.size * BLOCK * TIMES * threads, over_threads, multiply_often, threads, *numbers)}
    for place, megabytes in (("memory", memory_mb), ("cache", cache_mb)):
        x, totals = np.ones(megabytes * 250_000, np.float32), np.empty(threads, np.float32)
        a, b = x[: x.size // 3], x[x.size // 3 : x.size // 3 * 2]
        work[f"{place}, read"] = x.nbytes, over_parts, read, x.size, x, totals
        work[f"{place}, add"] = 3 * a.nbytes, kernels.add, a, b
    trials = [{w: min(seconds(partial(*call), 4)) for w, (_, *call) in work.items()} for _ in range(repeat)]
    return {what: amount / min(trial[what] for trial in trials) / 1e9 for what, (amount, *_) in work.items()}


def against_roof(row, limits):
    """A row of ``operators`` with its intensity (FLOP per byte), its GFLOP/s, and both rates over what the roof allows.

    Rows of unknown work (the loss, the update, what is no kernel) come back as they are.
    """
    if row["operator"] in OPERATIONS:
        per_number, images = OPERATIONS[row["operator"]]
        row = row | {"flops": row["bytes"] / 4 / images * per_number}
    if not {"flops", "bytes"} <= row.keys():
        return row
    intensity, gflops = row["flops"] / row["bytes"], row["flops"] * row["calls"] / row["ms"] / 1e6
    roof = min(limits["peak"], intensity * limits["memory"])
    limit = "arithmetic" if roof == limits["peak"] else "memory"
    return row | {"intensity": intensity, "gflops_per_s": gflops, "of_roof": gflops / roof, "limit": limit}
