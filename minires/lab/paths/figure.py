"""Lesions, and what paths weigh."""

import numpy as np

from minires.figures import BRANCH, DASHED, SHORTCUT, colours, legend, panel, sheet


def lesions_figure(found):
    """What is left of trained nets without some of their blocks, or with their blocks in another order.

    ``found`` are ``{name: {"one": delete_each(...), "several": delete_some(...), "orders": reorder_some(...)}}``.
    """
    figure, colour = sheet(11.5, 4.0), colours(found, by="kind")
    one, some, swapped = figure.subplots(1, 3, sharey=True, width_ratios=[1.5, 1, 1])
    dots = {"marker": "o", "lw": 0, "mew": 0}
    for name, of in found.items():
        look, shown = {"color": colour[name]}, [100 * error for path, error in of["one"].items() if path]
        one.axhline(100 * of["one"][""], lw=0.9, ls=DASHED, **look)
        one.plot(np.arange(1, len(shown) + 1), shown, "o-", ms=3.5, lw=1.2, label=name, **look)
        some.plot(list(of["several"]), [100 * np.mean(errors) for errors in of["several"].values()], lw=1.6, **look)
        spots = [(k, 100 * error) for k, errors in of["several"].items() for error in errors]
        some.plot(*zip(*spots), ms=3, alpha=0.5, **dots, **look)
        taus, errors = [tau for tau, _ in of["orders"]], [100 * error for _, error in of["orders"]]
        swapped.plot(taus, errors, ms=4, **dots, **look)
    panel(one, "one block deleted (dashed: none)", "block deleted, from the input", "test error (%)", whole=True)
    panel(some, "several deleted", "blocks deleted, drawn at random", whole=True)
    panel(swapped, "blocks swapped", "Kendall's tau of the blocks' order")
    one.set_ylim(0, 100)
    swapped.invert_xaxis()
    legend(one, loc="lower right")
    return figure


def paths_figure(shares, sampled, exact, effective):
    """Of the paths through a residual net: how many have a length, what one of them weighs, what all of them weigh.

    ``shares`` is ``path_lengths(n)``, ``sampled`` ``sample_path_gradients(...)``, ``exact`` the norm of each part of
    ``gradient_by_length(...)``, ``effective`` the ``effective_lengths(...)`` of shares times means of the sampled.
    """
    lengths, means = np.arange(len(shares)), np.array([sampled[k].mean() for k in range(len(shares))])
    figure = sheet(11.5, 3.8)
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
    panel(left, "how many paths", along, "% of all paths", whole=True)
    panel(middle, "what one of them weighs", along, "|dL/dx| along one path", log="y", whole=True)
    panel(right, "what all of a length weigh", along, "% of the total over all lengths", whole=True)
    for axis in (left, middle, right):
        axis.set_xlim(-0.7, len(shares) - 0.3)
    legend(right)
    return figure
