r"""The shattered gradients of Balduzzi et al. 2017 (arXiv:1702.08591), in networks of one number.

A net f from one number to one number is asked for its slope df/dx at 256 neighbouring points. Between independent
activation patterns the paper derives how the correlation of two such slopes falls with the number of layers L: as
1/2^L without shortcuts, as 1/sqrt(L) with shortcuts and batch norm.

The points lie beside each other as the pixels of one image, (1, 1, 1, 256); a 1x1 convolution is then a linear layer
at each point. Batch norm takes its statistics from all points and then holds them fixed, so that no point touches
another. Points may also be vectors, an image with more channels: ``independent_points`` are what the derivation is for.
"""

import numpy as np

from minires.checks import require
from minires.lab.controls import settled
from minires.layers import BatchNorm2d, Conv2d, ReLU, Residual, Sequential

POINTS = np.linspace(-2, 2, 256)


def independent_points(number=256, size=64, rng=None):
    """Return points (number, size) of normal numbers: each at a right angle to all others, nearly."""
    return np.random.default_rng(rng).standard_normal((number, size))


def scalar_net(layers, residual=False, width=200, beta=1.0, points=POINTS, rng=None):
    """Return a net of one number (or of a point) with this many hidden layers, in evaluation mode, without its last.

    Without shortcuts a layer is y = relu(W x + b) with b such that every unit has mean 0 over the points before the
    ReLU; with shortcuts it is y = x + beta W relu(BN(x)) (equation 2). The first layer is
    y = relu(w x + b) in both: b, drawn like w, gives the units their kinks at different points.
    """
    got = f"layers={layers}, width={width}"
    require(layers > 0 and width > 0, "scalar_net", "at least one layer and one unit", got)
    rng, x = np.random.default_rng(rng), _as_image(points)
    first = Conv2d(x.shape[1], width, 1, rng=rng)
    first.bias.data[:] = rng.normal(0, np.sqrt(2), width)
    net = [first, ReLU()]
    for _ in range(layers - 1):
        linear = Conv2d(width, width, 1, bias=not residual, rng=rng)
        linear.weight.data *= beta
        net += [Residual(Sequential(BatchNorm2d(width), ReLU(), linear))] if residual else [linear, ReLU()]
    return (settled if residual else _centred)(Sequential(*net), x)


def scalar_gradients(net, points=POINTS, readouts=1, rng=None):
    """Return df/dx at each point, (readouts, points), for f = v . net(x) with a random v for each readout.

    If points are vectors, their components come one after the other: (readouts * size, points).

    One backward gives them all: no point touches another, so df/dx at each is its part of the gradient of the sum of
    f over the points.
    """
    x = np.repeat(_as_image(points), readouts, axis=0)
    y = net.forward(x)
    v = np.random.default_rng(rng).standard_normal((readouts, y.shape[1], 1, 1)) / np.sqrt(y.shape[1])
    dx = net.backward(np.ascontiguousarray(np.broadcast_to(v, y.shape), dtype=y.dtype))
    return dx.reshape(-1, dx.shape[3])


def autocorrelation(sequence, lags=16):
    r"""Return the autocorrelation of a sequence at lags 0, 1, ..., lags - 1; it is 1 at 0.

    .. math:: r_k = \sum_t (g_t - \bar g)(g_{t+k} - \bar g) \,/\, \sum_t (g_t - \bar g)^2
    """
    g = np.asarray(sequence, np.float64)
    fits, wanted = g.ndim == 1 and len(g) >= lags, f"one row of at least {lags} numbers, not all the same"
    require(fits and np.ptp(g) > 0, "autocorrelation", wanted, f"shape {g.shape}")
    g = g - g.mean()
    return np.array([g[: len(g) - k] @ g[k:] for k in range(lags)]) / (g @ g)


def noise(kind, rng=None, length=256):
    """Return ``white`` noise (independent normal numbers) or ``brown`` noise (their running sum)."""
    require(kind in ("white", "brown"), "noise", "'white' or 'brown'", repr(kind))
    white = np.random.default_rng(rng).standard_normal(length)
    return white if kind == "white" else np.cumsum(white)


def pair_correlation(gradients):
    r"""Return the correlation of the gradients at two different points, averaged over all pairs of points.

    .. math:: R = \mathrm{mean}_{i \ne j} \; E[g_i g_j] \,/\, \sqrt{E[g_i^2] \, E[g_j^2]}

    E is the mean over the first axis of ``gradients`` (samples, points): networks, and readouts of each, and components
    of a vector. (The means of the g are 0 by symmetry.)
    """
    g = np.asarray(gradients, np.float64)
    fits = g.ndim == 2 and g.shape[1] > 1
    require(fits, "pair_correlation", "an array (samples, points) of two points or more", g.shape)
    g = g / np.sqrt((g**2).mean(axis=0))
    samples, points = g.shape
    total = np.sum(g.sum(axis=1) ** 2) / samples  # of R over all pairs, those of a point with itself included
    return float((total - points) / (points * (points - 1)))


def correlation_by_depth(depths, residual=False, networks=10, readouts=8, width=200, beta=1.0, points=POINTS, rng=0):
    """Return ``pair_correlation`` for each number of layers, over ``networks`` random nets."""
    fits, got = networks > 0 and np.iterable(depths), f"{depths}, {networks}"
    require(fits, "correlation_by_depth", "a list of depths and networks >= 1", got)
    found = []
    for layers, stream in zip(depths, np.random.default_rng(rng).spawn(len(depths))):
        nets = (scalar_net(layers, residual, width, beta, points, rng=own) for own in stream.spawn(networks))
        gradients = [scalar_gradients(net, points, readouts, rng=stream) for net in nets]
        found.append(pair_correlation(np.vstack(gradients)))
    return np.array(found)


def _centred(net, x):
    """Give the convolutions after the first the biases that make the mean of each unit over the points 0."""
    for i, layer in enumerate(net):
        if i and isinstance(layer, Conv2d):
            layer.bias.data -= layer.forward(x).mean(axis=(0, 2, 3))
        x = layer.forward(x)
    return net.eval()


def _as_image(points):
    points = np.asarray(points, np.float32)
    return np.ascontiguousarray(points.reshape(len(points), -1).T[None, :, None, :])  # (1, size, 1, points)


def fall(depths, found, by_layer=False):
    """Return the factor per layer, or the exponent of L: a straight line through the logarithms of all above 0.01."""
    depths, found = np.asarray(depths, float), np.asarray(found)
    seen = found > 0.01
    slope = np.polyfit(depths[seen] if by_layer else np.log(depths[seen]), np.log(found[seen]), 1)[0]
    return np.exp(slope) if by_layer else slope
