"""Run folders for the tests of reports: written by hand, or trained for two steps on a handful of images."""

import json

import numpy as np

from minires.data import Dataset
from minires.networks import cifar_plain, cifar_resnet
from minires.optim import SGD
from minires.run import Run
from minires.train import train


def log(last, test, steps=100):
    """A run that falls from 0.9 to about ``last``, with a test twice."""
    lines = []
    for step in range(5, steps + 1, 5):
        error = last if step > 0.9 * steps else 0.9 - (0.9 - last) * step / steps
        lines.append({"kind": "train", "step": step, "error": error, "images": 640, "loss": 1.0})
        if step % (steps // 2) == 0:
            lines.append({"kind": "test", "step": step, "error": test + 0.1 * (step < steps), "loss": 1.0})
    return lines


def write_run(folder, lines, status="finished", deviations=(), **config):
    folder.mkdir(parents=True)
    config = {
        "data": "CIFAR-10, training", "budget": "30m", "steps": 100, "batch_size": 128, "schedule": "Cosine(0.1)",
        "test_every": 50, "train_set": "50000 images, checksum 0", "test_set": "10000 images, checksum 1",
    } | config  # fmt: skip
    session = {"started": "2026-01-31T10:00:00", "seconds": 90.0, "cpu": "a processor", "cores": 2, "threads": 2}
    about = {"config": config, "deviations": list(deviations), "status": status, "sessions": [session]}
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def few_images(*sizes):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 3, 8, 8)).astype(np.uint8)
    everything = Dataset(images, rng.integers(0, 10, 40), [str(i) for i in range(10)], "synthetic, training")
    return everything[:24], everything[24:]


def train_two(folder):
    """plain-8 and resnet-8, two steps each; return the folder."""
    for name, build in (("plain", cifar_plain), ("resnet", cifar_resnet)):
        net, sets = build(8, rng=0), few_images()
        run = Run(folder / name, {"net": name, "depth": 8, "seed": 0, "data": "synthetic, training"})
        train(net, SGD(net.parameters(), 0.1), *sets, steps=2, batch_size=8, log_every=1, run=run, bar=False)
    return folder
