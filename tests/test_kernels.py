"""The compiled kernels against their definitions in NumPy, over random geometry. (Convolution has its own file.)"""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minires.kernels import reference
from minires.kernels.compiled import conv, elementwise, norm, pool
from minires.kernels.compiled.geometry import output_sizes, pair, span
from minires.kernels.machine import cores
from minires.layers import AvgPool2d, MaxPool2d

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}

# name -> (module of the compiled kernel, names of its arguments)
BY_CHANNEL = {
    "batchnorm_statistics": (norm, "x"),
    "batchnorm_normalise": (norm, "x mean invstd weight bias"),
    "batchnorm_reductions": (norm, "y x mean invstd"),
    "batchnorm_backward": (norm, "y x mean invstd weight"),
}
BY_PIXEL = {"relu": (elementwise, "x"), "relu_backward": (elementwise, "y x"), "add": (elementwise, "x y")}
KERNELS = {**BY_PIXEL, **BY_CHANNEL}


def arrays(shape, dtype, seed=0):
    """Arguments for every kernel without windows: two of images, and four of one number per channel."""
    rng = np.random.default_rng(seed)
    draw = {name: rng.standard_normal(shape) for name in ("x", "y")}
    draw |= {name: rng.standard_normal(shape[1]) for name in ("mean", "weight", "bias")}
    draw["invstd"] = rng.uniform(0.5, 2, shape[1])
    return {name: values.astype(dtype) for name, values in draw.items()}


def call(module, name, draw):
    """The results of one kernel, as a tuple."""
    results = getattr(module, name)(*(draw[argument] for argument in KERNELS[name][1].split()))
    return results if isinstance(results, tuple) else (results,)


def assert_close(got, wanted, dtype):
    assert len(got) == len(wanted)
    for g, w in zip(got, wanted):
        assert g.dtype == dtype and g.shape == w.shape and g.flags.c_contiguous
        assert np.max(np.abs(g - w), initial=0) <= TOLERANCE[dtype] * np.max(np.abs(w), initial=1)


shapes = st.tuples(*(st.integers(1, most) for most in (4, 5, 9, 9)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KERNELS)
@given(shape=shapes, seed=st.integers(0, 9))
def test_kernel_is_its_definition(name, dtype, shape, seed):
    draw = arrays(shape, dtype, seed)
    exact = {argument: values.astype(np.float64) for argument, values in draw.items()}
    assert_close(call(KERNELS[name][0], name, draw), call(reference, name, exact), dtype)


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_takes_strided_and_read_only_arrays_and_writes_into_none(name):
    draw = arrays((3, 4, 5, 6), np.float32)
    plain = call(KERNELS[name][0], name, draw)
    strided = {argument: np.repeat(values, 2, axis=-1)[..., ::2] for argument, values in draw.items()}
    for changed in (draw, strided):
        for values in changed.values():
            values.flags.writeable = False  # writing into it would raise, in compiled code too
        for got, wanted in zip(call(KERNELS[name][0], name, changed), plain):
            np.testing.assert_array_equal(got, wanted)
            assert got.flags.writeable


@pytest.mark.parametrize("name", KERNELS)
def test_two_threads_and_every_run_give_the_same_bits(name, monkeypatch):
    draw = arrays((8, 7, 32, 33), np.float32)  # large enough to be shared out
    results = []
    for threads in (1, 2, 2, 3):
        monkeypatch.setattr(cores, "_threads", threads)
        results.append(call(KERNELS[name][0], name, draw))
    for other in results[1:]:
        for got, wanted in zip(other, results[0]):
            np.testing.assert_array_equal(got.view(np.int32), wanted.view(np.int32))


# -- the optimizer's step -------------------------------------------------------------------------------------------

RULES = list(itertools.product((0, 0.9), (1, 0.7), (0, 0.1), (False, True)))  # momentum, keep, weight decay, nesterov


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 50, 40_000])
@pytest.mark.parametrize("rule", RULES)
def test_a_step_of_the_optimizer_is_its_definition(rule, size, dtype):
    p, g, v = np.random.default_rng(0).standard_normal((3, size)).astype(dtype)
    exact = [values.astype(np.float64) for values in (p, g, v)]
    before = g.copy()
    elementwise.sgd_step(p, g, v, 0.3, *rule)
    reference.sgd_step(*exact, 0.3, *rule)
    assert_close((p, v), (exact[0], exact[2]), dtype)
    np.testing.assert_array_equal(g, before)


def test_a_step_of_the_optimizer_takes_any_gradient_that_numpy_would():
    p, v = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    read_only = np.ones((2, 3), np.float32)
    read_only.flags.writeable = False
    for g in (read_only, 1.0, np.ones(3), np.ones((2, 3))):
        elementwise.sgd_step(p, g, v, 0.125, 0, 1.0, 0.0, False)
        elementwise.sgd_step(p, g, g, 0.125, 0, 1.0, 0.0, False)  # without momentum, nothing is written there
    np.testing.assert_array_equal(p, 0)
    with pytest.raises(ValueError, match="broadcast"):
        elementwise.sgd_step(p, np.ones((3, 2)), v, 0.1, 0.9, 1.0, 0.0, False)
    with pytest.raises(ValueError, match="read-only"):
        elementwise.sgd_step(read_only, p, v, 0.1, 0.9, 1.0, 0.0, False)


def test_a_step_of_the_optimizer_moves_parameters_that_lie_in_other_orders():
    p, g, v = np.asfortranarray(np.ones((3, 4))), np.ones((3, 4)), np.zeros((3, 4))
    elementwise.sgd_step(p, g, v, 0.5, 0.9, 1.0, 0.0, False)
    np.testing.assert_array_equal(p, 0.5)
    np.testing.assert_array_equal(v, 1)


# -- NaN and infinity -----------------------------------------------------------------------------------------------

SPECIAL = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("name, argument", [(k, a) for k in KERNELS for a in "xy" if a in KERNELS[k][1].split()])
def test_nan_and_infinity_pass_as_in_the_definition(name, argument, special):
    for place in range(0, 70, 3):  # in the vector lanes and in what is left over after them
        draw = arrays((2, 2, 7, 11), np.float32)
        draw[argument][0, 1].reshape(-1)[place] = special
        with np.errstate(invalid="ignore"):
            wanted = call(reference, name, draw)
            got = call(KERNELS[name][0], name, draw)
        for g, w in zip(got, wanted):
            np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-5)


def test_relu_of_both_zeros_is_zero_and_their_gradient_too():
    x = np.array([0.0, -0.0], np.float32).reshape(1, 1, 1, 2)
    np.testing.assert_array_equal(elementwise.relu(x), 0)
    np.testing.assert_array_equal(elementwise.relu_backward(np.ones_like(x), x), 0)


# -- batch normalisation of numbers far from zero -------------------------------------------------------------------


@pytest.mark.parametrize("mean", [1e2, 1e4])
def test_batchnorm_keeps_its_digits_where_the_mean_is_large_against_the_deviation(mean):
    draw = arrays((8, 3, 16, 16), np.float32)
    x = draw["x"] = draw["x"] + np.float32(mean)  # what is rounded off here is part of x
    exact = {name: values.astype(np.float64) for name, values in draw.items()}
    got, wanted = norm.batchnorm_statistics(x), reference.batchnorm_statistics(exact["x"])
    np.testing.assert_allclose(got[0], wanted[0], rtol=2e-7)
    np.testing.assert_allclose(got[1], wanted[1], rtol=1e-5)
    draw["mean"], draw["invstd"] = got[0], 1 / np.sqrt(got[1])
    exact |= {name: draw[name].astype(np.float64) for name in ("mean", "invstd")}
    for name in ("batchnorm_normalise", "batchnorm_backward"):
        assert_close(call(norm, name, draw), call(reference, name, exact), np.float32)


def test_statistics_of_constant_channels_have_variance_zero():
    x = np.full((3, 2, 5, 7), 0.1, np.float32)
    mean, var = norm.batchnorm_statistics(x)
    np.testing.assert_array_equal(mean, np.float32(0.1))
    np.testing.assert_allclose(var, 0, atol=1e-15)


# -- pooling --------------------------------------------------------------------------------------------------------


@st.composite
def windows(draw, dilated):
    """(shape of x, kernel size, stride, pad, dilation, output size) of a window that fits, in any of its forms."""
    shape = draw(shapes)
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 7)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 3))) if dilated else pair("dilation", 1)
    pad = tuple((draw(st.integers(0, k // 2)), draw(st.integers(0, k // 2))) for k in kernel)
    # Images that are too small grow until the window fits once, with its padding.
    sizes = [max(size, span(k, d) - sum(p)) for size, k, d, p in zip(shape[2:], kernel, dilation, pad)]
    ceil_mode = draw(st.booleans())
    out_size = output_sizes("window", sizes, kernel, stride, pad, dilation, ceil_mode)
    return (*shape[:2], *sizes), kernel, stride, pad, dilation, out_size


@pytest.mark.parametrize("dtype", DTYPES)
@example(((1, 2, 3, 2), (1, 7), (1, 1), ((0, 0), (3, 3)), (1, 1), (3, 2)), 0, 1000, False)  # taps beyond both edges
@given(window=windows(dilated=True), seed=st.integers(0, 9), levels=st.sampled_from([3, 1000]), nan=st.booleans())
def test_maxpool_is_its_definition(dtype, window, seed, levels, nan):
    x_shape, *geometry = window
    rng = np.random.default_rng(seed)
    x = rng.integers(levels, size=x_shape).astype(dtype)  # few levels: many equal maxima
    if nan:
        x[rng.random(x_shape) < 0.1] = np.nan
        x[rng.random(x_shape) < 0.2] = -np.inf
    y, argmax = pool.maxpool2d(x, *geometry)
    wanted_y, wanted_argmax = reference.maxpool2d(x, *geometry)
    np.testing.assert_array_equal(y, wanted_y)
    np.testing.assert_array_equal(argmax, wanted_argmax)
    assert y.dtype == dtype and argmax.dtype == np.int32
    dy = rng.standard_normal(y.shape).astype(dtype) * (argmax >= 0)  # -1: the window steps over the image, y = -inf
    dx = pool.maxpool2d_backward(dy, argmax, x_shape)
    assert_close((dx,), (reference.maxpool2d_backward(dy, argmax, x_shape),), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    window=windows(dilated=False),
    seed=st.integers(0, 9),
    count_include_pad=st.booleans(),
    divisor=st.sampled_from([None, 1, 5]),
)
def test_avgpool_is_its_definition(dtype, window, seed, count_include_pad, divisor):
    x_shape, kernel_size, stride, pad, _, out_size = window
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal((*x_shape[:2], *out_size)).astype(dtype)
    rest = count_include_pad, divisor
    y = pool.avgpool2d(x, kernel_size, stride, pad, out_size, *rest)
    assert_close((y,), (reference.avgpool2d(x, kernel_size, stride, pad, out_size, *rest),), dtype)
    dx = pool.avgpool2d_backward(dy, x_shape, kernel_size, stride, pad, *rest)
    wanted = reference.avgpool2d_backward(dy, x_shape, kernel_size, stride, pad, *rest)
    assert_close((dx,), (wanted,), dtype)


@pytest.mark.parametrize("special", SPECIAL)
def test_nan_and_infinity_pass_through_pooling_as_in_the_definition(special):
    geometry = (3, 2), (2, 1), ((1, 1), (1, 0))
    out_size = output_sizes("window", (7, 6), *geometry, (1, 1))
    for place in range(42):
        x = np.random.default_rng(0).standard_normal((1, 2, 7, 6)).astype(np.float32)
        x[0, 1].reshape(-1)[place] = special
        with np.errstate(invalid="ignore"):
            wanted = reference.avgpool2d(x, *geometry, out_size, True, None)
        np.testing.assert_allclose(pool.avgpool2d(x, *geometry, out_size, True, None), wanted, rtol=1e-5, atol=1e-6)
        for got, wanted in zip(
            pool.maxpool2d(x, *geometry, (1, 1), out_size), reference.maxpool2d(x, *geometry, (1, 1), out_size)
        ):
            np.testing.assert_array_equal(got, wanted)


def test_pooling_gives_the_same_bits_for_any_number_of_threads_and_takes_any_layout(monkeypatch):
    geometry = (3, 3), (2, 2), ((1, 1), (1, 1))
    x = np.random.default_rng(0).standard_normal((4, 5, 31, 33)).astype(np.float32)
    out_size = output_sizes("window", x.shape[2:], *geometry, (1, 1))
    strided = x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    strided.flags.writeable = False
    results = []
    for threads, image in [(1, x), (2, x), (2, strided)]:
        monkeypatch.setattr(cores, "_threads", threads)
        y, argmax = pool.maxpool2d(image, *geometry, (1, 1), out_size)
        dy = image[:, :, : out_size[0], : out_size[1]]
        average = pool.avgpool2d(image, *geometry, out_size, False, None)
        results.append(
            (y, argmax, average, pool.maxpool2d_backward(dy, argmax, x.shape))
            + (pool.avgpool2d_backward(dy, x.shape, *geometry, False, None),)
        )
    for other in results[1:]:
        for got, wanted in zip(other, results[0]):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("window", [10**12, (10**12, 3)])
def test_a_window_far_larger_than_the_image_takes_no_longer(window):
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    seen = x if window == 10**12 else x[:, :, :, :3]
    for kind, wanted in ((MaxPool2d, seen.max(axis=(2, 3))), (AvgPool2d, seen.mean(axis=(2, 3)))):
        layer = kind(window, stride=10**12, ceil_mode=True)
        y = layer.forward(x)
        np.testing.assert_allclose(y[:, :, 0, 0], wanted, rtol=1e-5)
        np.testing.assert_allclose(layer.backward(y).sum(axis=(2, 3)), wanted, rtol=1e-5)


def test_a_window_that_sees_only_padding_hands_no_gradient_on():
    dx = pool.maxpool2d_backward(np.ones((1, 1, 1, 2), np.float32), np.array([[[[-1, 3]]]], np.int32), (1, 1, 2, 3))
    np.testing.assert_array_equal(dx.reshape(-1), [0, 0, 0, 1, 0, 0])


# -- lengths that do not fit, and memory that is not ours -------------------------------------------------------------


def wrong_calls():
    """Yield (a kernel, arguments of which one has a wrong length, the name of that one)."""
    draw = arrays((2, 6, 5, 5), np.float32)
    for name, (module, arguments) in KERNELS.items():
        names = arguments.split()
        for wrong in names:
            if len(names) > 1 and not (wrong == "x" and name == "batchnorm_normalise"):
                changed = {**draw, wrong: np.concatenate([draw[wrong]] * 2, axis=min(1, draw[wrong].ndim - 1))}
                yield getattr(module, name), [changed[n] for n in names], f"{name}.*expected"
    x, dy = draw["x"], draw["y"]
    argmax, window = np.zeros((2, 6, 2, 2), np.int32), ((2, 2), (2, 2), ((0, 0), (0, 0)))
    yield pool.maxpool2d_backward, [dy[:, :, :2, :2], argmax[:1], x.shape], "maxpool2d_backward.*argmax"
    yield pool.maxpool2d_backward, [argmax.astype(np.float32), argmax, (2, 3, 5, 5)], "maxpool2d_backward.*dy"
    yield pool.avgpool2d_backward, [dy, (2, 3, 5, 5), *window, True, None], "avgpool2d_backward.*dy"
    weight, geometry = np.zeros((4, 6, 3, 3), np.float32), ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    yield conv.conv2d, [x[:, :5], weight, None, *geometry], "conv2d.*x of shape"
    yield conv.conv2d, [x, weight, np.zeros(3, np.float32), *geometry], "conv2d.*bias"
    yield conv.conv2d_input_gradient, [dy, weight, x.shape, *geometry], "conv2d_input_gradient.*dy"
    yield conv.conv2d_input_gradient, [dy[:, :4], weight, (2, 7, 5, 5), *geometry], "conv2d_input_gradient.*weight"
    yield conv.conv2d_weight_gradient, [dy, x, weight.shape, *geometry], "conv2d_weight_gradient.*dy"
    yield conv.conv2d_weight_gradient, [dy[:, :4], x, (4, 5, 3, 3), *geometry], "conv2d_weight_gradient.*x"


@pytest.mark.parametrize("kernel, arguments, message", wrong_calls())
def test_a_length_that_does_not_fit_is_an_error_of_one_line(kernel, arguments, message):
    with pytest.raises(ValueError, match=message):
        kernel(*arguments)


@pytest.mark.parametrize("dtype", [">f4", ">f8", np.float16, np.longdouble])
@pytest.mark.parametrize("rule", RULES)
def test_a_step_of_the_optimizer_takes_numbers_of_every_kind(rule, dtype):
    p, g, v = np.random.default_rng(0).standard_normal((3, 50)).astype(dtype)
    exact = [values.astype(np.float64) for values in (p, g, v)]
    elementwise.sgd_step(p, g, v, 0.3, *rule)
    reference.sgd_step(*exact, 0.3, *rule)
    np.testing.assert_allclose(p.astype(np.float64), exact[0], rtol=1e-2 if dtype == np.float16 else 1e-5, atol=1e-2)
    assert p.dtype == np.dtype(dtype)


GUARDED = """
import ctypes, itertools, mmap, sys
import numpy as np
from minires.kernels.compiled import conv, direct, elementwise, norm, pool, winograd
from minires.kernels.machine import memory

libc, page, kept = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE, []

def guarded(shape, dtype=np.float32, at_end=True):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-size // page) + 2
    block = mmap.mmap(-1, pages * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(block))
    for edge in (start, start + (pages - 1) * page):
        assert libc.mprotect(ctypes.c_void_p(edge), page, 0) == 0
    kept.append(block)
    first = (pages - 1) * page - size if at_end else page
    return np.frombuffer(block, dtype, int(np.prod(shape)), first).reshape(shape)

def copy(x, at_end):
    y = guarded(x.shape, x.dtype, at_end)
    y[...] = x
    return y

rng = np.random.default_rng(0)
direct.empty_images = lambda shape, dtype: guarded(shape, dtype)

class Guarding:  # what these modules allocate with np.empty; no compiled function of theirs means NumPy by np
    def __getattr__(self, name):
        return getattr(np, name)
    def empty(self, shape, dtype=float):
        return guarded(shape, dtype)
    def empty_like(self, x):
        return guarded(x.shape, x.dtype)

winograd.np = elementwise.np = norm.np = Guarding()

def into_guarded(pool_kernel, *arguments):  # in pool's compiled functions np.empty is NumPy's: they are compiled first
    pool_kernel(*arguments)
    np.empty, before = lambda shape, dtype=float: guarded(shape, dtype, at_end), np.empty
    try:
        return pool_kernel(*arguments)
    finally:
        np.empty = before

def spaces(threads, dtype, *sizes):  # rows as long as they must be, so that one too many is beyond the last
    return [guarded((threads, -(-size // 16) * 16), dtype) for size in sizes]

direct.workspaces = winograd.workspaces = spaces
cases = [(2, 8, 8, 12, 3, 1, 1), (1, 9, 17, 7, 3, 1, 1), (3, 3, 5, 11, 3, 2, 1), (2, 4, 6, 9, 1, 2, 0)]
cases += [(2, 8, 9, 14, 1, 1, 0), (1, 3, 4, 20, 7, 2, 3), (2, 5, 3, 8, 5, 3, 2), (2, 16, 16, 32, 3, 1, 1)]
for at_end, (N, C, O, H, k, s, p), dtype in itertools.product((True, False), cases, (np.float32, np.float64)):
    draw = lambda *shape: copy(rng.standard_normal(shape).astype(dtype), at_end)
    geometry = (s, s), ((p, p), (p, p)), (1, 1), 1
    x, weight, bias = draw(N, C, H, H), draw(O, C, k, k), draw(O)
    x[0, :, 1:3] = 0  # so that Winograd's product leaves rows to the direct one
    dy = copy(conv.conv2d(x, weight, bias, *geometry), at_end)
    conv.conv2d_input_gradient(dy, weight, x.shape, *geometry)
    conv.conv2d_weight_gradient(dy, x, weight.shape, *geometry)
    window = (k, k), (s, s), ((k // 2, k // 2),) * 2
    y, argmax = into_guarded(pool.maxpool2d, x, *window, (1, 1), (dy.shape[2:]))
    into_guarded(pool.maxpool2d_backward, y, argmax, x.shape)
    average = into_guarded(pool.avgpool2d, x, *window, dy.shape[2:], True, None)
    into_guarded(pool.avgpool2d_backward, average, x.shape, *window, True, None)
    mean, var = norm.batchnorm_statistics(x)
    rows = [copy(row, at_end) for row in (mean, var, mean)]
    norm.batchnorm_backward(x, x, *rows), norm.batchnorm_normalise(x, *rows, rows[0])
    elementwise.relu_backward(x, elementwise.relu(x)), elementwise.add(x, x)
    elementwise.sgd_step(x, x, x, 0.1, 0.9, 1.0, 0.1, True)
    kept[:-200] = []
print("done")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="pages are guarded with mprotect")
def test_no_kernel_touches_a_page_beside_its_arrays():
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True)
    assert done.stdout == "done\n", f"{done.returncode} {done.stderr}"  # -11: it did
