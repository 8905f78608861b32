"""Run an experiment of the lab; without a name, list them with their questions."""

import argparse
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from minires import lab
from minires.commands.arguments import UsageError
from minires.lab.experiment import Experiment


def add_options(parser):
    about = "the experiment: minires lab ROOM --help has its options"
    parser.add_argument("room", metavar="ROOM", nargs="?", help=about)
    parser.add_argument("arguments", metavar="...", nargs=argparse.REMAINDER, help="options of the experiment")
    parser.set_defaults(parser_class=type(parser))


def rooms():
    """Return {name: question} of the experiments: the folders of minires/lab with a command.py."""
    names = sorted(path.parent.name for path in Path(lab.__file__).parent.glob("*/command.py"))
    return {name: import_module(f"{lab.__name__}.{name}").__doc__ for name in names}


def run(options):
    if options.room is None:
        print("Experiments, each run by  minires lab ROOM\n")
        print("\n".join(f"{name:<16}{question}" for name, question in rooms().items()))
        return 0
    if options.room not in rooms():
        near = get_close_matches(options.room, rooms(), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(rooms())}."
        raise UsageError(f"lab: no experiment {options.room!r}. {hint}")
    command = import_module(f"{lab.__name__}.{options.room}.command")
    parser = options.parser_class(
        prog=f"minires lab {options.room}",
        description=f"{rooms()[options.room]}\n\n{command.__doc__}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_options(parser)
    out = "folder of figures and numbers (default: one under runs/)"
    parser.add_argument("--out", type=Path, metavar="DIR", help=out)
    chosen = parser.parse_args(options.arguments)
    chosen.changed = {name: value for name, value in vars(chosen).items() if value != parser.get_default(name)}
    chosen.room, chosen.command = options.room, ["minires", "lab", options.room, *options.arguments]
    try:
        experiment = Experiment(chosen)
        experiment.keep(*command.run(experiment))
    except ArithmeticError as error:  # training diverged
        raise ValueError(f"lab {options.room}: {error}") from None
    return 0
