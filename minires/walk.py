"""A walk through a network: what each layer makes of its input, and what that costs.

Shapes are not predicted: one image of zeros goes through a copy of the net, and a probe reads them off.
"""

import copy
import math
import shutil
from typing import NamedTuple

import numpy as np

from minires.checks import require, shown, whole
from minires.kernels.compiled.geometry import output_size_text
from minires.layer import Layer, Parameter
from minires.layers import AvgPool2d, Conv2d, Linear, MaxPool2d
from minires.probe import Probe, Rows


class Row(NamedTuple):
    """One layer of a ``summary``."""

    path: str
    kind: str
    output: tuple  # shape of y for one image
    arithmetic: tuple  # of strings: how H, and W where it differs, come about
    parameters: int
    multiply_adds: int


class Summary(Rows):
    """The rows of ``summary``, with totals; prints as a table as wide as the terminal."""

    @property
    def parameters(self):
        return sum(row.parameters for row in self)

    @property
    def multiply_adds(self):
        return sum(row.multiply_adds for row in self)

    def __str__(self):
        in_line = shutil.get_terminal_size().columns >= 120  # else the arithmetic has a line of its own

        def line(name, kind, output, parameters, multiply_adds, arithmetic=()):
            cells = f"{name:<14}{kind:<18}{output:<13}{parameters:>12}{multiply_adds:>15}"
            if in_line and len(arithmetic) == 1:
                return f"{cells}  {arithmetic[0]}"
            return "\n".join([cells.rstrip(), *(f"{'':14}{text}" for text in arithmetic)])

        lines, above = [line("layer", "kind", "output", "parameters", "multiply-adds")], ""
        for row in self:
            parent, _, name = row.path.rpartition(".")
            if parent != above:  # a heading: the path that the names below it continue
                lines.append(parent)
                above = parent
            counts = [f"{number:,}" if number else "" for number in (row.parameters, row.multiply_adds)]
            output = "x".join(map(str, row.output))
            lines.append(line("  " * bool(parent) + name, row.kind, output, *counts, row.arithmetic))
        lines += ["", line("total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")]
        return "\n".join(lines)


def summary(net, input_shape=(3, 32, 32)):
    """Return a ``Summary``: a ``Row`` for each layer of ``net``, in the order of its parts, for one image of (C, H, W).

    A multiply-add is one weight times one number, added up; convolutions and linear layers do nearly all. The papers
    call them FLOPs, though each is two floating-point operations.

    >>> from minires.networks import cifar_resnet
    >>> walk = summary(cifar_resnet(20, rng=0))
    >>> walk.parameters, walk.multiply_adds
    (269722, 40551040)
    """
    require(isinstance(net, Layer), "summary", "a network", shown(net), "From a name network(name) makes one.")
    fits = isinstance(input_shape, (tuple, list))
    require(fits, "summary", "input_shape, such as (3, 32, 32)", shown(input_shape))
    input_shape = [whole("summary", "each size of input_shape", size, least=1) for size in input_shape]
    net = copy.deepcopy(net).eval()
    with net.without_caches(), Probe(net, reduce=np.shape) as probe:
        net.forward(np.zeros((1, *input_shape), np.float32))
    rows = Summary()
    for path, layer in net.named_layers():
        if path in probe.y and not _only_holds_others(layer):
            x, y = probe.x[path], probe.y[path]
            parameters = sum(member.size for _, member in layer._members() if isinstance(member, Parameter))
            costs = _arithmetic(layer, x), parameters, _multiply_adds(layer, y)
            rows.append(Row(path, type(layer).__name__, y[1:], *costs))
    return rows


def _only_holds_others(layer):
    kinds = {Layer if isinstance(member, Layer) else type(member) for _, member in layer._members()}
    return kinds == {Layer}


def _arithmetic(layer, x_shape):
    if not isinstance(layer, (Conv2d, MaxPool2d, AvgPool2d)):
        return ()
    dilation, ceil_mode = getattr(layer, "dilation", (1, 1)), getattr(layer, "ceil_mode", False)
    axes = zip(x_shape[2:], layer.kernel_size, layer.stride, layer.pad, dilation)
    return tuple(dict.fromkeys(output_size_text(*axis, ceil_mode) for axis in axes))


def _multiply_adds(layer, y_shape):
    """Every weight is used once per output pixel."""
    if not isinstance(layer, (Conv2d, Linear)):
        return 0
    return layer.weight.data.size * math.prod(y_shape[2:])
