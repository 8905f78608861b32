"""Train a net and stop on the way to look at it."""

from itertools import chain, count
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from minires.data import batches
from minires.losses import softmax_cross_entropy
from minires.optim import SGD, Cosine, LinearWarmUp
from minires.progress import BAR
from minires.train import Diverged, first_not_finite


class Snapshot(NamedTuple):
    """A moment of training; see ``snapshots``."""

    step: int
    loss: float  # mean over the batches since the snapshot before, as they were trained on; nan at step 0
    error: float  # the same, fraction of wrong images


def snapshots(net, train_set, at, *, batch_size=64, lr=0.1, rng=0, title="training", bar=True):
    """Train a net, and yield a ``Snapshot`` after each of the steps ``at``; 0 is before the first.

    The net can be measured while the generator waits::

        for snapshot in snapshots(net, train_set, at=[0, 50, 200]):
            flows[snapshot.step] = gradient_flow(net, x, labels)

    The recipe is that of the short runs of ``examples/degradation_cifar.py``: momentum 0.9, weight decay 1e-4, a
    warm-up over a tenth of the steps and then half a cosine to 0 at the last of them.

    Parameters
    ----------
    net : Layer
    train_set : Dataset
    at : list of int
        Steps; the largest ends the training.
    batch_size : int, default 64
    lr : float, default 0.1
        Highest learning rate.
    rng : numpy.random.Generator or int, default 0
        Draws the order of the images and their augmentation.
    title, bar
        As for ``train``.

    Raises
    ------
    Diverged
        When loss or parameters are not finite any more; the message names the step and the layer.
    """
    at = sorted(set(at)) if np.iterable(at) else [at]
    if not at or not all(isinstance(step, int | np.integer) and step >= 0 for step in at):
        raise ValueError(f"snapshots: expected at least one step in at, whole numbers from 0 on, got {at}.")
    steps, rng = int(at[-1]), np.random.default_rng(rng)
    schedule = LinearWarmUp(Cosine(lr, max(1, steps)), steps // 10)
    optimizer = SGD(net.parameters(), lr, momentum=0.9, weight_decay=1e-4)
    stream = chain.from_iterable(batches(train_set, batch_size, rng) for _ in count())
    wrong = images = total = 0
    with tqdm(total=steps, desc=title, bar_format=BAR, leave=False, disable=None if bar and steps else True) as show:
        for step in range(steps + 1):
            if step in at:
                yield Snapshot(step, *((total / images, wrong / images) if images else (float("nan"),) * 2))
                wrong = images = total = 0
            if step == steps:
                return
            x, labels = next(stream)
            net.train()
            with np.errstate(all="ignore"):
                optimizer.lr = schedule.lr(step)
                logits = net.forward(x)
                _require_finite(step, net, x, labels, logits)
                loss, dlogits = softmax_cross_entropy(logits, labels)
                net.zero_grad()
                net.backward(dlogits)
                optimizer.step()
                _require_finite(step, net, x, labels, *(parameter.data for parameter in net.parameters()))
            wrong += int(np.count_nonzero(logits.argmax(axis=1) != labels))
            total, images = total + loss * len(labels), images + len(labels)
            show.update()


def _require_finite(step, net, x, labels, *arrays):
    if not all(np.isfinite(array).all() for array in arrays):
        where = first_not_finite(net, x, labels) or "a layer that could not be found again"
        raise Diverged(f"Step {step + 1}: NaN or infinity, first in {where}. Lower the learning rate.")
