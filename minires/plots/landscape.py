"""Slices of the loss landscape."""

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from minires.plots.sheet import BRANCH, FAINT, INK, clean, of_kind, sheet

NOWHERE = "#BDBDBD"  # where the loss is not finite
LEAST = 1e-4  # losses below are drawn at it: the scale is logarithmic


def planes_figure(landscapes, paths=None, note=""):
    """The loss on planes through the weights of several nets, side by side on one logarithmic colour scale.

    Parameters
    ----------
    landscapes : dict
        ``{"plain-56": Landscape, "resnet-56": ...}`` of two directions each; two in a row.
    paths : dict, optional
        ``{"plain-56": path_plane(...), ...}``, where the planes are those of a path of training, which is then drawn.
    note : str
        As for ``river_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not landscapes or any(len(found.ticks) != 2 for found in landscapes.values()):
        raise ValueError("planes_figure: expected {name: Landscape}, at least one, each of two directions.")
    paths = paths or {}
    columns = min(2, len(landscapes))
    rows = -(-len(landscapes) // columns)
    width, height = 3.5 * columns + 1.2, 3.3 * rows + 0.3
    figure, bottom, top = sheet(width, height, note)
    axes = figure.subplots(rows, columns, squeeze=False)
    height = figure.get_figheight()
    right = 1 - 1.15 / width
    figure.subplots_adjust(0.65 / width, bottom + 0.45 / height, right, top, wspace=0.22, hspace=0.32)
    scale = _scale(found.loss for found in landscapes.values())
    lines = _round_levels(scale.vmin, scale.vmax)
    for axis in axes.flat[len(landscapes) :]:
        axis.set_axis_off()
    for axis, (name, found) in zip(axes.flat, landscapes.items()):
        _plane(axis, found, scale, lines)
        axis.set_title(name, fontsize=10, color=of_kind(name))
        axis.set_xlabel("alpha", color=INK, fontsize=9)
        axis.set_ylabel("beta", color=INK, fontsize=9)
        if name in paths:
            _path(axis, paths[name])
        else:
            axis.plot(0, 0, "+", color="white", ms=8, mew=1.5)
    bar = figure.add_axes([right + 0.2 / width, bottom + 0.45 / height, 0.16 / width, top - bottom - 0.45 / height])
    _bar(bar, scale, lines)
    return figure


def _scale(losses):
    """One logarithmic scale for all, from the least to the largest loss that is finite."""
    finite = np.concatenate([loss[np.isfinite(loss)] for loss in losses])
    low, high = (max(finite.min(), LEAST), max(finite.max(), LEAST)) if finite.size else (1, 1)
    return LogNorm(low, max(high, 1.01 * low))


def _round_levels(low, high):
    """1, 2, 5, 10, ... between low and high; powers of ten alone where those are many."""
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,)):
        levels = [step * 10.0**decade for decade in decades for step in steps]
        levels = [level for level in levels if low < level < high]
        if len(levels) <= 9:
            break
    return levels


def _plane(axis, found, scale, lines):
    axis.set_facecolor(NOWHERE)
    loss = np.ma.masked_invalid(np.clip(found.loss.T, LEAST, None))  # alpha to the right, beta upward
    if loss.count() and min(loss.shape) > 1:
        bands = np.geomspace(scale.vmin * 0.999, scale.vmax * 1.001, 32)
        axis.contourf(*found.ticks, loss, levels=bands, norm=scale, cmap="viridis")
        crossed = [level for level in lines if loss.min() < level < loss.max()]
        if crossed:
            drawn = axis.contour(*found.ticks, loss, levels=crossed, colors="white", linewidths=0.7)
            axis.clabel(drawn, fmt=lambda level: f"{level:g}", fontsize=7)
    axis.set(xlim=found.ticks[0][[0, -1]], ylim=found.ticks[1][[0, -1]])
    axis.tick_params(labelsize=8, colors=INK, color=FAINT)
    axis.spines[:].set_visible(False)
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        each.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


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


def _bar(axis, scale, lines):
    shades = np.geomspace(scale.vmin, scale.vmax, 256)
    axis.pcolormesh([0, 1], shades, shades[:-1, None], norm=scale, cmap="viridis")
    axis.set_yscale("log")
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set(xticks=[], ylim=(scale.vmin, scale.vmax))
    axis.set_yticks(lines, [f"{level:g}" for level in lines])
    axis.yaxis.tick_right()
    axis.tick_params(labelsize=8, colors=INK, color=FAINT)
    axis.set_title("loss", fontsize=9, color=INK)


def lines_figure(columns, note=""):
    """The loss, and the error, along lines through the weights of several nets.

    Parameters
    ----------
    columns : dict
        ``{"a random direction": {"plain-56": Landscape, "resnet-56": ...}, ...}`` of one direction each.
    note : str
        As for ``river_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not columns or not all(columns.values()):
        raise ValueError("lines_figure: expected {title: {name: Landscape}}, at least one of each.")
    width = 3.5 * len(columns) + 1.5
    figure, bottom, top = sheet(width, 5.6, note)
    axes = figure.subplots(2, len(columns), sharex="col", sharey="row", squeeze=False)
    figure.subplots_adjust(0.7 / width, bottom + 0.07, 1 - 0.15 / width, top, wspace=0.08, hspace=0.1)
    for (above, below), (title, curves) in zip(axes.T, columns.items()):
        deepest = max(_depth(name) for name in curves)
        for name, found in curves.items():
            deep = _depth(name) == deepest
            look = {"color": of_kind(name), "lw": 1.7 if deep else 1.2, "ls": "-" if deep else (0, (4, 1.5))}
            above.plot(found.ticks[0], np.clip(found.loss, LEAST, None), label=name, **look)
            below.plot(found.ticks[0], 100 * found.error, **look)
        above.set_yscale("log")
        above.set_title(title, fontsize=9.5, color=INK)
        below.set_ylim(0, 100)
        below.set_xlabel("alpha", color=INK)
        for axis in (above, below):
            clean(axis)
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.tick_params(labelleft=axis in axes[:, 0])
    scale = _scale(found.loss for curves in columns.values() for found in curves.values())
    levels = _round_levels(scale.vmin, scale.vmax)
    axes[0, 0].yaxis.set_minor_locator(NullLocator())
    axes[0, 0].set_yticks(levels, [f"{level:g}" for level in levels])
    axes[0, 0].set_ylabel("loss", color=INK)
    axes[1, 0].set_ylabel("error (%)", color=INK)
    axes[0, 0].legend(frameon=False, fontsize=8.5, labelcolor="linecolor")
    return figure


def _depth(name):
    return int(name.rpartition("-")[2]) if name.rpartition("-")[2].isdigit() else 0
