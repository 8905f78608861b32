"""Layer responses, and the explanations of degradation held against each other."""

import numpy as np
from matplotlib.ticker import FuncFormatter

from minires.plots.sheet import BRANCH, FAINT, INK, OTHER_COLOURS, SHORTCUT, clean, depth_colours, sheet


def responses_figure(responses, note=""):
    """Standard deviation of every 3x3 layer's response: in order above, from the largest to the smallest below.

    After Fig. 7 of He et al. 2015; plain nets dashed, others drawn through. Where some are above 10 the axis is
    logarithmic.

    Parameters
    ----------
    responses : dict
        ``{("plain", 20): layer_responses(...), ("resnet", 20): ..., ...}``
    note : str
        As for ``river_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not responses or not all(responses.values()):
        raise ValueError('responses_figure: expected {("resnet", 20): layer_responses(...), ...} with rows in each.')
    width = 8.5
    figure, bottom, top = sheet(width, 6.4, note)
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    figure.subplots_adjust(0.75 / width, bottom + 0.075, 1 - 1.75 / width, top, hspace=0.22)
    draw_responses(*axes, responses)
    for axis, words in zip(axes, ("in order, from the input to the loss", "sorted by size")):
        axis.set_title(words, fontsize=10, color=INK, loc="left")
        axis.set_ylabel("std of the response", color=INK)
        clean(axis)
        if max(row.std for rows in responses.values() for row in rows) > 10:
            axis.set_yscale("log")
            axis.minorticks_off()
        else:
            axis.set_ylim(bottom=0)
    axes[0].set_xlim(1, max(len(rows) for rows in responses.values()))
    axes[1].set_xlabel("3x3 layer", color=INK)
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, labelcolor="linecolor")
    return figure


def draw_responses(in_order, by_size, responses):
    """Draw every net's responses on two axes, from input to output and from the largest to the smallest."""
    colours = depth_colours(sorted({depth for _, depth in responses}))
    for (net, depth), rows in sorted(responses.items(), key=lambda item: (item[0][0] != "plain", item[0][1])):
        stds, layer = np.array([row.std for row in rows]), np.arange(1, len(rows) + 1)
        style = {"ls": (0, (4, 1.5)) if net == "plain" else "-", "lw": 1.3 if net == "plain" else 1.9}
        label = f"{net}-{depth}" if depth else net
        in_order.plot(layer, stds, color=colours[depth], label=label, **style)
        by_size.plot(layer, np.sort(stds)[::-1], color=colours[depth], **style)


def shattered_figure(traces, correlations, by_depth, note=""):
    """Gradients of nets of one number beside brown and white noise, and how fast they lose their correlation.

    Parameters
    ----------
    traces : dict
        ``{"1 layer": gradients at the points, ..., "white noise": ...}``, in the order of the columns.
    correlations : dict
        ``{"1 layer": autocorrelation, ...}``, mean over several nets; of the same names.
    by_depth : dict
        ``{"plain": (layers, correlations), "residual": ...}``, from ``correlation_by_depth``; those whose name ends
        with ``independent`` are dashed.
    note : str
        As for ``river_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not traces or traces.keys() != correlations.keys():
        raise ValueError("shattered_figure: expected traces and correlations of the same names, at least one.")
    width = 12.5
    figure, bottom, top = sheet(width, 6.2, note)
    colours = dict(zip(traces, [INK, BRANCH, SHORTCUT, "#56B4E9", *OTHER_COLOURS]))
    for name in traces:
        if name.endswith("noise"):
            colours[name] = "#A05A2C" if name.startswith("brown") else "#B0B0B0"
    grid = figure.add_gridspec(2, 60, height_ratios=[1, 1.8], hspace=0.26)
    grid.update(left=0.5 / width, right=1 - 0.2 / width, bottom=bottom + 0.08, top=top)
    edges = np.linspace(0, 60, len(traces) + 1).astype(int)
    for (name, trace), first, last in zip(traces.items(), edges[:-1], edges[1:]):
        axis = figure.add_subplot(grid[0, first + 1 : last])
        axis.plot(trace, color=colours[name], lw=0.9)
        axis.set_title(name, fontsize=9.5, color=colours[name])
        axis.set(xticks=[], yticks=[], xlim=(0, len(trace) - 1))
        axis.spines[:].set_color("#CCCCCC")
    lags, depths = figure.add_subplot(grid[1, 3:27]), figure.add_subplot(grid[1, 36:60])
    for name, correlation in correlations.items():
        lags.plot(correlation, "o-", color=colours[name], lw=1.5, ms=3, label=name)
    lags.set(xlabel="lag (points)", ylabel="autocorrelation", xlim=(0, None))
    lags.set_title("colours as above", fontsize=8.5, color=FAINT, loc="right")
    for name, (layers, found) in by_depth.items():
        layers, found = np.asarray(layers), np.asarray(found)
        colour = BRANCH if name.startswith("plain") else "#56B4E9" if "beta" in name else SHORTCUT
        style = {"ls": (0, (4, 1.5)), "marker": "s"} if name.endswith("independent") else {"marker": "o"}
        seen = found > 0
        depths.plot(layers[seen], found[seen], color=colour, lw=1.6, ms=4, label=name, **style)
    deepest = max(np.max(layers) for layers, _ in by_depth.values())
    layers = np.linspace(1, deepest, 300)
    start = max(found[0] for _, found in by_depth.values())
    for law, colour, words in ((2.0 ** (1 - layers), BRANCH, "as 1 / 2^L"), (layers**-0.5, SHORTCUT, "as 1 / sqrt(L)")):
        depths.plot(layers, start * law, color=colour, lw=1, ls=(0, (1, 1.5)), label=words)
    lowest = min(np.min(found[found > 0]) for found in (np.asarray(found) for _, found in by_depth.values()))
    depths.set(xscale="log", yscale="log", xlabel="layers L", ylabel="correlation over all pairs of points")
    depths.set_ylim(0.6 * lowest, 1.3)
    depths.legend(frameon=False, fontsize=8.5, labelcolor="linecolor", loc="lower left")
    for axis in (lags, depths):
        clean(axis)
    depths.minorticks_off()
    return figure


def explanations_figure(norms, correlations, distances, note=""):
    """Three explanations on the same nets: sizes of gradients, their correlation, distance from the identity.

    Parameters
    ----------
    norms : dict
        ``{"with batch norm": {"plain-56": gradient_flow(...), ...}, "without": {...}, ...}``, one panel each.
    correlations : dict
        ``{"plain-56": (distances, gradient_correlation(...)), ...}``
    distances : dict
        ``{"plain-56": identity_distance(...), ...}``
    note : str
        As for ``river_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not norms or not all(norms.values()):
        raise ValueError("explanations_figure: expected at least one panel of norms with a net in it.")
    columns = max(2, len(norms))
    width = 3.6 * columns + 1.6
    figure, bottom, top = sheet(width, 6.6, note)
    grid = figure.add_gridspec(2, 12 * columns, hspace=0.42)
    grid.update(left=0.8 / width, right=1 - 1.2 / width, bottom=bottom + 0.075, top=top)
    every = list(dict.fromkeys(name for flows in norms.values() for name in flows))
    depths = depth_colours(sorted({int(name.rpartition("-")[2]) for name in every}))

    def style(name):
        kind, _, depth = name.rpartition("-")
        dashes = {"plain": (0, (4, 1.5)), "resnet": "-"}.get(kind, (0, (1, 1)))
        return {"color": depths[int(depth)], "ls": dashes, "lw": 1.7, "label": name}

    panels = []
    for i, (words, flows) in enumerate(norms.items()):
        axis = figure.add_subplot(grid[0, 12 * i + (i > 0) : 12 * (i + 1) - 1], sharey=panels[0] if panels else None)
        for name, flow in flows.items():
            place = (np.arange(len(flow)) + 0.5) / len(flow)
            axis.plot(place, [row.entering / flow[-1].entering for row in flow], **style(name))
        axis.set_title(words, fontsize=9.5, color=INK)
        axis.set_yscale("log")
        axis.set(xlabel="input  →  loss", xticks=[], xlim=(0, 1))
        clean(axis)
        axis.minorticks_off()
        axis.tick_params(labelleft=i == 0)
        panels.append(axis)
    panels[0].set_ylabel("gradient entering a block,\nagainst the last block", color=INK)
    half = 6 * columns
    left, right = figure.add_subplot(grid[1, : half - 3]), figure.add_subplot(grid[1, half + 2 : -1])
    for name, (apart, correlation) in correlations.items():
        left.plot(apart, correlation, **style(name))
    left.axhline(0.5, color=FAINT, lw=0.8)
    left.set(xscale="log", ylim=(-0.1, 1.05), ylabel="cosine of the gradients")
    left.set_xlabel("distance of two inputs (1: another image)", color=INK)
    left.set_title("do gradients of neighbours agree?", fontsize=9.5, color=INK)
    for name, rows in distances.items():
        right.plot((np.arange(len(rows)) + 0.5) / len(rows), [row.distance for row in rows], **style(name))
    right.set(xlabel="input  →  loss", xticks=[], xlim=(0, 1), ylabel="|y - x| / |x|")
    right.set_ylim(bottom=0)
    right.set_title("how far is a block from the identity?", fontsize=9.5, color=INK)
    for axis in (left, right):
        clean(axis)
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value >= 0.01 else f"{value:.0e}"))
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9, labelcolor="linecolor")
    return figure
