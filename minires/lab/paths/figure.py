"""Lesions, and what paths weigh."""

import numpy as np

from minires.figures import BRANCH, DASHED, SHORTCUT, colours, legend, panel, sheet, whole_numbers


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
    """
    if not singles:
        raise ValueError("lesions_figure: expected at least one net, got none.")
    figure, colour = sheet(11.5, 4.0, note), colours(singles, by="kind")
    one, some, swapped = figure.subplots(1, 3, sharey=True, width_ratios=[1.5, 1, 1])
    for name, errors in singles.items():
        blocks = [path for path in errors if path]
        one.axhline(100 * errors[""], color=colour[name], lw=0.9, ls=DASHED)
        at, shown = np.arange(1, len(blocks) + 1), [100 * errors[path] for path in blocks]
        one.plot(at, shown, "o-", color=colour[name], ms=3.5, lw=1.2, label=name)
    for name, errors in several.items():
        some.plot(list(errors), [100 * np.mean(errors[k]) for k in errors], color=colour[name], lw=1.6)
        spots = [(k, 100 * error) for k in errors for error in errors[k]]
        some.plot(*zip(*spots), "o", color=colour[name], ms=3, alpha=0.5, mew=0)
    for name, moves in orders.items():
        taus, errors = [tau for tau, _ in moves], [100 * error for _, error in moves]
        swapped.plot(taus, errors, "o", color=colour[name], ms=4, mew=0)
    panel(one, "one block deleted (dashed: none)", "block deleted, from the input", "test error (%)")
    panel(some, "several deleted", "blocks deleted, drawn at random")
    panel(swapped, "blocks swapped", "Kendall's tau of the blocks' order")
    one.set_ylim(0, 100)
    swapped.invert_xaxis()
    whole_numbers(one)
    whole_numbers(some)
    legend(one, loc="lower right")
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
    """
    lengths, means = np.arange(len(shares)), np.array([sampled[k].mean() for k in range(len(shares))])
    figure = sheet(11.5, 3.8, note)
    left, middle, right = figure.subplots(1, 3)
    left.bar(lengths, 100 * shares, color="#B8B8B8", width=0.85)
    spots = [(k, norm) for k in lengths for norm in sampled[k] if norm > 0]
    middle.plot(*zip(*spots), "o", color=BRANCH, ms=2.5, alpha=0.35, mew=0)
    middle.plot(lengths[means > 0], means[means > 0], color=BRANCH, lw=1.6)
    product = shares * means
    for numbers, colour, label in ((product, BRANCH, "paths x size of one"), (exact, SHORTCUT, "size of their sum")):
        right.plot(lengths, 100 * numbers / numbers.sum(), "o-", color=colour, ms=3, lw=1.5, label=label)
    right.axvspan(effective[0] - 0.5, effective[1] + 0.5, color=BRANCH, alpha=0.1, lw=0)
    along = "length: branches on the path"
    panel(left, "how many paths", along, "% of all paths")
    panel(middle, "what one of them weighs", along, "|dL/dx| along one path", log="y")
    panel(right, "what all of a length weigh", along, "% of the total over all lengths")
    for axis in (left, middle, right):
        axis.set_xlim(-0.7, len(shares) - 0.3)
        whole_numbers(axis)
    legend(right)
    return figure
