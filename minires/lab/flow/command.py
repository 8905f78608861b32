"""Where does the gradient go, at the start and as a network trains?

Per block: how large the gradient is that enters it, how much of it leaves through the shortcut and how much through
the branch, and how fast the weights learn; with batch norm and without, plain and residual. Try it::

    minires lab flow                               # synthetic images, a few minutes
    minires lab flow --data cifar10 --nets plain resnet preact --depths 56
    minires lab flow --runs runs/cifar10-30m       # networks that degradation_cifar.py trained
"""

import numpy as np

from minires.lab.controls import without_batchnorm
from minires.lab.experiment import Experiment, Table, lab_options, number
from minires.probe import gradient_flow
from minires.train import Diverged


def add_options(parser):
    lab_options(parser, nets=["plain", "resnet"], depths=[20, 56], steps=160, several_seeds=True)
    add = parser.add_argument
    add("--batch-norm", choices=["both", "with", "without"], default="both", help="(default: both)")
    add("--bare-lr", type=float, default=0.01, metavar="RATE", help="learning rate without batch norm (default: 0.01)")


def run(options):
    from minires.lab.flow.figure import flow_history_figure, river_figure  # here: matplotlib takes a while to load

    lab = Experiment(options)
    batch, subjects = lab.batch(), lab.subjects()
    histories, bare, numbers = {}, {}, []
    print(lab.setting())
    ratios = "|dy| first/last", "per block", "shortcut", "|dW|/|W| first/last"
    table = Table("network", "step", "error", *ratios)
    for subject in subjects:
        name = subject.name if not options.seeds[1:] else f"{subject.name}, seed {subject.seed}"
        if options.batch_norm != "with" and subject.fresh:
            twin = subject._replace(net=without_batchnorm(subject.net), rng=np.random.default_rng(subject.seed))
            bare[name] = watch(twin, f"{name} without", lab, batch, table, numbers, options.bare_lr)
        if options.batch_norm != "without":
            histories[name] = watch(subject, name, lab, batch, table, numbers)
    figures = {}
    notes = {"": lab.setting(), "-without-batch-norm": f"{lab.setting(lr=options.bare_lr)} Without batch norm."}
    for kind, found in (("", histories), ("-without-batch-norm", bare)):
        if not found:
            continue
        figures[f"gradient-flow{kind}"] = flow_history_figure(found, notes[kind])
        for step in sorted({step for history in found.values() for step in history}):
            flows = {f"{name}\nstep {step:,}": history[step] for name, history in found.items() if step in history}
            figures[f"river{kind}-step-{step}"] = river_figure(flows, notes[kind])
    lab.keep(figures, numbers, lab.setting())


def watch(subject, name, lab, batch, table, numbers, lr=None):
    """Return {step: gradient flow} of one network; prints a row for each and appends it to ``numbers``."""
    history, steps = {}, lab.options.steps
    try:
        for snapshot in subject.moments(lab, [0, steps // 16, steps // 4, steps], lr):
            subject.net.train()
            flow = history[snapshot.step] = gradient_flow(subject.net, *batch)
            first, last = flow[0], flow[-1]
            growth = first.entering / last.entering if last.entering else float("nan")  # nan: all units are dead
            by_shortcut = np.mean([row.shortcut**2 / (row.shortcut**2 + row.branch**2 or 1) for row in flow])
            ratio = first.weight_ratio / last.weight_ratio if last.weight_ratio else float("nan")
            per_block = growth ** (1 / (len(flow) - 1))
            found = number(growth), number(per_block, ".3f"), f"{by_shortcut:.0%}", number(ratio)
            table.row(name, snapshot.step, number(snapshot.error, ".1%"), *found)
            blocks = [row._asdict() for row in flow]
            numbers.append({"net": name, "seed": subject.seed, **snapshot._asdict(), "blocks": blocks})
    except Diverged as error:
        print(f"{name:24}{error}")
    return history
