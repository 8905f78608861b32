"""minires: a small deep-learning engine written to be read.

Every layer is a class with a ``forward`` and a hand-written ``backward``. What a notebook uses daily can be
imported from here; the rest from where it lives (``minires.networks``, ``minires.optim``, ...).
"""

from minires.layer import Buffer, Layer, Parameter

__version__ = "0.1.0"

__all__ = ["Buffer", "Layer", "Parameter"]
