"""Stacks that fit the identity, and fits of what is left."""

import numpy as np

from minires.figures import FAINT, legend, panel, shade, sheet, with_seeds
from minires.lab.identity.measure import LEAST


def identity_figure(fits, blocks):
    """How well stacks fit the identity, and a small perturbation of it, against the steps they were trained for.

    ``fits`` are ``{target: {(kind, steps): array (seeds, depths)}}``, the final errors that ``fit_stacks`` finds for
    stacks of so many ``blocks``.
    """
    kinds = list(dict.fromkeys(kind for found in fits.values() for kind, _ in found))
    figure = sheet(1.6 + 2.4 * len(kinds), 5.6)
    rows = figure.subplots(len(fits), len(kinds), sharex=True, sharey="row", squeeze=False)
    for row, (target, found) in zip(rows, fits.items()):
        for axis, kind in zip(row, kinds):
            steps = [at for name, at in found if name == kind]
            finals = np.maximum([found[kind, at] for at in steps], LEAST)  # (steps, seeds, depths)
            axis.axhline(1, color=FAINT, lw=0.8)
            for i, n in enumerate(blocks):
                colour = shade(i, len(blocks))
                with_seeds(axis, steps, finals[:, :, i], np.median, color=colour, label=f"{n} block{'s' * (n > 1)}")
            panel(axis, kind if axis in rows[0] else "", "steps", f"target: {target}\nerror", log="xy")
    legend(rows[0, 0])
    return figure


def residuals_figure(x, y, line, boosted, staged):
    """Fit y, look at what is left, fit that: a line, then stumps, or the blocks of a residual net.

    ``line`` is ``straight_line(x, y)``; ``boosted`` and ``staged`` are ``boosted_stumps(...)`` and
    ``residual_stages(...)``, arrays (rounds + 1, points).
    """
    figure = sheet(11.5, 5.6)
    axes = figure.subplots(2, 3, sharex=True, sharey="row", height_ratios=[1.6, 1])

    def some(fits):
        last = len(fits) - 1
        return {k: fits[k] for k in sorted({min(1, last), min(3, last), last})}

    columns = [
        ("a straight line", {None: line}, "default"),
        ("boosting: a sum of stumps", some(boosted), "steps-mid"),
        ("a residual net, block by block", some(staged), "default"),
    ]
    for (above, below), (title, fits, drawn) in zip(axes.T, columns):
        above.plot(x, y, "o", color="#B8B8B8", ms=3, mew=0)
        for i, (k, fit) in enumerate(fits.items()):
            colour = shade(i, len(fits))
            above.plot(x, fit, color=colour, lw=1.7, drawstyle=drawn, label=f"after {k}" if k is not None else None)
        below.axhline(0, color=FAINT, lw=0.8)
        below.vlines(x, 0, y - fit, color=colour, lw=1)
        panel(above, f"{title}; leaves {np.mean((y - fit) ** 2):.3f}", y="data and fit")
        panel(below, y="what is left")
        if len(fits) > 1:
            legend(above)
    return figure
