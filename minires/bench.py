"""How long a network takes: training step, inference, every operator; and the same in PyTorch, side by side.

Each engine works in a process of its own, so that neither shares threads, caches or memory with the other, and they
take turns: a few steps of one, a few of the next, and so on. A ratio is taken within each turn and then the median
over the turns, so that a machine that slows down meanwhile slows both.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from minires import bench_torch, kernels
from minires.bench_torch import LR, MOMENTUM, WEIGHT_DECAY, peak_memory, random_batch, seconds, serve
from minires.kernels.machine.memory import keep_freed_memory
from minires.layers import Linear
from minires.losses import softmax_cross_entropy
from minires.machine import machine
from minires.networks import network
from minires.optim import SGD

STEPS = 3  # a turn; the first is not counted: it finds caches and threads as the other engine left them
SETTLE = 0.2  # s between turns of different engines: as long as idle OpenMP threads may go on watching for work


def bench(name, batch=128, input_shape=(3, 32, 32), classes=None, repeat=10, against=None, cold=False, build=network):
    """Time the network called ``name`` and return the report, a dict of numbers and strings.

    Parameters
    ----------
    name : str
        As ``minires.networks.network`` takes it.
    batch, input_shape : int, tuple (C, H, W)
    classes : int, default 10, or 1000 for an ImageNet network
    repeat : int, default 10
        Turns. Each counts two training steps and two inferences.
    against : "torch", optional
        PyTorch does the same work, in both memory formats: as it is, and compiled by ``torch.compile`` if a C++
        compiler is installed; and once more with autocast to bfloat16.
    cold : bool, default False
        Measure also the start of a process that has no compiled kernels yet.
    build : function of (name, classes=, rng=), default minires.networks.network
        Makes the network. Every process of minires imports it by its name.
    """
    if against not in (None, "torch"):
        raise ValueError(f"bench: expected against='torch' or None, got {against!r}.")
    if against == "torch" and find_spec("torch") is None:
        raise ValueError("bench: --against torch needs PyTorch, which is not installed. Use  pip install torch")
    for what, value in (("batch", batch), ("repeat", repeat), ("classes", classes)):
        if value is not None and value < 1:
            raise ValueError(f"bench: expected {what} of at least 1, got {value}.")
    net = build(name, classes=classes, rng=0)
    last = [layer for _, layer in net.named_layers()][-1]
    if isinstance(last, Linear):
        classes = last.out_features
    else:
        with net.evaluating():
            classes = net.forward(np.zeros((1, *input_shape), np.float32)).shape[1]
    work = batch, list(input_shape), classes
    about = machine()
    report = {"net": name, "batch": batch, "input": list(input_shape), "classes": classes, "machine": about}
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")
        np.savez(weights, **net.state_dict())
        ours = name, *work, weights, [build.__module__, build.__name__]
        if cold:
            with _Engine("minires", _MINIRES, ours, {"NUMBA_CACHE_DIR": folder}) as engine:
                report["cold_start_s"] = engine.start
        engines = [_Engine("minires", _MINIRES, ours)]
        try:
            if against == "torch":
                arguments = bench_torch.described(net), weights, *work, about["threads"]
                report["left_out"] = _start_torch(engines, arguments)
                report["torch"] = engines[1].answer["version"]
                _same_work(engines, net)
            report["engines"] = {engine.title: {"start_s": engine.start} for engine in engines}
            for mode in ("train", "infer"):
                turns = _alternate(engines, mode, repeat)
                for engine in engines:
                    report["engines"][engine.title] |= _summary(engine, mode, turns)
                    if mode == "train":
                        report["engines"][engine.title]["peak_bytes"] = engine.ask("peak")
            report["operators"] = engines[0].ask("operators", max(repeat, 3))
        finally:
            for engine in engines:
                engine.close()
    return report


def _start_torch(engines, arguments):
    """Append an engine for each way in which PyTorch does the work; return why some are left out, or ""."""
    ways, left_out = bench_torch.ways_of_torch()
    for way in ways:
        engine = _Engine(" ".join(way), _TORCH, (*arguments, way))
        if "failed" in engine.answer:
            left_out = f"torch.compile was left out, for it failed: {engine.answer['failed']}"
            engine.close()
        else:
            engines.append(engine)
    return left_out


def _alternate(engines, mode, repeat):
    """{title: array (repeat, STEPS - 1) of seconds}, the engines taking turns."""
    turns = {engine.title: [] for engine in engines}
    for _ in range(repeat):
        for engine in engines:
            time.sleep(SETTLE if len(engines) > 1 else 0)
            turns[engine.title].append(engine.ask(mode, STEPS)[1:])
    return {title: np.array(taken) for title, taken in turns.items()}


def _summary(engine, mode, turns):
    """Median and quartiles in ms, and the ratios of minires to this engine."""
    taken = turns[engine.title]
    low, median, high = np.percentile(taken * 1e3, [25, 50, 75])
    summary = {f"{mode}_ms": median, f"{mode}_quartiles_ms": [low, high], f"{mode}_all_s": taken.tolist()}
    if engine.title != "minires":
        ratios = np.median(turns["minires"], axis=1) / np.median(taken, axis=1)
        summary[f"{mode}_ratio"] = float(np.median(ratios))
    return summary


def _same_work(engines, net):
    """The losses of the first two steps must agree: the same net, batch, gradients and update."""
    ours = engines[0].answer["losses"]
    random = any(type(layer).__name__ == "Dropout" for _, layer in net.named_layers())
    for engine in engines[1:]:
        theirs, tolerance = engine.answer["losses"], 0.1 if "bfloat16" in engine.title else 1e-3
        if not random and not np.allclose(ours, theirs, rtol=tolerance):
            raise ValueError(
                f"bench: minires and {engine.title} do not do the same work; the losses of their first two steps "
                f"are {ours} and {theirs}."
            )


# -- a process for each engine --------------------------------------------------------------------------------

_MINIRES = ["-m", "minires.bench"]
_TORCH = ["-P", bench_torch.__file__]
_HERE = str(Path(__file__).parents[1])  # where the package lies, installed or not


class _Engine:
    """A process that answers requests of a line each; see ``bench_torch.serve``."""

    def __init__(self, title, command, arguments, environment=None):
        self.title = title
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (environment or {}) | {"PYTHONPATH": os.pathsep.join([_HERE, *sys.path])},
        )
        self.answer = self.ask("begin", *arguments)
        self.start = time.perf_counter() - begin

    def ask(self, method, *arguments):
        try:
            print(json.dumps([method, *arguments]), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.close()
            status = self.process.returncode
            why = "killed: out of memory? Try a smaller --batch" if status == -9 else f"exit status {status}, see above"
            raise ChildProcessError(f"bench: the process of {self.title} ended ({why}).")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            self.close()
            raise ValueError(f"bench: {answer['error']}")
        return answer

    def close(self):
        with suppress(BrokenPipeError):
            self.process.stdin.close()  # it has no more to read, and ends
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class MiniresWork:
    """What the process of minires does: the training step as in the README, and forward alone."""

    def __init__(self, name, batch, input_shape, classes, weights=None, build=("minires.networks", "network")):
        self.net = getattr(import_module(build[0]), build[1])(name, classes=classes, rng=0)
        if weights:
            with np.load(weights) as state:
                self.net.load_state_dict(dict(state))
        self.optimizer = SGD(self.net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
        self.x, self.labels = random_batch(batch, input_shape, classes)

    def step(self):
        logits = self.net.forward(self.x)
        loss, dlogits = softmax_cross_entropy(logits, self.labels)
        self.optimizer.zero_grad()
        self.net.backward(dlogits)
        self.optimizer.step()
        return float(loss)

    def forward(self):
        with self.net.without_caches():
            self.net.forward(self.x)

    def begin(self):
        return {"losses": [self.step(), self.step()]}

    def train(self, steps):
        self.net.train()
        return seconds(self.step, steps)

    def infer(self, steps):
        self.net.eval()
        return seconds(self.forward, steps)

    def peak(self):
        return peak_memory()

    def operators(self, steps):
        """Time every kernel call of so many training steps; return a row for each operator and shape."""
        self.train(1)
        taken, work, totals, each = {}, {}, [], []
        with _timed_kernels(taken, work):
            for _ in range(steps):
                taken.clear()
                totals += seconds(partial(self._step_apart, taken), 1)
                each.append({key: (sum(calls), len(calls)) for key, calls in taken.items()})
        every = dict.fromkeys(key for step in each for key in step)  # with stochastic depth not all are in each step
        per_step = {key: np.array([step.get(key, (0, 0)) for step in each]) for key in every}
        rest = np.array(totals) - sum(step[:, 0] for step in per_step.values())
        per_step["all else", "pooling, shortcuts, Python"] = np.stack([rest, np.ones(steps)], axis=1)
        rows = []
        for (operator, shape), step in per_step.items():
            ms, calls = float(np.median(step[:, 0]) * 1e3), int(np.median(step[:, 1]))
            row = {"operator": operator, "shape": shape, "calls": calls, "ms": ms}
            row["share"] = ms / float(np.median(totals) * 1e3)
            for unit, amount in work.get((operator, shape), {}).items():
                row |= {unit: amount} | ({f"g{unit}_per_s": amount * calls / ms / 1e6} if ms else {})
            rows.append(row)
        return sorted(rows, key=lambda row: -row["ms"])

    def _step_apart(self, taken):
        """``step``, its loss and its update timed as if they were kernels."""
        logits = self.net.forward(self.x)
        begin = time.perf_counter()
        _, dlogits = softmax_cross_entropy(logits, self.labels)
        taken.setdefault(("loss", ""), []).append(time.perf_counter() - begin)
        self.optimizer.zero_grad()
        self.net.backward(dlogits)
        begin = time.perf_counter()
        self.optimizer.step()
        taken.setdefault(("SGD step", ""), []).append(time.perf_counter() - begin)


# -- every operator by shape ------------------------------------------------------------------------------------


@contextmanager
def _timed_kernels(taken, work):
    """Within the ``with``, every kernel notes its seconds in taken[operator, shape], and once what it does in work."""
    names = [name for name in kernels.__all__ if name != "sgd_step"]  # timed as a whole, not parameter by parameter
    originals = {name: getattr(kernels, name) for name in names if callable(getattr(kernels, name))}

    def timed(name, kernel, *arguments):
        begin = time.perf_counter()
        result = kernel(*arguments)
        end = time.perf_counter()
        shape, amount = amount_of_work(name, arguments, result)
        taken.setdefault((name, shape), []).append(end - begin)
        work.setdefault((name, shape), amount)
        return result

    for name, kernel in originals.items():
        setattr(kernels, name, partial(timed, name, kernel))
    try:
        yield
    finally:
        for name, kernel in originals.items():
            setattr(kernels, name, kernel)


def amount_of_work(name, arguments, result):
    """(shape in words, {"bytes": n}, of a product also {"flops": n}) of one kernel call.

    The bytes are those of the images, and the weights of a convolution, that must at least be read and written once.
    Of a convolution the multiply-adds of its definition count, two operations each, however few are really done.
    """
    images = [
        a
        for a in (*arguments, *(result if isinstance(result, tuple) else (result,)))
        if np.ndim(a) in (2, 4) and hasattr(a, "nbytes")
    ]
    moved = {"bytes": sum(image.nbytes for image in images)}
    if name.startswith("linear"):  # N x D, D x K and N x K: of the product of their sizes, N*D*K is the root
        shape = "x".join(map(str, images[0].shape[1:]))
        return shape, {"flops": 2 * math.isqrt(math.prod(matrix.size for matrix in images))} | moved
    if not name.startswith("conv2d"):
        return "x".join(map(str, images[0].shape[1:])), moved
    if name == "conv2d":
        x, weight, _, stride, *_ = arguments
        y_shape, weight_shape, x_shape = result.shape, weight.shape, x.shape
    elif name == "conv2d_input_gradient":
        dy, weight, x_shape, stride, *_ = arguments
        y_shape, weight_shape = dy.shape, weight.shape
    else:
        dy, x, weight_shape, stride, *_ = arguments
        y_shape, x_shape = dy.shape, x.shape
    out_channels, _, kh, kw = weight_shape
    step = "" if stride == (1, 1) else f"/{stride[0]}" if stride[0] == stride[1] else f"/{stride[0]}x{stride[1]}"
    shape = f"{kh}x{kw}{step}, {x_shape[1]} to {out_channels} channels, {x_shape[2]}x{x_shape[3]}"
    return shape, {"flops": 2 * math.prod(y_shape) * math.prod(weight_shape[1:])} | moved


# -- in words ---------------------------------------------------------------------------------------------------


def report_text(report):
    """The report as a page for people."""
    about, engines = report["machine"], report["engines"]
    versions = dict(about["versions"]) | ({"torch": report["torch"]} if "torch" in report else {})
    lines = [
        f"{report['net']}, batch of {report['batch']} x {'x'.join(map(str, report['input']))}, float32",
        f"{about['cpu']}, {about['threads']} threads of {about['cores']} cores, {about['kernels']} kernels",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        "",
        f"{'':<37}{'training step, ms':>26}{'inference, ms':>26}{'peak memory, MiB':>18}{'start, s':>10}",
        *(_row(title, engine) for title, engine in engines.items()),
        "",
        "Times are medians (and quartiles). Peak memory is that of the whole process after training. The start is that",
        "of the process to the end of its second step: kernels are read from the disk, or compiled if not there yet.",
    ]
    if "cold_start_s" in report:
        lines.append(f"Without any compiled kernels minires starts in {report['cold_start_s']:.1f} s.")
    lines += _ratios(engines, report.get("left_out", ""))
    lines += ["", f"{'a training step':<24}{'of':<40}{'calls':>6}{'ms':>9}{'share':>8}  rate"]
    for row in report["operators"]:
        cells = f"{row['operator']:<24}{row['shape']:<40}{row['calls']:>6}{row['ms']:>9.2f}{row['share']:>8.1%}"
        rate, unit = ("gflops_per_s", "GFLOP/s") if "flops" in row else ("gbytes_per_s", "GB/s")
        cells += f"  {row[rate]:.0f} {unit}" if rate in row else ""
        lines.append(cells)
    return "\n".join(lines)


def _row(title, engine):
    cells = f"{title:<37}"
    for mode in ("train", "infer"):
        low, high = engine[f"{mode}_quartiles_ms"]
        spread = f"{engine[f'{mode}_ms']:.1f} ({low:.1f} to {high:.1f})"
        cells += f"{spread:>26}"
    peak = engine["peak_bytes"]
    return cells + f"{'unknown' if peak is None else f'{peak / 2**20:,.0f}':>18}{engine['start_s']:>10.1f}"


def _ratios(engines, left_out=""):
    """minires over the fastest of each kind of the others: below 1, minires is faster, or smaller."""
    exact = {title: e for title, e in engines.items() if title != "minires" and "bfloat16" not in title}
    kinds = {"torch": [e for title, e in exact.items() if "compiled" not in title]}
    kinds["torch.compile"] = [e for title, e in exact.items() if "compiled" in title]
    lines = []
    for kind, others in kinds.items():
        if others:
            words = [
                f"{what} {min(others, key=lambda e: e[f'{mode}_ms'])[f'{mode}_ratio']:.2f}"
                for mode, what in (("train", "training step"), ("infer", "inference"))
            ]
            peaks = [e["peak_bytes"] for e in others]
            if None not in peaks:
                words.append(f"peak memory {engines['minires']['peak_bytes'] / min(peaks):.2f}")
            lines.append(f"minires / fastest (smallest) {kind}: {', '.join(words)}")
    if any("bfloat16" in title for title in engines):
        lines.append("With autocast to bfloat16 torch multiplies numbers of 16 bits: other results, and so no ratio.")
    lines += [left_out] * bool(left_out)
    return [""] * bool(lines) + lines


if __name__ == "__main__":
    with keep_freed_memory():  # as in train()
        serve(MiniresWork)
