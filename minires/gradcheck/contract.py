"""What a layer promises, tried on copies of it: what crosses its boundary, and what one run leaves to the next."""

import copy
import functools
from operator import methodcaller

import numpy as np

from minires.gradcheck import draws
from minires.gradcheck.guess import at_index
from minires.gradcheck.slopes import Slopes, Tensor
from minires.gradcheck.subjects import GradientError, place, short, strided_and_read_only, watch
from minires.layer import Buffer, Kept

__tracebackhide__ = methodcaller("errisinstance", (GradientError, NotImplementedError))  # as in __init__
EPS32 = np.finfo(np.float32).eps
FROZEN = "Only gradients, and in forward of training mode Buffers, change in place: make a new array."
CLIPPED = "Is it clipped, or does dy pass through something that is not a product?"
ROUNDED = "The digits of float32 only: is something rounded to it, or summed in it?"
MODE_READ = "Does backward read self.training? Keep it in forward: self._remember(y, ..., self.training)."
KEPT = "Is something kept that belongs to an earlier batch?"
NOT_THE_SAME = "Does it draw from a generator of its own making, or leave an array of np.empty unfilled?"
ORDER = "Does it take for granted how numbers lie in memory, as ravel() of a new array does?"


class Check:
    """One layer in one mode, at one x, with one random dy."""

    def __init__(self, layer, x, rng, title, x_name="x"):
        self.layer, self.rng, self.title, self.x_name, self.dx_name = layer, rng, title, x_name, f"d{x_name}"
        self.x = short(np.array(x, np.float64, order="C"))

    @draws.restored()
    def run(self, comparisons, is_loss=False):
        """Check everything, first what explains most; return the rows of the report."""
        self.move_off_whole_numbers()
        layer = self.copy()
        draws.afresh()
        self.dy = self.random(np.shape(self.call("forward", self.copy().forward, self.x.copy(), "")))
        self.draws_shared = draws.were_made()
        self.found = self.results(self.x, self.dy, "", layer)
        if made := set(dict(layer.named_parameters())) - set(dict(self.layer.named_parameters())):
            raise self.error(
                f"forward makes the Parameter {made.pop()}, too late for an optimizer: make it in __init__."
            )
        again = "when run once more from the same state"
        self.check_same(self.results(self.x, self.dy, again), self.found, again, NOT_THE_SAME)
        nearby = self.results(self.x * (1 + 2.0**-49), self.dy, "when x is scaled by 1 + 2**-49")
        self.blur = {name: np.abs(nearby[name] - found) for name, found in self.found.items()}  # how far it is rounded
        rows = self.check_derivatives(self.layer, self.found, comparisons)
        for path, inner in layer.named_layers():
            if isinstance(inner._cache, Kept):
                raise self.error(f"backward left the cache of {path or 'the layer'}. Take it: (x,) = self._recall(dy).")
        self.check_gradients_are_added()
        fortran = functools.partial(np.array, order="F")
        for lay, how in (strided_and_read_only, "strided and read-only"), (fortran, "in Fortran's order"):
            when = f"when x and dy are {how}"
            self.check_same(self.results(lay(self.x), lay(self.dy), when), self.found, when, ORDER)
        self.check_float32()
        if not is_loss:
            self.check_linear_in_dy()
        has_modes = not is_loss and getattr(self.layer, "has_modes", True)
        if has_modes:
            self.check_mode_is_remembered()
        after_training = has_modes and not self.layer.training
        self.check_after_other_batches(larger=not is_loss and self.x.ndim, other_mode=after_training)
        return rows

    def error(self, message):
        return GradientError(f"{self.title}: {message}")

    def copy(self):
        return copy.deepcopy(self.layer)

    def random(self, shape):
        return np.asarray(self.rng.normal(size=shape))

    def move_off_whole_numbers(self):
        """Whole numbers taken as indices jump at every x: check between them, where forward is the same."""
        if np.array_equal(self.x, np.rint(self.x)):
            try:
                here, between = (self.copy().forward(x) for x in (self.x.copy(), self.x + 0.25))
                if np.any(here) and np.array_equal(here, between):
                    self.x = self.x + 0.25
            except Exception:  # it is the first run that reports it
                return

    # -- what crosses the boundary ----------------------------------------------------------------------------

    def results(self, x, dy, when, layer=None, between=lambda layer: None):
        """Run both once, watching all that crosses the boundary; return {"y": y, "dx": dx, "weight.grad": ..., ...}."""
        layer = self.copy() if layer is None else layer
        if self.draws_shared:
            draws.afresh()
        parameters = dict(layer.named_parameters())
        data = {f"{name}.data": p.data for name, p in parameters.items()}
        buffers = {f"the buffer {name}": buffer.data for name, buffer in layer._named(Buffer)}
        fixed = {} if layer.training else {f"{name} in evaluation": array for name, array in buffers.items()}
        written = watch({self.x_name: x, **data, **fixed})
        y = self.call("forward", layer.forward, x, when)
        self.check_result("forward", "y", y, None, x.dtype, when)
        self.check_unchanged(written(), "forward")
        written = watch({self.x_name: x, "the y that forward had returned": y, "dy": dy, **data, **buffers})
        between(layer)
        dx = self.call("backward", layer.backward, dy, when)
        self.check_result("backward", self.dx_name, dx, x.shape, x.dtype, when)
        self.check_unchanged(written(), "backward")
        for name, p in parameters.items():
            self.check_result("backward", f"{name}.grad", p.grad, p.data.shape, p.data.dtype, when)
            for other, array in {"x": x, "dy": dy, "dx": dx}.items():
                if np.may_share_memory(p.grad, array):
                    raise self.error(f"{name}.grad shares memory with {other}. Add into it, {name}.grad += ...")
        return {"y": y, self.dx_name: dx, **{f"{name}.grad": p.grad.copy() for name, p in parameters.items()}}

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
            hint = " Of one number make an array: np.sum(x, keepdims=True)." if isinstance(array, np.number) else hint
            raise self.error(f"{who} gave {type(array).__name__} as {name}{when}, expected an array.{hint}")
        if isinstance(array, np.matrix):
            raise self.error(f"{who} gave a np.matrix as {name}{when}, whose * is another product. Use np.asarray.")
        if shape is not None and array.shape != shape:
            raise self.error(f"{name} has shape {array.shape}{when}, expected {shape}.")
        if array.dtype != dtype:
            raise self.error(f"{name} is {array.dtype}{when}, expected {dtype}: a layer computes in the dtype of x.")
        if not np.all(np.isfinite(array)):
            raise self.error(f"{name} is not finite{when}. If the layer bears only its own parameters: jitter=False.")

    def check_unchanged(self, written, who):
        if written:
            raise self.error(f"{who} writes into {written}. {FROZEN}")

    # -- the derivative ---------------------------------------------------------------------------------------

    def check_derivatives(self, layer, found, comparisons, when=""):
        """Compare every gradient with slopes; return the rows of the report."""
        slopes = Slopes(layer, self.x, self.dy, self.draws_shared)
        arrays = [self.x, *(parameter.data for parameter in layer.parameters())]
        named = [(name, found[name], array) for name, array in zip(list(found)[1:], arrays) if array.size]
        while True:
            tensors = [Tensor(*each, slopes, self.blur[each[0]]) for each in named]
            for tensor in tensors:
                share = max(8, comparisons // len(tensors)) if comparisons else 0
                try:
                    tensor.measure(share, self.rng, may_exceed=comparisons >= 1000)
                except Exception as error:
                    raised = f"forward raised {type(error).__name__} where {tensor.name} was measured: {error}"
                    raise self.error(f"{raised}. Choose x away from the edge of what the layer takes.") from error
            if slopes.still_the_same():
                break
        largest = max(tensor.sensitivity() for tensor in tensors)
        complaints = [complaint for tensor in tensors if (complaint := tensor.complaint(largest))]
        if len(complaints) > 5:  # a mistake spoils every gradient below it: the last one is nearest to it
            complaints[2:-3] = [f"... and {len(complaints) - 5} more; the last one is nearest to the mistake:"]
        if complaints:
            where = place(self.layer)
            raise self.error("\n  ".join(complaints) + when + (where and f" Look at backward in {where}."))
        return [tensor.row() for tensor in tensors]

    # -- the same numbers once more ---------------------------------------------------------------------------

    def difference(self, got, expected, tolerance=1e-9, allowed=None):
        """Return (name, index) of the first array that differs, or None."""
        floor = largest([found for name, found in self.found.items() if name != "y"]) / 100
        for name, before in expected.items():
            error = np.abs(got[name] - before)
            if largest([error]) > tolerance * (largest([before]) + floor) + (allowed or {}).get(name, 0):
                return name, np.unravel_index(np.argmax(error), error.shape)
        return None

    def check_same(self, got, expected, when, why="", *limits):
        if difference := self.difference(got, expected, *limits):
            name, at = difference
            numbers = f"{got[name][at]:.6g} at {at_index(at)}, before {expected[name][at]:.6g}"
            raise self.error(f"{name} differs {when}: {numbers}. {why}".rstrip())

    def check_gradients_are_added(self):
        layer, old = self.copy(), {}
        for name, p in layer.named_parameters():
            p.grad[...] = self.random(p.grad.shape) * (largest([self.found[f"{name}.grad"]]) or 1)
            old[f"{name}.grad"] = p.grad.copy()
        got = self.results(self.x, self.dy, "", layer)
        added = {name: got[name] - before for name, before in old.items()}
        if difference := self.difference(added, {name: self.found[name] for name in old}):
            raise self.error(f"{difference[0]} is not added to the gradient already there: use +=.")

    def check_float32(self):
        """The same numbers in float32 within a thousandth, and what float32 cannot tell.

        Where the two precisions fall on two sides of a kink they differ, and rightly: once more, then, at another x.
        """
        found = []
        for x in (self.x, self.x * (1 + 0.01 * self.random(self.x.shape))):
            x = x.astype(np.float32).astype(float)
            nearby = x * (1 + 2 * EPS32 * self.rng.choice([-1.0, 1.0], x.shape))
            expected, moved = (self.results(at, self.dy, "at another x") for at in (x, nearby))
            got = self.results(
                x.astype(np.float32), self.dy.astype(np.float32), "when x is float32", self.copy().astype(np.float32)
            )
            sizes = [np.linalg.norm(self.dy), size(x), *(size(p.data) for p in self.layer.parameters())]
            allowed = {
                name: 64 * EPS32 * np.linalg.norm(expected["y"] * self.dy) / of
                + 16 * largest([moved[name] - expected[name]])
                + 1e-30  # float32 ends at 1e-38
                for name, of in zip(expected, sizes)
            }
            if self.difference(got, expected, 1e-3, allowed) is None:
                return
            found.append((got, expected, "when x is float32", "", 1e-3, allowed))
        self.check_same(*found[0])

    def check_linear_in_dy(self):
        """backward(a dy + a b) = a backward(dy) + a backward(b), for a of every size: dL/dx is linear in dL/dy."""
        when, other = "with another dy", self.random(self.dy.shape)
        of_other = self.results(self.x, other, when)
        expected = {name: found + of_other[name] for name, found in self.found.items() if name != "y"}
        for a in (3.0, -1e9 / 3, 1e-9 / 3):
            got = self.results(self.x, np.asarray(a * self.dy + a * other), when)
            got = {name: gradient / a for name, gradient in got.items()}
            allowed = {name: 20 * largest([blur]) for name, blur in self.blur.items()}
            if difference := self.difference(got, expected, 1e-12, allowed):
                name, at = difference
                why = ROUNDED if self.difference(got, expected, 1e-5) is None else CLIPPED
                raise self.error(
                    f"backward is not linear in dy: {name} of {a:.3g} * dy is not {a:.3g} times {name} of dy, but "
                    f"{got[name][at]:.10g} at {at_index(at)}, where {expected[name][at]:.10g} is expected. {why}"
                )

    def check_mode_is_remembered(self):
        """backward belongs to the forward before it, whatever train() and eval() have done in between."""
        when = "when the mode is changed between forward and backward"
        got = self.results(self.x, self.dy, when, between=lambda layer: layer.train(not layer.training))
        self.check_same(got, self.found, when, MODE_READ)

    # -- what one run leaves to the next ----------------------------------------------------------------------

    def check_after_other_batches(self, larger, other_mode):
        """Other batches first, then x. What backward needs may be kept by x and dy, all of them, and by nothing less:
        not by their shape, their first row or column, their sum, or by where they lie in memory.
        """
        x, dy = self.x, self.dy
        elsewhere = self.mixed(x) * self.rng.uniform(0.98, 1, x.shape)  # what x holds, in other places
        elsewhere = elsewhere.astype(np.float32).astype(float)
        self.check_after(elsewhere, self.mixed(dy), in_place=True)
        for batch, other in (self.mixed(x, 0), self.mixed(dy, 0)), (self.mixed(x, 1), dy), (x, self.mixed(dy)):
            self.check_after(batch, other)
        for axes in ((0,), (1,), (2, 3, 4)) if larger else ():
            grown = np.pad(x[::-1], [(0, int(axis in axes)) for axis in range(x.ndim)], mode="edge")
            if grown.shape != x.shape:
                self.check_after(grown)
        if other_mode:
            self.check_after(elsewhere, other_mode=True)

    def mixed(self, array, kept=None):
        """The same numbers in other places, but for the first along the axis that is kept, and the very last."""
        if not array.ndim:
            return np.asarray(array * 1.5)
        mixed = array.copy()
        rest = mixed if kept is None else mixed.swapaxes(0, min(kept, array.ndim - 1))[1:]
        rest = rest if rest.size else mixed.reshape(-1)[1:]
        values = rest.flatten()
        free = values if kept is None else values[:-1]
        free[...] = self.rng.permuted(free)
        rest[...] = values.reshape(rest.shape)
        return mixed

    def check_after(self, batch, dy=None, in_place=False, other_mode=False):
        """The same y and gradients of x after the batch as without; where y is another, those of its own."""
        same_size = batch.shape == self.x.shape
        size = "in the other mode" if other_mode else "of the same size" if same_size else "of another size"
        when, mode = f"after a batch {size}", self.layer.training != other_mode
        try:
            layer = self.copy()
            layer.train(mode)
            y = layer.forward(batch.copy())
            if not np.all(np.isfinite(y)):
                return
            dy = self.random(y.shape) if dy is None or dy.shape != y.shape else dy
            if batch.shape[1:] != self.x.shape[1:] and layer.backward(dy.copy()).shape != batch.shape:
                return  # a size for which backward need not be right
        except Exception:  # such a batch the layer does not take
            return
        used, got = self.run_after(batch, dy, size, mode, in_place, self.layer if other_mode else None)
        if not self.difference(self.found, {"y": got["y"]}):
            self.check_same(got, self.found, when, KEPT)
            return
        has_state = False
        if same_size or not self.is_random:
            # a new mask, another count: the same as after x itself, but for what a Buffer keeps
            _, expected = self.run_after(self.x, self.dy, size, mode, in_place, used)
            y = {"y": expected["y"]}  # another one after x itself, too: the layer has a state, as an RNN has
            has_state = self.difference(self.found, y) and self.difference(got, y) and not self.layer.generators()
            if not has_state:
                self.check_same(got, expected, when, KEPT)
        if in_place or not same_size or has_state:
            self.check_derivatives(used, got, 0, f" {when}")

    @functools.cached_property
    def is_random(self):
        """Whether the layer draws anew for every batch, from a generator that may lie in another process."""
        layer = self.copy()
        again = (layer.forward(self.x.copy()) for _ in range(20))
        return bool(self.layer.generators()) or any(not np.array_equal(y, self.found["y"]) for y in again)

    def run_after(self, batch, dy, size, mode, in_place, buffers_of):
        """Run a batch, with other parameters, then x; return the layer as it was in between, and the results of x."""
        layer, x, dy = self.copy(), batch.copy(), dy.copy()
        layer.train(mode)
        data = [(p.data, p.data.copy()) for p in layer.parameters()]
        for now, _ in data:
            now.reshape(-1)[now.size > 1 :] *= 0.98
        runs = (mode == self.layer.training) * (1 + in_place)  # in the other mode, backward need not be written
        earlier = [self.results(x, dy, f"for another batch {size}", layer) for _ in range(runs)]
        if not runs or batch.shape != self.x.shape:
            layer.forward(x)  # and no backward
        for now, before in data:
            now[...] = before
        for (_, own), (_, other) in zip(layer._named(Buffer), buffers_of._named(Buffer) if buffers_of else ()):
            own.data[...] = other.data
        if in_place and dy.shape == self.dy.shape:  # an optimizer, too, writes new numbers into the same arrays
            x[...], dy[...] = self.x, self.dy
        else:
            x, dy = self.x, self.dy
        layer.train(self.layer.training)
        used = copy.deepcopy(layer.zero_grad())
        watches = [
            watch({"the y of an earlier forward": run["y"], "the dx of an earlier backward": run[self.dx_name]})
            for run in earlier
        ]
        got = self.results(x, dy, f"after a batch {size}", layer)
        for written in watches:
            self.check_unchanged(written(), "the layer")
        return used, got


def largest(arrays):
    return max((np.max(np.abs(array), initial=0) for array in arrays), default=0)


def size(array):
    return (np.sqrt(np.mean(array**2)) if array.size else 0) or 1
