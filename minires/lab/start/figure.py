"""Networks beside each other: what they start with, and how far they come."""

from minires.figures import OTHERS, PLAIN, RESIDUAL, panel, sheet
from minires.lab.comparison import column
from minires.lab.start.measure import GROWTH, HALF

PANELS = [
    (GROWTH, "at the start: the gradient grows", "first block's / last block's", "y"),
    (HALF, "at the start: gradients stay alike", "part of the way to another image", "y"),
    ("training", "after training", "training error (%)", ""),
]


def start_figure(found):
    """Growth, half-distance and error of each net of ``compare(...)``, a dot for each seed."""
    figure = sheet(10.5, 3.6)
    colours = dict(zip(found, [PLAIN, *OTHERS[3:]])) | {name: RESIDUAL for name in found if name.startswith("resnet")}
    for axis, (name, title, words, log) in zip(figure.subplots(1, len(PANELS)), PANELS):
        panel(axis, title, y=words, log=log)
        for i, (net, values) in enumerate(zip(found, column(found, name))):
            axis.plot([i] * len(values), values, "o", color=colours[net], ms=6, alpha=0.7, mew=0)
        axis.set_xticks(range(len(found)), [net.replace(", ", "\n") for net in found], fontsize=8)
        axis.set_xlim(-0.6, len(found) - 0.4)
    return figure
