"""The hot loops, each written twice: plain NumPy to read (``reference``), and compiled to wait for.

Both have the same names, arguments and results. The environment variable ``MINIRES_KERNELS``, ``reference`` or
``compiled`` (the default), chooses for the whole process. Where Numba is missing, switched off or unknown to these
kernels, the reference serves, and one line says so. ``im2col`` and ``col2im`` exist once: the compiled convolution does
without a column matrix.
"""

import os
import sys

from minires.kernels.machine import cores
from minires.kernels.reference import *  # noqa: F403  the definitions, and __all__ their names
from minires.kernels.reference import __all__ as KERNELS

__all__ = ["chosen", *KERNELS]

chosen = os.environ.get("MINIRES_KERNELS") or "compiled"
why_not_compiled = None  # one line, where they were wanted


def check_settings():
    """Raise ValueError where an environment variable of the kernels is wrong. ``import minires`` never does."""
    if chosen not in ("reference", "compiled"):
        raise ValueError(f"MINIRES_KERNELS: expected 'reference' or 'compiled', got {chosen!r}.")
    cores.num_threads(), cores.threading_wanted()


if chosen == "compiled":
    try:
        from minires.kernels.compiled import augmentation, conv, elementwise, linear, norm, pool

        for module in (augmentation, conv, elementwise, linear, norm, pool):
            for name in set(KERNELS) & vars(module).keys():
                vars(module)[name].__doc__ = globals()[name].__doc__  # written once, with the definition
                globals()[name] = vars(module)[name]
    except Exception as error:  # a library of another version, or damaged, raises any kind
        chosen, why_not_compiled = "reference", str(error).partition("\n")[0]
        print(f"minires: no compiled kernels ({why_not_compiled}): NumPy computes, many times slower", file=sys.stderr)
elif chosen != "reference":
    globals().update(dict.fromkeys(KERNELS, lambda *arguments: check_settings()))
