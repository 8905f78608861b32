"""A paper's order of networks, and the order here."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from minires.figures import BRANCH, FAINT, INK, SHORTCUT, sheet

FROM_BEST_TO_WORST = LinearSegmentedColormap.from_list("", [SHORTCUT, "#7FB2D6", "#BDB5AC", "#EBA25F", BRANCH])
SMALL = {"fontsize": 8, "color": FAINT, "va": "center"}


def ablation_figure(tables):
    """Published errors left, errors here right, and a strand from each network's place there to its place here.

    A strand has the colour of its place in the paper, blue for the best: where the orders agree, the colours on the
    right are in order, too, and few strands cross. ``tables`` are [(a Table, its ``rows_of``), ...].
    """
    tables = [(table, rows) for table, rows in tables if rows]
    if not tables:
        raise ValueError("ablation_figure: expected at least one table with a row, got none. Has any run finished?")
    heights = [len(rows) + 2.2 for _, rows in tables]
    figure = sheet(11.5, 0.26 * sum(heights) + 0.2)
    figure.get_layout_engine().set(w_pad=0, h_pad=0, wspace=0, hspace=0.02)  # the strands run from bar to bar
    grid = figure.add_gridspec(len(tables), 3, height_ratios=heights, width_ratios=[1, 2.1, 1.4])
    for i, (table, rows) in enumerate(tables):
        axes = [figure.add_subplot(grid[i, column]) for column in range(3)]
        order = sorted(range(len(rows)), key=lambda k: rows[k].error)  # stable: failures stay in the paper's order
        places = [sum(other.published <= row.published for other in rows) - 1 for row in rows]
        colours = [FROM_BEST_TO_WORST(place / max(1, len(rows) - 1)) for place in places]
        _published(axes[0], table, rows, colours)
        _strands(axes[1], table, rows, colours, order)
        _here(axes[2], rows, colours, order)
        for axis in axes:
            axis.set_ylim(len(rows) - 0.3, -2.5)
            axis.axis("off")
    return figure


def _published(axis, table, rows, colours):
    """Bars from the right to the left."""
    known = [row.published for row in rows if np.isfinite(row.published)]
    longest = 1.3 * max(known, default=20.0)
    for k, (row, colour) in enumerate(zip(rows, colours)):
        fails = np.isinf(row.published)
        axis.barh(k, longest if fails else row.published, color=colour, height=0.74, alpha=0.45 if fails else 1)
        words = "fail" if fails else f"{row.published:.2f}"
        at = (longest, "left") if fails else (row.published, "right")
        axis.text(at[0], k, f" {words} ", ha=at[1], va="center", fontsize=8.5, color=INK)
    axis.set_xlim(1.35 * longest, 0)
    axis.text(0, -1.65, f"{table.paper}", ha="right", **SMALL)
    axis.text(0, -0.95, f"{table.setting}: test error, %", ha="right", **SMALL)


def _strands(axis, table, rows, colours, order):
    """The names in either order, joined."""
    along = np.linspace(0, 1, 60)
    curve = along**3 * (10 - 15 * along + 6 * along**2)  # level at both ends
    for k, (row, colour) in enumerate(zip(rows, colours)):
        place = order.index(k)
        thick = 3.2 if row.name in ("original", "plain") else 2.0
        axis.plot(0.36 + 0.28 * along, k + (place - k) * curve, color=colour, lw=thick, solid_capstyle="round")
        weight = "bold" if row.name in ("original", "plain") else "normal"
        for x, y, side in ((0.34, k, "right"), (0.66, place, "left")):
            axis.text(x, y, row.name, ha=side, va="center", fontsize=8.5, color=INK, fontweight=weight)
    axis.text(0.5, -1.3, table.title, fontsize=10.5, color=INK, ha="center", va="center")
    axis.set_xlim(0, 1)


def _here(axis, rows, colours, order):
    """Bars from the left to the right: mean over the seeds, each seed a dot, the training error a line."""
    for place, k in enumerate(order):
        row, mean = rows[k], 100 * np.mean(rows[k].test)
        if np.isnan(mean):
            axis.text(0, place, " diverged", va="center", fontsize=8.5, color=INK)
            continue
        axis.barh(place, mean, color=colours[k], height=0.74, alpha=0.45 if row.failed else 1)
        training = 100 * np.mean(row.train)
        axis.vlines(training, place - 0.3, place + 0.3, color=INK, lw=1.1)
        seeds = [100 * error for error in row.test] if len(row.test) > 1 else []
        axis.plot(seeds, [place] * len(seeds), "o", color=INK, ms=2.5, mew=0)
        words = f"fail, {mean:.1f}" if row.failed else f"{mean:.1f}"
        axis.text(max(mean, training, *seeds), place, f"  {words}", va="center", fontsize=8.5, color=INK)
    axis.text(0, -1.65, "here", **SMALL)
    dots = "; dots: seeds" if any(len(row.test) > 1 for row in rows) else ""
    axis.text(0, -0.95, f"test error, %; line: training error{dots}", **SMALL)
    axis.set_xlim(0, 125)
