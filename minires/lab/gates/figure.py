"""The gates of highway networks."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from minires.checks import require
from minires.figures import DOTTED, FAINT, INK, legend, panel, shade, sheet


def gates_figure(histories):
    """How far open the gates are, how much that depends on the image, and how the biases move, one line per moment.

    ``histories`` are ``{"highway-20": {0: transform_gates(...), 300: transform_gates(...)}, ...}``, by step.
    """
    fits = histories and all(history and all(history.values()) for history in histories.values())
    require(fits, "gates_figure", '{"name of a net": {step: transform_gates(...), ...}, ...}', "none")
    figure = sheet(1.0 + 4.2 * len(histories), 6.4)
    axes = figure.subplots(3, len(histories), sharex="col", sharey="row", squeeze=False, height_ratios=[1.6, 1, 1])
    for (means, spreads, biases), (name, history) in zip(axes.T, histories.items()):
        start = history[min(history)][0].bias.mean()
        for i, (step, gates) in enumerate(sorted(history.items())):
            layer = np.arange(1, len(gates) + 1)
            style = {"color": shade(i, len(history)), "lw": 1.5, "marker": "o", "ms": 2.5}
            means.plot(layer, [gate.mean for gate in gates], label=f"step {step:,}".replace(",", " "), **style)
            spreads.plot(layer, [gate.by_image for gate in gates], **style)
            biases.plot(layer, [gate.bias.mean() - start for gate in gates], **style)
        means.axhline(1 / (1 + np.exp(-start)), color=FAINT, lw=0.9, ls=DOTTED, label="σ(first bias)")
        panel(means, name, y="mean of T")
        panel(spreads, y="std of T\nover images")
        panel(biases, x="highway layer, from the input to the loss", y="mean bias,\nmoved by", whole=True)
    legend(axes[0, 0], loc="upper left", ncols=3)
    axes[0, 0].set_ylim(0, 1.3 * axes[0, 0].get_ylim()[1])
    axes[1, 0].set_ylim(bottom=0)
    figure.align_ylabels()
    return figure


def inside_figure(gates, start):
    """The gates of one net, a row per layer and a column per channel, after Fig. 2 of Srivastava et al. 2015.

    A vertical stripe in the output is a number carried through many layers. ``gates`` and ``start`` are
    ``transform_gates(...)`` of the trained net, and of the net before the first step.
    """
    require(gates, "inside_figure", "transform_gates(...) with at least one gate", "none")
    panels = [
        ("change of the bias", [gate.bias - before.bias for gate, before in zip(gates, start)], "RdBu_r"),
        ("T, mean over images", [gate.channels for gate in gates], "magma"),
        ("T, one image", [gate.one for gate in gates], "magma"),
        ("output, the same image", [gate.output for gate in gates], "viridis"),
    ]
    figure = sheet(12.0, 1.3 + 0.075 * max(20, len(gates)))
    axes = figure.subplots(1, 4, sharey=True)
    for axis, (title, rows, colour_map) in zip(axes, panels):
        image = np.full((len(rows), max(map(len, rows))), np.nan)  # rows of fewer channels end in blanks
        for line, row in zip(image, rows):
            line[: len(row)] = row
        low, high = (0, 1) if title.startswith("T") else (None, None)
        if colour_map == "RdBu_r":
            high = np.nanmax(np.abs(image)) or 1.0
            low = -high
        drawn = axis.imshow(image, cmap=colour_map, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
        bar = figure.colorbar(drawn, ax=axis, aspect=40, ticks=MaxNLocator(5))
        bar.ax.tick_params(labelsize=7.5, colors=INK, color=FAINT)
        bar.outline.set_visible(False)
        panel(axis, title, "channel", "highway layer")
        axis.grid(False)
        axis.spines[:].set_visible(False)
    axes[0].set_yticks([0, len(gates) - 1] if len(gates) > 1 else [0])
    axes[0].yaxis.set_major_formatter(lambda row, _: f"{row + 1:.0f}")
    return figure
