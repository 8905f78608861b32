"""Say what is installed, and whether it works."""

from minires.doctor import examine


def add_options(parser):
    pass


def run(options):
    return 0 if examine() else 1
