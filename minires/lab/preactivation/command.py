"""After He et al. 2016: 6.61 against 6.37 % test error with 110 layers, and 7.61 against 4.92 % with 1001. Here both
orders are trained at growing depth, with one seed, one recipe and the same batches::

    minires lab preactivation                              # synthetic images, some minutes
    minires lab preactivation --data cifar10 --steps 2000
"""

from itertools import product

import numpy as np

from minires.lab.degradation.measure import percent
from minires.lab.experiment import Table, for_images, training_options
from minires.lab.preactivation.figure import preactivation_figure
from minires.networks import network
from minires.probe import gradient_flow

PUBLISHED = {("resnet", 110): "6.61", ("preact", 110): "6.37"}  # test errors in %, Table 2


def add_options(parser):
    training_options(parser, nets=["resnet", "preact"], depths=[20, 56, 110], steps=600)


def run(lab):
    options, data = lab.options, (lab.train_set, lab.test_set[: lab.options.images])
    unknown = set(options.nets) - {"resnet", "preact"}
    if unknown:
        raise ValueError(f"--nets: expected resnet, preact or both, got {sorted(unknown)[0]!r}.")
    lab.check_networks()
    lab.say(lab.setting("test"))
    table = Table("network", "|dy| first/last:.3g", "training error", "test error", "He et al., test", first=12)
    flows, logs, numbers = {}, {}, []
    for depth, net in product(sorted(options.depths), options.nets):
        rng = np.random.default_rng(options.seeds[0]).spawn(2)[0]  # with which Experiment.train begins
        fresh = network(f"{net}-{depth}", **for_images(lab.train_set), rng=rng)
        flow = flows[net, depth] = gradient_flow(fresh, *lab.batch(64))
        _, logs[net, depth], training, test = lab.train_seeds(net, depth, data)
        growth, there = flow[0].entering / flow[-1].entering, PUBLISHED.get((net, depth), "none")
        table.row(f"{net}-{depth}", growth, percent(training), percent(test), there)
        numbers.append({"net": net, "depth": depth, "growth": growth, "training": training, "test": test})
    print("\n" + verdict(numbers))
    return {"preactivation": preactivation_figure(logs, flows)}, numbers


def verdict(numbers):
    """Say by how much pre-activation is ahead at each depth, in points of error.

    ``numbers`` are dicts of ``net, depth, training, test``; the last two are lists of an error per seed.
    """
    mean = {(row["net"], row["depth"]): [100 * np.mean(row[of]) for of in ("training", "test")] for row in numbers}
    said = []
    for depth in sorted({depth for _, depth in mean}):
        if ("resnet", depth) in mean and ("preact", depth) in mean:
            ahead = np.subtract(mean["resnet", depth], mean["preact", depth])
            points = f"{ahead[0]:+.1f} (training), {ahead[1]:+.1f} (test)"
            said.append(f"{depth} layers: pre-activation is ahead by {points}.")
    if said and any(len(row["test"]) == 1 for row in numbers):
        said.append("One seed: another one may move each by several points.")
    return "\n".join(said)
