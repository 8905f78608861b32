"""How many threads compute: one number for every kernel.

Environment
-----------
MINIRES_NUM_THREADS : how many; without it NUMBA_NUM_THREADS or OMP_NUM_THREADS, else one per core that this process
    may use, and no more than the CPU time that its container is allowed.
"""

import math
import os
from pathlib import Path

MOST_THREADS = 1024
VARIABLES = "MINIRES_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"

_threads = None  # decided when it is first asked for: a wrong variable must not keep minires from being imported


def num_threads():
    """Number of threads every kernel uses; ValueError where a variable holds something else."""
    global _threads
    if _threads is None:
        _threads = min(threads_wanted()[0], MOST_THREADS)
    return _threads


def threading_wanted():
    """How threads get their work: ``board`` or ``executor``, of kernels/machine/threads.py."""
    wanted = os.environ.get("MINIRES_THREADING") or "board"
    if wanted not in ("board", "executor"):
        raise ValueError(f"MINIRES_THREADING: expected 'board' or 'executor', got {wanted!r}.")
    return wanted


def threads_wanted(root="/"):
    """(how many, why), from the first of the three variables that is set, else from the system below ``root``."""
    for name in VARIABLES:
        text = os.environ.get(name)
        if text:
            try:
                count = int(text.split(",")[0])  # OMP_NUM_THREADS may list one number per nesting level
                if count < 1:
                    raise ValueError
            except ValueError:
                raise ValueError(f"{name}: expected a whole number of threads >= 1, got {text!r}.") from None
            if count > MOST_THREADS:
                raise ValueError(f"{name}: expected at most {MOST_THREADS} threads, got {text!r}.")
            return count, f"set by {name}"
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = cpu_quota(root)
    if allowed is not None and math.ceil(allowed) < count:
        return math.ceil(allowed), f"the container may use {allowed:g} of {count} cores"
    return count, "one per core; MINIRES_NUM_THREADS sets another number"


def cpu_quota(root="/"):
    """How many cores' time this process may use by the rules of its control groups (containers), or None.

    The narrowest of its own group and those around it. Version 2 writes "quota period", or "max period" for no limit,
    in cpu.max; version 1 two files, and a quota of -1 for no limit.
    """
    mount, quotas = Path(root, "sys/fs/cgroup"), []
    try:
        groups = Path(root, "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # not Linux
        return None
    for number, controllers, path in (line.split(":", 2) for line in groups if line.count(":") >= 2):
        if number == "0":
            tops = mount, mount / "unified"
        elif "cpu" in controllers.split(","):
            tops = mount / controllers, mount / "cpu"
        else:
            continue
        for top in tops:
            group = top / path.lstrip("/")
            inside = [folder for folder in (group, *group.parents) if folder.is_relative_to(top) and ".." not in path]
            quotas += [quota for folder in inside or [top] if (quota := _quota_of(folder))]
    return min(quotas, default=None)


def _quota_of(group):
    for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((group / name).read_text(encoding="utf-8") for name in names).split()
            return int(quota) / int(period) if int(quota) > 0 else None
        except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
            pass
    return None
