"""Gradients of nets of one number."""

import numpy as np

from minires.figures import BRANCH, DASHED, DOTTED, FAINT, INK, OTHERS, SHORTCUT, legend, panel, sheet


def shattered_figure(traces, correlations, by_depth):
    """Gradients of nets of one number beside brown and white noise, and how fast they lose their correlation.

    In the order of the columns, ``traces`` are ``{"1 layer": gradients at the points, ..., "white noise": ...}`` and
    ``correlations`` their autocorrelations, means over several nets. ``by_depth`` is ``{"plain": (layers,
    correlation_by_depth(...)), ...}``; those whose name ends with ``independent`` are dashed.
    """
    figure = sheet(12.5, 6.2)
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.8])
    colour = dict(zip(traces, [INK, BRANCH, SHORTCUT, "#56B4E9", *OTHERS]))
    colour |= {name: "#A05A2C" if name.startswith("brown") else "#B0B0B0" for name in traces if name.endswith("noise")}
    for axis, (name, trace) in zip(above.subplots(1, len(traces), squeeze=False)[0], traces.items()):
        axis.plot(trace, color=colour[name], lw=0.9)
        axis.set_title(name, fontsize=9.5, color=colour[name])
        axis.set(xticks=[], yticks=[], xlim=(0, len(trace) - 1))
        axis.spines[:].set_color("#CCCCCC")
    lags, depths = below.subplots(1, 2)
    for name, correlation in correlations.items():
        lags.plot(correlation, "o-", color=colour[name], lw=1.5, ms=3, label=name)
    panel(lags, x="lag (points)", y="autocorrelation")
    lags.set_xlim(0, None)
    lags.set_title("colours as above", fontsize=8.5, color=FAINT, loc="right")
    _draw_by_depth(depths, {name: (np.asarray(layers), found) for name, (layers, found) in by_depth.items()})
    return figure


def _draw_by_depth(axis, by_depth):
    """Correlations against the number of layers, beside what the paper derives."""
    for name, (layers, found) in by_depth.items():
        shown, seen = BRANCH if name.startswith("plain") else "#56B4E9" if "beta" in name else SHORTCUT, found > 0
        style = {"ls": DASHED, "marker": "s"} if name.endswith("independent") else {"marker": "o"}
        axis.plot(layers[seen], found[seen], color=shown, lw=1.6, ms=4, label=name, **style)
    layers = np.linspace(1, max(layers.max() for layers, _ in by_depth.values()), 300)
    start = max(found[0] for _, found in by_depth.values())
    for law, shown, words in ((2.0 ** (1 - layers), BRANCH, "as 1 / 2^L"), (layers**-0.5, SHORTCUT, "as 1 / sqrt(L)")):
        axis.plot(layers, start * law, color=shown, lw=1, ls=DOTTED, label=words)
    panel(axis, x="layers L", y="correlation over all pairs of points", log="xy")
    axis.set_ylim(0.6 * min(found[found > 0].min() for _, found in by_depth.values()), 1.3)
    legend(axis, loc="lower left")
