"""Run experiments of the lab as a person does, on a handful of small images, and look at what they draw."""

import json
import shlex
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from minires.cli import main
from minires.data.dataset import Dataset
from minires.lab import experiment


def few_images(size=8, train=24, test=16):
    """(training set, test set) of noise; the name is that of synthetic images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (train + test, 3, size, size)).astype(np.uint8)
    everything = Dataset(images, rng.integers(0, 10, train + test), [str(i) for i in range(10)], "synthetic, training")
    return everything[:train], everything[train:]


class Lab:
    """The folder of a test: ``run`` an experiment there, then look at its numbers, its figures and its files."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.figures, save = folder, {}, Figure.savefig
        monkeypatch.chdir(folder)
        self.use = lambda *sets: monkeypatch.setattr(experiment, "synthetic", lambda: sets)
        self.use(*few_images())

        def keep(figure, file, **options):  # a path, or a file open for it
            save(figure, file, **options)
            self.figures[Path(getattr(file, "name", file)).name.partition(".")[0]] = figure

        monkeypatch.setattr(Figure, "savefig", keep)

    def run(self, text):
        """Run ``minires lab TEXT``; return the exit status."""
        self.figures.clear()
        return main(["lab", *shlex.split(text)])

    @property
    def about(self):
        return json.loads((self.folder / "out" / "numbers.json").read_text())

    @property
    def numbers(self):
        return self.about["numbers"]


def refused(capsys, status, message):
    """Whether a command ended with status 2 and one line on stderr that has this message; others tell of compiling."""
    lines = [line for line in capsys.readouterr().err.splitlines() if "compiling kernels" not in line]
    return status == 2 and len(lines) == 1 and message in lines[0]


def drawn(axis):
    """{label: y} of the lines of a panel that have a name."""
    return {line.get_label(): np.asarray(line.get_ydata()) for line in axis.lines if line.get_label()[0] != "_"}


def numbers_on(axis, side="y"):
    """The numbers that stand on an axis within its limits, as text."""
    axis.figure.draw_without_rendering()
    which = axis.yaxis if side == "y" else axis.xaxis
    low, high = sorted(which.get_view_interval())
    return [t.get_text() for t, at in zip(which.get_ticklabels(), which.get_majorticklocs()) if low <= at <= high]
