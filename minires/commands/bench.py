"""Time a network: training step, inference, memory, each operator."""

import json
from pathlib import Path

from minires.bench import bench, report_text
from minires.commands.arguments import UsageError, image_shape, net_of


def add_options(parser):
    add = parser.add_argument
    add(
        "nets",
        metavar="NET",
        nargs="*",
        default=["resnet-20"],
        help="names as above (default resnet-20), or FILE.py:NAME",
    )
    add("--args", default="", help='arguments of NAME in FILE.py, such as --args "20, width=32"')
    add("--batch", type=int, default=128, metavar="N", help="images a step (default 128)")
    add("--input", default="3,32,32", metavar="C,H,W", help="shape of one image (default 3,32,32)")
    add("--classes", type=int, metavar="K", help="default 1000 for an ImageNet network, else 10")
    add("--repeat", type=int, default=10, metavar="N", help="turns of two counted steps (default 10)")
    add("--against", choices=["torch"], help="PyTorch does the same work in turn, also with torch.compile")
    add("--cold", action="store_true", help="measure also a start without compiled kernels")
    add("--json", metavar="FILE", help="write all numbers there, a list with a report for each NET")


def run(options):
    shape = image_shape(options.input)
    if options.json and not Path(options.json).absolute().parent.is_dir():
        raise UsageError(f"--json: no folder {Path(options.json).parent} to write {options.json} to")
    reports = []
    for name in options.nets:
        name += f"({options.args})" if ".py:" in name else ""
        wanted = options.batch, shape, options.classes, options.repeat, options.against, options.cold, built
        reports.append(bench(name, *wanted))
        print("\n" * (len(reports) > 1) + report_text(reports[-1]), flush=True)
        if options.json:  # after each: a long list of networks may be interrupted
            Path(options.json).write_text(json.dumps(reports, indent=1), encoding="utf-8")
    return 0


def built(name, classes=None, rng=None):
    """The net of a NET, or of ``FILE.py:NAME(arguments)``."""
    file, of_python, rest = name.partition(".py:")
    function, _, args = rest.partition("(")
    return net_of(file + of_python + function, args.removesuffix(")"), "bench", classes=classes, rng=rng)
