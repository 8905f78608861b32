"""Given: what the tests of task 3.4 train. Do not change this file."""

import numpy as np

import minires


def ready_net(inputs, hidden, classes, seed=0):
    """The net of task 3.3 made of the layers of minires; the tests of task 3.4 train it."""
    first, second = minires.Linear(inputs, hidden, rng=seed), minires.Linear(hidden, classes, rng=seed + 1)
    return minires.Sequential(first, minires.ReLU(), second).astype(np.float64)
