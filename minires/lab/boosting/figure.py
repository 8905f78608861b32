"""The telescoping sum, and blocks trained one by one."""

import numpy as np

from minires.figures import BRANCH, DASHED, DOTTED, FAINT, INK, SHORTCUT, legend, panel, sheet, whole_numbers

PARTS = "0: the stem; blocks from the input"


def telescoping_figure(parts, own, note=""):
    """What the stem and each block add to the logits, and how good the sum is so far.

    Parameters
    ----------
    parts : list of (name, size, error)
        Stem and blocks: the standard deviation of what each adds to the logits, and the error of the sum up to there.
    own : list of Edge
        ``edges(...)``, of a linear classifier fitted to what each part hands on.
    note : str
        What was run, for the foot of the figure; broken into lines.
    """
    figure, at = sheet(10.0, 3.8, note), np.arange(len(parts))
    left, right = figure.subplots(1, 2)
    left.bar(at, [size for _, size, _ in parts], color="#BFD9EA", width=0.8)
    for errors, colour, words in (
        ([row.train_error for row in own], SHORTCUT, "a linear classifier of its own after each part"),
        ([error for *_, error in parts], INK, "the sum so far, through the last classifier"),
    ):
        right.plot(at, [100 * error for error in errors], "o-", color=colour, ms=3, lw=1.6, label=words)
    panel(left, "what each part adds", PARTS, "std of what it adds to the logits")
    panel(right, "how good the sum is so far", PARTS, "training error (%)")
    right.set_ylim(0, 103)
    for axis in (left, right):
        whole_numbers(axis)
    legend(right, loc="lower left")
    return figure


def boosting_figure(together, boosted, note=""):
    """How blocks that were trained one by one compare with blocks that were trained together.

    Parameters
    ----------
    together, boosted : (list of Edge, Gammas)
        ``edges(...)`` and ``gammas(...)`` of the net trained end to end, and of one trained by ``boost``.
    """
    figure = sheet(11.5, 4.0, note)
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
    panel(left, "a linear classifier after each part", PARTS, "training error and its bounds (%)")
    panel(middle, "what each part gains", PARTS, "gamma_t²; above 0: a weak learner")
    panel(right, "its edge", PARTS, "edge; 0: a guess, 1: certainty")
    left.set(ylim=(0, 135), yticks=range(0, 101, 20))
    right.set_ylim(min(0, right.get_ylim()[0]), 1)
    for axis in (middle, right):
        axis.axhline(0, color=FAINT, lw=0.8)
    for axis in (left, middle, right):
        whole_numbers(axis)
    legend(left, fontsize=8, loc="upper right")
    return figure
