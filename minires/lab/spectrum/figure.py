"""The spectrum of paths, moment by moment."""

import numpy as np

from minires.figures import BRANCH, FAINT, SHORTCUT, legend, panel, sheet, whole_numbers
from minires.lab.paths.measure import path_lengths


def spectrum_figure(moments, note=""):
    """Parts of the gradient by length, above, and coherence, below: a column for each moment of training.

    Parameters
    ----------
    moments : dict
        ``{step: [Spectrum of each seed]}``
    note : str
        What was run, for the foot of the figure; broken into lines.
    """
    figure = sheet(2.7 * len(moments) + 0.6, 5.0, note)
    axes = figure.subplots(2, len(moments), squeeze=False, sharex=True, sharey="row")
    for (above, below), (step, seeds) in zip(axes.T, moments.items()):
        shares = path_lengths(len(seeds[0].together) - 1)
        lengths = np.arange(len(shares))
        above.bar(lengths, 100 * shares, color="#D8D8D8", label="how many paths")
        for i, one in enumerate(seeds):
            for numbers, colour, label in (
                (one.apart, BRANCH, "sum of their sizes"),
                (one.together, SHORTCUT, "size of their sum"),
            ):
                above.plot(
                    lengths,
                    100 * numbers / numbers.sum(),
                    "o-",
                    color=colour,
                    ms=2.5,
                    lw=1.2,
                    label=None if i else label,
                )
            below.plot(lengths, one.coherence, "o-", color=SHORTCUT, ms=2.5, lw=1.2)
        at_random = 1 / np.sqrt(shares * 2 ** lengths[-1])
        below.plot(lengths, at_random, color=FAINT, lw=1, label="at right angles: 1/sqrt(C(n, k))")
        mean = np.mean([one.mean_length for one in seeds])
        panel(above, f"step {step:,}: mean length {mean:.1f}", y="% over all lengths" if above is axes[0, 0] else "")
        panel(below, "", "branches on the path", "size of sum / sum of sizes" if above is axes[0, 0] else "", log="y")
        whole_numbers(below)
    legend(axes[0, 0], fontsize=7.5)
    legend(axes[1, 0], fontsize=7.5)
    return figure
