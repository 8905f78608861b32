"""Assignment 12: degradation. The hand-out, README.md, says what to do."""

import json
from pathlib import Path

import numpy as np

from minires import SGD, Linear, ReLU, Residual, Sequential, softmax_cross_entropy  # noqa: F401


def read_runs():
    """Given: {net: {"train": [[step, error], ...], "test": ...}}."""
    return json.loads(Path(__file__).with_name("runs.json").read_text())


def spiral(points=60, arms=3, seed=0):
    """Given: points on the arms of a spiral, (points * arms, 2), and the number of the arm of each."""
    rng = np.random.default_rng(seed)
    radius = np.tile(np.linspace(0.1, 1, points), arms)
    labels = np.repeat(np.arange(arms), points)
    angle = 4 * radius + 2 * np.pi * labels / arms + rng.normal(0, 0.1, points * arms)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), labels


def final_error(runs, net, part):
    """The mean of the last three errors of runs[net][part]."""
    raise NotImplementedError("Task 12.1: mind that each entry is [step, error].")


def gap(runs, kind, part):
    """Percentage points by which depth 56 is worse than depth 20, for kind plain or resnet."""
    raise NotImplementedError("Task 12.1: a fraction is not a percentage.")


def mlp(depth, residual, seed=0):
    """A net with ``depth`` linear layers of width 16, plain or residual, in float64."""
    raise NotImplementedError("Task 12.2: a list of layers, then Sequential(*layers).")


def measure(depth, residual, seeds, steps):
    """The training loss after the last step for each seed, a list."""
    raise NotImplementedError("Task 12.3: build, train, measure once more.")


def summary(losses):
    """(mean, standard error of the mean)."""
    raise NotImplementedError("Task 12.3: the deviation of a sample has n - 1.")


def answers():
    """The five answers."""
    raise NotImplementedError("Task 12.4: after all of the others.")
