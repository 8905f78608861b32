"""After He et al. 2015, Table 3, and 2016, Tables 1 and 2: train every network of these tables for a short while, and
see how far the order of their errors is the published one::

    minires lab ablation                                          # synthetic images, some minutes
    minires lab ablation --names original dropout-shortcut        # some of them
    minires lab ablation --data cifar10 --depth 110 --steps 2000 --seeds 0 1    # for the patient
"""

import csv
from functools import partial
from itertools import product
from math import isinf

import numpy as np

from minires.lab.ablation import measure
from minires.lab.ablation.figure import ablation_figure
from minires.lab.degradation.measure import final_errors, percent
from minires.lab.experiment import Table, data_options, each_once, markdown, step_options
from minires.train import Diverged

COLUMNS = ["network", "paper, %", "rank there", "training error", "test error", "rank here"]


def add_options(parser):
    data_options(parser)
    add, names = parser.add_argument, f"of {', '.join(measure.NAMES)} (default: all)"
    add("--names", nargs="+", choices=measure.NAMES, metavar="NAME", default=measure.NAMES, help=names)
    add("--depth", type=int, default=20, metavar="6n+2", help="layers; 110 in the paper (default: 20)")
    step_options(parser, steps=400)


def run(lab):
    options, results = lab.options, {}
    measure.ablation_net("plain", options.depth, rng=0)  # refuses an impossible depth
    nets = each_once(measure.SAME.get(name, name) for name in options.names)
    setting = lab.setting("test", images=f"{len(lab.test_set):,}")
    epochs = options.steps * options.batch_size / len(lab.train_set)
    lab.say(
        f"Here: {setting} {options.depth} layers, {epochs:.2g} epochs. fail: training diverged, or a test error above "
        f"{measure.FAIL:.0%} (the paper: above 20%). Not the papers' setting: they train 64,000 steps of 128 images."
    )
    print(f"{len(nets)} networks. Folder: {lab.out}. After Ctrl-C, the same command goes on.")
    for i, (seed, name) in enumerate(product(options.seeds, nets), start=1):
        title = f"{i} of {len(options.seeds) * len(nets)}: {name}, seed {seed}"
        results.setdefault(name, []).append(train_one(name, seed, lab, title))
        tables = tables_of(results, options.names)
        lab.draw({"ablation": ablation_figure(tables)})  # what there is so far
    return {}, report(tables, lab)


def train_one(name, seed, lab, title):
    """Train one network in its folder, or go on with it, or find it finished; return (training error, test error)."""
    depth = lab.options.depth
    try:
        build = partial(measure.ablation_net, name, depth)
        _, log = lab.train(name, depth, seed, (lab.train_set, lab.test_set), build, tests=1)
    except Diverged as error:
        print(f"{title}: fail. {error}")
        return float("nan"), float("nan")
    train_error, _, test_error = final_errors(log)
    print(f"{title}: training error {train_error:.1%}, test error {test_error:.1%}")
    return train_error, test_error


def tables_of(results, names):
    """Return [(table, its rows), ...], as far as they have come; those of a single row only if there are no others."""
    found = [(table, measure.rows_of(table, results, names)) for table in measure.TABLES.values()]
    return [(table, rows) for table, rows in found if len(rows) > 1] or [(table, rows) for table, rows in found if rows]


def report(tables, lab):
    """Print the tables and what they say; write them, and return the numbers."""
    page, lines, numbers = [lab.note, ""], [["table", *COLUMNS]], {}
    for table, rows in tables:
        said, cells = measure.verdict(rows), cells_of(rows)
        print(f"\n{table.title} ({table.paper}: {table.setting})")
        shown = Table(*COLUMNS, least=18)
        for row in cells:
            shown.row(*row)
        print(said)
        page += [f"## {table.title}", "", f"Published: {table.paper}, {table.setting}.", ""]
        page += [markdown(COLUMNS, cells), "", said, ""]
        lines += [[table.title, *row] for row in cells]
        numbers[table.title] = {"verdict": said, "rows": [row.about() for row in rows]}
    (lab.out / "tables.md").write_text("\n".join(page), encoding="utf-8")
    with open(lab.out / "tables.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(lines)
    return numbers


def cells_of(rows):
    """Return the rows of a table as text, under ``COLUMNS``."""
    there, here = measure.ranks([row.published for row in rows]), measure.ranks([row.error for row in rows])
    return [
        [row.name, "fail" if isinf(row.published) else f"{row.published:.2f}", str(a), *errors_of(row), str(b)]
        for row, a, b in zip(rows, there, here)
    ]


def errors_of(row):
    """Return training and test error in words."""
    if np.isnan(row.test).any():
        return "diverged", "fail"
    return percent(row.train), f"fail ({percent(row.test)})" if row.failed else percent(row.test)
