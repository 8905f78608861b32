"""Keep freed memory instead of giving it back to the operating system at once.

A training step frees and allocates the same hundreds of megabytes again and again. The C library of Linux returns
large freed blocks to the system, which then clears every page anew before handing it out: about 6 % of a step of
ResNet-20 at batch 128. Two settings tell it not to. Other systems' allocators are left as they are.
"""

import ctypes
import math
import sys

import numpy as np

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of the settings in glibc's malloc.h
LINE = 64  # bytes
KEEP = 1 << 30  # bytes: give back only what is free beyond this
OFTEN_THE_MOST = 32 << 20  # bytes: some versions accept no larger MMAP_THRESHOLD


def keep_freed_memory():
    """Ask glibc to reuse freed blocks of up to a gigabyte; does nothing elsewhere."""
    if sys.platform == "linux":
        try:
            set_option = ctypes.CDLL(None).mallopt
        except (OSError, AttributeError):  # another C library
            return
        set_option(TRIM_THRESHOLD, KEEP)
        if not set_option(MMAP_THRESHOLD, KEEP):
            set_option(MMAP_THRESHOLD, OFTEN_THE_MOST)


def empty_lines(shape, dtype):
    """np.empty, but the array starts with a line of the cache: none of its vectors then lies in two."""
    size, dtype = math.prod(shape), np.dtype(dtype)
    memory = np.empty(size + LINE // dtype.itemsize, dtype)
    skip = -memory.ctypes.data % LINE // dtype.itemsize
    return memory[skip : skip + size].reshape(shape)
