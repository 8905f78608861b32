"""How long a network takes: training step, inference, every operator; and the same in PyTorch, side by side.

Each engine works in a process of its own, so that neither shares threads, caches or memory with the other, and they
take turns: a few steps of one, a few of the next, and so on. A ratio is taken within each turn and then the median
over the turns, so that a machine that slows down meanwhile slows both.
"""

import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from minires.bench.engine import Engine
from minires.checks import require, shown, whole
from minires.layer import RANDOM, Layer
from minires.layers import Linear
from minires.machine import machine
from minires.networks import network

OURS = ["-m", "minires.bench.ours"]
TORCH = [str(Path(__file__).with_name("pytorch.py"))]
STEPS = 3  # a turn; the first is not counted: it finds caches and threads as the other engine left them
SETTLE = 0.2  # s between turns of different engines: as long as idle OpenMP threads may go on watching for work


def bench(name, batch=128, input_shape=(3, 32, 32), classes=None, repeat=10, against=None, cold=False, build=network):
    """Time the network called ``name`` and return the report, a dict of numbers and strings.

    A step takes ``batch`` images of ``input_shape`` (C, H, W), in 10 ``classes`` or an ImageNet network's 1000. Each of
    ``repeat`` turns counts two training steps and two inferences. ``against="torch"``: PyTorch does the same work, in
    both memory formats: as it is, and compiled by ``torch.compile`` if a C++ compiler is installed; and once more with
    autocast to bfloat16. ``cold``: the start of a process that has no compiled kernels yet is measured as well.
    ``build``, a function of (name, classes=, rng=), makes the network; every process imports it by its name.
    """
    require(against in (None, "torch"), "bench", "against='torch' or None", shown(against))
    if against == "torch" and find_spec("torch") is None:
        raise ValueError("bench: --against torch needs PyTorch, which is not installed. Use  pip install torch")
    for what, value in (("batch", batch), ("repeat", repeat), ("classes", classes)):
        if value is not None:
            whole("bench", what, value, least=1)
    net = build(name, classes=classes, rng=0)
    work = batch, list(input_shape), _classes(net, input_shape)
    report = {"net": name, **dict(zip(("batch", "input", "classes"), work)), "machine": machine()}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        weights = str(Path(folder, "weights.npz"))
        np.savez(weights, **net.state_dict())
        ours = partial(Engine, "minires", OURS, (name, *work, weights, [build.__module__, build.__name__]))
        if cold:
            with closing(ours({"NUMBA_CACHE_DIR": folder})) as engine:
                report["cold_start_s"] = engine.start
        engines = [stack.enter_context(closing(ours()))]
        if against == "torch":
            titles, report["left_out"] = ways_of_torch()
            for title in titles:
                arguments = described(net), weights, *work, report["machine"]["threads"], title
                engines.append(stack.enter_context(closing(Engine(title, TORCH, arguments))))
                if "failed" in engines[-1].answer:
                    report["left_out"] = f"torch.compile was left out, for it failed: {engines.pop().answer['failed']}"
            report["torch"] = engines[1].answer["version"]
            _same_work(engines, net)
        report["engines"] = {engine.title: {"start_s": engine.start} for engine in engines}
        for mode in ("train", "infer"):
            turns = _alternate(engines, mode, repeat)
            for engine in engines:
                peak = {"peak_bytes": engine.ask("peak")} if mode == "train" else {}
                report["engines"][engine.title] |= _summary(engine, mode, turns) | peak
        report["operators"] = engines[0].ask("operators", max(repeat, 3))
    return report


def _classes(net, input_shape):
    last = [layer for _, layer in net.named_layers()][-1]
    if isinstance(last, Linear):
        return last.out_features
    with net.evaluating():
        return net.forward(np.zeros((1, *input_shape), np.float32)).shape[1]


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
                + " Kept code of another processor? Set TORCHINDUCTOR_CACHE_DIR to a new folder."
                * ("compiled" in engine.title)
            )


# -- the same in PyTorch -----------------------------------------------------------------------------------------

KNOWN = (  # whose constructor arguments have PyTorch's names
    "Conv2d BatchNorm2d MaxPool2d AvgPool2d Linear Dropout SubsampleShortcut ReLU Sigmoid GlobalAvgPool2d Flatten "
    "Identity Sequential Network Residual"
).split()


def described(layer):
    """A layer as (kind, constructor arguments, its parts by name): enough to build it again in PyTorch."""
    kind = type(layer).__name__
    if kind not in KNOWN:
        raise ValueError(f"bench: --against torch does not know what {kind} is in PyTorch.")
    arguments = {name: value for name, value in layer.arguments().items() if not isinstance(value, (Layer, *RANDOM))}
    return kind, arguments, [(name, described(child)) for name, child in layer.children()]


def ways_of_torch():
    """Return ([title, whose words say how], why some are left out, or "")."""
    usual = {"darwin": "clang++", "win32": "cl"}  # what torch.compile calls where the variable CXX does not say
    compiler, ways = os.environ.get("CXX") or usual.get(sys.platform, "g++"), ["torch", "torch channels_last"]
    if shutil.which(compiler):
        compiled = "torch compiled channels_last"
        return [*ways, "torch compiled", compiled, f"{compiled} bfloat16"], ""
    left_out = f"torch.compile needs the C++ compiler {compiler}, which is not installed: it was left out."
    return [*ways, "torch channels_last bfloat16"], left_out


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
    lines = []
    for kind, compiled in (("torch", False), ("torch.compile", True)):
        exact = {title: e for title, e in engines.items() if title != "minires" and "bfloat16" not in title}
        others = [e for title, e in exact.items() if ("compiled" in title) == compiled]
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
