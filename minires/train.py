"""The training loop, and measuring a net.

A step is what a learner writes in a notebook::

    logits = net.forward(x)
    loss, dlogits = softmax_cross_entropy(logits, labels)
    optimizer.zero_grad()
    net.backward(dlogits)
    optimizer.step()

``train`` puts around it what a run of an hour needs: a learning rate by iteration, a progress bar, a log, tests,
checkpoints to go on from, and a word about where the numbers went wrong when they do.
"""

import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from tqdm import tqdm

from minires.data.batches import batches, normalisation
from minires.kernels.machine.memory import keep_freed_memory
from minires.losses import softmax_cross_entropy
from minires.optim import Schedule
from minires.probe import Probe

BAR = "{desc}: {percentage:3.0f}% |{bar:10}| {n_fmt}/{total_fmt} [{remaining} left{postfix}]"


class Diverged(ArithmeticError):
    """The numbers of a run are not finite any more; the message names the layer."""


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop and has saved itself; the message says how to go on."""


@keep_freed_memory()
def train(
    net,
    optimizer,
    train_set,
    test_set=None,
    *,
    steps,
    batch_size=128,
    schedule=None,
    rng=0,
    augment=True,
    normalise="pixel_mean",
    test_every=None,
    log_every=20,
    run=None,
    title="training",
    bar=True,
):
    """Train a net for a number of steps; return the log.

    Errors in the log are fractions of wrong images. Training loss and error are those of the batches since the line
    before, as they were trained on: augmented, in training mode, each before its step. A test takes the whole test
    set in evaluation mode. On Linux, the C library keeps freed memory for the next step until training ends
    (:func:`~minires.kernels.machine.memory.keep_freed_memory`).

    Parameters
    ----------
    net : Layer
    optimizer : SGD
    train_set, test_set : Dataset
    steps : int
        Iterations in all, those before a resumption included.
    batch_size : int, default 128
    schedule : Schedule, optional
        Default: the rate of the optimizer throughout.
    rng : numpy.random.Generator or int, default 0
        Draws the order of the images and their augmentation.
    augment, normalise
        As for ``batches``: random crops and flips, the mean image subtracted.
    test_every : int, optional
        Steps between tests; there is always one after the last step. Default: once an epoch.
    log_every : int, default 20
        Steps between lines of the log.
    run : Run, optional
        Folder for the log and checkpoints. A run found there goes on where it stopped, bit for bit.
    title : str
        What the bar says.
    bar : bool, default True
        Show one, on a terminal.

    Returns
    -------
    list of dicts
        The lines of the log, ``{"kind": "train" or "test", "step", "epoch", "loss", "error", ...}``; a train line every
        ``log_every`` steps and before each test.

    Raises
    ------
    Diverged
        When loss, gradients or parameters are not finite.
    Interrupted
        After Ctrl-C, once the run has been saved. (Without a run, Ctrl-C stops at once.)
    """
    rng = np.random.default_rng(rng)
    schedule = schedule or Schedule(optimizer.lr)
    test_every = test_every or -(-len(train_set) // batch_size)
    run = run or _Unrecorded()
    config = {
        "steps": steps,
        "batch_size": batch_size,
        "optimizer": optimizer.state_dict()["groups"],
        "schedule": repr(schedule),
        "augment": augment,
        "normalise": normalise,
        "test_every": test_every,
        "log_every": log_every,
        "train_set": fingerprint(train_set),
        "test_set": fingerprint(test_set),
    }
    parts = {"net": net, "optimizer": optimizer, "schedule": schedule}
    inputs = {"normalisation": normalisation(train_set, normalise), "classes": train_set.classes}

    with run.open(config), np.errstate(all="ignore"):  # numbers that are not finite are reported here, by layer
        at = _Progress(**run.restore(**parts, rng=rng))
        if at.step >= steps:
            return run.lines
        run.begin(at.step)
        net.train()
        with tqdm(total=steps, initial=at.step, desc=title, bar_format=BAR, disable=None if bar else True) as show:
            while at.step < steps:
                epoch_start = rng.bit_generator.state  # this and at.batch say where in the data we are
                epoch = batches(train_set, batch_size, rng, augment=augment, normalise=normalise, start=at.batch)
                clock = time.perf_counter()
                for x, labels in islice(epoch, steps - at.step):
                    optimizer.lr = schedule.lr(at.step)
                    with _not_finite_explained(net, x, labels, f"Step {at.step + 1}, learning rate {optimizer.lr:g}"):
                        logits = net.forward(x)
                        loss, dlogits = softmax_cross_entropy(logits, labels)
                        optimizer.zero_grad()
                        net.backward(dlogits)
                        _require_finite([loss, *(parameter.grad for parameter in optimizer.parameters())])
                        optimizer.step()

                    wrong = int(np.count_nonzero(logits.argmax(axis=1) != labels))
                    schedule.observe(wrong / len(labels))
                    at.count(loss, wrong, len(labels), time.perf_counter() - clock)

                    test_now = at.step % test_every == 0 or at.step == steps
                    if test_now or at.step % log_every == 0:
                        run.log(at.train_line(len(train_set), optimizer.lr))
                    if test_now and test_set is not None:
                        at.test_error, test_loss = evaluate(net, test_set, normalise=normalise)
                        run.log(at.test_line(len(train_set), test_loss))
                    show.set_postfix_str(at.words(len(train_set)), refresh=False)
                    show.update()
                    if test_now or run.save_due() or run.stop_asked:
                        with _not_finite_explained(net, x, labels, f"After step {at.step}"):
                            _require_finite(net.state_dict().values())
                        run.save(**parts, rng=epoch_start, inputs=inputs, **vars(at))
                    if run.stop_asked and at.step < steps:
                        raise Interrupted(f"Stopped at step {at.step} of {steps}; saved in {run.folder}.")
                    clock = time.perf_counter()
                at.batch = 0
    if run.stop_asked:
        raise Interrupted(f"Stopped after the last step, {steps}; saved in {run.folder}.")
    return run.lines


def evaluate(net, dataset, batch_size=500, normalise="pixel_mean"):
    """Return (error, loss) of a net on a whole dataset, without augmentation and in evaluation mode.

    The error is the fraction of wrong images. Afterwards every layer is in the mode it was in.
    """
    modes = [(layer, layer.training) for _, layer in net.named_layers()]
    wrong = total = 0
    net.eval()
    try:
        with net.without_caches():
            for x, labels in batches(dataset, batch_size, normalise=normalise):
                with _not_finite_explained(net, x, labels, "Evaluation"):
                    logits = net.forward(x)
                    loss, _ = softmax_cross_entropy(logits, labels)
                wrong += int(np.count_nonzero(logits.argmax(axis=1) != labels))
                total += loss * len(labels)
    finally:
        for layer, training in modes:
            layer.training = training
    return wrong / len(dataset), total / len(dataset)


@dataclass
class _Progress:
    """How far a run has come, and the sums since its latest train line. Every checkpoint holds it."""

    step: int = 0
    images: int = 0
    batch: int = 0  # of the current epoch
    seconds: float = 0.0  # in training steps, with their data and without tests
    test_error: float | None = None
    sums: dict = field(default_factory=lambda: {"loss": 0.0, "wrong": 0, "images": 0, "seconds": 0.0})
    logged: bool = False  # whether the sums are in the log, so that the next step begins new ones

    def count(self, loss, wrong, images, seconds):
        self.step, self.batch, self.images = self.step + 1, self.batch + 1, self.images + images
        self.seconds += seconds
        if self.logged:
            self.sums, self.logged = _Progress().sums, False
        for name, more in {"loss": loss * images, "wrong": wrong, "images": images, "seconds": seconds}.items():
            self.sums[name] += more

    def train_line(self, epoch_images, lr):
        self.logged, sums = True, self.sums
        return self._line("train", epoch_images, sums["loss"] / sums["images"], sums["wrong"] / sums["images"]) | {
            "images": sums["images"],
            "lr": lr,
            "images_per_second": round(sums["images"] / sums["seconds"], 1),
            "seconds": round(self.seconds, 2),
        }

    def test_line(self, epoch_images, loss):
        return self._line("test", epoch_images, loss, self.test_error)

    def _line(self, kind, epoch_images, loss, error):
        epoch = round(self.images / epoch_images, 4)
        return {"kind": kind, "step": self.step, "epoch": epoch, "loss": loss, "error": error}

    def words(self, epoch_images):
        sums = self.sums
        words = f"error {sums['wrong'] / sums['images']:.1%}"
        words += f", test {self.test_error:.1%}" if self.test_error is not None else ""
        words += f", loss {sums['loss'] / sums['images']:.3f}, {sums['images'] / sums['seconds']:.0f} images/s"
        return words + f", epoch {self.images / epoch_images:.1f}"


class _Unrecorded:
    """Stands in where no run folder is given: the log stays in memory, and nothing is saved."""

    stop_asked = False

    def __init__(self):
        self.lines = []

    @contextmanager
    def open(self, config):
        yield

    def restore(self, **parts):
        return {}

    def begin(self, step):
        pass

    def log(self, line):
        self.lines.append(line)

    def save_due(self):
        return False

    def save(self, **parts):
        pass


def fingerprint(dataset):
    """What tells one dataset from another, for the configuration of a run."""
    if dataset is None:
        return None
    return f"{len(dataset)} images, checksum {zlib.crc32(dataset.labels, zlib.crc32(dataset.images)):08x}"


# -- numbers that are not finite --------------------------------------------------------------------------------


def _require_finite(arrays):
    if not all(np.isfinite(array).all() for array in arrays):
        raise FloatingPointError


@contextmanager
def _not_finite_explained(net, x, labels, when):
    """Turn an error that NaN or infinity caused inside the ``with`` into Diverged, with the layer where they begin."""
    try:
        yield
    except (FloatingPointError, ValueError) as error:
        where = first_not_finite(net, x, labels)
        if where is None and isinstance(error, ValueError):
            raise  # something else was wrong
        raise Diverged(
            f"{when}: NaN or infinity, first in {where or 'a layer that could not be found again'}. "
            f"{'Check the data.' if where == BATCH else 'Lower the learning rate, or warm it up.'}"
        ) from None


BATCH = "the batch x itself"


def first_not_finite(net, x, labels):
    """Say where NaN or infinity arise first, in words with the dotted name of the layer; None if nowhere.

    Looked at in this order: the batch, the parameters, then layer by layer forward and, in training mode, backward,
    which are run again for it; last the running statistics. Gradients and running statistics are spoilt afterwards.
    """

    def bad(array):
        return not np.isfinite(array).all()

    if bad(x):
        return BATCH
    for name, parameter in net.named_parameters():
        if bad(parameter.data):
            return f"{name}, a parameter"
    with np.errstate(all="ignore"), Probe(net, reduce=bad) as probe:
        logits = net.forward(x)
        for path, is_bad in probe.y.items():  # in the order in which they finished: a layer before those it is part of
            if is_bad:
                return f"the output of {path or 'the net'}, going forward"
        if net.training:
            net.zero_grad()
            net.backward(softmax_cross_entropy(logits, labels)[1])
            grads = dict(net.named_parameters())
            for path, is_bad in probe.dx.items():
                own = [name for name in grads if name.rpartition(".")[0] == path and bad(grads[name].grad)]
                if is_bad or own:
                    return f"the gradient of {own[0] if own else path or 'the net'}, going backward"
    return next(
        (f"{name}, a running statistic, going forward" for name, array in net.state_dict().items() if bad(array)), None
    )
