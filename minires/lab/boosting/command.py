"""After Huang et al. 2018. The logits are the sum of what the stem and each block add: how good is the sum so far? And
what if blocks are trained one after another, each with a linear classifier of its own? The paper bounds the training
error for two classes, so there the networks get a question of yes or no::

    minires lab boosting                                        # synthetic images, a few minutes
    minires lab boosting --data cifar10 --yes cat dog
    minires lab boosting --data cifar10 --pretrained --nets resnet --block-steps 0    # the first question alone
"""

import numpy as np

from minires.data import batches
from minires.figures import noted
from minires.lab.boosting import measure
from minires.lab.boosting.figure import boosting_figure, telescoping_figure
from minires.lab.experiment import Table, images_named, lab_options, whole
from minires.lab.paths.measure import blocks_of
from minires.lab.snapshots import snapshots
from minires.networks import network

QUESTIONS = {"cifar10": "airplane automobile ship truck", "synthetic": "ring frame cross crescent"}


def add_options(parser):
    lab_options(parser, nets=["resnet"], depths=[20], steps=400, images=1000)
    add = parser.add_argument
    alone = "for each block trained alone (default: 150; 0: none is)"
    add("--block-steps", type=whole, default=150, metavar="N", help=alone)
    add("--yes", nargs="+", metavar="CLASS", help="the classes whose answer is yes (default: vehicles; thin shapes)")


def run(lab):
    subjects, figures, numbers = lab.subjects(one_seed=True), {}, {}
    yes = lab.options.yes or QUESTIONS[lab.options.data].split()
    question = [measure.yes_or_no(dataset, yes) for dataset in (lab.train_set, lab.test_set)]  # first: wrong names
    lab.note = lab.setting()
    for subject in subjects:
        of = f"-{subject.name}" if subjects[1:] else ""
        figures[f"telescoping{of}"], numbers[f"telescoping{of}"] = telescope(subject, lab)
        if lab.options.block_steps:
            figures[f"boosting{of}"], numbers[f"boosting{of}"] = compare(subject, lab, *question, yes)
    return figures, numbers


def telescope(subject, lab):
    """Print and draw what each block of a trained net adds; return the figure and the numbers."""
    net, some, tests = subject.net, lab.train_set[: lab.options.images], lab.test_set[: lab.options.images]
    note = f"{lab.note} {subject.name} after {subject.trained(lab).step:,} steps."
    x, labels = next(batches(some, len(some)))
    parts = measure.contributions(net, x)
    with net.eval().without_caches():
        logits = net.forward(x)
    gap = float(np.abs(parts.logits.sum(axis=0) - logits).max())
    errors, sizes = measure.cumulative_error(parts, labels), parts.logits[:-1].std(axis=(1, 2))
    own = classifiers_after_each(net, lab.train_set, some, tests, subject.seed, lab.options)
    most = np.abs(logits).max()
    print(f"{note}\nSum of the parts against the logits: they differ by {gap:.1g}, logits being up to {most:.3g}.\n")
    table, rows = Table("part", "adds, std:.3f", "error so far:.1%", "own class.:.1%", first=12), []
    for name, size, error, row in zip(parts.names, sizes, errors, own):
        table.row(name, size, error, row.train_error)
        rows.append((name, float(size), float(error)))
    return noted(telescoping_figure(rows, own), note), {"parts": rows, "own": own, "gap": gap}


def compare(subject, lab, train_set, test_set, yes):
    """Hold end to end against block by block on a question of yes or no; return the figure and the numbers."""
    options, some, tests = lab.options, train_set[: lab.options.images], test_set[: lab.options.images]
    whole, by_block = (
        network(subject.name, classes=2, rng=np.random.default_rng(subject.seed).spawn(2)[0]) for _ in range(2)
    )
    recipe = {"batch_size": options.batch_size, "rng": subject.seed}
    for _ in snapshots(whole, train_set, [options.steps], title="end to end", **recipe):
        pass  # it is trained now
    together = classifiers_after_each(whole, train_set, some, tests, subject.seed, options)
    heads = measure.boost(by_block, train_set, steps=options.block_steps, **recipe)
    ways = {"together": together, "boosted": measure.edges(by_block, heads, some, tests)}
    found = {way: (rows, measure.gammas([row.edge for row in rows], 2)) for way, rows in ways.items()}
    note = (
        f"{images_named(train_set, options)}: {', '.join(yes)} or not; {subject.name}, seed {subject.seed}. End to "
        f"end: {options.steps:,} steps of {options.batch_size} images, then classifiers fitted to each part. Block "
        f"by block: {options.block_steps} steps for the stem and for each of {len(blocks_of(whole))} blocks. Errors "
        f"and edges on {len(some):,} training images."
    )
    print(f"\n{note}\n\n{'':12}{'end to end':>30}{'block by block':>30}")
    table = Table("part", *["error:.1%", "edge:.3f", "gamma^2:.4f"] * 2, first=12)
    for i, row in enumerate(together):
        cells = [(rows[i].train_error, rows[i].edge, gamma.squared[i]) for rows, gamma in found.values()]
        table.row(row.name, *cells[0], *cells[1])
    for name, (rows, gamma) in zip(("End to end", "Block by block"), found.values()):
        least, T = gamma.squared.min(), len(rows)
        print(
            f"{name}: test error {rows[-1].test_error:.1%}, training error {rows[-1].train_error:.1%}, at most "
            f"{gamma.bound[-1]:.1%} by the product, {gamma.exponential[-1]:.1%} by the mean gamma^2, "
            f"{np.exp(-T * max(0, least) / 2):.1%} by the least; no weak learner in "
            f"{np.sum(gamma.squared <= 0)} of {T} parts."
        )
    kept = {way: {"edges": edge, "gamma_squared": gamma.squared.tolist()} for way, (edge, gamma) in found.items()}
    return noted(boosting_figure(*found.values()), note), kept


def classifiers_after_each(net, train_set, some, tests, seed, options):
    steps = max(1, min(300, options.steps))
    heads = measure.fit_classifiers(net, train_set, steps=steps, batch_size=options.batch_size, rng=seed)
    return measure.edges(net, heads, some, tests)
