"""Both orders of activations, over training and before it."""

from minires.figures import along_net, learning_curves, legend, panels_of, sheet, whole_decades

ORDERS = {"resnet": "original order", "preact": "pre-activation"}


def preactivation_figure(logs, flows):
    """Learning curves of both orders of activations, and the gradient on its way through the untrained nets.

    ``logs`` are ``{("resnet", 20): [log of each seed], ("preact", 20): ...}``, ``flows`` the ``gradient_flow(...)`` of
    each at the start.
    """
    panels = panels_of(logs, ORDERS)
    if not panels or not all(logs.values()):
        raise ValueError("preactivation_figure: expected logs of resnet or preact networks, got none.")
    figure = sheet(4.6 * len(panels) + 4.4, 4.4)
    *axes, start = figure.subplots(1, len(panels) + 1, width_ratios=[1] * len(panels) + [0.8])
    learning_curves(axes, panels)
    norms = {
        f"{kind}-{depth}": [row.entering / flow[-1].entering for row in flow]
        for (kind, depth), flow in sorted(flows.items(), reverse=True)
    }
    along_net(start, norms, "before the first step", "gradient entering a block, against the last")
    whole_decades(start, [norm for row in norms.values() for norm in row])
    legend(start)
    return figure
