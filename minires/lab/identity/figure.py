"""Stacks that fit the identity, and fits of what is left."""

import numpy as np

from minires.figures import FAINT, OTHERS, PLAIN, RESIDUAL, legend, panel, shade, sheet


def identity_figure(identity, perturbed, note=""):
    """How well stacks of blocks fit the identity, and a small perturbation of it, against the number of blocks.

    Parameters
    ----------
    identity, perturbed : list of StackFit
        ``fit_stacks(depths)`` and ``fit_stacks(depths, perturbation)``.
    note : str
        What was run, for the foot of the figure; broken into lines.
    """
    figure = sheet(10.0, 4.2, note)
    axes = figure.subplots(1, 2)
    kinds = list(dict.fromkeys(fit.kind for fit in identity))
    colour = dict(zip(kinds, (PLAIN, RESIDUAL, "#009E73", OTHERS[0])))
    for axis, fits in zip(axes, (identity, perturbed)):
        for kind in kinds:
            rows = [fit for fit in fits if fit.kind == kind]
            shown = [max(fit.final, 1e-6) for fit in rows]  # exactly 0 lies at the foot of the axis
            axis.plot([fit.blocks for fit in rows], shown, "o-", color=colour[kind], lw=1.7, ms=4, label=kind)
        axis.axhline(1, color=FAINT, lw=0.8)
    panel(axes[0], "target: x itself", "blocks", "error; 1: the best constant", log="xy")
    panel(axes[1], "target: x, slightly changed", "blocks", "error; 1: handing x on", log="xy")
    for axis in axes:
        axis.set_xticks(sorted({fit.blocks for fit in identity}))
    axes[0].set_ylim(6e-7, 10)
    legend(axes[0], loc="center left")
    return figure


def residuals_figure(x, y, line, boosted, staged, note=""):
    """Fit, look at what is left, fit that: a line, then stumps, or the blocks of a residual net.

    Parameters
    ----------
    x, y : arrays (points,)
    line : array (points,)
        ``straight_line(x, y)``
    boosted, staged : arrays (rounds + 1, points)
        ``boosted_stumps(...)`` and ``residual_stages(...)``.
    """
    figure = sheet(11.5, 5.6, note)
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
        first = above is axes[0, 0]
        panel(above, f"{title}; leaves {np.mean((y - fit) ** 2):.3f}", y="data and fit" if first else "")
        panel(below, y="what is left" if first else "")
        if len(fits) > 1:
            legend(above)
    return figure
