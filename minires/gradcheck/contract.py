"""All that a layer promises, tried on copies of it: what crosses its boundary, and what one run leaves to the next."""

import copy

import numpy as np

from minires.gradcheck.guess import at_index
from minires.gradcheck.slopes import Slopes, Tensor
from minires.gradcheck.subjects import Adopted, GradientError, Watched, plain, short, strided_and_read_only
from minires.layer import Buffer, Kept

EPS32 = np.finfo(np.float32).eps
FROZEN = "What crosses a layer boundary is frozen: make a new array."


class Check:
    """One layer in one mode, at one x, with one random dy."""

    def __init__(self, layer, x, rng, title, x_name="x"):
        self.layer, self.rng, self.title, self.x_name, self.dx_name = layer, rng, title, x_name, f"d{x_name}"
        self.x = short(np.array(x, np.float64, order="C"))

    def run(self, comparisons, is_loss=False):
        """Check everything, first what explains most; return the rows of the report."""
        layer = copy.deepcopy(self.layer)
        self.move_off_whole_numbers()
        self.y, self.dy, dx = self.forward_and_backward(layer, self.x)
        self.gradients = self.by_name(dx, layer)
        self.check_digits()
        self.check_same_again("when run once more from the same state", self.layer, self.x, self.dy)
        self.blur = self.rounding_of_gradients()
        rows = self.check_derivatives(self.layer, self.gradients, comparisons)
        self.check_caches_were_taken(layer)
        self.check_gradients_are_added()
        strided = [strided_and_read_only(array) for array in (self.x, self.dy)]
        self.check_same_again("when x and dy are strided and read-only", self.layer, *strided)
        self.check_float32()
        if not is_loss:
            self.check_linear_in_dy()
            if not isinstance(self.layer, Adopted):  # other objects know no train() and eval()
                self.check_mode_is_remembered()
            other = self.rng.permuted(self.x) * self.rng.uniform(0.98, 1, self.x.shape)  # what x holds, elsewhere
            self.check_after_another_batch("of the same size", other.astype(np.float32).astype(float))
            if self.x.ndim:
                larger = np.concatenate([self.x[::-1], self.x[:1]])
                self.check_after_another_batch("of another size", larger)
        return rows

    def error(self, message):
        return GradientError(f"{self.title}: {message}")

    def by_name(self, dx, layer):
        return {self.dx_name: dx, **{f"{name}.grad": p.grad.copy() for name, p in layer.named_parameters()}}

    def move_off_whole_numbers(self):
        """Whole numbers taken as indices jump at every x: check between them, where forward is the same."""
        if np.array_equal(self.x, np.rint(self.x)):
            try:
                here, between = (copy.deepcopy(self.layer).forward(x) for x in (self.x.copy(), self.x + 0.25))
                if np.any(here) and np.array_equal(here, between):
                    self.x = self.x + 0.25
            except Exception:  # it is the first run that reports it
                return

    # -- what crosses the boundary ----------------------------------------------------------------------------

    def forward_and_backward(self, layer, x, dy=None, when="", between=lambda: None):
        """Run both once, watching all that crosses the boundary; return y, dy, dx."""
        parameters = dict(layer.named_parameters())
        buffers = {f"the buffer {name}": buffer for name, buffer in layer._named(Buffer)}
        watched = Watched({self.x_name: x, **{f"{name}.data": p.data for name, p in parameters.items()}})
        if not layer.training:
            watched.add({f"{name} in evaluation": b.data for name, b in buffers.items()})
        y = self.call("forward", layer.forward, x, when)
        self.check_result("forward", "y", y, None, x.dtype, when)
        self.check_unchanged(watched, "forward")
        dy = np.asarray(self.rng.normal(size=y.shape)) if dy is None else dy
        watched = Watched({self.x_name: x, "the y that forward had returned": y, "dy": dy})
        watched.add({f"{name}.data": p.data for name, p in parameters.items()})
        watched.add({name: buffer.data for name, buffer in buffers.items()})
        between()
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
            hint = " Of one number make an array: np.sum(x, keepdims=True)." if isinstance(array, np.number) else hint
            raise self.error(f"{who} gave {type(array).__name__} as {name}{when}, expected an array.{hint}")
        if type(plain(array)) is not type(array):
            raise self.error(f"{who} gave a np.matrix as {name}{when}, whose * is another product. Use np.asarray.")
        if shape is not None and array.shape != shape:
            raise self.error(f"{name} has shape {array.shape}{when}, expected {shape}.")
        if array.dtype != dtype:
            raise self.error(f"{name} is {array.dtype}{when}, expected {dtype}: a layer computes in the dtype of x.")
        if not np.all(np.isfinite(array)):
            raise self.error(f"{name} is not finite{when}. If the layer bears only its own parameters: jitter=False.")

    def check_unchanged(self, watched, who):
        if changed := watched.changed():
            raise self.error(f"{who} writes into {changed}. {FROZEN}")

    def check_digits(self):
        """A gradient is linear in dy, which has the digits of float64. (One that cancels to almost 0 has few.)"""
        largest = self.largest(self.gradients)
        for name, gradient in self.gradients.items():
            if self.largest({name: gradient}) > 1e-6 * largest and np.array_equal(
                gradient, gradient.astype(np.float32)
            ):
                raise self.error(f"{name} is float64, but has the digits of float32 only. Is it rounded on the way?")

    # -- what one run leaves to the next ----------------------------------------------------------------------

    def check_same_again(self, when, layer, x, dy):
        layer = copy.deepcopy(layer)
        y, _, dx = self.forward_and_backward(layer, x, dy, when)
        self.check_same({"y": y, **self.by_name(dx, layer)}, {"y": self.y, **self.gradients}, when)

    @staticmethod
    def largest(arrays):
        return max(np.max(np.abs(array), initial=0) for array in arrays.values())

    def check_same(self, got, expected, when, tolerance=1e-9):
        if difference := self.difference(got, expected, tolerance):
            name, at = difference
            raise self.error(
                f"{name} differs {when}: {got[name][at]:.6g} at {at_index(at)}, before {expected[name][at]:.6g}."
            )

    def difference(self, got, expected, tolerance=1e-9, allowed=None):
        """Return (name, index) of the first array that differs, or None."""
        floor = self.largest(self.gradients) / 100
        for name, before in expected.items():
            error = np.abs(got[name] - before)
            most = tolerance * (np.max(np.abs(before), initial=0) + floor) + (allowed or {}).get(name, 0)
            if np.max(error, initial=0) > most:
                return name, np.unravel_index(np.argmax(error), error.shape)
        return None

    def check_float32(self):
        """The same numbers in float32 within a thousandth, and what float32 cannot tell.

        Where the two precisions fall on two sides of a kink they differ, and rightly: once more, then, at another x.
        """
        when, found = "when x is float32", None
        for x in (self.x, self.x * (1 + 0.01 * self.rng.normal(size=self.x.shape))):
            x = x.astype(np.float32).astype(float)
            layers = [copy.deepcopy(self.layer) for _ in range(3)]
            layers[1].astype(np.float32)
            nearby = x * (1 + 2 * EPS32 * self.rng.choice([-1.0, 1.0], x.shape))
            points = (x, self.dy), (x.astype(np.float32), self.dy.astype(np.float32)), (nearby, self.dy)
            results = []
            for layer, (at, dy) in zip(layers, points):
                y, _, dx = self.forward_and_backward(layer, at, dy, when if at.dtype == np.float32 else "at another x")
                results.append({"y": y, **self.by_name(dx, layer)})
            expected, got, moved = results
            if y.shape != self.y.shape:
                return
            sizes = {"y": np.linalg.norm(self.dy), self.dx_name: self.size(x)}
            sizes |= {f"{name}.grad": self.size(p.data) for name, p in self.layer.named_parameters()}
            allowed = {
                name: 64 * EPS32 * np.linalg.norm(expected["y"] * self.dy) / sizes[name]
                + 16 * np.max(np.abs(moved[name] - expected[name]), initial=0)
                + 1e-30  # float32 ends at 1e-38
                for name in expected
            }
            difference = self.difference(got, expected, 1e-3, allowed)
            if difference is None:
                return
            found = found or (*difference, got, expected)
        name, at, got, expected = found
        raise self.error(
            f"{name} differs {when}: {got[name][at]:.6g} at {at_index(at)}, before {expected[name][at]:.6g}."
        )

    @staticmethod
    def size(array):
        return (np.sqrt(np.mean(array**2)) if array.size else 0) or 1

    def check_linear_in_dy(self):
        """backward(a dy + b) = a backward(dy) + backward(b), for a of every size: dL/dx is linear in dL/dy."""
        other = self.rng.normal(size=self.dy.shape)
        of_other = self.gradients_for(other)
        for a in (3.0, -1e6 / 3, 1e-6 / 3):
            got = self.gradients_for(np.asarray(a * self.dy + a * other))
            expected = {name: gradient + of_other[name] for name, gradient in self.gradients.items()}
            got = {name: gradient / a for name, gradient in got.items()}
            allowed = {name: 20 * np.max(blur, initial=0) for name, blur in self.blur.items()}
            if difference := self.difference(got, expected, 1e-12, allowed):
                name, at = difference
                why = "Is it clipped, or does dy pass through something that is not a product?"
                if self.difference(got, expected, 1e-5) is None:
                    why = "The digits of float32 only: is something rounded to it, or summed in it?"
                raise self.error(
                    f"backward is not linear in dy: {name} of {a:.3g} * dy is not {a:.3g} times {name} of dy, but "
                    f"{got[name][at]:.10g} at {at_index(at)}, where {expected[name][at]:.10g} is expected. {why}"
                )

    def gradients_for(self, dy, x=None, when="with another dy"):
        layer = copy.deepcopy(self.layer)
        _, _, dx = self.forward_and_backward(layer, self.x if x is None else x, dy, when)
        return self.by_name(dx, layer)

    def rounding_of_gradients(self):
        """How far the gradients' last digits move when x is scaled by 1 + a few eps: what is equal stays equal."""
        nearby = self.x * (1 + 2.0**-49)
        if self.y.shape != copy.deepcopy(self.layer).forward(nearby.copy()).shape:
            return {name: np.zeros_like(gradient) for name, gradient in self.gradients.items()}
        moved = self.gradients_for(self.dy, nearby, "when x is scaled by 1 + 2**-49")
        return {name: np.abs(moved[name] - gradient) for name, gradient in self.gradients.items()}

    def check_mode_is_remembered(self):
        """backward belongs to the forward before it, whatever train() and eval() have done in between."""
        layer = copy.deepcopy(self.layer)
        when = "when the mode is changed between forward and backward"
        _, _, dx = self.forward_and_backward(
            layer, self.x, self.dy, when, between=lambda: layer.train(not layer.training)
        )
        if difference := self.difference(self.by_name(dx, layer), self.gradients):
            raise self.error(
                f"{difference[0]} differs {when}. Does backward read self.training? Keep it in forward: "
                "self._remember(y, ..., self.training)."
            )

    def check_caches_were_taken(self, layer):
        for path, inner in layer.named_layers():
            if isinstance(inner._cache, Kept):
                raise self.error(f"backward left the cache of {path or 'the layer'}. Take it: (x,) = self._recall(dy).")

    def check_gradients_are_added(self):
        layer = copy.deepcopy(self.layer)
        old = {}
        for name, p in layer.named_parameters():
            old[f"{name}.grad"] = np.asarray(self.rng.normal(size=p.grad.shape)) * (
                np.max(np.abs(self.gradients[f"{name}.grad"]), initial=0) or 1
            )
            p.grad[...] = old[f"{name}.grad"]
        self.forward_and_backward(layer, self.x, self.dy)
        for name, p in layer.named_parameters():
            expected = old[f"{name}.grad"] + self.gradients[f"{name}.grad"]
            if not np.allclose(p.grad, expected, rtol=1e-9, atol=1e-9 * np.max(np.abs(expected), initial=0)):
                raise self.error(f"{name}.grad is not added to the gradient already there: use +=.")

    def check_after_another_batch(self, size, batch):
        """Another batch first, then x: no shape and no array may be left over from it."""
        when = f"after a batch {size}"
        layer = copy.deepcopy(self.layer)
        y, _, dx = self.forward_and_backward(layer, batch, when=f"for another batch {size}")
        watched = Watched({"the y of an earlier forward": y, "the dx of an earlier backward": dx})
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
        slopes = Slopes(layer, self.x, self.dy)
        arrays = [self.x, *(parameter.data for parameter in layer.parameters())]
        named = [(*pair, array) for pair, array in zip(gradients.items(), arrays) if array.size]
        while True:
            tensors = [Tensor(*each, slopes, self.blur[each[0]]) for each in named]
            for tensor in tensors:
                tensor.measure(max(8, comparisons // len(tensors)) if comparisons else 0, self.rng)
            if slopes.still_the_same():
                break
        largest = max(tensor.sensitivity() for tensor in tensors)
        complaints = [complaint for tensor in tensors if (complaint := tensor.complaint(largest))]
        if len(complaints) > 5:  # a mistake spoils every gradient below it: the last one is nearest to it
            complaints[2:-3] = [f"... and {len(complaints) - 5} more; the last one is nearest to the mistake:"]
        if complaints:
            raise self.error("\n  ".join(complaints) + when)
        return [tensor.row() for tensor in tensors]
