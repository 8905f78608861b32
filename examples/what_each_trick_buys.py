"""One training step of ResNet-20, timed as the tricks of the kernels are added one by one.

    python examples/what_each_trick_buys.py                 # a few minutes; docs/performance.md explains the rows
    python examples/what_each_trick_buys.py --batch-size 32 --json tricks.json

Every row is a process of its own, which replaces kernels of minires by plainer ones before it builds the network. The
rows take turns, so that a machine that slows down slows them all; the median over the turns is printed.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile

import numba
import numpy as np

from minires import kernels
from minires.bench.engine import Engine, serve
from minires.bench.ours import MiniresWork
from minires.kernels import reference
from minires.kernels.compiled import direct, planes, points, winograd
from minires.kernels.machine.memory import keep_freed_memory

# What each adds; all but the last two run on one core.
ROWS = {
    "loops": "convolution as its definition, seven loops, compiled; the rest NumPy",
    "im2col": "im2col and one matrix product: the reference kernels, all NumPy",
    "passes": "batch norm, ReLU and addition compiled, in the fewest passes over memory",
    "rows": "convolution on shifted rows, no columns; the compiler vectorises the inner loop",
    "registers": "sixteen vectors of sums kept in registers",
    "winograd": "half the multiplications (Winograd)",
    "memory": "freed memory kept for the next step",
    "ahead": "memory asked for before it is needed",
    "threads": "all cores, each handed its part in Python (ThreadPoolExecutor)",
    "board": "parts handed over in compiled code",
}


# -- convolution by its definition ------------------------------------------------------------------------------------


@numba.njit(fastmath={"contract", "reassoc", "arcp", "nsz"}, cache=False)
def loops(x, weight, dy, y, dx, dweight, stride, pad):
    """Whichever of y, dx, dweight is not empty is filled; the other arrays are given."""
    N, C, H, W = x.shape
    O, _, kh, kw = weight.shape
    Ho, Wo = dy.shape[2:]
    for n in range(N):
        for o in range(O):
            for c in range(C):
                for i in range(kh):
                    for j in range(kw):
                        total = x.dtype.type(0)
                        for p in range(Ho):
                            h = p * stride + i - pad
                            if 0 <= h < H:
                                for q in range(Wo):
                                    w = q * stride + j - pad
                                    if 0 <= w < W:
                                        if y.size:
                                            y[n, o, p, q] += weight[o, c, i, j] * x[n, c, h, w]
                                        elif dx.size:
                                            dx[n, c, h, w] += weight[o, c, i, j] * dy[n, o, p, q]
                                        else:
                                            total += dy[n, o, p, q] * x[n, c, h, w]
                        if dweight.size:
                            dweight[o, c, i, j] += total


NONE = np.empty((0, 0, 0, 0), np.float32)


def loops_conv2d(x, weight, bias, stride, pad, dilation, groups):
    (s, _), ((p, _), _), k = stride, pad, weight.shape[2]
    size = (x.shape[2] + 2 * p - k) // s + 1
    y = np.zeros((x.shape[0], weight.shape[0], size, size), x.dtype)
    loops(x, weight, y, y, NONE, NONE, s, p)
    return y


def loops_input_gradient(dy, weight, x_shape, stride, pad, dilation, groups):
    dx = np.zeros(x_shape, dy.dtype)
    loops(dx, weight, dy, NONE, dx, NONE, stride[0], pad[0][0])
    return dx


def loops_weight_gradient(dy, x, weight_shape, stride, pad, dilation, groups):
    dweight = np.zeros(weight_shape, dy.dtype)
    loops(x, dweight, dy, NONE, NONE, dweight, stride[0], pad[0][0])
    return dweight


# -- shifted rows with the inner loop left to the compiler: these stand in for the two products of planes.py --


@numba.njit(nogil=True, fastmath={"contract", "reassoc", "arcp", "nsz"}, cache=False)
def plain_multiply(weight, bias, planes, offset, taps, out, pixels, past):
    for o in range(weight.shape[0]):
        row = out[o, pixels[0] : pixels[1]]
        row[:] = bias[o]
        for k in range(taps[0], taps[1]):
            w, x = weight[o, k], planes[offset[k] :]
            for p in range(row.size):
                row[p] += w * x[p]
    return out.dtype.type(0)


@numba.njit(nogil=True, fastmath={"contract", "reassoc", "arcp", "nsz"}, cache=False)
def plain_multiply_transposed(dout, pixels, planes, offset, dweight):
    for o in range(dout.shape[0]):
        row = dout[o, pixels[0] : pixels[1]]
        for k in range(offset.size):
            x, total = planes[offset[k] :], dout.dtype.type(0)
            for p in range(row.size):
                total += row[p] * x[p]
            dweight[o, k] += total


# -- one row ----------------------------------------------------------------------------------------------------------


def has(row, trick):
    """Whether a row keeps this trick: its own and those above it."""
    return list(ROWS).index(trick) <= list(ROWS).index(row)


def prepare(row):
    """Replace kernels, so that all tricks up to this row remain and those after it are missing."""
    # A kernel is compiled when it is first called, with what these names mean then.
    if not has(row, "ahead"):
        planes.AHEAD = points.AHEAD = -4096  # what is asked for has been used already
    if not has(row, "registers"):
        direct.multiply, direct.multiply_transposed = plain_multiply, plain_multiply_transposed
    if not has(row, "winograd"):
        winograd.fits = lambda *arguments: False
    names = set(kernels.__all__) - {"chosen"}
    convolutions = {name for name in names if name.startswith(("conv2d", "linear"))}
    for name in names if not has(row, "passes") else convolutions if not has(row, "rows") else ():
        setattr(kernels, name, getattr(reference, name))
    if row == "loops":
        kernels.conv2d, kernels.conv2d_input_gradient = loops_conv2d, loops_input_gradient
        kernels.conv2d_weight_gradient = loops_weight_gradient


def measure(row):
    """In a process of its own: take steps when asked for them, as ``minires bench`` does."""
    prepare(row)
    with keep_freed_memory() if has(row, "memory") else contextlib.nullcontext():
        serve(MiniresWork)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--json", metavar="FILE", help="write the times there, too")
    parser.add_argument("--measure", choices=list(ROWS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return measure(options.measure)
    if options.json and not os.access(os.path.dirname(os.path.abspath(options.json)), os.W_OK):
        parser.error(f"--json: {options.json} cannot be written to")

    with tempfile.TemporaryDirectory() as scratch:
        times = measure_all(options, scratch)
    print(f"{'ms a step':>10}  {'times faster':>12}  with")
    before = None
    for row in options.rows:
        median = statistics.median(times[row])
        print(f"{1000 * median:>10.0f}  {before / median if before else 1:>12.2f}  {ROWS[row]}")
        before = median
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"batch_size": options.batch_size, "seconds": times, "cores": os.cpu_count()}, file, indent=1)


def measure_all(options, scratch):
    """{row: seconds of its steps}, the rows taking turns."""
    engines, work = {}, ("resnet-20", options.batch_size, (3, 32, 32), 10)
    with contextlib.ExitStack() as stack:
        for row in options.rows:
            changes = {} if has(row, "threads") else {"MINIRES_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            changes["MINIRES_THREADING"] = "board" if has(row, "board") else "executor"
            if not has(row, "ahead"):  # on the disk are the real kernels: do not mix them
                changes["NUMBA_CACHE_DIR"] = os.path.join(scratch, "rows" if row == "rows" else "others")
            engine = Engine(row, [__file__, "--measure", row], work, changes)  # compiles, in its first two steps
            engines[row] = stack.enter_context(contextlib.closing(engine))
        losses = {row: engine.answer["losses"][1] for row, engine in engines.items()}
        if max(losses.values()) - min(losses.values()) > 1e-3:  # do all compute the same?
            sys.exit(f"The losses of the second step differ: {losses}")
        turns = [{row: engine.ask("train", 3)[1:] for row, engine in engines.items()} for _ in range(options.turns)]
    return {row: [seconds for turn in turns for seconds in turn[row]] for row in engines}


if __name__ == "__main__":
    sys.exit(main())
