"""The errors of two nets over the steps, and their difference with what chance may do."""

import numpy as np

from minires.figures import FAINT, colours, legend, panel, sheet


def crossing_figure(pairs, note=""):
    """Training error against steps above, deep minus shallow with two standard errors below; a column for each pair.

    Parameters
    ----------
    pairs : dict
        ``{("resnet-20", "resnet-56"): stretches(...)}``
    note : str
        What was run, for the foot of the figure; broken into lines.
    """
    figure = sheet(4.6 * len(pairs) + 0.6, 5.4, note)
    axes = figure.subplots(2, len(pairs), squeeze=False, sharex="col", sharey="row", height_ratios=[1.5, 1])
    for (above, below), (names, found) in zip(axes.T, pairs.items()):
        look = colours(names)
        steps = [stretch.last for stretch in found]
        for name, errors in zip(names, zip(*((stretch.shallow, stretch.deep) for stretch in found))):
            above.plot(steps, [100 * error for error in errors], "o-", ms=3, lw=1.6, color=look[name], label=name)
        ahead = 100 * np.array([stretch.deep - stretch.shallow for stretch in found])
        noise = 200 * np.array([stretch.noise for stretch in found])
        below.fill_between(steps, ahead - noise, ahead + noise, color=look[names[1]], alpha=0.2, lw=0)
        below.plot(steps, ahead, color=look[names[1]], lw=1.6)
        below.axhline(0, color=FAINT, lw=0.8)
        panel(above, " and ".join(names), y="training error (%)" if above is axes[0, 0] else "", log="x")
        panel(below, "", "end of the stretch, steps", "difference (points)" if above is axes[0, 0] else "", log="x")
        legend(above)
    return figure
