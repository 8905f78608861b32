"""The compiled convolution against its definition, im2col and one matrix product, over random geometry."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minires.kernels import reference
from minires.kernels.compiled import conv, plan, winograd
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
    pad=pairs(pair_of(0, 3), pair_of(0, 3)),
    groups=st.integers(1, 2),
    dtype=dtypes,
    shared=st.booleans(),
)
def test_three_row_kernels_agree_with_the_definition(N, columns, shared, **geometry):
    arguments = problem(N=N, kernel_size=(3, columns), stride=(1, 1), dilation=(1, 1), **geometry)
    assume(arguments)
    out_size = arguments["conv2d_input_gradient"][0].shape[2:]
    assume(winograd.fits((3, columns), (1, 1), (1, 1), geometry["channels"], geometry["out_channels"], N, out_size))
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
        for cached in (plan.make_plan, winograd.make_plan):
            cached.cache_clear()
        assert_agree(arguments)
    for cached in (plan.make_plan, winograd.make_plan):
        cached.cache_clear()


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
