"""After Zagoruyko and Komodakis 2016: pre-activation nets of different depth, each as wide as makes it cost as many
multiply-adds as the deepest, trained on the same batches. Milliseconds per step are printed beside multiply-adds; they
mean something on a machine that does nothing else::

    minires lab width                              # synthetic images, some minutes
    minires lab width --data cifar10 --steps 2000
"""

from functools import partial

import numpy as np

from minires.lab.degradation.measure import percent
from minires.lab.experiment import Table, positive, training_options
from minires.lab.width.figure import width_figure
from minires.lab.width.measure import milliseconds, net_of_width, width_at_cost
from minires.walk import summary


def add_options(parser):
    training_options(parser, nets=None, depths=[10, 16, 28, 58], steps=600)
    parser.add_argument("--width", type=positive, default=16, metavar="CHANNELS", help="of the deepest (default: 16)")


def run(lab):
    options, depths = lab.options, sorted(lab.options.depths)
    data = lab.train_set, lab.test_set[: options.images]
    cost = summary(net_of_width(depths[-1], options.width, rng=0)).multiply_adds
    widths = {depth: width_at_cost(depth, cost) for depth in depths[:-1]} | {depths[-1]: options.width}
    lab.say(lab.setting("test"))
    table = Table("layers x width", "multiply-adds:,", "parameters:,", "training error", "test error", first=16)
    logs, ends, numbers = {}, {}, []
    for depth, width in widths.items():
        build = partial(net_of_width, depth, width)
        net, log, training, test = lab.train_seeds(f"wide{width}", depth, data, build=build)
        size = summary(net, lab.train_set.images.shape[1:])
        logs[depth, width], ends[depth, width] = log, (np.mean(training), np.mean(test), size.parameters)
        sizes = {"multiply_adds": size.multiply_adds, "parameters": size.parameters}
        table.row(f"{depth} x {width}", *sizes.values(), percent(training), percent(test))
        errors = {"training": training, "test": test, "ms": milliseconds(log, options.batch_size)}
        numbers.append({"depth": depth, "width": width, **sizes, **errors})
    times = ", ".join(f"{row['depth']} x {row['width']}: {row['ms']:.0f}" for row in numbers)
    print(f"\nMilliseconds per step, if nothing else was running: {times}")
    return {"width-or-depth": width_figure(logs, ends)}, numbers
