"""What may stand on a shortcut, and where may activations go? After He et al. 2015, Table 3, and 2016, Tables 1 and 2.

The papers multiplied the shortcut by constants and by gates, put convolutions and dropout on it, moved batch norm and
ReLU about, and found that the cleaner the shortcut, the better the net. Train every network of these tables for a short
while, and see how far the order of their errors is the published one. Try it::

    python examples/shortcut_ablation.py                                          # synthetic images, some minutes
    python examples/shortcut_ablation.py --names original dropout-shortcut        # some of them
    python examples/shortcut_ablation.py --data cifar10 --depth 110 --steps 2000 --seeds 0 1    # for the patient

Every network is trained in a folder of its own. Ctrl-C, or a power cut, at any time: the same command goes on.
"""

import argparse
import csv
import sys
from itertools import product
from math import isinf
from pathlib import Path

import numpy as np
from experiment import add_data_options, errors_in_one_line, images_named, keep, load_data, positive, train_in_folder

from minires.lab.ablation import FAIL, NAMES, SAME, TABLES, ablation_net, ranks, rows_of, verdict
from minires.lab.degradation import final_errors, percent
from minires.plots import ablation_figure
from minires.train import Diverged


def main(arguments=None):
    options = read_options(arguments)
    with errors_in_one_line("shortcut_ablation"):
        data = load_data(options)
        options.out = options.out or Path("runs", f"shortcut-ablation-{options.depth}-{options.data}")
        nets, results = list(dict.fromkeys(SAME.get(name, name) for name in options.names)), {}
        print(f"{setting(data, options)}\n{len(nets)} networks. Folder: {options.out}. "
              "After Ctrl-C, the same command goes on.")  # fmt: skip
        for i, (seed, name) in enumerate(product(options.seeds, nets), start=1):
            title = f"{i} of {len(options.seeds) * len(nets)}: {name}, seed {seed}"
            results.setdefault(name, []).append(train_one(name, seed, data, options, title))
            ablation_figure(tables_of(results, options), setting(data, options)).savefig(options.out / "ablation.png")
        report(results, data, options)


def read_options(arguments):
    parser = argparse.ArgumentParser(description="Train the networks of the papers' ablations and compare their order.")
    add_data_options(parser)
    add = parser.add_argument
    add(
        "--names", nargs="+", choices=NAMES, metavar="NAME", default=NAMES, help=f"of {', '.join(NAMES)} (default: all)"
    )
    add("--depth", type=int, default=20, metavar="6n+2", help="layers; 110 in the paper (default: 20)")
    add("--seeds", nargs="+", type=int, default=[0], metavar="SEED")
    add("--steps", type=positive, default=400, help="steps of SGD (default: 400)")
    add("--batch-size", type=positive, default=32, metavar="N", help="images in a step (default: 32)")
    add("--lr", type=float, default=0.05, help="largest learning rate (default: 0.05)")
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of runs, figure and tables (default: runs/shortcut-ablation-...)",
    )
    options = parser.parse_args(arguments)
    try:
        ablation_net("plain", options.depth, rng=0)
    except ValueError as error:
        parser.error(f"--depth: {error}")
    options.seeds = list(dict.fromkeys(options.seeds))
    return options


def train_one(name, seed, data, options, title):
    """Train one network in its folder, or go on with it, or find it finished; return (training error, test error)."""
    try:
        _, log = train_in_folder(name, options.depth, seed, data, options, build=ablation_net, tests=1)
    except Diverged as error:
        print(f"{title}: fail. {error}")
        return float("nan"), float("nan")
    train_error, _, test_error = final_errors(log)
    print(f"{title}: training error {train_error:.1%}, test error {test_error:.1%}")
    return train_error, test_error


def setting(data, options):
    """What is run, in a few words."""
    train_set, test_set = data
    seeds = ("seeds " if options.seeds[1:] else "seed ") + ", ".join(map(str, options.seeds))
    epochs = options.steps * options.batch_size / len(train_set)
    return (
        f"Here: {images_named(train_set, options)}, {len(test_set):,} test images; {options.depth} layers, "
        f"{options.steps:,} steps of {options.batch_size} images ({epochs:.2g} epochs), learning rate up to "
        f"{options.lr:g}, warm-up over 1/10, then a cosine to 0; {seeds}. fail: training diverged, or a test error "
        f"above {FAIL:.0%} (the paper: above 20%). Not the papers' setting: they train 64,000 steps of 128 images."
    )


# -- what came of it --------------------------------------------------------------------------------------------------

COLUMNS = ["network", "paper, %", "rank there", "training error", "test error", "rank here"]


def tables_of(results, options):
    """[(table, its rows), ...], as far as they have come."""
    found = [(table, rows_of(table, results, options.names)) for table in TABLES.values()]
    found = [(table, rows) for table, rows in found if rows]
    return [(table, rows) for table, rows in found if len(rows) > 1] or found


def report(results, data, options):
    """Print the tables and what they say; write them, and the numbers."""
    words = setting(data, options)
    page, numbers = [words, ""], {}
    for table, rows in tables_of(results, options):
        lines, said = [COLUMNS, *cells(rows)], verdict(rows)
        widths = [max(map(len, column)) for column in zip(*lines)]
        print(f"\n{table.title} ({table.paper}: {table.setting})")
        for line in lines:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip())
        print(said)
        lines.insert(1, ["---"] * len(COLUMNS))
        page += [f"## {table.title}", "", f"Published: {table.paper}, {table.setting}.", ""]
        page += ["| " + " | ".join(line) + " |" for line in lines] + ["", said, ""]
        numbers[table.title] = {"verdict": said, "rows": [numbers_of(row) for row in rows]}
    keep(options, data[0], {}, numbers, words)  # the figure is there
    (options.out / "tables.md").write_text("\n".join(page), encoding="utf-8")
    with open(options.out / "tables.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [["table", *COLUMNS]]
            + [[table.title, *line] for table, rows in tables_of(results, options) for line in cells(rows)]
        )


def cells(rows):
    """The rows of a table as text, under ``COLUMNS``."""
    there, here = ranks([row.published for row in rows]), ranks([row.error for row in rows])
    return [
        [row.name, "fail" if isinf(row.published) else f"{row.published:.2f}", str(a), *errors_of(row), str(b)]
        for row, a, b in zip(rows, there, here)
    ]


def errors_of(row):
    """Training and test error in words."""
    if np.isnan(row.test).any():
        return "diverged", "fail"
    return percent(row.train), f"fail ({percent(row.test)})" if row.failed else percent(row.test)


def numbers_of(row):
    return row._asdict() | {"published": "fail" if isinf(row.published) else row.published, "failed": bool(row.failed)}


if __name__ == "__main__":
    sys.exit(main())
