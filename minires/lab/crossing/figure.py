"""The errors of two nets over the steps, and their difference with what chance may do."""

import numpy as np

from minires.figures import FAINT, colours, legend, panel, sheet


def crossing_figure(pairs):
    """Training error against steps above, deep minus shallow with two standard errors below; a column for each pair.

    ``pairs`` are ``{("resnet-20", "resnet-56"): stretches(...)}``.
    """
    figure = sheet(4.6 * len(pairs) + 0.6, 5.4)
    axes = figure.subplots(2, len(pairs), squeeze=False, sharex="col", sharey="row", height_ratios=[1.5, 1])
    for (above, below), (names, found) in zip(axes.T, pairs.items()):
        look, (_, steps, shallow, deep, noise) = colours(names), np.array(found).T
        for name, errors in zip(names, (shallow, deep)):
            above.plot(steps, 100 * errors, "o-", ms=3, lw=1.6, color=look[name], label=name)
        ahead, noise, colour = 100 * (deep - shallow), 200 * noise, look[names[1]]
        below.fill_between(steps, ahead - noise, ahead + noise, color=colour, alpha=0.2, lw=0)
        below.plot(steps, ahead, color=colour, lw=1.6)
        below.axhline(0, color=FAINT, lw=0.8)
        panel(above, " and ".join(names), y="training error (%)", log="x")
        panel(below, "", "end of the stretch, steps", "difference (points)", log="x")
        legend(above)
    return figure
