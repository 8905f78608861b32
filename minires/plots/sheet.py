"""What all figures share: colours, clean axes, a note at the foot."""

import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

INK, FAINT = "#333333", "#8A8A8A"
SHORTCUT, BRANCH = "#0072B2", "#D55E00"
PLAIN, RESIDUAL = BRANCH, SHORTCUT
DEPTH_COLOURS = {20: "#E69F00", 32: "#56B4E9", 44: "#009E73", 56: "#D0342C", 110: "#222222"}  # as in the paper's Fig. 6
OTHER_COLOURS = ["#CC79A7", "#0072B2", "#7F7F7F", "#8C6D31"]


def sheet(width, height, note):
    """(figure, bottom, top): a white figure with a note at its foot, and the heights that its axes may fill."""
    note = textwrap.wrap(note, int(15.5 * width))
    foot = 0.16 * len(note) + 0.14 if note else 0.06
    height += foot
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    figure.text(0.12 / width, 0.08 / height, "\n".join(note), fontsize=7.5, color=FAINT, va="bottom", linespacing=1.35)
    return figure, (foot + 0.05) / height, 1 - 0.4 / height


def clean(axis):
    axis.grid(axis="y", color="#E6E6E6", lw=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(FAINT)
    axis.tick_params(colors=INK, labelsize=9, color=FAINT, labelleft=True)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}".replace(",", " ")))


def whole_decades(axis, numbers):
    """A logarithmic axis that begins and ends at powers of ten."""
    exponents = np.log10([number for number in numbers if 0 < number < np.inf])
    axis.set_yscale("log")
    if len(exponents):
        axis.set_ylim(10 ** np.floor(exponents.min()), 10 ** (np.floor(exponents.max()) + 1))
    axis.minorticks_off()


def shade(i, count):
    """The i-th of some greys and blues, from light to dark."""
    shades = ["#A6C8E0", "#5B9BC8", "#1F6AA5", "#123A5C", "#000000"]
    return shades[-1 - (count - 1 - i) % len(shades)] if count > 1 else shades[2]


def of_kind(name):
    return PLAIN if name.startswith("plain") else RESIDUAL


def depth_colours(depths):
    """{depth: colour}"""
    others = iter(OTHER_COLOURS * len(depths))
    return {depth: DEPTH_COLOURS.get(depth) or next(others) for depth in depths}
