"""Error over the iterations, plain networks beside residual ones."""

from minires.figures import learning_curves, panels_of, sheet

TITLES = {"plain": "plain networks", "resnet": "residual networks"}


def degradation_figure(logs, note=""):
    """Error over the iterations, plain networks left and residual ones right, after Fig. 6 of He et al. 2015.

    ``logs`` are ``{("plain", 20): [log of each seed], ...}``, as ``train`` returns and ``read_log`` reads them.
    """
    logs = {key: [lines for lines in seeds if lines] for key, seeds in logs.items()}
    logs = {key: seeds for key, seeds in logs.items() if seeds}
    if not logs:
        raise ValueError("degradation_figure: expected at least one log with lines, got none. Has any run started?")
    panels = panels_of(logs, TITLES)
    figure = sheet(5.4 * len(panels) + 0.6, 4.5, note)
    learning_curves(figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0], panels)
    return figure


def error_figures(panels):
    """Training and test error over the iterations: {title: a small figure} of each panel, all on axes of one size.

    ``panels`` are ``{"plain networks": {"plain-20": [log of each seed], ...}, ...}``.
    """
    if not any(panels.values()):
        raise ValueError("error_figures: expected at least one panel with a log, got none. Has any run started?")
    figures = {title: sheet(4.2, 3.36) for title in panels}
    learning_curves([figure.subplots() for figure in figures.values()], panels)
    return figures
