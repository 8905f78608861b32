"""Both orders of activations, over training and before it."""

import numpy as np

from minires.figures import INK, colours, learning_curves, legend, looks, panel, sheet, whole_decades

ORDERS = {"resnet": "original order", "preact": "pre-activation"}


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
    """
    kinds = [kind for kind in ORDERS if any(kind == net for net, _ in logs)]
    if not kinds or not all(logs.values()):
        raise ValueError("preactivation_figure: expected logs of resnet or preact networks, got none.")
    figure = sheet(4.6 * len(kinds) + 4.4, 4.4, note)
    *axes, start = figure.subplots(1, len(kinds) + 1, width_ratios=[1] * len(kinds) + [0.8])
    panels = [{f"{net}-{depth}": logs[net, depth] for net, depth in sorted(logs) if net == kind} for kind in kinds]
    by_depth = {name: colour for names in panels for name, colour in colours(names).items()}
    learning_curves(axes, panels, by_depth)
    for axis, kind in zip(axes, kinds):
        axis.set_title(ORDERS[kind], fontsize=11, color=INK)
    look = looks([f"{net}-{depth}" for net, depth in flows])
    for (kind, depth), flow in sorted(flows.items(), reverse=True):
        name, place = f"{kind}-{depth}", (np.arange(len(flow)) + 0.5) / len(flow)
        start.plot(place, [row.entering / flow[-1].entering for row in flow], label=name, **look[name])
    panel(start, "before the first step", "input  →  loss", "gradient entering a block, against the last")
    whole_decades(start, [row.entering / flow[-1].entering for flow in flows.values() for row in flow])
    start.set(xticks=[], xlim=(0, 1))
    legend(start)
    return figure
