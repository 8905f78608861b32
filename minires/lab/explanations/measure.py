r"""Three explanations of degradation, held against the same networks.

1. **Vanishing gradients**: on their way back through many layers the gradients become too small (or too large).
2. **Shattered gradients**: they keep their size, but those of neighbouring inputs have nothing to do with each other.
3. **Identity is hard to learn**: layers that are not needed should hand on what they get, and stacked layers cannot.

Each predicts a number that is worse in a plain net than in a residual one, and gets worse with its depth; ``verdict``
says of which that is so. It may still be a symptom and not the cause.
"""

import copy
import math
from typing import NamedTuple

import numpy as np

from minires.checks import require
from minires.lab.controls import settled
from minires.lab.experiment import markdown
from minires.layers import SubsampleShortcut
from minires.probe import Probe, block_paths, gradient_flow


def identity_distance(net, x, blocks=None):
    r"""Return for every block how far it is from the identity, :math:`|y - x| / |x|` over a batch.

    0: the block hands on its input. A y at a right angle to x and as long has distance :math:`\sqrt 2`. Where a block
    changes the shape, x is carried over as by option A (every second pixel, channels of zeros).

    The pass runs on a copy, in the mode the net is in. ``blocks`` as for ``gradient_flow``.
    """
    net = copy.deepcopy(net)
    blocks = block_paths(net, blocks)
    with net.without_caches(), Probe(net, paths=blocks) as probe:
        net.forward(x)
    return [_distance(probe.x[path], probe.y[path]) for path in blocks]


def _distance(x, y):
    if x.shape != y.shape:
        x = SubsampleShortcut(x.shape[1], y.shape[1], stride=x.shape[2] // y.shape[2]).forward(x)
    x, y = x.astype(np.float64), y.astype(np.float64)
    return float(np.linalg.norm(y - x) / np.linalg.norm(x))


DISTANCES = 2.0 ** np.arange(-16, 1)  # in parts of the way to another image


def gradient_correlation(net, x, distances=DISTANCES, rng=0):
    """Return how alike the gradients at neighbouring images are, one number for each distance.

    The images of a batch are paired, one of the first half with one of the second. The net is settled on the batch
    (see ``settled``) and differentiated at the first image of a pair and at points on the straight line to the second:
    the gradient, with respect to the image, of one random combination of the logits.

    Returned is the cosine between the gradient at an image and that at each of the distances, 1/65536, ..., 1/4, 1/2, 1
    of the way, averaged over the pairs.
    """
    pairs = len(x) // 2
    require(pairs, "gradient_correlation", "at least two images to draw a line between", len(x))
    rng, net, v = np.random.default_rng(rng), settled(net, x), None
    t = np.array([0.0, *distances], x.dtype)[:, None, None, None]
    total = 0.0
    for a, b in zip(x[:pairs], x[pairs:]):
        logits = net.forward(a + t * (b - a))
        v = rng.standard_normal(logits.shape[1:]) if v is None else v  # the same for every pair
        g = net.backward(np.ascontiguousarray(np.broadcast_to(v, logits.shape), dtype=logits.dtype))
        g = g.reshape(len(t), -1).astype(np.float64)
        g /= np.linalg.norm(g, axis=1, keepdims=True)
        total = total + g[1:] @ g[0]
    return total / pairs


def half_distance(correlation, distances=DISTANCES):
    """Return the distance at which a correlation has fallen to 1/2, between two distances by their logarithms.

    The shortest distance if it is lower there already, the longest if it is nowhere.
    """
    count = len(distances)
    require(len(correlation) == count, "half_distance", f"{count} numbers, one a distance", len(correlation))
    below = np.flatnonzero(np.asarray(correlation) < 0.5)
    k = below[0] if below.size else -1
    if k < 1:
        return float(distances[k])
    part = (correlation[k - 1] - 0.5) / (correlation[k - 1] - correlation[k])
    return float(distances[k - 1] * (distances[k] / distances[k - 1]) ** part)


# -- the closing table --------------------------------------------------------------------------------------------


class Question(NamedTuple):
    """A number that an explanation predicts to be harmful; see ``QUESTIONS``."""

    explanation: str
    measured: str  # in words
    harmful: str  # "low" or "high": which values would explain that a net is hard to train
    healthy: float | None = None  # not harmful up to here, whatever another net has


_gained = "powers of ten gained by the gradient, last block to first"
_speeds = "powers of ten between the largest and the smallest dW/W of a block"
_part = "log2 of the part of the way to another image on which they come to half agree"
_length = "length of y - x in parts of that of x, mean over the blocks"
QUESTIONS = {
    "vanishing": Question("gradients vanish", _gained, "low", healthy=-1.0),
    "growing": Question("gradients explode", _gained, "high", healthy=1.0),
    "weights": Question("layers learn at unequal speed", _speeds, "high"),
    "shattered": Question("gradients shatter", _part, "low"),
    "identity": Question("blocks are far from the identity", _length, "high"),
}


def measure(net, x, labels, pairs=4):
    """Return {name of a question: the number of this net} for all of ``QUESTIONS``.

    Norms and distances are those of one pass in training mode over the batch; gradients are compared between ``pairs``
    pairs of its images, as in ``gradient_correlation``.
    """
    net = copy.deepcopy(net).train()
    flow = gradient_flow(net, x, labels)
    if not all(row.entering and row.weight_ratio for row in flow):
        raise ValueError("measure: a block gets no gradient at all, so nothing can be compared. Is every unit dead?")
    gained = math.log10(flow[0].entering / flow[-1].entering)
    ratios = [row.weight_ratio for row in flow]
    return {
        "vanishing": gained,
        "growing": gained,
        "weights": math.log10(max(ratios) / min(ratios)),
        "shattered": math.log2(half_distance(gradient_correlation(net, x[: 2 * pairs]))),
        "identity": float(np.mean(identity_distance(net, x))),
    }


def verdict(question, values):
    """Return (``yes``, ``partly`` or ``no``, why in words): does this number separate plain from residual nets?

    yes
        The deep plain net is worse than the deep residual one, and depth makes the plain net worse, and more so than
        the residual one.
    partly
        The first of these alone: plain and residual differ, but not as degradation does, more with more depth.
    no
        Not even that; or the number of the deep plain net is a healthy one.

    "Worse" asks for a difference above twice its standard error over the seeds, and in any case above 0.1: that is a
    quarter more where powers of ten are counted. With a single seed it asks for ``ONE_SEED``. Of ``values``,
    ``{("plain", depth): [number of each seed], ("resnet", depth): ...}``, the shallowest and the deepest are compared.
    """
    values = {key: np.asarray(seeds, np.float64) for key, seeds in values.items()}
    shallow, deep = two_depths(values)
    sign = 1 if question.harmful == "high" else -1
    plain, resnet = values["plain", deep], values["resnet", deep]
    by_depth = {net: sign * (values[net, deep].mean() - values[net, shallow].mean()) for net in ("plain", "resnet")}
    noise = {net: _least(values[net, deep], values[net, shallow]) for net in by_depth}
    if question.healthy is not None and sign * (plain.mean() - question.healthy) <= 0:
        return "no", f"healthy in plain-{deep}"
    if sign * (plain.mean() - resnet.mean()) <= _least(plain, resnet):
        return "no", f"plain-{deep} is not worse than resnet-{deep}"
    if by_depth["plain"] <= noise["plain"]:
        return "partly", f"worse in plain-{deep} than in resnet-{deep}, but not worse than in plain-{shallow}"
    if by_depth["plain"] - by_depth["resnet"] <= math.hypot(*noise.values()):
        return "partly", "worse in plain nets, but depth adds no more to it than in residual ones"
    return "yes", "worse in the plain net, and more so with depth"


def two_depths(nets):
    """Return the smallest and the largest depth of nets such as ("plain", 20); plain and resnet must have both."""
    depths = sorted({depth for net, depth in nets if net in ("plain", "resnet")})
    four = {(net, depth) for net in ("plain", "resnet") for depth in depths[:1] + depths[-1:]}
    if len(four) < 4 or not four <= set(nets):
        got = ", ".join(f"{net}-{depth}" for net, depth in nets) or "none"
        raise ValueError(f"expected plain and resnet of two depths each, such as plain-20 to resnet-56; got {got}.")
    return depths[0], depths[-1]


ONE_SEED = 0.3  # at the start three seeds of one net spread by 0.1 (root mean square): twice that of a difference


def _least(*groups):
    """The difference of two means that counts: 0.1, or twice its standard error; with one seed ``ONE_SEED``."""
    if min(map(len, groups)) == 1:
        return ONE_SEED
    return max(0.1, 2 * math.sqrt(sum(np.var(group, ddof=1) / len(group) for group in groups)))


def closing_table(results):
    """Return the verdicts on ``{("plain", 20): [measure(...) of each seed], ("plain", 56): ..., ...}`` in Markdown."""
    nets = sorted(results, key=lambda key: (key[1], key[0]))
    head = ["explanation", "measured", *(f"{net}-{depth}" for net, depth in nets), "separates plain from residual?"]
    lines = []
    for name, question in QUESTIONS.items():
        values = {key: [numbers[name] for numbers in seeds] for key, seeds in results.items()}
        by_net, (answer, why) = [values[key] for key in nets], verdict(question, values)
        numbers = [f"{np.mean(of):.2f}" + (f" ± {np.std(of, ddof=1):.2f}" if len(of) > 1 else "") for of in by_net]
        one = " (one seed)" * (min(map(len, values.values())) == 1)
        lines.append([question.explanation, question.measured, *numbers, f"**{answer}**: {why}{one}"])
    return markdown(head, lines)
