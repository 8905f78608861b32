"""Do plain networks get worse with depth, and do residual ones not?

He et al. (2015) found that a plain network of 56 layers has a higher *training* error than one of 20, so that more
depth is not merely overfitting, and that shortcuts around every two layers turn this round. Try it::

    python examples/degradation_cifar.py                       # synthetic images, a few minutes
    python examples/degradation_cifar.py --data cifar10 --budget 30m --depths 20 32 44 56
    python examples/degradation_cifar.py --data cifar10 --budget paper --seeds 0 1 2 3 4     # days

Every network is trained in a folder of its own. Ctrl-C, or a power cut, at any time: the same command goes on.
"""

import argparse
import sys
from itertools import product

import numpy as np

from minires.checkpoint import CheckpointError
from minires.lab.degradation.figure import degradation_figure
from minires.lab.degradation.measure import PUBLISHED, final_errors, percent, verdict
from minires.lab.experiment import Table, count, for_images, several, whole, writable
from minires.lab.recipe import deviations, fill_in, recipe_options, setting, train_by_recipe, training_and_test_set
from minires.machine import machine
from minires.networks import cifar_plain, cifar_resnet
from minires.progress import nobody_need_listen
from minires.run import read_log
from minires.train import Diverged

NETS = {"plain": cifar_plain, "resnet": cifar_resnet}


def main(arguments=None):
    with nobody_need_listen():  # such as head, which leaves after ten lines
        options = read_options(arguments)
        try:
            data = training_and_test_set(options)
            fill_in(options, len(data[0]))
            writable(options.out)
            print(f"{setting(data, options)}.\nFolder: {options.out}. After Ctrl-C, the same command goes on.")
            for seed, depth, name in product(options.seeds, options.depths, options.nets):
                train_error, _, test_error = final_errors(train_one(name, depth, seed, data, options))
                print(f"{name}-{depth}, seed {seed}: training error {train_error:.1%}, test error {test_error:.1%}")
                draw(data, options)  # what there is so far
            report(options)
            return 0
        except KeyboardInterrupt as stop:
            print(f"{stop or 'Stopped.'} To go on, give the same command again.", file=sys.stderr)
            return 130
        except (CheckpointError, Diverged, OSError, ValueError) as error:
            print(f"degradation_cifar: {error}", file=sys.stderr)
            return 1


def read_options(arguments):
    parser = argparse.ArgumentParser(description="Train plain and residual networks of growing depth and compare them.")
    recipe_options(parser)
    several(parser, "--nets", str, list(NETS), choices=list(NETS))
    several(parser, "--depths", int, [20, 56], metavar="6n+2")
    several(parser, "--seeds", whole, [0], metavar="SEED")
    options = parser.parse_args(arguments)
    for name, depth in product(options.nets, options.depths):
        try:
            NETS[name](depth, rng=0)
        except ValueError as error:
            parser.error(f"--depths: {error}")
    return options


def train_one(name, depth, seed, data, options):
    """Train one network in its folder, or go on with it, or find it finished; return its log."""
    net_rng, data_rng = np.random.default_rng(seed).spawn(2)  # one seed: the same start and batches, plain or residual
    net = NETS[name](depth, **for_images(data[0]), rng=net_rng)
    config = {"net": name, "depth": depth, "seed": seed}
    return train_by_recipe(net, folder(name, depth, seed, options), config, data, options, data_rng)


def folder(name, depth, seed, options):
    return options.out / f"{name}-{depth}-seed{seed}"


def read_logs(options):
    """{("plain", 20): [log of each seed], ...}, as far as they have come."""
    return {
        (name, depth): [read_log(folder(name, depth, seed, options) / "log.jsonl") for seed in options.seeds]
        for name, depth in product(options.nets, options.depths)
    }


def draw(data, options):
    note = (
        f"{setting(data, options)}; {count(machine()['threads'], 'thread')}. Training error: over the augmented "
        "batches as they were trained on; test error: evaluation mode."
    )
    if deviations(data[0], options):
        papers = "CIFAR-10, 64,000 steps of 128 images"
        note += f" Not the paper's setting ({papers}): a short budget ends far above its errors."
    degradation_figure(read_logs(options), note).savefig(options.out / "degradation.png")


def report(options):
    """Print the table and what it says."""
    results = {key: [final_errors(log) for log in logs] for key, logs in read_logs(options).items()}
    print()
    columns = "parameters:,", "training error", "test error", "He et al. 2015 (another setting)"
    table = Table("network", *columns, first=12)
    for (name, depth), seeds in sorted(results.items()):
        parameters = sum(parameter.data.size for parameter in NETS[name](depth, rng=0).parameters())
        train_error, _, test_error = zip(*seeds)
        published = PUBLISHED[name, depth].words if (name, depth) in PUBLISHED else "none"
        table.row(f"{name}-{depth}", parameters, percent(train_error), percent(test_error), published)
    print(f"\n{verdict(results)}\n\nFigure: {options.out / 'degradation.png'}")


if __name__ == "__main__":
    sys.exit(main())
