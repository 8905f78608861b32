"""What a layer carries from one run to the next: state that is right, and leftovers that are not."""

import random

import numpy as np
import pytest

from minires.gradcheck import GradientError, check_layer
from minires.layer import Buffer, Layer, Parameter
from minires.layers import Linear


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape)


class Carries(Layer):
    """h = tanh(x + U h of the batch before), a state in a plain array; ``kept_by`` keeps h for backward."""

    def __init__(self, kept_by=None, dU=1):
        self.U, self.h = Parameter(normal(4, 4).astype(np.float32)), np.zeros((1, 4))
        self.kept_by, self.kept, self.dU = kept_by, {}, dU

    def forward(self, x):
        before = self.h.astype(x.dtype) if len(self.h) == len(x) else np.zeros_like(x)
        self.h = np.tanh(x + before @ self.U.data.astype(x.dtype))
        h = self.h
        if self.kept_by:
            h = self.kept.setdefault((self.kept_by(x), x.dtype), h)
        return self._remember(self.h.copy(), before, h)

    def backward(self, dy):
        before, h = self._recall(dy)
        da = dy * (1 - h**2)
        self.U.grad += self.dU * before.T @ da
        return da


class Centres(Layer):
    """y = x minus a moving average, in a plain array, of the means of all batches."""

    def __init__(self, through_mean=0.5):
        self.mean, self.through_mean = np.zeros(3), through_mean

    def forward(self, x):
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * x.mean(axis=0)
        return self._remember(x - self.mean.astype(x.dtype), self.training)

    def backward(self, dy):
        (training,) = self._recall(dy)
        return dy - self.through_mean * dy.mean(axis=0) if training else dy


def test_a_layer_may_have_a_state_in_plain_arrays():
    check_layer(Carries(), normal(3, 4))
    check_layer(Centres(), normal(4, 3))


@pytest.mark.parametrize("layer", [Carries(np.shape), Carries(lambda x: x[0].tobytes()), Carries(dU=2)])
def test_a_layer_with_a_state_is_still_held_to_its_own_slopes(layer):
    with pytest.raises(GradientError, match="is wrong"):
        check_layer(layer, normal(3, 4))


def test_a_state_does_not_excuse_a_forgotten_path():
    with pytest.raises(GradientError, match="dx is wrong"):
        check_layer(Centres(through_mean=0), normal(4, 3))


class Drops(Layer):
    """A dropout that draws from the generators all share, NumPy's or Python's."""

    def __init__(self, draw, backward_keeps=True):
        self.draw, self.backward_keeps = draw, backward_keeps

    def forward(self, x):
        mask = np.array([self.draw() < 0.5 for _ in range(x.size)]).reshape(x.shape)
        return self._remember(x * mask, mask)

    def backward(self, dy):
        (mask,) = self._recall(dy)
        return dy * (mask if self.backward_keeps else 1)


@pytest.mark.parametrize("draw", [np.random.rand, random.random])
def test_a_layer_may_draw_from_the_generators_that_all_share_and_they_stay_as_they_were(draw):
    np.random.seed(0), random.seed(0)
    expected = draw()
    np.random.seed(0), random.seed(0)
    check_layer(Drops(draw), normal(3, 4))
    with pytest.raises(GradientError, match="dx is wrong"):
        check_layer(Drops(draw, backward_keeps=False), normal(3, 4))
    assert draw() == expected


def test_noise_that_cannot_be_drawn_again_is_called_that():
    class Unseeded(Drops):
        def __init__(self):
            super().__init__(lambda: np.random.default_rng().random())

    with pytest.raises(GradientError, match="once more from the same state.*Does it draw from a generator of its own"):
        check_layer(Unseeded(), normal(3, 4))


class Masked(Layer):
    """y = x where a mask of 0 and 1, a Buffer, is not 0."""

    def __init__(self):
        self.mask = Buffer(np.tril(np.ones((4, 4), np.float32)))

    def forward(self, x):
        return self._remember(np.where(self.mask.data == 0, 0, x).astype(x.dtype))

    def backward(self, dy):
        self._recall(dy)
        return dy * self.mask.data.astype(dy.dtype)


def test_a_mask_in_a_buffer_stays_what_it_is():
    check_layer(Masked(), normal(4, 4))


class Leaves(Layer):
    """y = x**2, with one leftover."""

    def __init__(self, leftover):
        self.leftover, self.count, self.xs, self.mask, self.arrays = leftover, 0, [], None, {}

    def one_of_two(self, values):
        self.count += 1
        array = self.arrays.setdefault((self.count % 2, values.shape, values.dtype), np.empty_like(values))
        array[...] = values
        return array

    def forward(self, x):
        self.xs = [*self.xs, x] if self.leftover == "the oldest x" else [x]
        self.mask, self.trained = np.full_like(x, 0.5) if self.training else self.mask, self.training
        by = {"indices by N": len(x), "indices by H": x.shape[1], "indices by W": x.shape[2]}
        key = ("order", by.get(self.leftover, x.shape), x.dtype)
        self.order = self.arrays.setdefault(key, np.arange(x.size)[::-1])
        y = x**2
        return self.one_of_two(y) if self.leftover == "two y in turn" else y

    def backward(self, dy):
        dx = 2 * self.xs.pop(0) * dy
        if self.leftover == "a factor of training's backward" and not self.trained:
            dx = dx * self.arrays.get("factor", 1)
        self.arrays["factor"] = 2 if self.trained else 1
        if self.leftover.startswith("indices"):
            dx = dx.reshape(-1)[self.order][::-1].reshape(dy.shape)
        if self.leftover == "the mask of training" and self.mask is not None and self.mask.shape == dx.shape:
            dx = dx if self.trained else dx * self.mask
        if self.leftover == "order of memory":
            into = np.empty_like(dy)
            into.reshape(-1)[:] = dx.reshape(-1)
            return into
        return self.one_of_two(dx) if self.leftover == "two dx in turn" else dx


@pytest.mark.parametrize(
    "leftover, message",
    [
        ("two y in turn", "the layer writes into the y of an earlier forward"),
        ("two dx in turn", "the layer writes into the dx of an earlier backward"),
        ("the oldest x", "after a batch of another size"),
        ("indices by N", "after a batch of another size"),
        ("indices by H", "after a batch of another size"),
        ("indices by W", "after a batch of another size"),
        ("a factor of training's backward", "eval mode: dx differs after a batch in the other mode"),
        ("the mask of training", "eval mode: dx differs after a batch in the other mode"),
        ("order of memory", "dx .*when x and dy are in Fortran's order"),
    ],
)
def test_leftovers_are_found(leftover, message):
    check_layer(Leaves("nothing"), normal(3, 4, 2))
    with pytest.raises(GradientError, match=message):
        check_layer(Leaves(leftover), normal(3, 4, 2))


class KeepsElsewhere(Layer):
    """y = tanh(x), which keeps x in an object that all layers of the class share, by a key."""

    xs = {}

    def __init__(self, key):
        self.key = key

    def forward(self, x):
        self.xs[self.key(self)] = x
        return np.tanh(x)

    def backward(self, dy):
        return dy * (1 - np.tanh(self.xs[self.key(self)]) ** 2)


def test_what_is_kept_for_all_layers_of_a_class_is_found():
    check_layer(KeepsElsewhere(id), normal(3, 4))
    message = "dx differs when another layer of its class runs in between.*kept on the class, or in a global variable"
    with pytest.raises(GradientError, match=message):
        check_layer(KeepsElsewhere(type), normal(3, 4))


class Shifts(Layer):
    """y = x - mean of x over the batch + b, with the number of rows and db as given."""

    def __init__(self, rows=len, db=lambda dy: dy.sum(axis=0)):
        self.b, self.rows, self.db = Parameter(np.ones(3, np.float32)), rows, db

    def forward(self, x):
        return self._remember(x - x.mean(axis=0) + self.b.data.astype(x.dtype))

    def backward(self, dy):
        self._recall(dy)
        self.b.grad += self.db(dy)
        return dy - dy.sum(axis=0) / self.rows(dy)


@pytest.mark.parametrize(
    "layer, rows, tensor", [(Shifts(rows=lambda dy: 4), 4, "dx"), (Shifts(db=lambda dy: dy[0]), 1, "b.grad")]
)
def test_a_backward_for_the_number_of_rows_of_x_alone_is_found(layer, rows, tensor):
    check_layer(Shifts(), normal(rows, 3))
    message = rf"N = {2 * rows} in place of {rows}: {tensor} is wrong along . of 3 dir.*Right for this x alone"
    with pytest.raises(GradientError, match=message):
        check_layer(layer, normal(rows, 3))


class OverTime(Layer):
    """y = the sum over time of x U, whose dU is added up step by step."""

    def __init__(self, adds):
        self.U, self.adds = Parameter(normal(4, 2).astype(np.float32)), adds

    def forward(self, x):
        return self._remember(x.sum(axis=1) @ self.U.data.astype(x.dtype), x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        for t in range(x.shape[1]):
            self.U.grad = self.U.grad * (self.adds or t == 7) + x[:, t].T @ dy
        return np.repeat((dy @ self.U.data.astype(dy.dtype).T)[:, None], x.shape[1], axis=1)


def test_a_gradient_overwritten_in_a_loop_is_called_that_before_its_numbers_are_called_wrong():
    check_layer(OverTime(adds=True), normal(3, 5, 4))
    with pytest.raises(GradientError, match=r"U\.grad is not added to the gradient already there: use \+="):
        check_layer(OverTime(adds=False), normal(3, 5, 4))


class HalfOfEach(Layer):
    """Means of two neighbours; backward knows an even number only."""

    def forward(self, x):
        even = x[:, : x.shape[1] // 2 * 2]
        return self._remember((even[:, ::2] + even[:, 1::2]) / 2)

    def backward(self, dy):
        self._recall(dy)
        return dy.repeat(2, axis=1) / 2


def test_a_backward_need_not_be_right_for_sizes_that_are_not_asked_for():
    check_layer(HalfOfEach(), normal(3, 4))


class Pixels(Layer):
    def forward(self, x):
        if x.min() < 0:
            raise ValueError("pixels below 0")
        return self._remember(x / 255)

    def backward(self, dy):
        self._recall(dy)
        return dy / 255


@pytest.mark.parametrize("seed", range(5))
def test_a_layer_that_leaves_out_what_takes_one_size_only_is_not_asked_for_others(seed):
    class LeavesOut(Layer):
        def __init__(self):
            self.rng, self.inner = np.random.default_rng(seed), Linear(4, 4, rng=0)

        def forward(self, x):
            runs = bool(self.rng.integers(2))
            return self._remember(x + self.inner.forward(x) if runs else x, runs)

        def backward(self, dy):
            (runs,) = self._recall(dy)
            return dy + self.inner.backward(dy) if runs else dy

    check_layer(LeavesOut(), normal(3, 4))


def test_an_x_at_the_edge_of_what_the_layer_takes_is_named():
    check_layer(Pixels(), np.array([[1.0, 255.0]]))
    with pytest.raises(GradientError, match="forward raised ValueError where dx was measured: pixels below 0. Choose"):
        check_layer(Pixels(), np.array([[0.0, 255.0]]))


class Affine(Layer):
    """y = a x, with dx and da as given."""

    def __init__(self, dx, da=lambda a: a):
        self.a, self.dx, self.da = Parameter(np.ones(3, np.float32)), dx, da

    def forward(self, x):
        return self._remember(self.a.data.astype(x.dtype) * x, x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        self.a.grad += self.da(np.sum(dy * x, axis=0))
        return self.dx(self.a.data.astype(dy.dtype) * dy)


@pytest.mark.parametrize(
    "layer, message",
    [
        (Affine(lambda dx: dx * np.array([1, 1, 1.5])), "ratio 1.50, the same factor everywhere"),
        (Affine(lambda dx: dx, lambda da: da * np.array([1, 1, 1.5])), r"at 1 of 3 .* ratio 1.50\.( Look|$)"),
        (Affine(lambda dx: dx * np.array([1, 1, -662])), r"ratio -662: a factor 662 too many\?"),
        (Affine(lambda dx: dx, lambda da: da + 1e-4 * np.arange(1, 4)), r"ratio \d.\d+\.( Look|$)"),
        (Affine(lambda dx: 1e-17 * dx), "0: it stayed zero"),
        (Affine(lambda dx: dx, lambda da: 2 * da), r"a factor 2 too many\?( Look|$)"),
        (Affine(lambda dx: dx, lambda da: 5 * da), r"a factor 5 too many\? N = 5\."),
        (Affine(lambda dx: dx, lambda da: da * np.array([1, 5, 5])), r"a factor 5 too many\?( Look|$)"),
        (Affine(lambda dx: dx * 1.00003), r"ratio 1\.00003\d*, the same factor everywhere"),
        (Affine(lambda dx: dx + 1e-5 * np.arange(15).reshape(5, 3)), r"ratio \d\.\d+\.( Look|$)"),
        (Affine(lambda dx: dx - (np.arange(3) > 1)), r"ratio -?\d+\.\d+\.( Look|$)"),
    ],
)
def test_the_guess_says_no_more_than_the_wrong_entries_show(layer, message):
    with pytest.raises(GradientError, match=message):
        check_layer(layer, normal(5, 3), modes="train")
