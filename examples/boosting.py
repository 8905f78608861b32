"""Is a residual net boosting? After Huang, Ash, Langford and Schapire 2018.

The logits are the sum of what the stem and each block add: how good is the sum so far? And what if blocks are trained
one after another, each with a linear classifier of its own, and no gradient ever passes more than one block? The paper
bounds the training error by exp(-T gamma^2 / 2) for two classes, so there the networks get a question of yes or no.
Try it::

    python examples/boosting.py                                        # synthetic images, a few minutes
    python examples/boosting.py --data cifar10 --yes cat dog
    python examples/boosting.py --runs runs/cifar10-30m --nets resnet --depths 20    # trained by degradation_cifar.py
"""

import sys

import numpy as np
from experiment import errors_in_one_line, images_named, keep, lab_parser, load_data, positive, setting, subjects

from minires.data import batches
from minires.lab.boosting import boost, contributions, cumulative_error, edges, fit_classifiers, gammas, yes_or_no
from minires.lab.paths import blocks_of
from minires.lab.snapshots import snapshots
from minires.networks import network
from minires.plots import boosting_figure, telescoping_figure

QUESTIONS = {"cifar10": "airplane automobile ship truck", "synthetic": "ring frame cross crescent"}


def main(arguments=None):
    options = read_options(arguments)
    with errors_in_one_line(options.script):
        train_set, test_set = load_data(options)
        found = subjects(options, train_set)
        if len(found) > 1:
            raise ValueError(f"expected one network, got {len(found)}. Choose with --nets, --depths and --seeds.")
        (subject,) = found
        yes = options.yes or QUESTIONS[options.data].split()
        question = [yes_or_no(dataset, yes) for dataset in (train_set, test_set)]  # first: it finds wrong names
        figures, numbers = {}, {}
        figures["telescoping"], numbers["telescoping"] = telescope(subject, train_set, test_set, options)
        figures["boosting"], numbers["boosting"] = compare(subject, *question, yes, options)
        keep(options, train_set, figures, numbers)


def read_options(arguments):
    parser = lab_parser("boosting", "Train blocks one by one.", nets=["resnet"], depths=[20], steps=400)
    add = parser.add_argument
    add("--block-steps", type=positive, default=150, metavar="N", help="for each block trained alone (default: 150)")
    add("--yes", nargs="+", metavar="CLASS", help="the classes whose answer is yes (default: vehicles; thin shapes)")
    parser.set_defaults(images=1000)
    return parser.parse_args(arguments)


def telescope(subject, train_set, test_set, options):
    """What each block of a trained net adds: (figure, numbers)."""
    some, tests = train_set[: options.images], test_set[: options.images]
    for snapshot in subject.moments(train_set, options, [0, options.steps]):
        steps = snapshot.step  # after the last it is trained
    x, labels = next(batches(some, len(some)))
    parts = contributions(subject.net, x)
    with subject.net.eval().without_caches():
        logits = subject.net.forward(x)
    gap = np.abs(parts.logits.sum(axis=0) - logits).max()
    errors, sizes = cumulative_error(parts, labels), parts.logits[:-1].std(axis=(1, 2))
    own = classifiers_after_each(subject.net, train_set, some, tests, subject, options)
    note = f"{setting(options, train_set)} {subject.name} after {steps:,} steps."
    print(f"{note}\nSum of the parts against the logits: they differ by {gap:.1g}, logits being up to ", end="")
    print(f"{np.abs(logits).max():.3g}.\n\n{'part':12}{'adds, std':>13}{'error so far':>13}{'own class.':>13}")
    for name, size, error, row in zip(parts.names, sizes, errors, own):
        print(f"{name:12}{size:13.3f}{error:13.1%}{row.train_error:13.1%}")
    rows = list(zip(parts.names, map(float, sizes), map(float, errors)))
    return telescoping_figure(rows, own, note), {"parts": rows, "own": own, "gap": float(gap)}


def compare(subject, train_set, test_set, yes, options):
    """End to end against block by block, on a question of yes or no: (figure, numbers)."""
    some, tests = train_set[: options.images], test_set[: options.images]

    def fresh():
        return network(subject.name, classes=2, rng=np.random.default_rng(subject.seed).spawn(2)[0])

    whole, by_block = fresh(), fresh()
    recipe = {"batch_size": options.batch_size, "rng": subject.seed}
    for _ in snapshots(whole, train_set, [options.steps], title="end to end", **recipe):
        pass  # it is trained now
    together = classifiers_after_each(whole, train_set, some, tests, subject, options)
    boosted = edges(by_block, boost(by_block, train_set, steps=options.block_steps, **recipe), some, tests)
    found = [(rows, gammas([row.edge for row in rows], 2)) for rows in (together, boosted)]
    n = len(blocks_of(whole))
    note = (
        f"{images_named(train_set, options)}: {', '.join(yes)} or not; {subject.name}, seed {subject.seed}. End to "
        f"end: {options.steps:,} steps of {options.batch_size} images, then classifiers fitted to each part. Block "
        f"by block: {options.block_steps} steps for the stem and for each of {n} blocks. Errors and edges on "
        f"{len(some):,} training images."
    )
    print(f"\n{note}\n\n{'':12}{'end to end':>30}{'block by block':>33}\n{'part':12}", end="")
    print(f"{'error':>10}{'edge':>10}{'gamma^2':>10}   " * 2)
    for i, row in enumerate(together):
        cells = [(rows[i].train_error, rows[i].edge, gamma.squared[i]) for rows, gamma in found]
        print(f"{row.name:12}" + "".join(f"{error:10.1%}{edge:10.3f}{g:10.4f}   " for error, edge, g in cells))
    for name, (rows, gamma) in zip(("End to end", "Block by block"), found):
        least, T = gamma.squared.min(), len(rows)
        print(
            f"{name}: test error {rows[-1].test_error:.1%}, training error {rows[-1].train_error:.1%}, at most "
            f"{gamma.bound[-1]:.1%} by the product, {gamma.exponential[-1]:.1%} by the mean gamma^2, "
            f"{np.exp(-T * max(0, least) / 2):.1%} by the least; no weak learner in "
            f"{np.sum(gamma.squared <= 0)} of {T} parts."
        )
    keys = ("together", "boosted")
    numbers = {key: {"edges": rows, "gamma_squared": gamma.squared.tolist()} for key, (rows, gamma) in zip(keys, found)}
    return boosting_figure(*found, note), numbers


def classifiers_after_each(net, train_set, some, tests, subject, options):
    heads = fit_classifiers(
        net, train_set, steps=max(1, min(300, options.steps)), batch_size=options.batch_size, rng=subject.seed
    )
    return edges(net, heads, some, tests)


if __name__ == "__main__":
    sys.exit(main())
