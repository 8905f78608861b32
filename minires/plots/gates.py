"""The gates of highway networks."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from minires.plots.sheet import FAINT, INK, clean, shade, sheet


def gates_figure(histories, note=""):
    """How far open the gates are, how much that depends on the image, and how the biases move, one line a moment.

    Parameters
    ----------
    histories : dict
        ``{"highway-20": {0: transform_gates(...), 300: transform_gates(...)}, ...}``, by step.
    note : str
        What was run, for the foot of the figure; broken into lines.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not histories or not all(history and all(history.values()) for history in histories.values()):
        raise ValueError('gates_figure: expected {"name of a net": {step: transform_gates(...), ...}, ...}.')
    width = 1.0 + 4.2 * len(histories)
    figure, bottom, top = sheet(width, 6.4, note)
    axes = figure.subplots(3, len(histories), sharex="col", sharey="row", squeeze=False, height_ratios=[1.6, 1, 1])
    figure.subplots_adjust(1.0 / width, bottom + 0.08, 1 - 0.15 / width, top, wspace=0.1, hspace=0.16)
    for (means, spreads, biases), (name, history) in zip(axes.T, histories.items()):
        start = history[min(history)][0].bias.mean()
        for i, (step, gates) in enumerate(sorted(history.items())):
            layer = np.arange(1, len(gates) + 1)
            style = {"color": shade(i, len(history)), "lw": 1.5, "marker": "o", "ms": 2.5}
            means.plot(layer, [gate.mean for gate in gates], label=f"step {step:,}".replace(",", " "), **style)
            spreads.plot(layer, [gate.by_image for gate in gates], **style)
            biases.plot(layer, [gate.bias.mean() - start for gate in gates], **style)
        means.axhline(1 / (1 + np.exp(-start)), color=FAINT, lw=0.9, ls=(0, (1, 1.5)), label="σ(first bias)")
        means.set_title(name, fontsize=11, color=INK)
        biases.set_xlabel("highway layer, from the input to the loss", color=INK)
        for axis in (means, spreads, biases):
            clean(axis)
        biases.xaxis.set_major_locator(MaxNLocator(integer=True))
        biases.ticklabel_format(axis="y", useOffset=False)
    axes[0, 0].legend(frameon=False, fontsize=8.5, labelcolor="linecolor", loc="upper left", ncols=3)
    for row, label in zip(axes, ("mean of T", "std of T\nover images", "mean bias,\nmoved by")):
        row[0].set_ylabel(label, color=INK)
        for axis in row[1:]:
            axis.tick_params(labelleft=False)
    axes[0, 0].set_ylim(0, 1.3 * axes[0, 0].get_ylim()[1])
    axes[1, 0].set_ylim(bottom=0)
    figure.align_ylabels()
    return figure


def inside_figure(gates, start=None, note=""):
    """The gates of one net, a row a layer and a column a channel, after Fig. 2 of Srivastava et al. 2015.

    From left to right: how far the biases have moved; T over all images; T for one image; what that image's
    layers hand on. A vertical stripe in the last is a number carried through many layers.

    Parameters
    ----------
    gates : list of Gate
        ``transform_gates(...)`` of the trained net.
    start : list of Gate, optional
        The same before the first step; without it the biases are shown, not their change.
    note : str
        As for ``gates_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not gates:
        raise ValueError("inside_figure: expected transform_gates(...) with at least one gate.")
    before = [gate.bias for gate in start] if start else [np.zeros_like(gate.bias) for gate in gates]
    panels = [
        ("change of the bias" if start else "bias", [gate.bias - b for gate, b in zip(gates, before)], "RdBu_r"),
        ("T, mean over images", [gate.channels for gate in gates], "magma"),
        ("T, one image", [gate.one for gate in gates], "magma"),
        ("output, the same image", [gate.output for gate in gates], "viridis"),
    ]
    width = 12.0
    height = 1.3 + 0.075 * max(20, len(gates))
    figure, bottom, top = sheet(width, height, note)
    axes = figure.subplots(1, 4, sharey=True)
    figure.subplots_adjust(0.6 / width, bottom + 0.5 / height, 1 - 0.5 / width, top, wspace=0.3)
    for axis, (title, rows, colours) in zip(axes, panels):
        image = _with_blanks(rows)
        low, high = (0, 1) if title.startswith("T") else (None, None)
        if colours == "RdBu_r":
            high = np.nanmax(np.abs(image)) or 1.0
            low = -high
        drawn = axis.imshow(image, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
        bar = figure.colorbar(drawn, ax=axis, pad=0.03, fraction=0.06, aspect=40)
        bar.locator = MaxNLocator(5)
        bar.ax.tick_params(labelsize=7.5, colors=INK, color=FAINT)
        bar.outline.set_visible(False)
        axis.set_title(title, fontsize=9.5, color=INK)
        axis.set_xlabel("channel", color=INK)
        axis.tick_params(colors=INK, labelsize=8.5, color=FAINT)
        axis.spines[:].set_visible(False)
    axes[0].set_yticks([0, len(gates) - 1] if len(gates) > 1 else [0])
    axes[0].yaxis.set_major_formatter(lambda row, _: f"{row + 1:.0f}")
    axes[0].set_ylabel("highway layer", color=INK)
    return figure


def _with_blanks(rows):
    """Rows of different length as one array, with nan at the end of short ones."""
    image = np.full((len(rows), max(map(len, rows))), np.nan)
    for line, row in zip(image, rows):
        line[: len(row)] = row
    return image
