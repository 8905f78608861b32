"""Slopes of L = sum(y * dy) from ``forward`` alone, each with a bound on its error, and the comparison with a gradient.

Five points on a line, t = -2h, -h, 0, h, 2h, tell the slope and how far to trust it. With D(h) = (L(h) - L(-h)) / 2h,

    (4 D(h) - D(2h)) / 3         is the slope up to O(h^4)                             (Richardson, 1911)
    |D(h) - D(2h)| / 3           bounds what the step itself falsifies
    y(-2h) - 4 y(-h) + 6 y(0) - 4 y(h) + y(2h)

is 0 for every smooth y but for O(h^4): what is left of it is rounding (Hamming, 1962; Moré and Wild, Estimating
computational noise, 2011) or a kink. Halved steps tell these two apart: rounding stays, a kink shrinks with h.
"""

import copy
import math
import timeit
from typing import NamedTuple

import numpy as np

from minires.gradcheck import draws
from minires.gradcheck.guess import at_index, ratio_and_guess

STEP = 2.0**-20  # about 1e-6; a power of two, so that x + h and x - h are exact for an x of float32
TOLERANCE = 1e-8  # of the slope's own size; what rounding and the step falsify comes on top
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

    def off(self, claimed, blur):
        """How far the gradient lies outside of what the slope allows; negative inside."""
        own = max(abs(self.numeric), abs(claimed))
        return abs(self.numeric - claimed) - TOLERANCE * own - self.bound - blur - TINY


class Slopes:
    """Slopes of L = sum(y * dy). Every evaluation starts from one state: masks, counters, all."""

    def __init__(self, layer, x, dy, draws_shared=False):
        self.layer, self.x, self.dy, self.draws_shared = layer, x, dy, draws_shared
        self.not_copied = {id(parameter): parameter for parameter in layer.parameters()}
        self.one_copy = None
        self.here = self.y()
        self.one_copy = None if layer.generators() else self.copy()  # a mask may be the same twice, by chance
        self.still_the_same()
        self.work = x.size + self.here.size + sum(parameter.size for parameter in layer.parameters())
        self.scale = max(1, np.max(np.abs(x)), np.max(np.abs(self.here)))
        self.products = np.asarray(self.here * self.dy)
        self.length = np.linalg.norm(self.products)
        self.rounded = max(self.length, np.max(np.abs(x)) * np.linalg.norm(dy))  # x - tanh(x) has the digits of x

    def copy(self):
        if self.draws_shared:
            draws.afresh()
        return copy.deepcopy(self.layer, dict(self.not_copied))

    def y(self):
        return np.array((self.one_copy or self.copy()).forward(self.x.copy()))

    def still_the_same(self):
        """Copies take as long as forwards. One does for all slopes, as long as it gives the same y for the same x."""
        if self.one_copy and not all(np.array_equal(self.y(), self.here) for _ in range(2)):
            self.one_copy = None
            return False
        return True

    def are_cheap(self):
        """Whether forward takes less than a millisecond: in loops of Python it can take a hundred, however small x."""
        return min(timeit.repeat(self.y, number=1, repeat=5)) < 1e-3

    def beside(self, array, entries, u, steps):
        """y at array + step * u, for each step."""
        flat = array.reshape(-1)
        here, values = flat[entries], []
        try:
            for step in steps:
                flat[entries] = here + step * u
                values.append(self.y())
        finally:
            flat[entries] = here
        return values

    def quick(self, array, entries, u, h):
        """(L(h) - L(-h)) / 2h from two points, and one standard error of rounding, supposing that y has all digits."""
        below, above = self.beside(array, entries, u, (-h, h))
        moved = above - below  # subtract first: the sums of L would drown it
        terms = self.products[moved != 0]
        return np.sum(moved * self.dy) / (2 * h), EPS * math.sqrt(terms @ terms) / h

    def careful(self, array, entries, u, h):
        """The Slope from five points."""
        y2, y1, y_1, y_2 = self.beside(array, entries, u, (2 * h, h, -h, -2 * h))
        near, far = np.sum((y1 - y_1) * self.dy) / (2 * h), np.sum((y2 - y_2) * self.dy) / (4 * h)
        changed = (y1 != y_1) | (y2 != y_2)
        if not np.any(changed):  # has it lost the digits on the way, in numbers of the size of 1, of x or of y?
            return Slope(0.0, EPS * self.scale * np.linalg.norm(self.dy) / h, moved=False)
        fourth = (y2 - self.here) + (y_2 - self.here) - 4 * ((y1 - self.here) + (y_1 - self.here))
        rough = np.linalg.norm(fourth * self.dy)
        least = EPS / 2 * np.linalg.norm(self.products[changed])
        return Slope((4 * near - far) / 3, (rough / math.sqrt(70) + least) / h, near - far, rough)


class Tensor:
    """x or a parameter, its gradient from ``backward``, and the slopes to compare that with."""

    def __init__(self, name, analytic, array, slopes, blur):
        self.name, self.analytic, self.array, self.slopes = name, analytic.reshape(-1), array, slopes
        self.blur = SIGMAS * blur.reshape(-1)  # how far the gradient itself may be rounded
        self.lost = 1  # by so much more than its own last digit is y rounded
        self.size = np.sqrt(np.mean(array**2)) or 1
        self.step = STEP * 2.0 ** round(math.log2(self.size))  # relative to the array: a pixel may be 0.1 or 100

    def measure(self, share, rng, may_exceed):
        """Choose directions, pairs (entries, u), and judge the slope along each."""
        size = self.array.size
        if may_exceed and share < size <= WORK * share / self.slopes.work and self.slopes.are_cheap():
            share = size
        every, shuffled = np.arange(size), rng.permutation(size)
        singles = every if size <= share else np.sort(shuffled[: share // 2])
        groups = np.array_split(shuffled, share - share // 2) if 0 < share < size else []
        groups += [every, every]
        self.directions = [(np.array([entry]), np.ones(1)) for entry in singles]
        self.directions += [(group, _unit(rng.choice([-1.0, 1.0], len(group)))) for group in groups]
        self.directions.append((every, _unit(np.ones(size))))  # all in step: the members of a tie stay one
        self.singles = len(singles)
        self.choose_step()
        judged = [self.judge(*direction) for direction in self.directions]
        self.numeric = np.array([slope.numeric for slope, _ in judged])
        self.bounds = np.array([slope.bound for slope, _ in judged])
        self.claimed = np.array([self.claim(*direction) for direction in self.directions])
        self.own = np.maximum(np.abs(self.numeric), np.abs(self.claimed))
        self.verdicts = np.array([verdict for _, verdict in judged])
        for i in self.where("wrong"):  # the last direction is in step: there a tie is no excuse
            if self.singles <= i < len(judged) - 1 and self.find_wrong(*self.directions[i]) is None:
                self.verdicts[i] = "kink"

    def choose_step(self):
        """Where rounding or the step itself hides much, try other steps on the directions that move everything."""
        whole = self.directions[-3:]

        def slopes(exponent):
            try:
                with np.errstate(all="ignore"):
                    return [
                        self.slopes.careful(self.array, *direction, self.step * 2.0**exponent) for direction in whole
                    ]
            except Exception:  # so large a step may leave what the layer can take
                return [Slope(0.0, np.inf)]

        def bound(found):
            return np.median([slope.bound for slope in found])

        first = slopes(-0.6)  # no power of two: digits lost on the way may be a whole number of steps
        least, best = bound(first), 0
        small = 1e-5 * np.median([abs(self.claim(*direction)) for direction in whole])
        if least <= small or not (np.any(self.analytic) or any(slope.moved for slope in first)):
            return
        rough, rougher = (max(slope.rough for slope in found) for found in (first, slopes(3)))
        if rough > rougher / 4:  # rounding stays where a kink grows with the step
            self.lost = rough / (EPS * self.slopes.rounded or 1)
        for exponent in (5, 10, 15, 20, -5, -10, -15):
            if (other := bound(slopes(exponent))) < least / 4:
                least, best = other, exponent
        self.step *= 2.0**best

    def claim(self, entries, u):
        return np.sum(self.analytic[entries] * u)

    def judge(self, entries, u):
        """Return a Slope and "right", "wrong", or why it cannot be told: "kink" or "hidden" in rounding."""
        claimed = self.claim(entries, u)
        numeric, rounding = self.slopes.quick(self.array, entries, u, self.step)
        own = max(abs(numeric), abs(claimed))
        if own == 0:
            return Slope(0.0, 0.0), "right"
        if abs(numeric - claimed) <= TOLERANCE / 10 * own + 4 * rounding and SIGMAS * rounding < HIDDEN * own:
            return Slope(numeric, rounding), "right"
        steps = [self.step * 2.0**-k for k in (0, 4, 8)]
        if len(entries) == 1 and (value := abs(self.array.reshape(-1)[entries[0]])):
            own_step = STEP * 2.0 ** round(math.log2(value))
            steps += [own_step] if not 2.0**-8 < own_step / self.step < 2.0**4 else []
        found = [self.slopes.careful(self.array, entries, u, step) for step in steps]
        rough = [slope.rough for slope in found]
        # a fourth difference may be 0 by chance; what is left of two at small steps is rounding, at larger ones too
        noise = max(rough[1:3]) / math.sqrt(70)
        for i, step in enumerate(steps):
            if step >= steps[2]:
                found[i] = found[i]._replace(rounding=max(found[i].rounding, noise / step))
        best, step = min(zip(found, steps), key=lambda pair: (not pair[0].moved, pair[0].bound))
        blur = np.linalg.norm(self.blur[entries] * u)
        at_kink = rough[0] / 4096 < rough[2] < rough[0] / 16  # it shrinks with the step
        at_kink &= rough[2] > max(HIDDEN * own * steps[2], 100 * EPS * self.slopes.length)
        off = best.off(claimed, blur)
        if off > 0 and at_kink and len(entries) < self.array.size:
            return best, "kink"
        if off > LOST * EPS * self.slopes.length / step:  # no rounding is so large
            return best, "wrong"
        if off > 0:
            best, is_wrong = self.look_again(best, claimed, blur, entries, u, step)
            if is_wrong:
                return best, "wrong"
        if best.off(claimed, blur) <= 0 and best.bound + blur <= HIDDEN * max(abs(best.numeric), abs(claimed)):
            return best, "right"
        return best, "kink" if at_kink else "hidden"

    def look_again(self, slope, claimed, blur, entries, u, step):
        """Before a gradient is called wrong by so little that rounding can reach it, look closer, and farther away.

        One fourth difference may be small by chance: take five. And a last digit may hide that y moves: y = 1 - 1e-17
        is 1, and stays 1 over many small steps. In y itself, as in a softmax, where a step as large as the array moves
        it; or on the way, as in x (1 + tanh x) far to the left, where larger steps leave larger fourth differences.
        """
        beside = [self.slopes.careful(self.array, entries, u, step * part) for part in (5 / 8, 6 / 8, 7 / 8, 9 / 8)]
        numeric, rounding, bend, rough, _ = np.array([slope, *beside]).T
        slope = Slope(np.mean(numeric), np.max(rounding), np.mean(bend), np.max(rough))
        off = slope.off(claimed, blur)
        if off <= 0:
            return slope, False
        # far below the last digit of the largest entries, look as far as a part of the array itself
        exponents = (4, 6, 8, 11, 14, 16) if off < 100 * EPS * np.max(np.abs(self.analytic)) else (4, 6, 8)
        larger = [step * 2.0**k for k in exponents if step * 2.0**k < self.size / 4]
        try:
            with np.errstate(all="ignore"):
                near, *far = self.slopes.beside(self.array, entries, u, (step, 4 * self.size, -4 * self.size))
                rough = max([self.slopes.careful(self.array, entries, u, h).rough for h in larger], default=0)
        except Exception:  # the layer cannot take so large a step
            return slope, True
        here = self.slopes.here
        stays = (near == here) & ((far[0] != here) | (far[1] != here))
        unseen = EPS / 2 * np.linalg.norm(self.slopes.products[stays]) + rough / math.sqrt(70)
        return slope, slope.off(claimed, blur + SIGMAS * unseen / step) > 0

    def where(self, verdict):
        return np.flatnonzero(self.verdicts == verdict)

    def find_wrong(self, entries, u):
        """Halve a wrong direction until one wrong entry is left, and return it; None if it is no entry's fault.

        The slope along a sum of directions is the sum of their slopes, but for kinks: where three numbers are equal,
        the slope of a sort along (1, -1, 1) is not that of any order.
        """
        if len(entries) == 1:
            return entries
        for half in np.array_split(np.arange(len(entries)), 2):
            if self.judge(entries[half], u[half])[1] == "wrong":
                if (found := self.find_wrong(entries[half], u[half])) is not None:
                    return found
        return None

    def sensitivity(self):
        """How far L moves when the tensor moves by its own size: comparable between tensors."""
        return np.max(np.abs(self.numeric), initial=0) * self.size

    # -- in words ---------------------------------------------------------------------------------------------

    def complaint(self, largest):
        """What is wrong or cannot be told, in a line, or ""; ``largest`` is the largest sensitivity of all tensors."""
        kinks, hidden, of = len(self.where("kink")), len(self.where("hidden")), len(self.directions)
        if self.lost > LOST:
            digits = max(0, 16 - round(math.log10(self.lost)))
            return (
                f"{self.name}: y keeps about {digits} of the 16 digits of float64, too few to measure slopes. "
                "Does forward round to float32, sum in it, or subtract large numbers?"
            )
        if len(self.where("wrong")):
            return self.what_is_wrong(self.where("wrong"))
        if not self.singles or 2 * (kinks + hidden) <= of:
            return ""
        if kinks >= hidden:
            return (
                f"{self.name}: {kinks} of {of} slopes meet a kink (a ReLU at 0, equal maxima, ties in a sort), "
                "too many to say anything. Use x without zeros and equal values, as rng.normal(size=...)."
            )
        if max(np.max(np.abs(self.claimed)), np.max(self.bounds)) * self.size <= 1e-8 * largest:
            return ""  # 0 but for rounding: a convolution's bias before batch norm
        return (
            f"{self.name}: rounding hides a mistake smaller than {self.sees(range(of))} of it (slopes of "
            f"{np.median(self.own):.1e}, y of {np.max(np.abs(self.slopes.here)):.1e}). Perhaps saturated here, choose "
            "another x; or does forward compute in float32, or subtract large numbers?"
        )

    def sees(self, told):
        """The smallest relative mistake that would have been seen, along a direction of the usual kind."""
        own, bounds = self.own[told], self.bounds[told]
        return f"{TOLERANCE + np.median(bounds[own > 0] / own[own > 0]):.0e}" if np.any(own) else "-"

    def what_is_wrong(self, wrong):
        wrong_singles, directions = wrong[wrong < self.singles], len(self.directions) - self.singles
        if len(wrong_singles):
            entries, numeric = np.array([self.directions[i][0][0] for i in wrong_singles]), self.numeric[wrong_singles]
        elif (entries := self.find_wrong(*self.directions[wrong[0]])) is not None:
            numeric = np.array([self.judge(entries, np.ones(1))[0].numeric])
        else:
            return (
                f"{self.name} is wrong along {len(wrong)} of {directions} directions, at no single entry: numeric "
                f"{self.numeric[wrong[0]]:.6g}, analytic {self.claimed[wrong[0]]:.6g} when all entries move in step. "
                "Are there equal values? Where maxima tie, dy goes to one of them, or is shared out, never doubled."
            )
        claimed = self.analytic[entries]
        worst = np.argmax(np.abs(numeric - claimed))
        where = np.unravel_index(entries, self.array.shape or (1,))
        channel = where[min(1, len(where) - 1)]
        x = self.slopes.x
        y_per_x = self.slopes.here.size / x.size if self.array is x else 0
        ratio = ratio_and_guess(numeric, claimed, worst, channel, x.shape, y_per_x)
        sees = self.sees(wrong)
        hides = f" (Here rounding hides a mistake smaller than {sees} of it.)" if float(sees) > 1e-7 else ""
        return (
            f"{self.name} is wrong at {len(wrong_singles)} of {self.singles} entries and along "
            f"{len(wrong) - len(wrong_singles)} of {directions} directions. "
            f"Worst at {at_index([axis[worst] for axis in where])}: numeric {numeric[worst]:.6g}, "
            f"analytic {claimed[worst] + 0.0:.6g}, ratio {ratio}{hides}"
        )

    def row(self):
        """The row of the report."""
        right, directions = self.where("right"), len(self.directions) - self.singles
        own = np.maximum(self.own + np.max(np.abs(self.numeric)) / 10, np.finfo(float).tiny)
        worst = np.max((np.abs(self.numeric - self.claimed) / own)[right], initial=0)
        entries, counts = f"{self.singles} of {self.array.size}", [len(self.where(v)) for v in ("kink", "hidden")]
        return self.name, self.array.shape, entries, directions, f"{worst:.1e}", *counts, self.sees(right)


def _unit(signs):
    """+1 and -1 scaled to a vector about as long as one step along an axis; by a power of two, to stay exact."""
    return signs * 2.0 ** -round(math.log2(len(signs)) / 2)
