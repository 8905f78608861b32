"""Do plain networks get worse with depth, and do residual ones not?

He et al. (2015) found that a plain network of 56 layers has a higher *training* error than one of 20, so that more
depth is not merely overfitting, and that shortcuts around every two layers turn this round. Try it::

    python examples/degradation_cifar.py                       # synthetic images, a few minutes
    python examples/degradation_cifar.py --data cifar10 --budget 30m --depths 20 32 44 56
    python examples/degradation_cifar.py --data cifar10 --budget paper --seeds 0 1 2 3 4     # days

Every network is trained in a folder of its own. Ctrl-C, or a power cut, at any time: the same command goes on.
"""

import argparse
import math
import sys
from itertools import product
from pathlib import Path

import numpy as np

from minires.checkpoint import CheckpointError
from minires.lab.degradation.figure import degradation_figure
from minires.lab.degradation.measure import PUBLISHED, final_errors, percent, verdict
from minires.lab.experiment import data_options, images_named, load_data, positive
from minires.machine import machine
from minires.networks import cifar_plain, cifar_resnet
from minires.optim import SGD, Cosine, LinearWarmUp, MultiStep, WarmUpUntil
from minires.run import Run, read_log
from minires.train import Diverged, train

NETS = {"plain": cifar_plain, "resnet": cifar_resnet}

# Steps of SGD, images in each, and the largest learning rate. Steps, not minutes, so that a run gives the same numbers
# on every machine; the names are what two cores take for plain and residual nets of 20 and 56 layers, one seed. With
# so few steps as in "3m", small batches and a small rate are what lets 56 layers begin to learn.
BUDGETS = {
    "3m": {"steps": 1_000, "batch_size": 32, "lr": 0.05},
    "30m": {"steps": 2_000, "batch_size": 128, "lr": 0.1},
    "overnight": {"steps": 30_000, "batch_size": 128, "lr": 0.1},
    "paper": {"steps": 64_000, "batch_size": 128, "lr": 0.1},
}


def main(arguments=None):
    options = read_options(arguments)
    try:
        data = training_and_test_set(options)
        fill_in(options, len(data[0]))
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


def train_one(name, depth, seed, data, options):
    """Train one network in its folder, or go on with it, or find it finished; return its log."""
    train_set, test_set = data
    net_rng, data_rng = np.random.default_rng(seed).spawn(2)  # one seed: the same start and batches, plain or residual
    net = NETS[name](depth, rng=net_rng)
    return train(
        net,
        SGD(net.parameters(), lr=BUDGETS[options.budget]["lr"], momentum=0.9, weight_decay=1e-4),
        train_set,
        test_set,
        steps=options.steps,
        batch_size=options.batch_size,
        schedule=schedule_for(depth, options),
        rng=data_rng,
        test_every=options.eval_every,
        log_every=max(1, options.steps // 60),
        run=Run(
            folder(name, depth, seed, options),
            config={"net": name, "depth": depth, "seed": seed, "data": train_set.name, "budget": options.budget},
            deviations=deviations(train_set, options),
        ),
        title=f"{name}-{depth}, seed {seed}",
    )


def schedule_for(depth, options):
    """The paper's two drops; or, for a short budget, a warm-up and then half a cosine."""
    steps, lr = options.steps, BUDGETS[options.budget]["lr"]
    if options.budget != "paper":
        return LinearWarmUp(Cosine(lr, steps), steps // 10)
    drops = MultiStep(lr, [steps // 2, steps * 3 // 4])  # 32,000 and 48,000 of 64,000
    return WarmUpUntil(drops, low=0.01, error=0.8) if depth >= 110 else drops


def length_of(budget):
    return {key: BUDGETS[budget][key] for key in ("steps", "batch_size")}


def rate_in_words(budget):
    if budget == "paper":
        return "learning rate 0.1, divided by 10 at 1/2 and 3/4 of the steps"
    return f"learning rate {BUDGETS[budget]['lr']} after a warm-up over 1/10 of the steps, then a cosine to 0"


def folder(name, depth, seed, options):
    return options.out / f"{name}-{depth}-seed{seed}"


# -- what is run --------------------------------------------------------------------------------------------------


def read_options(arguments):
    parser = argparse.ArgumentParser(description="Train plain and residual networks of growing depth and compare them.")
    data_options(parser)
    add = parser.add_argument
    add("--validation", action="store_true", help="test on a tenth of the training images, as the paper's 45k/5k split")
    add("--nets", nargs="+", choices=list(NETS), default=list(NETS))
    add("--depths", nargs="+", type=int, default=[20, 56], metavar="6n+2")
    add("--seeds", nargs="+", type=int, default=[0], metavar="SEED")
    add("--budget", choices=list(BUDGETS), default="3m", help="how long to train; paper: the paper's 64,000 steps")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive, help="train for so many steps, whatever the budget says")
    length.add_argument("--epochs", type=positive, help="train for so many passes over the images")
    add("--batch-size", type=positive, metavar="N", help="images in a step")
    add("--eval-every", type=positive, metavar="STEPS", help="steps between two tests")
    add("--out", type=Path, metavar="DIR", help="folder of the runs and the figure (default: runs/DATA-BUDGET)")
    options = parser.parse_args(arguments)
    for name, depth in product(options.nets, options.depths):
        try:
            NETS[name](depth, rng=0)
        except ValueError as error:
            parser.error(f"--depths: {error}")
    for plural in ("nets", "depths", "seeds"):
        setattr(options, plural, list(dict.fromkeys(getattr(options, plural))))  # each once
    return options


def training_and_test_set(options):
    """The images to train and to test on."""
    train_set, test_set = load_data(options)
    if options.validation:
        kept = len(train_set) * 9 // 10
        train_set, test_set = train_set[:kept], train_set[kept:]
    return train_set, test_set


def fill_in(options, images):
    """Set what the command line left open, from the budget."""
    budget = BUDGETS[options.budget]
    options.batch_size = options.batch_size or budget["batch_size"]
    epoch = math.ceil(images / options.batch_size)
    options.steps = options.steps or (options.epochs * epoch if options.epochs else budget["steps"])
    options.eval_every = options.eval_every or max(1, min(epoch, options.steps // 8))
    options.out = options.out or Path("runs", f"{options.data}-{options.budget}")


def deviations(train_set, options):
    """In what the runs differ from the paper's, for run.json."""
    paper, found = BUDGETS["paper"], []
    if "CIFAR-10" not in train_set.name or options.data_note:
        found.append(f"images: {images_named(train_set, options)}")
    for key in ("steps", "batch_size"):
        if getattr(options, key) != paper[key]:
            found.append(f"{key}: {getattr(options, key)}, the paper {paper[key]}")
    if options.budget != "paper":
        found.append(f"{rate_in_words(options.budget)}; the paper: {rate_in_words('paper')}")
    if options.validation:
        found.append("tested on a tenth of the training images that was left out of training")
    return found


def setting(data, options):
    """What is run, in a few words."""
    train_set, test_set = data
    seeds = ("seeds " if options.seeds[1:] else "seed ") + ", ".join(map(str, options.seeds))
    budget = f"Budget {options.budget}: " if vars(options).items() >= length_of(options.budget).items() else ""
    epochs = options.steps * options.batch_size / len(train_set)
    return (
        f"{images_named(train_set, options)}, {len(train_set):,} training and {len(test_set):,} test images. "
        f"{budget}{options.steps:,} steps of {options.batch_size} images ({epochs:.3g} epochs), "
        f"{rate_in_words(options.budget)}; {seeds}"
    )


# -- what came of it ----------------------------------------------------------------------------------------------


def read_logs(options):
    """{("plain", 20): [log of each seed], ...}, as far as they have come."""
    return {
        (name, depth): [read_log(folder(name, depth, seed, options) / "log.jsonl") for seed in options.seeds]
        for name, depth in product(options.nets, options.depths)
    }


def draw(data, options):
    note = (
        f"{setting(data, options)}; {machine()['threads']} threads. Training error: over the augmented batches as they "
        "were trained on; test error: evaluation mode."
    )
    if deviations(data[0], options):
        note += (
            " Not the paper's setting (CIFAR-10, 64,000 steps of 128 images): a short budget ends far above its errors."
        )
    degradation_figure(read_logs(options), note).savefig(options.out / "degradation.png")


def report(options):
    """Print the table and what it says."""
    results = {key: [final_errors(log) for log in logs] for key, logs in read_logs(options).items()}
    print(f"\n{'':22}  {' this run ':-^30}  He et al. 2015 (another setting)")
    print(f"{'network':10}  {'parameters':>10}  {'training error':>14}  {'test error':>14}  test error, %")
    for (name, depth), seeds in sorted(results.items()):
        parameters = sum(parameter.data.size for parameter in NETS[name](depth, rng=0).parameters())
        train_error, _, test_error = zip(*seeds)
        row = f"{f'{name}-{depth}':10}  {parameters:>10,}  {percent(train_error):>14}  {percent(test_error):>14}"
        published = PUBLISHED.get((name, depth))
        print(f"{row}  {published.words if published else 'none'}")
    print(f"\n{verdict(results)}\n\nFigure: {options.out / 'degradation.png'}")


if __name__ == "__main__":
    sys.exit(main())
