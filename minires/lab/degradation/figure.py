"""Error over the iterations, plain networks beside residual ones."""

from minires.figures import INK, in_short, learning_curves, sheet

PANELS = {"plain": "plain networks", "resnet": "residual networks"}


def degradation_figure(logs, note=""):
    """Training and test error over the iterations, plain networks left and residual ones right.

    After Fig. 6 of He et al. 2015: training error thin and dashed, test error bold. Several seeds are drawn as their
    mean, with a band from the lowest to the highest. ``logs`` are ``{("plain", 20): [lines, ...], ...}``: for each net
    and depth the log of every seed, as ``train`` returns it and ``read_log`` reads it; ``note`` is for the foot.
    """
    logs = {key: [lines for lines in seeds if lines] for key, seeds in logs.items()}
    logs = {key: seeds for key, seeds in logs.items() if seeds}
    if not logs:
        raise ValueError("degradation_figure: expected at least one log with lines, got none. Has any run started?")
    kinds = [kind for kind in PANELS if any(key[0] == kind for key in logs)]
    figure = sheet(5.4 * len(kinds) + 0.6, 4.5, note)
    axes = figure.subplots(1, len(kinds), sharex=True, sharey=True, squeeze=False)[0]
    panels = [{f"{net}-{depth}": logs[net, depth] for net, depth in sorted(logs) if net == kind} for kind in kinds]
    learning_curves(axes, panels)
    for axis, kind in zip(axes, kinds):
        axis.set_title(PANELS[kind], fontsize=11, color=INK)
    return figure


def error_figures(panels, width=4.2):
    """Training and test error over the iterations: {title: a small figure} of each panel, all on axes of one size.

    ``panels`` are ``{"plain networks": {("plain", 20): [log of each seed], ...}, ...}``; at depth 0 the net's name is
    all. ``width`` is in inches.
    """
    if not any(panels.values()):
        raise ValueError("error_figures: expected at least one panel with a log, got none. Has any run started?")
    named = [
        {f"{net}-{depth}" if depth else net: logs for (net, depth), logs in panel.items()} for panel in panels.values()
    ]
    figures = {title: sheet(width, 0.8 * width) for title in panels}
    axes = [figure.subplots() for figure in figures.values()]
    learning_curves(axes, named)
    for axis, title in zip(axes, figures):
        axis.set_title(in_short(title, 40), fontsize=11, color=INK)
        axis.set_ylabel("error (%)", color=INK)
    return figures
