"""Figures. The only file that imports matplotlib; none of it needs a screen.

Each function returns a ``matplotlib.figure.Figure``, which a notebook shows and ``figure.savefig(path)`` writes.
"""

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
