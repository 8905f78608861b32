"""Make one page of training runs, to open in a browser."""

import os
import shlex
from pathlib import Path

from minires.commands.arguments import UsageError, check_page, write_page
from minires.lab.experiment import whole
from minires.lab.runs import read_runs


def add_options(parser):
    add = parser.add_argument
    add("runs", metavar="RUN_DIR", nargs="+", help="the folder of a run, or a folder of such folders")
    add("--out", metavar="FILE", help="where to write it (default: report.html in RUN_DIR)")
    add("--images", type=whole, default=64, metavar="N", help="measure on so many (default 64; 0: do not)")
    add("--data-dir", metavar="DIR", help="where CIFAR-10 is, for runs on it with a checkpoint.npz")
    add("--data-file", metavar="FILE", help="or its archive")


def run(options):
    from minires.report import BY, report  # here: matplotlib takes a while to load

    runs, out = read_runs(options.runs), Path(options.out) if options.out else _beside(options.runs)
    check_page("--out", out, BY)
    asked = shlex.join(["minires", "report", *options.runs])
    write_page(out, report(runs, options.images, options.data_dir, options.data_file, asked))
    print(f"{len(runs)} run{'s' * (len(runs) > 1)}: see {out}")
    return 0


def _beside(places):
    """report.html in the folder that all of these are in."""
    if len(places) == 1:
        return Path(places[0], "report.html")
    common = Path(os.path.commonpath([Path(place).absolute() for place in places]))
    if common == Path(common.anchor):
        raise UsageError("report: the runs lie in folders far apart. Say where to write the page with --out")
    return common / "report.html"
