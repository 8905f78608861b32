"""When does the deeper of two nets get ahead? From the logs of their runs, stretch by stretch of the way."""

import math
from typing import NamedTuple

import numpy as np

from minires.lab.degradation.measure import mean_and_noise


class Stretch(NamedTuple):
    """The training errors of two nets over some steps."""

    first: int  # the steps first + 1 ... last
    last: int
    shallow: float
    deep: float
    noise: float  # standard error of deep - shallow

    @property
    def ahead(self):
        """1 where the deep net is ahead by more than two standard errors, -1 where it is behind, 0 else."""
        difference = self.shallow - self.deep
        return int(np.sign(difference)) * (abs(difference) > 2 * self.noise)


def stretches(shallow, deep, first=250, factor=2**0.5):
    """Compare the training errors of two nets; return [Stretch, ...] over all steps that both have taken.

    ``shallow`` and ``deep`` are lists of logs, one for each seed, as ``read_log`` reads it. The first stretch ends at
    ``first``, the others end ``factor`` times as late each time. Noise is that of ``mean_and_noise``.
    """
    logs = [[line for line in log if line["kind"] == "train"] for log in (*shallow, *deep)]
    if not all(logs):
        raise ValueError("stretches: expected logs with lines of training, got an empty one. Has every run started?")
    end = min(log[-1]["step"] for log in logs)
    ends = [0, min(first, end)]
    while ends[-1] * factor < end:
        ends.append(round(ends[-1] * factor))
    found = []
    for begin, last in zip(ends, [*ends[1:], end]):
        each = [_mean_error(log, begin, last) for log in logs]
        groups = each[: len(shallow)], each[len(shallow) :]
        if all(each) and last > begin:
            errors, noise = zip(*(mean_and_noise(*np.array(group).T) for group in groups))
            found.append(Stretch(begin, last, *errors, math.hypot(*noise)))
    return found


def _mean_error(log, begin, last):
    """(mean error, images) of the lines that end in these steps, or None."""
    lines = [line for line in log if begin < line["step"] <= last]
    images = sum(line["images"] for line in lines)
    return (sum(line["error"] * line["images"] for line in lines) / images, images) if images else None


def passes(found):
    """Return the last step of the first stretch from which the deep net is never behind again and ahead there; or None.

    >>> [passes([Stretch(0, 9, 0.5, deep, 0.01) for deep in deeps]) for deeps in ([0.6, 0.5], [0.6, 0.4, 0.5, 0.4])]
    [None, 9]
    """
    step = None
    for stretch in found:
        if stretch.ahead < 0:
            step = None
        elif stretch.ahead > 0 and step is None:
            step = stretch.last
    return step
