"""Reads the logs of finished or running runs, of ``minires train`` or ``degradation_cifar.py``, and trains nothing::

minires lab crossing docs/trained/equal-cost
minires lab crossing runs/paper --nets resnet
"""

from pathlib import Path

from minires.lab.crossing.figure import crossing_figure
from minires.lab.crossing.measure import passes, stretches
from minires.lab.experiment import Table, count, several
from minires.lab.runs import by_key, read_runs


def add_options(parser):
    add = parser.add_argument
    add("folders", nargs="*", type=Path, default=[Path("runs")], metavar="DIR", help="where runs are (default: runs)")
    several(parser, "--nets", str, ["plain", "resnet"], metavar="NET")
    add("--first", type=int, default=250, metavar="STEPS", help="end of the first stretch (default: 250)")


def run(lab):
    options = lab.options
    runs = [run for run in read_runs(options.folders) if run.key[0] in options.nets]
    logs = {key: [run.log for run in seeds] for key, seeds in by_key(runs).items()}
    pairs, said, numbers = {}, [], {}
    for net in options.nets:
        depths = sorted(depth for kind, depth in logs if kind == net)
        if len(depths) > 1:
            names = tuple(f"{net}-{depth}" for depth in (depths[0], depths[-1]))
            of = [logs[net, depth] for depth in (depths[0], depths[-1])]
            pairs[names] = found = stretches(*of, first=options.first)
            said.append(in_words(names, found, min(map(len, of))))
            numbers[" and ".join(names)] = {"passes": passes(found), "stretches": [row._asdict() for row in found]}
    if not pairs:
        where = ", ".join(map(str, options.folders))
        raise ValueError(f"{where}: expected runs of one net in two depths, got {len(logs)} nets.")
    print("\n" + "\n".join(said))
    lab.note = f"Runs on {', '.join(sorted({run.images for run in runs}))}. Band: two standard errors. {' '.join(said)}"
    return {"crossing": crossing_figure(pairs)}, numbers


def in_words(names, found, seeds):
    """Print the table of two nets, and return what it says in a sentence."""
    print(f"\n{' and '.join(names)}, {count(seeds, 'seed')} each")
    table = Table("steps", *(f"{name}:.1%" for name in names), "difference:.1f", "+-:.1f", "ahead", first=18)
    for row in found:
        sign = {1: names[1], -1: names[0], 0: "neither"}[row.ahead]
        difference, noise = 100 * (row.deep - row.shallow), 200 * row.noise
        table.row(f"{row.first + 1:,} to {row.last:,}", row.shallow, row.deep, difference, noise, sign)
    at, end = passes(found), found[-1].last
    how = f"passes {names[0]} by step {at:,}" if at else f"has not passed {names[0]} by step {end:,}"
    return f"{names[1]} {how}{', of one seed' * (seeds == 1)}."
