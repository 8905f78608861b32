"""Experiments on networks: instruments for asking why shortcuts work.

Each file is one experiment, short because it stands on ``Probe``, with a figure in ``minires.plots``, a script in
``examples/`` and a page in ``docs/lab/``. ``snapshots`` and ``variants`` serve them all: a net trained a little and
looked at on the way, and the same net with one thing changed.
"""
