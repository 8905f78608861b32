r"""A residual net as boosting over features: what each block adds, and blocks trained one after another.

The output of block t is its input and something more, and so is what any linear classifier makes of it::

    g_(t+1) = S_t g_t + f_t(g_t)          S_t: the shortcut, nearly always the identity
    W g_(T+1) = W S...S g_1 + sum over t of W S...S f_t(g_t)

The second line telescopes from the first (Huang et al. 2018, arXiv:1706.04964, equation 1 and section 3).

What a classifier is worth is its edge. Of image i and a wrong class l, let m be the probability given to the right
class minus that given to l: between -1 and 1. A wrong image has m <= 0 for some l. For any alpha >= 0,

.. math::
    [m \le 0] \;\le\; e^{-\alpha m} \;\le\; \frac{1 + m}{2} e^{-\alpha} + \frac{1 - m}{2} e^{\alpha}

as e^x is convex. Averaged over all images and their K - 1 wrong classes, with the edge gamma~ = mean of m (0 for a
guess, 1 for certainty), and at the best alpha, half the logarithm of (1 + gamma~) / (1 - gamma~),

.. math::
    \frac{\mathrm{error}}{K - 1} \;\le\; \sqrt{1 - \tilde\gamma_T^2}
                   \;=\; \prod_t \sqrt{1 - \gamma_t^2} \;\le\; e^{-\sum_t \gamma_t^2 / 2},
    \qquad \gamma_t^2 = \frac{\tilde\gamma_{t+1}^2 - \tilde\gamma_t^2}{1 - \tilde\gamma_t^2}

The product telescopes again, from gamma~_0 = 0. gamma_t > 0 is the weak learning condition: each block makes the edge
larger. If every gamma_t is at least gamma, the error is at most (K - 1) exp(-T gamma^2 / 2). For two classes this is
the paper's, whose y o(x) is m; there edges are taken over weighted examples, here all count alike. For ten classes the
factor K - 1 = 9 keeps the bound above 1 until the edge is 0.994. So bounds are shown on questions of two classes:
``yes_or_no``.
"""

from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np

from minires.checks import require
from minires.data import batches, endless
from minires.lab.paths.measure import blocks_of
from minires.layers import GlobalAvgPool2d, Identity, Linear, Sequential, SubsampleShortcut
from minires.losses import softmax_cross_entropy
from minires.optim import SGD, warm_up_then_cosine
from minires.probe import Probe
from minires.progress import Progress
from minires.train import steps as taken

STEM = "stem"  # the name of what comes before the first block: the first weak learner


# -- the telescoping sum --------------------------------------------------------------------------------------


class Contributions(NamedTuple):
    """What each part of a net adds to the logits; see ``contributions``."""

    names: list  # "stem", the paths of the blocks, "bias"
    logits: np.ndarray  # (parts, N, classes); their sum over the first axis is what the net returns


def contributions(net, x):
    r"""Split the logits of a net into the sum of what its stem, each of its blocks and the last bias add.

    The part of block t is W pool(S ... S f_t), with f_t = g_{t+1} - S_t g_t: what the block makes of its input beyond
    the shortcut. A ReLU after the addition belongs to f_t. For a projection shortcut, S_t is its linear part. The net,
    of the form of ``minires.networks.cifar_network``, ``conv1 ... stage1 ... pool, linear``, runs in evaluation mode.
    """
    stem, blocks, linear = _parts(net)
    with net.evaluating():
        g = stem.forward(x)
        features = [g]  # what each part has added, carried up to here; their sum is g
        for block in blocks:
            y = block.layer.forward(g)
            features = [_linear_part(block.shortcut, feature) for feature in features]
            features.append(y - sum(features))
            g = y
    weight = linear.weight.data.astype(x.dtype)
    logits = [feature.mean(axis=(2, 3)) @ weight.T for feature in features]
    logits.append(np.broadcast_to(linear.bias.data.astype(x.dtype), logits[0].shape))
    return Contributions([STEM, *(block.path for block in blocks), "bias"], np.array(logits))


def cumulative_error(parts, labels):
    """Return the error after the stem, after the first block, ...: of the sum of the bias and all parts up to there."""
    so_far = np.cumsum(parts.logits[:-1], axis=0) + parts.logits[-1]
    if np.shape(labels) != so_far.shape[1:2]:
        raise ValueError(f"cumulative_error: expected {so_far.shape[1]} labels, one an image, got {np.shape(labels)}.")
    return np.mean(so_far.argmax(axis=2) != labels, axis=1)


def _linear_part(shortcut, x):
    if isinstance(shortcut, Identity | SubsampleShortcut):
        return shortcut.forward(x)
    return shortcut.forward(x) - shortcut.forward(np.zeros_like(x[:1]))  # convolution and batch norm: affine


# -- edges ----------------------------------------------------------------------------------------------------


class Edge(NamedTuple):
    """What the classifier after one part of a net is worth; see ``edges``."""

    name: str
    edge: float  # gamma~ on the training images
    train_error: float
    test_error: float


def margins(logits, labels):
    """Return, for each image, the probability of the right class minus the mean of those of the wrong classes."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    K = p.shape[1]
    return (K * p[np.arange(len(labels)), labels] - 1) / (K - 1)  # the wrong classes share what is left of 1


class Gammas(NamedTuple):
    """What a row of edges says of the training error; see ``gammas``."""

    squared: np.ndarray  # gamma_t^2, the first against a guess
    bound: np.ndarray  # of the error: (K - 1) sqrt(1 - gamma~^2), the product of all sqrt(1 - gamma_t^2) so far
    exponential: np.ndarray  # (K - 1) exp(-T gamma^2 / 2) with T classifiers so far, gamma^2 the mean of their squares


def gammas(edge, classes):
    """Return ``Gammas`` for classifiers with these edges, one after another.

    An edge below 0 counts as 0: a classifier worse than none gets the weight alpha = 0. A negative gamma_t^2 says that
    the weak learning condition fails there. A bound above 1 is 1: it says nothing.

    >>> squared, bound, exponential = gammas([0.6, 0.8], classes=2)
    >>> squared.round(4).tolist(), bound.round(4).tolist(), exponential.round(4).tolist()
    ([0.36, 0.4375], [0.8, 0.6], [0.8353, 0.6712])
    """
    left = 1 - np.clip([0.0, *edge], 0, 1) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = np.where(left[:-1] > 0, 1 - left[1:] / left[:-1], 0.0)
    both = np.sqrt(left[1:]), np.exp(-np.cumsum(squared) / 2)
    return Gammas(squared, *(np.minimum(1, (classes - 1) * bound) for bound in both))


def yes_or_no(dataset, classes):
    """Return a dataset with two classes, ``no`` and ``yes``: is the image of one of these classes?"""
    known, asked = (", ".join(map(str, names)) for names in (dataset.classes, classes))
    sound = set() < set(classes) < set(dataset.classes)
    require(sound, "yes_or_no", f"some, not all, of the classes {known}", asked or "none")
    labels = np.isin(dataset.labels, [dataset.classes.index(name) for name in classes]).astype(np.int64)
    return replace(dataset, labels=labels, classes=("no", "yes"))


def edges(net, classifiers, train_set, test_set, batch_size=250):
    """Return an ``Edge`` for the stem and for every block: of its own linear classifier, in evaluation mode.

    The classifiers, on features averaged over the image, come from ``boost`` or ``fit_classifiers``. Images are not
    augmented; the edge is that on ``train_set``.
    """
    names = [STEM, *(block.path for block in blocks_of(net))]
    if len(classifiers) != len(names):
        raise ValueError(f"edges: expected {len(names)} classifiers, of stem and blocks, got {len(classifiers)}.")
    measured = []
    for dataset in (train_set, test_set):
        found = [pooled_features(net, x) for x, _ in batches(dataset, batch_size)]
        columns = [np.concatenate(feature) for feature in zip(*found)]
        found = [classifier.forward(feature) for classifier, feature in zip(classifiers, columns)]
        wrong = [float(np.mean(logits.argmax(axis=1) != dataset.labels)) for logits in found]
        measured.append([(float(margins(logits, dataset.labels).mean()), w) for logits, w in zip(found, wrong)])
    return [Edge(name, edge, wrong, test) for name, (edge, wrong), (_, test) in zip(names, *measured)]


def pooled_features(net, x):
    """Return what the stem and each block make of x, in evaluation mode, averaged over the image: a list of (N, C)."""
    paths = [block.path for block in _parts(net)[1]]
    with net.evaluating(), Probe(net, paths=paths) as probe:
        net.forward(x)
    outputs = [probe.x[paths[0]], *(probe.y[path] for path in paths)]
    return [y.mean(axis=(2, 3)) for y in outputs]


# -- training -------------------------------------------------------------------------------------------------


def boost(net, train_set, *, steps, batch_size=64, lr=0.1, rng=0):
    """Train the blocks of a net one after another, each with a linear probe; return those classifiers.

    First the stem, then each block, is trained for ``steps`` with a new linear classifier on its averaged features,
    while all before it stays as it is, in evaluation mode. The last classifier takes the place of the net's own. No
    gradient passes more than one block. Momentum is 0.9, weight decay 1e-4; a warm-up over a tenth of the steps, then
    half a cosine from ``lr``, for each block anew. ``rng`` draws batches, augmentation and the classifiers.
    """
    require(steps > 0, "boost", "steps of at least 1, for the stem and for each block", steps)
    stem, blocks, linear = _parts(net)
    rng = np.random.default_rng(rng)
    frozen, classifiers = Sequential(Identity()), []
    with Progress(steps * (len(blocks) + 1), "block by block") as progress:
        for layer in [stem, *(block.layer for block in blocks)]:
            x, _ = next(batches(train_set, 1))
            with frozen.eval().without_caches(), layer.eval().without_caches():
                channels = layer.forward(frozen.forward(x)).shape[1]
            classifier = Linear(channels, linear.out_features, rng=rng)
            module = Sequential(layer=layer, pool=GlobalAvgPool2d(), linear=classifier).train()
            optimizer = SGD(module.parameters(), lr, momentum=0.9, weight_decay=1e-4)
            stream = islice(_after(frozen, train_set, batch_size, rng), steps)
            for step in taken(module, optimizer, stream, schedule=warm_up_then_cosine(lr, steps)):
                progress.update(f"loss {step.loss:.3f}")
            classifiers.append(classifier)
            frozen = Sequential(*frozen, layer.eval())
    linear.weight.data[...] = classifiers[-1].weight.data
    linear.bias.data[...] = classifiers[-1].bias.data
    return classifiers


def fit_classifiers(net, train_set, *, steps, batch_size=64, lr=0.1, rng=0):
    """Train a linear classifier on the averaged features of the stem and of each block of a net that stays as it is."""
    rng = np.random.default_rng(rng)
    x, _ = next(batches(train_set, 1))
    heads = [Linear(y.shape[1], net.linear.out_features, rng=rng) for y in pooled_features(net, x)]
    optimizers = [SGD(head.parameters(), lr, momentum=0.9, weight_decay=1e-4) for head in heads]
    schedule = warm_up_then_cosine(lr, max(1, steps))
    with Progress(steps, "linear classifiers") as progress:
        for step, (x, labels) in enumerate(islice(endless(train_set, batch_size, rng), steps)):
            for head, optimizer, features in zip(heads, optimizers, pooled_features(net, x)):
                optimizer.lr = schedule.lr(step)
                _, dlogits = softmax_cross_entropy(head.forward(features), labels)
                head.zero_grad().backward(dlogits)
                optimizer.step()
            progress.update()
    return heads


def _after(frozen, train_set, batch_size, rng):
    """Yield batches without end, as ``frozen`` hands them on."""
    for x, labels in endless(train_set, batch_size, rng):
        with frozen.without_caches():
            x = frozen.forward(x)
        yield x, labels


def _parts(net):
    """(stem, blocks, last linear layer) of a net: the layers before its stages, their blocks, and what follows."""
    blocks = blocks_of(net)
    names = [name for name, _ in net._members()]
    first, last = (blocks[i].path.partition(".")[0] for i in (0, -1))
    after = [net[i] for i in range(names.index(last) + 1, len(names))] if last in names else []
    if not (len(after) == 2 and isinstance(after[0], GlobalAvgPool2d) and isinstance(after[1], Linear)):
        raise ValueError(
            "expected a net whose last stage is followed by GlobalAvgPool2d and Linear alone, such as "
            "cifar_resnet(20); others do more to the sum of their blocks, and it does not telescope."
        )
    return Sequential(*(net[i] for i in range(names.index(first)))), blocks, after[1]
