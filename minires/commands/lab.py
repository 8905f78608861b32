"""Run an experiment of the lab; without a name, list them with their questions."""

import argparse
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

from minires import lab
from minires.commands.arguments import UsageError


def add_options(parser):
    parser.add_argument(
        "room", metavar="ROOM", nargs="?", help="the experiment: minires lab ROOM --help has its options"
    )
    parser.add_argument("arguments", metavar="...", nargs=argparse.REMAINDER, help="options of the experiment")
    parser.set_defaults(parser_class=type(parser))


def rooms():
    """Return {name: question} of the experiments: the folders of minires/lab with a command.py."""
    names = [
        name for _, name, folder in iter_modules(lab.__path__) if folder and find_spec(f"{lab.__name__}.{name}.command")
    ]
    return {name: import_module(f"{lab.__name__}.{name}").__doc__.splitlines()[0] for name in names}


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
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_options(parser)
    chosen = parser.parse_args(options.arguments)
    chosen.changed = {name: value for name, value in vars(chosen).items() if value != parser.get_default(name)}
    chosen.room, chosen.command = options.room, ["minires", "lab", options.room, *options.arguments]
    try:
        command.run(chosen)
    except ArithmeticError as error:  # training diverged
        raise ValueError(f"lab {options.room}: {error}") from None
    return 0
