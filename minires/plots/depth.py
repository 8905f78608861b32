"""What depth is good for: order of activations, width at equal cost, too much of it on few images."""

import numpy as np
from matplotlib.ticker import NullFormatter

from minires.plots.sheet import INK, clean, depth_colours, sheet, whole_decades
from minires.plots.training import TEST, TRAINING, learning_curves

ORDERS = {"resnet": ("original order", "-"), "preact": ("pre-activation", (0, (1, 1)))}
COLOURS = ["#E69F00", "#56B4E9", "#009E73", "#222222", "#CC79A7", "#8C6D31"]


def preactivation_figure(logs, flows, note=""):
    """Learning curves of both orders of activations, and the gradient on its way through the untrained nets.

    Parameters
    ----------
    logs : dict
        ``{("resnet", 20): [log of each seed], ("preact", 20): ...}``
    flows : dict
        ``{("resnet", 20): gradient_flow(...), ...}``, at the start.
    note : str
        What was run, for the foot of the figure; broken into lines.

    Returns
    -------
    matplotlib.figure.Figure
    """
    kinds = [kind for kind in ORDERS if any(kind == net for net, _ in logs)]
    if not kinds or not all(logs.values()):
        raise ValueError("preactivation_figure: expected logs of resnet or preact networks, got none.")
    width = 4.6 * len(kinds) + 4.4
    figure, bottom, top = sheet(width, 4.4, note)
    *axes, start = figure.subplots(1, len(kinds) + 1, width_ratios=[1] * len(kinds) + [0.8])
    figure.subplots_adjust(0.62 / width, bottom + 0.1, 1 - 0.15 / width, top, wspace=0.42)
    colours = depth_colours(sorted({depth for _, depth in logs}))
    panels = [{f"{net}-{depth}": logs[net, depth] for kind, depth in sorted(logs) if kind == net} for net in kinds]
    learning_curves(axes, panels, {f"{net}-{depth}": colours[depth] for net, depth in logs})
    for axis, kind in zip(axes, kinds):
        axis.set_title(ORDERS[kind][0], fontsize=11, color=INK)
    for (kind, depth), flow in sorted(flows.items(), reverse=True):
        place = (np.arange(len(flow)) + 0.5) / len(flow)
        norms = [row.entering / flow[-1].entering for row in flow]
        start.plot(place, norms, color=colours[depth], ls=ORDERS[kind][1], lw=1.7, label=f"{kind}-{depth}")
    whole_decades(start, [row.entering / flow[-1].entering for flow in flows.values() for row in flow])
    start.set(xticks=[], xlim=(0, 1))
    start.set_xlabel("input  →  loss", color=INK)
    start.set_ylabel("gradient entering a block, against the last", color=INK)
    start.set_title("before the first step", fontsize=11, color=INK)
    clean(start)
    start.legend(frameon=False, fontsize=8.5, labelcolor="linecolor")
    return figure


def width_figure(logs, ends, note=""):
    """Learning curves of nets that cost the same, and the errors at their end against the number of layers.

    Parameters
    ----------
    logs : dict
        ``{(58, 16): [log of each seed], ...}``, by layers and width.
    ends : dict
        ``{(58, 16): (mean training error, mean test error, parameters), ...}``
    note : str
        As for ``preactivation_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not logs or not all(logs.values()) or logs.keys() != ends.keys():
        raise ValueError("width_figure: expected logs and ends of at least one net, under the same keys.")
    width, nets = 10.5, sorted(logs)
    figure, bottom, top = sheet(width, 4.2, note)
    curves, final = figure.subplots(1, 2, width_ratios=[1.3, 1])
    figure.subplots_adjust(0.62 / width, bottom + 0.15, 1 - 0.2 / width, top, wspace=0.38)
    names = {net: "{} x {}".format(*net) for net in nets}
    colours = dict(zip(names.values(), COLOURS * len(nets)))
    learning_curves([curves], [{names[net]: logs[net] for net in nets}], colours)
    curves.set_title("layers x width", fontsize=9.5, color=INK)
    layers = [depth for depth, _ in nets]
    for place, style, marker in ((0, TRAINING, "o"), (1, TEST, "o")):
        errors = [100 * ends[net][place] for net in nets]
        final.plot(layers, errors, color="#B8B8B8", zorder=1, **style)
        final.scatter(layers, errors, c=[colours[names[net]] for net in nets], marker=marker, s=30, zorder=2)
    final.set_xscale("log")
    clean(final)
    final.set_xticks(layers, [f"{depth}\n{w} wide\n{ends[depth, w][2] / 1e6:.2f} M" for depth, w in nets], fontsize=8)
    final.xaxis.set_minor_formatter(NullFormatter())
    final.tick_params(axis="x", which="minor", bottom=False)
    final.set_ylabel("error at the end (%)", color=INK)
    final.set_title("layers, width, parameters", fontsize=9.5, color=INK)
    final.set_ylim(0, 110 * max(max(end[:2]) for end in ends.values()))
    return figure


def overfitting_figure(logs, note=""):
    """Error and loss on the few images that were trained on, and on those that were not.

    Parameters
    ----------
    logs : dict
        ``{"resnet-20": [log of each seed], ...}``, one colour each.
    note : str
        As for ``preactivation_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not logs or not all(logs.values()):
        raise ValueError("overfitting_figure: expected the log of at least one net, got none.")
    width = 11.0
    figure, bottom, top = sheet(width, 4.2, note)
    errors, losses = figure.subplots(1, 2)
    figure.subplots_adjust(0.62 / width, bottom + 0.1, 1 - 0.95 / width, top, wspace=0.34)
    colours = dict(zip(logs, COLOURS * len(logs)))
    learning_curves([errors], [logs], colours, legend="upper right")
    learning_curves([losses], [logs], colours, of="loss", legend="upper right")
    return figure
