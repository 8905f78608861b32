"""Does the order of batch norm, ReLU and convolution matter more in a deeper net? After He et al. 2016.

The original block ends relu(x + F(x)); the pre-activation block x + F(x), with batch norm and ReLU in front of each
convolution. The paper found 6.61 against 6.37 % test error with 110 layers, and 7.61 against 4.92 % with 1001. Here
both orders are trained at growing depth, with one seed, one recipe and the same batches. Try it::

    minires lab preactivation                              # synthetic images, some minutes
    minires lab preactivation --data cifar10 --steps 2000

Every network is trained in a folder of its own. Ctrl-C at any time: the same command goes on.
"""

from collections import defaultdict
from itertools import product

import numpy as np

from minires.lab.degradation.measure import final_errors, percent
from minires.lab.experiment import Experiment, Table, by_name, for_images, training_options
from minires.lab.preactivation.measure import PUBLISHED, verdict
from minires.probe import gradient_flow


def add_options(parser):
    training_options(parser, nets=["resnet", "preact"], depths=[20, 56, 110], steps=600)


def run(options):
    from minires.lab.preactivation.figure import preactivation_figure  # here: matplotlib takes a while to load

    unknown = set(options.nets) - {"resnet", "preact"}
    if unknown:
        raise ValueError(f"--nets: expected resnet, preact or both, got {sorted(unknown)[0]!r}.")
    lab = Experiment(options)
    lab.check_networks()
    data, note = (lab.train_set, lab.test_set[: options.images]), lab.setting("test")
    print(note)
    table = Table("network", "|dy| first/last", "training error", "test error", "He et al., test", first=12)
    flows, logs, numbers = {}, defaultdict(list), []
    for depth, net in product(sorted(set(options.depths)), options.nets):
        fresh = by_name(net, depth, **for_images(lab.train_set), rng=start_of(options.seeds[0]))
        flow = flows[net, depth] = gradient_flow(fresh, *lab.batch(64))
        for seed in options.seeds:
            logs[net, depth].append(lab.train(net, depth, seed, data)[1])
        training, _, test = zip(*map(final_errors, logs[net, depth]))
        growth = flow[0].entering / flow[-1].entering
        there = PUBLISHED.get((net, depth), "none")
        table.row(f"{net}-{depth}", f"{growth:.3g}", percent(training), percent(test), there)
        numbers.append({"net": net, "depth": depth, "growth": growth, "training": training, "test": test})
    print("\n" + verdict(numbers))
    lab.keep({"preactivation": preactivation_figure(logs, flows, note)}, numbers, note)


def start_of(seed):
    """Return the stream of the net, as ``Experiment.train`` spawns it."""
    return np.random.default_rng(seed).spawn(2)[0]
