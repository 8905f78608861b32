"""Gradients on their way through a network."""

import numpy as np

from minires.checks import require
from minires.figures import BRANCH, FAINT, INK, SHORTCUT, in_words, legend, panel, shade, sheet, whole_decades

ALONG = "block, from the input to the loss"


def gradient_flow_figure(flows, note=""):
    """Where the gradient of each block went, one column per net: through the shortcut, through the branch.

    Below the norms: the cosine between the two parts, the spread of the activations, and the size of the weights'
    gradient against the weights. ``flows`` are ``{"plain-56": gradient_flow(...), ...}``.
    """
    _check("gradient_flow_figure", flows)
    figure = sheet(4.7 * len(flows) + 1.15, 7.4, note)
    axes = figure.subplots(4, len(flows), sharex="col", sharey="row", squeeze=False, height_ratios=[2.6, 1, 1, 1])
    for (norms, angles, spreads, ratios), (name, flow) in zip(axes.T, flows.items()):
        block = np.arange(1, len(flow) + 1)
        field = {key: np.array([getattr(row, key) for row in flow]) for key in flow[0]._fields}
        parts = [("entering", INK, "entering the block"), ("branch", BRANCH, "leaving through the branch")]
        if np.any(field["shortcut"]):
            parts.append(("shortcut", SHORTCUT, "leaving through the shortcut"))
            angles.plot(block, field["cosine"], "o-", color=INK, ms=3, lw=1)
        else:
            no_shortcut(angles)
        for key, colour, label in parts:
            norms.plot(block, field[key], "o-", color=colour, ms=3.2, lw=1.6, label=label)
        spreads.plot(block, field["activation_std"], "o-", color=INK, ms=3, lw=1)
        ratios.plot(block, field["weight_ratio"], "o-", color=INK, ms=3, lw=1)
        angles.axhline(0, color=FAINT, lw=0.8)
        panel(norms, y="norm of the gradient")
        norms.set_title(name, fontsize=11, color=INK, pad=20)
        panel(angles, y="cosine of\nthe two parts")
        panel(spreads, y="std of y")
        panel(ratios, x=ALONG, y="|dW| / |W|", whole=True)
        stages = [row.path.rpartition(".")[0] for row in flow]
        for i in range(1, len(flow)):
            for axis in (norms, angles, spreads, ratios) if stages[i] != stages[i - 1] else ():
                axis.axvline(i + 0.5, color="#CCCCCC", lw=0.8, ls=(0, (2, 2)))
        for stage in dict.fromkeys(stages):
            middle = np.mean([i for i, s in zip(block, stages) if s == stage])
            above = norms.get_xaxis_transform()
            norms.text(middle, 1.02, stage, color=FAINT, fontsize=8.5, ha="center", transform=above)
        norms.text(0.02, 0.03, "← backward", color=FAINT, fontsize=8.5, transform=norms.transAxes)
        ratios.set_xlim(0.5, len(flow) + 0.5)
    rows = [row for flow in flows.values() for row in flow]
    whole_decades(axes[0, 0], [norm for row in rows for norm in (row.entering, row.shortcut, row.branch)])
    whole_decades(axes[3, 0], [row.weight_ratio for row in rows])
    axes[1, 0].set(ylim=(-1.1, 1.1), yticks=[-1, 0, 1])
    axes[2, 0].set_ylim(0, 1.1 * axes[2, 0].get_ylim()[1])
    legend(max(axes[0], key=lambda axis: len(axis.get_legend_handles_labels()[0])), loc="upper right", fontsize=9)
    figure.align_ylabels()
    return figure


def river_figure(flows):
    """Every network a river of gradient, from the loss on the left to the input on the right.

    At each block what goes through the shortcut flows above, what goes through the branch below. The width is the
    square root of the norm of the gradient; the strands share it as their *squared* norms do, which add up where the
    two stand at right angles. Each river has a scale of its own, with the norms at its ends beside it. ``flows`` are as
    for ``gradient_flow_figure``.
    """
    _check("river_figure", flows)
    figure = sheet(11.0, 1.75 * len(flows) + 0.55)
    axes = figure.subplots(len(flows), 1, squeeze=False)[:, 0]
    for axis, (name, flow) in zip(axes, flows.items()):
        sizes = np.array([(row.entering, row.shortcut, row.branch) for row in flow])
        finite = sizes.max() < 1e150  # whose squares are, too; NaN is not
        require(finite, "river_figure", "gradients that are finite", f"others in {name}", "Has it diverged?")
        shores = _river(axis, flow)
        axis.set(xlim=(0, len(flow)), ylim=(-1.05 * shores, 1.05 * shores))
        axis.axis("off")
        beside = dict(transform=axis.transAxes, va="center", fontsize=9)
        axis.text(-0.075, 0.5, name, ha="right", color=INK, fontweight="bold", **beside)
        axis.text(-0.012, 0.5, in_words(float(f"{flow[-1].entering:.2g}")), ha="right", color=FAINT, **beside)
        axis.text(1.012, 0.5, in_words(float(f"{leaving(flow[0]):.2g}")), ha="left", color=FAINT, **beside)
    above = dict(transform=axes[0].transAxes, fontsize=9, va="bottom")
    for x, words, side, colour in (
        (-0.012, "norm", "right", FAINT),
        (0, "loss  →", "left", FAINT),
        (0.09, "through the shortcut", "left", SHORTCUT),
        (0.27, "through the branch", "left", BRANCH),
        (1, "→  input", "right", FAINT),
        (1.012, "norm", "left", FAINT),
    ):
        axes[0].text(x, 1.06, words, ha=side, color=colour, **above)
    return figure


def leaving(row):
    """Return the norm of the whole gradient that leaves a block, from its two parts and the angle between them."""
    cosine = 0.0 if np.isnan(row.cosine) else row.cosine
    return np.sqrt(max(0.0, row.shortcut**2 + row.branch**2 + 2 * cosine * row.shortcut * row.branch))


def no_shortcut(axis):
    axis.text(0.5, 0.62, "no shortcut", color=FAINT, fontsize=9, ha="center", transform=axis.transAxes)


def _check(who, flows):
    if not flows or not all(flows.values()):
        raise ValueError(f'{who}: expected {{"name of a net": gradient_flow(...), ...}} with rows in each.')


def _river(axis, flow):
    """Draw one river around 0; return how far its shores are from the middle."""
    rows = flow[::-1]  # from the loss on
    nodes = np.sqrt([*(row.entering for row in rows), leaving(rows[-1])])  # widths between blocks
    squares = [np.array([getattr(row, part) for row in rows]) ** 2 for part in ("shortcut", "branch")]
    both = squares[0] + squares[1]
    part = squares[0] / np.maximum(both, 1e-300)  # of the width, above the line where the strands touch
    upper, lower = part * both**0.25, (1 - part) * both**0.25
    touch = np.concatenate([part[:1], (part[1:] + part[:-1]) / 2, part[-1:]])
    gap = np.minimum(0.06 * np.max(upper + lower), 0.5 * np.minimum(upper, lower))
    bend = (1 - np.cos(np.linspace(0, np.pi, 40))) / 2  # from 0 to 1 without a corner
    x = np.linspace(0, 1, 80)

    def shore(before, between, after):
        return np.concatenate([before + (between - before) * bend, between + (after - between) * bend])

    for i in range(len(rows)):
        half = (upper[i] + lower[i] + gap[i]) / 2
        ends, middles = nodes[i : i + 2] / 2, nodes[i : i + 2] * (0.5 - touch[i : i + 2])
        if upper[i]:
            strand = shore(ends[0], half, ends[1]), shore(middles[0], half - upper[i], middles[1])
            axis.fill_between(i + x, *strand, color=SHORTCUT, lw=0.2)
        strand = shore(middles[0], lower[i] - half, middles[1]), shore(-ends[0], -half, -ends[1])
        axis.fill_between(i + x, *strand, color=BRANCH, lw=0.2)
    return max(np.max(upper + lower + gap), np.max(nodes)) / 2 or 1.0  # 1: a river run dry, without gradient


def flow_history_figure(histories):
    """How the flow of gradient changes in training: a column per net, a line per moment and seed, light to dark.

    From top to bottom: the norm of the gradient that enters each block; the part of its square that leaves through
    the shortcut; the cosine between that and what leaves through the branch; the gradient of the weights against the
    weights. ``histories`` are ``{"plain-56": {0: [gradient_flow(...) of each seed], 200: [...]}, ...}``, by step.
    """
    figure = sheet(1.0 + 3.1 * len(histories), 7.6)
    axes = figure.subplots(4, len(histories), sharex="col", sharey="row", squeeze=False, height_ratios=[2.2, 1, 1, 1.2])
    for (norms, shares, angles, ratios), (name, history) in zip(axes.T, histories.items()):
        for i, (step, seeds) in enumerate(sorted(history.items())):
            for j, flow in enumerate(seeds):
                block = np.arange(1, len(flow) + 1)
                shortcut, branch = (np.array([getattr(row, part) for row in flow]) for part in ("shortcut", "branch"))
                style = {"color": shade(i, len(history)), "lw": 0.9 if seeds[1:] else 1.5}
                norms.plot(block, [row.entering for row in flow], label=None if j else f"step {step:,}", **style)
                ratios.plot(block, [row.weight_ratio for row in flow], **style)
                if np.any(shortcut):
                    shares.plot(block, shortcut**2 / np.maximum(shortcut**2 + branch**2, 1e-300), **style)
                    angles.plot(block, [row.cosine for row in flow], **style)
        if not shares.lines:
            no_shortcut(shares)
            no_shortcut(angles)
        angles.axhline(0, color=FAINT, lw=0.8)
        panel(norms, name, y="norm of the gradient")
        panel(shares, y="part through\nthe shortcut")
        panel(angles, y="cosine")
        panel(ratios, x=ALONG, y="|dW| / |W|", whole=True)
        legend(norms, loc="best")
        ratios.set_xlim(0.5, len(flow) + 0.5)
    rows = [row for history in histories.values() for seeds in history.values() for flow in seeds for row in flow]
    whole_decades(axes[0, 0], [row.entering for row in rows])
    whole_decades(axes[3, 0], [row.weight_ratio for row in rows])
    axes[1, 0].set_ylim(0, 1.05)
    axes[2, 0].set_ylim(-1.1, 1.1)
    figure.align_ylabels()
    return figure
