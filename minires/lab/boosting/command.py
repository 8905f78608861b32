"""Is a residual net boosting? After Huang, Ash, Langford and Schapire 2018.

The logits are the sum of what the stem and each block add: how good is the sum so far? And what if blocks are trained
one after another, each with a linear classifier of its own, and no gradient ever passes more than one block? The paper
bounds the training error by exp(-T gamma^2 / 2) for two classes, so there the networks get a question of yes or no.
Try it::

    minires lab boosting                                        # synthetic images, a few minutes
    minires lab boosting --data cifar10 --yes cat dog
    minires lab boosting --runs runs/cifar10-30m --nets resnet --depths 20    # trained by degradation_cifar.py
"""

import numpy as np

from minires.data import batches
from minires.lab.boosting.measure import (
    boost,
    contributions,
    cumulative_error,
    edges,
    fit_classifiers,
    gammas,
    yes_or_no,
)
from minires.lab.experiment import Experiment, Table, images_named, lab_options, positive
from minires.lab.paths.measure import blocks_of
from minires.lab.snapshots import snapshots
from minires.networks import network

QUESTIONS = {"cifar10": "airplane automobile ship truck", "synthetic": "ring frame cross crescent"}


def add_options(parser):
    lab_options(parser, nets=["resnet"], depths=[20], steps=400)
    add = parser.add_argument
    add("--block-steps", type=positive, default=150, metavar="N", help="for each block trained alone (default: 150)")
    add("--yes", nargs="+", metavar="CLASS", help="the classes whose answer is yes (default: vehicles; thin shapes)")
    parser.set_defaults(images=1000)


def run(options):
    from minires.lab.boosting.figure import boosting_figure, telescoping_figure  # matplotlib takes a while to load

    lab = Experiment(options)
    subjects = lab.subjects()
    lab.one_seed()
    yes = options.yes or QUESTIONS[options.data].split()
    question = [yes_or_no(dataset, yes) for dataset in (lab.train_set, lab.test_set)]  # first: it finds wrong names
    figures, numbers = {}, {}
    for subject in subjects:
        of = f"-{subject.name}" if subjects[1:] else ""
        note, rows, own, gap = telescope(subject, lab)
        figures[f"telescoping{of}"] = telescoping_figure(rows, own, note)
        numbers[f"telescoping{of}"] = {"parts": rows, "own": own, "gap": gap}
        note, found = compare(subject, lab, *question, yes)
        figures[f"boosting{of}"] = boosting_figure(*found.values(), note)
        kept = {key: {"edges": edge, "gamma_squared": gamma.squared.tolist()} for key, (edge, gamma) in found.items()}
        numbers[f"boosting{of}"] = kept
    lab.keep(figures, numbers, lab.setting())


def telescope(subject, lab):
    """Return what each block of a trained net adds: (note, rows, edges of classifiers of its own, gap)."""
    some, tests = lab.train_set[: lab.options.images], lab.test_set[: lab.options.images]
    steps = subject.trained(lab).step
    x, labels = next(batches(some, len(some)))
    parts = contributions(subject.net, x)
    with subject.net.eval().without_caches():
        logits = subject.net.forward(x)
    gap = float(np.abs(parts.logits.sum(axis=0) - logits).max())
    errors, sizes = cumulative_error(parts, labels), parts.logits[:-1].std(axis=(1, 2))
    own = classifiers_after_each(subject.net, lab.train_set, some, tests, subject, lab.options)
    note = f"{lab.setting()} {subject.name} after {steps:,} steps."
    most = np.abs(logits).max()
    print(f"{note}\nSum of the parts against the logits: they differ by {gap:.1g}, logits being up to {most:.3g}.\n")
    table = Table("part", "adds, std", "error so far", "own class.", first=12)
    for name, size, error, row in zip(parts.names, sizes, errors, own):
        table.row(name, f"{size:.3f}", f"{error:.1%}", f"{row.train_error:.1%}")
    return note, list(zip(parts.names, map(float, sizes), map(float, errors))), own, gap


def compare(subject, lab, train_set, test_set, yes):
    """Return end to end against block by block, on a question of yes or no: (note, {way: (edges, gammas)})."""
    options = lab.options
    some, tests = train_set[: options.images], test_set[: options.images]
    whole, by_block = (
        network(subject.name, classes=2, rng=np.random.default_rng(subject.seed).spawn(2)[0]) for _ in range(2)
    )
    recipe = {"batch_size": options.batch_size, "rng": subject.seed}
    for _ in snapshots(whole, train_set, [options.steps], title="end to end", **recipe):
        pass  # it is trained now
    together = classifiers_after_each(whole, train_set, some, tests, subject, options)
    boosted = edges(by_block, boost(by_block, train_set, steps=options.block_steps, **recipe), some, tests)
    found = {
        way: (rows, gammas([row.edge for row in rows], 2))
        for way, rows in (("together", together), ("boosted", boosted))
    }
    note = (
        f"{images_named(train_set, options)}: {', '.join(yes)} or not; {subject.name}, seed {subject.seed}. End to "
        f"end: {options.steps:,} steps of {options.batch_size} images, then classifiers fitted to each part. Block "
        f"by block: {options.block_steps} steps for the stem and for each of {len(blocks_of(whole))} blocks. Errors "
        f"and edges on {len(some):,} training images."
    )
    print(f"\n{note}\n\n{'':12}{'end to end':>30}{'block by block':>30}")
    table = Table("part", *["error", "edge", "gamma^2"] * 2, first=12)
    for i, row in enumerate(together):
        cells = [(rows[i].train_error, rows[i].edge, gamma.squared[i]) for rows, gamma in found.values()]
        table.row(row.name, *(text for error, edge, g in cells for text in (f"{error:.1%}", f"{edge:.3f}", f"{g:.4f}")))
    for name, (rows, gamma) in zip(("End to end", "Block by block"), found.values()):
        least, T = gamma.squared.min(), len(rows)
        print(
            f"{name}: test error {rows[-1].test_error:.1%}, training error {rows[-1].train_error:.1%}, at most "
            f"{gamma.bound[-1]:.1%} by the product, {gamma.exponential[-1]:.1%} by the mean gamma^2, "
            f"{np.exp(-T * max(0, least) / 2):.1%} by the least; no weak learner in "
            f"{np.sum(gamma.squared <= 0)} of {T} parts."
        )
    return note, found


def classifiers_after_each(net, train_set, some, tests, subject, options):
    heads = fit_classifiers(
        net, train_set, steps=max(1, min(300, options.steps)), batch_size=options.batch_size, rng=subject.seed
    )
    return edges(net, heads, some, tests)
