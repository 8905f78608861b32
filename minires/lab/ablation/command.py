"""What may stand on a shortcut, and where may activations go? After He et al. 2015, Table 3, and 2016, Tables 1 and 2.

The papers multiplied the shortcut by constants and by gates, put convolutions and dropout on it, moved batch norm and
ReLU about, and found that the cleaner the shortcut, the better the net. Train every network of these tables for a short
while, and see how far the order of their errors is the published one. Try it::

    minires lab ablation                                          # synthetic images, some minutes
    minires lab ablation --names original dropout-shortcut        # some of them
    minires lab ablation --data cifar10 --depth 110 --steps 2000 --seeds 0 1    # for the patient

Every network is trained in a folder of its own. Ctrl-C, or a power cut, at any time: the same command goes on.
"""

import csv
from itertools import product
from math import isinf
from pathlib import Path

import numpy as np

from minires.lab.ablation.measure import FAIL, NAMES, SAME, TABLES, ablation_net, ranks, rows_of, verdict
from minires.lab.degradation.measure import final_errors, percent
from minires.lab.experiment import (
    Experiment,
    Table,
    data_options,
    each_once,
    images_named,
    markdown,
    positive,
    seeds_in_words,
)
from minires.train import Diverged

COLUMNS = ["network", "paper, %", "rank there", "training error", "test error", "rank here"]


def add_options(parser):
    data_options(parser)
    add, names = parser.add_argument, f"of {', '.join(NAMES)} (default: all)"
    add("--names", nargs="+", choices=NAMES, metavar="NAME", default=NAMES, help=names)
    add("--depth", type=int, default=20, metavar="6n+2", help="layers; 110 in the paper (default: 20)")
    add("--seeds", nargs="+", type=int, default=[0], metavar="SEED")
    add("--steps", type=positive, default=400, help="steps of SGD (default: 400)")
    add("--batch-size", type=positive, default=32, metavar="N", help="images in a step (default: 32)")
    add("--lr", type=float, default=0.05, help="largest learning rate (default: 0.05)")
    add("--out", type=Path, metavar="DIR", help="folder of runs, figure and tables (default: one under runs/)")


def run(options):
    from minires.lab.ablation.figure import ablation_figure  # here: matplotlib takes a while to load

    ablation_net("plain", options.depth, rng=0)  # refuses an impossible depth
    options.seeds = each_once(options.seeds)
    lab = Experiment(options)
    nets, results, note = each_once(SAME.get(name, name) for name in options.names), {}, setting(lab)
    print(f"{note}\n{len(nets)} networks. Folder: {lab.out}. After Ctrl-C, the same command goes on.")
    for i, (seed, name) in enumerate(product(options.seeds, nets), start=1):
        title = f"{i} of {len(options.seeds) * len(nets)}: {name}, seed {seed}"
        results.setdefault(name, []).append(train_one(name, seed, lab, title))
        tables = tables_of(results, options.names)
        ablation_figure(tables, note).savefig(lab.out / "ablation.png")  # what there is so far
    report(tables, lab, note)


def train_one(name, seed, lab, title):
    """Train one network in its folder, or go on with it, or find it finished; return (training error, test error)."""
    try:
        _, log = lab.train(name, lab.options.depth, seed, (lab.train_set, lab.test_set), ablation_net, tests=1)
    except Diverged as error:
        print(f"{title}: fail. {error}")
        return float("nan"), float("nan")
    train_error, _, test_error = final_errors(log)
    print(f"{title}: training error {train_error:.1%}, test error {test_error:.1%}")
    return train_error, test_error


def setting(lab):
    """Say what is run, in a few words."""
    options, epochs = lab.options, lab.options.steps * lab.options.batch_size / len(lab.train_set)
    return (
        f"Here: {images_named(lab.train_set, options)}, {len(lab.test_set):,} test images; {options.depth} layers, "
        f"{options.steps:,} steps of {options.batch_size} images ({epochs:.2g} epochs), learning rate up to "
        f"{options.lr:g}, warm-up over 1/10, then a cosine to 0; {seeds_in_words(options.seeds)}. fail: training "
        f"diverged, or a test error above {FAIL:.0%} (the paper: above 20%). Not the papers' setting: they train "
        "64,000 steps of 128 images."
    )


# -- what came of it --------------------------------------------------------------------------------------------------


def tables_of(results, names):
    """Return [(table, its rows), ...], as far as they have come."""
    found = [(table, rows_of(table, results, names)) for table in TABLES.values()]
    found = [(table, rows) for table, rows in found if rows]
    return [(table, rows) for table, rows in found if len(rows) > 1] or found


def report(tables, lab, note):
    """Print the tables and what they say; write them, and the numbers."""
    page, lines, numbers = [note, ""], [["table", *COLUMNS]], {}
    for table, rows in tables:
        said = verdict(rows)
        print(f"\n{table.title} ({table.paper}: {table.setting})")
        shown = Table(*COLUMNS, least=18)
        for cells in cells_of(rows):
            shown.row(*cells)
        print(said)
        page += [f"## {table.title}", "", f"Published: {table.paper}, {table.setting}.", ""]
        page += [markdown(COLUMNS, cells_of(rows)), "", said, ""]
        lines += [[table.title, *cells] for cells in cells_of(rows)]
        numbers[table.title] = {"verdict": said, "rows": [numbers_of(row) for row in rows]}
    (lab.out / "tables.md").write_text("\n".join(page), encoding="utf-8")
    with open(lab.out / "tables.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(lines)
    lab.keep({}, numbers, note)  # the figure is there


def cells_of(rows):
    """Return the rows of a table as text, under ``COLUMNS``."""
    there, here = ranks([row.published for row in rows]), ranks([row.error for row in rows])
    return [
        [row.name, "fail" if isinf(row.published) else f"{row.published:.2f}", str(a), *errors_of(row), str(b)]
        for row, a, b in zip(rows, there, here)
    ]


def errors_of(row):
    """Return training and test error in words."""
    if np.isnan(row.test).any():
        return "diverged", "fail"
    return percent(row.train), f"fail ({percent(row.test)})" if row.failed else percent(row.test)


def numbers_of(row):
    return row._asdict() | {"published": "fail" if isinf(row.published) else row.published, "failed": bool(row.failed)}
