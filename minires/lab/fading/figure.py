"""Numbers against the factor on the shortcuts; and error while the factor falls."""

import numpy as np

from minires.figures import DEPTHS, OTHERS, legend, panel, sheet, with_seeds
from minires.lab.comparison import column
from minires.lab.start.figure import PANELS


def factors_figure(found, factors):
    """Growth, half-distance and error of nets, {depth: ``compare(...)``}, against the factor on their shortcuts."""
    figure = sheet(10.5, 3.6)
    for axis, (name, title, words, log) in zip(figure.subplots(1, len(PANELS)), PANELS):
        for depth, nets in found.items():
            look = {"color": DEPTHS.get(depth, OTHERS[0]), "label": f"{depth} layers"}
            with_seeds(axis, factors, column(nets, name), np.median, **look)
        panel(axis, title, "factor on the shortcuts", words, log)
        legend(axis)
    return figure


def fading_figure(found, window=20):
    """Training error while lambda falls, beside nets whose lambda stays; means over the seeds and ``window`` steps."""
    figure = sheet(8, 4)
    axis = figure.subplots()
    for (name, seeds), colour in zip(found.items(), OTHERS):
        errors = np.array([one["errors"] for one in seeds]).mean(axis=0)
        width = min(window, len(errors))
        smooth = np.convolve(errors, np.full(width, 1 / width), mode="valid")
        axis.plot(np.arange(width, len(errors) + 1), 100 * smooth, color=colour, lw=1.6, label=name)
    panel(axis, "", "step", f"training error, mean over {window} steps (%)")
    legend(axis)
    return figure
