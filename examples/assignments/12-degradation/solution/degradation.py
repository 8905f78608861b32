"""Assignment 12: degradation."""

import json
from pathlib import Path

import numpy as np

from minires import SGD, Linear, ReLU, Residual, Sequential, softmax_cross_entropy


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
    """The mean of the last three errors: less noise than the last alone."""
    return float(np.mean([error for _, error in runs[net][part][-3:]]))


def gap(runs, kind, part):
    """Percentage points by which depth 56 is worse than depth 20."""
    return 100 * (final_error(runs, f"{kind}-56", part) - final_error(runs, f"{kind}-20", part))


def mlp(depth, residual, seed=0):
    """depth linear layers of width 16; the inner ones are plain, or the branches of residual blocks."""
    layers = [Linear(2, 16, rng=seed), ReLU()]
    for k in range(1, depth - 1):
        inner = Linear(16, 16, rng=seed + k)
        block = Sequential(inner, ReLU())
        if residual:
            inner.weight.data *= 0.1
            block = Residual(block)
        layers.append(block)
    return Sequential(*layers, Linear(16, 3, rng=seed + depth - 1)).astype(np.float64)


def measure(depth, residual, seeds, steps):
    """Training losses after the last step, one for each seed."""
    x, labels = spiral()
    losses = []
    for seed in seeds:
        net = mlp(depth, residual, seed)
        optimizer = SGD(net.parameters(), lr=0.03, momentum=0.9)
        for _ in range(steps):
            _, dlogits = softmax_cross_entropy(net.forward(x), labels)
            optimizer.zero_grad()
            net.backward(dlogits)
            optimizer.step()
        losses.append(float(softmax_cross_entropy(net.forward(x), labels)[0]))
    return losses


def summary(losses):
    """Mean, and its standard error: the deviation of the sample divided by the root of n."""
    return float(np.mean(losses)), float(np.std(losses, ddof=1) / np.sqrt(len(losses)))


def answers():
    """What came out, and what it means."""
    return {
        "gap": gap(read_runs(), "plain", "train"),
        "overfitting": False,  # its training error is larger as well
        "could": "yes",  # copy plain-20, and let the other layers be identities
        "ratio": 100,
        "seeds": 2,
    }
