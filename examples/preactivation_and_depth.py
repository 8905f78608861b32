"""Does the order of batch norm, ReLU and convolution matter more in a deeper net? After He et al. 2016.

The original block ends relu(x + F(x)); the pre-activation block x + F(x), with batch norm and ReLU in front of each
convolution. The paper found 6.61 against 6.37 % test error with 110 layers, and 7.61 against 4.92 % with 1001. Here
both orders are trained at growing depth, with one seed, one recipe and the same batches. Try it::

    python examples/preactivation_and_depth.py                              # synthetic images, some minutes
    python examples/preactivation_and_depth.py --data cifar10 --steps 2000

Every network is trained in a folder of its own. Ctrl-C at any time: the same command goes on.
"""

import sys
from collections import defaultdict
from itertools import product

import numpy as np
from experiment import (
    batch_of,
    errors_in_one_line,
    keep,
    load_data,
    network_of,
    output_folder,
    setting,
    train_in_folder,
    training_parser,
)

from minires.lab.degradation import final_errors, percent
from minires.plots import preactivation_figure
from minires.probe import gradient_flow

# Test errors in % of He et al. 2016, Tables 2 and 4; 164 and 1001 layers have bottlenecks.
PUBLISHED = {("resnet", 110): "6.61", ("preact", 110): "6.37"}


def main(arguments=None):
    options = training_parser(
        "preactivation-and-depth",
        "Train the original and the pre-activation order at growing depth.",
        nets=["resnet", "preact"],
        depths=[20, 56, 110],
        steps=600,
    ).parse_args(arguments)
    with errors_in_one_line(options.script):
        train_set, test_set = load_data(options)
        test_set, options.out = test_set[: options.images], output_folder(options)
        unknown = set(options.nets) - {"resnet", "preact"}
        if unknown:
            raise ValueError(f"--nets: expected resnet, preact or both, got {sorted(unknown)[0]!r}.")
        note = setting(options, train_set, "test")
        print(f"{note}\n{'network':12}{'|dy| first/last':>16}{'training error':>18}{'test error':>18}  He et al., test")
        flows, logs, numbers = {}, defaultdict(list), []
        for depth, net in product(sorted(set(options.depths)), options.nets):
            fresh = network_of(net, depth, classes=len(train_set.classes), rng=start_of(options.seeds[0]))
            flow = flows[net, depth] = gradient_flow(fresh, *batch_of(train_set, 64))
            for seed in options.seeds:
                _, log = train_in_folder(net, depth, seed, (train_set, test_set), options)
                logs[net, depth].append(log)
            training, _, test = zip(*map(final_errors, logs[net, depth]))
            growth = flow[0].entering / flow[-1].entering
            row = f"{f'{net}-{depth}':12}{growth:16.3g}{percent(training):>18}{percent(test):>18}"
            print(f"{row}  {PUBLISHED.get((net, depth), 'none')}")
            numbers.append({"net": net, "depth": depth, "growth": growth, "training": training, "test": test})
        print("\n" + verdict(numbers))
        keep(options, train_set, {"preactivation": preactivation_figure(logs, flows, note)}, numbers, note)


def start_of(seed):
    return np.random.default_rng(seed).spawn(2)[0]  # the stream of the net, as in train_in_folder


def verdict(numbers):
    """By how much pre-activation is ahead at each depth, in points of error."""
    mean = {(row["net"], row["depth"]): [100 * np.mean(row[of]) for of in ("training", "test")] for row in numbers}
    said = []
    for depth in sorted({depth for _, depth in mean}):
        if ("resnet", depth) in mean and ("preact", depth) in mean:
            ahead = np.subtract(mean["resnet", depth], mean["preact", depth])
            said.append(
                f"{depth} layers: pre-activation is ahead by {ahead[0]:+.1f} (training), {ahead[1]:+.1f} (test)."
            )
    return "\n".join(said)


if __name__ == "__main__":
    sys.exit(main())
