"""How many threads: one number, for our kernels and for NumPy's matrix products."""

import ctypes
import os
import sys

OURS = "MINIRES_NUM_THREADS"


def threads_wanted():
    """The first of MINIRES_NUM_THREADS, NUMBA_NUM_THREADS and OMP_NUM_THREADS that is set, else one per core."""
    for name in (OURS, "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name)
        if text:
            try:
                count = int(text.split(",")[0])  # OMP_NUM_THREADS may list one number per nesting level
                if count < 1:
                    raise ValueError
            except ValueError:
                raise ValueError(f"{name}: expected a whole number of threads >= 1, got {text!r}.") from None
            return count
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_blas(count):
    """Let NumPy's OpenBLAS use ``count`` threads.

    Its threads go on watching for work for a while after each matrix product, at full speed, and so take the cores
    from our kernels: a ResNet-18 with its one small product at the end lost half of its speed. So beside compiled
    kernels it works alone, and only for the reference kernels, which are matrix products, it has all threads.

    It reads variables of its own, and only when NumPy is first imported; later it has to be told. We look among the
    libraries of this process, as Linux lists them. Elsewhere set OPENBLAS_NUM_THREADS.
    """
    if sys.platform != "linux":
        return
    try:
        with open("/proc/self/maps") as maps:
            libraries = {line.split()[-1] for line in maps if "openblas" in line}
        for library in map(ctypes.CDLL, libraries):
            for prefix, suffix in (("scipy_", "64_"), ("", "64_"), ("scipy_", ""), ("", "")):
                set_threads = getattr(library, f"{prefix}openblas_set_num_threads{suffix}", None)
                if set_threads:
                    set_threads(count)
                    break
    except OSError:
        pass
