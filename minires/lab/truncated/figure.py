"""Error against the longest path that the gradient may take."""

from minires.figures import FAINT, SHORTCUT, legend, panel, sheet, whole_numbers, with_seeds
from minires.lab.comparison import column


def truncated_figure(found, lengths, kept, note=""):
    """Training and test error of nets trained with the gradient of paths of at most k branches.

    Parameters
    ----------
    found : dict
        ``compare(...)`` of a net for each of ``lengths``.
    lengths : list of int
        k.
    kept : array
        Part of the sum of sizes of ``gradient_by_length`` up to each k, at the start.
    note : str
        What was run, for the foot of the figure; broken into lines.
    """
    figure = sheet(9, 3.8, note)
    left, right = figure.subplots(1, 2)
    with_seeds(left, lengths, column(found, "training"), color=SHORTCUT, label="training")
    with_seeds(left, lengths, column(found, "test"), color=FAINT, label="test")
    right.plot(range(len(kept)), 100 * kept, "o-", color=SHORTCUT, ms=3, lw=1.6)
    panel(left, "trained on paths of at most k branches", "k", "error (%)")
    panel(right, "what they carry at the start", "k", "% of the sum of sizes")
    right.set_ylim(0, 105)
    for axis in (left, right):
        whole_numbers(axis)
    legend(left)
    return figure
