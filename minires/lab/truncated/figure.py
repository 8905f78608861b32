"""Error against the longest path that the gradient may take."""

from minires.figures import FAINT, SHORTCUT, legend, panel, sheet, with_seeds
from minires.lab.comparison import column


def truncated_figure(found, lengths, kept):
    """Training and test error of nets trained with the gradient of paths of at most k branches.

    ``found`` is ``compare(...)`` of a net for each k of ``lengths``; ``kept`` the part of the sum of sizes of
    ``gradient_by_length`` up to each k, at the start.
    """
    figure = sheet(9, 3.8)
    left, right = figure.subplots(1, 2)
    with_seeds(left, lengths, column(found, "training"), color=SHORTCUT, label="training")
    with_seeds(left, lengths, column(found, "test"), color=FAINT, label="test")
    right.plot(range(len(kept)), 100 * kept, "o-", color=SHORTCUT, ms=3, lw=1.6)
    panel(left, "trained on paths of at most k branches", "k", "error (%)", whole=True)
    panel(right, "what they carry at the start", "k", "% of the sum of sizes", whole=True)
    right.set_ylim(0, 105)
    legend(left)
    return figure
