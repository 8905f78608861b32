"""The spectrum of paths, moment by moment."""

import numpy as np

from minires.figures import BRANCH, FAINT, SHORTCUT, legend, panel, sheet
from minires.lab.paths.measure import path_lengths


def spectrum_figure(moments):
    """Parts of the gradient by length, above, and coherence, below: a column for each moment of training.

    ``moments`` are ``{step: [Spectrum of each seed]}``.
    """
    figure = sheet(2.7 * len(moments) + 0.6, 5.0)
    axes = figure.subplots(2, len(moments), squeeze=False, sharex=True, sharey="row")
    dots = {"marker": "o", "ms": 2.5, "lw": 1.2}
    for (above, below), (step, seeds) in zip(axes.T, moments.items()):
        shares = path_lengths(len(seeds[0].together) - 1)
        lengths = np.arange(len(shares))
        above.bar(lengths, 100 * shares, color="#D8D8D8", label="how many paths")
        for i, one in enumerate(seeds):
            sizes = (one.apart, BRANCH, "sum of their sizes"), (one.together, SHORTCUT, "size of their sum")
            for numbers, colour, words in sizes:
                above.plot(lengths, 100 * numbers / numbers.sum(), color=colour, label=None if i else words, **dots)
            below.plot(lengths, one.coherence, color=SHORTCUT, **dots)
        at_random = 1 / np.sqrt(shares * 2 ** lengths[-1])
        below.plot(lengths, at_random, color=FAINT, lw=1, label="at right angles: 1/sqrt(C(n, k))")
        mean = np.mean([one.mean_length for one in seeds])
        panel(above, f"step {step:,}: mean length {mean:.1f}", y="% over all lengths")
        panel(below, "", "branches on the path", "size of sum / sum of sizes", log="y", whole=True)
    axes[0, 0].set_ylim(top=1.35 * axes[0, 0].get_ylim()[1])  # room for the legend
    for axis in axes[:, 0]:
        legend(axis, fontsize=7.5)
    return figure
