"""A plain net whose convolutions begin as the identity plus He's weights times --noise has no shortcut, and starts
near one. How does its gradient grow, and what does training make of it, beside the usual plain net and the residual
one? Try it::

    minires lab start                                        # synthetic images, some minutes
    minires lab start --data cifar10 --seeds 0 1 2 --depths 56
    minires lab start --data cifar10 --steps 0 --noise 0 0.25 0.5 1    # at the start only
"""

from functools import partial

from minires.lab.comparison import compare
from minires.lab.experiment import several, training_options, whole
from minires.lab.start.figure import start_figure
from minires.lab.start.measure import as_identity, at_the_start
from minires.networks import network


def add_options(parser):
    training_options(parser, nets=None, depths=[56], steps=300, least=whole, images=1000, lr=0.1)
    several(parser, "--noise", float, [0.5], "parts of He's weights")


def run(lab):
    nets, batch = {}, lab.batch(64)
    for depth in lab.options.depths:
        nets[f"plain-{depth}"] = partial(network, f"plain-{depth}")
        for noise in lab.options.noise:
            nets[f"plain-{depth}, I + {noise:g} He"] = partial(near_the_identity, depth, noise)
        nets[f"resnet-{depth}"] = partial(network, f"resnet-{depth}")
    lab.say(f"{lab.setting('test')} At the start: 64 training images.")
    found = compare(lab, nets, look=lambda net: at_the_start(net, *batch))
    return {"start": start_figure(found)}, found


def near_the_identity(depth, noise, **options):
    return as_identity(network(f"plain-{depth}", **options), noise)
