"""The networks that an experiment looks at: fresh ones, those of runs, and those that come with minires."""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minires.checkpoint import CheckpointError, load_checkpoint
from minires.lab.degradation.measure import final_errors
from minires.lab.snapshots import Snapshot, snapshots
from minires.layer import Layer
from minires.pretrained import models, weights_file
from minires.run import read_log, read_run_json
from minires.train import Diverged
from minires.weights import load_weights


class Subject(NamedTuple):
    """One network of an experiment."""

    kind: str  # plain, resnet, ...
    depth: int
    seed: int
    net: Layer
    rng: np.random.Generator  # of its data
    run: Path | None  # folder of the run it was trained in
    shipped: bool  # it comes with minires

    @property
    def name(self):
        return f"{self.kind}-{self.depth}"

    @property
    def fresh(self):
        """Whether it is yet to be trained."""
        return self.run is None and not self.shipped

    @property
    def config(self):
        """The recipe it was trained by, as ``run.json`` has it; {} of a fresh net."""
        if self.run:
            return read_run_json(self.run)["config"]
        return models()[self.name]["config"] if self.shipped else {}

    def moments(self, lab, at, lr=None):
        """Yield a ``Snapshot`` when the net stands as it did at each of the steps ``at``; 0 is before the first.

        A net of a run is seen twice, as it began and as it stands in its checkpoint; one that comes with minires as it
        was before, early in and after its training.
        """
        if self.fresh:
            options, title = lab.options, f"{self.name}, seed {self.seed}"
            size, lr = options.batch_size, lr or options.lr
            yield from snapshots(self.net, lab.train_set, at, batch_size=size, lr=lr, rng=self.rng, title=title)
            return
        yield Snapshot(0, float("nan"), float("nan"))  # the same seed begins with the same weights
        if self.shipped:
            for at, state in sorted(models()[self.name]["states"].items(), key=lambda item: item[1]["step"]):
                load_weights(self.net, weights_file(self.name, at))
                error = state["train_error"]
                yield Snapshot(state["step"], float("nan"), float("nan") if error is None else error)
            return
        step = load_checkpoint(self.run / "checkpoint.npz", self.net)["step"]
        lines = [line for line in read_log(self.run / "log.jsonl") if line["kind"] == "train" and line["step"] <= step]
        yield Snapshot(step, lines[-1]["loss"], final_errors(lines)[0])

    def watched(self, lab, name=None, lr=None):
        """Yield its ``moments`` at the start, at 1/16 and 1/4 of the steps and at the end; say so if it diverges."""
        steps = lab.options.steps
        try:
            yield from self.moments(lab, [0, steps // 16, steps // 4, steps], lr)
        except Diverged as error:
            print(f"{name or self.name:24}{error}")

    def trained(self, lab):
        """Train the net to the end, or find it trained; return the last ``Snapshot``."""
        *_, end = self.moments(lab, [0, lab.options.steps])
        return end

    def about(self, moment, **found):
        """Return what is kept of a moment: the network, the moment, and what was found."""
        return {"net": self.name, "seed": self.seed, **moment._asdict(), **found}


def runs_found(options, train_set):
    """Return (kind, depth, seed, folder) of the runs in --runs that were asked for, finished or under way."""
    found = []
    for folder in sorted(path.parent for path in options.runs.glob("*/run.json")):
        config = read_run_json(folder)["config"]
        key = tuple(config.get(name) for name in ("net", "depth", "seed"))  # a run of another script has other words
        if None not in key and _asked_for(key, options):
            found.append((*key, folder))
            if config["data"] != train_set.name:
                where = f"trained on {config['data']!r}, not on {train_set.name!r}"
                raise CheckpointError(f"{folder}: {where}. Choose with --data.")
            if not (folder / "checkpoint.npz").is_file():
                raise CheckpointError(f"{folder}: no checkpoint.npz there, so no weights to look at. Train it again.")
    if not found:
        raise CheckpointError(f"{options.runs}: no such run there. Expected the folder of degradation_cifar.py.")
    return sorted(found)


def are_shipped(options, train_set):
    """Return whether all networks asked for come with minires, trained on these images, and no steps are asked for."""
    there = [(about["config"], about["seed"]) for about in models().values()]
    there = {(of["net"], of["depth"], seed) for of, seed in there if of["data"] == train_set.name}
    asked = set(product(options.nets, options.depths, options.seeds))
    return options.steps is None and not {"lr", "batch_size"} & set(options.changed) and asked <= there


def shipped(options, train_set):
    """Return (kind, depth, seed, None) of the networks in minires.pretrained that were asked for."""
    found = []
    for name, about in models().items():
        key = about["config"]["net"], about["config"]["depth"], about["seed"]
        if _asked_for(key, options):
            found.append((*key, None))
            shipped_for(name, train_set)
    if not found:
        there = ", ".join(models()) or "none"
        raise ValueError(f"--pretrained: no such network comes with minires. There are: {there}.")
    return sorted(found)


def shipped_for(name, train_set):
    """Refuse a network of minires.pretrained that was trained on other images; one that is unknown is let through."""
    data = models()[name]["config"]["data"] if name in models() else train_set.name
    if data != train_set.name:
        where = f"trained on {data!r}, not on {train_set.name!r}"
        raise ValueError(f"minires.pretrained: {name} was {where}. Choose with --data.")


def _asked_for(key, options):
    choices = options.nets, options.depths, options.seeds
    return all(choice is None or one in choice for choice, one in zip(choices, key))
