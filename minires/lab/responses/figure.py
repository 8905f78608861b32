"""The responses of all layers, after Fig. 7 of He et al. 2015."""

import numpy as np

from minires.figures import DOTTED, FAINT, legend, looks, panel, sheet

TITLES = {"in order": "in order, from the input to the loss", "sorted": "sorted by size"}


def responses_figure(responses, floors=None):
    """Standard deviation of every 3x3 layer's response: in order above, from the largest to the smallest below.

    After Fig. 7 of He et al. 2015; plain nets dashed, others drawn through. Where some are above 10 the axis is
    logarithmic. ``responses`` are ``{("plain", 20): layer_responses(...), ...}``; ``floors`` are ``{words:
    decay_alone(...)}``: what weight decay alone makes of a response of 1.
    """
    if not responses or not all(responses.values()):
        raise ValueError('responses_figure: expected {("resnet", 20): layer_responses(...), ...} with rows in each.')
    figure = sheet(8.5, 6.4)
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    for axis, order in zip(axes, TITLES):
        _draw(axis, responses, order)
        for (words, floor), ls in zip((floors or {}).items(), (DOTTED, "--", "-.", "-")):
            axis.axhline(floor, color=FAINT, lw=0.9, ls=ls, label=words)
    legend(axes[0], loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9)
    return figure


def response_figures(responses):
    """The two panels of ``responses_figure`` as figures of their own, ``{"in order": Figure, "sorted": Figure}``."""
    figures = {order: sheet(4.2, 3.4) for order in TITLES}
    for order, figure in figures.items():
        axis = figure.subplots()
        _draw(axis, responses, order)
        legend(axis)
    return figures


def _draw(axis, responses, order):
    stds = {key: np.array([row.std for row in rows]) for key, rows in responses.items()}
    names = {key: f"{key[0]}-{key[1]}" if key[1] else key[0] for key in responses}
    look = looks([names[key] for key in responses])
    for key in sorted(stds, key=lambda key: (key[0] != "plain", key[1])):
        values = stds[key] if order == "in order" else np.sort(stds[key])[::-1]
        axis.plot(np.arange(1, len(values) + 1), values, label=names[key], **look[names[key]])
    high = max(map(np.max, stds.values()))
    panel(axis, TITLES[order], "3x3 layer", "std of the response", log="y" if high > 10 else "", whole=True)
    axis.set_xlim(1, max(map(len, stds.values())))
    if high <= 10:
        axis.set_ylim(0, 1.08 * high)
