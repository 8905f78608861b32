"""The other side of ``minires bench --against torch``: the same network, batch and step in PyTorch.

It is a script for a process of its own (``engine.py``). The package never imports it.
"""

from collections import OrderedDict
from functools import partial

import numpy as np
import torch
from engine import UPDATE, Work, random_batch, serve
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


OWN = {kind.__name__: kind for kind in (Residual, SubsampleShortcut, GlobalAvgPool2d)}


def built(kind, arguments, parts):
    """The module for a description made by ``described``."""
    parts = {name: built(*part) for name, part in parts}
    if kind in ("Sequential", "Network"):
        return nn.Sequential(OrderedDict(in_place(parts)))
    return OWN.get(kind, getattr(nn, kind, None))(**arguments, **parts)


def in_place(parts):
    """ReLUs may overwrite what nobody else keeps: the output of a convolution, batch norm or sum before them."""
    before = None
    for module in parts.values():
        if isinstance(module, nn.ReLU):
            module.inplace = isinstance(before, (nn.Conv2d, nn.BatchNorm2d, Residual))
        before = module
    return parts


class TorchWork(Work):
    """``how`` has words of "compiled", "channels_last" and "bfloat16"; the last is autocast, with other results."""

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
        self.optimizer = torch.optim.SGD(self.net.parameters(), **UPDATE, fused=True)

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
            return super().begin() | {"version": torch.__version__}
        except torch._dynamo.exc.TorchDynamoException as error:  # such as: the C++ compiler does not find Python.h
            return {"failed": next(line for line in str(error).splitlines() if line.strip())}


if __name__ == "__main__":
    serve(TorchWork)
