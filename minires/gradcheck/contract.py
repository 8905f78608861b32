"""What a layer promises, tried on copies of it.

A run is one ``forward`` and one ``backward``, watched: what crosses the boundary of the layer is of the right kind,
shape and dtype, and nothing is written into. It gives {"y": y, "dx": dx, "weight.grad": ...}. The first run is compared
with slopes. Then come runs of which one thing is different, and of which the results are known beforehand.
"""

import copy
import functools
from contextlib import suppress
from operator import methodcaller

import numpy as np

from minires.gradcheck import draws
from minires.gradcheck.guess import at_index
from minires.gradcheck.slopes import Function, Tensor
from minires.gradcheck.subjects import GradientError, Loss, place, short, strided_and_read_only, watch
from minires.layer import Buffer, Kept

__tracebackhide__ = methodcaller("errisinstance", (GradientError, NotImplementedError))  # as in __init__
EPS32 = np.finfo(np.float32).eps
FROZEN = "Only gradients, and in forward of training mode Buffers, change in place: make a new array."
NOT_LINEAR = "backward is not linear in dy."
CLIPPED = f"{NOT_LINEAR} Is it clipped, or does dy pass through something that is not a product?"
ROUNDED = f"{NOT_LINEAR} The digits of float32 only: is something rounded to it, or summed in it?"
MODE_READ = "Does backward read self.training? Keep it in forward: self._remember(y, ..., self.training)."
KEPT = "Is something kept that belongs to an earlier batch?"
ON_THE_CLASS = "Is something kept on the class, or in a global variable? Keep it on self."
NOT_THE_SAME = "Does it draw from a generator of its own making, or leave an array of np.empty unfilled?"
ORDER = "Does it take for granted how numbers lie in memory, as ravel() of a new array does?"
OF_X_ALONE = "Right for this x alone: is its number of images written in, or a sum over images forgotten?"


class Check:
    """One layer in one mode, at one x, with one random dy."""

    def __init__(self, layer, x, rng, title, x_name="x"):
        self.layer, self.rng, self.title, self.x_name, self.dx_name = layer, rng, title, x_name, f"d{x_name}"
        self.x = short(np.array(x, np.float64, order="C"))
        self.is_loss, self.draws_shared = isinstance(layer, Loss), True
        self.has_modes = not self.is_loss and getattr(layer, "has_modes", True)

    @draws.restored()
    def run(self, comparisons):
        """Check everything, first what explains most; return the rows of the report."""
        self.move_off_whole_numbers()
        self.first_run()
        self.check_same("when run once more from the same state", NOT_THE_SAME)
        layer = self.check_gradients_are_added()
        rows = self.check_derivatives(self.layer, self.found, comparisons)
        for path, inner in layer.named_layers():
            if isinstance(inner._cache, Kept):
                raise self.error(f"backward left the cache of {path or 'the layer'}. Take it: (x,) = self._recall(dy).")
        self.check_same("when x and dy are strided and read-only", ORDER, strided_and_read_only)
        self.check_same("when x and dy are in Fortran's order", ORDER, lambda array: np.array(array, order="F"))
        self.check_float32()
        self.check_linear_in_dy()
        if self.has_modes:
            when = "when the mode is changed between forward and backward"
            self.check_same(when, MODE_READ, between=lambda layer: layer.train(not layer.training))
        self.check_other_batches()
        return rows

    def first_run(self):
        """Choose dy; find what all later runs are compared with, and how far that is rounded."""
        layer = self.copy()
        y = self.call("forward", layer.forward, self.x.copy(), "")
        self.draws_shared = draws.were_made()
        if made := set(dict(layer.named_parameters())) - set(dict(self.layer.named_parameters())):
            raise self.error(
                f"forward makes the Parameter {made.pop()}, too late for an optimizer: make it in __init__."
            )
        self.dy = self.random(np.shape(y))
        self.found = self.results(self.x, self.dy)
        nearby = self.results(self.x * (1 + 2.0**-49), self.dy, "when x is scaled by 1 + 2**-49")
        self.blur = {name: np.abs(nearby[name] - found) for name, found in self.found.items()}

    def error(self, message):
        return GradientError(f"{self.title}: {message}")

    def copy(self, layer=None, shared=()):
        """A copy, of the same Parameters where they are ``shared``, that is about to draw what all copies draw."""
        if self.draws_shared:
            draws.afresh()
        return copy.deepcopy(self.layer if layer is None else layer, {id(one): one for one in shared})

    def random(self, shape):
        return np.asarray(self.rng.normal(size=shape))

    def move_off_whole_numbers(self):
        """Whole numbers taken as indices jump at every x: check between them, where forward is the same."""
        if np.array_equal(self.x, np.rint(self.x)):
            with suppress(Exception):  # it is the first run that reports it
                here, between = (self.copy().forward(x) for x in (self.x.copy(), self.x + 0.25))
                self.x = self.x + 0.25 * (np.any(here) and np.array_equal(here, between))

    # -- a run, watched ---------------------------------------------------------------------------------------

    def results(self, x, dy, when="", layer=None, between=lambda layer: None):
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

    def check_derivatives(self, layer, found, comparisons=0, when="", hint=""):
        """Compare every gradient with slopes; return the rows of the report."""
        parameters = layer.parameters()
        arrays = [self.x, *(parameter.data for parameter in parameters)]
        named = [(name, found[name], array) for name, array in zip(list(found)[1:], arrays) if array.size]
        share = max(8, comparisons // len(named)) if comparisons else 0
        is_random = layer.generators() or (when and self.is_random)  # a mask may be the same twice, by chance
        for one_copy in not is_random, False:
            function = Function(lambda: self.copy(layer, parameters), self.x, self.dy, arrays, one_copy)
            tensors = [Tensor(*each, function, self.blur[each[0]]) for each in named]
            for tensor in tensors:
                try:
                    tensor.measure(share, self.rng, may_exceed=comparisons >= 1000)
                except Exception as error:
                    raised = f"forward raised {type(error).__name__} where {tensor.name} was measured: {error}"
                    raise self.error(f"{raised}. Choose x away from the edge of what the layer takes.") from error
            if function.still_the_same():
                break
        largest = max(tensor.sensitivity() for tensor in tensors)
        complaints = [complaint for tensor in tensors if (complaint := tensor.complaint(largest))]
        if len(complaints) > 5:  # a mistake spoils every gradient below it: the last one is nearest to it
            complaints[2:-3] = [f"... and {len(complaints) - 5} more; the last one is nearest to the mistake:"]
        if complaints:
            where = place(self.layer)
            complaints = "\n  ".join(complaints) + hint + (where and f" Look at backward in {where}.")
            raise GradientError(f"{self.title}{when and ', ' + when}: {complaints}")
        return [tensor.row() for tensor in tensors]

    # -- a run of which one thing is different ----------------------------------------------------------------

    def check_same(self, when, why, lay=np.copy, between=lambda layer: None):
        """The results are the same when x and dy lie differently in memory, or if something happens in between."""
        self.compare(self.results(lay(self.x), lay(self.dy), when, between=between), self.found, when, why)

    def compare(self, got, expected, when, why, *limits):
        if difference := self.difference(got, expected, *limits):
            name, at = difference
            numbers = f"{got[name][at]:.10g} at {at_index(at)}, before {expected[name][at]:.10g}"
            raise self.error(f"{name} differs {when}: {numbers}. {why}".rstrip())

    def difference(self, got, expected, tolerance=1e-9, allowed=None):
        """Return (name, index) of the first array that differs, or None."""
        floor = max(largest(found) for name, found in self.found.items() if name != "y") / 100
        for name, before in expected.items():
            error = np.abs(got[name] - before)
            if largest(error) > tolerance * (largest(before) + floor) + (allowed or {}).get(name, 0):
                return name, np.unravel_index(np.argmax(error), error.shape)
        return None

    def check_gradients_are_added(self):
        """Return the layer that has run."""
        layer, old = self.copy(), {}
        for name, p in layer.named_parameters():
            p.grad[...] = self.random(p.grad.shape) * (largest(self.found[f"{name}.grad"]) or 1)
            old[f"{name}.grad"] = p.grad.copy()
        got = self.results(self.x, self.dy, "when there are gradients already", layer)
        added = {name: got[name] - before for name, before in old.items()}
        if difference := self.difference(added, {name: self.found[name] for name in old}):
            raise self.error(f"{difference[0]} is not added to the gradient already there: use +=.")
        return layer

    def check_float32(self):
        """The same numbers in float32 within a thousandth, and what float32 cannot tell.

        Where the two precisions fall on two sides of a kink they differ, and rightly: once more, then, at another x.
        """
        when, single, first = f"when {self.x_name} is float32", np.float32, None
        for x in self.x, self.x * (1 + 0.01 * self.random(self.x.shape)):
            x = x.astype(single).astype(float)
            nearby = x * (1 + 2 * EPS32 * self.rng.choice([-1.0, 1.0], x.shape))
            expected, moved = (self.results(at, self.dy, "at another x") for at in (x, nearby))
            got = self.results(x.astype(single), self.dy.astype(single), when, self.copy().astype(single))
            sizes = [np.linalg.norm(self.dy), size(x), *(size(p.data) for p in self.layer.parameters())]
            rounded = 64 * EPS32 * np.linalg.norm(expected["y"] * self.dy)
            allowed = {
                name: rounded / of + 16 * largest(moved[name] - expected[name]) + 1e-30  # float32 ends at 1e-38
                for name, of in zip(expected, sizes)
            }
            if self.difference(got, expected, 1e-3, allowed) is None:
                return
            first = first or (got, expected, when, "", 1e-3, allowed)
        self.compare(*first)

    def check_linear_in_dy(self):
        """backward(a dy + a b) = a backward(dy) + a backward(b), for a large and a small: dL/dx is linear in dL/dy."""
        other = self.random(self.dy.shape)
        of_other = self.results(self.x, other, "with another dy")
        expected = {name: found + of_other[name] for name, found in self.found.items() if name != "y"}
        allowed = {name: 20 * largest(blur) for name, blur in self.blur.items()}
        for a in -1e9 / 3, 1e-9 / 3:
            when = f"when dy is {a:.3g} times as large (divided by that)"
            got = self.results(self.x, np.asarray(a * self.dy + a * other), when)
            got = {name: gradient / a for name, gradient in got.items()}
            why = CLIPPED if self.difference(got, expected, 1e-5) else ROUNDED
            self.compare(got, expected, when, why, 1e-12, allowed)

    # -- other batches ----------------------------------------------------------------------------------------

    def check_other_batches(self):
        """Other batches first, then x; another batch in between, by another layer; and x with more images.

        What backward needs may be kept by x and dy, all of them, and by nothing less: not by their shape, one of its
        sizes, their first row or column, their sum, or by where they lie in memory.
        """
        x, dy = self.x, self.dy
        elsewhere = self.mixed(x) * self.rng.uniform(0.98, 1, x.shape)  # what x holds, in other places
        elsewhere = elsewhere.astype(np.float32).astype(float)
        self.check_after(elsewhere, self.mixed(dy), in_place=True)
        for batch, other in (self.mixed(x, 0), self.mixed(dy, 0)), (self.mixed(x, 1), dy), (x, self.mixed(dy)):
            self.check_after(batch, other)
        if self.has_modes and not self.layer.training:
            self.check_after(elsewhere, other_mode=True)
        if self.after(elsewhere):
            when = "when another layer of its class runs in between"
            self.check_same(when, ON_THE_CLASS, between=lambda layer: self.copy().forward(elsewhere))
        if self.is_loss:
            return
        for axis in range(x.ndim):
            self.check_after(np.concatenate([x[::-1], x], axis))
        more = np.concatenate([x, elsewhere]) if x.ndim > 1 else None
        if more is not None and self.after(more):
            check = Check(self.layer, more, self.rng, f"{self.title}, N = {len(more)} in place of {len(x)}")
            check.first_run()
            check.check_derivatives(check.layer, check.found, hint=f" {OF_X_ALONE}")

    def mixed(self, array, kept=None):
        """The same numbers in other places, but for the first along the axis that is kept, and the very last."""
        free = np.ones(array.shape, bool)
        if kept is not None and array.ndim:
            free.swapaxes(0, min(kept, array.ndim - 1))[0] = False
            free.flat[1:-1] |= not np.any(free.flat[:-1])
            free.flat[-1] = False
        mixed = array.copy()
        mixed[free] = self.rng.permuted(array[free])
        if np.array_equal(mixed, array):
            mixed[free] *= 0.75
        return mixed

    def check_after(self, batch, dy=None, in_place=False, other_mode=False):
        """The same y and gradients of x after the batch as without; where y is another, those of its own."""
        same_size = batch.shape == self.x.shape
        size = "in the other mode" if other_mode else "of the same size" if same_size else "of another size"
        when, used = f"after a batch {size}", self.after(batch, dy, in_place, other_mode)
        if used is None:
            return
        layer, x, dy_of_x, watches = used
        got = self.results(x, dy_of_x, when, layer)
        for written in watches:
            self.check_unchanged(written(), "the layer")
        if not self.difference(self.found, {"y": got["y"]}):
            self.compare(got, self.found, when, KEPT)
            return
        if not other_mode and (same_size or not self.is_random):
            # a new mask, another count: the same as after x itself
            layer, *_ = self.after(self.x, self.dy, in_place) or [None]
            expected = self.results(self.x, self.dy, when, layer)
            y = {"y": expected["y"]}  # another one after x itself, too: the layer has a state, as an RNN has
            if self.layer.generators() or not (self.difference(self.found, y) and self.difference(got, y)):
                self.compare(got, expected, when, KEPT)
        layer, *_ = self.after(batch, dy, in_place, other_mode)
        self.check_derivatives(layer, got, when=when)

    @functools.cached_property
    def is_random(self):
        """Whether y of x changes by itself: the layer draws for every batch, perhaps in another process."""
        layer = self.copy()
        return any(not np.array_equal(layer.forward(self.x.copy()), self.found["y"]) for _ in range(20))

    def after(self, batch, dy=None, in_place=False, other_mode=False):
        """Run a batch, with other parameters. Return the layer, the x and dy to come, and watches on its y and dx.

        ``in_place`` runs it twice, and writes x and dy into its arrays, as an optimizer does with the parameters.
        None where the layer does not take such a batch. Its backward need not be right there, nor written.
        """
        layer, x, dy, returned = self.copy(), batch.copy(), None if dy is None else dy.copy(), []
        layer.train(layer.training != other_mode)
        data = [(p.data, p.data.copy()) for p in layer.parameters()]
        for now, _ in data:
            now.reshape(-1)[now.size > 1 :] *= 0.98
        try:
            for _ in range(1 + in_place):
                y, dx = layer.forward(x), None
                if not np.all(np.isfinite(y)):
                    return None
                with suppress(Exception):
                    dx = layer.backward(np.cos(y) if dy is None else dy)
                returned.append({"the y of an earlier forward": y, "the dx of an earlier backward": dx})
            if other_mode or batch.shape != self.x.shape:
                layer.forward(x)  # and no backward
        except Exception:
            return None
        for now, before in data:
            now[...] = before
        layer.zero_grad().train(self.layer.training)
        if in_place:
            x[...], dy[...] = self.x, self.dy
        else:
            x, dy = self.x, self.dy
        return layer, x, dy, [watch(arrays) for arrays in returned]


def largest(array):
    return np.max(np.abs(array), initial=0)


def size(array):
    return (np.sqrt(np.mean(array**2)) if array.size else 0) or 1
