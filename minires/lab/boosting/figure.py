"""The telescoping sum, and blocks trained one by one."""

import numpy as np

from minires.figures import BRANCH, DASHED, DOTTED, FAINT, INK, SHORTCUT, legend, panel, sheet

PARTS = "0: the stem; blocks from the input"


def telescoping_figure(parts, own):
    """What the stem and each block add to the logits, and how good the sum is so far.

    ``parts`` are [(name, standard deviation of what it adds, error of the sum up to there), ...]; ``own`` are the
    ``edges(...)`` of a linear classifier fitted to what each part hands on.
    """
    figure, at = sheet(10.0, 3.8), np.arange(len(parts))
    left, right = figure.subplots(1, 2)
    left.bar(at, [size for _, size, _ in parts], color="#BFD9EA", width=0.8)
    for errors, colour, words in (
        ([row.train_error for row in own], SHORTCUT, "a linear classifier of its own after each part"),
        ([error for *_, error in parts], INK, "the sum so far, through the last classifier"),
    ):
        right.plot(at, [100 * error for error in errors], "o-", color=colour, ms=3, lw=1.6, label=words)
    panel(left, "what each part adds", PARTS, "std of what it adds to the logits", whole=True)
    panel(right, "how good the sum is so far", PARTS, "training error (%)", whole=True)
    right.set_ylim(0, 103)
    legend(right, loc="lower left")
    return figure


def boosting_figure(together, boosted):
    """How blocks that were trained one by one compare with blocks that were trained together.

    Of each, the net trained end to end and that of ``boost``: (``edges(...)``, ``gammas(...)``).
    """
    figure = sheet(11.5, 4.0)
    left, middle, right = figure.subplots(1, 3)
    kinds = (together, SHORTCUT, "end to end"), (boosted, BRANCH, "block by block")
    for i, ((rows, gamma), colour, name) in enumerate(kinds):
        at = np.arange(len(rows))
        left.plot(at, [100 * row.train_error for row in rows], "o-", color=colour, ms=3, lw=1.6, label=name)
        left.plot(at, 100 * gamma.bound, color=colour, lw=1.2, ls=DASHED)
        left.plot(at, 100 * gamma.exponential, color=colour, lw=1.2, ls=DOTTED)
        middle.bar(at + 0.4 * (i - 0.5), gamma.squared, color=colour, width=0.38)
        right.plot(at, [row.edge for row in rows], "o-", color=colour, ms=3, lw=1.6)
    left.plot([], [], color=FAINT, lw=1.2, ls=DOTTED, label="exp(-T gamma²/2), gamma² the mean so far")
    left.plot([], [], color=FAINT, lw=1.2, ls=DASHED, label="product of sqrt(1 - gamma_t²)")
    panel(left, "a linear classifier after each part", PARTS, "training error and its bounds (%)", whole=True)
    panel(middle, "what each part gains", PARTS, "gamma_t²; above 0: a weak learner", whole=True)
    panel(right, "its edge", PARTS, "edge; 0: a guess, 1: certainty", whole=True)
    left.set(ylim=(0, 135), yticks=range(0, 101, 20))
    right.set_ylim(min(0, right.get_ylim()[0]), 1)
    for axis in (middle, right):
        axis.axhline(0, color=FAINT, lw=0.8)
    legend(left, fontsize=8, loc="upper right")
    return figure
