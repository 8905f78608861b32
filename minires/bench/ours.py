"""The side of minires: a training step as ``train`` takes it, inference, and every kernel call of a step, timed."""

import math
import time
from functools import partial
from importlib import import_module
from itertools import repeat
from unittest import mock

import numpy as np

from minires import kernels
from minires.bench.engine import UPDATE, Work, random_batch, seconds, serve
from minires.kernels.machine.memory import keep_freed_memory
from minires.losses import softmax_cross_entropy
from minires.optim import SGD
from minires.train import steps


class MiniresWork(Work):
    def __init__(self, name, batch, input_shape, classes, weights=None, build=("minires.networks", "network")):
        self.net = getattr(import_module(build[0]), build[1])(name, classes=classes, rng=0)
        if weights:
            with np.load(weights) as state:
                self.net.load_state_dict(dict(state))
        self.optimizer = SGD(self.net.parameters(), **UPDATE)
        self.x, labels = random_batch(batch, input_shape, classes)
        self.training = partial(steps, self.net, self.optimizer, repeat((self.x, labels)))
        self.steps = self.training()

    def step(self):
        return float(next(self.steps).loss)

    def forward(self):
        with self.net.without_caches():
            self.net.forward(self.x)

    def operators(self, count):
        """Time every kernel call of so many training steps; return a row for each operator and shape."""
        self.train(1)
        taken, work, totals, each = {}, {}, [], []
        timed = partial(partial, _timed, taken, work)
        training = self.training(loss=timed("loss", softmax_cross_entropy))
        update = mock.patch.object(self.optimizer, "step", timed("SGD step", self.optimizer.step))
        with timed_kernels(taken, work), update:
            for _ in range(count):
                taken.clear()
                totals += seconds(partial(next, training), 1)
                each.append({key: (sum(calls), len(calls)) for key, calls in taken.items()})
        every = dict.fromkeys(key for step in each for key in step)  # with stochastic depth not all are in each step
        per_step = {key: np.array([step.get(key, (0, 0)) for step in each]) for key in every}
        rest = np.array(totals) - sum(step[:, 0] for step in per_step.values())
        per_step["all else", "pooling, shortcuts, Python"] = np.stack([rest, np.ones(count)], axis=1)
        rows = []
        for (operator, shape), step in per_step.items():
            ms, calls = float(np.median(step[:, 0]) * 1e3), int(np.median(step[:, 1]))
            row = {"operator": operator, "shape": shape, "calls": calls, "ms": ms}
            row["share"] = ms / float(np.median(totals) * 1e3)
            for unit, amount in work.get((operator, shape), {}).items():
                row |= {unit: amount} | ({f"g{unit}_per_s": amount * calls / ms / 1e6} if ms else {})
            rows.append(row)
        return sorted(rows, key=lambda row: -row["ms"])


def timed_kernels(taken, work):
    """Within a ``with`` of it, every kernel notes its seconds in taken[operator, shape], and once its work in work."""
    names = [name for name in kernels.__all__ if name != "sgd_step"]  # timed as a whole, not parameter by parameter
    originals = {name: getattr(kernels, name) for name in names if callable(getattr(kernels, name))}
    timed = {name: partial(_timed, taken, work, name, kernel) for name, kernel in originals.items()}
    return mock.patch.multiple(kernels, **timed)


def _timed(taken, work, name, function, *arguments):
    begin = time.perf_counter()
    result = function(*arguments)
    end = time.perf_counter()
    shape, amount = amount_of_work(name, arguments, result) if name in kernels.__all__ else ("", {})
    taken.setdefault((name, shape), []).append(end - begin)
    work.setdefault((name, shape), amount)
    return result


def amount_of_work(name, arguments, result):
    """(shape in words, {"bytes": n}, of a product also {"flops": n}) of one kernel call.

    The bytes are those of the images, and the weights of a convolution, that must at least be read and written once.
    Of a convolution the multiply-adds of its definition count, two operations each, however few are really done.
    """
    everything = (*arguments, *(result if isinstance(result, tuple) else (result,)))
    images = [a for a in everything if np.ndim(a) in (2, 4) and hasattr(a, "nbytes")]
    moved = {"bytes": sum(image.nbytes for image in images)}
    if name.startswith("linear"):  # N x D, D x K and N x K: of the product of their sizes, N*D*K is the root
        moved = {"flops": 2 * math.isqrt(math.prod(matrix.size for matrix in images))} | moved
    if not name.startswith("conv2d"):
        return "x".join(map(str, images[0].shape[1:])), moved
    x, weight, y = {"conv2d": (0, 1, 3), "conv2d_input_gradient": (2, 1, 0), "conv2d_weight_gradient": (1, 2, 0)}[name]
    shapes, stride = [a if isinstance(a, tuple) else np.shape(a) for a in (*arguments[:3], result)], arguments[3]
    (_, in_channels, H, W), (out_channels, _, kh, kw) = shapes[x], shapes[weight]
    step = "" if stride == (1, 1) else f"/{stride[0]}" if stride[0] == stride[1] else f"/{stride[0]}x{stride[1]}"
    shape = f"{kh}x{kw}{step}, {in_channels} to {out_channels} channels, {H}x{W}"
    return shape, {"flops": 2 * math.prod(shapes[y]) * math.prod(shapes[weight][1:])} | moved


if __name__ == "__main__":
    with keep_freed_memory():  # as in train()
        serve(MiniresWork)
