"""The compiled convolution against its definition, im2col and one matrix product, over random geometry."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minires.kernels import reference
from minires.kernels.compiled import conv, direct, winograd
from minires.kernels.compiled.geometry import output_size
from minires.kernels.machine import cores

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}  # of the largest entry
NAMES = ["conv2d", "conv2d_input_gradient", "conv2d_weight_gradient"]

pairs = st.tuples
dtypes = st.sampled_from([np.float32, np.float64])


def problem(N, channels, out_channels, size, kernel_size, stride, pad, dilation, groups, dtype, seed=0):
    """Arguments for the three kernels, by name; None where the kernel does not fit the image."""
    axes = zip(size, kernel_size, stride, pad, dilation)
    out_size = tuple(output_size(*axis) for axis in axes)
    if min(out_size) < 1:
        return None
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, groups * channels, *size)).astype(dtype)
    weight = rng.normal(size=(groups * out_channels, channels, *kernel_size)).astype(dtype)
    bias = rng.normal(size=groups * out_channels).astype(dtype)
    dy = rng.normal(size=(N, groups * out_channels, *out_size)).astype(dtype)
    geometry = stride, pad, dilation, groups
    return {
        "conv2d": (x, weight, bias, *geometry),
        "conv2d_input_gradient": (dy, weight, x.shape, *geometry),
        "conv2d_weight_gradient": (dy, x, weight.shape, *geometry),
    }


def assert_agree(arguments, tolerance=None):
    for name in NAMES:
        got, expected = getattr(conv, name)(*arguments[name]), getattr(reference, name)(*arguments[name])
        assert got.shape == expected.shape and got.dtype == expected.dtype
        limit = (tolerance or TOLERANCE[got.dtype.type]) * max(np.abs(expected).max(), 1e-3)
        assert np.abs(got - expected).max() <= limit, name


def pair_of(low, high):
    return pairs(st.integers(low, high), st.integers(low, high))


geometries = dict(
    N=st.integers(1, 5),
    channels=st.integers(1, 5),
    out_channels=st.integers(1, 9),
    size=pair_of(1, 20),
    kernel_size=pair_of(1, 5),
    stride=pair_of(1, 3),
    pad=pairs(pair_of(0, 4), pair_of(0, 4)),
    dilation=pair_of(1, 2),
    groups=st.integers(1, 3),
    dtype=dtypes,
)


@given(**geometries)
def test_compiled_convolution_agrees_with_its_definition(**geometry):
    arguments = problem(**geometry)
    assume(arguments)
    assert_agree(arguments)


@given(
    N=st.integers(1, 40),
    channels=st.integers(8, 18),
    out_channels=st.integers(8, 35),
    size=pair_of(4, 20),
    columns=st.integers(1, 5),
    pad=pairs(pair_of(0, 1), pair_of(0, 3)),  # the kernels are for at most one row of padding
    groups=st.integers(1, 2),
    dtype=dtypes,
    shared=st.booleans(),
)
def test_three_row_kernels_agree_with_the_definition(N, columns, shared, **geometry):
    arguments = problem(N=N, kernel_size=(3, columns), stride=(1, 1), dilation=(1, 1), **geometry)
    assume(arguments)
    out_size = arguments["conv2d_input_gradient"][0].shape[2:]
    shape = 1, geometry["out_channels"], geometry["channels"], 3, columns
    assume(winograd.fits(shape, ((1, 1), geometry["pad"], (1, 1)), N, out_size))
    with patch.object(winograd, "OWN", 0 if shared else winograd.OWN):  # 0: threads share the kernels at the points
        assert_agree(arguments)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000))
def test_a_thousand_geometries(seed):
    rng = np.random.default_rng(seed)

    def two(low, high):
        return tuple(int(v) for v in rng.integers(low, high + 1, 2))

    while True:
        arguments = problem(
            N=int(rng.integers(1, 6)),
            channels=int(rng.integers(1, 17)),
            out_channels=int(rng.integers(1, 34)),
            size=two(1, 40),
            kernel_size=two(1, 7),
            stride=two(1, 4),
            pad=(two(0, 6), two(0, 6)),
            dilation=two(1, 3),
            groups=int(rng.integers(1, 4)),
            dtype=[np.float32, np.float64][seed % 2],
        )
        if arguments:
            return assert_agree(arguments, tolerance=1e-4 if seed % 2 == 0 else 1e-11)


RESNET_SHAPES = {
    "first layer": (16, 3, 16, 32, 3, 1),
    "stage 1": (16, 16, 16, 32, 3, 1),
    "into stage 2": (16, 16, 32, 32, 3, 2),
    "stage 3": (24, 64, 64, 8, 3, 1),
    "wide, into the last stage": (4, 64, 512, 16, 3, 2),  # a weight gradient too large to add to for every image
    "projection": (4, 16, 32, 32, 1, 2),
    "bottleneck": (4, 64, 32, 16, 1, 1),
    "ImageNet, first layer": (1, 3, 8, 112, 7, 2),
    "ImageNet, bottleneck": (4, 224, 21, 14, 1, 1),  # x and y themselves are the planes, a vector of 4 pixels last
    "ImageNet, into stage 3": (4, 96, 12, 56, 3, 2),  # rows in two bands, the last of 5 1/4 blocks of pixels
    "ImageNet, into the last stage": (3, 24, 258, 14, 3, 2),  # few pixels, many filters: threads share out those
    "ImageNet, last stage": (2, 33, 258, 7, 3, 1),
    "more than the caches hold": (2, 4, 8, 640, 1, 1),  # y is written past them
}


def resnet_problem(case, dtype=np.float32):
    N, channels, out_channels, size, kernel, stride = RESNET_SHAPES[case]
    square, pad = (kernel, kernel), ((kernel // 2, kernel // 2),) * 2
    return problem(N, channels, out_channels, (size, size), square, (stride, stride), pad, (1, 1), 1, dtype)


@pytest.mark.parametrize("case", RESNET_SHAPES)
def test_the_shapes_of_residual_networks(case):
    assert_agree(resnet_problem(case))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [(0, 0, 0, 0), (3, 5, 7, 31), (15, 15, 31, 0)])
def test_nan_and_infinity_reach_what_they_reach_by_definition(value, at):
    arguments = resnet_problem("stage 1")
    for name in NAMES:
        first = arguments[name][0].copy()
        first[at] = value
        got, expected = (getattr(kernels, name)(first, *arguments[name][1:]) for kernels in (conv, reference))
        assert not np.isfinite(expected).all()
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))


def test_what_a_call_leaves_in_its_workspace_reaches_no_other():
    cases = ["stage 1", "into stage 2", "stage 3", "projection", "ImageNet, last stage"]
    problems = [resnet_problem(case) for case in cases]
    for name in NAMES:
        clean = [getattr(conv, name)(*arguments[name]) for arguments in problems]
        for arguments, before in zip(problems, clean):
            for spoilt in problems:
                first, *rest = spoilt[name]
                getattr(conv, name)(np.full_like(first, np.nan), *rest)
            np.testing.assert_array_equal(getattr(conv, name)(*arguments[name]), before)


@pytest.mark.parametrize("case", ["stage 1", "into stage 2"])
def test_read_only_and_strided_arrays_are_welcome(case):
    arguments = resnet_problem(case)
    for name in NAMES:
        first, *rest = arguments[name]
        strided = np.repeat(first, 2, axis=3)[..., ::2]
        strided.flags.writeable = False
        np.testing.assert_array_equal(getattr(conv, name)(strided, *rest), getattr(conv, name)(first, *rest))


@pytest.mark.parametrize("case", RESNET_SHAPES)
def test_results_are_the_same_bits_in_every_run(case):
    arguments = resnet_problem(case)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(conv, name)(*arguments[name]), getattr(conv, name)(*arguments[name]))


@pytest.mark.parametrize("case", ["stage 1", "ImageNet, into the last stage", "ImageNet, last stage"])
def test_any_number_of_threads_computes_the_same_up_to_rounding(case, monkeypatch):
    arguments = resnet_problem(case)
    for threads in (1, 2, 3):
        monkeypatch.setattr(cores, "_threads", threads)
        assert_agree(arguments)


# -- exact zeros, and rows that are small beside others ----------------------------------------------------------------


def seen_by(mask, weight_shape, pad):
    """Which outputs of a convolution see a pixel of the mask."""
    return reference.conv2d(mask.astype(float), np.ones(weight_shape), None, (1, 1), pad, (1, 1), 1) > 0


MASKS = {
    "one pixel": [(16, 16)],
    "two pixels in rows of one tile": [(16, 3), (18, 28)],
    "pixels 16 columns apart in all rows of one tile": [(15, 3), (17, 19), (20, 3)],
    "a corner": [(0, 0)],
    "a square": [(slice(9, 14), slice(20, 27))],
    "a pixel beside a column": [(5, 5), (slice(None), 25)],
    "all but a band of rows": [(slice(0, 11), slice(None)), (slice(17, 32), slice(None))],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mask", MASKS)
def test_what_sees_only_zeros_is_exactly_zero(mask, dtype):
    rng, seen = np.random.default_rng(0), np.zeros((3, 1, 32, 32))
    for place in MASKS[mask]:
        seen[(1, 0, *place)] = 1
    arguments = problem(3, 8, 8, (32, 32), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, dtype)
    x, weight, _, *geometry = arguments["conv2d"]
    x = (x * seen).astype(dtype)
    y, dx = conv.conv2d(x, weight, None, *geometry), conv.conv2d_input_gradient(x, weight, x.shape, *geometry)
    reach = np.broadcast_to(seen_by(seen, (1, 1, 3, 3), geometry[1]), y.shape)
    np.testing.assert_array_equal(y != 0, reach)
    np.testing.assert_array_equal(dx != 0, reach)
    dy = rng.normal(size=y.shape).astype(dtype)
    for found, image in ((x, dy), (x, np.ones_like(x)), (dy, x), (x, np.abs(x)), (x, np.roll(x, 1, axis=2))):
        got, wanted = (k.conv2d_weight_gradient(found, image, weight.shape, *geometry) for k in (conv, reference))
        np.testing.assert_array_equal(got == 0, wanted == 0)


@pytest.mark.parametrize("dtype, limit", [(np.float32, 3e-5), (np.float64, 1e-13)])
@pytest.mark.parametrize("size", [30, 9_999, 1e15])
def test_one_large_pixel_does_not_move_what_does_not_see_it(size, dtype, limit):
    arguments = problem(2, 8, 8, (32, 32), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, dtype)
    x, weight, _, *geometry = arguments["conv2d"]
    large, mask = x.copy(), np.zeros((2, 1, 32, 32))
    large[0, 3, 17, 16] = size
    mask[0, 0, 17, 16] = 1
    unseen = ~np.broadcast_to(seen_by(mask, (1, 1, 3, 3), geometry[1]), x.shape)
    for kernel, rest in ((conv.conv2d, (None,)), (conv.conv2d_input_gradient, (x.shape,))):
        moved = kernel(large, weight, *rest, *geometry) - kernel(x, weight, *rest, *geometry)
        assert np.abs(moved[unseen]).max() <= limit * 8  # of outputs of about 8
        assert np.abs(moved[~unseen]).max() >= size / 100


def test_common_images_are_not_set_apart():
    """After a ReLU half the numbers are zeros; some channels are dead; images differ in size."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(64, 16, 32, 32)), 0).astype(np.float32) * 10.0 ** rng.integers(-6, 3, (64, 1, 1, 1))
    x[:, 3:9] = 0
    weight = rng.normal(size=(16, 16, 3, 3)).astype(np.float32)
    geometry = (1, 1), ((1, 1), (1, 1)), (1, 1), 1
    with patch.object(direct.Way, "product", None), patch.object(direct.Way, "weight_gradient", None):
        conv.conv2d(x.astype(np.float32), weight, None, *geometry)
        conv.conv2d_weight_gradient((x + 1e-9).astype(np.float32), x.astype(np.float32), weight.shape, *geometry)


def test_what_sees_little_is_mended_where_it_is_and_the_rest_stays():
    arguments = problem(16, 16, 16, (32, 32), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, np.float32)
    large = np.zeros((16, 1, 32, 32))
    large[9, 0, 30, 7] = 1
    for name in NAMES:
        first, *rest = arguments[name]
        first = first.copy()
        first[5, :, 12:16], first[9, 3, 30, 7] = 0, 1e6
        with patch.object(direct.Way, "product", None), patch.object(direct.Way, "weight_gradient", None):
            got = getattr(conv, name)(first, *rest)
        wanted = getattr(reference, name)(first, *rest)
        seen = np.broadcast_to(seen_by(large, (1, 1, 3, 3), ((1, 1), (1, 1))), first.shape)
        assert np.abs(got - wanted).max() <= 2e-5 * np.abs(wanted).max()
        if name != "conv2d_weight_gradient":
            assert np.abs(got - wanted)[~seen].max() <= 3e-5 * np.abs(wanted[~seen]).max()
            np.testing.assert_array_equal(got[5, :, 13:15], wanted[5, :, 13:15])  # of zeros: the bias, or 0


def test_where_much_is_uneven_or_cancels_the_definition_computes_all():
    arguments = problem(16, 16, 16, (32, 32), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, np.float32)
    scale = 10.0 ** np.random.default_rng(0).integers(-9, 9, (16, 1, 32, 32))
    for name in NAMES:
        first, second, *rest = arguments[name]
        first = (first * scale).astype(np.float32)
        if name == "conv2d_weight_gradient":  # rows of a constant image times what adds up to 0
            first, second = (np.arange(32) % 2 * 2 - 1 + np.zeros_like(second)).astype(np.float32), np.ones_like(second)
        method = "weight_gradient" if name == "conv2d_weight_gradient" else "product"
        with patch.object(direct.Way, method, autospec=True, side_effect=getattr(direct.Way, method)) as called:
            got, wanted = (getattr(kernels, name)(first, second, *rest) for kernels in (conv, reference))
        called.assert_called_once()
        assert np.abs(got - wanted).max() <= 2e-5 * np.abs(wanted).max()


def test_a_row_that_only_the_last_output_sees_moves_no_other():
    """11 rows of output: the last tile has three, of which one alone sees the last row of x."""
    arguments = problem(2, 8, 8, (12, 32), (3, 3), (1, 1), ((1, 0), (1, 1)), (1, 1), 1, np.float32)
    x, weight, _, *geometry = arguments["conv2d"]
    large = x.copy()
    large[0, 3, 11, 16] = 1e6
    moved = conv.conv2d(large, weight, None, *geometry) - conv.conv2d(x, weight, None, *geometry)
    assert np.abs(moved[:, :, :10]).max() <= 3e-4


@pytest.mark.parametrize("stride", [10**9, (1, 10**9), (10**12, 2)])
def test_a_stride_beyond_the_image_costs_nothing(stride):
    down, across = stride if isinstance(stride, tuple) else (stride, stride)
    for kernel in (1, 3):
        pad = ((1, 1), (1, 1))
        arguments = problem(2, 8, 9, (12, 13), (kernel, kernel), (down, across), pad, (1, 1), 1, np.float32)
        assert_agree(arguments)
    assert_agree(problem(2, 3, 4, (60, 60), (3, 3), (29, 31), pad, (1, 1), 1, np.float64))
    assert_agree(problem(2, 3, 4, (1, 7), (1, 1), (1, 9), ((0, 0), (0, 0)), (1, 1), 1, np.float64))


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_no_pixel_outside_the_image_is_read(batch, monkeypatch):
    """The last rows of the last image: beside them lies memory that is not ours, here made visible as NaN."""
    monkeypatch.setattr(reference, "conv2d", None)  # to which conv turns where something is not finite
    for size, kernel, stride in [(8, 3, 1), (9, 3, 2), (17, 5, 2), (33, 1, 2), (16, 7, 3), (14, 1, 1), (13, 1, 1)]:
        x_and_beyond = np.full((batch + 1, 4, size, size), np.nan, np.float32)
        x = x_and_beyond[:batch]
        x[...] = 1
        weight = np.ones((4, 4, kernel, kernel), np.float32)
        y = conv.conv2d(x, weight, None, (stride, stride), ((0, 0), (0, 0)), (1, 1), 1)
        np.testing.assert_array_equal(y, np.float32(4 * kernel * kernel))
