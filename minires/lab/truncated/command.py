"""The forward pass is whole; of the gradient only the paths of at most k branches are followed. Deleting blocks tells
what a trained net needs, this tells what training needs::

    minires lab truncated                                            # synthetic images, some minutes
    minires lab truncated --data cifar10 --seeds 0 1 2 --lengths 0 1 2 3 5 9
    minires lab truncated --data cifar10 --begin early --lr 0.05    # later in training
"""

from functools import partial

import numpy as np

from minires.lab.comparison import begin_option, begun, compare
from minires.lab.controls import settled
from minires.lab.experiment import for_images, several, training_options, whole
from minires.lab.paths.measure import gradient_by_length
from minires.lab.truncated.figure import truncated_figure
from minires.lab.truncated.measure import ShortPaths


def add_options(parser):
    training_options(parser, nets=None, depths=[20], steps=300, images=1000, lr=0.1)
    several(parser, "--lengths", whole, [0, 1, 2, 3, 5, 9], metavar="K")
    begin_option(parser)


def run(lab):
    figures, numbers, (x, labels) = {}, {}, lab.batch(8)
    lab.say(f"{lab.setting('test')} Forward all paths, backward those of at most k branches.")
    for depth in lab.options.depths:
        lengths = sorted(lab.options.lengths)
        if "lengths" not in lab.options.changed:
            lengths = [k for k in lengths if k <= (depth - 2) // 2]  # its blocks
        nets = {f"resnet-{depth}, k = {k}": partial(build, lab, depth, k) for k in lengths}
        for make in nets.values():
            first = make(**for_images(lab.train_set), rng=0)  # a wrong k is refused before anything is trained
        parts = gradient_by_length(settled(first.net, x), x, labels)
        sizes = np.linalg.norm(parts.reshape(len(parts), -1), axis=1)
        kept = np.cumsum(sizes) / sizes.sum()
        found = compare(lab, nets)
        figures[f"truncated-{depth}"] = truncated_figure(found, lengths, kept)
        numbers[f"resnet-{depth}"] = {"kept": kept.tolist()} | found
    return figures, numbers


def build(lab, depth, most, **options):
    return ShortPaths(begun(lab, f"resnet-{depth}", **options), most)
