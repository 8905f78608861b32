"""Networks that differ in one thing: looked at before training, then trained on the same batches."""

from typing import NamedTuple

import numpy as np

from minires.lab.experiment import Table, number
from minires.lab.snapshots import snapshots
from minires.train import evaluate


class Trained(NamedTuple):
    """One network of a comparison; see ``compare``."""

    before: dict  # {name: number}, measured before the first step
    errors: list  # training error of each step
    training: float  # mean over the last third of the steps; nan without steps
    test: float


def compare(lab, nets, look=lambda net: {}, during=None):
    """Train every net from every seed; return {name: [Trained of each seed]} and print a row for each.

    Parameters
    ----------
    lab : Experiment
        Its options are those of ``training_options``.
    nets : dict
        ``{name: function of (classes, rng)}``, which returns the net. Of one seed all get the same stream of weights,
        and see the same batches.
    look : function of net, optional
        Returns {name: number} of the net before training.
    during : function of (name, net, part), optional
        Called before each step; ``part`` of the steps are done.
    """
    options, found, table = lab.options, {}, None
    for name, build in nets.items():
        found[name] = []
        for seed in options.seeds:
            net_rng, data_rng = np.random.default_rng(seed).spawn(2)
            net, errors, test = build(len(lab.train_set.classes), net_rng), [], float("nan")
            before = look(net)
            at = {"batch_size": options.batch_size, "lr": options.lr, "rng": data_rng, "title": f"{name}, seed {seed}"}
            if options.steps:
                for snapshot in snapshots(net, lab.train_set, range(options.steps + 1), **at):
                    errors += [snapshot.error] * (snapshot.step > 0)
                    if during:
                        during(name, net, snapshot.step / options.steps)
                test = evaluate(net, lab.test_set[: options.images])[0]
            last = errors[2 * len(errors) // 3 :]
            found[name].append(Trained(before, errors, float(np.mean(last)) if last else float("nan"), test))
            table = table or Table("network", "seed", *before, "training error", "test error")
            *numbers, training, tested = [*before.values(), found[name][-1].training, test]
            table.row(name, seed, *map(number, numbers), number(training, ".1%"), number(tested, ".1%"))
    return found


def column(found, name):
    """[[a number of each seed] of each net]: ``training`` or ``test`` in %, or a name of what was measured before."""
    if name in Trained._fields:
        return [[100 * getattr(one, name) for one in seeds] for seeds in found.values()]
    return [[one.before[name] for one in seeds] for seeds in found.values()]
