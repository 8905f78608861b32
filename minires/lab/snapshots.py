"""Train a net and stop on the way to look at it."""

from itertools import islice
from typing import NamedTuple

import numpy as np

from minires.data import endless
from minires.optim import SGD, warm_up_then_cosine
from minires.progress import Progress
from minires.train import steps


class Snapshot(NamedTuple):
    """A moment of training."""

    step: int
    loss: float  # mean over the batches since the snapshot before, as they were trained on; nan at step 0
    error: float  # the same, fraction of wrong images


def snapshots(net, train_set, at, *, batch_size=64, lr=0.1, rng=0, title="training"):
    """Train a net, and yield a ``Snapshot`` after each of the steps ``at``; 0 is before the first.

    The net can be measured while the generator waits::

        for snapshot in snapshots(net, train_set, at=[0, 50, 200]):
            flows[snapshot.step] = gradient_flow(net, x, labels)

    The recipe is that of the short runs of ``examples/degradation_cifar.py``: momentum 0.9, weight decay 1e-4, a
    warm-up over a tenth of the steps and then half a cosine from ``lr`` to 0 at the last of them. ``rng`` draws the
    order of the images and their augmentation. Raises Diverged when loss or parameters are not finite any more.
    """
    at = sorted(set(at)) if np.iterable(at) else [at]
    if not at or not all(isinstance(step, int | np.integer) and step >= 0 for step in at):
        raise ValueError(f"snapshots: expected at least one step in at, whole numbers from 0 on, got {at}.")
    last, rng = int(at[-1]), np.random.default_rng(rng)
    if 0 in at:
        yield Snapshot(0, float("nan"), float("nan"))
    optimizer, schedule = SGD(net.parameters(), lr, momentum=0.9, weight_decay=1e-4), warm_up_then_cosine(lr, last or 1)
    stream = islice(endless(train_set, batch_size, rng), last)
    total, wrong, images = 0.0, 0, 0
    net.train()  # whoever looks at it may leave it in evaluation mode
    with Progress(last, title, shown=last > 0, leave=False) as progress:
        for step in steps(net, optimizer, stream, schedule=schedule):
            progress.update()
            total += step.loss * len(step.target)
            wrong, images = wrong + step.wrong, images + len(step.target)
            if step.number in at:
                yield Snapshot(step.number, total / images, wrong / images)
                total, wrong, images = 0.0, 0, 0
                net.train()
