"""Where does the gradient go, at the start and as a network trains?

Per block: how large the gradient is that enters it, how much of it leaves through the shortcut and how much through
the branch, and how fast the weights learn; with batch norm and without, plain and residual. Try it::

    python examples/gradient_flow.py                               # synthetic images, a few minutes
    python examples/gradient_flow.py --data cifar10 --nets plain resnet preact --depths 56
    python examples/gradient_flow.py --runs runs/cifar10-30m       # networks that degradation_cifar.py trained
"""

import sys
from argparse import Namespace

import numpy as np
from experiment import batch_of, errors_in_one_line, keep, lab_parser, load_data, setting, subjects

from minires.lab.variants import without_batchnorm
from minires.plots import flow_history_figure, river_figure
from minires.probe import gradient_flow
from minires.train import Diverged


def main(arguments=None):
    options = read_options(arguments)
    with errors_in_one_line(options.script):
        train_set, _ = load_data(options)
        x, labels = batch_of(train_set, options.images)
        at = sorted({0, options.steps // 16, options.steps // 4, options.steps})
        histories, bare, numbers = {}, {}, []
        chosen = subjects(options, train_set)
        print(f"{setting(options, train_set)}\n{HEAD}")
        for subject in chosen:
            name = subject.name if not options.seeds[1:] else f"{subject.name}, seed {subject.seed}"
            if options.batch_norm != "with" and subject.run is None:
                twin = subject._replace(net=without_batchnorm(subject.net), rng=np.random.default_rng(subject.seed))
                bare[name] = watch(twin, f"{name} without", options, train_set, at, x, labels, numbers, options.bare_lr)
            if options.batch_norm != "without":
                histories[name] = watch(subject, name, options, train_set, at, x, labels, numbers)
        figures = {}
        for kind, found in (("", histories), ("-without-batch-norm", bare)):
            if found:
                note = setting(options, train_set)
                if kind:
                    slower = Namespace(**vars(options) | {"lr": options.bare_lr})
                    note = f"{setting(slower, train_set)} Without batch norm."
                figures[f"gradient-flow{kind}"] = flow_history_figure(found, note)
                for step in sorted({step for history in found.values() for step in history}):
                    flows = {
                        f"{name}\nstep {step:,}": history[step] for name, history in found.items() if step in history
                    }
                    figures[f"river{kind}-step-{step}"] = river_figure(flows, note)
        keep(options, train_set, figures, numbers)


def read_options(arguments):
    parser = lab_parser(
        "gradient-flow", "Measure where the gradient goes.", nets=["plain", "resnet"], depths=[20, 56], steps=160
    )
    parser.add_argument("--batch-norm", choices=["both", "with", "without"], default="both", help="(default: both)")
    parser.add_argument(
        "--bare-lr", type=float, default=0.01, metavar="RATE", help="learning rate without batch norm (default: 0.01)"
    )
    return parser.parse_args(arguments)


HEAD = (
    f"{'network':24}{'step':>6}{'error':>8}{'|dy| first/last':>17}{'a block':>9}{'shortcut':>10}"
    f"{'|dW|/|W| first/last':>21}"
)


def watch(subject, name, options, train_set, at, x, labels, numbers, lr=0.1):
    """{step: gradient flow} of one network; prints a line for each and appends it to ``numbers``."""
    history = {}
    try:
        for snapshot in subject.moments(train_set, options, at, lr):
            subject.net.train()
            flow = history[snapshot.step] = gradient_flow(subject.net, x, labels)
            first, last = flow[0], flow[-1]
            growth = first.entering / last.entering if last.entering else float("nan")  # nan: all units are dead
            by_shortcut = np.mean([row.shortcut**2 / (row.shortcut**2 + row.branch**2 or 1) for row in flow])
            ratio = first.weight_ratio / last.weight_ratio if last.weight_ratio else float("nan")
            print(
                f"{name:24}{snapshot.step:6}{snapshot.error:8.1%}{growth:17.3g}{growth ** (1 / (len(flow) - 1)):9.3f}"
                f"{by_shortcut:10.0%}{ratio:21.3g}"
            )
            blocks = [row._asdict() for row in flow]
            numbers.append({"net": name, "seed": subject.seed, **snapshot._asdict(), "blocks": blocks})
    except Diverged as error:
        print(f"{name:24}{error}")
    return history


if __name__ == "__main__":
    sys.exit(main())
