"""Experiments on networks: instruments for asking why shortcuts work.

Each folder is one room, one experiment: ``measure.py`` has its numbers, ``figure.py`` its picture, ``command.py`` what
``minires lab <room>`` does, README.md what was found. A new folder with a command is a new experiment; nothing lists
them. ``experiment`` has what rooms share, ``snapshots`` and ``controls`` what they need of networks: a net trained a
little and looked at on the way, and the same net with one thing changed. ``runs`` reads back what training left behind.
"""
