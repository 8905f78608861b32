"""Which operators wait for arithmetic, and which for memory? The roofline of this machine.

Measures the most multiply-adds a second that the processor does, and the most bytes a second that memory and the last
cache deliver; then times every operator of a training step and holds it against these limits. In a minute::

    python examples/roofline.py                                  # resnet-20, batch 128; draws runs/roofline.png
    python examples/roofline.py --net resnet-56 --batch-size 64 --json roofline.json
    MINIRES_NUM_THREADS=1 python examples/roofline.py            # of one core
    python examples/roofline.py --net resnet-18 --image-size 224 --batch-size 8

Nothing else should run meanwhile. docs/performance.md reads the figure.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
from experiment import errors_in_one_line, positive

from minires import kernels
from minires.bench import MiniresWork
from minires.bench_torch import seconds
from minires.kernels.compiled.planes import BLOCK, multiply
from minires.kernels.machine.compiler import compiled
from minires.kernels.machine.threads import num_threads, over_parts, over_threads
from minires.machine import machine
from minires.plots import roofline_figure

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


def main(arguments=None):
    options = read_options(arguments)
    with errors_in_one_line("roofline"):
        for path in filter(None, (options.out, options.json)):
            path.parent.mkdir(parents=True, exist_ok=True)
        images = 3, options.image_size, options.image_size
        work = MiniresWork(options.net, options.batch_size, images, 10)
        before, rows, after = best_rates(options), work.operators(options.repeat), best_rates(options)
    rates = {what: max(before[what], after[what]) for what in before}
    limits = {"peak": rates["peak"]}
    limits |= {place: max(rates[f"{place}, read"], rates[f"{place}, add"]) for place in ("memory", "cache")}
    rows, about = [against_roof(row, limits) for row in rows], machine()
    what = f"{options.net}, batch of {options.batch_size} x {'x'.join(map(str, images))}, float32"
    where = f"{about['cpu']}, {about['threads']} threads of {about['cores']} cores, {about['kernels']} kernels"
    print("\n".join([what, where, "", *page(rates, rows)]))
    note = (
        f"{what}; {where}. A dot is an operator on images of one shape, its area and the percentages are shares of the "
        "training step; 3x3/2 is a convolution with stride 2. Of a convolution the operations of its definition count: "
        "Winograd's F(4,3) does half of the multiplications, so it may rise above the flat roof, up to the dashed one."
    )
    roofline_figure(rows, limits, note).savefig(options.out)
    print(f"\nFigure: {options.out}")
    if options.json:
        report = {"what": what, "machine": about, "rates": rates, "limits": limits, "operators": rows}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def read_options(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--net", default="resnet-20", metavar="NET", help="plain-56, preact-110, ... (default: %(default)s)")
    add("--batch-size", type=positive, default=128, metavar="N", help="images in a step (default: %(default)s)")
    add("--image-size", type=positive, default=32, metavar="PIXELS", help="height and width (default: %(default)s)")
    add("--repeat", type=positive, default=20, metavar="N", help="times of everything (default: %(default)s)")
    add("--memory-mb", type=positive, default=256, metavar="MB", help="far more than a cache (default: %(default)s)")
    add("--cache-mb", type=positive, default=8, metavar="MB", help="more than L2, less than L3 (default: %(default)s)")
    add("--out", type=Path, default=Path("runs/roofline.png"), metavar="FILE", help="figure (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    return parser.parse_args(arguments)


# -- the limits -------------------------------------------------------------------------------------------------------


@compiled
def multiply_often(weight, bias, planes, offset, out, times, start, stop):
    for thread in range(start, stop):
        for _ in range(times):
            multiply(weight, bias, planes[thread], offset, 0, offset.size, out[thread], 0, out.shape[2], False)


@compiled
def read(x, totals, part, start, stop):
    x, total = x[start:stop], x.dtype.type(0)
    for i in range(x.size):
        total += x[i]
    totals[part] = total


def best_rates(options):
    """The most GFLOP/s ("peak") and GB/s ("memory, read", ...) among some trials, which take turns."""
    threads = num_threads()
    weight, bias = np.ones((FILTERS, TAPS), np.float32), np.zeros(FILTERS, np.float32)
    planes, out = np.ones((threads, TAPS * BLOCK), np.float32), np.empty((threads, FILTERS, BLOCK), np.float32)
    numbers = weight, bias, planes, np.arange(TAPS) * BLOCK, out, TIMES
    work = {"peak": (2 * weight.size * BLOCK * TIMES * threads, over_threads, multiply_often, threads, *numbers)}
    for place, megabytes in (("memory", options.memory_mb), ("cache", options.cache_mb)):
        x, totals = np.ones(megabytes * 250_000, np.float32), np.empty(threads, np.float32)
        a, b = x[: x.size // 3], x[x.size // 3 : x.size // 3 * 2]
        work[f"{place}, read"] = x.nbytes, over_parts, read, x.size, x, totals
        work[f"{place}, add"] = 3 * a.nbytes, kernels.add, a, b
    trials = [{w: min(seconds(partial(*call), 4)) for w, (_, *call) in work.items()} for _ in range(options.repeat)]
    return {what: amount / min(trial[what] for trial in trials) / 1e9 for what, (amount, *_) in work.items()}


# -- the operators ----------------------------------------------------------------------------------------------------


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


def page(rates, rows):
    """What was measured, line by line."""
    for what, rate in rates.items():
        yield f"{what:<13}{rate:>6.0f} {'GFLOP/s' if what == 'peak' else 'GB/s'}"
    yield f"\n{'a training step':<24}{'of':<36}{'share':>7}{'FLOP/byte':>11}{'GFLOP/s':>9}{'GB/s':>6}  of the roof"
    for row in rows:
        line = f"{row['operator']:<24}{row['shape']:<36}{row['share']:>7.1%}"
        if "of_roof" in row:
            line += f"{row['intensity']:>11.2f}{row['gflops_per_s']:>9.0f}{row['gbytes_per_s']:>6.0f}"
            line += f"{row['of_roof']:>6.0%} {row['limit']}"
        yield line
    yield ""
    for limit in ("arithmetic", "memory"):
        under = [row for row in rows if row.get("limit") == limit]
        share, at_roof = sum(row["share"] for row in under), sum(row["share"] * row["of_roof"] for row in under)
        yield f"under the roof of {limit}: {share:.0%} of the step's time; exactly at it, {at_roof:.0%}"


if __name__ == "__main__":
    sys.exit(main())
