"""The explanations of degradation held against each other."""

from minires.figures import FAINT, along_net, legend, looks, panel, sheet
from minires.lab.explanations.measure import DISTANCES


def explanations_figure(norms, correlations, distances):
    """Three explanations on the same nets: sizes of gradients, their correlation, distance from the identity.

    ``norms`` are ``{"with batch norm": {"plain-56": gradient_flow(...), ...}, ...}``, one panel each; for each net
    ``correlations`` and ``distances`` have its ``gradient_correlation(...)`` and ``identity_distance(...)``.
    """
    columns = max(2, len(norms))
    figure = sheet(3.6 * columns + 1.6, 6.6)
    above, below = figure.subfigures(2, 1)
    panels = above.subplots(1, len(norms), sharey=True, squeeze=False)[0]
    for axis, (words, flows) in zip(panels, norms.items()):
        parts = {name: [row.entering / flow[-1].entering for row in flow] for name, flow in flows.items()}
        along_net(axis, parts, words, "gradient entering a block,\nagainst the last block", log="y")
    left, right = below.subplots(1, 2)
    for (name, correlation), look in zip(correlations.items(), looks(correlations).values()):
        left.plot(DISTANCES, correlation, label=name, **look)
    left.axhline(0.5, color=FAINT, lw=0.8)
    words = "do gradients of neighbours agree?", "distance of two inputs (1: another image)", "cosine of the gradients"
    panel(left, *words, log="x")
    left.set_ylim(-0.1, 1.05)
    along_net(right, distances, "how far is a block from the identity?", "|y - x| / |x|")
    right.set_ylim(bottom=0)
    legend(panels[-1], loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    return figure
