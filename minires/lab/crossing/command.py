"""When does the deeper residual net get ahead of the shallower one?

Reads the logs of finished or running runs, of ``minires train`` or ``degradation_cifar.py``, and trains nothing::

    minires lab crossing docs/cifar10-30m
    minires lab crossing runs/paper --nets resnet
"""

from pathlib import Path

from minires.lab.crossing.measure import passes, stretches
from minires.lab.experiment import Experiment, Table, count
from minires.run import read_log, read_run_json


def add_options(parser):
    add = parser.add_argument
    add("folders", nargs="*", type=Path, default=[Path("runs")], metavar="DIR", help="where runs are (default: runs)")
    add("--nets", nargs="+", default=["plain", "resnet"], metavar="NET", help="(default: plain resnet)")
    add("--first", type=int, default=250, metavar="STEPS", help="end of the first stretch (default: 250)")
    add("--out", type=Path, metavar="DIR", help="folder of figures and numbers (default: one under runs/)")


def run(options):
    from minires.lab.crossing.figure import crossing_figure  # here: matplotlib takes a while to load

    lab, logs, images = Experiment(options), {}, set()
    for folder in sorted({path.parent for root in options.folders for path in root.rglob("log.jsonl")}):
        about = read_run_json(folder)
        config, deviations = about["config"], about.get("deviations", [])
        if config.get("net") in options.nets:
            logs.setdefault((config["net"], config["depth"]), []).append(read_log(folder / "log.jsonl"))
            named = [text.removeprefix("images: ") for text in deviations if text.startswith("images: ")]
            images.update(named or [str(config.get("data"))])
    pairs, said, numbers = {}, [], {}
    for net in options.nets:
        depths = sorted(depth for kind, depth in logs if kind == net)
        if len(depths) < 2:
            continue
        names = tuple(f"{net}-{depth}" for depth in (depths[0], depths[-1]))
        of = [logs[net, depth] for depth in (depths[0], depths[-1])]
        pairs[names] = found = stretches(*of, first=options.first)
        print(f"\n{' and '.join(names)}, {count(min(map(len, of)), 'seed')} each")
        table = Table("steps", *names, "difference", "+-", "ahead", first=18)
        for row in found:
            sign = {1: names[1], -1: names[0], 0: "neither"}[row.ahead]
            errors = f"{row.shallow:.1%}", f"{row.deep:.1%}", f"{100 * (row.deep - row.shallow):.1f}"
            table.row(f"{row.first + 1:,} to {row.last:,}", *errors, f"{200 * row.noise:.1f}", sign)
        at, end = passes(found), found[-1].last
        how = f"passes {names[0]} by step {at:,}" if at else f"has not passed {names[0]} by step {end:,}"
        said.append(f"{names[1]} {how}{', of one seed' * (min(map(len, of)) == 1)}.")
        numbers[" and ".join(names)] = {"passes": at, "stretches": [row._asdict() for row in found]}
    if not pairs:
        raise ValueError(
            f"{', '.join(map(str, options.folders))}: expected runs of one net in two depths, got {len(logs)} nets."
        )
    note = f"Runs on {', '.join(sorted(images))}. Band: two standard errors. {' '.join(said)}"
    print("\n" + "\n".join(said))
    lab.keep({"crossing": crossing_figure(pairs, note)}, numbers, note)
