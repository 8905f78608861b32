"""What the scripts of this folder share: options, images, networks fresh or trained, and what is kept of a result."""

import argparse
import json
import shlex
import sys
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minires.checkpoint import CheckpointError, load_checkpoint
from minires.data import batches, find_cifar10, load_cifar10, synthetic
from minires.lab.degradation import final_errors
from minires.lab.snapshots import Snapshot, snapshots
from minires.layer import Layer
from minires.machine import machine
from minires.networks import network
from minires.optim import SGD, Cosine, LinearWarmUp
from minires.run import Run, read_log, read_run_json
from minires.train import Diverged, train


def network_of(kind, depth, **options):
    return network(f"{kind}-{depth}", **options)


def add_data_options(parser):
    add = parser.add_argument
    add("--data", choices=["auto", "synthetic", "cifar10"], default="auto", help="auto: CIFAR-10 if it is on this disk")
    add("--data-dir", type=Path, metavar="DIR", help="folder with cifar-10-batches-bin/ or the archive")
    add("--data-file", type=Path, metavar="FILE", help="a CIFAR-10 archive")
    add("--data-note", default="", metavar="TEXT", help="what to say of the images on the figure: re-encoded, ...")


def load_data(options):
    """(training set, test set); only --data cifar10 downloads."""
    place, download = {"data_dir": options.data_dir, "data_file": options.data_file}, options.data == "cifar10"
    if options.data == "auto":
        options.data = "cifar10" if any(place.values()) or find_cifar10() else "synthetic"
    return load_cifar10(**place, download=download) if options.data == "cifar10" else synthetic()


def images_named(train_set, options):
    return train_set.name.removesuffix(", training") + (f" ({options.data_note})" if options.data_note else "")


def positive(text):
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def whole(text):
    return 0 if text == "0" else positive(text)


# -- experiments that train networks, each in a folder of its own -------------------------------------------------


def training_parser(script, description, nets, depths, steps, least=positive):
    """The options that all of them have; a script may add its own. ``nets=None``: it builds its own networks."""
    parser = argparse.ArgumentParser(description=description)
    parser.set_defaults(script=script, runs=None)
    add_data_options(parser)
    add = parser.add_argument
    if nets is not None:
        known = f"plain, resnet, preact, ... (default: {' '.join(nets)})"
        add("--nets", nargs="+", default=nets, metavar="NET", help=known)
    shown = f"layers (default: {' '.join(map(str, depths))})"
    add("--depths", nargs="+", type=int, default=depths, metavar="DEPTH", help=shown)
    add("--seeds", nargs="+", type=int, default=[0], metavar="SEED", help="(default: 0)")
    add("--steps", type=least, default=steps, help=f"train fresh networks for so many steps (default: {steps})")
    add("--batch-size", type=positive, default=32, metavar="N", help="images in a step (default: %(default)s)")
    add("--lr", type=float, default=0.05, metavar="RATE", help="highest learning rate (default: %(default)s)")
    counted = "measure on the first N images (default: %(default)s)"
    add("--images", type=positive, default=2000, metavar="N", help=counted)
    add("--out", type=Path, metavar="DIR", help=f"folder of figures and numbers (default: runs/{script}-DATA)")
    return parser


def output_folder(options):
    return options.out or Path("runs", f"{options.script}-{options.data}")


def train_in_folder(kind, depth, seed, data, options, build=network_of, augment=True, tests=8):
    """Train ``build(kind, depth, ...)`` in a folder of its own, or go on with it, or find it finished: (net, log)."""
    train_set, test_set = data
    net_rng, data_rng = np.random.default_rng(seed).spawn(2)  # as in degradation_cifar.py: one seed, the same batches
    net = build(kind, depth, classes=len(train_set.classes), rng=net_rng)
    name = f"{kind}-{depth}"
    log = train(
        net,
        SGD(net.parameters(), lr=options.lr, momentum=0.9, weight_decay=1e-4),
        train_set,
        test_set,
        steps=options.steps,
        batch_size=options.batch_size,
        schedule=LinearWarmUp(Cosine(options.lr, options.steps), options.steps // 10),
        rng=data_rng,
        augment=augment,
        test_every=max(1, options.steps // tests),
        log_every=max(1, options.steps // 60),
        run=Run(
            output_folder(options) / f"{name}-seed{seed}",
            {"net": kind, "depth": depth, "seed": seed, "data": train_set.name},
        ),
        title=f"{name}, seed {seed}",
    )
    return net, log


# -- the experiments of minires.lab: a few networks, trained a little or long ago, and looked at ------------------


def lab_parser(script, description, nets, depths, steps):
    """The options that all of them have; a script may add its own."""
    parser = training_parser(script, description, nets, depths, steps, least=whole)
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="take trained networks from the runs of degradation_cifar.py in DIR"
    )
    usual = {"nets": nets, "depths": depths, "seeds": [0]}  # if they are not to come from runs
    parser.set_defaults(usual=usual, nets=None, depths=None, seeds=None)
    parser.set_defaults(batch_size=64, lr=0.1, images=64)
    return parser


class Subject(NamedTuple):
    """One network of an experiment."""

    kind: str  # plain, resnet, ...
    depth: int
    seed: int
    net: Layer
    rng: np.random.Generator  # of its data
    run: Path | None  # folder of the run it was trained in

    @property
    def name(self):
        return f"{self.kind}-{self.depth}"

    def moments(self, train_set, options, at, lr=None):
        """Yield a ``Snapshot`` when the net stands as it did at each of the steps ``at``; 0 is before the first.

        A net of a run is seen twice, as it began and as it stands in its checkpoint.
        """
        if self.run is None:
            yield from snapshots(
                self.net,
                train_set,
                at,
                batch_size=options.batch_size,
                lr=lr or options.lr,
                rng=self.rng,
                title=f"{self.name}, seed {self.seed}",
            )
            return
        yield Snapshot(0, float("nan"), float("nan"))  # the same seed begins with the same weights
        step = load_checkpoint(self.run / "checkpoint.npz", self.net)["step"]
        lines = [line for line in read_log(self.run / "log.jsonl") if line["kind"] == "train" and line["step"] <= step]
        yield Snapshot(step, lines[-1]["loss"], final_errors(lines)[0])


def subjects(options, train_set):
    """The networks asked for, each a ``Subject``."""
    for choice in ("nets", "depths", "seeds"):
        chosen = getattr(options, choice) or (options.usual[choice] if options.runs is None else None)
        setattr(options, choice, chosen and list(dict.fromkeys(chosen)))
    if options.runs is None:
        keys = [(*key, None) for key in product(options.nets, options.depths, options.seeds)]
    else:
        keys = list(_finished_or_under_way(options, train_set))
    found = []
    for kind, depth, seed, run in keys:
        net_rng, data_rng = np.random.default_rng(seed).spawn(2)  # as in degradation_cifar.py
        net = network_of(kind, depth, classes=len(train_set.classes), rng=net_rng)
        found.append(Subject(kind, depth, seed, net, data_rng, run))
    options.seeds = sorted({subject.seed for subject in found})
    options.out = output_folder(options)
    return found


def _finished_or_under_way(options, train_set):
    wanted = {"net": options.nets, "depth": options.depths, "seed": options.seeds}
    configs = {path.parent: read_run_json(path.parent)["config"] for path in options.runs.glob("*/run.json")}
    found = [
        (config["net"], config["depth"], config["seed"], folder)
        for folder, config in configs.items()
        if "net" in config and all(values is None or config[key] in values for key, values in wanted.items())
    ]
    if not found:
        raise CheckpointError(f"{options.runs}: no such run there. Expected the folder of degradation_cifar.py.")
    for *_, folder in found:
        if configs[folder]["data"] != train_set.name:
            raise CheckpointError(
                f"{folder}: trained on {configs[folder]['data']!r}, not on {train_set.name!r}. Choose with --data."
            )
    return sorted(found)


def batch_of(train_set, images):
    """The first training images, as they are."""
    return next(batches(train_set, images))


def setting(options, train_set, measured="training"):
    """What is measured, in a few words, for the foot of a figure."""
    if options.runs is not None:
        how = "networks from runs of examples/degradation_cifar.py"
    elif options.steps:
        how = (
            f"{options.steps:,} steps of {options.batch_size} images, learning rate up to {options.lr:g}, "
            "warm-up over 1/10, then a cosine to 0"
        )
    else:
        how = "at initialisation"
    seeds = ("seeds " if options.seeds[1:] else "seed ") + ", ".join(map(str, options.seeds))
    return f"{images_named(train_set, options)}; {how}; {seeds}; measured on {options.images} {measured} images."


def keep(options, train_set, figures, numbers, words=None):
    """Write figures, {name: figure}, and the numbers with what they were measured on (``words``); say where."""
    options.out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(options.out / f"{name}.png")
    about = {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "setting": words or setting(options, train_set),
        "machine": machine(),
        "numbers": _without_nan(numbers),
    }
    (options.out / "numbers.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(f"\nFigures and numbers: {options.out}")


def _without_nan(value):
    """JSON has no NaN; null stands for a number that there is none of."""
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


@contextmanager
def errors_in_one_line(script):
    """End the script with one line in place of a traceback, for all that a person can set right."""
    try:
        yield
    except KeyboardInterrupt as stop:
        print(f"{stop or 'Stopped.'}", file=sys.stderr)
        sys.exit(130)
    except (CheckpointError, Diverged, OSError, ValueError) as error:
        print(f"{script}: {error}", file=sys.stderr)
        sys.exit(1)
