"""Is a residual net boosting? After Huang, Ash, Langford and Schapire 2018.

The logits are the sum of what the stem and each block add. How good is the sum so far? And what if blocks are trained
one after another, each with a linear classifier of its own, and no gradient ever passes more than one block? Try it::

    python examples/boosting.py                                        # synthetic images, a few minutes
    python examples/boosting.py --data cifar10 --depths 20 --steps 400
"""

import sys

import numpy as np
from experiment import errors_in_one_line, keep, lab_parser, load_data, positive, setting, subjects

from minires.data import batches
from minires.lab.boosting import boost, contributions, cumulative_error, edges, fit_classifiers, gammas
from minires.lab.paths import blocks_of
from minires.networks import network
from minires.plots import boosting_figure


def main(arguments=None):
    options = read_options(arguments)
    with errors_in_one_line(options.script):
        train_set, test_set = load_data(options)
        found = subjects(options, train_set)
        if len(found) > 1:
            raise ValueError("expected one network. Choose with --nets, --depths and --seeds.")
        (subject,) = found
        some, tests = train_set[: options.images], test_set[: options.images]
        for _ in subject.moments(train_set, options, [0, options.steps]):
            pass  # it is trained now
        n, classes = len(blocks_of(subject.net)), len(train_set.classes)
        each = options.block_steps
        heads = fit_classifiers(subject.net, train_set, steps=min(300, options.steps), rng=subject.seed)
        together = edges(subject.net, heads, some, tests)
        x, labels = next(batches(some, len(some)))
        parts = contributions(subject.net, x)
        errors, sizes = cumulative_error(parts, labels), parts.logits[:-1].std(axis=(1, 2))
        net = network(subject.name, classes=classes, rng=np.random.default_rng(subject.seed).spawn(2)[0])
        boosted = edges(
            net, boost(net, train_set, steps=each, batch_size=options.batch_size, rng=subject.seed), some, tests
        )
        note = (
            f"{setting(options, train_set)} Block by block: {each} steps for the stem and for each of {n} blocks; each "
            "step trains one block and goes forward through those before it. Edges and errors of linear classifiers."
        )
        print(note)
        head = ("adds, std", "error so far", "own class.", "edge", "boosted", "edge", "gamma^2")
        print(f"\n{'part':12}" + "".join(f"{word:>13}" for word in head))
        squared = [np.nan, *gammas([row.edge for row in boosted], classes)[0]]
        for name, size, error, a, b, g in zip(parts.names, sizes, errors, together, boosted, squared):
            cells = f"{size:.3f}", f"{error:.1%}", f"{a.train_error:.1%}", f"{a.edge:.3f}", f"{b.train_error:.1%}"
            print(f"{name:12}" + "".join(f"{cell:>13}" for cell in (*cells, f"{b.edge:.3f}", f"{g:.4f}")))
        bounds = [gammas([row.edge for row in rows], classes)[1] for rows in (together, boosted)]
        print(
            f"\nTest error: end to end {together[-1].test_error:.1%}, block by block {boosted[-1].test_error:.1%}. "
            f"Bounds on the training error: {bounds[0][-1]:.1%} and {bounds[1][-1]:.1%}. "
            f"Steps without a weak learner (gamma^2 <= 0): {sum(not g > 0 for g in squared[1:])} of {n}."
        )
        rows = list(zip(parts.names, map(float, sizes), map(float, errors)))
        numbers = {
            "parts": rows,
            "together": together,
            "boosted": boosted,
            "gamma_squared": list(map(float, squared[1:])),
        }
        keep(options, train_set, {"boosting": boosting_figure(rows, together, boosted, bounds, note)}, numbers)


def read_options(arguments):
    parser = lab_parser("boosting", "Train blocks one by one.", nets=["resnet"], depths=[20], steps=400)
    parser.add_argument(
        "--block-steps",
        type=positive,
        default=150,
        metavar="N",
        help="steps for each block trained alone (default: 150)",
    )
    parser.set_defaults(images=1000)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
