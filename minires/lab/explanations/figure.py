"""The explanations of degradation held against each other."""

import numpy as np

from minires.figures import FAINT, legend, looks, panel, sheet


def explanations_figure(norms, correlations, distances, note=""):
    """Three explanations on the same nets: sizes of gradients, their correlation, distance from the identity.

    Parameters
    ----------
    norms : dict
        ``{"with batch norm": {"plain-56": gradient_flow(...), ...}, "without": {...}, ...}``, one panel each.
    correlations : dict
        ``{"plain-56": (distances, gradient_correlation(...)), ...}``
    distances : dict
        ``{"plain-56": identity_distance(...), ...}``
    note : str
        What was run, for the foot of the figure; broken into lines.
    """
    if not norms or not all(norms.values()):
        raise ValueError("explanations_figure: expected at least one panel of norms with a net in it.")
    columns = max(2, len(norms))
    figure = sheet(3.6 * columns + 1.6, 6.6, note)
    above, below = figure.subfigures(2, 1)
    look = looks(dict.fromkeys(name for flows in norms.values() for name in flows))
    panels = above.subplots(1, len(norms), sharey=True, squeeze=False)[0]
    for axis, (words, flows) in zip(panels, norms.items()):
        for name, flow in flows.items():
            _along(axis, [row.entering / flow[-1].entering for row in flow], name, look)
        y = "gradient entering a block,\nagainst the last block" if axis is panels[0] else ""
        panel(axis, words, "input  →  loss", y, log="y")
        axis.set(xticks=[], xlim=(0, 1))
    left, right = below.subplots(1, 2)
    for name, (apart, correlation) in correlations.items():
        left.plot(apart, correlation, label=name, **look[name])
    left.axhline(0.5, color=FAINT, lw=0.8)
    words = "do gradients of neighbours agree?", "distance of two inputs (1: another image)", "cosine of the gradients"
    panel(left, *words, log="x")
    left.set_ylim(-0.1, 1.05)
    for name, rows in distances.items():
        _along(right, [row.distance for row in rows], name, look)
    panel(right, "how far is a block from the identity?", "input  →  loss", "|y - x| / |x|")
    right.set(xticks=[], xlim=(0, 1))
    right.set_ylim(bottom=0)
    legend(panels[-1], loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    return figure


def _along(axis, numbers, name, look):
    axis.plot((np.arange(len(numbers)) + 0.5) / len(numbers), numbers, label=name, **look[name])
