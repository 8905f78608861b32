r"""Highway gates: how much each layer transforms, and whether that depends on the image.

.. math:: y = T(x) H(x) + (1 - T(x)) x, \qquad T(x) = \sigma(W_T x + b_T)

b_T starts negative. Where W_T x is small, T is sigma(b_T) for every image, and the layer passes nearly all of x on.
What training makes of that (Srivastava et al., arXiv:1505.00387, section 3, Fig. 2) is seen in three numbers: the mean
of T, how much T changes from image to image, and the bias.
"""

import copy
from typing import NamedTuple

import numpy as np

from minires.layers import Gated, Product, Residual
from minires.probe import Probe


class Gate(NamedTuple):
    """The transform gate of one highway layer; see ``transform_gates``. Arrays have a number for each channel."""

    path: str
    mean: float  # T, over images, channels and pixels
    by_image: float  # standard deviation of T over the images, root mean square over channels
    bias: np.ndarray  # b_T
    channels: np.ndarray  # T of a channel, over images and pixels
    one: np.ndarray  # the same for the first image alone
    output: np.ndarray  # y of the layer for the first image


def transform_gates(net, x):
    """Return a ``Gate`` for every highway layer of a net, from input to output.

    The pass runs on a copy. Of a map the mean over its pixels is taken first, so that a gate which follows an edge in
    each image, as much in one as in another, counts as one that does not depend on the image. The net is such as
    ``cifar_highway(20)`` or ``highway_mlp(50)``, with either carry.
    """
    net = copy.deepcopy(net)
    layers = dict(net.named_layers())
    gates = {path: gate for path, layer in layers.items() if (gate := _gate(path, layer))}
    if not gates:
        raise ValueError("transform_gates: the net has no highway layer. Use cifar_highway or highway_mlp.")
    if len(x) < 2:
        raise ValueError(f"transform_gates: expected at least two images, to see gates change, got {len(x)}.")

    def over_pixels(y):
        return y.reshape(*y.shape[:2], -1).mean(axis=2)

    with net.without_caches(), Probe(net, paths=[*gates, *gates.values()], reduce=over_pixels) as probe:
        net.forward(x)
    found = []
    for path, gate in gates.items():
        t, bias = probe.y[gate].astype(np.float64), layers[f"{gate}.layer"].bias.data.copy()
        spread = float(np.sqrt(t.var(axis=0).mean()))
        found.append(Gate(path, float(t.mean()), spread, bias, t.mean(axis=0), t[0], probe.y[path][0]))
    return found


def _gate(path, layer):
    """Path of the transform gate of a highway layer with this path; None for other layers."""
    if isinstance(layer, Gated):
        return f"{path}.gate"
    if isinstance(layer, Residual) and isinstance(layer.branch, Product):  # y = T H + C x
        return f"{path}.branch.left"
    return None
