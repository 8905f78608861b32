"""A trace as a page: every layer a row, what differs from another trace, and the formulas of the layers."""

import math
from html import escape

import numpy as np

from minires.figures import equation_svg
from minires.page import document, scrolling, table
from minires.trace import by, path_in

BY = "minires trace"


def page(made, compared=None):
    """Return a trace as one self-contained HTML page.

    ``compared`` is what the comparison with another trace came to: a list of Difference, or words where none is.
    """
    about, banner, differ = made.about, "", compared if isinstance(compared, list) else []
    rows = "\n".join(_rows(made, differ))
    show = ' <a href="#first">Show the layer</a>' if 'id="first"' in rows else ""  # x is of no layer
    if isinstance(compared, str):
        banner = f'<p class="banner same">{escape(compared)}</p>\n'
    elif differ:
        banner = f'<p class="banner">{escape(str(differ[0]))}{show}</p>\n'
    if made.first_not_finite:
        banner += f'<p class="banner">The first NaN or infinity is in {escape(made.first_not_finite)}.'
        banner += f"{show * (not differ)}</p>\n"
    names = "".join(f'<th scope="col">{name}</th>' for name in ("shape", "mean", "std", "min", "max", "NaN"))
    layers = f"""<table class="trace"><caption><span>{escape(made.setting)}</span></caption>
<thead><tr><td colspan="2"></td><th colspan="6" scope="colgroup">forward: y</th>
<th colspan="6" scope="colgroup">backward: dL/dy</th></tr>
<tr><th scope="col">layer</th><th scope="col">class</th>{names}{names}</tr></thead><tbody>
{rows}
</tbody></table>"""
    body = f"""<h1>{escape(about["net"])}: one batch, forward and backward</h1>
{banner}<p>For each layer, in the order in which it finished: y is what it returned, dL/dy the gradient that came back
to it. Bars behind a standard deviation are logarithmic, from the smallest of the column to the largest. Red: NaN,
infinity, or a difference.</p>
{scrolling(layers, "Layers", "wide tall")}
{_differences_in_html(differ)}
<h2>What the layers compute</h2>
{chr(10).join(_equations_in_html(kind, text) for kind, text in about["equations"].items())}"""
    return document(f"{about['net']}: a trace", body, BY)


def _differences_in_html(differ, most=200):
    """Every tensor that differs, with its value here and there: y, dL/dx and dL/dp."""
    if not differ:
        return ""
    rows = [[one.name, one.kind, one.reason] for one in differ[:most]]
    more = f" The first {most}." * (len(differ) > most)
    words = f"{len(differ)} of {differ[0].total} tensors, in the order in which they came about.{more}"
    return f"<h2>What differs</h2>\n{table(words, ['tensor', 'class', 'mine and the reference'], rows, facts=True)}"


def _rows(made, differ):
    """Yield each layer as a row of the table; the first row of a class has the link to its formulas."""
    linked, paths = set(), [one.path for one in differ]
    first = differ[0].path if differ else path_in(made.first_not_finite)
    bars = [
        _bars([getattr(row, name).std for row in made.rows], f"var(--{colour})") for name, colour in COLOURS.items()
    ]
    above = None
    for row, *behind in zip(made.rows, *bars):
        stage = row.path.partition(".")[0]
        finite = not (row.y.nan or row.dy.nan) and np.isfinite([*row.y[1:5], *row.dy[1:5]]).all()
        bad = "bad" * (row.path in paths or row.path == first or not finite)
        attributes = f' class="{"stage " * (stage != above)}{bad}"' + ' id="first"' * (row.path == first)
        path, kind = escape(row.path).replace(".", ".<wbr>"), escape(row.kind)
        link = kind if kind in linked else f'<a href="#{kind}">{kind}</a>'
        cells = f'<th scope="row">{path}</th><td>{link}</td>'
        linked.add(kind)
        for s, bar in zip((row.y, row.dy), behind):
            mean, std, least, most = (f"{number:.3g}" for number in s[1:5])
            cells += f'<td>{by(s.shape)}</td><td>{mean}</td><td class="bar" style="{bar}">{std}</td>'
            cells += f"<td>{least}</td><td>{most}</td><td>{s.nan or ''}</td>"
        yield f"<tr{attributes}>{cells}</tr>"
        above = stage


COLOURS = {"y": "forward", "dy": "backward"}  # of the bars, by their names in minires.page


def _bars(numbers, colour):
    """CSS of a bar behind each number, its length by the logarithm."""
    logs = np.array([math.log10(number) if 0 < number < math.inf else math.nan for number in numbers])
    if np.isnan(logs).all():
        return [""] * len(numbers)
    low, high = np.nanmin(logs), np.nanmax(logs)
    part = 10 + 90 * (logs - low) / (high - low or 1)
    image = f"background-image:linear-gradient({colour},{colour})"
    return ["" if np.isnan(width) else f"{image};background-size:{width:.0f}% 100%" for width in part]


def _equations_in_html(kind, text):
    def shown(formula):
        return f'<p class="equation">{equation_svg(formula) or f"<code>{escape(formula)}</code>"}</p>'

    formulas = "".join(shown(formula) for formula in text["forward"])
    if text["backward"] or text["derived"]:
        formulas += f"<p>Backward: {'' if text['backward'] else escape(text['derived'])}</p>"
        formulas += "".join(shown(formula) for formula in text["backward"])
    return f'<h3 id="{escape(kind)}">{escape(kind)}</h3><p>{escape(text["summary"])}</p>{formulas}'
