"""What layers draw from the generators that all share, NumPy's and Python's."""

import contextlib
import random

import numpy as np


@contextlib.contextmanager
def restored():
    """Leave both generators as they were."""
    kept = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(kept[0])
        random.setstate(kept[1])


def afresh():
    """Let layers draw the same once more; of no seed that people use for x."""
    np.random.seed(141_421)
    random.seed(141_421)


def were_made():
    """Whether anything was drawn since. Both generators make 624 numbers at a time, and count them."""
    return (np.random.get_state()[2], random.getstate()[1][-1]) != (624, 624)
