"""What all figures share: a sheet with a note at its foot, panels, colours, learning curves, formulas.

Each function that draws returns a ``matplotlib.figure.Figure``, which a notebook shows and ``figure.savefig(path)``
writes; none of it needs a screen. The figure of an experiment is in ``minires/lab/<room>/figure.py``. Besides those
files this is the only one that imports matplotlib.
"""

import base64
import html
import io
import math
import re
import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullLocator

from minires.checks import require, shown

INK, FAINT, PALE = "#333333", "#8A8A8A", "#E6E6E6"
SHORTCUT, BRANCH = "#0072B2", "#D55E00"
PLAIN, RESIDUAL = BRANCH, SHORTCUT
KINDS = {"plain": PLAIN, "resnet": RESIDUAL, "preact": "#009E73", "highway": "#CC79A7"}
DEPTHS = {20: "#E69F00", 32: "#56B4E9", 44: "#009E73", 56: "#D0342C", 110: "#222222"}  # as in the paper's Fig. 6
DEPTHS |= {8: "#8C6D31", 10: "#E69F00", 14: "#7F7F7F", 16: "#56B4E9", 28: "#009E73", 58: "#D0342C", 164: "#0072B2"}
OTHERS = ["#CC79A7", "#0072B2", "#7F7F7F", "#8C6D31", "#56B4E9", "#009E73", "#5E3C99", "#E7298A", "#66A61E", "#1B9E77"]
DASHED, DOTTED = (0, (4, 1.5)), (0, (1, 1.2))
TRAINING, TEST = {"lw": 1.1, "ls": DASHED}, {"lw": 2.4, "solid_capstyle": "round"}


# -- sheets and panels --------------------------------------------------------------------------------------------


def sheet(width, height, note=""):
    """Return a white figure, in inches, with a note at its foot; the layout leaves room for all that is written."""
    return noted(Figure((width, height), dpi=160, facecolor="white", layout="constrained"), note)


def noted(figure, note):
    """Write at the foot of a figure what was run, broken into lines, by which the figure grows; return it."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(str(note or ""), int(15.5 * width))
    if lines:
        figure.set_size_inches(width, height + 0.16 * len(lines))
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.5, color=FAINT, linespacing=1.35)
    return figure


def panel(axis, title="", x="", y="", log="", whole=False):
    """Give a panel its title and labels, quiet lines and exact numbers; ``log`` is "", "x", "y" or "xy".

    ``whole``: the x-axis counts blocks or layers.
    Where panels beside each other share their y-axis only the first is labelled, where panels above each other share
    their x-axis only the last.
    """
    place = axis.get_subplotspec()
    y = y if place.is_first_col() or not axis.get_shared_y_axes().get_siblings(axis)[1:] else ""
    x = x if place.is_last_row() or not axis.get_shared_x_axes().get_siblings(axis)[1:] else ""
    axis.grid(axis="y", color=PALE, lw=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(FAINT)
    axis.tick_params(colors=INK, labelsize=9, color=FAINT)
    axis.set_title(title, fontsize=10, color=INK)
    axis.set_xlabel(x, color=INK)
    axis.set_ylabel(y, color=INK)
    for name, side in (("x", axis.xaxis), ("y", axis.yaxis)):
        if name in log:
            logarithmic(side)
        else:
            side.set_major_formatter(FuncFormatter(in_words))
    if whole:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return axis


def in_words(number, _=None):
    """Return a number for an axis: 2.5, 64 000, 1e-05.

    >>> in_words(2.5), in_words(64000.0), in_words(1002.5), in_words(1e-5)
    ('2.5', '64 000', '1 002.5', '1e-05')
    """
    return f"{number:,.6g}".replace(",", " ")


def logarithmic(side):
    """Make an axis (``axis.xaxis``, or that of a colour bar) logarithmic, with numbers however short it is."""
    side.axes.set(**{f"{side.axis_name}scale": "log"})
    side.set_major_locator(RoundNumbers())
    side.set_minor_locator(NullLocator())
    side.set_major_formatter(FuncFormatter(in_words))


class RoundNumbers(Locator):
    """Places the ticks of a logarithmic axis at ``round_numbers``."""

    def __call__(self):
        return round_numbers(*sorted(self.axis.get_view_interval()))

    def tick_values(self, low, high):
        return round_numbers(low, high)


def round_numbers(low, high):
    """Return three to nine round numbers from low to high: powers of ten, or 1, 3, 10, or 1, 2, 5, ...

    >>> [round(number, 2) for number in round_numbers(0.1, 100)], round_numbers(0.9, 6)
    ([0.1, 1.0, 10.0, 100.0], [1.0, 2.0, 5.0])
    """
    if not 0 < low <= high < math.inf:  # an axis on which there is no positive number
        return []
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        found = [step * 10.0**decade for decade in decades for step in steps]
        found = [number for number in found if low * (1 - 1e-9) <= number <= high * (1 + 1e-9)]
        if len(found) >= 3:
            return found[:: -(-len(found) // 9)]
    return [number for number in MaxNLocator(4).tick_values(low, high) if low <= number <= high] or [low]


def whole_decades(axis, numbers):
    """Let a logarithmic y-axis begin and end at powers of ten."""
    exponents = np.log10([number for number in numbers if 0 < number < np.inf])
    logarithmic(axis.yaxis)
    if len(exponents):
        axis.set_ylim(10 ** np.floor(exponents.min()), 10 ** (np.floor(exponents.max()) + 1))


def with_seeds(axis, x, values, middle=np.mean, **look):
    """Draw the middle of the seeds as a line, each seed as a dot; ``values`` (points, seeds). Return the line."""
    values = np.asarray(values, np.float64)
    axis.plot(x, values, "o", color=look.get("color"), ms=3.5, alpha=0.5, mew=0)
    return axis.plot(x, middle(values, axis=1), lw=1.6, **look)[0]


def legend(axis, **options):
    """A legend without a frame, its words in the colours of their lines."""
    return axis.legend(**{"frameon": False, "fontsize": 8.5, "labelcolor": "linecolor"} | options)


def along_net(axis, nets, title, y, log=""):
    """Draw {name: [a number for each block]} over the way from the input to the loss, however many blocks there are."""
    for (name, numbers), look in zip(nets.items(), looks(nets).values()):
        axis.plot((np.arange(len(numbers)) + 0.5) / len(numbers), numbers, label=name, **look)
    panel(axis, title, "input  →  loss", y, log)
    axis.set(xticks=[], xlim=(0, 1))


# -- colours ------------------------------------------------------------------------------------------------------


def kind_and_depth(name):
    """Return ("resnet", 20) for "resnet-20" or "resnet-20, seed 1"; (name, 0) for another name."""
    match = re.match(r"([A-Za-z-]*[A-Za-z])-(\d+)", str(name))
    return (match[1], int(match[2])) if match else (str(name), 0)


def colours(nets, by="depth"):
    """Return {net: colour} for names such as "resnet-20", no colour twice while there are enough.

    ``by="depth"``: a depth has one colour in every figure. ``by="kind"``: so has plain, and so has residual.
    """
    found, place = {}, by == "kind"
    for net in nets:
        kind, depth = kind_and_depth(net)
        usual = KINDS.get(kind) if place else DEPTHS.get(depth)
        free = [colour for colour in [usual, *OTHERS] if colour and colour not in found.values()]
        found[net] = free[0] if free else OTHERS[len(found) % len(OTHERS)]
    return found


def by_depth(panels):
    """Return {net: colour} for the nets of several panels; a depth has one colour in all of them."""
    return {name: colour for names in panels for name, colour in colours(names).items()}


def looks(nets):
    """Return {net: {"color", "ls", "lw"}}: the colour says the depth, the dashes say the kind; no two look alike."""
    kind = {net: kind_and_depth(net)[0] for net in nets}
    others = iter([DOTTED, (0, (5, 1.5, 1, 1.5)), (0, (5, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 2))] * len(kind))
    dashes = {one: {"plain": DASHED, "resnet": "-"}.get(one) or next(others) for one in dict.fromkeys(kind.values())}
    colour = by_depth([net for net in nets if kind[net] == one] for one in dashes)
    return {
        net: {"color": colour[net], "ls": dashes[kind[net]], "lw": 1.3 if kind[net] == "plain" else 1.8} for net in nets
    }


def shade(i, count):
    """Return the i-th of some greys and blues, from light to dark."""
    shades = ["#A6C8E0", "#5B9BC8", "#1F6AA5", "#123A5C", "#000000"]
    return shades[-1 - (count - 1 - i) % len(shades)] if count > 1 else shades[2]


# -- learning curves ----------------------------------------------------------------------------------------------

UNITS = {"error": ("error (%)", 100), "loss": ("loss", 1)}


def plot_log(log, note=""):
    """Draw the error and the loss of a training run over its steps: training thin and dashed, test bold.

    ``log`` is as ``train`` returns it and ``read_log`` reads it; of several runs {name: log}.
    """
    logs = log if isinstance(log, dict) else {"": log}
    sound = all(isinstance(lines, list) and lines and isinstance(lines[0], dict) for lines in logs.values())
    got = shown(log) if np.size(log) else "none"
    require(logs and sound, "plot_log", "a log with at least one line", got, "Has the run started?")
    figure = sheet(9, 3.6, note)
    for axis, of in zip(figure.subplots(1, 2), UNITS):
        learning_curves([axis], {"": {name: [lines] for name, lines in logs.items()}}, of=of, place="upper right")
    return figure


def panels_of(logs, titles):
    """Return ``{("resnet", 20): [log of each seed], ...}`` as panels of ``learning_curves``, one for each kind of net.

    ``titles`` are ``{"resnet": "residual networks", ...}``.
    """
    panels = {
        title: {f"{net}-{depth}": logs[net, depth] for net, depth in sorted(logs) if net == kind}
        for kind, title in titles.items()
    }
    return {title: nets for title, nets in panels.items() if nets}


def learning_curves(axes, panels, colour=None, of="error", place="lower left"):
    """Draw training and test error, or loss, over the iterations, each of the panels on an axis.

    ``panels`` are ``{title: {name: [log of each seed]}}``. Several seeds are drawn as their mean, with a band from the
    lowest to the highest.
    """
    colour = colour or by_depth(panels.values())
    last = max(lines[-1]["step"] for nets in panels.values() for seeds in nets.values() for lines in seeds)
    names = []
    for axis, (title, logs) in zip(axes, panels.items()):
        names.append([])
        panel(axis, in_short(title, 40), "iteration").title.set_fontsize(11)
        for name, seeds in logs.items():
            training = _mean_and_spread(axis, [_training_curve(lines, of) for lines in seeds], colour[name], TRAINING)
            test = _mean_and_spread(axis, [_test_curve(lines, of) for lines in seeds], colour[name], TEST)
            curve = test if len(test) else training
            names[-1].append((next((value for value in reversed(curve) if math.isfinite(value)), 0.0), name))
    worst = max(end for ends in names for end, _ in ends)
    top = min(100.0, max(20.0, 2.2 * worst)) if of == "error" else 1.3 * worst or 1
    for axis, ends in zip(axes, names):
        axis.set(xlim=(0, last), ylim=(0, top))
        _name_ends(axis, ends, colour, 1.02 * last, gap=0.052 * top)
    styles = [Line2D([], [], color=INK, **TRAINING), Line2D([], [], color=INK, **TEST)]
    for axis in {axis.figure: axis for axis in reversed(axes)}.values():  # the first of each figure
        axis.set_ylabel(UNITS[of][0], color=INK)
    for axis in {axis.figure: axis for axis in axes}.values():
        legend(axis, handles=styles, labels=["training", "test"], loc=place, labelcolor=INK)


def _training_curve(lines, of, points=60):
    """(iterations, errors in %): the mean over the images of each of up to ``points`` stretches, at their middle."""
    lines = [line for line in lines if line["kind"] == "train"]
    if not lines:
        return np.empty(0), np.empty(0)
    step, value, images = (np.array([line[name] for line in lines]) for name in ("step", of, "images"))
    begin = np.concatenate([[0], step[:-1]])
    stretch = np.minimum((step - 1) * points // step[-1], points - 1)
    parts = [stretch == i for i in np.unique(stretch)]
    middle = [(begin[part][0] + step[part][-1]) / 2 for part in parts]
    return np.array(middle), np.array([UNITS[of][1] * np.average(value[part], weights=images[part]) for part in parts])


def _test_curve(lines, of):
    lines = [line for line in lines if line["kind"] == "test"]
    return np.array([line["step"] for line in lines]), np.array([UNITS[of][1] * line[of] for line in lines])


def _mean_and_spread(axis, curves, colour, style):
    """Draw the mean of the seeds, as far as all of them have come, and return its errors."""
    length = min(len(steps) for steps, _ in curves)
    steps, errors = curves[0][0][:length], np.array([error[:length] for _, error in curves])
    if len(curves) > 1:
        axis.fill_between(steps, errors.min(axis=0), errors.max(axis=0), color=colour, alpha=0.18, lw=0)
    mean = errors.mean(axis=0)
    axis.plot(steps, mean, color=colour, **style)
    return mean


def _name_ends(axis, ends, colour, x, gap):
    """Write each curve's name to the right of its end, moved apart where names would cover each other."""
    ends, places = sorted(ends), []
    for end, _ in ends:
        places.append(max(end, places[-1] + gap) if places else end)
    moved = np.mean([place - end for place, (end, _) in zip(places, ends)])
    for place, (_, name) in zip(places, ends):
        text = in_short(name)
        axis.text(x, place - moved, text, color=colour[name], fontsize=8.5, fontweight="bold", va="center")


def in_short(name, most=20):
    """Return a name that fits, and is no formula to matplotlib."""
    return (name if len(name) <= most else f"{name[: most - 8]}…{name[-7:]}").replace("$", r"\$")


# -- formulas --------------------------------------------------------------------------------------------------


def equation_svg(latex):
    """Return a formula drawn as an ``<img>`` that holds its own SVG, or "" for LaTeX beyond matplotlib's mathtext."""
    lines = re.split(r"\\\\(?:\[\w+\])?", latex.replace("&", ""))
    figure = Figure(figsize=(0.1, 0.1))
    for i, line in enumerate(lines):
        figure.text(0, -2.2 * i, f"${line.strip()}$", fontsize=13, color=INK, math_fontfamily="cm")
    drawn = io.StringIO()
    try:
        figure.savefig(drawn, format="svg", bbox_inches="tight", pad_inches=0.04, transparent=True)
    except ValueError:  # its parser says no
        return ""
    packed = base64.b64encode(drawn.getvalue().encode()).decode()
    return f'<img alt="{html.escape(latex)}" src="data:image/svg+xml;base64,{packed}">'
