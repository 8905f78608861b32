"""Where a checker of derivatives goes wrong: rounding, kinks, ties, and what one run leaves to the next.

A right derivative is never called wrong. A wrong one never passes. Where x does not tell, that is the answer.
"""

import numpy as np
import pytest

from minires.gradcheck import GradientError, check_layer, check_loss
from minires.layer import Buffer, Layer, Parameter
from minires.layers import BatchNorm2d, Conv2d, Flatten, GlobalAvgPool2d, Linear, ReLU, Scale, Sequential, Sigmoid
from minires.losses import mean_squared_error, softmax_cross_entropy


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


class Function(Layer):
    """y = f(x), dx = df(x, dy)."""

    def __init__(self, f, df):
        self.f, self.df = f, df

    def forward(self, x):
        return self._remember(self.f(x), x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        return self.df(x, dy).astype(dy.dtype)


def plus(c, factor=1):
    return Function(lambda x: x + c, lambda x, dy: factor * dy)


def sigmoid(factor=1):
    return Function(lambda x: 1 / (1 + np.exp(-x)), lambda x, dy: factor * dy * np.exp(-x) / (1 + np.exp(-x)) ** 2)


def power(n, factor=1):
    return Function(lambda x: x**n, lambda x, dy: factor * n * x ** (n - 1) * dy)


def sort_backward(x, dy):
    dx = np.zeros_like(dy)
    np.put_along_axis(dx, np.argsort(x, axis=1, kind="stable"), dy, axis=1)
    return dx


SORT = Function(lambda x: np.sort(x, axis=1), sort_backward)
ABS = Function(np.abs, lambda x, dy: dy * np.sign(x))


def largest(share):
    """The largest of each row; ``share(ties, how many)`` says how dy is shared among equal ones."""

    def backward(x, dy):
        ties = x == x.max(axis=1, keepdims=True)
        return dy * share(ties, ties.sum(axis=1, keepdims=True))

    return Function(lambda x: x.max(axis=1, keepdims=True), backward)


def bytes_of(array):
    return array.tobytes()


def first(ties, count):
    return ties & (np.cumsum(ties, axis=1) == 1)


TIES = np.round(normal(9, 9))
A_FEW_ZEROS = np.where(normal(4, 8) > 1, 0, normal(4, 8))
SPOTTED = normal(3, 8)
SPOTTED[0, :3] = SPOTTED[0, 0]


def softmax(x):
    y = np.exp(x - x.max(axis=1, keepdims=True))
    return y / y.sum(axis=1, keepdims=True)


def softmax_backward(x, dy):
    y = softmax(x)
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


def gelu(x):
    return x * (1 + np.tanh(0.8 * x)) / 2


def gelu_backward(x, dy):
    t = np.tanh(0.8 * x)
    return dy * ((1 + t) / 2 + 0.4 * x * (1 - t * t))


RIGHT = {  # name: (layer, x)
    "a softmax, one entry of which stays 1": (Function(softmax, softmax_backward), 8 * normal(3, 5, seed=3)),
    "1 + tanh, few digits of which are left": (Function(gelu, gelu_backward), 5 * normal(4, 5, seed=9)),
    "a bias before batch norm and a mean": (
        Sequential(Conv2d(2, 2, 3, padding=1, rng=0), BatchNorm2d(2), ReLU(), GlobalAvgPool2d(), Linear(2, 3, rng=1)),
        normal(3, 2, 5, 4, seed=3),
    ),
    "x + 1e3": (plus(1e3), normal(3, 4)),
    "x + 1e6": (plus(1e6), normal(3, 4)),
    "x + 1e9": (plus(1e9), normal(3, 4)),
    "x + 1e12": (plus(1e12), normal(3, 4)),
    "1e-20 x": (Scale(1e-20), normal(2, 3)),
    "1e20 x": (Scale(1e20), normal(2, 3)),
    "sigmoid(17)": (Sigmoid(), np.full((2, 3), 17.0)),
    "exp(-60)": (Function(np.exp, lambda x, dy: dy * np.exp(x)), normal(3, 4) - 60),
    "exp(-x**2) far out": (
        Function(lambda x: np.exp(-x * x), lambda x, dy: -2 * x * dy * np.exp(-x * x)),
        np.array([[0.5, -1.0, 12.5], [26.8, 27.1, 40.0]]),
    ),
    "softplus far out": (
        Function(lambda x: np.logaddexp(0, x), lambda x, dy: dy * np.exp(-np.logaddexp(0, -x))),
        np.array([[2.0, -716.0], [-1.0, 30.0]]),
    ),
    "sin(1000)": (Function(np.sin, lambda x, dy: dy * np.cos(x)), normal(3, 4) + 1000),
    "x**5": (power(5), 10 * normal(3, 4)),
    "batch norm far from 0": (BatchNorm2d(3), normal(4, 3, 2, 3) + 1e4),
    "batch norm of small numbers": (BatchNorm2d(3), 1e-3 * normal(4, 3, 2, 3)),
    "a bias before batch norm": (Sequential(Conv2d(2, 3, 3, rng=0), BatchNorm2d(3), ReLU()), normal(2, 2, 6, 5)),
    "pixels of 0 to 255": (
        Sequential(Flatten(), Linear(90, 4, rng=0), Sigmoid()),
        np.random.default_rng(0).integers(0, 256, (2, 3, 6, 5)).astype(float),
    ),
    "sort": (SORT, normal(3, 8)),
    "sort with three equal": (SORT, SPOTTED),
    "sort with ties": (SORT, np.round(normal(4, 8), 1)),
    "abs with zeros": (ABS, A_FEW_ZEROS),
    "a maximum with ties": (largest(first), TIES),
    "a maximum that shares": (largest(lambda ties, count: ties / count), TIES),
    "cumulative sums": (
        Function(lambda x: np.cumsum(x, 1), lambda x, dy: np.cumsum(dy[:, ::-1], 1)[:, ::-1]),
        normal(3, 9),
    ),
    "relu of whole numbers": (ReLU(), np.random.default_rng(0).integers(1, 9, (4, 5)).astype(float)),
    "x itself": (Function(lambda x: x, lambda x, dy: dy), normal(2, 3)),
    "a view of x": (Function(lambda x: x.T, lambda x, dy: dy.T), normal(2, 3)),
    "1 + tanh far to the left beside large numbers": (Function(gelu, gelu_backward), 4 * normal(3, 7)),
    "x - tanh(x) near 0": (Function(lambda x: x - np.tanh(x), lambda x, dy: dy * np.tanh(x) ** 2), 0.01 * normal(2, 3)),
    "an inverse, of square matrices only": (
        Function(np.linalg.inv, lambda x, dy: -np.linalg.inv(x).T @ dy @ np.linalg.inv(x).T),
        normal(3, 3) + 3 * np.eye(3),
    ),
    "a logarithm of differences, of sorted numbers only": (
        Function(lambda x: np.log(np.diff(x)), lambda x, dy: -np.diff(dy / np.diff(x), prepend=0, append=0)),
        np.sort(normal(9)),
    ),
    "rounded x": (Function(np.round, lambda x, dy: 0 * dy), normal(3, 4)),
    "one number": (Function(lambda x: np.array(x.sum()), lambda x, dy: np.full(x.shape, dy)), normal(2, 3)),
    "np.matrix": (ReLU(), np.matrix(normal(2, 3))),
}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_derivative_is_accepted(name):
    check_layer(*RIGHT[name])


CANNOT_TELL = {  # name: (layer, x, message)
    "sigmoid(30)": (Sigmoid(), np.full((2, 3), 30.0), "saturated here, choose another x"),
    "x + 1e15": (plus(1e15), normal(3, 4), "rounding hides a mistake smaller than .* y of 1.0e\\+15"),
    "x + 1e9 - 1e9": (Function(lambda x: (x + 1e9) - 1e9, lambda x, dy: dy), normal(3, 4), "keeps about 7 of the 16"),
    "sort of ties only": (SORT, np.round(normal(4, 8)), "slopes meet a kink .*ties in a sort"),
    "relu at 0": (ReLU(), np.zeros((2, 3)), "slopes meet a kink"),
}


@pytest.mark.parametrize("name", CANNOT_TELL)
def test_where_x_does_not_tell_that_is_the_answer(name):
    layer, x, message = CANNOT_TELL[name]
    with pytest.raises(GradientError, match=message) as caught:
        check_layer(layer, x)
    assert "is wrong" not in str(caught.value)


FLOAT32 = np.float32
WRONG = {  # name: (layer, x, message)
    "only the diagonal of a softmax": (
        Function(softmax, lambda x, dy: dy * softmax(x) * (1 - softmax(x))),
        normal(4, 6),
        "dx is wrong",
    ),
    "x kept in float32": (
        Function(np.exp, lambda x, dy: dy * np.exp(x.astype(FLOAT32)).astype(x.dtype)),
        normal(4, 5),
        "dx is wrong.*ratio (1.000000|0.999999)",
    ),
    "7 dy at 1e9": (plus(1e9, 7), normal(3, 4), "dx is wrong.*ratio 7.00"),
    "1.1 dy at 1e9": (plus(1e9, 1.1), normal(3, 4), "dx is wrong"),
    "1.1 dy at 1e6": (plus(1e6, 1.1), normal(3, 4), "dx is wrong"),
    "7 dy at 1e12": (plus(1e12, 7), normal(3, 4), "dx is wrong.*rounding hides a mistake smaller than"),
    "2 sigmoid'(17)": (sigmoid(2), np.full((2, 3), 17.0), "dx is wrong.*ratio 2.00"),
    "1.01 exp(-60)": (Function(np.exp, lambda x, dy: 1.01 * dy * np.exp(x)), normal(3, 4) - 60, "dx is wrong"),
    "2e-20 for 1e-20": (Function(lambda x: 1e-20 * x, lambda x, dy: 2e-20 * dy), normal(2, 3), "dx is wrong"),
    "sort, not put back": (Function(SORT.f, lambda x, dy: dy), np.round(normal(4, 8), 1), "dx is wrong"),
    "dy for every maximum": (largest(lambda ties, count: ties), TIES, "no single entry.*Are there equal values"),
    "no slope for whole numbers": (Function(ABS.f, lambda x, dy: 0 * dy), np.full((4, 5), 3.0), "dx is wrong"),
    "dy clipped at 0.5": (Function(lambda x: x, lambda x, dy: np.clip(dy, -0.5, 0.5)), normal(3, 4), "dx is wrong"),
    "dy clipped at 5": (Function(lambda x: x, lambda x, dy: np.clip(dy, -5, 5)), normal(3, 4), "linear in dy.*clipped"),
    "dy clipped at 1000": (Function(lambda x: x, lambda x, dy: np.clip(dy, -1e3, 1e3)), normal(3, 4), "linear in dy"),
    "dy clipped at 1e7": (Function(lambda x: x, lambda x, dy: np.clip(dy, -1e7, 1e7)), normal(3, 4), "linear in dy"),
    "small dy dropped": (Function(lambda x: x, lambda x, dy: dy * (abs(dy) > 1e-5)), normal(3, 4), "linear in dy"),
    "a sum in float32, forward": (
        Function(lambda x: x - x.sum(dtype=FLOAT32).astype(x.dtype), lambda x, dy: dy - dy.sum()),
        normal(3, 9),
        "y keeps about [67] of the 16 digits",
    ),
    "a small sum in float32, forward": (
        Function(lambda x: x - 1e-3 * x.mean(dtype=FLOAT32).astype(x.dtype), lambda x, dy: dy - 1e-3 * dy.mean()),
        normal(3, 9),
        "digits of float64, too few to measure slopes",
    ),
    "a small sum in float32, backward": (
        Function(lambda x: x - 1e-3 * x.mean(), lambda x, dy: dy - 1e-3 * dy.mean(dtype=FLOAT32).astype(dy.dtype)),
        normal(3, 9),
        "not linear in dy.*summed in it",
    ),
    "np.matrix": (Function(np.asmatrix, lambda x, dy: dy), normal(2, 3), "forward gave a np.matrix as y"),
}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_derivative_is_rejected(name):
    layer, x, message = WRONG[name]
    with pytest.raises(GradientError, match=message):
        check_layer(layer, x)


@pytest.mark.parametrize("layer", [Scale(0), Sequential(plus(-99), ReLU())])
def test_where_y_does_not_move_a_gradient_of_0_is_accepted_and_the_report_says_so(layer):
    report = str(check_layer(layer, normal(3, 4), modes="train"))
    assert report.endswith("train dx: y does not move with x here, and the gradient is 0: nothing else was checked.")
    with pytest.raises(GradientError, match="dx is wrong.*ratio infinite: the slope is 0"):
        check_layer(Function(lambda x: np.maximum(x - 99, 0), lambda x, dy: dy), normal(3, 4))


class Counts(Layer):
    """y = n x**2 in the n-th forward, so that every slope needs a copy of its own."""

    def __init__(self, after):
        self.count, self.after = 0, after

    def forward(self, x):
        self.count += 1
        n = 1 if self.count < self.after else self.count
        return self._remember(n * x**2, x, n)

    def backward(self, dy):
        x, n = self._recall(dy)
        return 2 * n * x * dy


@pytest.mark.parametrize("after", [1, 30])
def test_a_layer_whose_y_changes_with_every_forward_is_measured_on_copies(after):
    check_layer(Counts(after), normal(3, 4))


def test_the_report_states_the_smallest_mistake_it_would_have_seen():
    seen = [float(check_layer(plus(c), normal(3, 4), modes="train").rows[0][-1]) for c in (1, 1e6, 1e9)]
    assert seen[0] < 1e-7 and seen[0] < seen[2] < 1e-2


# -- what one run leaves to the next --------------------------------------------------------------------------


class Leaves(Layer):
    """y = relu(x)**2, with one thing wrong."""

    def __init__(self, mistake):
        self.mistake, self.count = mistake, Buffer(np.zeros(1, np.float32))
        self.mask = self.kept = self.y = self.dx = np.zeros(0)

    def forward(self, x):
        if self.mistake != "old mask" or self.mask.shape != x.shape:
            self.mask = x > 0
        if self.mistake != "first x" or (self.kept.shape, self.kept.dtype) != (x.shape, x.dtype):
            self.kept = x
        if self.training or self.mistake == "buffer in evaluation":
            self.count.data[...] += 1
        y = np.where(x > 0, x, 0) ** 2
        if self.mistake == "one y":
            y = self.y = self.into(self.y, y)
        factor = 1 if self.training or self.mistake != "mode" else 3
        return self._remember(factor * y if factor > 1 else y)

    def backward(self, dy):
        self._recall(dy)
        if self.mistake == "buffer in backward":
            self.count.data[...] += 1
        dx = 2 * dy * self.kept * self.mask
        if self.mistake == "one dx":
            dx = self.dx = self.into(self.dx, dx)
        return dx if self.training or self.mistake != "mode" else 3 * dx

    def into(self, array, values):
        if (array.shape, array.dtype) != (values.shape, values.dtype):
            return values
        array[...] = values
        return array


@pytest.mark.parametrize(
    "mistake, message",
    [
        ("old mask", "dx differs after a batch of the same size"),
        ("first x", "dx differs after a batch of the same size"),
        ("one y", "the layer writes into the y of an earlier forward"),
        ("one dx", "the layer writes into the dx of an earlier backward"),
        ("buffer in evaluation", "eval mode: forward writes into the buffer count in evaluation"),
        ("buffer in backward", "backward writes into the buffer count"),
        ("mode", "when the mode is changed between forward and backward: .* Does backward read self.training"),
    ],
)
def test_what_one_run_leaves_to_the_next_is_found(mistake, message):
    with pytest.raises(GradientError, match=message):
        check_layer(Leaves(mistake), normal(3, 4))
    check_layer(Leaves(None), normal(3, 4))


class Keeps(Layer):
    """y = relu(x) W, whose mask, W.T or dx is made anew only where its key is another than before."""

    def __init__(self, mask=bytes_of, weight=bytes_of, dx=lambda x, dy: (bytes_of(x), bytes_of(dy))):
        self.keys, self.kept = {"mask": mask, "weight": weight, "dx": dx}, {}
        self.W = Parameter(normal(3, 3))

    def keep(self, name, make, *arrays):
        key = self.keys[name](*arrays), arrays[0].dtype
        if self.kept.get(name, [None])[0] != key:
            self.kept[name] = key, make()
        return self.kept[name][1]

    def forward(self, x):
        mask = self.keep("mask", lambda: x > 0, x)
        return self._remember(x * mask @ self.W.data.astype(x.dtype), x, mask)

    def backward(self, dy):
        x, mask = self._recall(dy)
        self.W.grad += (x * mask).T @ dy
        transposed = self.keep("weight", lambda: self.W.data.T.astype(dy.dtype), self.W.data)
        return self.keep("dx", lambda: dy @ transposed * mask, x, dy).copy()


SHARED_BY_TWO = {
    "id": id,
    "address": lambda array: array.ctypes.data,
    "shape": np.shape,
    "first entry": lambda array: array.flat[0],
    "first and last entry": lambda array: (array.flat[0], array.flat[-1]),
    "first row": lambda array: array[0].tobytes(),
    "first column": lambda array: array[:, 0].tobytes(),
    "largest entry": np.max,
    "sum": lambda array: f"{np.sum(array):.6g}",
}


@pytest.mark.parametrize("key", SHARED_BY_TWO)
def test_what_is_kept_by_less_than_all_of_x_is_found(key):
    with pytest.raises(GradientError, match="(y|dx) differs after a batch of the same size"):
        check_layer(Keeps(mask=SHARED_BY_TWO[key]), normal(5, 3))


@pytest.mark.parametrize("key", ["id", "address", "shape", "first entry"])
def test_what_is_kept_of_a_parameter_is_found_when_an_optimizer_changes_it(key):
    with pytest.raises(GradientError, match="dx differs after a batch of the same size"):
        check_layer(Keeps(weight=SHARED_BY_TWO[key]), normal(5, 3))


@pytest.mark.parametrize(
    "key",
    [lambda x, dy: id(dy), lambda x, dy: dy.flat[0], lambda x, dy: bytes_of(dy), lambda x, dy: bytes_of(x)],
    ids=["id of dy", "first entry of dy", "dy alone", "x alone"],
)
def test_a_dx_kept_by_less_than_x_and_dy_is_found(key):
    with pytest.raises(GradientError, match="dx differs after a batch of the same size"):
        check_layer(Keeps(dx=key), normal(5, 3))


def test_what_is_kept_by_all_of_its_numbers_is_accepted():
    check_layer(Keeps(), normal(5, 3))


class Louder(Layer):
    """y = 1e-12 x, and one per cent more from the second forward on."""

    count = 0

    def forward(self, x):
        self.count += 1
        return self._remember(1e-12 * (1 + 0.01 * (self.count > 1)) * x)

    def backward(self, dy):
        self._recall(dy)
        return 1e-12 * dy


def test_small_y_are_compared_by_their_own_size():
    with pytest.raises(GradientError, match="dx is wrong"):
        check_layer(Louder(), normal(3, 4))


class OwnModes:
    """No Layer, with a mode of its own."""

    def __init__(self, remembers):
        self.remembers, self.is_training = remembers, True

    def train(self):
        self.is_training = True

    def eval(self):
        self.is_training = False

    def forward(self, x):
        self.factor = 1 if self.is_training else 3
        return self.factor * x

    def backward(self, dy):
        return (self.factor if self.remembers else 1 if self.is_training else 3) * dy


def test_an_object_with_train_and_eval_has_to_remember_its_mode():
    check_layer(OwnModes(True), normal(3, 4))
    with pytest.raises(GradientError, match="when the mode is changed between forward and backward"):
        check_layer(OwnModes(False), normal(3, 4))


class KeepsTheGradient:
    """A mean of squares that computes its gradient once for each shape."""

    def __init__(self):
        self.gradients = {}

    def __call__(self, y, t):
        return np.mean((y - t) ** 2), self.gradients.setdefault((y.shape, y.dtype), 2 * (y - t) / y.size)


def test_a_loss_that_keeps_its_first_gradient_is_found():
    with pytest.raises(GradientError, match="differs after a batch of the same size"):
        check_loss(KeepsTheGradient(), normal(3, 4), normal(3, 4, seed=1))


# -- parameters -----------------------------------------------------------------------------------------------


class Powers(Layer):
    """y = p**n x; ``off`` multiplies dp."""

    def __init__(self, p, n=1, off=1.0):
        self.p, self.n, self.off = Parameter(np.asarray(p, np.float32)), n, np.asarray(off)

    def forward(self, x):
        return self._remember(self.p.data.astype(x.dtype) ** self.n * x, x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        p = self.p.data.astype(dy.dtype)
        self.p.grad += (self.off * self.n * p ** (self.n - 1) * np.sum(dy * x, axis=0)).astype(dy.dtype)
        return dy * p**self.n


@pytest.mark.parametrize("n", [1, 2, 3])
def test_parameters_of_1e_minus_6_and_1e6_are_judged_side_by_side(n):
    p = [1e-6, 1e6, 1e-6, 1e6]
    check_layer(Powers(p, n), normal(3, 4))
    for wrong in (0, 1):
        off = np.where(np.arange(4) == wrong, 1.01, 1)
        with pytest.raises(GradientError, match=rf"p.grad is wrong at 1 of 4 entries.* Worst at \[{wrong}\]"):
            check_layer(Powers(p, n, off), normal(3, 4))


class Line(Layer):
    """y = a x + b with a of 1e-6 and b of 1e6."""

    def __init__(self, off=1.0):
        self.a, self.b, self.off = Parameter(np.full(4, 1e-6, np.float32)), Parameter(np.full(4, 1e6, np.float32)), off

    def forward(self, x):
        return self._remember(self.a.data.astype(x.dtype) * x + self.b.data.astype(x.dtype), x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        self.a.grad += self.off * np.sum(dy * x, axis=0)
        self.b.grad += np.sum(dy, axis=0)
        return dy * self.a.data.astype(dy.dtype)


def test_a_small_slope_beside_a_large_offset_is_judged():
    check_layer(Line(), normal(3, 4))
    with pytest.raises(GradientError, match="a.grad is wrong"):
        check_layer(Line(1.1), normal(3, 4))


@pytest.mark.parametrize("at", [0, 777, 5000, 10239])
def test_one_entry_of_10240_wrong_by_a_hundred_thousandth_is_found(at):
    def backward(x, dy):
        dx = 2 * dy * x
        dx.flat[at] *= 1 + 1e-5
        return dx

    where = ", ".join(map(str, np.unravel_index(at, (10, 1024))))
    with pytest.raises(GradientError, match=rf"dx is wrong.*Worst at \[{where}\].*ratio 1.00001"):
        check_layer(Function(np.square, backward), normal(10, 1024))


@pytest.mark.parametrize("seed", range(3))
def test_one_entry_of_an_80x128_parameter_wrong_by_a_hundred_thousandth_is_found(seed):
    at = tuple(np.random.default_rng(seed).integers((80, 128)))

    class SlightlyWrong(Linear):
        def backward(self, dy):
            before = self.weight.grad[at]
            dx = super().backward(dy)
            self.weight.grad[at] += 1e-5 * (self.weight.grad[at] - before)
            return dx

    where = ", ".join(map(str, at))
    with pytest.raises(GradientError, match=rf"weight.grad is wrong at 1 of 10240 .*Worst at \[{where}\].*1.00001"):
        check_layer(SlightlyWrong(128, 80), normal(2, 128), modes="train")


def test_a_slow_forward_and_few_comparisons_are_not_asked_for_every_entry(monkeypatch):
    entries = {"fast": "10240 of 10240", "slow": "250 of 10240"}
    for speed, seconds_of_forward in [("fast", 1e-4), ("slow", 2e-3)]:
        monkeypatch.setattr("timeit.repeat", lambda *_, took=seconds_of_forward, **__: [took])
        report = check_layer(Linear(128, 80, bias=False), normal(2, 128), modes="train")
        assert report.rows[1][3] == entries[speed]
    few = check_layer(Linear(128, 80, bias=False), normal(2, 128), modes="train", comparisons=100)
    assert few.rows[1][3] == "25 of 10240"


def test_a_parameter_of_size_0_is_passed_over():
    layer = Powers(np.ones(4))
    layer.none = Parameter(np.zeros((0, 3), np.float32))
    assert [row[1] for row in check_layer(layer, normal(3, 4), modes="train").rows] == ["dx", "p.grad"]


class Gain(Layer):
    """y = g x with one number g, a Parameter of no axes."""

    def __init__(self, mean=False):
        self.g, self.mean = Parameter(np.float32(0.7)), mean

    def forward(self, x):
        return self._remember(self.g.data.astype(x.dtype) * x, x)

    def backward(self, dy):
        (x,) = self._recall(dy)
        self.g.grad += np.mean(dy * x) if self.mean else np.sum(dy * x)
        return self.g.data.astype(dy.dtype) * dy


def test_a_parameter_of_no_axes_is_judged():
    check_layer(Gain(), normal(3, 4))
    with pytest.raises(GradientError, match="g.grad is wrong at 1 of 1 entries.*a factor 12 too few"):
        check_layer(Gain(mean=True), normal(3, 4))


class Late(Powers):
    """Its second Parameter is made by the first forward."""

    def forward(self, x):
        self.q = self.__dict__.get("q") or Parameter(np.ones(1, np.float32))
        return super().forward(x)


def test_a_parameter_made_in_forward_is_reported():
    with pytest.raises(GradientError, match="forward makes the Parameter q, too late for an optimizer"):
        check_layer(Late(np.ones(4)), normal(3, 4))


class Shared(Powers):
    """A class attribute is not found."""

    factor = Parameter(np.ones(1, np.float32))


def test_a_parameter_that_is_not_found_is_reported():
    with pytest.raises(GradientError, match="neither trained nor checked: Shared.factor, an attribute of the class"):
        check_layer(Shared(np.ones(4)), normal(3, 4))


class Embedding(Layer):
    """Row x of a table; x holds whole numbers, and has no slope."""

    def __init__(self, factor=1):
        self.table, self.factor = Parameter(normal(10, 3).astype(np.float32)), factor

    def forward(self, x):
        index = x.astype(int)
        return self._remember(self.table.data.astype(x.dtype)[index], index)

    def backward(self, dy):
        (index,) = self._recall(dy)
        np.add.at(self.table.grad, index, self.factor * dy)
        return np.zeros(index.shape, dy.dtype)


def test_an_x_of_indices_is_checked_between_whole_numbers():
    x = np.random.default_rng(0).integers(0, 10, (4, 5)).astype(float)
    check_layer(Embedding(), x)
    with pytest.raises(GradientError, match="table.grad is wrong.*ratio 2.00"):
        check_layer(Embedding(2), x)


def enlarge_backward(factor):
    return lambda x, dy: factor * dy.reshape(*x.shape[:2], x.shape[2], 2, x.shape[3], 2).sum(axis=(3, 5))


def test_an_upsampling_that_averages_is_told_from_one_channel_count():
    def twice(x):
        return x.repeat(2, axis=2).repeat(2, axis=3)

    check_layer(Function(twice, enlarge_backward(1)), normal(2, 4, 3, 5))
    with pytest.raises(GradientError, match=r"a factor 4 too few\? y has 4 entries for each of x"):
        check_layer(Function(twice, enlarge_backward(0.25)), normal(2, 4, 3, 5))


# -- losses ---------------------------------------------------------------------------------------------------


def squares(y, t):
    return np.mean(np.square(y - t)), 2 * (y - t) / y.size


def test_a_loss_near_its_minimum_is_judged():
    ones, noise = np.ones((3, 4)), normal(3, 4)
    check_loss(mean_squared_error, ones, ones + 1e-5 * noise)
    with pytest.raises(GradientError, match="ratio 2.00"):
        check_loss(lambda y, t: (squares(y, t)[0], 2 * squares(y, t)[1]), ones, ones + 1e-5 * noise)


def test_a_saturated_loss_asks_for_another_x():
    with pytest.raises(GradientError, match="saturated here, choose another x"):
        check_loss(softmax_cross_entropy, np.array([[50.0, 0, 0], [0, 60.0, 0]]), np.array([0, 1]))


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("kind", [np.asarray, np.matrix])
def test_targets_of_float64_and_matrices_are_accepted(kind):
    check_loss(squares, normal(3, 4), kind(normal(3, 4, seed=1)))


class HiddenDraws(Layer):
    """A dropout whose generator lies where the checker does not see it, as in a process of its own."""

    class Box:
        __slots__ = ("rng",)

    def __init__(self):
        self.box = self.Box()
        self.box.rng = np.random.default_rng(0)

    def forward(self, x):
        mask = self.box.rng.random(x.shape) < 0.5
        return self._remember(x * mask, mask)

    def backward(self, dy):
        (mask,) = self._recall(dy)
        return dy * mask


def test_a_layer_may_draw_from_a_generator_that_is_not_found():
    layer = HiddenDraws()
    assert not layer.generators()
    check_layer(layer, np.random.default_rng(1).normal(size=(3, 4)))
