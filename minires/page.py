"""The frame of a page that is one file: ``minires trace`` and ``minires report`` each write one.

It opens from the disk, on a phone as well: no script, nothing fetched from anywhere (its policy makes the browser
refuse), pictures held inside. Light or dark, as the reader's system is. Every text goes through ``html.escape``.
"""

import base64
import io
from html import escape

from minires.version import VERSION

# Light and dark. Text on any of the grounds has a contrast of at least 4.5 (WCAG 2, level AA); a test measures it.
NAMES = "ink     faint   paper   line    link    bad     good    forward backward".split()
COLOURS = {
    "light": "#222222 #595959 #ffffff #c8c8c8 #005a8f #fde3e0 #e0f2e9 #bfd9ea #f6d3bd".split(),
    "dark": "#e8e8e8 #b0b0b0 #1b1b1b #4a4a4a #8ccbf5 #5a2622 #1d4430 #1f4a66 #663a1c".split(),
}
COLOURS = {scheme: dict(zip(NAMES, colours)) for scheme, colours in COLOURS.items()}


def _variables(scheme):
    return "; ".join(f"--{name}: {colour}" for name, colour in COLOURS[scheme].items())


STYLE = f"""
:root {{ color-scheme: light dark; {_variables("light")} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables("dark")} }} .equation img {{ filter: invert(1) }}
  figure img, .wide > img, .swatch {{ filter: invert(1) hue-rotate(180deg) }} }}
* {{ box-sizing: border-box }}
body {{ font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 72rem; padding: 1rem; overflow-wrap: anywhere }}
h1 {{ font-size: 1.5rem; line-height: 1.25 }} h2 {{ font-size: 1.2rem; margin: 2.2rem 0 .6rem }}
h3 {{ font-size: 1rem; margin: 1.6rem 0 .4rem }} p, li, figcaption {{ max-width: 46rem }}
a {{ color: var(--link) }} ul {{ padding-left: 1.2rem }}
pre {{ white-space: pre-wrap; border-left: 3px solid var(--line); padding: .2rem .8rem; font-size: .85rem }}
.wide {{ overflow-x: auto; margin: 1rem 0 }} .tall {{ overflow: auto; max-height: 85vh }}
table {{ border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; overflow-wrap: normal }}
caption {{ text-align: left; font-size: 1rem; padding-bottom: .3rem }}
caption span {{ display: block; position: sticky; left: 0; width: max-content; max-width: min(46rem, 100vw - 2rem) }}
th, td {{ padding: .2rem .6rem; text-align: right; vertical-align: baseline; white-space: nowrap }}
th {{ font-weight: 600 }} thead {{ border-bottom: 1px solid var(--faint); background: var(--paper) }}
thead th {{ color: var(--faint); white-space: normal; vertical-align: bottom }}
tbody th {{ text-align: left; background: var(--paper); position: sticky; left: 0 }}
th:first-child {{ text-align: left; padding-left: 0 }} tbody tr {{ border-bottom: 1px solid var(--line) }}
.facts td, .facts th {{ text-align: left; white-space: normal; overflow-wrap: anywhere }}
.facts th {{ white-space: nowrap; position: static }} .facts td {{ min-width: 6rem }}
tr.bad, tr.bad th {{ background: var(--bad) }}
.tall thead {{ position: sticky; top: 0; z-index: 1 }}
.trace {{ font-size: .8125rem }} .trace tbody tr {{ border: 0 }} body:has(.trace) {{ max-width: 90rem }}
.trace tbody tr.stage {{ border-top: 1px solid var(--line) }} .bar {{ background-repeat: no-repeat }}
.trace th, .trace td {{ padding: .15rem .4rem }} .trace th:first-child {{ padding-left: 0 }}
.trace td:nth-child(2), .trace th:nth-child(2), .trace [scope=colgroup] {{ text-align: left }}
@media (min-width: 40rem) {{ wbr {{ display: none }} }}
@media (max-width: 40rem) {{ .trace tbody th {{ white-space: normal; min-width: 7rem; max-width: 9rem }} }}
.banner {{ padding: .6rem 1rem; background: var(--bad) }} .banner.same {{ background: var(--good) }}
figure {{ margin: 0 }} figure img {{ display: block; width: 100%; height: auto }}
.swatch {{ display: inline-block; width: .8em; height: .8em; margin-left: .8em }}
figcaption {{ color: var(--faint); font-size: .875rem }}
.panels {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 1rem;
  max-width: 62rem; margin: 1rem 0 }}
.wide > img {{ display: block; height: auto; width: max(100%, 44rem); max-width: 66rem }}
code, pre {{ font-family: ui-monospace, monospace }} code {{ font-size: .875rem }}
.equation {{ margin: .3rem 0 .3rem 1rem; overflow-x: auto }} .equation img {{ vertical-align: middle; max-width: none }}
"""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title, body, by):
    """Return the whole page; every text in ``body``, HTML, is escaped. ``by`` is the command, for ``is_made_by``."""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
{_generator(by)} {VERSION}">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>
{body}
</main></body></html>
"""


def is_made_by(by, path):
    """Whether the file is a page that this command made."""
    with open(path, "rb") as file:
        return _generator(by).encode() in file.read(1000)


def _generator(by):
    return f'<meta name="generator" content="{escape(by)}'


def table(caption, head, rows, bad=(), facts=False):
    """Return a table that scrolls sideways where the screen is narrow; each row begins with what it is about.

    ``head`` names the columns ([]: nothing does), all cells are texts, rows with the numbers ``bad`` are set off.
    ``facts``: the cells are words, not numbers.
    """
    titles = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    head = f"<thead><tr>{titles}</tr></thead>" if head else ""
    set_off = ' class="bad"'
    lines = [
        f'<tr{set_off * (i in bad)}><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for i, (first, *cells) in enumerate(rows)
    ]
    kind = ' class="facts"' if facts else ""
    return scrolling(
        f"<table{kind}><caption><span>{escape(caption)}</span></caption>{head}<tbody>\n{chr(10).join(lines)}\n</tbody></table>",
        caption,
    )


def bullets(lines):
    """Return a list with an item for each text."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def scrolling(content, name, kind="wide"):
    """Return HTML in a frame of its own that scrolls, with the keyboard as well, where it is wider than the screen."""
    return f'<div class="{kind}" role="region" tabindex="0" aria-label="{escape(name)}">{content}</div>'


def image(figure, alt):
    """Return a figure of matplotlib as an ``<img>`` that holds it, on the ground of the page: light, or inverted."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", transparent=True)
    png = drawn.getvalue()
    width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))
    packed = base64.b64encode(png).decode()
    return f'<img width="{width}" height="{height}" alt="{escape(alt)}" src="data:image/png;base64,{packed}">'


def figures(panels):
    """Return figures, each with its text, (figure, alt), side by side where there is room."""
    drawn = "\n".join(f"<figure>{image(figure, alt)}</figure>" for figure, alt in panels)
    return f'<div class="panels">{drawn}</div>'
