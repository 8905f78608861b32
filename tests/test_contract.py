"""The contract of layer.py: what is found, what is kept, what is refused."""

import numpy as np
import pytest

from minires.layer import Buffer, Layer, Parameter
from minires.layers import BatchNorm2d, Conv2d, Identity, Linear, ReLU, Residual, Sequential

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
