"""What came of some training runs, on one page: the figure, errors beside the paper's, gradients, responses, settings.

::

    page = report(read_runs(["runs/cifar10-30m"]))
    Path("report.html").write_text(page, encoding="utf-8")

Everything is read from the folders that ``Run`` leaves behind. Runs on the same images with the same settings make a
*set*, with a figure and tables of its own. What a network does to signals and gradients is measured anew, from its
checkpoint and on the images it was trained on, where both can be had.
"""

from functools import cache, partial
from html import escape

from minires.lab.degradation.measure import final_errors, verdict
from minires.lab.runs import by_key, sets_of
from minires.page import bullets, document, table
from minires.report.errors import beside_the_paper, curves, errors
from minires.report.inside import find_images, measure, responses, rivers
from minires.report.settings import commands, history, machines, settings, value_of

BY = "minires report"


def report(runs, images=64, data_dir=None, data_file=None, command=""):
    """Return the page, as HTML.

    ``runs`` are from ``minires.lab.runs.read_runs``. Gradients are measured on the first so many training ``images``,
    responses on as many test images; 0: nothing is. ``data_dir`` and ``data_file`` say where CIFAR-10 is, as for
    ``load_cifar10``; nothing is downloaded. ``command`` is that which asked for the page, to be shown on it.
    """
    sets, find = sets_of(runs), cache(partial(find_images, (data_dir, data_file)))
    titles = [_title(group) for group in sets]
    if len(sets) == 1:
        title, body = titles[0], _set(sets[0], 2, images, find)
    else:
        title, links, parts = f"{len(runs)} runs in {len(sets)} sets", "", ""
        for i, (group, words) in enumerate(zip(sets, titles), 1):
            words = escape(f"Set {i}: {words}")
            links += f'<li><a href="#set{i}">{words}</a></li>'
            parts += f'\n<h2 id="set{i}">{words}</h2>\n{_set(group, 3, images, find)}'
        body = f"<ul>{links}</ul>\n{_apart(sets)}{parts}"
    if command:
        body += f"\n<h2>This page</h2>\n<pre>{escape(command)}</pre>"
    return document(title, f"<h1>{escape(title)}</h1>\n{body}", BY)


def _title(group):
    names = list(dict.fromkeys(run.name for run in group))
    nets = ", ".join(names) if len(names) <= 6 else f"{len(names)} networks"
    return f"{nets} on {group[0].images.partition(' (')[0]}"


def _apart(sets):
    """In what the sets differ."""
    names = dict.fromkeys(name for group in sets for run in group for name in run.settings())
    rows = [[name, *(value_of(group, name) for group in sets)] for name in names]
    head = ["setting", *(f"set {number}" for number in range(1, len(sets) + 1))]
    return table("In what the sets differ", head, [row for row in rows if len(set(row[1:])) > 1], facts=True)


def _set(group, level, images, find):
    """All about one set of runs, under headings of this level."""
    found, missing = measure(group, images, find)
    not_measured = "".join(f"<p>{escape(sentence)}</p>" for sentence in missing)
    sections = {
        "": _lead(group),
        "Error over the iterations": curves(group),
        "Errors": errors(group),
        "Beside the paper": beside_the_paper(group),
        "Where the gradient goes": (rivers(found, images) if found else "") + not_measured,
        "Layer responses": responses(found, images) if found else "",
        "Settings": settings(group),
        "Runs and machines": history(group) + machines(group),
        "To run this again": commands(group),
    }
    heading = {words: f"<h{level}>{words}</h{level}>\n" if words else "" for words in sections}
    return "\n".join(heading[words] + content for words, content in sections.items() if content)


def _lead(group):
    """What was run, what is not finished, what depth did."""
    config, seeds = group[0].config, list(dict.fromkeys(run.seed for run in group))
    count, several = f"{len(group)} run{'s' * (len(group) > 1)}", "s" * (len(seeds) > 1)
    words = [group[0].images, count, f"seed{several} {', '.join(seeds)}"]
    if isinstance(config.get("steps"), int):
        words.append(f"{config['steps']:,} steps of {config.get('batch_size', '?')} images")
    said = [f"<p>{escape('; '.join(words))}.</p>"]
    unfinished = [f"{run.name}, seed {run.seed}: {run.state}. {run.reason}" for run in group if not run.finished]
    if unfinished:
        words = f"Not finished, and left out of means and comparisons:{bullets(unfinished)}"
        said.append(f'<div class="banner">{words}</div>')
    finished = by_key(run for run in group if run.finished)
    found = verdict({key: [final_errors(run.log) for run in seeds] for key, seeds in finished.items()})
    if found:
        said.append(f"<p>{escape(' '.join(found.splitlines()))}</p>")
    return "\n".join(said)
