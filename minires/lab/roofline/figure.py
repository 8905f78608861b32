"""Arithmetic against memory: the roofline of a machine, and where operators lie under it."""

from itertools import product

import numpy as np

from minires.figures import FAINT, INK, legend, panel, sheet

KINDS = {
    "conv2d": ("convolutions", "#0072B2"),
    "linear": ("Linear", "#CC79A7"),
    "batchnorm": ("batch norm", "#D55E00"),
    "": ("elementwise", "#009E73"),
}
WHOLE_STEP = 4000  # points^2: the area of a dot whose share is 1


def roofline_figure(rows, limits, note="", labels=14):
    r"""Operators under the limits of a machine (Williams, Waterman and Patterson, Comm. of the ACM 52(4), 2009).

    An operator that does ``intensity`` operations for each byte it moves cannot do more of them in a second than

    .. math:: \min(\text{peak},\; \text{intensity} \cdot \text{bandwidth}),

    a slope that ends under a flat roof. Under the slope it waits for memory, under the flat part for arithmetic.

    ``rows`` are dicts of ``operator, shape, share, intensity`` (FLOP/byte) and ``gflops_per_s``; a row without
    intensity is left out. ``limits`` has ``peak`` (GFLOP/s), and two bandwidths, ``memory`` and ``cache`` (GB/s). So
    many ``labels`` are written at most, of the largest shares: convolutions by their shape, others by their operator.
    """
    rows = sorted((row for row in rows if "intensity" in row), key=lambda row: -row["share"])
    if not rows:
        raise ValueError("roofline_figure: expected at least one row with an intensity, got none.")
    figure = sheet(10.0, 5.6, note)
    axis = figure.subplots()
    x, y = (np.array([row[key] for row in rows]) for key in ("intensity", "gflops_per_s"))
    low, high = x.min() / 5, max(x.max(), limits["peak"] / limits["memory"]) * 4
    words = "arithmetic intensity: operations per byte that must move (FLOP/byte)", "operations per second (GFLOP/s)"
    panel(axis, "", *words, log="xy")
    axis.set(xlim=(low, high), ylim=(y.min() / 2.5, 6 * limits["peak"]))
    figure.draw_without_rendering()  # from here on the axes stay where they are
    figure.set_layout_engine("none")
    _draw_roofs(axis, limits, low, high)
    sizes = np.array([WHOLE_STEP * row["share"] for row in rows])
    colours = [KINDS[_kind(row)][1] for row in rows]
    axis.scatter(x, y, sizes, color=colours, alpha=0.65, lw=0.6, edgecolor="white", zorder=3)
    for words, colour in KINDS.values():
        axis.scatter([], [], 60, color=colour, alpha=0.65, lw=0, label=words)
    legend(axis, fontsize=9, loc="lower right")
    columns = [column[1:] for column in sorted(_columns(rows), key=lambda column: -column[0])[:labels]]
    _name(axis, x, y, np.sqrt(sizes / np.pi), columns, colours)
    return figure


def _kind(row):
    return next(prefix for prefix in KINDS if row["operator"].startswith(prefix))


def _columns(rows):
    """Yield (share, name, indices) of rows above each other: convolutions of a shape, operators of an intensity.

    Columns of less than half a percent are left out.
    """
    columns = {}
    for i, row in enumerate(rows):
        kind = _kind(row)
        columns.setdefault((kind, row["shape"] if kind == "conv2d" else row["intensity"]), []).append(i)
    for (kind, what), own in columns.items():
        names = dict.fromkeys(rows[i]["operator"] for i in own)
        share = sum(rows[i]["share"] for i in own)
        if share >= 0.005:
            yield share, f"{what if kind == 'conv2d' else ', '.join(names)}: {share:.0%}", own


def _draw_roofs(axis, limits, low, high):
    peak, memory, cache = limits["peak"], limits["memory"], limits["cache"]
    right, up = np.diff(axis.transData.transform([(1, 1), (10, 10)]), axis=0)[0]
    slope = np.degrees(np.arctan2(up, right))
    for words, bandwidth, colour, side in (("last cache", cache, FAINT, 1), ("memory", memory, INK, -1)):
        axis.plot([low, peak / bandwidth, high], [low * bandwidth, peak, peak], color=colour, lw=1.5, zorder=2)
        _write(axis, f"{words}: {bandwidth:.0f} GB/s", peak / bandwidth / 6, peak / 6, colour, side, rotation=slope)
    axis.plot([peak / memory, high], [2 * peak, 2 * peak], color=INK, lw=1, ls=(0, (4, 2)), zorder=2)
    _write(axis, f"multiply-adds: {peak:.0f} GFLOP/s", peak / cache, peak)
    _write(axis, "with half of the multiplications", peak / memory, 2 * peak)


def _write(axis, words, x, y, colour=INK, side=1, **how):
    """Words above (side 1) or below (-1) a line that begin at one of its points."""
    how |= {"va": "bottom" if side == 1 else "top", "rotation_mode": "anchor"}
    axis.annotate(words, (x, y), (0, 3 * side), textcoords="offset points", color=colour, fontsize=8, **how)


def _name(axis, x, y, radii, columns, colours):
    """Write the name of each column as near to it as it covers no dot, no roof and no other name; if it fits at all."""
    axis.figure.draw_without_rendering()
    points, inside = axis.figure.dpi / 72, axis.get_window_extent()
    dots, radii = axis.transData.transform(np.column_stack([x, y])), radii[:, None] * points
    dots = np.hstack([dots - radii, dots + radii])  # a box is left, bottom, right, top
    left, bottom, right, top = inside.extents
    far = 1e6
    taken = [[-far, -far, left, far], [right, -far, far, far], [-far, -far, far, bottom], [-far, top, far, far], *dots]
    taken += [text.get_window_extent().extents for text in (*axis.texts, axis.get_legend())]
    for line in axis.lines:
        corners = axis.transData.transform(line.get_xydata())
        for a, b in zip(corners, corners[1:]):
            taken += [[*(spot - points), *(spot + points)] for spot in np.linspace(a, b, 200)]
    names = [[0, 0, 0, 0]]
    for name, own in columns:
        low, high = dots[own].min(axis=0)[:2], dots[own].max(axis=0)[2:]
        middle = (low + high) / 2
        text = axis.text(*middle, name, transform=None, fontsize=7.5, color=colours[own[0]], ha="center", va="center")
        half = text.get_window_extent().size / 2 + 2 * points
        for away, angle in product(range(1, 200, 3), np.arange(8, 40) * np.pi / 16):
            spot = middle + ((high - low) / 2 + half + away * points) * [np.cos(angle), np.sin(angle)]
            start = np.array([middle[0], np.clip(spot[1], low[1], high[1])])
            stop = np.clip(start, spot - half, spot + half)
            box, line = [*(spot - half), *(spot + half)], [*np.minimum(start, stop), *np.maximum(start, stop)]
            if not _overlap(box, taken + names) and not _overlap(line, names):
                names.append(box)
                text.set_position(spot)
                axis.plot(*zip(start, stop), transform=None, color=FAINT, lw=0.6, zorder=1)
                break
        else:
            text.remove()


def _overlap(box, others):
    left, bottom, right, top = np.transpose(others)
    return np.any((left < box[2]) & (box[0] < right) & (bottom < box[3]) & (box[1] < top))
