"""Run a compiled kernel on all cores.

A kernel takes a range: ``kernel(*arguments, start, stop)``. Each thread handles a fixed contiguous part of it, so for
one number of threads the results are the same bit for bit in every run, whoever computes a part.

What that means is written down here, with Python's own threads. kernels/machine/board.py does the same without Python
between the calls, and so faster.

Environment
-----------
MINIRES_THREADING : ``board`` (the default) or ``executor``, what is defined here.
"""

import functools
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait

from minires.kernels.machine.cores import num_threads, threading_wanted

SMALL = 16_384  # numbers: what one thread handles before a second has woken up


def over_threads(kernel, size, *arguments, work=SMALL):
    """Call ``kernel(*arguments, start, stop)`` on contiguous parts of range(size), one per thread.

    ``work``, where given, says how many numbers the whole call goes through: a small call stays on this thread.
    """
    if work < SMALL:
        kernel(*arguments, 0, size)
    else:
        chosen()(kernel, 2, size, arguments)


def over_parts(kernel, size, *arguments):
    """Call ``kernel(*arguments, part, start, stop)``: for sums, of which each thread keeps its own in row ``part``."""
    chosen()(kernel, 3, size, arguments)


def over_phases(kernel, phases, size, *arguments, work=SMALL):
    """Call ``kernel(*arguments, phase, part, start, stop)`` for one phase after another.

    The next begins when all parts of the last are done: small steps of which one needs all results of another.
    """
    if work < SMALL:
        for phase in range(phases):
            kernel(*arguments, phase, 0, 0, size)
    else:
        chosen()(kernel, 4, size, arguments, phases)


def share_out(kernel, last, size, arguments, phases=1):
    """Call the kernel with ``arguments`` and the ``last`` few of (phase, part, start, stop), for all phases and parts.

    Where no threads can be started, this one does all parts. They stay the same, and so do the results.
    """
    parts = min(num_threads(), size) or 1
    others = executor(num_threads() - 1) if parts > 1 else None

    def call(phase, part):
        kernel(*arguments, *(phase, part, size * part // parts, size * (part + 1) // parts)[-last:])

    for phase in range(phases):
        mine = range(1 if others else parts)
        handed_over = [others.submit(call, phase, part) for part in range(len(mine), parts)]
        try:
            for part in mine:
                call(phase, part)
        finally:
            wait(handed_over)
        for done in handed_over:
            done.result()  # raises what was raised there


@functools.cache
def executor(threads):
    """So many threads, all of them running; None where the system does not start them."""
    pool, all_here = ThreadPoolExecutor(threads, "minires"), threading.Barrier(threads)
    try:
        for _ in range(threads):  # nobody who waits at the barrier is free for the next: that takes a new thread
            pool.submit(all_here.wait)
    except RuntimeError as error:
        all_here.abort()
        pool.shutdown()
        print(f"minires: this system starts no more threads ({error}): one does all the work", file=sys.stderr)
        return None
    return pool


@functools.cache
def chosen():
    """The way in which work is shared out: the board's, where it is wanted and knows this version of Numba."""
    if threading_wanted() == "board":
        try:
            from minires.kernels.machine import board

            return board.share_out
        except (ImportError, AttributeError, TypeError) as error:
            print(f"minires: work is handed over in Python, which takes longer ({error})", file=sys.stderr)
    return share_out


if hasattr(os, "register_at_fork"):  # threads do not survive a fork: the child starts its own
    os.register_at_fork(after_in_child=executor.cache_clear)
