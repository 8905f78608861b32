"""The other side of ``minires bench --against torch``: the same network, batch and step in PyTorch.

It runs as a script in a process of its own, which then holds what a user of PyTorch would have in memory, and nothing
of minires. Hence it imports nothing from the package; the package never imports torch.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections import OrderedDict
from functools import partial

import numpy as np

LR, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 1e-4


def random_batch(batch, input_shape, classes):
    """Return (x, labels), the same in every process."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((batch, *input_shape), np.float32), rng.integers(classes, size=batch)


def seconds(step, steps):
    """Run ``step`` so many times; return how long each took."""
    taken = []
    for _ in range(steps):
        begin = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begin)
    return taken


def peak_memory():
    """The most memory this process has held so far, in bytes; None where the system does not say."""
    try:  # first choice: getrusage also counts what the parent held before this process was born
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:
        return None
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def serve(work_class):
    """Answer requests, a line of JSON each: ``[method, *arguments]``; "begin" constructs the object to ask.

    What anybody prints meanwhile goes to stderr: only answers go to stdout. On Ctrl-C the one who asks decides.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work = None
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        try:
            if method == "begin":
                work = work_class(*arguments)
                arguments = ()
            answer = getattr(work, method)(*arguments)
        except ValueError as error:  # of a person's making, such as images with too few channels
            answer = {"error": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


ARGUMENTS = {  # constructor arguments, which have PyTorch's names
    "Conv2d": "in_channels out_channels kernel_size stride padding dilation groups bias",
    "BatchNorm2d": "num_features eps momentum",
    "MaxPool2d": "kernel_size stride padding dilation ceil_mode",
    "AvgPool2d": "kernel_size stride padding ceil_mode count_include_pad divisor_override",
    "Linear": "in_features out_features bias",
    "Dropout": "p",
    "SubsampleShortcut": "in_channels out_channels stride",
    **dict.fromkeys("ReLU Sigmoid GlobalAvgPool2d Flatten Identity Sequential Network Residual".split(), ""),
}


def described(layer):
    """A layer as (kind, constructor arguments, its parts by name): enough to build it again in PyTorch."""
    kind = type(layer).__name__
    if kind not in ARGUMENTS:
        raise ValueError(f"bench: --against torch does not know what {kind} is in PyTorch.")
    arguments = {name: getattr(layer, name) for name in ARGUMENTS[kind].split()}
    if "bias" in arguments:
        arguments["bias"] = layer.bias is not None
    prefixes = [(path, child) for path, child in layer.named_layers() if path and "." not in path]
    return kind, arguments, [(path, described(child)) for path, child in prefixes]


def ways_of_torch():
    """Return ([title in words, ...], why some are left out, or "")."""
    usual = {"darwin": "clang++", "win32": "cl"}  # what torch.compile calls where the variable CXX does not say
    compiler = os.environ.get("CXX") or usual.get(sys.platform, "g++")
    ways, left_out = [["torch"], ["torch", "channels_last"]], ""
    if shutil.which(compiler):
        compiled = [["torch", "compiled"], ["torch", "compiled", "channels_last"]]
        ways += [*compiled, ["torch", "compiled", "channels_last", "bfloat16"]]
    else:
        left_out = f"torch.compile needs the C++ compiler {compiler}, which is not installed: it was left out."
        ways += [["torch", "channels_last", "bfloat16"]]
    return ways, left_out


def main():
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Residual(nn.Module):
        def __init__(self, branch, shortcut):
            super().__init__()
            self.branch, self.shortcut = branch, shortcut

        def forward(self, x):
            return self.branch(x) + self.shortcut(x)

    class SubsampleShortcut(nn.Module):
        def __init__(self, in_channels, out_channels, stride):
            super().__init__()
            before = (out_channels - in_channels) // 2
            self.stride, self.around = stride, (0, 0, 0, 0, before, out_channels - in_channels - before)

        def forward(self, x):
            return F.pad(x[:, :, :: self.stride, :: self.stride], self.around)

    class GlobalAvgPool2d(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    own = {kind.__name__: kind for kind in (Residual, SubsampleShortcut, GlobalAvgPool2d)}

    def built(kind, arguments, parts):
        """The module for a description made by ``described``."""
        parts = {name: built(*part) for name, part in parts}
        if kind in ("Sequential", "Network"):
            return nn.Sequential(OrderedDict(in_place(parts)))
        return own.get(kind, getattr(nn, kind, None))(**arguments, **parts)

    def in_place(parts):
        """ReLUs may overwrite what nobody else keeps: the output of a convolution, batch norm or sum before them."""
        before = None
        for module in parts.values():
            if isinstance(module, nn.ReLU):
                module.inplace = isinstance(before, (nn.Conv2d, nn.BatchNorm2d, Residual))
            before = module
        return parts

    class TorchWork:
        """``how`` are words of "compiled", "channels_last" and "bfloat16"; the last is autocast, with other results."""

        def __init__(self, net, weights, batch, input_shape, classes, threads, how):
            torch.set_num_threads(threads)
            memory_format = torch.channels_last if "channels_last" in how else torch.contiguous_format
            self.net = built(*net).to(memory_format=memory_format)
            state = {name: torch.from_numpy(array) for name, array in np.load(weights).items()}
            missing, unexpected = self.net.load_state_dict(state, strict=False)
            if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
                raise KeyError(f"the networks differ: missing {missing}, unexpected {unexpected}")
            if "compiled" in how:
                self.net = torch.compile(self.net)
            self.autocast = partial(torch.autocast, "cpu", torch.bfloat16, enabled="bfloat16" in how)
            x, labels = random_batch(batch, input_shape, classes)
            self.x = torch.from_numpy(x).contiguous(memory_format=memory_format)
            self.labels = torch.from_numpy(labels)
            self.optimizer = torch.optim.SGD(
                self.net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True
            )

        def step(self):
            with self.autocast():
                loss = F.cross_entropy(self.net(self.x), self.labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return loss.item()

        def forward(self):
            with torch.inference_mode(), self.autocast():
                self.net(self.x)

        def begin(self):
            try:
                return {"losses": [self.step(), self.step()], "version": torch.__version__}
            except torch._dynamo.exc.TorchDynamoException as error:  # such as: the C++ compiler does not find Python.h
                return {"failed": next(line for line in str(error).splitlines() if line.strip())}

        def train(self, steps):
            self.net.train()
            return seconds(self.step, steps)

        def infer(self, steps):
            self.net.eval()
            return seconds(self.forward, steps)

        def peak(self):
            return peak_memory()

    serve(TorchWork)


if __name__ == "__main__":
    main()
