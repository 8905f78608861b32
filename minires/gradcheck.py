"""Checking derivatives: is ``backward`` the derivative of ``forward``?

For a random dy of the shape of y, L = sum(y * dy) is one number, and ``backward(dy)`` claims to return dL/dx and to
add dL/dp to the grad of every parameter p. Move x (or p) a little way h along a direction u, forth and back: the slope

    (L(x + h u) - L(x - h u)) / 2h  =  dL/dx . u  +  O(h^2)

comes from ``forward`` alone, so no mistake of ``backward`` can hide in it. docs/gradient-checking.md gives the reasons
for every choice made here.
"""

import copy
import inspect
import itertools
import math

import numpy as np

from minires.layer import Buffer, Kept, Layer, Parameter

STEP = 2.0**-20  # about 1e-6; a power of two, so that x + h and x - h are exact for an x of float32
TOLERANCE = 1e-7  # of an entry's own size plus a tenth of the largest of its tensor


class GradientError(AssertionError):
    """``backward`` is not the derivative of ``forward``, or the layer breaks its contract."""


class Report:
    """What was compared, one row for each mode and tensor; ``print`` shows the table."""

    HEAD = ("mode", "tensor", "shape", "entries", "directions", "worst error", "kinks")

    def __init__(self, title, rows):
        self.title, self.rows = title, rows

    def __str__(self):
        table = [self.HEAD, *self.rows]
        widths = [max(len(str(row[i])) for row in table) for i in range(len(self.HEAD))]
        lines = ["  ".join(f"{cell!s:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in table]
        return "\n".join([f"{self.title}: backward is the derivative of forward.", *lines])

    __repr__ = __str__


def check_layer(layer, x, *, modes=("train", "eval"), comparisons=400, jitter=True, seed=0):
    """Compare ``layer.backward`` with slopes of ``layer.forward`` at x, and check the rest of the contract.

    The layer itself stays as it is: all happens on copies in float64, their parameters and running statistics moved
    off the special values (gamma = 1, beta = 0) behind which mistakes hide. Only the given x is tried: choose more
    than one image, H != W, a stride that does not tile.

    Parameters
    ----------
    layer : Layer, or any object with ``forward(x)`` and ``backward(dy)``
    x : array of floats
    modes : "train", "eval", or both
    comparisons : int
        Slopes to measure in each mode, shared among x and the parameters. A tensor with no more entries than its
        share is checked entry by entry; a larger one by a sample, and by directions that together move every entry.
    jitter : bool
        False leaves the parameters where they are, for a layer that cannot bear others.
    seed : int
        For dy, the jitter and the directions.

    Returns
    -------
    Report

    Raises
    ------
    GradientError
        Names the layer, the mode, the tensor and its worst entry, and guesses at the cause.

    Examples
    --------
    >>> from minires.layers import ReLU
    >>> print(check_layer(ReLU(), np.array([[1.0, -2.0, 3.0]]), modes=("train",)))
    ReLU(): backward is the derivative of forward.
    mode   tensor  shape   entries  directions  worst error  kinks
    train  dx      (1, 3)  3 of 3   3           0.0e+00      0
    """
    for method in ("forward", "backward"):
        if isinstance(layer, type) or not callable(getattr(layer, method, None)):
            got = f"the class {layer.__name__} itself" if isinstance(layer, type) else f"{layer!r} without {method}"
            raise TypeError(f"check_layer: expected a layer, an object with forward(x) and backward(dy), got {got}.")
    _check_floats("check_layer", "x", x)
    modes = (modes,) if isinstance(modes, str) else modes
    if unknown := set(modes) - {"train", "eval"}:
        raise ValueError(f"check_layer: expected modes out of ('train', 'eval'), got {unknown.pop()!r}.")
    layer = layer if isinstance(layer, Layer) else _Adopted(layer)
    title, rows = layer._who(), []
    for mode in modes:
        rng = _own_rng(seed)
        moved = _float64_copy(layer, rng if jitter else None).train(mode == "train")
        rows += [(mode, *row) for row in _Check(moved, x, rng, f"{title}, {mode} mode").run(comparisons)]
    return Report(title, rows)


def check_loss(loss, prediction, *arguments, comparisons=400, seed=0, **options):
    """Check the gradient in ``value, gradient = loss(prediction, *arguments, **options)`` as check_layer does.

    Examples
    --------
    >>> from minires.losses import mean_squared_error
    >>> print(check_loss(mean_squared_error, np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    mean_squared_error: backward is the derivative of forward.
    mode  tensor       shape  entries  directions  worst error  kinks
    -     dprediction  (2,)   2 of 2   3           0.0e+00      0
    """
    _check_floats("check_loss", "prediction", prediction)
    layer = _Loss(loss, arguments, options)
    prediction_name = next(iter(inspect.signature(loss).parameters))
    check = _Check(layer, prediction, _own_rng(seed), repr(layer), prediction_name)
    return Report(repr(layer), [("-", *row) for row in check.run(comparisons, other_batches=False)])


class _Check:
    """One layer in one mode, at one x, with one random dy."""

    def __init__(self, layer, x, rng, title, x_name="x"):
        self.layer, self.rng, self.title, self.x_name, self.dx_name = layer, rng, title, x_name, f"d{x_name}"
        self.x = np.array(x, np.float32, order="C").astype(np.float64)

    def run(self, comparisons, other_batches=True):
        """Check everything, first what explains most; return the rows of the report."""
        layer = copy.deepcopy(self.layer)
        self.y, self.dy, dx = self.forward_and_backward(layer, self.x)
        self.gradients = self.by_name(dx, layer)
        self.check_digits()
        self.check_same_again("when run once more from the same state", self.layer, self.x, self.dy)
        rows = self.check_derivatives(self.layer, self.gradients, comparisons)
        self.check_caches_were_taken(layer)
        self.check_gradients_are_added()
        strided = [_strided_and_read_only(array) for array in (self.x, self.dy)]
        self.check_same_again("when x and dy are strided and read-only", self.layer, *strided)
        layer32, *arrays32 = (one.astype(np.float32) for one in (copy.deepcopy(self.layer), self.x, self.dy))
        self.check_same_again("when x is float32", layer32, *arrays32, tolerance=1e-3)
        if other_batches:
            self.check_after_another_batch()
        return rows

    def error(self, message):
        return GradientError(f"{self.title}: {message}")

    def by_name(self, dx, layer):
        return {self.dx_name: dx, **{f"{name}.grad": p.grad.copy() for name, p in layer.named_parameters()}}

    # -- the contract -----------------------------------------------------------------------------------------

    def forward_and_backward(self, layer, x, dy=None, when=""):
        """Run both once, watching all that crosses the boundary; return y, dy, dx."""
        parameters = dict(layer.named_parameters())
        watched = _Watched({self.x_name: x, **{f"{name}.data": p.data for name, p in parameters.items()}})
        y = self.call("forward", layer.forward, x, when)
        self.check_result("forward", "y", y, None, x.dtype, when)
        self.check_unchanged(watched, "forward")
        dy = self.rng.normal(size=y.shape) if dy is None else dy
        watched.add({"the y that forward had returned": y, "dy": dy})
        dx = self.call("backward", layer.backward, dy, when)
        self.check_result("backward", self.dx_name, dx, x.shape, x.dtype, when)
        self.check_unchanged(watched, "backward")
        for name, p in parameters.items():
            self.check_result("backward", f"{name}.grad", p.grad, p.data.shape, p.data.dtype, when)
            for other, array in {"x": x, "dy": dy, "dx": dx}.items():
                if np.may_share_memory(p.grad, array):
                    raise self.error(f"{name}.grad shares memory with {other}. Add into it, {name}.grad += ...")
        return y, dy, dx

    def call(self, name, method, argument, when):
        """Run it; an exception is a finding, but for the first forward, where the layer objects to x."""
        try:
            return method(argument)
        except GradientError as error:
            raise self.error(error) from None
        except Exception as error:
            if name == "forward" and not when:
                raise
            raise self.error(f"{name} raised {type(error).__name__}{when and ' ' + when}: {error}") from error

    def check_result(self, who, name, array, shape, dtype, when):
        when = when and " " + when
        if not isinstance(array, np.ndarray):
            hint = f" Is `return {name}` missing?" if array is None else ""
            raise self.error(f"{who} gave {type(array).__name__} as {name}{when}, expected an array.{hint}")
        if shape is not None and array.shape != shape:
            raise self.error(f"{name} has shape {array.shape}{when}, expected {shape}.")
        if array.dtype != dtype:
            raise self.error(f"{name} is {array.dtype}{when}, expected {dtype}: a layer computes in the dtype of x.")
        if not np.all(np.isfinite(array)):
            raise self.error(f"{name} is not finite{when}. If the layer bears only its own parameters: jitter=False.")

    def check_digits(self):
        """A gradient is linear in dy, which has the digits of float64. (One that cancels to almost 0 has few.)"""
        largest = max(np.max(np.abs(gradient)) for gradient in self.gradients.values())
        for name, gradient in self.gradients.items():
            if np.max(np.abs(gradient)) > 1e-6 * largest and np.array_equal(gradient, gradient.astype(np.float32)):
                raise self.error(f"{name} is float64, but has the digits of float32 only. Is it rounded on the way?")

    def check_unchanged(self, watched, who):
        if changed := watched.changed():
            raise self.error(f"{who} writes into {changed}. What crosses a layer boundary is frozen: make a new array.")

    def check_same_again(self, when, layer, x, dy, tolerance=1e-9):
        layer = copy.deepcopy(layer)
        y, _, dx = self.forward_and_backward(layer, x, dy, when)
        self.check_same({"y": y, **self.by_name(dx, layer)}, {"y": self.y, **self.gradients}, when, tolerance)

    def check_same(self, got, expected, when, tolerance=1e-9):
        floor = max(np.max(np.abs(gradient)) for gradient in self.gradients.values()) / 100
        for name, before in expected.items():
            error = np.abs(got[name] - before)
            if np.max(error) > tolerance * (np.max(np.abs(before)) + floor):
                at = np.unravel_index(np.argmax(error), error.shape)
                raise self.error(f"{name} differs {when}: {got[name][at]:.6g} at {_at(at)}, before {before[at]:.6g}.")

    def check_caches_were_taken(self, layer):
        for path, inner in layer.named_layers():
            if isinstance(inner._cache, Kept):
                raise self.error(f"backward left the cache of {path or 'the layer'}. Take it: (x,) = self._recall(dy).")

    def check_gradients_are_added(self):
        layer = copy.deepcopy(self.layer)
        old = {}
        for name, p in layer.named_parameters():
            p.grad[...] = old[f"{name}.grad"] = self.rng.normal(size=p.grad.shape)
        self.forward_and_backward(layer, self.x, self.dy)
        for name, p in layer.named_parameters():
            expected = old[f"{name}.grad"] + self.gradients[f"{name}.grad"]
            if not np.allclose(p.grad, expected, rtol=1e-9, atol=1e-9 * np.max(np.abs(expected))):
                raise self.error(f"{name}.grad is not added to the gradient already there: use +=.")

    def check_after_another_batch(self):
        """A larger batch first, then x: no shape and no array may be left over from it."""
        when = "after a batch of another size"
        layer = copy.deepcopy(self.layer)
        larger = np.concatenate([self.x[::-1], self.x[:1]])
        y, _, dx = self.forward_and_backward(layer, larger, when="for a larger batch")
        watched = _Watched({"the y of an earlier forward": y, "the dx of an earlier backward": dx})
        used = copy.deepcopy(layer.zero_grad())
        y, _, dx = self.forward_and_backward(layer, self.x, self.dy, when)
        self.check_unchanged(watched, "the layer")
        if np.allclose(y, self.y, rtol=1e-9):
            self.check_same(self.by_name(dx, layer), self.gradients, when)
        else:  # by now a new mask has been drawn
            self.check_derivatives(used, self.by_name(dx, layer), 0, f" {when}")

    # -- the derivative ---------------------------------------------------------------------------------------

    def check_derivatives(self, layer, gradients, comparisons, when=""):
        """Compare every gradient with slopes; return the rows of the report."""
        slopes = _Slopes(layer, self.x, self.dy)
        arrays = [self.x, *(parameter.data for parameter in layer.parameters())]
        tensors = [_Tensor(*named, array, slopes) for named, array in zip(gradients.items(), arrays)]
        for tensor in tensors:
            tensor.measure(max(8, comparisons // len(tensors)) if comparisons else 0, self.rng)
        complaints = [complaint for tensor in tensors if (complaint := tensor.judge())]
        if len(complaints) > 5:  # a mistake spoils every gradient below it: the last one is nearest to it
            complaints[2:-3] = [f"... and {len(complaints) - 5} more; the last one is nearest to the mistake:"]
        if complaints:
            raise self.error("\n  ".join(complaints) + when)
        return [tensor.row() for tensor in tensors]


class _Slopes:
    """Slopes of L = sum(y * dy). Every evaluation starts from one state: running statistics, masks, all."""

    def __init__(self, layer, x, dy):
        self.layer, self.x, self.dy = layer, x, dy
        self.not_copied = {id(parameter): parameter for parameter in layer.parameters()}

    def y(self):
        return np.array(copy.deepcopy(self.layer, dict(self.not_copied)).forward(self.x.copy()))

    def beside(self, array, entries, u, step):
        """y at array + step * u, and at array - step * u."""
        flat = array.reshape(-1)
        here = flat[entries]
        flat[entries] = here + step * u
        above = self.y()
        flat[entries] = here - step * u
        below = self.y()
        flat[entries] = here
        return above, below

    def central(self, array, entries, u, step):
        above, below = self.beside(array, entries, u, step)
        return np.sum((above - below) * self.dy) / (2 * step)  # subtract first: the sums of L would drown it

    def kink(self, array, entries, u, step):
        """How far kinks may move the central slope off a one-sided one: half the jump of the slope, over all y."""
        above, below = self.beside(array, entries, u, step)
        jump = np.abs(above - 2 * self.y() + below)
        jump[jump < 1e-14 * np.max(np.abs(above))] = 0  # rounding, and the curvature of what is smooth
        return np.sum(jump * np.abs(self.dy)) / (2 * step)


class _Tensor:
    """x or a parameter, its gradient from ``backward``, and the slopes to compare that with."""

    def __init__(self, name, analytic, array, slopes):
        self.name, self.analytic, self.array, self.slopes = name, analytic, array, slopes
        size = np.sqrt(np.mean(array**2)) or 1
        self.step = STEP * 2.0 ** round(math.log2(size))  # relative to the array: a pixel may be 0.1 or 100
        self.kinks = 0

    def measure(self, share, rng):
        """Choose directions, pairs (entries, u), and measure the slope along each."""
        size = self.array.size
        every, shuffled = np.arange(size), rng.permutation(size)
        singles = every if size <= share else np.sort(shuffled[: share // 2])
        groups = np.array_split(shuffled, share - share // 2) if 0 < share < size else []
        groups += [every, every]
        self.directions = [(np.array([entry]), np.ones(1)) for entry in singles]
        self.directions += [(group, _unit(rng.choice([-1.0, 1.0], len(group)))) for group in groups]
        self.directions.append((every, _unit(np.ones(size))))  # all in step: the members of a tie stay one
        self.singles = len(singles)
        self.numeric = np.array([self.slope(*direction) for direction in self.directions])
        self.claimed = np.array([self.claim(*direction) for direction in self.directions])

    def slope(self, entries, u, part=1):
        return self.slopes.central(self.array, entries, u, self.step * part)

    def claim(self, entries, u):
        return np.sum(self.analytic.reshape(-1)[entries] * u)

    def judge(self):
        """Return what is wrong, in a line, or ""."""
        # Nothing smaller than rounding can be judged: the gradient of a bias before batch norm is 0.
        self.floor = max(np.max(np.abs(self.numeric)) / 10, 10 * self.rounding() / TOLERANCE, np.finfo(float).tiny)
        self.errors = self.error(self.numeric, self.claimed)
        for i in np.flatnonzero(self.errors > TOLERANCE):
            self.look_again(i)
        wrong = np.flatnonzero(self.errors > TOLERANCE)
        if len(wrong):
            return self.complaint(wrong)
        if self.singles and 2 * self.kinks > len(self.directions):
            return (
                f"{self.name}: {self.kinks} of {len(self.directions)} slopes meet a kink (a ReLU at 0, equal maxima), "
                "too many to say anything. Use x without zeros and equal values, as rng.normal(size=...)."
            )
        return ""

    def rounding(self):
        """How far rounding moves a slope: y has errors of size eps y, and more after many layers.

        How much more shows when the step is halved, unless by chance, or at a kink: hence between two bounds.
        """
        least = np.finfo(float).eps * np.linalg.norm(self.slopes.y() * self.slopes.dy) / self.step
        halved = [self.slope(*direction, 0.5) for direction in self.directions[-3:]]
        measured = np.median(np.abs(halved - self.numeric[-3:]))
        self.rough = measured > 1e6 * least
        return np.clip(measured, least, 1000 * least)

    def error(self, numeric, claimed):
        return np.abs(numeric - claimed) / (np.maximum(np.abs(numeric), np.abs(claimed)) + self.floor)

    def look_again(self, i):
        """A smaller step leaves most kinks out of reach. One that sits at this very point is not judged."""
        direction, claimed = self.directions[i], self.claimed[i]
        numeric = self.slope(*direction, 1 / 16)
        error = self.error(numeric, claimed)
        if error <= 16 * TOLERANCE:  # rounding weighs more by as much as the step is smaller
            self.errors[i] = min(error, TOLERANCE)
        elif abs(numeric - claimed) <= 1.01 * self.slopes.kink(self.array, *direction, self.step / 16):
            self.errors[i] = 0
            self.kinks += 1

    def complaint(self, wrong):
        wrong_singles, directions = wrong[wrong < self.singles], len(self.directions) - self.singles
        if len(wrong_singles):
            entries, numeric = np.array([self.directions[i][0][0] for i in wrong_singles]), self.numeric[wrong_singles]
        else:
            entries, numeric = self.narrow(*self.directions[wrong[0]])
        claimed = self.analytic.reshape(-1)[entries]
        worst = np.argmax(np.abs(numeric - claimed))
        where = np.unravel_index(entries, self.array.shape)
        ratio = _ratio_and_guess(numeric, claimed, worst, where[min(1, len(where) - 1)], self.slopes.x.shape)
        return (
            f"{self.name} is wrong at {len(wrong_singles)} of {self.singles} entries and along "
            f"{len(wrong) - len(wrong_singles)} of {directions} directions. "
            f"Worst at {_at([axis[worst] for axis in where])}: numeric {numeric[worst]:.6g}, "
            f"analytic {claimed[worst]:.6g}, ratio {ratio}"
            + (" Slopes change when the step is halved: does forward round to float32?" if self.rough else "")
        )

    def narrow(self, entries, u):
        """Halve a wrong direction until one wrong entry is left; return it and its slope."""
        while len(entries) > 1:
            middle = len(entries) // 2
            halves = (entries[:middle], u[:middle]), (entries[middle:], u[middle:])
            off = [abs(self.slope(*half) - self.claim(*half)) for half in halves]
            entries, u = halves[int(np.argmax(off))]
        return entries, np.array([self.slope(entries, np.ones(1))])

    def row(self):
        entries = f"{self.singles} of {self.array.size}"
        directions = len(self.directions) - self.singles
        return self.name, self.array.shape, entries, directions, f"{np.max(self.errors):.1e}", self.kinks


def _ratio_and_guess(numeric, claimed, worst, channel, x_shape):
    """analytic / numeric at the worst entry, and what the wrong entries together bring to mind."""
    if not np.any(claimed):
        return "0: it stayed zero. Is a path forgotten, or the gradient never added?"
    if numeric[worst] == 0:
        return "infinite: the slope is 0."
    ratio = claimed[worst] / numeric[worst]
    shown = f"{ratio:#.3g}" if abs(ratio - 1) > 0.01 else f"{ratio:.8f}"
    if _proportional(claimed, numeric):
        factor = max(abs(ratio), 1 / abs(ratio))
        if abs(ratio + 1) < 1e-4:
            return f"{shown}: a sign?"
        if abs(factor - round(factor)) > 1e-4 * factor or round(factor) == 1:
            return f"{shown}, the same factor everywhere."
        many = "too many" if abs(ratio) > 1 else "too few"
        return f"{shown}: a factor {round(factor)} {many}?{_as_sizes(round(factor), x_shape)}"
    if np.allclose(np.sort(claimed), np.sort(numeric), rtol=1e-4):
        return f"{shown}: the right numbers in the wrong places. Transposed, or flipped?"
    error, channels = claimed - numeric, [channel == c for c in np.unique(channel)]
    if len(error) > 2 * len(channels):
        if all(_proportional(claimed[mine], numeric[mine]) for mine in channels):
            return f"{shown}: a factor of its own for each channel. A scale such as gamma?"
        if all(np.ptp(error[mine]) < 1e-3 * np.max(np.abs(error)) for mine in channels):
            return f"{shown}: off by one number all over each channel. The path through the mean?"
    return f"{shown}."


def _proportional(a, b):
    return abs(a @ b) > (1 - 1e-8) * np.linalg.norm(a) * np.linalg.norm(b)


def _as_sizes(factor, x_shape):
    """ " N*H = 12." where that product of sizes of x is the factor."""
    names = "NCHW" if len(x_shape) == 4 else "ND" if len(x_shape) == 2 else "N"
    for count in range(1, len(names) + 1):
        for axes in itertools.combinations(range(len(names)), count):
            if math.prod(x_shape[axis] for axis in axes) == factor:
                return f" {'*'.join(names[axis] for axis in axes)} = {factor}."
    return ""


# -- what else may be checked ---------------------------------------------------------------------------------


class _Adopted(Layer):
    """Any object with forward and backward, seen as a Layer."""

    def __init__(self, thing):
        self._thing = thing

    def _members(self):
        return Layer._members(self._thing)

    def forward(self, x):
        self._thing.training = self.training
        return self._thing.forward(x)

    def backward(self, dy):
        return self._thing.backward(dy)

    def _who(self):
        return type(self._thing).__name__


class _Loss(Layer):
    """A loss as a layer: y is its value, and backward hands on the gradient that came with it."""

    def __init__(self, loss, arguments, options):
        self._loss, self._arguments, self._options = loss, arguments, options

    def forward(self, x):
        others = enumerate([*self._arguments, *self._options.values()], 2)
        watched = _Watched({f"argument {i}": array for i, array in others if isinstance(array, np.ndarray)})
        result = self._loss(x, *self._arguments, **self._options)
        if changed := watched.changed():
            raise GradientError(f"the loss writes into its {changed}. Make a new array.")
        if not (isinstance(result, tuple) and len(result) == 2 and np.ndim(result[0]) == 0):
            raise GradientError("expected the loss to return (value, gradient), the value a single number.")
        value, gradient = result
        return self._remember(np.full(1, value, x.dtype), gradient)

    def backward(self, dy):
        (gradient,) = self._recall(dy)
        return gradient * float(dy[0]) if isinstance(gradient, np.ndarray) else gradient

    def __repr__(self):
        return getattr(self._loss, "__name__", type(self._loss).__name__)


class _Watched:
    """Arrays beside copies of them, to see which was written to."""

    def __init__(self, arrays):
        self.kept = []
        self.add(arrays)

    def add(self, arrays):
        self.kept += [(name, array, array.copy()) for name, array in arrays.items()]

    def changed(self):
        return next((name for name, array, before in self.kept if not np.array_equal(array, before)), None)


def _own_rng(seed):
    """Not default_rng(seed): x often comes from that, and dy would be the same numbers, a mask (dy > 0) right."""
    return np.random.default_rng((seed, 1))


def _float64_copy(layer, rng):
    """A copy without gradients and caches; given an rng, its parameters and buffers are moved.

    Half the entries of a parameter change sign, so that some gamma is negative. A positive buffer, a variance, stays
    positive. All values are exact in float32, so that both precisions compute at the same point.
    """
    layer = copy.deepcopy(layer).astype(np.float64).zero_grad()
    for _, inner in layer.named_layers():
        inner._cache = None
    for _, member in layer._named((Parameter, Buffer)):
        data = member.data
        if data.dtype.kind != "f" or not data.size:
            continue
        if rng and isinstance(member, Buffer) and np.all(data > 0):
            data = data * rng.uniform(0.5, 1.5, data.shape)
        elif rng:
            data = data + 0.3 * (np.sqrt(np.mean(data**2)) or 1) * rng.normal(size=data.shape)
            if isinstance(member, Parameter):
                data *= np.where(rng.permutation(data.size) % 2, -1, 1).reshape(data.shape)
        member.data = np.array(data, np.float32, order="C").astype(np.float64)  # contiguous: _Slopes moves entries
    return layer


def _unit(signs):
    """+1 and -1 scaled to a vector about as long as one step along an axis; by a power of two, to stay exact."""
    return signs * 2.0 ** -round(math.log2(len(signs)) / 2)


def _strided_and_read_only(array):
    view = np.repeat(array, 2, axis=-1)[..., ::2]
    view.flags.writeable = False
    return view


def _at(index):
    return "[" + ", ".join(map(str, index)) + "]"


def _check_floats(who, name, x):
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        got = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"{who}: expected {name} to be an array of floats, got {got}. Use rng.normal(size=...).")
    if x.size == 0 or not np.all(np.isfinite(x)):
        got = f"the empty shape {x.shape}" if x.size == 0 else "NaN or infinite values"
        raise ValueError(f"{who}: expected {name} to hold finite numbers, got {got}.")
