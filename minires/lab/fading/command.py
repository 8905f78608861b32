"""y = relu(F(x) + lambda x): what is lost between lambda = 1, the residual net, and 0, the plain one; and what becomes
of a net whose lambda falls from 1 to 0 in the middle third of its training? Try it::

    minires lab fading                                          # synthetic images, some minutes
    minires lab fading --data cifar10 --seeds 0 1 2 --depths 20 --fade
    minires lab fading --data cifar10 --steps 0 --depths 20 56  # at the start only
    minires lab fading --data cifar10 --begin final --lr 0.01 --factors 0 1 --fade     # of a trained net
"""

from functools import partial

from minires.figures import noted
from minires.lab.comparison import begin_option, begun, compare
from minires.lab.experiment import several, training_options, whole
from minires.lab.fading.figure import factors_figure, fading_figure
from minires.lab.fading.measure import falling, set_shortcuts, with_scaled_shortcuts
from minires.lab.start.measure import at_the_start


def add_options(parser):
    training_options(parser, nets=None, depths=[20], steps=300, least=whole, images=1000, lr=0.1)
    several(parser, "--factors", float, [0, 0.25, 0.5, 0.75, 1], metavar="LAMBDA")
    parser.add_argument("--fade", action="store_true", help="also train nets whose lambda falls from 1 to 0")
    begin_option(parser)


def run(lab):
    options, batch, found, figures = lab.options, lab.batch(64), {}, {}
    factors = sorted(options.factors)
    lab.say(f"{lab.setting('test')} At the start: 64 training images.")
    for depth in options.depths:
        nets = {f"resnet-{depth}, lambda {factor:g}": partial(build, lab, depth, factor) for factor in factors}
        found[depth] = compare(lab, nets, look=lambda net: at_the_start(net, *batch))
    figures["factors"] = factors_figure(found, factors)
    if options.fade and options.steps:
        for depth, nets in found.items():
            name = f"resnet-{depth}, lambda from 1 to 0"
            nets |= compare(
                lab, {name: partial(build, lab, depth, 1)}, during=lambda net, part: set_shortcuts(net, falling(part))
            )
            figures[f"fading-{depth}"] = noted(fading_figure(nets), f"{lab.note} Batches with random crops and flips.")
    return figures, found


def build(lab, depth, factor, **options):
    return with_scaled_shortcuts(begun(lab, f"resnet-{depth}", **options), factor)
