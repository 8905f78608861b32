"""Figures a panel at a time, for a page that puts them side by side or, on a phone, one below the other."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from minires.plots.explanations import draw_responses
from minires.plots.sheet import INK, clean, depth_colours
from minires.plots.training import TEST, TRAINING, learning_curves


def error_figures(panels, width=4.2):
    """Training and test error over the iterations: a small figure for each panel, all on axes of one size.

    Parameters
    ----------
    panels : dict
        ``{"plain networks": {("plain", 20): [log of each seed], ...}, ...}``; at depth 0 the net's name is all.
    width : float, default 4.2
        Of each, in inches.

    Returns
    -------
    dict
        ``{"plain networks": matplotlib.figure.Figure, ...}``
    """
    keys = [key for panel in panels.values() for key in panel]
    if not keys:
        raise ValueError("error_figures: expected at least one panel with a log, got none. Has any run started?")
    names = {(net, depth): _in_short(f"{net}-{depth}" if depth else net) for net, depth in keys}
    by_depth = depth_colours(sorted({depth for _, depth in keys}))
    figures = {title: Figure(figsize=(width, 0.8 * width), dpi=200, facecolor="white") for title in panels}
    axes = [figure.subplots() for figure in figures.values()]
    named = [{names[key]: logs for key, logs in panel.items()} for panel in panels.values()]
    learning_curves(axes, named, {name: by_depth[depth] for (_, depth), name in names.items()})
    beside = 0.095 * max(map(len, names.values())) + 0.1  # inches, for the names at the ends of the curves
    styles = [Line2D([], [], color=INK, **TRAINING), Line2D([], [], color=INK, **TEST)]
    for axis, (title, figure) in zip(axes, figures.items()):
        axis.set_title(_in_short(title, 40), fontsize=11, color=INK, pad=6)
        axis.set_ylabel("error (%)", color=INK)
        axis.legend(styles, ["training", "test"], loc="lower left", frameon=False, fontsize=9, labelcolor=INK)
        figure.subplots_adjust(0.55 / width, 0.5 / (0.8 * width), 1 - beside / width, 1 - 0.3 / (0.8 * width))
    return figures


def _in_short(name, most=20):
    """A name that fits, and is no formula to matplotlib."""
    return (name if len(name) <= most else f"{name[: most - 8]}…{name[-7:]}").replace("$", r"\$")


def response_figures(responses, width=4.2):
    """The two panels of ``responses_figure``, ``{"in order": Figure, "sorted": Figure}``."""
    if not responses or not all(responses.values()):
        raise ValueError('response_figures: expected {("resnet", 20): layer_responses(...), ...} with rows in each.')
    titles = {"in order": "in order, from input to loss", "sorted": "sorted by size"}
    figures = {name: Figure(figsize=(width, 0.8 * width), dpi=200, facecolor="white") for name in titles}
    axes = [figure.subplots() for figure in figures.values()]
    draw_responses(*axes, responses)
    top = 1.1 * max(row.std for rows in responses.values() for row in rows)
    names = axes[0].get_legend_handles_labels()
    for axis, (name, figure) in zip(axes, figures.items()):
        axis.set_title(titles[name], fontsize=11, color=INK, pad=6)
        axis.set(xlim=(1, max(map(len, responses.values()))), ylim=(0, top))
        axis.set_xlabel("3x3 layer", color=INK)
        axis.set_ylabel("std of the response", color=INK)
        clean(axis)
        axis.legend(*names, loc="best", frameon=False, fontsize=9, labelcolor="linecolor")
        figure.subplots_adjust(0.6 / width, 0.5 / (0.8 * width), 1 - 0.15 / width, 1 - 0.3 / (0.8 * width))
    return figures
