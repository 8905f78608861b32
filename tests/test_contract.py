"""The contract of layer.py: what is found, what is kept, what is refused."""

import copy
import random
import threading

import numpy as np
import pytest

from minires.layer import Buffer, Layer, Parameter
from minires.layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Identity,
    Linear,
    ReLU,
    Residual,
    Sequential,
    StochasticResidual,
    SubsampleShortcut,
)
from minires.optim import SGD

X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)


def small_net():
    return Sequential(
        conv=Conv2d(3, 4, 3, bias=False, rng=0), norm=BatchNorm2d(4), block=Residual(Conv2d(4, 4, 1, rng=1))
    )


class Tied(Layer):
    """One parameter under two names, and layers in a list."""

    def __init__(self):
        self.weight = Parameter(np.ones(2, np.float32))
        self.alias = self.weight
        self.steps = Buffer(np.zeros(1, np.int64))
        self.branches = [Linear(2, 2, bias=False, rng=0), ReLU()]


def test_parameters_are_found_in_order_and_named_by_dotted_path():
    names = ["conv.weight", "norm.weight", "norm.bias", "block.branch.weight", "block.branch.bias"]
    net = small_net()
    assert [name for name, _ in net.named_parameters()] == names
    assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]
    assert [path for path, _ in net.named_layers()] == ["", "conv", "norm", "block", "block.branch", "block.shortcut"]


def test_lists_of_layers_count_and_a_parameter_counts_once():
    tied = Tied()
    assert [name for name, _ in tied.named_parameters()] == ["weight", "branches.0.weight"]
    assert [path for path, _ in tied.named_layers()] == ["", "branches.0", "branches.1"]


def test_state_dict_holds_copies_of_parameters_and_buffers():
    net = small_net()
    state = net.state_dict()
    assert {"norm.running_mean", "norm.running_var", "conv.weight"} < set(state)
    state["norm.weight"][:] = 9
    assert np.all(net.norm.weight.data == 1)


def test_a_loaded_net_computes_what_the_saved_one_did():
    x = np.random.default_rng(1).normal(size=(2, 3, 5, 5)).astype(np.float32)
    saved = small_net()
    saved.forward(x)  # moves the running statistics
    loaded = Sequential(
        conv=Conv2d(3, 4, 3, bias=False, rng=7), norm=BatchNorm2d(4), block=Residual(Conv2d(4, 4, 1, rng=8))
    )
    assert np.any(loaded.eval().forward(x) != saved.eval().forward(x))
    assert loaded.load_state_dict(saved.state_dict()) is loaded
    np.testing.assert_array_equal(loaded.forward(x), saved.forward(x))


def test_loading_says_what_does_not_fit_and_writes_nothing():
    net = small_net()
    before = net.state_dict()
    for change, error, message in [
        (lambda s: s.pop("conv.weight"), KeyError, "missing conv.weight; unexpected nothing.*same depth"),
        (lambda s: s.update(extra=np.ones(1)), KeyError, "missing nothing; unexpected extra"),
        (lambda s: s.update({"norm.bias": np.ones(3)}), ValueError, r"norm.bias of shape \(4,\), got \(3,\)"),
    ]:
        state = {name: array + 1 for name, array in before.items()}
        change(state)
        with pytest.raises(error, match=message):
            net.load_state_dict(state)
        assert all(np.array_equal(array, before[name]) for name, array in net.state_dict().items())


def test_loading_without_strict_takes_what_fits():
    net = small_net()
    net.load_state_dict({"norm.bias": np.full(4, 5.0), "extra": np.ones(1)}, strict=False)
    assert np.all(net.norm.bias.data == 5) and net.norm.bias.data.dtype == np.float32


def test_train_and_eval_reach_the_whole_tree_and_return_it():
    net = small_net()
    assert net.eval() is net and not any(layer.training for _, layer in net.named_layers())
    assert net.train() is net and all(layer.training for _, layer in net.named_layers())


def test_astype_converts_parameters_gradients_and_buffers_of_floats():
    tied = Tied().astype(np.float64)
    assert (tied.weight.data.dtype, tied.weight.grad.dtype, tied.steps.data.dtype) == (np.float64, np.float64, np.int64)
    assert small_net().astype(np.float64).norm.running_var.data.dtype == np.float64


def test_gradients_accumulate_until_zero_grad():
    linear = Linear(3, 2, rng=0)
    for times in (1, 2, 3):
        linear.forward(X)
        linear.backward(np.ones((2, 2), np.float32))
        np.testing.assert_allclose(linear.bias.grad, [2 * times, 2 * times])
    assert linear.zero_grad() is linear and not np.any(linear.bias.grad) and not np.any(linear.weight.grad)


def test_the_cache_is_taken_exactly_once():
    linear, dy = Linear(3, 2, rng=0), np.ones((2, 2), np.float32)
    with pytest.raises(RuntimeError, match=r"Linear\(3, 2\): backward before forward"):
        linear.backward(dy)
    linear.forward(X)
    linear.backward(dy)
    with pytest.raises(RuntimeError, match="backward twice after one forward"):
        linear.backward(dy)


def test_a_parameter_replaced_by_one_of_another_shape_before_backward_is_named():
    for name, shape in [("weight", (5, 3)), ("bias", (3,)), ("bias", (1,))]:
        linear = Linear(3, 2, rng=0)
        linear.forward(X)
        setattr(linear, name, Parameter(np.zeros(shape, np.float32)))
        with pytest.raises(RuntimeError, match=r"^Linear\(3, 2\): backward after a Parameter was replaced by one of"):
            linear.backward(np.ones((2, 2), np.float32))
    linear = Linear(3, 2, rng=0)
    linear.forward(X)
    linear.weight = Parameter(np.zeros((2, 3), np.float32))  # the new one gets the gradient
    linear.backward(np.ones((2, 2), np.float32))
    assert np.any(linear.weight.grad)


def test_one_layer_object_in_two_places_is_refused():
    relu = ReLU()
    net = Sequential(relu, Linear(3, 3, rng=0), relu)
    net.forward(X)
    with pytest.raises(RuntimeError, match="one layer object used in two places"):
        net.backward(X)


def test_inference_can_run_without_keeping_caches():
    net = Sequential(Linear(3, 3, rng=0), ReLU())
    with net.without_caches():
        net.forward(X)
        assert all(layer._cache is None for _, layer in net.named_layers())
        with pytest.raises(RuntimeError, match=r"inside without_caches\(\)"):
            net.backward(X)
    net.forward(X)
    assert net.backward(X).shape == X.shape


def test_dy_must_have_the_dtype_of_y():
    linear = Linear(3, 2, rng=0)
    y = linear.forward(X)
    other = np.float32 if y.dtype == np.float64 else np.float64
    with pytest.raises(TypeError, match=f"expected dy of {y.dtype}, the dtype of the y .* got {np.dtype(other)}"):
        linear.backward(np.ones(y.shape, other))


def test_dy_must_have_the_shape_of_y_and_be_of_floats():
    linear = Linear(3, 2, rng=0)
    linear.forward(X)
    with pytest.raises(ValueError, match=r"expected dy of shape \(2, 2\), the shape of the y .*, got \(2, 3\)"):
        linear.backward(X)
    with pytest.raises(TypeError, match="expected dy of float32"):
        linear.backward(np.ones((2, 2), int))
    linear.backward(np.ones((2, 2), np.float32))  # a refused dy leaves the cache where it is


def test_parameters_are_of_floats():
    with pytest.raises(TypeError, match="Parameter: expected an array of floats, got int64"):
        Parameter(np.arange(3))


def test_a_layer_without_forward_or_backward_says_so():
    class Half(Layer):
        def forward(self, x):
            return x

    with pytest.raises(NotImplementedError, match=r"Half.backward\(dy\) is not written yet"):
        Half().backward(X)
    with pytest.raises(NotImplementedError, match=r"Layer.forward\(x\) is not written yet"):
        Layer().forward(X)


def test_a_layer_of_ones_own_needs_a_class_and_nothing_else():
    class Scale(Layer):
        def __init__(self, factor):
            self.weight = Parameter(np.full(1, factor, np.float32))

        def forward(self, x):
            return self._remember(self.weight.data * x, x)

        def backward(self, dy):
            (x,) = self._recall(dy)
            self.weight.grad += np.sum(dy * x)
            return self.weight.data * dy

    net = Sequential(Identity(), Scale(3))
    np.testing.assert_allclose(net.forward(X), 3 * X)
    np.testing.assert_allclose(net.backward(X), 3 * X)
    assert [name for name, _ in net.named_parameters()] == ["1.weight"]
    np.testing.assert_allclose(net[1].weight.grad, np.sum(X * X), rtol=1e-6)


# -- members, wherever they are -----------------------------------------------------------------------------------


class Held(Layer):
    """Members in a dict, in lists of lists and in tuples in lists."""

    def __init__(self):
        self.parts = {"fc": Linear(3, 3, rng=0), "drop": Dropout(0.5, rng=1), 2: [(ReLU(),)]}
        self.gains = [[Parameter(np.ones(1, np.float32))], {"last": Parameter(np.ones(2, np.float32))}]

    def forward(self, x):
        return self._remember(self.parts["drop"](self.parts["fc"](x)))

    def backward(self, dy):
        self._recall(dy)
        return self.parts["fc"].backward(self.parts["drop"].backward(dy))


def test_members_in_dicts_and_nested_lists_are_found_saved_and_put_into_their_mode():
    held = Held()
    names = ["gains.0.0", "gains.1.last", "parts.fc.weight", "parts.fc.bias"]  # its own first
    assert [name for name, _ in held.named_parameters()] == names == list(held.state_dict())
    assert [path for path, _ in held.named_layers()] == ["", "parts.fc", "parts.drop", "parts.2.0.0"]
    assert not held.eval().parts["drop"].training and held.astype(np.float64).gains[0][0].dtype == np.float64
    held.load_state_dict({name: array + 1 for name, array in held.state_dict().items()})
    np.testing.assert_array_equal(held.gains[1]["last"].data, [2, 2])


def test_what_forward_remembers_is_no_member():
    class Remembers(Layer):
        def forward(self, x):
            return self._remember(x, Parameter(np.ones(3)), ReLU())

    layer = Remembers()
    layer.forward(X)
    assert not layer.parameters() and not layer.children()


def test_a_child_that_knows_its_parent_is_walked_once():
    net = Sequential(ReLU(), Linear(3, 3, rng=0))
    net[0].parent = net
    assert [path for path, _ in net.named_layers()] == ["", "0", "1"] and "(1): Linear(3, 3)" in repr(net)
    assert copy.deepcopy(net)[0].parent is not net


def test_two_arrays_of_one_name_are_refused():
    layer = Layer()
    layer.parts = {1: Parameter(np.ones(1)), "1": Parameter(np.ones(1))}
    with pytest.raises(ValueError, match=r"Layer\(\): two of its arrays are called parts.1"):
        layer.state_dict()


def test_children_and_generators_are_listed_by_path():
    class Draws(Layer):
        def __init__(self):
            self.rngs = [np.random.default_rng(0), {"old": np.random.RandomState(0)}]
            self.dice = random.Random(0)

    net = Sequential(Dropout(0.5, rng=0), Draws())
    assert [(name, type(layer)) for name, layer in net.children()] == [("0", Dropout), ("1", Draws)]
    assert [path for path, _ in net.generators()] == ["0.rng", "1.rngs.0", "1.rngs.1.old", "1.dice"]


# -- Parameter ----------------------------------------------------------------------------------------------------


def test_a_parameter_shows_what_its_array_has():
    p = Parameter(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert (p.shape, p.dtype, p.ndim, p.size, p.T.shape) == ((2, 3), np.float32, 2, 6, (3, 2))
    assert np.asarray(p) is p.data and np.asarray(p, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.ones(2, np.float32) @ p, [3, 5, 7])
    with pytest.raises(AttributeError):
        p.shape = (3, 2)


def test_whole_numbers_assigned_as_weights_become_floats_and_move():
    conv = Conv2d(1, 1, 3, bias=False, rng=0)
    conv.weight.data = np.array([[[[1, 0, -1], [2, 0, -2], [1, 0, -1]]]])
    conv.weight.grad = np.ones((1, 1, 3, 3), np.int64)
    SGD(conv.parameters(), lr=0.1).step()
    expected = np.float32([[0.9, -0.1, -1.1], [1.9, -0.1, -2.1], [0.9, -0.1, -1.1]])
    np.testing.assert_allclose(conv.weight.data[0, 0], expected, rtol=1e-6)
    assert conv.weight.data.dtype == conv.weight.grad.dtype == np.float32


@pytest.mark.parametrize("name", ["data", "grad"])
@pytest.mark.parametrize(
    "value, message",
    [
        (None, "an array of NumPy, got None"),
        ([1.0, 2.0], r"an array of NumPy, got \[1.0, 2.0\]"),
        (1.0, "an array of NumPy, got 1.0"),
        (np.ones(3, np.float32), r"an array of shape \(2,\), got \(3,\)"),
        (np.ones((1, 2), np.float32), r"an array of shape \(2,\), got \(1, 2\)"),
        (np.ones(2, np.float16), r"an array of float32, got float16. Use .astype\(np.float32\)"),
        (np.ones(2, np.longdouble), "an array of float32, got (longdouble|float128)"),
        (np.ones(2, complex), "an array of float32, got complex128"),
        (np.array(["a", "b"]), "an array of float32, got <U1"),
        (np.ma.ones(2, np.float32), "an array of NumPy, got masked_array"),
    ],
)
def test_what_no_parameter_can_be_is_refused_when_it_is_assigned(name, value, message):
    p = Parameter(np.ones(2, np.float32))
    with pytest.raises(TypeError, match=f"^Parameter.{name}: expected {message}") as caught:
        setattr(p, name, value)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal([p.data, p.grad], [[1, 1], [0, 0]])


@pytest.mark.parametrize("data", [np.ones(2, np.float16), np.ones(2, np.longdouble), np.ones(2, int), ["a"], None])
def test_a_parameter_is_made_of_float32_or_float64(data):
    with pytest.raises(TypeError, match="^Parameter: expected an array of floats"):
        Parameter(data)
    assert Parameter(np.ones(2, ">f4")).dtype == np.dtype("f4")


def test_an_array_in_the_place_of_a_parameter_is_refused():
    conv = Conv2d(3, 4, 3, rng=0)
    with pytest.raises(TypeError, match=r"Conv2d\(3, 4, 3\): expected weight to stay a Parameter.*weight.data = array"):
        conv.weight = np.zeros((4, 3, 3, 3), np.float32)
    conv.bias = None
    assert conv.forward(np.ones((1, 3, 3, 3), np.float32)).shape == (1, 4, 1, 1)


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
def test_arrays_of_batch_norm_keep_their_length(name):
    norm = BatchNorm2d(np.int64(6)).eval()
    with pytest.raises(ValueError, match=r"expected an array of shape \(6,\), got \(3,\)"):
        getattr(norm, name).data = np.ones(3, np.float32)
    setattr(norm, name, type(getattr(norm, name))(np.ones(3, np.float32)))
    with pytest.raises(ValueError, match=rf"BatchNorm2d\(6\): expected {name} of shape \(6,\), got \(3,\)"):
        norm.forward(np.ones((1, 6, 2, 2), np.float32))


def test_every_fixed_size_is_looked_at():
    with pytest.raises(ValueError, match=r"expected x of shape \(N, 256, H, W\), got \(2, 6, 3, 3\)"):
        BatchNorm2d(np.int64(256)).eval().forward(np.ones((2, 6, 3, 3), np.float32))
    with pytest.raises(ValueError, match="expected x of shape"):
        SubsampleShortcut(np.int64(3), 4).forward(np.ones((2, 1, 3, 3), np.float32))
    norm = BatchNorm2d(6)
    norm.num_features = np.int64(256)
    with pytest.raises(ValueError, match="expected x of shape"):
        norm.forward(np.ones((2, 6, 3, 3), np.float32))


def test_the_check_of_x_hands_over_the_weights_in_its_dtype():
    conv = Conv2d(2, 3, 1, bias=False, rng=0)
    shapes = {"weight": (3, 2, 1, 1), "bias": (3,)}
    weight, bias = conv._check_input(np.ones((1, 2, 4, 4)), "N", 2, "H", "W", **shapes)
    assert weight.dtype == np.float64 and np.array_equal(weight, conv.weight.data) and bias is None
    assert conv._check_input(np.ones((1, 2, 4, 4), np.float32), "N", 2, "H", "W", **shapes)[0] is conv.weight.data


# -- loading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("norm.weight", np.array(["abc"] * 4), "norm.weight of float32, got <U3"),
        ("norm.weight", [None] * 4, "norm.weight of float32, got object"),
        ("norm.weight", np.ones(4, complex), "norm.weight of float32, got complex128"),
        ("norm.weight", [1, 2, 3, [4]], "norm.weight as an array"),
        ("norm.weight", np.ma.ones(4), "norm.weight as a plain array, got a masked one"),
        ("norm.weight", np.full(4, np.nan), "norm.weight of numbers that are finite in float32"),
        ("norm.running_mean", np.full(4, np.inf), "norm.running_mean of numbers that are finite"),
        ("norm.bias", np.full(4, 1e300), "norm.bias of numbers that are finite in float32"),
        ("norm.running_var", np.float32([1, 1, -1, 1]), "norm.running_var of numbers of at least 0, got -1"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_nothing_is_written_where_one_array_is_bad(name, value, message):
    net = small_net()
    before = net.state_dict()
    with pytest.raises(ValueError, match=f"^load_state_dict: expected {message}") as caught:
        net.load_state_dict({n: array + 1 for n, array in before.items()} | {name: value})
    assert "\n" not in str(caught.value)
    assert all(np.array_equal(array, before[n]) for n, array in net.state_dict().items())


@pytest.mark.parametrize("state", [None, 3, [], [1.0], "weights"])
def test_a_state_that_is_no_dict_is_refused(state):
    with pytest.raises(TypeError, match="load_state_dict: expected a dict of arrays by name, got"):
        small_net().load_state_dict(state)


# -- modes and threads --------------------------------------------------------------------------------------------


def test_evaluating_touches_no_mode_and_keeps_no_cache():
    net = Sequential(Linear(3, 3, rng=0), Dropout(0.5, rng=0))
    net[0].eval()
    with net.evaluating():
        assert not any(layer.training for _, layer in net.named_layers())
        np.testing.assert_array_equal(net(X), net(X))
        with pytest.raises(RuntimeError, match=r"Linear\(3, 3\): backward inside without_caches\(\)"):
            net[0].backward(X)
    assert [layer.training for _, layer in net.named_layers()] == [True, False, True]


def test_two_threads_in_and_out_of_without_caches_leave_nothing_off():
    net, entered, left = Sequential(ReLU()), threading.Event(), threading.Event()

    def other():
        with net.evaluating():
            entered.set()
            left.wait(10)

    thread = threading.Thread(target=other)
    with net.without_caches():
        thread.start()
        entered.wait(10)
    assert net.training and net[0].training  # the other thread's evaluation is its own
    net(X)
    assert net.backward(X).shape == X.shape  # and so are its caches
    left.set()
    thread.join()
    net(X)
    assert net.training and net.backward(X).shape == X.shape


def test_a_cache_from_before_outlives_an_evaluation():
    relu = ReLU()
    relu(X)
    with relu.without_caches():
        relu(np.ones((1, 1), np.float32))
    assert relu.backward(X).shape == X.shape


# -- words --------------------------------------------------------------------------------------------------------


def test_a_layer_of_ones_own_has_its_repr_for_nothing():
    class Shift(Layer):
        def __init__(self, by, axis=-1, bias=True, rng=None, name="shift"):
            self.by, self.axis, self.rng = by, axis, np.random.default_rng(rng)
            self.bias = Parameter(np.zeros(1)) if bias else None

    assert repr(Shift(2)) == "Shift(2)" and repr(Shift(2.5, 1, False)) == "Shift(2.5, axis=1, bias=False)"
    assert {k: v for k, v in Shift(2).arguments().items() if k != "rng"} == {"by": 2, "axis": -1, "bias": True}
    assert repr(Residual(Shift(2))) == "Residual(\n  (branch): Shift(2)\n  (shortcut): Identity()\n)"
    assert repr(Layer()) == "Layer()"


def test_arguments_are_those_of_the_constructor():
    assert BatchNorm2d(3, momentum=0.2).arguments() == {"num_features": 3, "eps": 1e-5, "momentum": 0.2}
    assert Linear(3, 2, bias=False, rng=0).arguments() == {"in_features": 3, "out_features": 2, "bias": False}


def test_messages_of_composites_are_one_line():
    net = Sequential(Identity(), StochasticResidual(Identity(), survival=0.5, rng=0))
    assert (net._who(), net[1]._who()) == ("Sequential", "StochasticResidual")
    with pytest.raises(RuntimeError, match="^StochasticResidual: backward before forward"):
        net[1].backward(X)
    with pytest.raises(TypeError, match="^Residual: expected branch to be a Layer, got") as caught:
        Residual([net] * 3)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_a_tuple_taken_for_an_array_is_hinted_at():
    class NoComma(ReLU):
        def backward(self, dy):
            y = self._recall(dy)
            return self.use(y, dy)

    uses = [lambda y, dy: dy * y, lambda y, dy: y * dy, lambda y, dy: dy * (y > 0), lambda y, dy: np.where(y, dy, 0)]
    uses += [lambda y, dy: y.shape, lambda y, dy: dy - y, lambda y, dy: dy @ y]
    uses += [lambda y, dy: dy * y[:, 0], lambda y, dy: dy * y[..., None], lambda y, dy: y // 2, lambda y, dy: float(y)]
    for use in [*uses, lambda y, dy: -y, lambda y, dy: 1 - y, lambda y, dy: y**2, lambda y, dy: dy * abs(y)]:
        layer = NoComma()
        layer.use = use
        layer(X)
        with pytest.raises(
            (TypeError, AttributeError), match=r"returns a tuple of 1. Unpack it: \(a,\) = self._recall"
        ):
            layer.backward(X)


@pytest.mark.parametrize("y", [np.float32(1), 1.0, [1.0], None])
def test_a_y_that_is_no_array_is_named(y):
    with pytest.raises(TypeError, match=r"^Layer\(\): expected forward to make y, a NumPy array, got"):
        Layer()._remember(y)


@pytest.mark.parametrize("value", [np, threading.Lock(), open(__file__)])
def test_an_attribute_that_cannot_be_copied_is_named(value):
    net = Sequential(inner=ReLU())
    net.inner.helper = value
    with pytest.raises(TypeError, match=r"^ReLU\(\): its attribute helper cannot be copied") as caught:
        copy.deepcopy(net)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("x", [np.ma.ones((2, 3)), np.matrix(np.ones((2, 3)))])
def test_arrays_that_are_more_than_arrays_are_refused(x):
    with pytest.raises(TypeError, match=f"to be a NumPy array, got {type(x).__name__}"):
        ReLU().forward(x)
