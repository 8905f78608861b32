"""Slices of the loss landscape."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from minires.figures import BRANCH, FAINT, INK, legend, logarithmic, looks, panel, round_numbers, sheet

NOWHERE = "#BDBDBD"  # where the loss is not finite
LEAST = 1e-4  # losses below are drawn at it: the scale is logarithmic


def planes_figure(landscapes, paths=None, guess=None):
    r"""The loss on planes through the weights of several nets, side by side on one colour scale.

    On a logarithmic scale of losses; or, with ``guess``, log(classes), by the share of what training has gained that is
    left,

    .. math:: (guess - loss) / (guess - \text{least loss of the plane})

    which says how wide a valley is, whatever its depth: a net that has learned little is shallow everywhere.
    ``landscapes`` are {name: Landscape} of two directions each; where they are the planes of paths of training,
    ``paths``, {name: ``path_plane(...)``}, are drawn in them.
    """
    if not landscapes or any(len(found.ticks) != 2 for found in landscapes.values()):
        raise ValueError("planes_figure: expected {name: Landscape}, at least one, each of two directions.")
    paths, columns = paths or {}, min(2, len(landscapes))
    rows = -(-len(landscapes) // columns)
    figure = sheet(3.5 * columns + 1.2, 3.3 * rows + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False)
    shown = {name: _shown(found, guess) for name, found in landscapes.items()}
    scale = Normalize(0, 1) if guess else _scale(shown.values())
    lines = [0.25, 0.5, 0.75] if guess else round_numbers(scale.vmin, scale.vmax)
    for axis in axes.flat[len(landscapes) :]:
        axis.set_axis_off()
    for axis, (name, found) in zip(axes.flat, landscapes.items()):
        panel(axis, name, "alpha", "beta")
        _plane(axis, found.ticks, shown[name], scale, lines)
        if name in paths:
            _path(axis, paths[name])
        else:
            axis.plot(0, 0, "+", color="white", ms=8, mew=1.5)
    bar = figure.colorbar(ScalarMappable(scale, "viridis"), ax=axes, aspect=30, ticks=lines if guess else None)
    if not guess:
        logarithmic(bar.ax.yaxis)
    bar.ax.tick_params(labelsize=8, colors=INK, color=FAINT)
    bar.set_label("share of the gain that is left" if guess else "loss", fontsize=9, color=INK)
    return figure


def _shown(found, guess):
    """What the colours say of a plane: losses, or shares of the gain; alpha to the right, beta upward."""
    loss = np.ma.masked_invalid(found.loss.T)
    if guess is None:
        return np.ma.clip(loss, LEAST, None) if loss.count() else loss
    gained = guess - loss.min() if loss.count() else 1.0
    return np.ma.clip((guess - loss) / max(gained, 1e-12), 0, 1)


def _scale(losses):
    """One logarithmic scale for all, from the least to the largest loss that is finite."""
    finite = np.concatenate([loss.compressed() for loss in losses])
    low, high = (max(finite.min(), LEAST), max(finite.max(), LEAST)) if finite.size else (1, 1)
    return LogNorm(low, max(high, 1.01 * low))


def _plane(axis, ticks, shown, scale, lines):
    axis.set_facecolor(NOWHERE)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    if shown.count() and min(shown.shape) > 1:
        between = np.linspace if scale.vmin == 0 else np.geomspace
        bands = between(scale.vmin * 0.999 - 1e-9 * (scale.vmin == 0), scale.vmax * 1.001, 32)
        axis.contourf(*ticks, shown, levels=bands, norm=scale, cmap="viridis")
        crossed = [level for level in lines if shown.min() < level < shown.max()]
        if crossed:
            drawn = axis.contour(*ticks, shown, levels=crossed, colors="white", linewidths=0.7)
            axis.clabel(drawn, fmt=lambda level: f"{level:g}", fontsize=7)
    axis.set(xlim=ticks[0][[0, -1]], ylim=ticks[1][[0, -1]])
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _path(axis, plane):
    axis.plot(*plane.points.T, "-", color="white", lw=2.6)
    axis.plot(*plane.points.T, "o-", color=BRANCH, lw=1.4, ms=3.5)
    axis.plot(*plane.points[0], "o", color="white", mec=BRANCH, ms=7, mew=1.6)
    rim = [withStroke(linewidth=2, foreground="white")]
    for words, point, offset, side in (("start", 0, (0, 9), "center"), ("end", -1, (-7, -3), "right")):
        place = {"textcoords": "offset points", "ha": side}
        axis.annotate(words, plane.points[point], offset, fontsize=8, color=INK, path_effects=rim, **place)
    first, second = (f"{100 * share:.1f} % of the variance" for share in plane.explained)
    axis.set_xlabel(f"first direction, {first}", color=INK, fontsize=9)
    axis.set_ylabel(f"second direction, {second}", color=INK, fontsize=9)


def lines_figure(columns):
    """The loss, and the error, along lines through the weights of several nets.

    ``columns`` are ``{"a random direction": {"plain-56": [Landscape, ...], "resnet-56": ...}, ...}``, of one direction
    each.
    """
    if not columns or not all(columns.values()):
        raise ValueError("lines_figure: expected {title: {name: Landscape}}, at least one of each.")
    figure = sheet(3.5 * len(columns) + 1.5, 5.6)
    axes = figure.subplots(2, len(columns), sharex="col", sharey="row", squeeze=False)
    look = looks(dict.fromkeys(name for curves in columns.values() for name in curves))
    for (above, below), (title, curves) in zip(axes.T, columns.items()):
        for name, several in curves.items():
            for i, found in enumerate(several):
                above.plot(found.ticks[0], np.clip(found.loss, LEAST, None), label=None if i else name, **look[name])
                below.plot(found.ticks[0], 100 * found.error, **look[name])
        panel(above, title, y="loss", log="y")
        panel(below, x="alpha", y="error (%)")
        below.set_ylim(0, 100)
    legend(axes[0, 0])
    return figure
