"""The command ``minires``: finds the command asked for in minires/commands/ and runs it."""

import argparse
import sys
from importlib import import_module

from minires.commands.arguments import UsageError
from minires.kernels import check_settings
from minires.progress import nobody_need_listen
from minires.version import VERSION

# in the order of minires --help
COMMANDS = "data summary train bench evaluate predict check trace report lab doctor course grade".split()


def main(arguments=None):
    """Run one command; return the exit status: 0 fine, 1 a check failed, 2 wrong use."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what the terminal cannot show is written as an escape
            stream.reconfigure(errors="backslashreplace")
    with nobody_need_listen():
        try:
            options = _parser().parse_args(arguments)
            check_settings()
            return options.run(options)
        except (UsageError, ValueError, OSError) as error:
            print(f"minires: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as stop:
            print(f"minires: {stop or 'interrupted'}", file=sys.stderr)
            return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError(f"{message}. See {self.prog} --help")


def _parser():
    parser = _Parser(
        prog="minires",
        description="A small deep-learning engine written to be read.",
        epilog="examples:\n  minires summary resnet18 --input 3,224,224\n"
        "  minires check scale.py:Scale --input 2,3,8,8",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"minires {VERSION}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    for name in COMMANDS:
        command = import_module(f"minires.commands.{name}")
        sub = commands.add_parser(name, help=command.__doc__.rstrip("."), description=command.__doc__)
        sub.set_defaults(run=command.run)
        command.add_options(sub)
    return parser
