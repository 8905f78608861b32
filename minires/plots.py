"""Figures. The only file that imports matplotlib; none of it needs a screen.

Each function returns a ``matplotlib.figure.Figure``, which a notebook shows and ``figure.savefig(path)`` writes.
"""

import base64
import html
import io
import re
import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator

DEPTH_COLOURS = {20: "#E69F00", 32: "#56B4E9", 44: "#009E73", 56: "#D0342C", 110: "#222222"}  # as in the paper's Fig. 6
OTHER_COLOURS = ["#CC79A7", "#0072B2", "#7F7F7F", "#8C6D31"]
PANELS = {"plain": "plain networks", "resnet": "residual networks"}
TRAINING, TEST = {"lw": 1.1, "ls": (0, (4, 1.5))}, {"lw": 2.4, "solid_capstyle": "round"}
INK, FAINT = "#333333", "#8A8A8A"
SHORTCUT, BRANCH = "#0072B2", "#D55E00"


def degradation_figure(logs, note=""):
    """Training and test error over the iterations, plain networks left and residual ones right.

    After Fig. 6 of He et al. 2015: training error thin and dashed, test error bold. Several seeds are drawn as their
    mean, with a band from the lowest to the highest.

    Parameters
    ----------
    logs : dict
        ``{("plain", 20): [lines, ...], ("resnet", 20): ...}``: for each net and depth the log of every seed, as
        ``train`` returns it and ``read_log`` reads it.
    note : str
        What was run, for the foot of the figure; broken into lines.

    Returns
    -------
    matplotlib.figure.Figure
    """
    logs = {key: [lines for lines in seeds if lines] for key, seeds in logs.items()}
    logs = {key: seeds for key, seeds in logs.items() if seeds}
    if not logs:
        raise ValueError("degradation_figure: expected at least one log with lines, got none. Has any run started?")
    nets = [net for net in PANELS if any(key[0] == net for key in logs)]
    colours = _colours(sorted({depth for _, depth in logs}))

    width = 5.4 * len(nets) + 0.6
    note = textwrap.wrap(note, int(15.5 * width))
    foot = 0.16 * len(note) + 0.12 if note else 0.0
    height = 4.5 + foot
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    axes = figure.subplots(1, len(nets), sharex=True, sharey=True, squeeze=False)[0]
    last = max(lines[-1]["step"] for seeds in logs.values() for lines in seeds)
    names = {}
    for axis, net in zip(axes, nets):
        names[axis] = []
        for depth in sorted(depth for key_net, depth in logs if key_net == net):
            seeds, colour = logs[net, depth], colours[depth]
            training = _mean_and_spread(axis, [_training_curve(lines) for lines in seeds], colour, **TRAINING)
            test = _mean_and_spread(axis, [_test_curve(lines) for lines in seeds], colour, **TEST)
            names[axis].append(((test if len(test) else training)[-1], f"{net}-{depth}", colour))
        axis.set_title(PANELS[net], fontsize=11, color=INK, pad=8)
        axis.set_xlabel("iteration", color=INK)
        _clean(axis)

    worst = max(error for ends in names.values() for error, *_ in ends)
    top = min(100.0, max(20.0, 2.2 * worst))
    axes[0].set(xlim=(0, last), ylim=(0, top))
    for axis in axes:
        _name_ends(axis, names[axis], 1.02 * last, gap=0.052 * top)
    axes[0].set_ylabel("error (%)", color=INK)
    styles = [Line2D([], [], color=INK, **TRAINING), Line2D([], [], color=INK, **TEST)]
    axes[-1].legend(styles, ["training", "test"], loc="lower left", frameon=False, fontsize=9, labelcolor=INK)
    figure.subplots_adjust(0.62 / width, (0.55 + foot) / height, 1 - 0.95 / width, 1 - 0.4 / height, wspace=0.24)
    figure.text(0.12 / width, 0.1 / height, "\n".join(note), fontsize=7.5, color=FAINT, va="bottom", linespacing=1.35)
    return figure


def gradient_flow_figure(flows, note=""):
    """Where the gradient of each block went, one column a net: through the shortcut, through the branch.

    Below the norms: the cosine between the two parts (0: they add like the sides of a right angle), the spread of
    the activations, and the size of the weights' gradient against the weights.

    Parameters
    ----------
    flows : dict
        ``{"plain-56": gradient_flow(...), "resnet-56": gradient_flow(...)}``
    note : str
        What was run, for the foot of the figure.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not flows or not all(flows.values()):
        raise ValueError('gradient_flow_figure: expected {"name of a net": gradient_flow(...), ...} with rows in each.')
    foot = 0.16 * (note.count("\n") + 1) + 0.1 if note else 0.0  # inches
    figure = Figure(figsize=(4.7 * len(flows) + 1.15, 7.6 + foot), dpi=160, facecolor="white")
    axes = figure.subplots(4, len(flows), sharex="col", sharey="row", squeeze=False, height_ratios=[2.6, 1, 1, 1])
    for (norms, angles, spreads, ratios), (name, flow) in zip(axes.T, flows.items()):
        block = np.arange(1, len(flow) + 1)
        field = {key: np.array([getattr(row, key) for row in flow]) for key in flow[0]._fields}
        parts = [("entering", INK, "entering the block"), ("branch", BRANCH, "leaving through the branch")]
        if np.any(field["shortcut"]):
            parts.append(("shortcut", SHORTCUT, "leaving through the shortcut"))
            angles.plot(block, field["cosine"], "o-", color=INK, ms=3, lw=1)
        else:
            angles.text(0.5, 0.62, "no shortcut", color=FAINT, fontsize=9, ha="center", transform=angles.transAxes)
        for key, colour, label in parts:
            norms.plot(block, field[key], "o-", color=colour, ms=3.2, lw=1.6, label=label)
        spreads.plot(block, field["activation_std"], "o-", color=INK, ms=3, lw=1)
        ratios.plot(block, field["weight_ratio"], "o-", color=INK, ms=3, lw=1)
        angles.axhline(0, color=FAINT, lw=0.8)
        norms.set_title(name, fontsize=11, color=INK, pad=20)
        ratios.set_xlabel("block, from the input to the loss", color=INK)
        stages = [row.path.rpartition(".")[0] for row in flow]
        for axis in (norms, angles, spreads, ratios):
            _clean(axis)
            for i in range(1, len(flow)):
                if stages[i] != stages[i - 1]:
                    axis.axvline(i + 0.5, color="#CCCCCC", lw=0.8, ls=(0, (2, 2)))
        for stage in dict.fromkeys(stages):
            middle = np.mean([i for i, s in zip(block, stages) if s == stage])
            above = norms.get_xaxis_transform()
            norms.text(middle, 1.02, stage, color=FAINT, fontsize=8.5, ha="center", transform=above)
        norms.text(0.02, 0.03, "← backward", color=FAINT, fontsize=8.5, transform=norms.transAxes)
        ratios.xaxis.set_major_locator(MaxNLocator(integer=True))
        ratios.set_xlim(0.5, len(flow) + 0.5)
    for row, label in zip(axes, ("norm of the gradient", "cosine of\nthe two parts", "std of y", "|dW| / |W|")):
        row[0].set_ylabel(label, color=INK)
        for axis in row[1:]:
            axis.tick_params(labelleft=False)
    rows = [row for flow in flows.values() for row in flow]
    _whole_decades(axes[0, 0], [norm for row in rows for norm in (row.entering, row.shortcut, row.branch)])
    _whole_decades(axes[3, 0], [row.weight_ratio for row in rows])
    axes[1, 0].set_ylim(-1.1, 1.1)
    axes[1, 0].set_yticks([-1, 0, 1])
    axes[2, 0].set_ylim(0, 1.1 * axes[2, 0].get_ylim()[1])
    most_parts = max(axes[0], key=lambda axis: len(axis.get_legend_handles_labels()[0]))
    most_parts.legend(loc="lower left", frameon=False, fontsize=9, labelcolor="linecolor")
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=0.95 / width,
        right=1 - 0.2 / width,
        bottom=(0.55 + foot) / height,
        top=1 - 0.55 / height,
        wspace=0.1,
        hspace=0.16,
    )
    figure.align_ylabels()
    if note:
        figure.text(0.12 / width, 0.08 / height, note, fontsize=7.5, color=FAINT, va="bottom", linespacing=1.35)
    return figure


def _training_curve(lines, points=60):
    """(iterations, errors in %): the mean over the images of each of up to ``points`` stretches, at their middle."""
    lines = [line for line in lines if line["kind"] == "train"]
    if not lines:
        return np.empty(0), np.empty(0)
    step, error, images = (np.array([line[name] for line in lines]) for name in ("step", "error", "images"))
    begin = np.concatenate([[0], step[:-1]])
    stretch = np.minimum((step - 1) * points // step[-1], points - 1)
    parts = [stretch == i for i in np.unique(stretch)]
    middle = [(begin[part][0] + step[part][-1]) / 2 for part in parts]
    return np.array(middle), np.array([100 * np.average(error[part], weights=images[part]) for part in parts])


def _test_curve(lines):
    lines = [line for line in lines if line["kind"] == "test"]
    return np.array([line["step"] for line in lines]), np.array([100 * line["error"] for line in lines])


def _mean_and_spread(axis, curves, colour, **style):
    """Draw the mean of the seeds, as far as all of them have come, and return its errors."""
    length = min(len(steps) for steps, _ in curves)
    steps, errors = curves[0][0][:length], np.array([error[:length] for _, error in curves])
    if len(curves) > 1:
        axis.fill_between(steps, errors.min(axis=0), errors.max(axis=0), color=colour, alpha=0.18, lw=0)
    mean = errors.mean(axis=0)
    axis.plot(steps, mean, color=colour, **style)
    return mean


def _name_ends(axis, ends, x, gap):
    """Write each curve's name to the right of its end, moved apart where names would cover each other."""
    ends, places = sorted(ends), []
    for error, *_ in ends:
        places.append(max(error, places[-1] + gap) if places else error)
    moved = np.mean([place - error for place, (error, *_) in zip(places, ends)])
    for place, (_, name, colour) in zip(places, ends):
        axis.text(x, place - moved, name, color=colour, fontsize=8.5, fontweight="bold", va="center")


def _colours(depths):
    others = iter(OTHER_COLOURS * len(depths))
    return {depth: DEPTH_COLOURS.get(depth) or next(others) for depth in depths}


def _clean(axis):
    axis.grid(axis="y", color="#E6E6E6", lw=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(FAINT)
    axis.tick_params(colors=INK, labelsize=9, color=FAINT, labelleft=True)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}".replace(",", " ")))


def _whole_decades(axis, numbers):
    """A logarithmic axis that begins and ends at powers of ten."""
    exponents = np.log10([number for number in numbers if 0 < number < np.inf])
    axis.set_yscale("log")
    if len(exponents):
        axis.set_ylim(10 ** np.floor(exponents.min()), 10 ** (np.floor(exponents.max()) + 1))
    axis.minorticks_off()


# -- the lab ------------------------------------------------------------------------------------------------------


def river_figure(flows, note=""):
    """Every network a river of gradient, from the loss on the left to the input on the right.

    At each block it parts: what goes through the shortcut flows above, what goes through the branch below, and they
    meet again. Think of pipes: the cross-section of each is the norm of the gradient that it carries, so its width is
    the square root. Each river has a scale of its own; the norms at both ends are written beside it.

    Parameters
    ----------
    flows : dict
        ``{"plain-56": gradient_flow(...), ...}``, one river each, from top to bottom.
    note : str
        What was run, for the foot of the figure; broken into lines.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not flows or not all(flows.values()):
        raise ValueError('river_figure: expected {"name of a net": gradient_flow(...), ...} with rows in each.')
    width, each = 11.0, 1.75
    figure, bottom, top = _sheet(width, each * len(flows) + 0.55, note)
    axes = figure.subplots(len(flows), 1, squeeze=False)[:, 0]
    figure.subplots_adjust(1.6 / width, bottom, 1 - 0.75 / width, top, hspace=0.12)
    for axis, (name, flow) in zip(axes, flows.items()):
        shores = _river(axis, flow)
        axis.set(xlim=(0, len(flow)), ylim=(-1.05 * shores, 1.05 * shores))
        axis.axis("off")
        beside = dict(transform=axis.transAxes, va="center", fontsize=9)
        axis.text(-0.075, 0.5, name, ha="right", color=INK, fontweight="bold", **beside)
        axis.text(-0.012, 0.5, f"{flow[-1].entering:.2g}", ha="right", color=FAINT, **beside)
        axis.text(1.012, 0.5, f"{_leaving(flow[0]):.3g}", ha="left", color=FAINT, **beside)
    above = dict(transform=axes[0].transAxes, fontsize=9, va="bottom")
    axes[0].text(0, 1.06, "loss  →", ha="left", color=FAINT, **above)
    axes[0].text(1, 1.06, "→  input", ha="right", color=FAINT, **above)
    axes[0].text(0.49, 1.06, "through the shortcut", ha="right", color=SHORTCUT, **above)
    axes[0].text(0.51, 1.06, "through the branch", ha="left", color=BRANCH, **above)
    return figure


def _leaving(row):
    """Norm of the whole gradient that leaves a block, from its two parts and the angle between them."""
    cosine = 0.0 if np.isnan(row.cosine) else row.cosine
    return np.sqrt(row.shortcut**2 + row.branch**2 + 2 * cosine * row.shortcut * row.branch)


def _river(axis, flow):
    """Draw one river around 0; return how far its shores are from the middle."""
    rows = flow[::-1]  # from the loss on
    nodes = np.sqrt([*(row.entering for row in rows), _leaving(rows[-1])])  # widths between blocks
    upper, lower = (np.sqrt([getattr(row, part) for row in rows]) for part in ("shortcut", "branch"))
    part = upper / np.maximum(upper + lower, 1e-300)  # of the width, above the line where the strands touch
    touch = np.concatenate([part[:1], (part[1:] + part[:-1]) / 2, part[-1:]])
    gap = np.minimum(0.06 * np.max(upper + lower), 0.5 * np.minimum(upper, lower))
    bend = (1 - np.cos(np.linspace(0, np.pi, 40))) / 2  # from 0 to 1 without a corner
    x = np.linspace(0, 1, 80)

    def shore(before, between, after):
        return np.concatenate([before + (between - before) * bend, between + (after - between) * bend])

    for i in range(len(rows)):
        half = (upper[i] + lower[i] + gap[i]) / 2
        ends, middles = nodes[i : i + 2] / 2, nodes[i : i + 2] * (0.5 - touch[i : i + 2])
        if upper[i]:
            strand = shore(ends[0], half, ends[1]), shore(middles[0], half - upper[i], middles[1])
            axis.fill_between(i + x, *strand, color=SHORTCUT, lw=0.2)
        strand = shore(middles[0], lower[i] - half, middles[1]), shore(-ends[0], -half, -ends[1])
        axis.fill_between(i + x, *strand, color=BRANCH, lw=0.2)
    return max(np.max(upper + lower + gap), np.max(nodes)) / 2 or 1.0  # 1: a river run dry, without gradient


def flow_history_figure(histories, note=""):
    """How the flow of gradient changes as a network trains, one column a net and one line a moment, light to dark.

    From top to bottom: the norm of the gradient that enters each block; the part of its square that leaves through
    the shortcut; the cosine between that and what leaves through the branch; the gradient of the weights against the
    weights.

    Parameters
    ----------
    histories : dict
        ``{"plain-56": {0: gradient_flow(...), 200: gradient_flow(...)}, ...}``, by step.
    note : str
        As for ``river_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not histories or not all(history and all(history.values()) for history in histories.values()):
        raise ValueError('flow_history_figure: expected {"name of a net": {step: gradient_flow(...), ...}, ...}.')
    width = 1.0 + 3.1 * len(histories)
    figure, bottom, top = _sheet(width, 7.6, note)
    axes = figure.subplots(4, len(histories), sharex="col", sharey="row", squeeze=False, height_ratios=[2.2, 1, 1, 1.2])
    figure.subplots_adjust(0.85 / width, bottom + 0.5 / 8, 1 - 0.15 / width, top, wspace=0.1, hspace=0.16)
    for (norms, shares, angles, ratios), (name, history) in zip(axes.T, histories.items()):
        for i, (step, flow) in enumerate(sorted(history.items())):
            colour = _shade(i, len(history))
            block = np.arange(1, len(flow) + 1)
            shortcut, branch = (np.array([getattr(row, part) for row in flow]) for part in ("shortcut", "branch"))
            style = {"color": colour, "lw": 1.5, "label": f"step {step:,}".replace(",", " ")}
            norms.plot(block, [row.entering for row in flow], **style)
            ratios.plot(block, [row.weight_ratio for row in flow], **style)
            if np.any(shortcut):
                shares.plot(block, shortcut**2 / np.maximum(shortcut**2 + branch**2, 1e-300), **style)
                angles.plot(block, [row.cosine for row in flow], **style)
        if not shares.lines:
            for axis in (shares, angles):
                axis.text(0.5, 0.62, "no shortcut", color=FAINT, fontsize=9, ha="center", transform=axis.transAxes)
        angles.axhline(0, color=FAINT, lw=0.8)
        norms.set_title(name, fontsize=11, color=INK)
        norms.legend(loc="best", frameon=False, fontsize=8.5, labelcolor="linecolor")
        ratios.set_xlabel("block, from the input to the loss", color=INK)
        ratios.set_xlim(0.5, max(len(flow) for flow in history.values()) + 0.5)
        for axis in (norms, shares, angles, ratios):
            _clean(axis)
        ratios.xaxis.set_major_locator(MaxNLocator(integer=True))
    for row, label in zip(axes, ("norm of the gradient", "part through\nthe shortcut", "cosine", "|dW| / |W|")):
        row[0].set_ylabel(label, color=INK)
        for axis in row[1:]:
            axis.tick_params(labelleft=False)
    rows = [row for history in histories.values() for flow in history.values() for row in flow]
    _whole_decades(axes[0, 0], [row.entering for row in rows])
    _whole_decades(axes[3, 0], [row.weight_ratio for row in rows])
    axes[1, 0].set_ylim(0, 1.05)
    axes[2, 0].set_ylim(-1.1, 1.1)
    figure.align_ylabels()
    return figure


def responses_figure(responses, note=""):
    """Standard deviation of every 3x3 layer's response: in order above, from the largest to the smallest below.

    After Fig. 7 of He et al. 2015; plain nets dashed, others drawn through.

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
    figure, bottom, top = _sheet(width, 6.4, note)
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    figure.subplots_adjust(0.75 / width, bottom + 0.075, 1 - 1.75 / width, top, hspace=0.22)
    colours = _colours(sorted({depth for _, depth in responses}))
    for (net, depth), rows in sorted(responses.items(), key=lambda item: (item[0][0] != "plain", item[0][1])):
        stds, layer = np.array([row.std for row in rows]), np.arange(1, len(rows) + 1)
        style = {"ls": (0, (4, 1.5)) if net == "plain" else "-", "lw": 1.3 if net == "plain" else 1.9}
        axes[0].plot(layer, stds, color=colours[depth], label=f"{net}-{depth}", **style)
        axes[1].plot(layer, np.sort(stds)[::-1], color=colours[depth], **style)
    for axis, words in zip(axes, ("in order, from the input to the loss", "sorted by size")):
        axis.set_title(words, fontsize=10, color=INK, loc="left")
        axis.set_ylabel("std of the response", color=INK)
        axis.set_ylim(bottom=0)
        _clean(axis)
    axes[0].set_xlim(1, max(len(rows) for rows in responses.values()))
    axes[1].set_xlabel("3x3 layer", color=INK)
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, labelcolor="linecolor")
    return figure


def shattered_figure(traces, correlations, by_depth, note=""):
    """Gradients of nets of one number beside brown and white noise, and how fast they lose their correlation.

    Parameters
    ----------
    traces : dict
        ``{"1 layer": gradients at the points, ..., "white noise": ...}``, in the order of the columns.
    correlations : dict
        ``{"1 layer": autocorrelation, ...}``, mean over several nets; of the same names.
    by_depth : dict
        ``{"plain": (layers, correlations), "residual": ...}``, from ``correlation_by_depth``.
    note : str
        As for ``river_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not traces or traces.keys() != correlations.keys():
        raise ValueError("shattered_figure: expected traces and correlations of the same names, at least one.")
    width = 12.5
    figure, bottom, top = _sheet(width, 6.2, note)
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
    for (name, (layers, found)), colour in zip(by_depth.items(), (BRANCH, SHORTCUT, "#56B4E9")):
        layers, found = np.asarray(layers), np.asarray(found)
        seen = found > 0
        depths.plot(layers[seen], found[seen], "o-", color=colour, lw=1.6, ms=4, label=name)
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
        _clean(axis)
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
    figure, bottom, top = _sheet(width, 6.6, note)
    grid = figure.add_gridspec(2, 12 * columns, hspace=0.42)
    grid.update(left=0.8 / width, right=1 - 1.2 / width, bottom=bottom + 0.075, top=top)
    every = list(dict.fromkeys(name for flows in norms.values() for name in flows))
    depths = _colours(sorted({int(name.rpartition("-")[2]) for name in every}))

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
        _clean(axis)
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
        _clean(axis)
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value >= 0.01 else f"{value:.0e}"))
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9, labelcolor="linecolor")
    return figure


def _shade(i, count):
    """The i-th of some greys and blues, from light to dark."""
    shades = ["#A6C8E0", "#5B9BC8", "#1F6AA5", "#123A5C", "#000000"]
    return shades[-1 - (count - 1 - i) % len(shades)] if count > 1 else shades[2]


def _sheet(width, height, note):
    """(figure, bottom, top): a white figure with a note at its foot, and the heights that its axes may fill."""
    note = textwrap.wrap(note, int(15.5 * width))
    foot = 0.16 * len(note) + 0.14 if note else 0.06
    height += foot
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    figure.text(0.12 / width, 0.08 / height, "\n".join(note), fontsize=7.5, color=FAINT, va="bottom", linespacing=1.35)
    return figure, (foot + 0.05) / height, 1 - 0.4 / height


def equation_svg(latex):
    """Return a formula drawn as an ``<img>`` that holds its own SVG, or "" for LaTeX beyond matplotlib's mathtext."""
    lines = re.split(r"\\\\(?:\[\w+\])?", latex.replace("&", ""))
    figure = Figure(figsize=(0.1, 0.1))
    for i, line in enumerate(lines):
        figure.text(0, -2.2 * i, f"${line.strip()}$", fontsize=13, color=INK, math_fontfamily="cm")
    drawn = io.StringIO()
    try:
        figure.savefig(drawn, format="svg", bbox_inches="tight", pad_inches=0.04, transparent=True)
    except ValueError:  # its parser says no
        return ""
    packed = base64.b64encode(drawn.getvalue().encode()).decode()
    return f'<img alt="{html.escape(latex)}" src="data:image/svg+xml;base64,{packed}">'


def block_figure(block, title=""):
    """A layer made of layers as a diagram, from x at the top to y at the bottom.

    It is drawn from the object: a Sequential is a column, a Residual two columns that meet in a plus, and so on; any
    other layer is a box.

    Parameters
    ----------
    block : Layer
        Such as ``basic_block(16, 32, 2)``. A whole network can be drawn as well, but is long.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    width, height = _extent(block)
    figure = Figure(figsize=(width + 0.3, height + (1.35 if title else 1.05)), dpi=110, facecolor="white")
    axis = figure.add_axes((0, 0, 1, 1))
    size = figure.get_size_inches()
    axis.set(xlim=(0, size[0]), ylim=(0, size[1]))
    axis.axis("off")
    middle, top = size[0] / 2, size[1] - (0.6 if title else 0.3)
    if title:
        axis.text(middle, size[1] - 0.2, title, fontsize=10, color=INK, ha="center", va="center")
    axis.text(middle, top + 0.08, "x", fontsize=10, color=INK, ha="center", va="center", style="italic")
    bottom = _draw(axis, block, middle, top - 0.1)
    _wire(axis, [(middle, bottom), (middle, bottom - 0.3)], arrow=True)
    axis.text(middle, bottom - 0.42, "y", fontsize=10, color=INK, ha="center", va="center", style="italic")
    return figure


BOX, GAP, SPLIT, BETWEEN = (2.05, 0.3), 0.2, 0.32, 0.25  # inches
SIGNS = {"Residual": "+", "StochasticResidual": "+", "Gated": "+", "Product": "×", "Concat": "‖"}
COLOURS = {"Conv2d": "#FBE3D2", "Linear": "#FBE3D2", "BatchNorm2d": "#DCE9F5", "ReLU": "#E3F1DE", "Sigmoid": "#F6E1EE"}


def _parts(layer):
    return [(path, part) for path, part in layer.named_layers() if path and "." not in path]


def _extent(layer):
    """Width and height of the drawing of a layer, in inches; the height without the lines into it and out of it."""
    kind, inside = type(layer).__name__, [_extent(part) for _, part in _parts(layer)]
    if kind == "Sequential" and inside:
        return max(w for w, _ in inside), sum(h for _, h in inside) + GAP * (len(inside) - 1)
    if kind in SIGNS:
        return sum(w for w, _ in inside) + BETWEEN * (len(inside) - 1), max(h for _, h in inside) + 2 * SPLIT + 0.34
    return (0.5, 0.05) if kind == "Identity" else BOX


def _draw(axis, layer, x, top):
    """Draw a layer with the middle of its upper edge at (x, top); return where its lower edge is."""
    kind, parts, (_, height) = type(layer).__name__, _parts(layer), _extent(layer)
    if kind == "Sequential" and parts:
        for i, (_, part) in enumerate(parts):
            if i:
                _wire(axis, [(x, top), (x, top - GAP)], arrow=type(part).__name__ not in (*SIGNS, "Identity"))
                top -= GAP
            top = _draw(axis, part, x, top)
        return top
    if kind in SIGNS:
        return _draw_paths(axis, layer, parts, x, top, height)
    if kind == "Identity":
        _wire(axis, [(x, top), (x, top - height)])
        return top - height
    corner, colours = (x - BOX[0] / 2, top - BOX[1]), {"facecolor": COLOURS.get(kind, "#F2F2F2"), "edgecolor": FAINT}
    axis.add_patch(FancyBboxPatch(corner, *BOX, "round,pad=0,rounding_size=0.06", lw=0.8, **colours))
    axis.text(x, top - BOX[1] / 2, _in_short(layer), fontsize=8.5, color=INK, ha="center", va="center")
    return top - BOX[1]


def _draw_paths(axis, layer, parts, x, top, height):
    """Paths side by side, from a point where x splits to a sign where they meet."""
    kind, widths = type(layer).__name__, [_extent(part)[0] for _, part in parts]
    left, places = x - _extent(layer)[0] / 2, []
    for width in widths:
        places.append(left + width / 2)
        left += width + BETWEEN
    bottom, meet = top - height, top - height + 0.17
    joint = meet + 0.17 + SPLIT / 2
    _wire(axis, [(x, top), (x, top - SPLIT / 2)])
    notes = {"branch": "· t", "gate": "t", "shortcut": "· (1 − t)"} if kind == "Gated" else {}
    if kind == "StochasticResidual":
        notes = {"branch": f"· b, kept with p = {layer.survival:.2g}"}
    for (name, part), place in zip(parts, places):
        dashed = (0, (3, 2)) if name == "gate" else "-"
        _wire(axis, [(x, top - SPLIT / 2), (place, top - SPLIT / 2), (place, top - SPLIT)])
        end = _draw(axis, part, place, top - SPLIT)
        _wire(axis, [(place, end), (place, joint), (x, joint)], ls=dashed)
        if name in notes:
            side = -1 if name == "shortcut" else 1  # the last path is at the edge of the figure
            where = {"ha": "right" if side < 0 else "left", "va": "center"}
            axis.text(place + 0.06 * side, joint + 0.08, notes[name], fontsize=8, color=INK, **where)
    _wire(axis, [(x, joint), (x, meet + 0.15)], arrow=True)
    axis.add_patch(Circle((x, meet), 0.14, facecolor="white", edgecolor=INK, lw=1))
    axis.text(x, meet, SIGNS[kind], fontsize=11, color=INK, ha="center", va="center")
    return bottom + 0.03


def _wire(axis, points, arrow=False, ls="-"):
    axis.plot(*zip(*points), color=INK, lw=1, ls=ls, solid_capstyle="round", solid_joinstyle="round")
    if arrow:
        (x, y), end = points[-2], points[-1]
        shape = {"arrowstyle": "-|>", "color": INK, "lw": 1, "mutation_scale": 8, "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", end, (x, y), arrowprops=shape)


def _in_short(layer):
    """A layer in as many words as a box has room for."""
    kind = type(layer).__name__
    if kind == "Conv2d":
        (kh, kw), (step, _) = layer.kernel_size, layer.stride
        return f"{kh}x{kw} conv, {layer.in_channels} → {layer.out_channels}" + (f", stride {step}" if step > 1 else "")
    if kind == "Linear":
        return f"linear, {layer.in_features} → {layer.out_features}"
    if kind == "SubsampleShortcut":
        return f"every {layer.stride}. pixel, {layer.in_channels} → {layer.out_channels}"
    if kind == "MaxPool2d":
        return f"{layer.kernel_size[0]}x{layer.kernel_size[1]} max pool, stride {layer.stride[0]}"
    if kind in ("Dropout", "Scale"):
        return f"dropout, p = {layer.p}" if kind == "Dropout" else f"· {layer.factor}"
    return {"BatchNorm2d": "batch norm", "Sigmoid": "sigmoid"}.get(kind, kind)


# -- paths, boosting, the identity --------------------------------------------------------------------------------

PLAIN, RESIDUAL = BRANCH, SHORTCUT


def lesions_figure(singles, several, orders, note=""):
    """What is left of a trained net without some of its blocks, or with its blocks in another order.

    Parameters
    ----------
    singles : dict
        ``{"resnet-56": delete_each(...), ...}``
    several : dict
        ``{"resnet-56": delete_some(...), ...}``
    orders : dict
        ``{"resnet-56": reorder_some(...), ...}``
    note : str
        What was run, for the foot of the figure; broken into lines.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not singles:
        raise ValueError("lesions_figure: expected at least one net, got none.")
    width = 11.5
    figure, bottom, top = _sheet(width, 4.0, note)
    axes = figure.subplots(1, 3, sharey=True, width_ratios=[1.5, 1, 1])
    figure.subplots_adjust(0.62 / width, bottom + 0.1, 1 - 0.15 / width, top, wspace=0.1)
    for name, errors in singles.items():
        colour, blocks = _of_kind(name), [path for path in errors if path]
        at = np.arange(1, len(blocks) + 1)
        axes[0].axhline(100 * errors[""], color=colour, lw=0.9, ls=(0, (4, 1.5)))
        axes[0].plot(at, [100 * errors[path] for path in blocks], "o-", color=colour, ms=3.5, lw=1.2, label=name)
    for name, errors in several.items():
        counts = list(errors)
        axes[1].plot(counts, [100 * np.mean(errors[k]) for k in counts], color=_of_kind(name), lw=1.6)
        spots = [(k, 100 * error) for k in counts for error in errors[k]]
        axes[1].plot(*zip(*spots), "o", color=_of_kind(name), ms=3, alpha=0.5, mew=0)
    for name, moves in orders.items():
        if moves:
            axes[2].plot([tau for tau, _ in moves], [100 * e for _, e in moves], "o", color=_of_kind(name), ms=4, mew=0)
    axes[0].set(xlabel="block deleted, from the input", ylabel="test error (%)", ylim=(0, 100))
    axes[1].set_xlabel("blocks deleted, drawn at random")
    axes[2].set_xlabel("Kendall's tau of the blocks' order")
    axes[2].invert_xaxis()
    for axis, title in zip(axes, ("one block deleted (dashed: none)", "several deleted", "blocks swapped")):
        _clean(axis)
        axis.set_title(title, fontsize=9.5, color=INK)
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[2].xaxis.set_major_formatter(FuncFormatter(lambda tau, _: f"{tau:g}"))
    axes[0].legend(frameon=False, fontsize=9, labelcolor="linecolor", loc="lower right")
    return figure


def paths_figure(shares, sampled, exact, effective, note=""):
    """Of the paths through a residual net: how many have a length, what one of them weighs, what all of them weigh.

    Parameters
    ----------
    shares : array (n + 1,)
        ``path_lengths(n)``
    sampled : dict
        ``sample_path_gradients(...)``
    exact : array (n + 1,)
        Norm of each part of ``gradient_by_length(...)``.
    effective : (int, int)
        ``effective_lengths(...)`` of the sampled product.
    note : str
        As for ``lesions_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    lengths = np.arange(len(shares))
    means = np.array([sampled[k].mean() for k in lengths])
    width = 11.5
    figure, bottom, top = _sheet(width, 3.8, note)
    left, middle, right = figure.subplots(1, 3)
    figure.subplots_adjust(0.7 / width, bottom + 0.11, 1 - 0.15 / width, top, wspace=0.3)
    left.bar(lengths, 100 * shares, color="#B8B8B8", width=0.85)
    left.set_ylabel("% of all paths", color=INK)
    spots = [(k, norm) for k in lengths for norm in sampled[k] if norm > 0]
    middle.plot(*zip(*spots), "o", color=BRANCH, ms=2.5, alpha=0.35, mew=0)
    middle.plot(lengths[means > 0], means[means > 0], color=BRANCH, lw=1.6)
    middle.set_yscale("log")
    middle.minorticks_off()
    middle.set_ylabel("|dL/dx| along one path", color=INK)
    product = shares * means
    for numbers, colour, label in (
        (product / product.sum(), BRANCH, "paths x size of one"),
        (exact / exact.sum(), SHORTCUT, "size of their sum"),
    ):
        right.plot(lengths, 100 * numbers, "o-", color=colour, ms=3, lw=1.5, label=label)
    right.axvspan(effective[0] - 0.5, effective[1] + 0.5, color=BRANCH, alpha=0.1, lw=0)
    right.set_ylabel("% of the total over all lengths", color=INK)
    right.legend(frameon=False, fontsize=8.5, labelcolor="linecolor")
    titles = "how many paths", "what one of them weighs", "what all of a length weigh"
    for axis, title in zip((left, middle, right), titles):
        _clean(axis)
        axis.set_title(title, fontsize=9.5, color=INK)
        axis.set_xlabel("length: branches on the path", color=INK)
        axis.set_xlim(-0.7, len(shares) - 0.3)
    return figure


def boosting_figure(parts, together, boosted, bounds, note=""):
    """What each block adds to the logits, and how blocks trained one by one compare with blocks trained together.

    Parameters
    ----------
    parts : list of (name, size, error)
        Of the net trained end to end: stem and blocks, the standard deviation of what each adds to the logits, and the
        error of the sum up to there, on training images.
    together, boosted : list of Edge
        ``edges(...)`` of the net trained end to end, and of one trained by ``boost``.
    bounds : (array, array)
        Of the errors of either.
    note : str
        As for ``lesions_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    width = 11.5
    figure, bottom, top = _sheet(width, 4.0, note)
    left, middle, right = figure.subplots(1, 3)
    figure.subplots_adjust(0.7 / width, bottom + 0.11, 1 - 0.15 / width, top, wspace=0.28)
    at = np.arange(len(parts))
    left.bar(at, [size for _, size, _ in parts], color="#BFD9EA", width=0.8)
    left.set_ylabel("std of what it adds to the logits", color=INK)
    for rows, bound, colour, name in (
        (together, bounds[0], SHORTCUT, "end to end"),
        (boosted, bounds[1], BRANCH, "block by block"),
    ):
        middle.plot(at, [100 * row.train_error for row in rows], "o-", color=colour, ms=3, lw=1.6, label=name)
        middle.plot(at, 100 * np.asarray(bound), color=colour, lw=1.2, ls=(0, (1, 1.5)), label="its bound")
        right.plot(at, [row.edge for row in rows], "o-", color=colour, ms=3, lw=1.6, label=name)
    middle.plot(at, [100 * error for *_, error in parts], color=FAINT, lw=1.2, label="end to end, last classifier")
    middle.set(ylabel="training error (%)", ylim=(0, 103))
    right.set_ylabel("edge; 0: a guess, 1: certainty", color=INK)
    right.axhline(0, color=FAINT, lw=0.8)
    titles = "what each part adds", "error of a classifier after each part", "its edge"
    for axis, title in zip((left, middle, right), titles):
        _clean(axis)
        axis.set_title(title, fontsize=9.5, color=INK)
        axis.set_xlabel("0: the stem; blocks from the input", color=INK)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    middle.legend(frameon=False, fontsize=8, labelcolor="linecolor", loc="lower left")
    return figure


def identity_figure(identity, perturbed, note=""):
    """How well stacks of blocks fit the identity, and a small perturbation of it, against the number of blocks.

    Parameters
    ----------
    identity, perturbed : list of StackFit
        ``fit_stacks(depths)`` and ``fit_stacks(depths, perturbation)``.
    note : str
        As for ``lesions_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    width = 10.0
    figure, bottom, top = _sheet(width, 4.2, note)
    axes = figure.subplots(1, 2)
    figure.subplots_adjust(0.75 / width, bottom + 0.1, 1 - 0.15 / width, top, wspace=0.26)
    kinds = list(dict.fromkeys(fit.kind for fit in identity))
    colours = dict(zip(kinds, (PLAIN, RESIDUAL, "#009E73", "#CC79A7")))
    for axis, fits in zip(axes, (identity, perturbed)):
        for kind in kinds:
            rows = [fit for fit in fits if fit.kind == kind]
            shown = [max(fit.final, 1e-6) for fit in rows]  # exactly 0 lies at the foot of the axis
            axis.plot([fit.blocks for fit in rows], shown, "o-", color=colours[kind], lw=1.7, ms=4, label=kind)
        axis.axhline(1, color=FAINT, lw=0.8)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        _clean(axis)
        axis.minorticks_off()
        axis.set_xticks(sorted({fit.blocks for fit in fits}))
        axis.set_xlabel("blocks", color=INK)
    axes[0].set_ylim(6e-7, 10)
    axes[0].set_ylabel("error; 1: the best constant", color=INK)
    axes[1].set_ylabel("error; 1: handing x on", color=INK)
    axes[0].set_title("target: x itself", fontsize=9.5, color=INK)
    axes[1].set_title("target: x, slightly changed", fontsize=9.5, color=INK)
    axes[0].legend(frameon=False, fontsize=8.5, labelcolor="linecolor", loc="center left")
    return figure


def residuals_figure(x, y, line, boosted, staged, note=""):
    """Fit, look at what is left, fit that: a line, then stumps, or the blocks of a residual net.

    Parameters
    ----------
    x, y : arrays (points,)
    line : array (points,)
        ``straight_line(x, y)``
    boosted, staged : arrays (rounds + 1, points)
        ``boosted_stumps(...)`` and ``residual_stages(...)``.
    note : str
        As for ``lesions_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    width = 11.5
    figure, bottom, top = _sheet(width, 5.6, note)
    axes = figure.subplots(2, 3, sharex=True, sharey="row", height_ratios=[1.6, 1])
    figure.subplots_adjust(0.65 / width, bottom + 0.07, 1 - 0.15 / width, top, wspace=0.08, hspace=0.1)

    def some(fits):
        last = len(fits) - 1
        return {k: fits[k] for k in sorted({min(1, last), min(3, last), last})}

    columns = [
        ("a straight line", {None: line}),
        ("boosting: a sum of stumps", some(boosted)),
        ("a residual net, block by block", some(staged)),
    ]
    for (above, below), (title, fits) in zip(axes.T, columns):
        above.plot(x, y, "o", color="#B8B8B8", ms=3, mew=0)
        for i, (k, fit) in enumerate(fits.items()):
            colour = _shade(i, len(fits))
            above.plot(x, fit, color=colour, lw=1.7, label=f"after {k}" if k is not None else None)
        below.axhline(0, color=FAINT, lw=0.8)
        below.vlines(x, 0, y - fit, color=colour, lw=1)
        below.text(
            0.02, 0.04, f"mean square {np.mean((y - fit) ** 2):.3f}", transform=below.transAxes, fontsize=8.5, color=INK
        )
        above.set_title(title, fontsize=9.5, color=INK)
        for axis in (above, below):
            _clean(axis)
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.tick_params(labelleft=axis in axes[:, 0])
        if len(fits) > 1:
            above.legend(frameon=False, fontsize=8.5, labelcolor="linecolor")
    axes[0, 0].set_ylabel("data and fit", color=INK)
    axes[1, 0].set_ylabel("what is left", color=INK)
    return figure


def _of_kind(name):
    return PLAIN if name.startswith("plain") else RESIDUAL
