r"""Layer responses: the standard deviation of the output of each 3x3 convolution, after its batch norm and before the
nonlinearity or the addition (He et al. 2015, arXiv:1512.03385, Fig. 7).

In training mode x-hat has mean 0 and standard deviation 1 in every channel, so with gains gamma and offsets beta

.. math::
    \mathrm{std}(y)^2 = \mathrm{mean}(\gamma^2) + \mathrm{var}(\beta)

whatever the images and the weights of the convolution. At initialisation, gamma = 1 and beta = 0, every response is 1.
"""

import copy
from typing import NamedTuple

import numpy as np

from minires.layers import BatchNorm2d, Conv2d
from minires.probe import Probe


class Response(NamedTuple):
    """How strongly one layer responds."""

    conv: str  # path of the convolution
    measured: str  # path of the layer whose output was measured: its batch norm, or itself
    std: float


def layer_responses(net, x):
    """Return a ``Response`` for every 3x3 convolution of a net, from input to output.

    The pass runs on a copy, in the mode (train or eval) the net is in. A convolution that no batch norm follows (the
    last of a pre-activation block; any in a net without batch norm) is measured itself.
    """
    net = copy.deepcopy(net)
    measured = dict(_measured(net))
    if not measured:
        raise ValueError("layer_responses: the net has no 3x3 convolution.")
    with net.without_caches(), Probe(net, paths=list(measured.values()), reduce=np.std) as probe:
        net.forward(x)
    return [Response(conv, path, float(probe.y[path])) for conv, path in measured.items()]


def _measured(net):
    """Yield (path of a 3x3 convolution, path of what is measured for it)."""
    layers = list(net.named_layers())
    for (path, layer), (next_path, next_layer) in zip(layers, [*layers[1:], ("", None)]):
        if isinstance(layer, Conv2d) and layer.kernel_size == (3, 3):
            beside = path.rpartition(".")[0] == next_path.rpartition(".")[0]
            yield path, next_path if beside and isinstance(next_layer, BatchNorm2d) else path


def decay_alone(rates, weight_decay=1e-4, momentum=0.9):
    r"""Return what weight decay alone makes of a gain of 1, by steps of these learning rates.

    Each step is v <- momentum v + weight_decay gamma, gamma <- gamma - rate v, so about
    :math:`\gamma = \exp(-\text{weight\_decay} \sum_t \text{rate}_t / (1 - \text{momentum}))`. A response as small as
    that need not have been learned.

    >>> from minires.optim import warm_up_then_cosine
    >>> schedule = warm_up_then_cosine(0.1, 2000)
    >>> round(decay_alone([schedule.lr(step) for step in range(2000)]), 3)
    0.914
    """
    gain, v = 1.0, 0.0
    for rate in rates:
        v = momentum * v + weight_decay * gain
        gain -= rate * v
    return gain


LEAST = 0.02  # means that differ by less than this part are alike: seeds of one net do, too


def findings(means):
    """Return the paper's two statements, held against the mean responses, {("plain", 20): ...}, a sentence each."""
    said = []
    for depth in sorted({depth for _, depth in means}):
        if ("plain", depth) in means and ("resnet", depth) in means:
            plain, resnet = means["plain", depth], means["resnet", depth]
            how = "about as much as" if _alike(plain, resnet) else "less than" if resnet < plain else "more than"
            said.append(f"resnet-{depth} responds {how} plain-{depth}: {resnet:.3f} against {plain:.3f}.")
    depths = sorted(depth for net, depth in means if net == "resnet")
    if len(depths) > 1:
        in_order = [means["resnet", depth] for depth in depths]
        falls = all(a > b and not _alike(a, b) for a, b in zip(in_order, in_order[1:]))
        how = "less than" if falls else "about as much as" if _alike(in_order[0], in_order[-1]) else "not less than"
        numbers = ", ".join(f"{depth} layers {mean:.3f}" for depth, mean in zip(depths, in_order))
        said.append(f"Deeper residual nets respond {how} shallower ones: {numbers}.")
    return said


def _alike(a, b):
    return abs(a - b) <= LEAST * max(a, b)
