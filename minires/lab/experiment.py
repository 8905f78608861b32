"""What the rooms of the lab share: options, images, networks fresh or trained, tables, and what is kept of a result.

The command of a room is two functions::

    def add_options(parser):
        lab_options(parser, nets=["plain", "resnet"], depths=[20, 56], steps=300)

    def run(lab):  # an Experiment: it has found its images and its folder before anything is trained
        lab.say(lab.setting())
        for subject in lab.subjects():
            ...
        return {"name of a figure": figure}, numbers
"""

import argparse
import json
import os
import shlex
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from minires.checks import real
from minires.data import SOURCES, batches, find_cifar10, load, synthetic
from minires.files import written_safely
from minires.lab.degradation.measure import final_errors
from minires.lab.subjects import Subject, are_shipped, runs_found, shipped
from minires.machine import machine
from minires.networks import network
from minires.optim import SGD, warm_up_then_cosine
from minires.run import Run
from minires.train import train

# -- options ------------------------------------------------------------------------------------------------------


def whole(text, wanted="from 0 on", least=0):
    """An argparse type: a whole number; ``wanted`` says which in words."""
    if not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number {wanted}, got {text!r}")
    return int(text)


positive = partial(whole, wanted="above 0", least=1)


class EachOnce(argparse.Action):
    """Keeps the values of an option, each once."""

    def __call__(self, parser, options, values, option=None):
        setattr(options, self.dest, each_once(values))


def each_once(values):
    return list(dict.fromkeys(values))


def several(parser, name, kind, usual, words="", **more):
    """Add an option of one value or several; its help ends with the usual ones."""
    usual_words = f"{words} (default: {' '.join(map(str, usual))})".strip()
    parser.add_argument(name, nargs="+", action=EachOnce, type=kind, default=usual, help=usual_words, **more)


def data_options(parser):
    """Add the options that say on which images."""
    add = parser.add_argument
    known = ["auto", "synthetic", *SOURCES]
    add("--data", choices=known, default="auto", help="auto: CIFAR-10 if it is on this disk, else synthetic")
    add("--data-dir", metavar="DIR", help="folder with the files, cifar-10-batches-bin/ say, or the archive")
    add("--data-file", metavar="FILE", help="the archive")
    add("--data-note", default="", metavar="TEXT", help="what to say of the images on the figure: re-encoded, ...")


def step_options(parser, steps, least=positive, several_seeds=True):
    """Add the options that say from which seeds, how long and how fast."""
    add = parser.add_argument
    if several_seeds:
        several(parser, "--seeds", whole, [0], metavar="SEED")
    else:
        add("--seed", nargs=1, type=whole, dest="seeds", default=[0], metavar="SEED", help="(default: 0)")
    add("--steps", type=least, default=steps, help=f"train fresh networks for so many steps (default: {steps})")
    add("--batch-size", type=positive, default=32, metavar="N", help="images in a step (default: %(default)s)")
    add("--lr", type=float, default=0.05, metavar="RATE", help="highest learning rate (default: %(default)s)")
    parser.set_defaults(runs=None, pretrained=False)


def training_options(parser, nets, depths, steps, least=positive, several_seeds=True, **defaults):
    """Add the options of experiments that train. ``nets=None``: the experiment builds its own networks."""
    data_options(parser)
    if nets is not None:
        several(parser, "--nets", str, nets, "plain, resnet, preact, ...", metavar="NET")
    several(parser, "--depths", int, depths, "layers", metavar="DEPTH")
    step_options(parser, steps, least, several_seeds)
    parser.add_argument("--images", type=positive, default=2000, metavar="N", help="measure on the first N images")
    parser.set_defaults(**defaults)


def lab_options(parser, nets, depths, steps, several_seeds=False, **defaults):
    """Add the options of experiments that look at a few networks, trained a little or long ago."""
    defaults = {"batch_size": 64, "lr": 0.1, "images": 64} | defaults
    training_options(parser, nets, depths, steps, whole, several_seeds, **defaults)
    source = parser.add_mutually_exclusive_group()
    of_runs = "take trained networks from the runs of degradation_cifar.py in DIR"
    source.add_argument("--runs", type=Path, metavar="DIR", help=of_runs)
    come = "take the trained networks that come with minires (default: where all are there, and without --steps)"
    source.add_argument("--pretrained", action="store_true", help=come)
    usual = {"nets": nets, "depths": depths, "seeds": [0], "steps": steps}  # if they are not to come from runs
    parser.set_defaults(usual=usual, **dict.fromkeys(usual))


# -- images -------------------------------------------------------------------------------------------------------


def load_data(options):
    """Return (training set, test set); a set that is named, and not at hand, is downloaded."""
    place, download = (options.data_dir, options.data_file), options.data != "auto"
    if options.data == "auto":
        options.data = "cifar10" if place != (None, None) or find_cifar10() else "synthetic"
    return synthetic() if options.data == "synthetic" else load(options.data, *place, download=download)


def for_images(train_set):
    """Return what a network for these images is made with: its classes and, unless they are three, its in_channels."""
    channels = train_set.images.shape[1]
    return {"classes": len(train_set.classes)} | ({} if channels == 3 else {"in_channels": channels})


def images_named(train_set, options):
    """Return what the images are called on a figure."""
    return train_set.name.removesuffix(", training") + (f" ({options.data_note})" if options.data_note else "")


# -- an experiment ------------------------------------------------------------------------------------------------


class Experiment:
    """One run of a room: its options, images and networks, and the folder of its results.

    ``options`` are what ``minires lab`` read: those of the room, ``room`` (its name), ``changed`` (what differs from
    the defaults) and ``command`` (what was typed). Where there are no such images, or the folder cannot be written to,
    ValueError or OSError is raised, before anything is trained.
    """

    def __init__(self, options):
        self.options, self.note = options, ""
        for name in vars(options).keys() & {"lr", "bare_lr"}:
            real(f"lab {options.room}", name, getattr(options, name), least=0)
        if "data" in options:
            self.train_set, self.test_set = load_data(options)
        self.out = writable(options.out or Path("runs", self._folder()))

    def _folder(self):
        """A name for what was asked: flow-cifar10, flow-cifar10-steps-80, ..."""
        words = [self.options.room, *([self.options.data] if "data" in self.options else [])]
        for name, value in self.options.changed.items():
            if name not in ("data", "data_dir", "data_file", "data_note", "out"):
                value = value.name if isinstance(value, Path) else value
                several = value if isinstance(value, list) else [value]
                words += [name.replace("_", "-"), *(map(str, several) if value is not True else [])]
        return "-".join(words).replace("/", "-").replace(" ", "-")

    # -- networks

    def subjects(self, one_seed=False):
        """Return the networks asked for, each a ``Subject``; ``one_seed``: refuse runs of several seeds."""
        options = self.options
        fresh = options.runs is None and not options.pretrained
        for choice in ("nets", "depths", "seeds") if fresh else ():
            setattr(options, choice, getattr(options, choice) or options.usual[choice])
        if fresh and are_shipped(options, self.train_set):
            options.pretrained, fresh = True, False
        options.steps = options.usual["steps"] if options.steps is None else options.steps
        if fresh:
            keys = [(*key, None) for key in product(options.nets, options.depths, options.seeds)]
        else:
            keys = (shipped if options.pretrained else runs_found)(options, self.train_set)
        found = []
        for kind, depth, seed, run in keys:
            net_rng, data_rng = np.random.default_rng(seed).spawn(2)  # as in degradation_cifar.py
            net = network(f"{kind}-{depth}", **for_images(self.train_set), rng=net_rng)
            found.append(Subject(kind, depth, seed, net, data_rng, run, options.pretrained))
        options.seeds = sorted({subject.seed for subject in found})
        if one_seed and options.seeds[1:]:
            raise ValueError(f"expected one seed, {options.runs} has {options.seeds}. Choose with --seed.")
        return found

    def check_networks(self):
        """Refuse a network that does not exist before the others are trained."""
        for net, depth in product(self.options.nets, self.options.depths):
            network(f"{net}-{depth}", rng=0)

    def train(self, kind, depth, seed, data, build=None, augment=True, tests=8):
        """Train a net in a folder of its own, or go on with it, or find it finished: (net, log).

        ``build(**options)`` returns it; without, it is that of the name. Of one seed every net begins with the same
        stream of weights and sees the same batches.
        """
        options, name = self.options, f"{kind}-{depth}"
        net_rng, data_rng = np.random.default_rng(seed).spawn(2)  # as in degradation_cifar.py
        net = (build or partial(network, name))(**for_images(data[0]), rng=net_rng)
        config = {"net": kind, "depth": depth, "seed": seed, "data": data[0].name}
        run, schedule = Run(self.out / f"{name}-seed{seed}", config), warm_up_then_cosine(options.lr, options.steps)
        how = {"test_every": max(1, options.steps // tests), "augment": augment, "title": f"{name}, seed {seed}"}
        return net, train_in_folder(net, data, run, options, schedule, options.lr, rng=data_rng, **how)

    def train_seeds(self, kind, depth, data, **how):
        """``train`` from every seed: (the first net, [log of each], their training errors, their test errors)."""
        nets, logs = zip(*(self.train(kind, depth, seed, data, **how) for seed in self.options.seeds))
        training, _, test = zip(*map(final_errors, logs))
        return nets[0], list(logs), training, test

    # -- images, words and what is kept

    def batch(self, images=None):
        """Return (x, labels): the first training images, as they are."""
        return next(batches(self.train_set, images or self.options.images))

    def setting(self, measured="training", **other):
        """Say what is measured, in a few words, for the foot of a figure; ``other`` takes the place of options."""
        options = argparse.Namespace(**vars(self.options) | other)
        how = "at initialisation"
        if options.runs is not None:
            how = "networks from runs of examples/degradation_cifar.py"
        elif options.pretrained:
            how = "trained networks that come with minires"
        elif options.steps:
            steps = f"{count(options.steps, 'step')} of {options.batch_size} images"
            how = f"{steps}, learning rate up to {options.lr:g}, warm-up over 1/10, then a cosine to 0"
            if getattr(options, "begin", None):
                how = f"the {options.begin} weights that come with minires, then {how}"
        where, seeds = images_named(self.train_set, options), seeds_in_words(options.seeds or [0])
        return f"{where}; {how}; {seeds}; measured on {options.images} {measured} images."

    def say(self, note):
        """Print what is run, and keep it for the foot of the figures."""
        self.note = note
        print(note)

    def draw(self, figures):
        """Write {name: figure}, with the note at the foot of those that have none of their own."""
        from minires.figures import noted  # here: matplotlib takes a while to load

        for name, figure in figures.items():
            if not figure.get_supxlabel():
                noted(figure, self.note)
            with written_safely(self.out / f"{name}.png") as file:
                figure.savefig(file)

    def keep(self, figures, numbers):
        """Write the figures, and the numbers with what they were measured on; say where they are."""
        self.draw(figures)
        about = {"command": shlex.join(self.options.command), "setting": self.note, "machine": machine()}
        about["numbers"] = _without_nan(numbers)
        with written_safely(self.out / "numbers.json") as file:
            file.write(json.dumps(about, indent=1).encode() + b"\n")
        print(f"\nFigures and numbers: {self.out}")


def train_in_folder(net, data, run, options, schedule, lr, **how):
    """Train a net by SGD in the folder of its run, or go on with it, or find it finished; return the log."""
    optimizer = SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    how |= {"steps": options.steps, "batch_size": options.batch_size, "log_every": max(1, options.steps // 60)}
    return train(net, optimizer, *data, schedule=schedule, run=run, **how)


def count(n, word):
    """Return "1 thread" or "2 threads"."""
    return f"{n:,} {word}{'s' * (n != 1)}"


def seeds_in_words(seeds):
    return ("seeds " if seeds[1:] else "seed ") + ", ".join(map(str, seeds))


def writable(folder):
    """Make a folder, and check that files can be written there; return it. If not, OSError names it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".written-by-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"--out: {folder} cannot be written to ({error.strerror}). Choose another folder.") from None
    return folder


def _without_nan(value):
    """JSON has no NaN; null stands for a number that there is none of."""
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


# -- tables -------------------------------------------------------------------------------------------------------


class Table:
    """Prints a table row by row, as the results come: the first column to the left, numbers to the right.

    A name in the head may be followed by a colon and the format of its numbers; NaN is "-". A column is as wide as its
    name, and at least ``least``; the first has room for the name of a network.

    >>> table = Table("network", "test error:.1%", first=12)
    network       test error
    >>> table.row("resnet-20", 0.088)
    resnet-20           8.8%
    """

    def __init__(self, *head, first=24, least=10):
        names, self.forms = zip(*(name.partition(":")[::2] for name in head))
        self.widths = [first, *(max(least, len(name) + 2) for name in names[1:])]
        self.row(*names)

    def row(self, first, *cells):
        """Print one row, of numbers or text."""
        words = (cell if isinstance(cell, str) else number(cell, form) for cell, form in zip(cells, self.forms[1:]))
        text = "".join(f" {word:>{width - 1}}" for word, width in zip(words, self.widths[1:]))
        print(f"{first:{self.widths[0]}}{text}".rstrip(), flush=True)


def number(value, form=".3g"):
    """Return a number as text; "-" where there is none.

    >>> number(0.25, ".1%"), number(float("nan"), ".1%")
    ('25.0%', '-')
    """
    return "-" if value is None or np.isnan(value) else format(value, form)


def markdown(head, rows):
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in [head, ["---"] * len(head), *rows])
