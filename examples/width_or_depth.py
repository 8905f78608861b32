"""Many narrow layers or few wide ones, at the same cost? After Zagoruyko and Komodakis 2016.

Pre-activation nets of different depth, each as wide as makes it cost as many multiply-adds as the deepest. They are
trained for the same number of steps on the same batches. Multiply-adds are what a paper counts; milliseconds a step are
printed beside them, and mean something on a machine that does nothing else. Try it::

    python examples/width_or_depth.py                              # synthetic images, some minutes
    python examples/width_or_depth.py --data cifar10 --steps 2000

Every network is trained in a folder of its own. Ctrl-C at any time: the same command goes on.
"""

import sys
from functools import partial

import numpy as np
from experiment import (
    errors_in_one_line,
    keep,
    load_data,
    output_folder,
    positive,
    setting,
    train_in_folder,
    training_parser,
)

from minires.lab.degradation import final_errors, percent
from minires.lab.width import net_of_width, width_at_cost
from minires.plots import width_figure
from minires.walk import summary


def main(arguments=None):
    options = read_options(arguments)
    with errors_in_one_line(options.script):
        train_set, test_set = load_data(options)
        test_set, options.out = test_set[: options.images], output_folder(options)
        depths = sorted(set(options.depths))
        cost = summary(net_of_width(depths[-1], options.width, rng=0)).multiply_adds
        note = setting(options, train_set, "test")
        print(f"{note}\n{HEAD}")
        logs, ends, numbers = {}, {}, []
        for depth in depths:
            width = options.width if depth == depths[-1] else width_at_cost(depth, cost)
            build = partial(build_wide, width=width)
            seeds = [
                train_in_folder(f"wide{width}", depth, seed, (train_set, test_set), options, build)
                for seed in options.seeds
            ]
            size, log = summary(seeds[0][0]), [log for _, log in seeds]
            training, _, test = zip(*map(final_errors, log))
            logs[depth, width], ends[depth, width] = log, (np.mean(training), np.mean(test), size.parameters)
            row = f"{f'{depth} x {width}':16}{size.multiply_adds:>15,}{size.parameters:>12,}"
            print(f"{row}{percent(training):>18}{percent(test):>18}")
            sizes = {
                "multiply_adds": size.multiply_adds,
                "parameters": size.parameters,
                "ms": milliseconds(log, options.batch_size),
            }
            numbers.append({"depth": depth, "width": width, **sizes, "training": training, "test": test})
        times = ", ".join(f"{row['depth']} x {row['width']}: {row['ms']:.0f}" for row in numbers)
        print(f"\nMilliseconds a step, if nothing else was running: {times}")
        keep(options, train_set, {"width-or-depth": width_figure(logs, ends, note)}, numbers, note)


HEAD = f"{'layers x width':16}{'multiply-adds':>15}{'parameters':>12}{'training error':>18}{'test error':>18}"


def read_options(arguments):
    parser = training_parser("width-or-depth", "Train nets of one cost.", nets=None, depths=[10, 16, 28, 58], steps=600)
    parser.add_argument("--width", type=positive, default=16, metavar="CHANNELS", help="of the deepest (default: 16)")
    return parser.parse_args(arguments)


def build_wide(kind, depth, width, **options):
    return net_of_width(depth, width, **options)


def milliseconds(logs, batch_size):
    """Of a step: the median over the lines of the logs, since the first steps also compile kernels."""
    rates = [line["images_per_second"] for log in logs for line in log if line["kind"] == "train"]
    return 1000 * batch_size / float(np.median(rates))


if __name__ == "__main__":
    sys.exit(main())
