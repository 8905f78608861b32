"""Train a net and stop on the way to look at it."""

from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from minires.data import endless
from minires.optim import SGD, warm_up_then_cosine
from minires.progress import BAR
from minires.train import steps


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
    last, rng = int(at[-1]), np.random.default_rng(rng)
    optimizer = SGD(net.parameters(), lr, momentum=0.9, weight_decay=1e-4)
    schedule = warm_up_then_cosine(lr, max(1, last))
    taken = steps(net, optimizer, _in_training_mode(net, train_set, batch_size, rng), schedule=schedule)
    wrong = images = total = 0
    with tqdm(total=last, desc=title, bar_format=BAR, leave=False, disable=None if bar and last else True) as show:
        for number in range(last + 1):
            if number:
                step = next(taken)
                wrong, images = wrong + step.wrong, images + len(step.target)
                total += step.loss * len(step.target)
                show.update()
            if number in at:
                yield Snapshot(number, *((total / images, wrong / images) if images else (float("nan"),) * 2))
                wrong = images = total = 0


def _in_training_mode(net, train_set, batch_size, rng):
    """Yield batches without end; whoever looked at the net in between may have left it in evaluation mode."""
    for batch in endless(train_set, batch_size, rng):
        net.train()
        yield batch
