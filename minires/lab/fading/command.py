"""How much of a shortcut does a residual net need?

y = relu(F(x) + lambda x): what is lost between lambda = 1, the residual net, and 0, the plain one; and what becomes
of a net whose lambda falls from 1 to 0 in the middle third of its training::

    minires lab fading                                          # synthetic images, some minutes
    minires lab fading --data cifar10 --seeds 0 1 2 --depths 20 --fade
    minires lab fading --data cifar10 --steps 0 --depths 20 56  # at the start only
"""

from functools import partial

from minires.lab.comparison import compare
from minires.lab.experiment import Experiment, by_name, training_options, whole
from minires.lab.fading.measure import falling, set_shortcuts, with_scaled_shortcuts
from minires.lab.start.measure import at_the_start


def add_options(parser):
    training_options(parser, nets=None, depths=[20], steps=300, least=whole)
    add = parser.add_argument
    add("--factors", nargs="+", type=float, default=[0, 0.25, 0.5, 0.75, 1], metavar="LAMBDA", help="(default: 0 to 1)")
    add("--fade", action="store_true", help="also train nets whose lambda falls from 1 to 0")
    parser.set_defaults(images=1000, lr=0.1)


def run(options):
    from minires.lab.fading.figure import factors_figure, fading_figure  # here: matplotlib takes a while to load

    lab, factors = Experiment(options), sorted(set(options.factors))
    batch, note = lab.batch(64), f"{lab.setting('test')} At the start: 64 training images."
    print(note)
    found, figures = {}, {}
    for depth in options.depths:
        nets = {f"resnet-{depth}, lambda {factor:g}": partial(build, depth, factor) for factor in factors}
        found[depth] = compare(lab, nets, look=lambda net: at_the_start(net, *batch))
    figures["factors"] = factors_figure(found, factors, note)
    if options.fade and options.steps:
        for depth, nets in found.items():
            name = f"resnet-{depth}, lambda from 1 to 0"
            nets |= compare(lab, {name: partial(build, depth, 1)}, during=fade)
            figures[f"fading-{depth}"] = fading_figure(nets, f"{note} Batches with random crops and flips.")
    numbers = {
        str(depth): {name: [one._asdict() for one in seeds] for name, seeds in nets.items()}
        for depth, nets in found.items()
    }
    lab.keep(figures, numbers, note)


def fade(name, net, part):
    set_shortcuts(net, falling(part))


def build(depth, factor, classes, rng):
    return with_scaled_shortcuts(by_name("resnet", depth, classes=classes, rng=rng), factor)
