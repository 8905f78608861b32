"""The training loop, and measuring a net.

A step is what a learner writes in a notebook::

    logits = net.forward(x)
    loss, dlogits = softmax_cross_entropy(logits, labels)
    optimizer.zero_grad()
    net.backward(dlogits)
    optimizer.step()

``steps`` is this loop, over any batches and with any loss. ``train`` puts around it what a run of an hour needs: a
progress bar, a log, tests, and checkpoints to go on from.
"""

import inspect
import time
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from minires.checks import InvalidArgument, flag, generator, instance, some, whole
from minires.data.batches import batches, normalisation
from minires.data.dataset import Dataset, fingerprint
from minires.diverged import Diverged, first_not_finite, not_finite_explained, require_finite
from minires.kernels.machine.memory import keep_freed_memory
from minires.layer import Layer
from minires.losses import softmax_cross_entropy
from minires.optim import Optimizer, Schedule
from minires.position import Position
from minires.progress import Progress
from minires.run import Unrecorded

__all__ = ["Diverged", "Interrupted", "Training", "evaluate", "first_not_finite", "steps", "train"]


class Step(NamedTuple):
    """One step of training, as ``steps`` yields it."""

    number: int  # steps taken, this one included
    x: np.ndarray
    target: np.ndarray  # labels, for a loss of labels
    y: np.ndarray  # what the net made of x, before the step
    loss: float

    @property
    def wrong(self):
        """How many images the net took for another class than their label."""
        return int(np.count_nonzero(self.y.argmax(axis=1) != self.target))


def steps(net, optimizer, batches, *, loss=softmax_cross_entropy, schedule=None, first=0):
    """Train a net one step on each batch, and yield a ``Step`` after it.

    Parameters
    ----------
    net : Layer
        In the mode it is in; ``net.train()`` is for the caller.
    optimizer : Optimizer
        Of parameters of the net; a part of them, if the others are to stay as they are.
    batches : iterable of (x, target)
    loss : function of (y, target) that returns (loss, dL/dy)
    schedule : Schedule, optional
        Sets the learning rate before each step, and observes the error after it where targets are labels.
    first : int
        Number of steps taken before, for the schedule and the messages.

    Raises
    ------
    InvalidArgument
        When the optimizer moves parameters that are not the net's.
    Diverged
        When loss, gradients or parameters are not finite; no parameter is changed by that step.

    Examples
    --------
    >>> from minires import Linear, SGD, mean_squared_error
    >>> net, x = Linear(2, 1, rng=0), np.eye(2)
    >>> data = [(x, x.sum(axis=1, keepdims=True))] * 200
    >>> for step in steps(net, SGD(net.parameters(), lr=0.5), data, loss=mean_squared_error):
    ...     pass
    >>> round(step.loss, 6)
    0.0
    """
    require_own_parameters(net, optimizer)
    instance("steps", "batches", batches, "__iter__", "pairs (x, target) such as batches(train_set, 128, rng)")
    instance("steps", "loss", loss, "__call__", "a function such as mean_squared_error")
    for number, (x, target) in enumerate(batches, first + 1):
        if schedule is not None:
            optimizer.lr = schedule.lr(number - 1)
        when = f"Step {number}, learning rate {optimizer.lr:g}"
        with np.errstate(all="ignore"), not_finite_explained(net, x, target, when, loss):
            y = net.forward(x)
            value, dy = loss(y, target)
            optimizer.zero_grad()
            net.backward(dy)
            require_finite([value, *(parameter.grad for parameter in optimizer.parameters())])
            optimizer.step()
        step = Step(number, x, target, y, value)
        if schedule is not None and np.asarray(target).dtype.kind in "iu":
            schedule.observe(step.wrong / len(target))
        yield step


def require_own_parameters(net, optimizer):
    """Raise InvalidArgument, naming them, when an optimizer moves parameters that are not the net's."""
    instance("train", "net", net, Layer, "a Layer")
    instance("train", "optimizer", optimizer, Optimizer, "an optimizer such as SGD(net.parameters(), lr=0.1)")
    own, moved = dict(net.named_parameters()), optimizer.parameters()
    known = {id(parameter) for parameter in own.values()}
    strays = [f"parameter {i} {p.shape}" for i, p in enumerate(moved) if id(p) not in known]
    if strays:
        left = [name for name, parameter in own.items() if parameter not in moved]
        raise InvalidArgument(
            f"train: the optimizer moves {some(strays)}, which the net does not have, and not its {some(left)}. Was it "
            "made for another net, or before a layer was replaced? Make it anew from net.parameters()."
        )


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop and has saved itself; the message says how to go on."""


def train(net, optimizer, train_set, test_set=None, **options):
    """Train a net for a number of steps; return the log.

    Errors in the log are fractions of wrong images. Training loss and error are those of the batches since the line
    before, as they were trained on: augmented, in training mode, each before its step. A test takes the whole test
    set in evaluation mode. On Linux, the C library keeps freed memory for the next step until training ends
    (:func:`~minires.kernels.machine.memory.keep_freed_memory`).

    Layers that are in evaluation mode while others are not, after ``net.bn1.eval()``, stay so: a frozen batch norm goes
    by its running statistics and leaves them alone. A net that is in evaluation mode as a whole is put into training
    mode.

    Parameters
    ----------
    net : Layer
    optimizer : Optimizer
        Of the net's parameters, or of some of them: the others stay as they are.
    train_set, test_set : Dataset
    steps : int
        Iterations in all, those before a resumption included.
    batch_size : int
    schedule : Schedule, default the rate of the optimizer throughout
    rng : numpy.random.Generator or int
        Draws the order of the images and their augmentation.
    augment, normalise
        As for ``batches``: random crops and flips, the mean image subtracted.
    test_every : int, default once an epoch
        Steps between tests; there is always one after the last step.
    log_every : int
        Steps between lines of the log.
    run : Run, optional
        Folder for the log and checkpoints. A run found there goes on where it stopped, bit for bit; with a constant
        learning rate also for more steps than it was begun with.
    title, bar : str, bool
        What the bar says; whether to show one on a terminal and, elsewhere, to write a line now and then.

    Returns
    -------
    list of dicts
        The lines of the log, ``{"kind": "train" or "test", "step", "epoch", "loss", "error", ...}``; a train line every
        ``log_every`` steps and before each test.

    Raises
    ------
    InvalidArgument
        When an argument is of the wrong kind, or the optimizer moves parameters that are not the net's.
    Diverged
        When loss, gradients or parameters are not finite.
    Interrupted
        After Ctrl-C, once the run has been saved. (Without a run, Ctrl-C stops at once.)
    """
    return Training(net, optimizer, train_set, test_set, **options).all_steps()


@dataclass
class Training:
    """One call of ``train``, whose arguments it has."""

    net: Layer
    optimizer: Optimizer
    train_set: Dataset
    test_set: Dataset | None = None
    _: KW_ONLY
    steps: int
    batch_size: int = 128
    schedule: Schedule | None = None
    rng: np.random.Generator | int = 0
    augment: bool = True
    normalise: str = "pixel_mean"
    test_every: int | None = None
    log_every: int = 20
    run: object = None
    title: str = "training"
    bar: bool = True

    def __post_init__(self):
        require_own_parameters(self.net, self.optimizer)
        a_dataset = "a Dataset, as in  train_set, test_set = synthetic()"
        instance("train", "train_set", self.train_set, Dataset, a_dataset)
        instance("train", "test_set", self.test_set, (Dataset, type(None)), a_dataset)
        self.steps = whole("train", "steps", self.steps)
        self.batch_size = whole("train", "batch_size", self.batch_size, least=1)
        self.log_every = whole("train", "log_every", self.log_every, least=1)
        test_every = -(-len(self.train_set) // self.batch_size) if self.test_every is None else self.test_every
        self.test_every = whole("train", "test_every", test_every, least=1)
        self.augment, self.rng = flag("train", "augment", self.augment), generator("train", self.rng)
        self.schedule = Schedule(self.optimizer.lr) if self.schedule is None else self.schedule
        what = "a Schedule such as Schedule(0.1) or Cosine(0.1, total=1000)"
        instance("train", "schedule", self.schedule, "lr observe state_dict load_state_dict", what)
        self.run = Unrecorded() if self.run is None else self.run
        instance("train", "run", self.run, "open restore begin log save", 'a Run such as Run("runs/mine")')
        numbers = normalisation(self.train_set, self.normalise)
        self.inputs = {"normalisation": numbers, "classes": self.train_set.classes}

    def config(self):
        """What must be the same for a run to go on."""
        layers = list(self.net.named_layers())
        frozen = [path for path, layer in layers if not layer.training]
        names = "steps", "batch_size", "augment", "normalise", "test_every", "log_every"
        return {
            **{name: getattr(self, name) for name in names},
            "schedule": repr(self.schedule),
            "rule": type(self.optimizer).__name__,
            "optimizer": self.optimizer.state_dict()["groups"],
            "train_set": fingerprint(self.train_set),
            "test_set": fingerprint(self.test_set),
            **({"frozen": frozen} if 0 < len(frozen) < len(layers) else {}),
        }

    def all_steps(self):
        """Train from where the run stands to the last step; return the log."""
        net, run, rng = self.net, self.run, self.rng
        notes = self.optimizer.note, f"{self.normalise} of {self.train_set.train or self.train_set!r}"
        opened = run.open(
            self.config(), notes=[*filter(None, notes)], may_grow=["steps"] if type(self.schedule) is Schedule else []
        )
        with opened, keep_freed_memory(), np.errstate(all="ignore"):
            at = self.at = Position(**run.restore(**self._parts(), rng=rng, check=Position.check))
            if at.step >= self.steps:
                return run.lines
            run.begin(at.step)
            if not any(layer.training for _, layer in net.named_layers()):
                net.train()
            with Progress(self.steps, self.title, at.step, self.bar) as show:
                while at.step < self.steps:
                    epoch_start = rng.bit_generator.state  # this and at.batch say where in the data we are
                    how = {"augment": self.augment, "normalise": self.normalise, "start": at.batch}
                    epoch = batches(self.train_set, self.batch_size, rng, **how)
                    self._epoch(islice(epoch, self.steps - at.step), epoch_start, show)
                    at.batch = 0
        if run.stop_asked:
            raise Interrupted(f"Stopped after the last step, {self.steps}; saved in {run.folder}.")
        return run.lines

    def _epoch(self, epoch, epoch_start, show):
        at, run, images = self.at, self.run, len(self.train_set)
        clock = time.perf_counter()
        for step in steps(self.net, self.optimizer, epoch, schedule=self.schedule, first=at.step):
            at.count(step, time.perf_counter() - clock)
            test_now = at.step % self.test_every == 0 or at.step == self.steps
            if test_now or at.step % self.log_every == 0:
                run.log(at.train_line(images, self.optimizer.lr))
            if test_now and self.test_set is not None:
                at.test_error, test_loss = evaluate(self.net, self.test_set, normalise=self.normalise)
                run.log(at.test_line(images, test_loss))
            show.update(at.words(images))
            if test_now or run.save_due() or run.stop_asked:
                state = self.optimizer.state_dict()
                kept = [array for name in self.optimizer.remembers for array in state[name] if array is not None]
                with not_finite_explained(self.net, step.x, step.target, f"After step {at.step}"):
                    require_finite([*self.net.state_dict().values(), *kept])
                run.save(**self._parts(), rng=epoch_start, inputs=self.inputs, **vars(at))
            if run.stop_asked and at.step < self.steps:
                raise Interrupted(f"Stopped at step {at.step} of {self.steps}; saved in {run.folder}.")
            clock = time.perf_counter()

    def _parts(self):
        return {"net": self.net, "optimizer": self.optimizer, "schedule": self.schedule}


train.__signature__ = inspect.signature(Training)  # for help(train)


def evaluate(net, dataset, batch_size=500, normalise="pixel_mean"):
    """Return (error, loss) of a net on a whole dataset, without augmentation and in evaluation mode.

    The error is the fraction of wrong images. Afterwards every layer is in the mode it was in.
    """
    instance("evaluate", "net", net, Layer, "a Layer")
    wrong = total = 0
    with net.evaluating():
        for x, labels in batches(dataset, batch_size, normalise=normalise):
            with not_finite_explained(net, x, labels, "Evaluation"):
                logits = net.forward(x)
                loss, _ = softmax_cross_entropy(logits, labels)
            wrong += int(np.count_nonzero(logits.argmax(axis=1) != labels))
            total += loss * len(labels)
    return wrong / len(dataset), total / len(dataset)
