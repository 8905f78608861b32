"""Slopes of L = sum(y * dy) from ``forward`` alone, each with a bound on its error, and the comparison with a gradient.

Five points on a line, t = -2h, -h, 0, h, 2h, tell the slope and how far to trust it. With D(h) = (L(h) - L(-h)) / 2h,

    (4 D(h) - D(2h)) / 3         is the slope up to O(h^4)                             (Richardson, 1911)
    |D(h) - D(2h)| / 3           bounds what the step itself falsifies
    y(-2h) - 4 y(-h) + 6 y(0) - 4 y(h) + y(2h)

is 0 for every smooth y but for O(h^4): what is left of it is rounding (Hamming, 1962; Moré and Wild, Estimating
computational noise, 2011) or a kink. Halved steps tell these two apart: rounding stays, a kink shrinks with h.
"""

import math
import timeit
from typing import NamedTuple

import numpy as np

from minires.gradcheck.guess import at_index, ratio_and_guess

# Short, so that x + h and x - h are exact; odd, so that digits lost on the way are no whole number of steps
STEP = 1_153_433 * 2.0**-40  # about 1e-6
TOLERANCE = 1e-8  # of the slope's own size; what rounding and the step falsify comes on top
NOT_TOLD = "kink", "hidden"
KNOWN = 1e-5  # a slope known so well needs no other step
HIDDEN = 0.01  # a slope known no better than to a part in a hundred is not judged
LOST = 1e5  # times the rounding of y itself: 170 in a net of 20 layers, 1e8 where something is float32
SIGMAS = 10  # so many standard errors of rounding are allowed
EPS = np.finfo(float).eps
WORK = 400_000  # per slope of a tensor's share: so many numbers, of x, y and parameters, may all its slopes pass over
TINY = np.finfo(float).tiny / EPS**2  # about 1e-276: below, numbers lose their digits one by one


class Slope(NamedTuple):
    """A slope measured along one direction."""

    numeric: float
    rounding: float  # one standard error
    bend: float = 0.0  # what the step itself may falsify
    rough: float = 0.0  # the length of the fourth difference of y, times dy
    moved: bool = True  # whether y changed at all

    @property
    def bound(self):
        """How far off it may be. (A jump of y at t = 0, a last digit rounded up or down, bends by 3/7 of its error.)"""
        return SIGMAS * self.rounding + 3 * abs(self.bend)


class Function:
    """L = sum(y * dy) of x and of the parameters. Every evaluation starts from one state: masks, counters, all.

    ``copy`` makes a copy of the layer as it is at first, of the same Parameters. It takes as long as ``forward``, so
    with ``one_copy`` one copy does for all slopes, as long as it gives the same y for the same x.
    """

    def __init__(self, copy, x, dy, arrays, one_copy):
        self.copy, self.x, self.dy, self.one_copy = copy, x, dy, None
        self.here = self.y()
        self.one_copy = copy() if one_copy else None
        self.one_copy = self.one_copy if self.still_the_same() else None
        self.work = self.here.size + sum(array.size for array in arrays)
        self.products = np.asarray(self.here * dy)
        self.length, of_dy = np.linalg.norm(self.products), np.linalg.norm(dy)
        self.rounded = max(self.length, np.max(np.abs(x)) * of_dy)  # x - tanh(x) has the digits of x
        # how far L is rounded on the way, by numbers of the size of 1, of x or of y
        self.on_the_way = EPS * max(1, np.max(np.abs(x)), np.max(np.abs(self.here))) * of_dy

    def y(self):
        return np.array((self.one_copy or self.copy()).forward(self.x.copy()))

    def still_the_same(self):
        return self.one_copy is None or all(np.array_equal(self.y(), self.here) for _ in range(4))

    def is_cheap(self):
        """Whether forward takes less than a millisecond: in loops of Python it can take a hundred, however small x."""
        return min(timeit.repeat(self.y, number=1, repeat=5)) < 1e-3


class Line:
    """A direction u of some entries of a tensor: what the gradient claims of it, the slope, and how the two compare."""

    slope = step = verdict = None  # "right", "wrong", or why it cannot be told: "kink" or "hidden" in rounding

    def __init__(self, tensor, entries, u):
        self.tensor, self.function, self.entries, self.u = tensor, tensor.function, entries, u
        self.claimed = np.sum(tensor.analytic[entries] * u)
        self.is_all = len(entries) == tensor.array.size

    def ys(self, *steps):
        """y at the tensor's array + step * u, for each step."""
        flat, values = self.tensor.array.reshape(-1), []
        here = flat[self.entries]
        try:
            for step in steps:
                flat[self.entries] = here + step * self.u
                values.append(self.function.y())
        finally:
            flat[self.entries] = here
        return values

    def quick(self, h):
        """The Slope from two points, supposing that y has all digits."""
        below, above = self.ys(-h, h)
        moved = above - below  # subtract first: the sums of L would drown it
        terms = self.function.products[moved != 0]
        return Slope(np.sum(moved * self.function.dy) / (2 * h), EPS * math.sqrt(terms @ terms) / h)

    def careful(self, h):
        """The Slope from five points; unknown where so large a step leaves what the layer can take."""
        f = self.function
        try:
            y2, y1, y_1, y_2 = self.ys(2 * h, h, -h, -2 * h)
        except Exception:
            if h <= self.tensor.step:
                raise
            return Slope(0.0, np.inf)
        near, far = np.sum((y1 - y_1) * f.dy) / (2 * h), np.sum((y2 - y_2) * f.dy) / (4 * h)
        changed = (y1 != y_1) | (y2 != y_2)
        if not np.any(changed):
            return Slope(0.0, f.on_the_way / h, moved=False)
        fourth = (y2 - f.here) + (y_2 - f.here) - 4 * ((y1 - f.here) + (y_1 - f.here))
        rough = np.linalg.norm(fourth * f.dy)
        least = EPS / 2 * np.linalg.norm(f.products[changed])
        return Slope((4 * near - far) / 3, (rough / math.sqrt(70) + least) / h, near - far, rough)

    def own(self, slope=None):
        """The size of the slope, or of the claim where that is larger."""
        return max(abs((slope or self.slope).numeric), abs(self.claimed))

    def off(self, slope, blur):
        """How far the gradient lies outside of what the slope allows; negative inside."""
        return abs(slope.numeric - self.claimed) - TOLERANCE * self.own(slope) - slope.bound - blur - TINY

    def judge(self):
        """Measure the slope and compare; return the Line."""
        self.slope, self.step = self.quick(self.tensor.step), self.tensor.step
        own, error = self.own(), abs(self.slope.numeric - self.claimed)
        known = self.slope.bound < (KNOWN if self.is_all else HIDDEN) * own
        agrees = known and error <= TOLERANCE / 10 * own + 4 * self.slope.rounding
        with np.errstate(all="ignore"):
            self.verdict = "right" if agrees or own == 0 else self.judge_carefully()
        return self

    def judge_carefully(self):
        """Take the step at which the slope is known best; one that moves everything tries more, for all to come."""
        h, f, value = self.tensor.step, self.function, abs(self.tensor.array.reshape(-1)[self.entries[0]])
        steps = [h, h / 16, h / 256]
        found = [self.careful(step) for step in steps]
        if self.is_all and min(slope.bound for slope in found) > KNOWN * abs(self.claimed):
            steps += [h * 2.0**k for k in (5, 10, 15, 20, -12, -16)]
        elif len(self.entries) == 1 and value and not 2.0**-8 < _step(value) / h < 2.0**4:
            steps.append(_step(value))
        found += [self.careful(step) for step in steps[3:]]
        rough = [slope.rough for slope in found]
        if len(steps) > 4 and max(rough[:3]) > rough[3] / 16:  # rounding stays where a kink grows with the step
            self.tensor.lost = max(self.tensor.lost, max(rough[:3]) / (EPS * f.rounded or 1))
        # a fourth difference may be 0 by chance; what is left of two at small steps is rounding, at larger ones too
        noise = max(rough[1:3]) / math.sqrt(70)
        for i, step in enumerate(steps):
            if step >= steps[2]:
                found[i] = found[i]._replace(rounding=max(found[i].rounding, noise / step))
        self.slope, step = min(zip(found, steps), key=lambda pair: (not pair[0].moved, pair[0].bound))
        self.step = step if self.is_all and 4 * self.slope.bound < found[0].bound else h
        blur = np.linalg.norm(self.tensor.blur[self.entries] * self.u)
        at_kink = rough[0] / 4096 < rough[2] < rough[0] / 16  # it shrinks with the step
        at_kink &= rough[2] > max(HIDDEN * self.own() * steps[2], 100 * EPS * f.length)
        off = self.off(self.slope, blur)
        if off > 0 and at_kink and not self.is_all:
            return "kink"
        if off > LOST * EPS * f.length / step or (off > 0 and self.is_wrong_at_a_closer_look(blur, step)):
            return "wrong"  # no rounding is so large
        known = self.off(self.slope, blur) <= 0 and self.slope.bound + blur <= HIDDEN * self.own()
        return "right" if known else "kink" if at_kink else "hidden"

    def is_wrong_at_a_closer_look(self, blur, h):
        """Before a gradient is called wrong by so little that rounding can reach it, look closer, and farther away.

        One fourth difference may be small by chance: take five. And a last digit may hide that y moves: y = 1 - 1e-17
        is 1, and stays 1 over many small steps. In y itself, as in a softmax, where a step as large as the array moves
        it; or on the way, as in x (1 + tanh x) far to the left, where larger steps leave larger fourth differences.
        """
        beside = [self.careful(h * part) for part in (5 / 8, 6 / 8, 7 / 8, 9 / 8)]
        numeric, rounding, bend, rough, _ = np.array([self.slope, *beside]).T
        self.slope = Slope(np.mean(numeric), np.max(rounding), np.mean(bend), np.max(rough))
        f, size = self.function, self.tensor.size
        if self.off(self.slope, blur) <= 0:
            return False
        try:
            near, above, below = self.ys(h, 4 * size, -4 * size)
        except Exception:  # the layer cannot take so large a step
            return True
        larger = [self.careful(h * 2.0**k).rough for k in (4, 6, 8, 11, 14, 16) if h * 2.0**k < size / 4]
        rough = min(max(larger, default=0), 4 * f.on_the_way)  # more is no rounding but a curve
        stays = (near == f.here) & ((above != f.here) | (below != f.here))
        unseen = EPS / 2 * np.linalg.norm(f.products[stays]) + rough / math.sqrt(70)
        return self.off(self.slope, blur + SIGMAS * unseen / h) > 0

    def wrong_entry(self):
        """Halve a wrong line until one wrong entry is left, and return that Line; None if it is no entry's fault.

        The slope along a sum of directions is the sum of their slopes, but for kinks: where three numbers are equal,
        the slope of a sort along (1, -1, 1) is not that of any order.
        """
        if len(self.entries) == 1:
            return self
        halves = zip(np.array_split(self.entries, 2), np.array_split(self.u, 2))
        wrong = (half for half in (Line(self.tensor, *half).judge() for half in halves) if half.verdict == "wrong")
        return next(filter(None, (half.wrong_entry() for half in wrong)), None)


class Tensor:
    """x or a parameter, its gradient from ``backward``, and the lines along which the two are compared."""

    def __init__(self, name, analytic, array, function, blur):
        self.name, self.analytic, self.array, self.function = name, analytic.reshape(-1), array, function
        self.blur = SIGMAS * (blur.reshape(-1) + 10 * EPS * np.abs(self.analytic))  # how far that may be rounded
        self.lost = 1  # by so much more than its own last digit is y rounded
        self.size = np.sqrt(np.mean(array**2)) or 1
        self.step = _step(self.size)  # relative to the array: a pixel may be 0.1 or 100

    def measure(self, share, rng, may_exceed):
        """Judge single entries, as many as fit in the share, and directions that together move every entry."""
        size = self.array.size
        if may_exceed and share < size <= WORK * share / self.function.work and self.function.is_cheap():
            share = size
        every, shuffled = np.arange(size), rng.permutation(size)
        singles = every if size <= share else np.sort(shuffled[: share // 2])
        groups = np.array_split(shuffled, share - share // 2) if 0 < share < size else []
        signs = [(group, rng.choice([-1.0, 1.0], len(group))) for group in [every, every, *groups]]
        signs.insert(0, (every, np.ones(size)))  # all in step: the members of a tie stay one
        self.directions = [Line(self, entries, _unit(u)) for entries, u in signs]
        steps = sorted(line.step for line in self.directions[:3] if line.judge().own())  # 0 and 0 tell nothing
        self.step = steps[len(steps) // 2] if steps else self.step  # larger where rounding hides much
        self.singles = [Line(self, singles[i : i + 1], np.ones(1)) for i in range(len(singles))]
        self.lines = self.singles + self.directions
        for line in self.singles + self.directions[3:]:
            line.judge()
        for line in self.directions[1:]:  # in step, a tie is no excuse
            if line.verdict == "wrong" and line.wrong_entry() is None:
                line.verdict = "kink"

    def sensitivity(self):
        """How far L moves when the tensor moves by its own size: comparable between tensors."""
        return max(abs(line.slope.numeric) for line in self.lines) * self.size

    # -- in words ---------------------------------------------------------------------------------------------

    def complaint(self, largest):
        """What is wrong or cannot be told, in a line, or ""; ``largest`` is the largest sensitivity of all tensors."""
        if self.lost > LOST:
            digits = max(0, 16 - round(math.log10(self.lost)))
            return (
                f"{self.name}: y keeps about {digits} of the 16 digits of float64, too few to measure slopes. "
                "Does forward round to float32, sum in it, or subtract large numbers?"
            )
        kinks, hidden, of = len(_of(self.lines, "kink")), len(_of(self.lines, "hidden")), len(self.lines)
        if _of(self.lines, "wrong"):
            return self.what_is_wrong()
        if not self.singles or 2 * (kinks + hidden) <= of:
            return ""
        if kinks >= hidden:
            return (
                f"{self.name}: {kinks} of {of} slopes meet a kink (a ReLU at 0, equal maxima, ties in a sort), "
                "too many to say anything. Use x without zeros and equal values, as rng.normal(size=...)."
            )
        if max(max(abs(line.claimed), line.slope.bound) for line in self.lines) * self.size <= 1e-8 * largest:
            return ""  # 0 but for rounding: a convolution's bias before batch norm
        slopes, y = np.median([line.own() for line in self.lines]), np.max(np.abs(self.function.here))
        return (
            f"{self.name}: rounding hides a mistake smaller than {_sees(self.lines)} of it (slopes of {slopes:.1e}, "
            f"y of {y:.1e}). Perhaps saturated here, choose another x; or does forward compute in float32, or subtract "
            "large numbers?"
        )

    def what_is_wrong(self):
        singles, directions = _of(self.singles, "wrong"), _of(self.directions, "wrong")
        lines = singles or [directions[0].wrong_entry()]
        if lines[0] is None:
            return (
                f"{self.name} is wrong along {len(directions)} of {len(self.directions)} directions, at no single "
                f"entry: numeric {directions[0].slope.numeric:.6g}, analytic {directions[0].claimed:.6g} when all "
                "entries move in step. "
                "Are there equal values? Where maxima tie, dy goes to one of them, or is shared out, never doubled."
            )
        entries = np.array([line.entries[0] for line in lines])
        numeric, claimed = np.array([line.slope.numeric for line in lines]), self.analytic[entries]
        worst = np.argmax(np.abs(numeric - claimed))
        where = np.unravel_index(entries, self.array.shape or (1,))
        channel = where[min(1, len(where) - 1)]
        x, others_are_right = self.function.x, any(line.own() for line in _of(self.singles, "right"))
        y_per_x = self.function.here.size / x.size if self.array is x else 0
        x_shape = None if others_are_right else x.shape
        ratio = ratio_and_guess(numeric, claimed, worst, channel, x_shape, y_per_x)
        sees = _sees(singles + directions)
        hides = f" (Here rounding hides a mistake smaller than {sees} of it.)" if float(sees) > 1e-6 else ""
        at = f"at {len(singles)} of {len(self.singles)} entries and " if self.singles else ""
        return (
            f"{self.name} is wrong {at}along {len(directions)} of {len(self.directions)} directions. "
            f"Worst at {at_index([axis[worst] for axis in where])}: numeric {numeric[worst]:.6g}, "
            f"analytic {claimed[worst] + 0.0:.6g}, ratio {ratio}{hides}"
        )

    def row(self):
        """The row of the report."""
        right, tenth = _of(self.lines, "right"), max(abs(line.slope.numeric) for line in self.lines) / 10
        worst = max((abs(one.slope.numeric - one.claimed) / (one.own() + tenth or 1) for one in right), default=0)
        entries, counts = f"{len(self.singles)} of {self.array.size}", [len(_of(self.lines, v)) for v in NOT_TOLD]
        return self.name, self.array.shape, entries, len(self.directions), f"{worst:.1e}", *counts, _sees(right)


def _of(lines, verdict):
    return [line for line in lines if line.verdict == verdict]


def _sees(lines):
    """The smallest relative mistake that would have been seen, along a line of the usual kind."""
    bounds = [line.slope.bound / own for line in lines if (own := line.own())]
    return f"{TOLERANCE + np.median(bounds):.0e}" if bounds else "-"


def _step(size):
    return STEP * 2.0 ** round(math.log2(size))


def _unit(signs):
    """+1 and -1 scaled to a vector about as long as one step along an axis; by a power of two, to stay exact."""
    return signs * 2.0 ** -round(math.log2(len(signs)) / 2)
