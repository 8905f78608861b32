"""What do the gates of a highway network do while it trains? After Fig. 2 of Srivastava et al. 2015.

y = T(x) H(x) + (1 - T(x)) x. The biases of T begin at -1 to -3, so that every layer hands most of x on. Which layers
open their gates, and do these open for all images alike? Try it::

    minires lab gates                                     # synthetic images, some minutes
    minires lab gates --data cifar10 --nets highway-mlp --depths 20 50
"""

import numpy as np

from minires.lab.experiment import Experiment, Table, lab_options, number
from minires.lab.gates.measure import transform_gates
from minires.train import Diverged


def add_options(parser):
    lab_options(parser, nets=["highway", "highway-mlp"], depths=[20], steps=1000)
    parser.set_defaults(images=256, lr=0.05)  # there is no batch norm


def run(options):
    from minires.lab.gates.figure import gates_figure, inside_figure  # here: matplotlib takes a while to load

    lab = Experiment(options)
    subjects, (x, _) = lab.subjects(), lab.batch()
    lab.one_seed()
    note = lab.setting()
    print(note)
    table = Table("network", "step", "error", "mean T", "least", "most", "by image", "bias", first=16)
    histories, figures, numbers = {}, {}, []
    for subject in subjects:
        history = histories[subject.name] = watch(subject, lab, x, table, numbers)
        last = max(history)
        words = f"{subject.name} after step {last:,}. {note}"
        figures[f"gates-inside-{subject.name}"] = inside_figure(history[last], history[0], words)
    lab.keep(figures | {"gates": gates_figure(histories, note)}, numbers, note)


def watch(subject, lab, x, table, numbers):
    """Return {step: gates} of one network; prints a row for each and appends it to ``numbers``."""
    history, steps = {}, lab.options.steps
    try:
        for moment in subject.moments(lab, [0, steps // 16, steps // 4, steps]):
            gates = history[moment.step] = transform_gates(subject.net, x)
            means, spread = [gate.mean for gate in gates], np.mean([gate.by_image for gate in gates])
            found = np.mean(means), min(means), max(means), spread, np.mean([gate.bias.mean() for gate in gates])
            table.row(subject.name, moment.step, number(moment.error, ".1%"), *(f"{value:.3f}" for value in found))
            layers = [{"mean": g.mean, "by_image": g.by_image, "bias": float(g.bias.mean())} for g in gates]
            numbers.append({"net": subject.name, "seed": subject.seed, **moment._asdict(), "layers": layers})
    except Diverged as error:
        print(f"{subject.name:16}{error}")
    return history
