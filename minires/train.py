"""The training loop, and measuring a net.

A step is what a learner writes in a notebook::

    logits = net.forward(x)
    loss, dlogits = softmax_cross_entropy(logits, labels)
    optimizer.zero_grad()
    net.backward(dlogits)
    optimizer.step()

``steps`` (minires/step.py) is this loop, over any batches and with any loss. ``train`` puts around it what a run of an
hour needs: a progress bar, a log, tests, and checkpoints to go on from.
"""

import inspect
import time
import zlib
from dataclasses import KW_ONLY, dataclass
from itertools import islice

import numpy as np

from minires.checks import generator, require, shown, whole
from minires.data.batches import batches, normalisation
from minires.data.dataset import Dataset
from minires.diverged import Diverged, first_not_finite, not_finite_explained, require_finite
from minires.kernels.machine.memory import keep_freed_memory
from minires.layer import Layer
from minires.losses import softmax_cross_entropy
from minires.optim import Optimizer, Schedule
from minires.position import Position
from minires.progress import Progress
from minires.run import Unrecorded
from minires.step import require_own_parameters, steps

__all__ = ["Diverged", "Interrupted", "Training", "evaluate", "fingerprint", "first_not_finite", "steps", "train"]


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
        Folder for the log and checkpoints. A run found there goes on where it stopped, bit for bit; with a constant
        learning rate also for more steps than it was begun with.
    title : str
        What the bar says.
    bar : bool, default True
        Show one on a terminal; elsewhere, write a line now and then.

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
        _expect("net", self.net, Layer, "a Layer")
        _expect("optimizer", self.optimizer, Optimizer, "an optimizer such as SGD(net.parameters(), lr=0.1)")
        _expect("train_set", self.train_set, Dataset, "a Dataset, as in  train_set, test_set = synthetic()")
        if self.test_set is not None:
            _expect("test_set", self.test_set, Dataset, "a Dataset, as in  train_set, test_set = synthetic()")
        require_own_parameters(self.net, self.optimizer)
        hint = f"Use int({self.steps!r})." if isinstance(self.steps, float) else ""
        self.steps = whole("train", "steps", self.steps, hint=hint)
        self.batch_size = whole("train", "batch_size", self.batch_size, least=1)
        self.log_every = whole("train", "log_every", self.log_every, least=1)
        once_an_epoch = -(-len(self.train_set) // self.batch_size)
        test_every = once_an_epoch if self.test_every is None else self.test_every
        self.test_every = whole("train", "test_every", test_every, least=1)
        self.rng = generator("train", self.rng)
        self.schedule = Schedule(self.optimizer.lr) if self.schedule is None else self.schedule
        methods = "lr", "observe", "state_dict", "load_state_dict"
        _expect("schedule", self.schedule, methods, "a Schedule such as Schedule(0.1) or Cosine(0.1, total=1000)")
        self.run = Unrecorded() if self.run is None else self.run
        _expect("run", self.run, ("open", "restore", "begin", "log", "save"), 'a Run such as Run("runs/mine")')
        self.inputs = {
            "normalisation": normalisation(self.train_set, self.normalise),
            "classes": self.train_set.classes,
        }

    def config(self):
        """What must be the same for a run to go on."""
        config = {name: getattr(self, name) for name in ("steps", "batch_size", "augment", "normalise")}
        config |= {"test_every": self.test_every, "log_every": self.log_every, "schedule": repr(self.schedule)}
        config |= {"rule": type(self.optimizer).__name__, "optimizer": self.optimizer.state_dict()["groups"]}
        config |= {"train_set": fingerprint(self.train_set), "test_set": fingerprint(self.test_set)}
        layers = list(self.net.named_layers())
        frozen = [path for path, layer in layers if not layer.training]
        return config | ({"frozen": frozen} if 0 < len(frozen) < len(layers) else {})

    def all_steps(self):
        """Train from where the run stands to the last step; return the log."""
        net, run, rng = self.net, self.run, self.rng
        notes = [self.optimizer.note] if self.optimizer.note else []
        notes.append(f"{self.normalise} of {self.train_set.train or self.train_set!r}")
        may_grow = ["steps"] if type(self.schedule) is Schedule else []
        opened = run.open(self.config(), notes=notes, may_grow=may_grow)
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
                    options = {"augment": self.augment, "normalise": self.normalise, "start": at.batch}
                    epoch = batches(self.train_set, self.batch_size, rng, **options)
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


def _expect(name, value, kind, wanted):
    """Raise InvalidArgument unless the value is of a class, or has all methods of a tuple."""
    is_class = isinstance(value, type)
    fits = all(hasattr(value, method) for method in kind) if isinstance(kind, tuple) else isinstance(value, kind)
    got = f"the class {value.__name__}" if is_class else shown(value)
    require(fits and not is_class, "train", f"{name}, {wanted}", got)


def evaluate(net, dataset, batch_size=500, normalise="pixel_mean"):
    """Return (error, loss) of a net on a whole dataset, without augmentation and in evaluation mode.

    The error is the fraction of wrong images. Afterwards every layer is in the mode it was in.
    """
    wrong = total = 0
    with net.evaluating():
        for x, labels in batches(dataset, batch_size, normalise=normalise):
            with not_finite_explained(net, x, labels, "Evaluation"):
                logits = net.forward(x)
                loss, _ = softmax_cross_entropy(logits, labels)
            wrong += int(np.count_nonzero(logits.argmax(axis=1) != labels))
            total += loss * len(labels)
    return wrong / len(dataset), total / len(dataset)


def fingerprint(dataset):
    """What tells one dataset from another, for the configuration of a run."""
    if dataset is None:
        return None
    return f"{len(dataset)} images, checksum {zlib.crc32(dataset.labels, zlib.crc32(dataset.images)):08x}"
