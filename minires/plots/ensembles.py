"""Paths and lesions, boosting, and the identity."""

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from minires.plots.sheet import BRANCH, FAINT, INK, PLAIN, RESIDUAL, SHORTCUT, clean, of_kind, shade, sheet


def lesions_figure(singles, several, orders, note=""):
    """What is left of a trained net without some of its blocks, or with its blocks in another order.

    Parameters
    ----------
    singles : dict
        ``{"resnet-56": delete_each(...), ...}``
    several : dict
        ``{"resnet-56": delete_some(...), ...}``
    orders : dict
        ``{"resnet-56": reorder_some(...), ...}``
    note : str
        What was run, for the foot of the figure; broken into lines.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not singles:
        raise ValueError("lesions_figure: expected at least one net, got none.")
    width = 11.5
    figure, bottom, top = sheet(width, 4.0, note)
    axes = figure.subplots(1, 3, sharey=True, width_ratios=[1.5, 1, 1])
    figure.subplots_adjust(0.62 / width, bottom + 0.1, 1 - 0.15 / width, top, wspace=0.1)
    for name, errors in singles.items():
        colour, blocks = of_kind(name), [path for path in errors if path]
        at = np.arange(1, len(blocks) + 1)
        axes[0].axhline(100 * errors[""], color=colour, lw=0.9, ls=(0, (4, 1.5)))
        axes[0].plot(at, [100 * errors[path] for path in blocks], "o-", color=colour, ms=3.5, lw=1.2, label=name)
    for name, errors in several.items():
        counts = list(errors)
        axes[1].plot(counts, [100 * np.mean(errors[k]) for k in counts], color=of_kind(name), lw=1.6)
        spots = [(k, 100 * error) for k in counts for error in errors[k]]
        axes[1].plot(*zip(*spots), "o", color=of_kind(name), ms=3, alpha=0.5, mew=0)
    for name, moves in orders.items():
        if moves:
            axes[2].plot([tau for tau, _ in moves], [100 * e for _, e in moves], "o", color=of_kind(name), ms=4, mew=0)
    axes[0].set(xlabel="block deleted, from the input", ylabel="test error (%)", ylim=(0, 100))
    axes[1].set_xlabel("blocks deleted, drawn at random")
    axes[2].set_xlabel("Kendall's tau of the blocks' order")
    axes[2].invert_xaxis()
    for axis, title in zip(axes, ("one block deleted (dashed: none)", "several deleted", "blocks swapped")):
        clean(axis)
        axis.set_title(title, fontsize=9.5, color=INK)
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[2].xaxis.set_major_formatter(FuncFormatter(lambda tau, _: f"{tau:g}"))
    axes[0].legend(frameon=False, fontsize=9, labelcolor="linecolor", loc="lower right")
    return figure


def paths_figure(shares, sampled, exact, effective, note=""):
    """Of the paths through a residual net: how many have a length, what one of them weighs, what all of them weigh.

    Parameters
    ----------
    shares : array (n + 1,)
        ``path_lengths(n)``
    sampled : dict
        ``sample_path_gradients(...)``
    exact : array (n + 1,)
        Norm of each part of ``gradient_by_length(...)``.
    effective : (int, int)
        ``effective_lengths(...)`` of the sampled product.
    note : str
        As for ``lesions_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    lengths = np.arange(len(shares))
    means = np.array([sampled[k].mean() for k in lengths])
    width = 11.5
    figure, bottom, top = sheet(width, 3.8, note)
    left, middle, right = figure.subplots(1, 3)
    figure.subplots_adjust(0.7 / width, bottom + 0.11, 1 - 0.15 / width, top, wspace=0.3)
    left.bar(lengths, 100 * shares, color="#B8B8B8", width=0.85)
    left.set_ylabel("% of all paths", color=INK)
    spots = [(k, norm) for k in lengths for norm in sampled[k] if norm > 0]
    middle.plot(*zip(*spots), "o", color=BRANCH, ms=2.5, alpha=0.35, mew=0)
    middle.plot(lengths[means > 0], means[means > 0], color=BRANCH, lw=1.6)
    middle.set_yscale("log")
    middle.minorticks_off()
    middle.set_ylabel("|dL/dx| along one path", color=INK)
    product = shares * means
    for numbers, colour, label in (
        (product / product.sum(), BRANCH, "paths x size of one"),
        (exact / exact.sum(), SHORTCUT, "size of their sum"),
    ):
        right.plot(lengths, 100 * numbers, "o-", color=colour, ms=3, lw=1.5, label=label)
    right.axvspan(effective[0] - 0.5, effective[1] + 0.5, color=BRANCH, alpha=0.1, lw=0)
    right.set_ylabel("% of the total over all lengths", color=INK)
    right.legend(frameon=False, fontsize=8.5, labelcolor="linecolor")
    titles = "how many paths", "what one of them weighs", "what all of a length weigh"
    for axis, title in zip((left, middle, right), titles):
        clean(axis)
        axis.set_title(title, fontsize=9.5, color=INK)
        axis.set_xlabel("length: branches on the path", color=INK)
        axis.set_xlim(-0.7, len(shares) - 0.3)
    return figure


def telescoping_figure(parts, own, note=""):
    """What the stem and each block add to the logits, and how good the sum is so far.

    Parameters
    ----------
    parts : list of (name, size, error)
        Stem and blocks: the standard deviation of what each adds to the logits, and the error of the sum up to there.
    own : list of Edge
        ``edges(...)``, of a linear classifier fitted to what each part hands on.
    note : str
        As for ``lesions_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    width = 10.0
    figure, bottom, top = sheet(width, 3.8, note)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(0.7 / width, bottom + 0.11, 1 - 0.15 / width, top, wspace=0.22)
    at = np.arange(len(parts))
    left.bar(at, [size for _, size, _ in parts], color="#BFD9EA", width=0.8)
    left.set_ylabel("std of what it adds to the logits", color=INK)
    for errors, colour, words in (
        ([row.train_error for row in own], SHORTCUT, "a linear classifier of its own after each part"),
        ([error for *_, error in parts], INK, "the sum so far, through the last classifier"),
    ):
        right.plot(at, [100 * error for error in errors], "o-", color=colour, ms=3, lw=1.6, label=words)
    right.set(ylabel="training error (%)", ylim=(0, 103))
    right.legend(frameon=False, fontsize=8.5, labelcolor="linecolor", loc="lower left")
    _parts_on_x([left, right], ["what each part adds", "how good the sum is so far"])
    return figure


def boosting_figure(together, boosted, note=""):
    """How blocks that were trained one by one compare with blocks that were trained together.

    Parameters
    ----------
    together, boosted : (list of Edge, Gammas)
        ``edges(...)`` and ``gammas(...)`` of the net trained end to end, and of one trained by ``boost``.
    note : str
        As for ``lesions_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    width = 11.5
    figure, bottom, top = sheet(width, 4.0, note)
    left, middle, right = figure.subplots(1, 3)
    figure.subplots_adjust(0.7 / width, bottom + 0.11, 1 - 0.15 / width, top, wspace=0.29)
    kinds = (together, SHORTCUT, "end to end"), (boosted, BRANCH, "block by block")
    for i, ((rows, gamma), colour, name) in enumerate(kinds):
        at = np.arange(len(rows))
        left.plot(at, [100 * row.train_error for row in rows], "o-", color=colour, ms=3, lw=1.6, label=name)
        left.plot(at, 100 * gamma.bound, color=colour, lw=1.2, ls=(0, (4, 1.5)))
        left.plot(at, 100 * gamma.exponential, color=colour, lw=1.2, ls=(0, (1, 1.5)))
        middle.bar(at + 0.4 * (i - 0.5), gamma.squared, color=colour, width=0.38)
        right.plot(at, [row.edge for row in rows], "o-", color=colour, ms=3, lw=1.6)
    left.plot([], [], color=FAINT, lw=1.2, ls=(0, (1, 1.5)), label="exp(-T gamma²/2), gamma² the mean so far")
    left.plot([], [], color=FAINT, lw=1.2, ls=(0, (4, 1.5)), label="product of sqrt(1 - gamma_t²)")
    left.set(ylabel="training error and its bounds (%)", ylim=(0, 135), yticks=range(0, 101, 20))
    left.legend(frameon=False, fontsize=8, labelcolor="linecolor", loc="upper right")
    middle.axhline(0, color=FAINT, lw=0.8)
    middle.set_ylabel("gamma_t²; above 0: a weak learner", color=INK)
    right.set_ylim(min(0, right.get_ylim()[0]), 1)
    right.axhline(0, color=FAINT, lw=0.8)
    right.set_ylabel("edge; 0: a guess, 1: certainty", color=INK)
    _parts_on_x([left, middle, right], ["a linear classifier after each part", "what each part gains", "its edge"])
    return figure


def _parts_on_x(axes, titles):
    for axis, title in zip(axes, titles):
        clean(axis)
        axis.set_title(title, fontsize=9.5, color=INK)
        axis.set_xlabel("0: the stem; blocks from the input", color=INK)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def identity_figure(identity, perturbed, note=""):
    """How well stacks of blocks fit the identity, and a small perturbation of it, against the number of blocks.

    Parameters
    ----------
    identity, perturbed : list of StackFit
        ``fit_stacks(depths)`` and ``fit_stacks(depths, perturbation)``.
    note : str
        As for ``lesions_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    width = 10.0
    figure, bottom, top = sheet(width, 4.2, note)
    axes = figure.subplots(1, 2)
    figure.subplots_adjust(0.75 / width, bottom + 0.1, 1 - 0.15 / width, top, wspace=0.26)
    kinds = list(dict.fromkeys(fit.kind for fit in identity))
    colours = dict(zip(kinds, (PLAIN, RESIDUAL, "#009E73", "#CC79A7")))
    for axis, fits in zip(axes, (identity, perturbed)):
        for kind in kinds:
            rows = [fit for fit in fits if fit.kind == kind]
            shown = [max(fit.final, 1e-6) for fit in rows]  # exactly 0 lies at the foot of the axis
            axis.plot([fit.blocks for fit in rows], shown, "o-", color=colours[kind], lw=1.7, ms=4, label=kind)
        axis.axhline(1, color=FAINT, lw=0.8)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        clean(axis)
        axis.minorticks_off()
        axis.set_xticks(sorted({fit.blocks for fit in fits}))
        axis.set_xlabel("blocks", color=INK)
    axes[0].set_ylim(6e-7, 10)
    axes[0].set_ylabel("error; 1: the best constant", color=INK)
    axes[1].set_ylabel("error; 1: handing x on", color=INK)
    axes[0].set_title("target: x itself", fontsize=9.5, color=INK)
    axes[1].set_title("target: x, slightly changed", fontsize=9.5, color=INK)
    axes[0].legend(frameon=False, fontsize=8.5, labelcolor="linecolor", loc="center left")
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
    note : str
        As for ``lesions_figure``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    width = 11.5
    figure, bottom, top = sheet(width, 5.6, note)
    axes = figure.subplots(2, 3, sharex=True, sharey="row", height_ratios=[1.6, 1])
    figure.subplots_adjust(0.65 / width, bottom + 0.07, 1 - 0.15 / width, top, wspace=0.08, hspace=0.1)

    def some(fits):
        last = len(fits) - 1
        return {k: fits[k] for k in sorted({min(1, last), min(3, last), last})}

    columns = [
        ("a straight line", {None: line}),
        ("boosting: a sum of stumps", some(boosted)),
        ("a residual net, block by block", some(staged)),
    ]
    for (above, below), (title, fits), drawn in zip(axes.T, columns, ("default", "steps-mid", "default")):
        above.plot(x, y, "o", color="#B8B8B8", ms=3, mew=0)
        for i, (k, fit) in enumerate(fits.items()):
            colour = shade(i, len(fits))
            above.plot(x, fit, color=colour, lw=1.7, drawstyle=drawn, label=f"after {k}" if k is not None else None)
        below.axhline(0, color=FAINT, lw=0.8)
        below.vlines(x, 0, y - fit, color=colour, lw=1)
        above.set_title(f"{title}; leaves {np.mean((y - fit) ** 2):.3f}", fontsize=9.5, color=INK)
        for axis in (above, below):
            clean(axis)
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.tick_params(labelleft=axis in axes[:, 0])
        if len(fits) > 1:
            above.legend(frameon=False, fontsize=8.5, labelcolor="linecolor")
    axes[0, 0].set_ylabel("data and fit", color=INK)
    axes[1, 0].set_ylabel("what is left", color=INK)
    return figure
