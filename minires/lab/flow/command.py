"""Per block: how large the gradient is that enters it, how much of it leaves through the shortcut and how much through
the branch, and how fast the weights learn; with batch norm and without, plain and residual::

    minires lab flow                               # synthetic images, a few minutes
    minires lab flow --data cifar10 --nets plain resnet preact --depths 56 --seeds 0 1 2 3
    minires lab flow --data cifar10 --pretrained   # the trained nets that come with minires
"""

import numpy as np

from minires.figures import noted
from minires.lab.controls import without_batchnorm
from minires.lab.experiment import Table, lab_options
from minires.lab.flow.figure import flow_history_figure, river_figure
from minires.probe import gradient_flow


def add_options(parser):
    lab_options(parser, nets=["plain", "resnet"], depths=[20, 56], steps=160, several_seeds=True)
    add = parser.add_argument
    add("--batch-norm", choices=["both", "with", "without"], default="both", help="(default: both)")
    add("--bare-lr", type=float, default=0.01, metavar="RATE", help="learning rate without batch norm (default: 0.01)")


def run(lab):
    options, batch, subjects = lab.options, lab.batch(), lab.subjects()
    histories, bare, numbers, figures = {}, {}, [], {}
    lab.say(lab.setting())
    ratios = "|dy| first/last:.3g", "per block:.3f", "shortcut:.0%", "|dW|/|W| first/last:.3g"
    table = Table("network", "step", "error:.1%", *ratios)
    for subject in subjects:
        net, name = subject.name, f"{subject.name}, seed {subject.seed}" if options.seeds[1:] else subject.name
        if options.batch_norm != "with" and subject.fresh:
            twin = subject._replace(net=without_batchnorm(subject.net), rng=np.random.default_rng(subject.seed))
            moments = twin.watched(lab, f"{name} without", options.bare_lr)
            watch(moments, twin, f"{name} without", batch, table, numbers, bare.setdefault(net, {}))
        if options.batch_norm != "without":
            watch(subject.watched(lab, name), subject, name, batch, table, numbers, histories.setdefault(net, {}))
    without = f"{lab.setting(lr=options.bare_lr)} Without batch norm."
    for kind, found, note in (("", histories, lab.note), ("-without-batch-norm", bare, without)):
        if found:
            figures[f"gradient-flow{kind}"] = noted(flow_history_figure(found), note)
        for i in range(max(map(len, found.values()), default=0)):  # the start, ..., the end of each net
            steps = {name: sorted(history)[i] for name, history in found.items() if len(history) > i}
            flows = {f"{name}\nstep {step:,}": found[name][step][0] for name, step in steps.items()}
            first = f" Drawn: seed {options.seeds[0]}." if options.seeds[1:] else ""
            figures[f"river{kind}-step-{max(steps.values())}"] = noted(river_figure(flows), note + first)
    return figures, numbers


def watch(moments, subject, name, batch, table, numbers, history):
    """Add one network to ``history``, {step: [gradient flow of each seed]}; print and keep a row for each moment."""
    for snapshot in moments:
        flow = gradient_flow(subject.net.train(), *batch)
        history.setdefault(snapshot.step, []).append(flow)
        first, last = flow[0], flow[-1]
        growth = first.entering / last.entering if last.entering else float("nan")  # nan: all units are dead
        by_shortcut = np.mean([row.shortcut**2 / (row.shortcut**2 + row.branch**2 or 1) for row in flow])
        ratio = first.weight_ratio / last.weight_ratio if last.weight_ratio else float("nan")
        per_block = growth ** (1 / (len(flow) - 1))
        table.row(name, snapshot.step, snapshot.error, growth, per_block, by_shortcut, ratio)
        numbers.append(subject.about(snapshot, blocks=[row._asdict() for row in flow]) | {"net": name})
