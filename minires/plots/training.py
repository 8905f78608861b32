"""Error over the iterations."""

import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from minires.plots.sheet import FAINT, INK, clean, depth_colours

PANELS = {"plain": "plain networks", "resnet": "residual networks"}
TRAINING, TEST = {"lw": 1.1, "ls": (0, (4, 1.5))}, {"lw": 2.4, "solid_capstyle": "round"}


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
    colours = depth_colours(sorted({depth for _, depth in logs}))

    width = 5.4 * len(nets) + 0.6
    note = textwrap.wrap(note, int(15.5 * width))
    foot = 0.16 * len(note) + 0.12 if note else 0.0
    height = 4.5 + foot
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    axes = figure.subplots(1, len(nets), sharex=True, sharey=True, squeeze=False)[0]
    panels = [{f"{net}-{depth}": logs[net, depth] for kind, depth in sorted(logs) if kind == net} for net in nets]
    learning_curves(axes, panels, {f"{net}-{depth}": colours[depth] for net, depth in logs})
    for axis, net in zip(axes, nets):
        axis.set_title(PANELS[net], fontsize=11, color=INK, pad=8)
    figure.subplots_adjust(0.62 / width, (0.55 + foot) / height, 1 - 0.95 / width, 1 - 0.4 / height, wspace=0.24)
    figure.text(0.12 / width, 0.1 / height, "\n".join(note), fontsize=7.5, color=FAINT, va="bottom", linespacing=1.35)
    return figure


UNITS = {"error": ("error (%)", 100), "loss": ("loss", 1)}


def learning_curves(axes, panels, colours, of="error", legend="lower left"):
    """Draw training and test error, or loss, over the iterations: on each axis a panel {name: [log of each seed]}."""
    last = max(lines[-1]["step"] for panel in panels for seeds in panel.values() for lines in seeds)
    names = []
    for axis, panel in zip(axes, panels):
        names.append([])
        for name, seeds in panel.items():
            curves = [_training_curve(lines, of) for lines in seeds], [_test_curve(lines, of) for lines in seeds]
            training = _mean_and_spread(axis, curves[0], colours[name], **TRAINING)
            test = _mean_and_spread(axis, curves[1], colours[name], **TEST)
            names[-1].append(((test if len(test) else training)[-1], name, colours[name]))
        axis.set_xlabel("iteration", color=INK)
        clean(axis)
    worst = max(end for ends in names for end, *_ in ends)
    top = min(100.0, max(20.0, 2.2 * worst)) if of == "error" else 1.3 * worst
    for axis, ends in zip(axes, names):
        axis.set(xlim=(0, last), ylim=(0, top))
        _name_ends(axis, ends, 1.02 * last, gap=0.052 * top)
    axes[0].set_ylabel(UNITS[of][0], color=INK)
    styles = [Line2D([], [], color=INK, **TRAINING), Line2D([], [], color=INK, **TEST)]
    axes[-1].legend(styles, ["training", "test"], loc=legend, frameon=False, fontsize=9, labelcolor=INK)


def _training_curve(lines, of, points=60):
    """(iterations, errors in %): the mean over the images of each of up to ``points`` stretches, at their middle."""
    lines = [line for line in lines if line["kind"] == "train"]
    if not lines:
        return np.empty(0), np.empty(0)
    step, value, images = (np.array([line[name] for line in lines]) for name in ("step", of, "images"))
    begin = np.concatenate([[0], step[:-1]])
    stretch = np.minimum((step - 1) * points // step[-1], points - 1)
    parts = [stretch == i for i in np.unique(stretch)]
    middle = [(begin[part][0] + step[part][-1]) / 2 for part in parts]
    return np.array(middle), np.array([UNITS[of][1] * np.average(value[part], weights=images[part]) for part in parts])


def _test_curve(lines, of):
    lines = [line for line in lines if line["kind"] == "test"]
    return np.array([line["step"] for line in lines]), np.array([UNITS[of][1] * line[of] for line in lines])


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
