"""Time a network: training step, inference, memory, each operator."""

import json
from pathlib import Path

from minires.bench import bench, report_text
from minires.commands.arguments import check_folder, net_of, net_options
from minires.lab.experiment import positive


def add_options(parser):
    net_options(parser, "nets", nargs="*", default=["resnet-20"])
    add = parser.add_argument
    add("--batch", type=positive, default=128, metavar="N", help="images a step (default 128)")
    add("--repeat", type=positive, default=10, metavar="N", help="turns of two counted steps (default 10)")
    add("--against", choices=["torch"], help="PyTorch does the same work in turn, also with torch.compile")
    add("--cold", action="store_true", help="measure also a start without compiled kernels")
    add("--json", metavar="FILE", help="write all numbers there, a list with a report for each NET")


def run(options):
    check_folder("--json", options.json)
    reports = []
    for name in options.nets:
        name += f"({options.args})" if ".py:" in name else ""
        work = options.batch, options.input or (3, 32, 32), options.classes
        reports.append(bench(name, *work, options.repeat, options.against, options.cold, built))
        print("\n" * (len(reports) > 1) + report_text(reports[-1]), flush=True)
        if options.json:  # after each: a long list of networks may be interrupted
            Path(options.json).write_text(json.dumps(reports, indent=1), encoding="utf-8")
    return 0


def built(name, classes=None, rng=None):
    """The net of a NET, or of ``FILE.py:NAME(arguments)``."""
    file, of_python, rest = name.partition(".py:")
    function, _, args = rest.partition("(")
    return net_of(file + of_python + function, args.removesuffix(")"), "bench", classes=classes, rng=rng)
