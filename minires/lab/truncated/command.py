"""Do long paths teach a residual net anything?

The forward pass is whole; of the gradient only the paths of at most k branches are followed. Deleting blocks tells what
a trained net needs, this tells what training needs::

    minires lab truncated                                            # synthetic images, some minutes
    minires lab truncated --data cifar10 --seeds 0 1 2 --lengths 0 1 2 3 5 9
"""

from functools import partial

import numpy as np

from minires.lab.comparison import compare
from minires.lab.controls import settled
from minires.lab.experiment import Experiment, by_name, training_options, whole
from minires.lab.paths.measure import gradient_by_length
from minires.lab.truncated.measure import ShortPaths


def add_options(parser):
    training_options(parser, nets=None, depths=[20], steps=300)
    parser.add_argument(
        "--lengths", nargs="+", type=whole, default=[0, 1, 2, 3, 5, 9], metavar="K", help="(default: 0 1 2 3 5 9)"
    )
    parser.set_defaults(images=1000, lr=0.1)


def run(options):
    from minires.lab.truncated.figure import truncated_figure  # here: matplotlib takes a while to load

    lab, figures, numbers = Experiment(options), {}, {}
    x, labels = lab.batch(8)
    note = f"{lab.setting('test')} Forward all paths, backward those of at most k branches."
    print(note)
    lengths = sorted(set(options.lengths))
    for depth in options.depths:
        nets = {f"resnet-{depth}, k = {k}": partial(build, depth, k) for k in lengths}
        for make in nets.values():
            first = make(len(lab.train_set.classes), 0)  # a wrong k is refused before anything is trained
        parts = gradient_by_length(settled(first.net, x), x, labels)
        sizes = np.linalg.norm(parts.reshape(len(parts), -1), axis=1)
        kept = np.cumsum(sizes) / sizes.sum()
        found = compare(lab, nets)
        figures[f"truncated-{depth}"] = truncated_figure(found, lengths, kept, note)
        numbers[f"resnet-{depth}"] = {"kept": kept.tolist()} | {
            name: [one._asdict() for one in found[name]] for name in found
        }
    lab.keep(figures, numbers, note)


def build(depth, most, classes, rng):
    return ShortPaths(by_name("resnet", depth, classes=classes, rng=rng), most)
