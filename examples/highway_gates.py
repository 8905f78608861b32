"""What do the gates of a highway network do while it trains? After Fig. 2 of Srivastava et al. 2015.

y = T(x) H(x) + (1 - T(x)) x. The biases of T begin at -1 to -3, so that every layer hands most of x on. Which layers
open their gates, and do these open for all images alike? Try it::

    python examples/highway_gates.py                                     # synthetic images, some minutes
    python examples/highway_gates.py --data cifar10 --nets highway-mlp --depths 20 50
"""

import sys

import numpy as np
from experiment import batch_of, errors_in_one_line, keep, lab_parser, load_data, setting, subjects

from minires.lab.gates import transform_gates
from minires.plots import gates_figure, inside_figure
from minires.train import Diverged


def main(arguments=None):
    options = read_options(arguments)
    with errors_in_one_line(options.script):
        train_set, _ = load_data(options)
        x, _ = batch_of(train_set, options.images)
        at = sorted({0, options.steps // 16, options.steps // 4, options.steps})
        found = subjects(options, train_set)
        if options.seeds[1:]:
            raise ValueError(f"expected one seed, got {options.seeds}. Choose with --seeds.")
        note = setting(options, train_set)
        print(f"{note}\n{HEAD}")
        histories, figures, numbers = {}, {}, []
        for subject in found:
            history = watch(subject, options, train_set, at, x, numbers)
            histories[subject.name], last = history, max(history)
            words = f"{subject.name} after step {last:,}. {note}"
            figures[f"gates-inside-{subject.name}"] = inside_figure(history[last], history[0], words)
        keep(options, train_set, figures | {"gates": gates_figure(histories, note)}, numbers, note)


def watch(subject, options, train_set, at, x, numbers):
    """{step: gates} of one network; prints a line for each and appends it to ``numbers``."""
    history = {}
    try:
        for moment in subject.moments(train_set, options, at):
            gates = history[moment.step] = transform_gates(subject.net, x)
            means, spread = [gate.mean for gate in gates], np.mean([gate.by_image for gate in gates])
            bias = np.mean([gate.bias.mean() for gate in gates])
            print(
                f"{subject.name:16}{moment.step:6}{moment.error:8.1%}{np.mean(means):9.3f}{min(means):8.3f}"
                f"{max(means):8.3f}{spread:10.3f}{bias:8.2f}"
            )
            layers = [{"mean": g.mean, "by_image": g.by_image, "bias": float(g.bias.mean())} for g in gates]
            numbers.append({"net": subject.name, "seed": subject.seed, **moment._asdict(), "layers": layers})
    except Diverged as error:
        print(f"{subject.name:16}{error}")
    return history


HEAD = f"{'network':16}{'step':>6}{'error':>8}{'mean T':>9}{'least':>8}{'most':>8}{'by image':>10}{'bias':>8}"


def read_options(arguments):
    parser = lab_parser(
        "highway-gates",
        "Watch the gates of highway networks.",
        nets=["highway", "highway-mlp"],
        depths=[20],
        steps=1000,
    )
    parser.set_defaults(images=256, lr=0.05)  # there is no batch norm
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
