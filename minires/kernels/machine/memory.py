"""Memory that is used again: what was freed, and places to compute in.

A training step frees and allocates the same hundreds of megabytes again and again. The C library of Linux returns
large freed blocks to the system, which then clears every page anew before handing it out: about 6 % of a step of
ResNet-20 at batch 128. Two settings tell it not to. Other systems' allocators are left as they are.

What a thread needs only while it computes, planes and sums before they are written, it finds in the same place in every
call. Its core's cache then holds these lines. In new memory many of them would be in another core's cache, which has to
hand over each: 9 to 24 ns a line between cores that share no last cache.
"""

import contextlib
import ctypes
import functools
import math
import sys
import threading
import types

import numpy as np

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of the settings in glibc's malloc.h
LINE = 64  # bytes
KEEP = 1 << 30  # bytes: give back only what is free beyond this
OFTEN_THE_MOST = 32 << 20  # bytes: some versions accept no larger MMAP_THRESHOLD
KEEP_WORKSPACE = 1 << 20  # bytes of a thread: about an L2 cache, where a larger one would not stay


_keepers = 0  # how many blocks of keep_freed_memory the process is in
_count = threading.Lock()


@contextlib.contextmanager
def keep_freed_memory():
    """Within this, glibc uses freed blocks of up to a gigabyte again; elsewhere nothing changes.

    At the end free memory goes back to the system. glibc cannot be asked for its settings, so they become those that it
    reaches by itself in a process that has freed a large array; ``import minires`` alone touches none.
    """
    global _keepers
    with _count:
        _keepers += 1
        if _keepers == 1:
            _set_thresholds(KEEP, KEEP)
    try:
        yield
    finally:
        with _count:
            _keepers -= 1
            if _keepers == 0:
                _set_thresholds(2 * OFTEN_THE_MOST, OFTEN_THE_MOST)
                _libc().malloc_trim(0)


def _set_thresholds(trim, mmap):
    set_option = _libc().mallopt
    set_option(TRIM_THRESHOLD, trim)
    if not set_option(MMAP_THRESHOLD, mmap):
        set_option(MMAP_THRESHOLD, OFTEN_THE_MOST)


@functools.cache
def _libc():
    """glibc, or something whose functions do nothing."""
    try:
        library = ctypes.CDLL(None) if sys.platform == "linux" else None
        library.mallopt, library.malloc_trim  # noqa: B018  another C library has not both
        return library
    except (OSError, AttributeError):
        return types.SimpleNamespace(mallopt=lambda option, value: 1, malloc_trim=lambda pad: 0)


def empty_lines(shape, dtype):
    """np.empty, but the array starts with a line of the cache: none of its vectors then lies in two."""
    size, dtype = math.prod(shape), np.dtype(dtype)
    memory = np.empty(size + LINE // dtype.itemsize, dtype)
    skip = -memory.ctypes.data % LINE // dtype.itemsize
    return memory[skip : skip + size].reshape(shape)


_workspaces = {}


def workspaces(threads, dtype, *sizes):
    """Arrays to compute in, (threads, at least so many numbers) each, whose rows start with a line of the cache.

    Unless it is large, it is the same memory in every call, row p for part p of the work. It holds what was left there.
    """
    spaces, kept = [], _workspaces.setdefault((threads, dtype), {})
    for slot, size in enumerate(sizes):
        space = kept.get(slot)
        if space is None or space.shape[1] < size:
            line = LINE // dtype.itemsize
            space = empty_lines((threads, (-(-size // line) | 1) * line), dtype)  # odd: rows in other sets of the cache
            if space[0].nbytes <= KEEP_WORKSPACE:
                kept[slot] = space
        spaces.append(space)
    return spaces
