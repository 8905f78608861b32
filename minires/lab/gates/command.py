"""After Fig. 2 of Srivastava et al. 2015. y = T(x) H(x) + (1 - T(x)) x, and the biases of T begin at -1 to -3, so that
every layer hands most of x on. Which layers open their gates, and do these open for all images alike? Try it::

    minires lab gates                                     # synthetic images, some minutes
    minires lab gates --data cifar10 --nets highway-mlp --depths 20 50
"""

import numpy as np

from minires.figures import noted
from minires.lab.experiment import Table, lab_options
from minires.lab.gates.figure import gates_figure, inside_figure
from minires.lab.gates.measure import transform_gates


def add_options(parser):
    lab_options(parser, nets=["highway", "highway-mlp"], depths=[20], steps=1000, images=256, lr=0.05)  # no batch norm


def run(lab):
    subjects, (x, _) = lab.subjects(one_seed=True), lab.batch()
    lab.say(lab.setting())
    columns = (f"{name}:.3f" for name in ("mean T", "least", "most", "by image", "bias"))
    table = Table("network", "step", "error:.1%", *columns, first=16)
    histories, figures, numbers = {}, {}, []
    for subject in subjects:
        history = histories[subject.name] = {}
        for moment in subject.watched(lab):
            gates = history[moment.step] = transform_gates(subject.net, x)
            means, spread = [gate.mean for gate in gates], np.mean([gate.by_image for gate in gates])
            found = np.mean(means), min(means), max(means), spread, np.mean([gate.bias.mean() for gate in gates])
            table.row(subject.name, moment.step, moment.error, *found)
            layers = [{"mean": g.mean, "by_image": g.by_image, "bias": float(g.bias.mean())} for g in gates]
            numbers.append(subject.about(moment, layers=layers))
        words = f"{subject.name} after step {max(history):,}. {lab.note}"
        figures[f"gates-inside-{subject.name}"] = noted(inside_figure(gates, history[0]), words)
    return figures | {"gates": gates_figure(histories)}, numbers
