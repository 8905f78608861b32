"""Run folders read back: what was trained on what, how far it came, and which runs can share a figure."""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from minires.checkpoint import CheckpointError
from minires.run import read_log, read_run_json


class Trained(NamedTuple):
    """One run: its folder, ``run.json`` and ``log.jsonl``."""

    folder: Path
    about: dict
    log: list

    @property
    def label(self):
        return self.folder.resolve().name

    @property
    def config(self):
        return self.about["config"]

    @property
    def key(self):
        """(family, depth) of the network, as ("resnet", 20); (its name, 0) where that is no family and a depth."""
        net, depth = str(self.config.get("net", self.label)), self.config.get("depth")
        if isinstance(depth, int):
            return net, depth
        match = re.fullmatch(r"([A-Za-z-]*[A-Za-z])-?(\d+)", net)
        return (match[1], int(match[2])) if match else (net, 0)

    @property
    def name(self):
        return name_of(self.key)

    @property
    def seed(self):
        return str(self.config.get("seed", "not noted"))

    @property
    def finished(self):
        return self.about.get("status") == "finished" and bool(self.log)

    @property
    def state(self):
        """How far the run has come, in words."""
        if not self.log:
            return "nothing logged yet"
        kind, step, steps = self._ended[0], self.log[-1]["step"], self.config.get("steps")
        if kind == "finished":
            return f"finished, {step:,} steps"
        known = {"Interrupted": "stopped", "KeyboardInterrupt": "stopped", "Diverged": "diverged"}
        known |= dict.fromkeys(("running", "new", ""), "still running, or killed")
        of_all = f" of {steps:,}" if isinstance(steps, int) else ""
        return f"{known.get(kind, kind)}; the log ends at step {step:,}{of_all}"

    @property
    def reason(self):
        """Why it came no further, in the words of the error that ended it; "" if nothing did."""
        kind, _, words = self._ended
        return "" if kind in ("Interrupted", "KeyboardInterrupt") else words

    @property
    def _ended(self):
        return str(self.about.get("status", "")).partition(": ")

    @property
    def images(self):
        """What it was trained on, in words."""
        noted = [text.removeprefix("images: ") for text in self.deviations if text.startswith("images: ")]
        return noted[0] if noted else str(self.config.get("data", "unnamed images")).removesuffix(", training")

    @property
    def deviations(self):
        return [str(text) for text in self.about.get("deviations", [])]

    @property
    def sessions(self):
        return [session for session in self.about.get("sessions", []) if isinstance(session, dict)]

    def settings(self):
        """The configuration, but for what tells the runs of one set apart."""
        return {name: value for name, value in self.config.items() if name not in ("net", "depth", "seed", "log_every")}


def name_of(key):
    """Return ("resnet", 20) as resnet-20."""
    family, depth = key
    return f"{family}-{depth}" if depth else family


def by_key(runs):
    """Return {(family, depth): runs}, in the order of the runs."""
    return _grouped(runs, lambda run: run.key)


def _grouped(runs, key):
    found = defaultdict(list)
    for run in runs:
        found[key(run)].append(run)
    return dict(found)


def read_runs(places):
    """Return the runs in the folders ``places`` as a list of Trained, each once.

    Each place is the folder of a run, a folder of such folders, or a folder of those. Where one holds none, or one
    cannot be read, CheckpointError is raised.
    """
    folders = []
    for place in map(Path, places):
        depths = ("run.json", "*/run.json", "*/*/run.json")
        found = next(filter(None, (sorted(place.glob(pattern)) for pattern in depths)), None)
        if not found:
            what = "no run in it" if place.is_dir() else "no such folder"
            raise CheckpointError(f"{place}: {what}. Expected a folder with run.json, or a folder of such folders.")
        folders += [path.parent for path in found]
    return [_read_run(folder) for folder in {folder.resolve(): folder for folder in folders}.values()]


def _read_run(folder):
    about, path = read_run_json(folder), folder / "log.jsonl"
    log, ends = read_log(path), path.read_bytes().count(b"\n") if path.exists() else 0
    for number, line in enumerate(log, 1):
        if not _is_line(line):
            wanted = "expected kind, step, error and images. Did minires write it?"
            raise CheckpointError(f"{path}, line {number}: {wanted}")
    if len(log) < ends:  # the last line may be cut short
        raise CheckpointError(f"{path}, line {len(log) + 1}: not JSON as {{...}}. Restore it from a copy.")
    if log and not any(line["kind"] == "train" and line["step"] > 0.9 * log[-1]["step"] for line in log):
        raise CheckpointError(f"{path}: no training error of the last tenth of its steps. Did minires write it?")
    return Trained(folder, about, log)


def _is_line(line):
    if not isinstance(line, dict) or line.get("kind") not in ("train", "test"):
        return False
    numbers = ("step", "error", "images") if line["kind"] == "train" else ("step", "error")
    fits = all(isinstance(line.get(name), int | float) and not abs(line[name]) > 1e15 for name in numbers)
    return fits and type(line["step"]) is int and min(line["step"], line.get("images", 1)) > 0


def sets_of(runs):
    """Return the runs as lists of those that can share a figure, each sorted by network and seed.

    They have the same images and settings. The learning rate may depend on the depth, as the paper's does from 110
    layers on; it parts sets only where one network was trained with one seed more than once.
    """
    sets = []
    for group in _alike(runs, without="schedule"):
        sets += _alike(group) if _twice(group) else [group]
    for first, second in filter(None, map(_twice, sets)):
        raise CheckpointError(
            f"{first.folder} and {second.folder} hold the same run: {first.name}, seed {first.seed}. Leave one out."
        )
    return [sorted(group, key=_order) for group in sets]


def _alike(runs, without=None):
    def settings(run):
        return json.dumps({name: value for name, value in run.settings().items() if name != without}, sort_keys=True)

    return list(_grouped(runs, settings).values())


def _twice(runs):
    """Two runs of one network with one seed, or None."""
    groups = _grouped(runs, lambda run: (run.key, run.seed)).values()
    return next((group[:2] for group in groups if group[1:]), None)


def _order(run):
    families = ["plain", "resnet", run.key[0]]
    return families.index(run.key[0]), *run.key, len(run.seed), run.seed
