"""Is it the start or the shortcut that plain nets lack?

A plain net whose convolutions begin as the identity plus He's weights times --noise has no shortcut, and starts near
one. It is compared with the usual plain net and with the residual one: how the gradient grows, how soon it changes
from image to image, and what training makes of it::

    minires lab start                                        # synthetic images, some minutes
    minires lab start --data cifar10 --seeds 0 1 2 --depths 56
    minires lab start --data cifar10 --steps 0 --noise 0 0.25 0.5 1    # at the start only
"""

from functools import partial

from minires.lab.comparison import compare
from minires.lab.experiment import Experiment, by_name, training_options, whole
from minires.lab.start.measure import as_identity, at_the_start


def add_options(parser):
    training_options(parser, nets=None, depths=[56], steps=300, least=whole)
    parser.add_argument("--noise", nargs="+", type=float, default=[0.5], help="parts of He's weights (default: 0.5)")
    parser.set_defaults(images=1000, lr=0.1)


def run(options):
    from minires.lab.start.figure import start_figure  # here: matplotlib takes a while to load

    lab, nets = Experiment(options), {}
    for depth in options.depths:
        nets[f"plain-{depth}"] = partial(build, "plain", depth, None)
        for noise in options.noise:
            nets[f"plain-{depth}, I + {noise:g} He"] = partial(build, "plain", depth, noise)
        nets[f"resnet-{depth}"] = partial(build, "resnet", depth, None)
    batch = lab.batch(64)
    note = f"{lab.setting('test')} At the start: 64 training images."
    print(note)
    found = compare(lab, nets, look=lambda net: at_the_start(net, *batch))
    lab.keep(
        {"start": start_figure(found, note)}, {name: [one._asdict() for one in found[name]] for name in found}, note
    )


def build(kind, depth, noise, classes, rng):
    net = by_name(kind, depth, classes=classes, rng=rng)
    return net if noise is None else as_identity(net, noise)
