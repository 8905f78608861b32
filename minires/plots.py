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
    part = upper / (upper + lower)  # of the width, above the line where the strands touch
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
    return max(np.max(upper + lower + gap), np.max(nodes)) / 2


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
                shares.plot(block, shortcut**2 / (shortcut**2 + branch**2), **style)
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
