"""Networks that differ in one thing: looked at before training, then trained on the same batches."""

import numpy as np

from minires.lab.experiment import Table, for_images
from minires.lab.snapshots import snapshots
from minires.lab.subjects import shipped_for
from minires.networks import network
from minires.pretrained import pretrained
from minires.train import evaluate


def begin_option(parser):
    """Add the option that says with which weights nets begin, for ``begun``."""
    words = "go on from the trained network that comes with minires: as it stood early in its training, or at the end"
    parser.add_argument("--begin", choices=["early", "final"], help=words)


def begun(lab, name, **options):
    """Return a fresh network; or with ``--begin`` the one of that name that comes with minires."""
    if not lab.options.begin:
        return network(name, **options)
    shipped_for(name, lab.train_set)
    return pretrained(name, lab.options.begin).train()


def compare(lab, nets, look=lambda net: {}, during=lambda net, part: None):
    """Train every net from every seed; return {name: [found of each seed]} and print a row for each.

    ``nets`` are ``{name: function of (classes, ..., rng)}``, which returns the net; of one seed all get the same stream
    of weights, and see the same batches. ``look(net)`` returns {name: number} of a net before training; ``during(net,
    part)`` is called before each step, when this part of the steps is done. Found are a dict ``before``, what ``look``
    returned; ``errors``, the training error of each step; ``training``, its mean over the last third of the steps, nan
    without steps; ``test``, the test error.
    """
    options, found, table = lab.options, {}, None
    for name, build in nets.items():
        found[name] = []
        for seed in options.seeds:
            net_rng, data_rng = np.random.default_rng(seed).spawn(2)
            net, errors = build(**for_images(lab.train_set), rng=net_rng), []
            before, training, test = look(net), float("nan"), float("nan")
            at = {"batch_size": options.batch_size, "lr": options.lr, "rng": data_rng, "title": f"{name}, seed {seed}"}
            if options.steps:
                for snapshot in snapshots(net, lab.train_set, range(options.steps + 1), **at):
                    errors += [snapshot.error] * (snapshot.step > 0)
                    during(net, snapshot.step / options.steps)
                training = float(np.mean(errors[2 * len(errors) // 3 :]))
                test = evaluate(net, lab.test_set[: options.images])[0]
            found[name].append({"before": before, "errors": errors, "training": training, "test": test})
            columns = *(f"{of}:.3g" for of in before), "training error:.1%", "test error:.1%"
            table = table or Table("network", "seed", *columns)
            table.row(name, seed, *before.values(), training, test)
    return found


def column(found, name):
    """[[a number of each seed] of each net]: ``training`` or ``test`` in %, or a name of what was measured before."""
    if name in ("training", "test"):
        return [[100 * one[name] for one in seeds] for seeds in found.values()]
    return [[one["before"][name] for one in seeds] for seeds in found.values()]
