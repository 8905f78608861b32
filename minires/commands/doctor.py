"""Say what is installed, and whether it works."""

import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

from minires import kernels
from minires.data import find_cifar10
from minires.gradcheck import check_layer
from minires.kernels.machine import threads
from minires.kernels.machine.cores import threads_wanted
from minires.layers import Conv2d
from minires.machine import installed, machine
from minires.networks import cifar_resnet
from minires.optim import SGD
from minires.train import steps
from minires.version import VERSION


def add_options(parser):
    pass


def run(options):
    """Print what is installed and whether a derivative and a small training work."""
    about = machine()
    blas = np.show_config(mode="dicts")["Build Dependencies"].get("blas", {})
    facts = {
        "minires": f"{VERSION} in {Path(__file__).parents[1]}",
        "python": f"{platform.python_version()} in {sys.prefix}",
        **{
            name: installed(name) or f"missing: pip install {name}" for name in ("numpy", "numba", "matplotlib", "tqdm")
        },
        "BLAS": f"{blas.get('name', 'unknown')} {blas.get('version', '')}",
        "system": f"{about['platform']}, {about['cores']} cores",
        "processor": about["cpu"],
        "threads": f"{about['threads']}  ({threads_wanted()[1]})",
        **_kernels(),
        "data": _data(),
    }
    for name, text in facts.items():
        _say(name, text)
    fine = [_tries("gradients", _try_gradients), _tries("training", _try_training)]
    print("Everything works." if all(fine) else "Something is wrong: see FAILED above.")
    return 0 if all(fine) else 1


def _say(name, text):
    print(f"{name:<12}{text}", flush=True)


def _kernels():
    """How threads share the work, which kernels there are and why, where compiled ones are kept."""
    why = "MINIRES_KERNELS=reference computes with NumPy alone"
    if os.environ.get("MINIRES_KERNELS"):
        why = "set by MINIRES_KERNELS"
    if kernels.why_not_compiled:
        why = f"no compiled ones: {kernels.why_not_compiled.rstrip('.')}. NumPy computes, many times slower"
    sharing, cache = "none: NumPy has threads of its own", "none: these kernels are not compiled"
    if kernels.chosen != "reference":
        from minires.kernels.machine.compiler import CACHE_FOLDER

        board = threads.chosen().__module__.rpartition(".")[2]
        sharing = f"{board}  (MINIRES_THREADING: board, or executor in Python)"
        cache = "none: no folder is writable, so kernels compile anew in every process. Set NUMBA_CACHE_DIR"
        if CACHE_FOLDER is not None:
            size = sum(file.stat().st_size for file in CACHE_FOLDER.rglob("*") if file.is_file())
            cache = f"{CACHE_FOLDER}, {size / 1e6:.1f} MB of compiled kernels"
    return {"sharing": sharing, "kernels": f"{kernels.chosen}  ({why})", "cache": cache}


def _data():
    try:
        place = find_cifar10()
    except (OSError, ValueError) as error:
        return str(error)
    return f"CIFAR-10 in {place}" if place else "no CIFAR-10: minires data fetches it; the synthetic set needs none"


def _tries(name, attempt):
    begin = time.perf_counter()
    try:
        _say(name, f"{attempt()}, {time.perf_counter() - begin:.1f} s")
    except Exception as error:
        _say(name, f"FAILED: {type(error).__name__}: {error}")
        return False
    return True


def _try_gradients():
    check_layer(Conv2d(3, 4, 3, stride=2, padding=1, rng=0), np.random.default_rng(0).standard_normal((2, 3, 7, 6)))
    return "backward of a convolution is the derivative of its forward"


def _try_training():
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((16, 3, 32, 32), np.float32), np.arange(16) % 10
    net = cifar_resnet(8, rng=0)
    optimizer = SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = [step.loss for step in steps(net, optimizer, [(x, labels)] * 8)]
    if not losses[-1] < losses[0]:
        raise ArithmeticError(f"the loss went from {losses[0]:.3f} to {losses[-1]:.3f} in 8 steps on one batch")
    return f"8 steps of a small net, loss {losses[0]:.2f} to {losses[-1]:.2f}"
