"""Many narrow layers or few wide ones, at the same cost? After Zagoruyko and Komodakis 2016.

Pre-activation nets of different depth, each as wide as makes it cost as many multiply-adds as the deepest. They are
trained for the same number of steps on the same batches. Multiply-adds are what a paper counts; milliseconds per step
are printed beside them, and mean something on a machine that does nothing else. Try it::

    minires lab width                              # synthetic images, some minutes
    minires lab width --data cifar10 --steps 2000

Every network is trained in a folder of its own. Ctrl-C at any time: the same command goes on.
"""

import numpy as np

from minires.lab.degradation.measure import final_errors, percent
from minires.lab.experiment import Experiment, Table, positive, training_options
from minires.lab.width.measure import milliseconds, net_of_width, width_at_cost
from minires.walk import summary


def add_options(parser):
    training_options(parser, nets=None, depths=[10, 16, 28, 58], steps=600)
    parser.add_argument("--width", type=positive, default=16, metavar="CHANNELS", help="of the deepest (default: 16)")


def run(options):
    from minires.lab.width.figure import width_figure  # here: matplotlib takes a while to load

    lab, depths = Experiment(options), sorted(set(options.depths))
    data, note = (lab.train_set, lab.test_set[: options.images]), lab.setting("test")
    cost = summary(net_of_width(depths[-1], options.width, rng=0)).multiply_adds
    widths = {depth: width_at_cost(depth, cost) for depth in depths[:-1]} | {depths[-1]: options.width}
    print(note)
    table = Table("layers x width", "multiply-adds", "parameters", "training error", "test error", first=16)
    logs, ends, numbers = {}, {}, []
    for depth, width in widths.items():

        def build(kind, depth, width=width, **given):
            return net_of_width(depth, width, **given)

        seeds = [lab.train(f"wide{width}", depth, seed, data, build) for seed in options.seeds]
        size, log = summary(seeds[0][0], lab.train_set.images.shape[1:]), [log for _, log in seeds]
        training, _, test = zip(*map(final_errors, log))
        logs[depth, width], ends[depth, width] = log, (np.mean(training), np.mean(test), size.parameters)
        counts = f"{size.multiply_adds:,}", f"{size.parameters:,}"
        table.row(f"{depth} x {width}", *counts, percent(training), percent(test))
        sizes = {"multiply_adds": size.multiply_adds, "parameters": size.parameters}
        errors = {"training": training, "test": test, "ms": milliseconds(log, options.batch_size)}
        numbers.append({"depth": depth, "width": width, **sizes, **errors})
    times = ", ".join(f"{row['depth']} x {row['width']}: {row['ms']:.0f}" for row in numbers)
    print(f"\nMilliseconds per step, if nothing else was running: {times}")
    lab.keep({"width-or-depth": width_figure(logs, ends, note)}, numbers, note)
