"""Each layer computes what its equation says, written out as loops, and says what is wrong with bad input."""

import copy
import math

import numpy as np
import pytest
from cases import LAYER_CASES
from hypothesis import assume, given
from hypothesis import strategies as st

import minires.layers
from minires import kernels
from minires.kernels import reference
from minires.kernels.compiled.geometry import output_size, output_size_text
from minires.layer import Parameter
from minires.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Gated,
    GlobalAvgPool2d,
    Identity,
    Linear,
    MaxPool2d,
    Product,
    ReLU,
    Residual,
    Scale,
    Sequential,
    Sigmoid,
    SubsampleShortcut,
)
from minires.optim import SGD, Adam, AdamW


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# -- definitions, one number at a time ----------------------------------------------------------------------------


def pixel(x, n, c, h, w):
    """x[n, c, h, w], or None outside the image."""
    inside = 0 <= h < x.shape[2] and 0 <= w < x.shape[3]
    return x[n, c, h, w] if inside else None


def window(x, n, c, p, q, kernel_size, stride, pad, dilation):
    """The pixels under the window at output pixel (p, q), None where it lies outside."""
    (kh, kw), (top, left) = kernel_size, (pad[0][0], pad[1][0])
    return [
        pixel(x, n, c, p * stride[0] + i * dilation[0] - top, q * stride[1] + j * dilation[1] - left)
        for i in range(kh)
        for j in range(kw)
    ]


def conv_by_definition(layer, x, out_size):
    O, per_group = layer.weight.data.shape[:2]
    y = np.zeros((len(x), O, *out_size))
    for n, o, p, q in np.ndindex(y.shape):
        if layer.bias:
            y[n, o, p, q] = layer.bias.data[o]
        group = o // (O // layer.groups)
        for c in range(per_group):
            pixels = window(
                x, n, group * per_group + c, p, q, layer.kernel_size, layer.stride, layer.pad, layer.dilation
            )
            y[n, o, p, q] += sum(w * v for w, v in zip(layer.weight.data[o, c].ravel(), pixels) if v is not None)
    return y


def places(size, kernel, stride, padding, dilation, ceil_mode=False):
    """Count the places of a window by trying them one by one."""
    end = size + padding[1]
    count, start = 0, -padding[0]
    while True:
        over = start + dilation * (kernel - 1) + 1 - end  # pixels of the window beyond the end
        if over >= (stride if ceil_mode else 1) or (ceil_mode and start >= size):
            return count
        count, start = count + 1, start + stride


def pairs(least, most):
    return st.tuples(st.integers(least, most), st.integers(least, most))


# -- convolution --------------------------------------------------------------------------------------------------


@given(
    groups=st.integers(1, 3),
    per_group=pairs(1, 2),
    images=st.integers(1, 2),
    size=pairs(1, 6),
    kernel_size=pairs(1, 3),
    stride=pairs(1, 3),
    padding=st.one_of(pairs(0, 2), st.just("same"), st.just("valid")),
    dilation=pairs(1, 2),
    bias=st.booleans(),
)
def test_convolution_is_the_sum_of_its_definition(
    groups, per_group, images, size, kernel_size, stride, padding, dilation, bias
):
    stride = (1, 1) if padding == "same" else stride
    channels, filters = groups * per_group[0], groups * per_group[1]
    layer = Conv2d(channels, filters, kernel_size, stride, padding, dilation, groups, bias, rng=0).astype(np.float64)
    out_size = [places(*axis) for axis in zip(size, kernel_size, stride, layer.pad, dilation)]
    assume(min(out_size) > 0)
    if bias:
        layer.bias.data[:] = normal(filters)
    x = normal(images, channels, *size)
    np.testing.assert_allclose(layer.forward(x), conv_by_definition(layer, x, out_size), atol=1e-12)


def test_convolution_worked_by_hand():
    conv = Conv2d(1, 1, 2, rng=0).astype(np.float64)
    conv.weight.data[...] = [[[[1, 2], [3, 4]]]]
    conv.bias.data[:] = 100
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    y = conv.forward(x)
    assert y[0, 0, 0, 0] == 0 * 1 + 1 * 2 + 3 * 3 + 4 * 4 + 100  # the filter is not flipped
    np.testing.assert_array_equal(y, [[[[127, 137], [157, 167]]]])
    dx = conv.backward(np.array([[[[1.0, 0], [0, 10]]]]))  # two of the four windows, overlapping in the middle pixel
    np.testing.assert_array_equal(dx, [[[[1, 2, 0], [3, 4 + 10, 20], [0, 30, 40]]]])
    np.testing.assert_array_equal(conv.weight.grad, [[[[0 + 10 * 4, 1 + 10 * 5], [3 + 10 * 7, 4 + 10 * 8]]]])
    np.testing.assert_array_equal(conv.bias.grad, [11])


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, (2, 5)])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_same_keeps_the_size_and_puts_an_odd_zero_last(kernel_size, dilation):
    conv = Conv2d(2, 3, kernel_size, padding="same", dilation=dilation, rng=0)
    assert conv.forward(np.zeros((1, 2, 5, 6), np.float32)).shape == (1, 3, 5, 6)
    assert all(after - before in (0, 1) for before, after in conv.pad)


def test_a_1x1_convolution_is_a_linear_layer_at_every_pixel():
    conv, linear = Conv2d(3, 4, 1, rng=0), Linear(3, 4, rng=0)
    linear.weight.data[...] = conv.weight.data[:, :, 0, 0]
    x = normal(2, 3, 4, 5)
    rows = linear.forward(x.transpose(0, 2, 3, 1).reshape(-1, 3))
    np.testing.assert_allclose(conv.forward(x), rows.reshape(2, 4, 5, 4).transpose(0, 3, 1, 2), rtol=1e-12)


def test_a_group_sees_its_own_channels_only():
    conv = Conv2d(4, 6, 3, padding=1, groups=2, rng=0)
    x = normal(1, 4, 5, 5)
    changed = x.copy()
    changed[:, 2:] += 1
    y, y_changed = conv.forward(x), conv.forward(changed)
    np.testing.assert_array_equal(y[:, :3], y_changed[:, :3])
    assert np.all(np.any(y[:, 3:] != y_changed[:, 3:], axis=(2, 3)))


def test_im2col_holds_the_window_of_each_output_pixel_in_a_column():
    x = normal(2, 3, 5, 6)
    geometry = (2, 3), (2, 1), ((1, 0), (2, 1)), (2, 1)
    cols = kernels.im2col(x, *geometry)
    Ho, Wo = (places(*axis) for axis in zip((5, 6), *geometry))
    assert cols.shape == (2, 3 * 2 * 3, Ho * Wo)
    for n, c, p, q in np.ndindex(2, 3, Ho, Wo):
        expected = [0 if v is None else v for v in window(x, n, c, p, q, *geometry)]
        np.testing.assert_array_equal(cols[n, c * 6 : (c + 1) * 6, p * Wo + q], expected)


@given(size=pairs(1, 6), kernel_size=pairs(1, 3), stride=pairs(1, 3), padding=pairs(0, 2), dilation=pairs(1, 2))
def test_col2im_is_the_transpose_of_im2col(size, kernel_size, stride, padding, dilation):
    geometry = kernel_size, stride, tuple((p, p) for p in padding), dilation
    assume(all(places(*axis) > 0 for axis in zip(size, *geometry)))
    x = normal(2, 3, *size)
    cols = kernels.im2col(x, *geometry)
    other = normal(*cols.shape, seed=1)
    assert np.sum(cols * other) == pytest.approx(np.sum(x * kernels.col2im(other, x.shape, *geometry)))


def test_col2im_counts_the_windows_over_each_pixel():
    ones = np.ones((1, 1, 3, 4))
    geometry = (2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)
    counts = kernels.col2im(kernels.im2col(ones, *geometry), ones.shape, *geometry)
    np.testing.assert_array_equal(counts, [[[[1, 2, 2, 1], [2, 4, 4, 2], [1, 2, 2, 1]]]])


# -- geometry -----------------------------------------------------------------------------------------------------


@given(
    size=st.integers(1, 12),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    padding=pairs(0, 2),
    dilation=st.integers(1, 3),
    ceil_mode=st.booleans(),
)
def test_output_size_counts_the_places_and_its_text_adds_up(size, kernel, stride, padding, dilation, ceil_mode):
    arguments = size, kernel, stride, padding, dilation, ceil_mode
    count = places(*arguments)
    assert max(output_size(*arguments), 0) == count
    if count:
        sum_of_text, result = output_size_text(*arguments).replace("(it would start in the padding)", "").split(" = ")
        assert eval(sum_of_text, {"floor": math.floor, "ceil": math.ceil}) == int(result) == count


def test_output_size_text_reads_as_in_the_lecture():
    assert output_size_text(32, 3, 2, (1, 1)) == "floor((32 + 2*1 - 1*(3-1) - 1)/2) + 1 = 16"
    assert output_size_text(5, 4, 1, (1, 2)) == "floor((5 + 1 + 2 - 1*(4-1) - 1)/1) + 1 = 5"


# -- batch norm ---------------------------------------------------------------------------------------------------


def test_batch_norm_gives_each_channel_mean_beta_and_deviation_gamma():
    norm = BatchNorm2d(3)
    norm.weight.data[:], norm.bias.data[:] = [1, 2, 3], [-1, 0, 5]
    y = norm.forward(normal(4, 3, 5, 6) * 7 + 3)
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), [-1, 0, 5], atol=1e-12)
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), [1, 2, 3], rtol=1e-5)


def test_batch_norm_divides_by_the_biased_variance_and_keeps_the_unbiased_one():
    x = normal(2, 1, 1, 2) * 4
    norm = BatchNorm2d(1, momentum=0.25).astype(np.float64)
    y = norm.forward(x)
    np.testing.assert_allclose(y, (x - x.mean()) / np.sqrt(x.var() + 1e-5), rtol=1e-12)
    np.testing.assert_allclose(norm.running_mean.data, 0.25 * x.mean(), rtol=1e-12)
    np.testing.assert_allclose(norm.running_var.data, 0.75 + 0.25 * x.var(ddof=1), rtol=1e-12)


def test_batch_norm_uses_its_running_statistics_in_evaluation_and_leaves_them_alone():
    norm = BatchNorm2d(2, eps=0.1).astype(np.float64).eval()
    norm.running_mean.data[:], norm.running_var.data[:] = [1, 2], [3, 4]
    x = normal(3, 2, 2, 2)
    y = norm.forward(x)
    for c, (mean, var) in enumerate([(1, 3), (2, 4)]):
        np.testing.assert_allclose(y[:, c], (x[:, c] - mean) / np.sqrt(var + 0.1), rtol=1e-12)
    np.testing.assert_array_equal(norm.running_mean.data, [1, 2])
    np.testing.assert_array_equal(norm.running_var.data, [3, 4])


def test_running_statistics_keep_their_own_dtype():
    norm = BatchNorm2d(2)
    norm.forward(normal(3, 2, 4, 4))
    assert norm.running_mean.data.dtype == norm.running_var.data.dtype == np.float32
    norm.astype(np.float64).forward(normal(3, 2, 4, 4).astype(np.float32))
    assert norm.running_mean.data.dtype == norm.running_var.data.dtype == np.float64


def test_a_constant_gradient_dies_in_batch_norm():
    norm = BatchNorm2d(2)
    norm.forward(normal(3, 2, 4, 4))
    np.testing.assert_allclose(norm.backward(np.ones((3, 2, 4, 4))), 0, atol=1e-12)


def test_backward_belongs_to_the_mode_of_its_forward():
    x, dy = normal(3, 2, 4, 4), normal(3, 2, 4, 4, seed=1)
    one, other = BatchNorm2d(2), BatchNorm2d(2)
    one.forward(x), other.forward(x)
    np.testing.assert_array_equal(one.backward(dy), other.eval().backward(dy))


def test_a_constant_channel_stays_finite():
    y = BatchNorm2d(1).forward(np.full((2, 1, 3, 3), 7.0))
    np.testing.assert_allclose(y, 0, atol=1e-6)


def test_a_constant_that_float32_cannot_add_up_exactly_is_normalised_to_0():
    x = np.full((8, 3, 9, 9), -12345.678, np.float32)
    np.testing.assert_array_equal(BatchNorm2d(3).forward(x), 0)
    mean, var = reference.batchnorm_statistics(x)
    np.testing.assert_array_equal([mean, var], [[np.float32(-12345.678)] * 3, [0] * 3])


def test_batch_norm_of_one_value_is_an_error_in_training_only():
    norm, x = BatchNorm2d(2), np.ones((1, 2, 1, 1))
    with pytest.raises(ValueError, match=r"BatchNorm2d\(2\): expected more than one value per channel .*eval\(\)"):
        norm.forward(x)
    np.testing.assert_array_equal(norm.running_mean.data, 0)
    assert norm.eval().forward(x).shape == x.shape


# -- activations and dropout --------------------------------------------------------------------------------------


def test_relu_keeps_the_positive_and_lets_nan_pass():
    relu = ReLU()
    y = relu.forward(np.array([-np.inf, -1.0, -0.0, 0.0, 2.0, np.inf, np.nan]))
    np.testing.assert_array_equal(y, [0, 0, 0, 0, 2, np.inf, np.nan])
    np.testing.assert_array_equal(relu.backward(np.full(7, 3.0))[:6], [0, 0, 0, 0, 3, 3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_sigmoid_neither_overflows_nor_leaves_its_range(dtype):
    y = Sigmoid().forward(np.array([-1e4, -2, 0, 2, 1e4], dtype))
    np.testing.assert_allclose(y, [0, 1 / (1 + math.e**2), 0.5, 1 / (1 + math.e**-2), 1], rtol=1e-6)


def test_sigmoid_raises_nothing_where_exp_underflows():
    with np.errstate(all="raise"):
        sigmoid = Sigmoid()
        y = sigmoid.forward(np.float32([1000, -1000, -100]))
        np.testing.assert_allclose(sigmoid.backward(np.float32([1e-30, 1, 1e-30])), 0, atol=1e-30)
    np.testing.assert_allclose(y, [1, 0, 0], atol=1e-40)


def test_a_gate_that_is_nearly_shut_raises_nothing_either():
    tiny = np.float32([1e-30, -1e-30])
    for layer in (Gated(Scale(1), Scale(1e-30)), Product(Identity(), Identity())):
        with np.errstate(all="raise"):
            layer.forward(tiny)
            np.testing.assert_allclose(layer.backward(tiny), 0, atol=1e-29)


@pytest.mark.parametrize("layer", [GlobalAvgPool2d(), BatchNorm2d(3), BatchNorm2d(3).eval()])
def test_the_smallest_gradients_of_a_net_that_is_sure_raise_nothing(layer):
    for parameter in layer.parameters():
        parameter.data[...] = 0.1
    with np.errstate(all="raise"):
        y = layer.forward(np.random.default_rng(0).uniform(1, 2, (2, 3, 4, 4)).astype(np.float32))
        dx = layer.backward(np.full(y.shape, 2e-38, np.float32))
    assert dx.shape == (2, 3, 4, 4) and np.abs(dx).max() < 1e-37


@pytest.mark.parametrize("rule", [Adam, AdamW, SGD])
def test_squares_of_small_numbers_raise_nothing(rule):
    parameter = Parameter(np.ones(3, np.float32))
    parameter.grad[...] = 1e-30
    norm = BatchNorm2d(1)
    with np.errstate(all="raise"):
        rule([parameter], lr=0.1).step()
        norm.forward(np.float32([1e-20, -1e-20]).reshape(2, 1, 1, 1))  # a variance of 1e-40
    assert np.isfinite(parameter.data).all()


def test_dropout_zeroes_a_share_p_and_scales_the_others():
    y = Dropout(0.25, rng=0).forward(np.ones((100, 100)))
    assert set(np.unique(y)) == {0, 1 / 0.75}
    assert abs(np.mean(y == 0) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 10_000)


def test_dropout_draws_a_new_mask_each_time_and_backward_uses_the_last():
    dropout, x = Dropout(0.5, rng=0), np.ones((8, 8))
    first, second = dropout.forward(x), dropout.forward(x)
    assert np.any(first != second)
    np.testing.assert_array_equal(dropout.backward(x), second)


def test_dropout_does_nothing_in_evaluation_and_everything_at_p_1():
    x = normal(4, 5)
    np.testing.assert_array_equal(Dropout(0.5, rng=0).eval().forward(x), x)
    np.testing.assert_array_equal(Dropout(1, rng=0).forward(x), np.zeros_like(x))


def test_dropout_masks_do_not_depend_on_the_dtype():
    x = np.ones((6, 6), np.float32)
    y, y64 = Dropout(0.5, rng=3).forward(x), Dropout(0.5, rng=3).forward(x.astype(np.float64))
    assert (y.dtype, y64.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(y, y64)


# -- pooling ------------------------------------------------------------------------------------------------------


@given(
    size=pairs(1, 7),
    kernel_size=pairs(1, 4),
    stride=pairs(1, 3),
    padding=pairs(0, 2),
    dilation=pairs(1, 2),
    ceil_mode=st.booleans(),
)
def test_max_pool_takes_the_largest_pixel_of_each_window(size, kernel_size, stride, padding, dilation, ceil_mode):
    assume(all(p <= k // 2 for p, k in zip(padding, kernel_size)))
    assume(all(d <= n for d, n in zip(dilation, size)))
    layer = MaxPool2d(kernel_size, stride, padding, dilation, ceil_mode)
    out_size = [places(*axis, ceil_mode) for axis in zip(size, kernel_size, stride, layer.pad, dilation)]
    assume(min(out_size) > 0)
    x = normal(2, 2, *size)
    expected, dx = np.zeros((2, 2, *out_size)), np.zeros_like(x)
    for at in np.ndindex(expected.shape):
        expected[at] = max(v for v in window(x, *at, kernel_size, stride, layer.pad, dilation) if v is not None)
    dy = normal(*expected.shape, seed=1)
    for (n, c, p, q), value in np.ndenumerate(expected):
        dx[n, c][x[n, c] == value] += dy[n, c, p, q]
    np.testing.assert_array_equal(layer.forward(x), expected)
    np.testing.assert_allclose(layer.backward(dy), dx, atol=1e-12)


def test_the_first_of_equal_maxima_gets_the_gradient():
    pool = MaxPool2d(2)
    pool.forward(np.ones((1, 1, 2, 4)))
    np.testing.assert_array_equal(pool.backward(np.array([[[[5.0, 7.0]]]])), [[[[5, 0, 7, 0], [0, 0, 0, 0]]]])


def test_padding_never_wins_a_max_pool():
    x = np.array([[[[-5.0, -np.inf], [-np.inf, -np.inf]]]])
    pool = MaxPool2d(2, padding=1)
    np.testing.assert_array_equal(pool.forward(x), x)
    np.testing.assert_array_equal(pool.backward(np.ones_like(x)), np.ones_like(x))


def test_nan_wins_a_max_pool():
    x = np.array([[[[1.0, np.nan], [np.inf, 2.0]]]])
    assert np.isnan(MaxPool2d(2).forward(x)[0, 0, 0, 0])


@given(
    size=pairs(1, 7),
    kernel_size=pairs(1, 4),
    stride=pairs(1, 3),
    padding=pairs(0, 2),
    ceil_mode=st.booleans(),
    count_include_pad=st.booleans(),
    divisor=st.sampled_from([None, 3]),
)
def test_avg_pool_takes_the_mean_of_each_window(
    size, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor
):
    assume(all(p <= k // 2 for p, k in zip(padding, kernel_size)))
    layer = AvgPool2d(kernel_size, stride, padding, ceil_mode, count_include_pad, divisor)
    out_size = [places(*axis, 1, ceil_mode) for axis in zip(size, kernel_size, stride, layer.pad)]
    assume(min(out_size) > 0)
    x = normal(1, 2, *size)
    # A map of 1 in the image and 0 in its padding; beyond the padding there is nothing.
    padded = np.pad(np.ones((1, 1, *size)), ((0, 0), (0, 0), *layer.pad))
    expected = np.zeros((1, 2, *out_size))
    for n, c, p, q in np.ndindex(expected.shape):
        image = [v for v in window(x, n, c, p, q, kernel_size, stride, layer.pad, (1, 1)) if v is not None]
        counted = [
            v for v in window(padded, 0, 0, p, q, kernel_size, stride, ((0, 0), (0, 0)), (1, 1)) if v is not None
        ]
        area = divisor or (len(counted) if count_include_pad else len(image))
        expected[n, c, p, q] = sum(image) / area
    np.testing.assert_allclose(layer.forward(x), expected, atol=1e-12)


def test_avg_pool_worked_by_hand_where_ceil_mode_hangs_over():
    x = np.arange(1.0, 6.0).reshape(1, 1, 1, 5)
    over = dict(kernel_size=(1, 2), stride=2, ceil_mode=True)
    np.testing.assert_array_equal(AvgPool2d(**over).forward(x), [[[[1.5, 3.5, 5]]]])
    np.testing.assert_array_equal(AvgPool2d((1, 3), 2, (0, 1), True).forward(x), [[[[3 / 3, 9 / 3, 9 / 3]]]])
    np.testing.assert_array_equal(AvgPool2d((1, 3), 2, (0, 1), True, False).forward(x), [[[[3 / 2, 9 / 3, 9 / 2]]]])


def test_global_avg_pool_is_an_avg_pool_as_large_as_the_image():
    x = normal(2, 3, 4, 5)
    np.testing.assert_allclose(GlobalAvgPool2d().forward(x), AvgPool2d((4, 5)).forward(x)[:, :, 0, 0], rtol=1e-12)


def test_the_stride_of_a_pool_is_its_kernel_unless_given():
    x = np.zeros((1, 1, 6, 9))
    for Pool in (MaxPool2d, AvgPool2d):
        assert Pool((2, 3)).forward(x).shape == (1, 1, 3, 3)
        assert Pool((2, 3), stride=1).forward(x).shape == (1, 1, 5, 7)


@pytest.mark.parametrize("layer", [Conv2d(3, 4, 3, rng=0), MaxPool2d(3), AvgPool2d(3)])
@pytest.mark.parametrize("name, wrong", [("stride", 2), ("stride", (0, 1)), ("dilation", (-1, 2))])
def test_an_attribute_that_makes_no_window_is_named_by_forward(layer, name, wrong):
    layer = copy.deepcopy(layer)
    setattr(layer, name, wrong)
    with pytest.raises(ValueError, match="^kernel_size, stride, dilation: expected pairs of whole numbers"):
        layer.forward(np.zeros((1, 3, 8, 8), np.float32))


def test_a_window_of_nothing_but_padding_is_an_error():
    with pytest.raises(ValueError, match="steps over the whole image.*smaller dilation"):
        MaxPool2d(2, padding=1, dilation=2).forward(np.zeros((1, 1, 1, 5)))


# -- linear and flatten -------------------------------------------------------------------------------------------


def test_linear_worked_by_hand():
    linear = Linear(2, 3, rng=0).astype(np.float64)
    linear.weight.data[...], linear.bias.data[:] = [[1, 2], [3, 4], [5, 6]], [10, 20, 30]
    np.testing.assert_array_equal(linear.forward(np.array([[1.0, 10.0]])), [[31, 63, 95]])
    np.testing.assert_array_equal(linear.backward(np.array([[1.0, 0, 2]])), [[1 + 2 * 5, 2 + 2 * 6]])
    np.testing.assert_array_equal(linear.weight.grad, [[1, 10], [0, 0], [2, 20]])
    np.testing.assert_array_equal(linear.bias.grad, [1, 0, 2])


def test_flatten_orders_numbers_as_in_memory():
    x = np.arange(24.0).reshape(2, 3, 2, 2)
    np.testing.assert_array_equal(Flatten().forward(x), [np.arange(12), np.arange(12, 24)])


# -- composites ---------------------------------------------------------------------------------------------------


def test_sequential_names_its_layers_by_number_or_keyword():
    net = Sequential(Linear(2, 3, rng=0), ReLU(), last=Linear(3, 1, rng=0))
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "last.weight", "last.bias"]
    assert (len(net), net[-1] is net.last, [type(layer) for layer in net]) == (3, True, [Linear, ReLU, Linear])


def test_a_layer_of_a_sequential_can_be_exchanged():
    net = Sequential(a=Linear(2, 2, rng=0), b=Identity())
    net.a = Identity()
    x = normal(3, 2)
    assert net[0] is net.a and net.forward(x) is x and net.backward(x) is x


def test_sequential_says_which_layer_is_none():
    with pytest.raises(TypeError, match=r"expected layer '0' to be a Layer, got \[.*star missing"):
        Sequential([ReLU(), ReLU()])
    with pytest.raises(TypeError, match="expected layer 'act' to be a Layer.*parentheses"):
        Sequential(act=ReLU)
    with pytest.raises(ValueError, match="no layer can be named 'forward'"):
        Sequential(forward=ReLU())


def test_residual_adds_its_paths_forward_and_backward():
    branch, shortcut = Linear(3, 3, rng=0), Linear(3, 3, rng=1)
    residual = Residual(Linear(3, 3, rng=0), Linear(3, 3, rng=1))
    x, dy = normal(2, 3), normal(2, 3, seed=1)
    np.testing.assert_array_equal(residual.forward(x), branch.forward(x) + shortcut.forward(x))
    np.testing.assert_array_equal(residual.backward(dy), branch.backward(dy) + shortcut.backward(dy))


def test_an_identity_shortcut_carries_the_gradient_past_a_dead_branch():
    layers = [Residual(Linear(3, 3, rng=0)) for _ in range(20)]
    for layer in layers:
        layer.branch.weight.data[:] = 0
    net, dy = Sequential(*layers), normal(2, 3)
    net.forward(normal(2, 3, seed=1))
    np.testing.assert_array_equal(net.backward(dy), dy)


def test_residual_of_two_shapes_says_which_and_what_to_do():
    block = Residual(Conv2d(3, 6, 3, stride=2, padding=1, rng=0))
    with pytest.raises(ValueError, match=r"got \(2, 6, 2, 2\) and \(2, 3, 4, 4\).*SubsampleShortcut or a 1x1 Conv2d"):
        block.forward(np.zeros((2, 3, 4, 4), np.float32))


def test_a_composite_is_printed_as_a_tree():
    net = Sequential(block=Residual(Sequential(Linear(2, 2, bias=False, rng=0))), relu=ReLU())
    assert repr(net).splitlines() == [
        "Sequential(",
        "  (block): Residual(",
        "    (branch): Sequential(",
        "      (0): Linear(2, 2, bias=False)",
        "    )",
        "    (shortcut): Identity()",
        "  )",
        "  (relu): ReLU()",
        ")",
    ]


def test_shortcut_a_subsamples_and_pads_channels_half_before_half_after():
    x = normal(2, 2, 5, 4)
    y = SubsampleShortcut(2, 5, stride=2).forward(x)
    assert y.shape == (2, 5, 3, 2)
    np.testing.assert_array_equal(y[:, 1:3], x[:, :, ::2, ::2])
    np.testing.assert_array_equal(y[:, [0, 3, 4]], 0)  # of three new channels, one before and two after


# -- what all layers share ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in LAYER_CASES if "\n" not in repr(LAYER_CASES[case][0])])
def test_repr_shows_how_to_make_the_layer(case):
    layer, _ = LAYER_CASES[case]
    copy = eval(repr(layer), vars(minires.layers))
    assert repr(copy) == repr(layer)
    for name in ("kernel_size", "stride", "pad", "dilation", "groups", "ceil_mode", "eps", "momentum", "p"):
        assert getattr(copy, name, None) == getattr(layer, name, None)
    assert {n: a.shape for n, a in copy.state_dict().items()} == {n: a.shape for n, a in layer.state_dict().items()}


def test_repr_shows_only_what_is_not_default():
    assert repr(Conv2d(16, 32, 3, stride=2)) == "Conv2d(16, 32, 3, stride=2)"
    assert repr(Conv2d(3, 8, (1, 3), padding="same", bias=False)) == (
        "Conv2d(3, 8, (1, 3), padding='same', bias=False)"
    )
    assert repr(MaxPool2d(3, stride=2, padding=1)) == "MaxPool2d(3, stride=2, padding=1)"
    assert (
        repr(AvgPool2d((2, 3), count_include_pad=False)) == "AvgPool2d((2, 3), stride=(2, 3), count_include_pad=False)"
    )
    assert repr(BatchNorm2d(8, momentum=0.01)) == "BatchNorm2d(8, momentum=0.01)"


@pytest.mark.parametrize(
    "make, fan_in",
    [
        (lambda rng: Conv2d(16, 64, 3, rng=rng), 16 * 9),
        (lambda rng: Conv2d(64, 64, (3, 5), groups=4, rng=rng), 16 * 15),
        (lambda rng: Linear(100, 90, rng=rng), 100),
    ],
    ids=["conv", "grouped conv", "linear"],
)
def test_weights_start_as_he_et_al_draw_them(make, fan_in):
    layer = make(0)
    weight = layer.weight.data
    assert weight.dtype == np.float32 and np.all(layer.bias.data == 0)
    deviation = 4 / np.sqrt(2 * weight.size)  # four standard errors of a standard deviation
    assert weight.std() / np.sqrt(2 / fan_in) == pytest.approx(1, abs=deviation)
    np.testing.assert_array_equal(weight, make(np.random.default_rng(0)).weight.data)
    assert np.any(weight != make(1).weight.data)


# -- errors -------------------------------------------------------------------------------------------------------


def images(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    "layer, x, error, message",
    [
        (
            Conv2d(16, 32, kernel_size=3, stride=2, rng=0),
            images(8, 32, 32, 16),
            ValueError,
            r"Conv2d\(16, 32, 3, stride=2\): expected x of shape \(N, 16, H, W\), got \(8, 32, 32, 16\)\. "
            r"Is it NHWC\? Use x\.transpose\(0, 3, 1, 2\)\.",
        ),
        (Conv2d(3, 8, 3, rng=0), images(8, 4, 9, 9), ValueError, "hands on 4 channels; this one was made for 3"),
        (Conv2d(3, 8, 3, rng=0), images(3, 9, 9), ValueError, r"one image\? Use x\[None\]"),
        (Conv2d(3, 8, 3, rng=0), images(0, 3, 9, 9), ValueError, "empty batch"),
        (Conv2d(3, 8, 3, rng=0), np.zeros((1, 3, 9, 9), np.uint8), TypeError, r"got uint8.*astype\(np.float32\)"),
        (Conv2d(3, 8, 3, rng=0), [[1.0]], TypeError, "NumPy array, got list"),
        (
            Conv2d(3, 8, (3, 5), padding=1, dilation=2, rng=0),
            images(1, 3, 9, 6),
            ValueError,
            r"Conv2d\(3, 8, .*\): the kernel spans 5 x 9 pixels, but the padded image has only 11 x 8\. .*more padding",
        ),
        (BatchNorm2d(3), images(2, 4, 4, 3), ValueError, "NHWC"),
        (BatchNorm2d(3), images(2, 5, 4, 4), ValueError, "hands on 5 channels"),
        (BatchNorm2d(3), images(2, 3), ValueError, r"expected x of shape \(N, 3, H, W\), got \(2, 3\)"),
        (MaxPool2d(3), images(1, 1, 2, 9), ValueError, r"MaxPool2d\(3, stride=3\): the kernel spans 3 x 3 .* 2 x 9"),
        (AvgPool2d(3), images(1, 1, 9, 2), ValueError, r"AvgPool2d\(3, stride=3\): the kernel spans 3 x 3 .* 9 x 2"),
        (GlobalAvgPool2d(), images(2, 3), ValueError, r"expected x of shape \(N, C, H, W\), got \(2, 3\)"),
        (Linear(64, 10, rng=0), images(2, 64, 8, 8), ValueError, "Is a GlobalAvgPool2d or Flatten missing"),
        (Linear(64, 10, rng=0), images(2, 32), ValueError, r"Linear\(64, 10\): expected x of shape \(N, 64\), got"),
        (Linear(64, 10, rng=0), images(64), ValueError, r"one example\? Use x\[None\]"),
        (Flatten(), images(0, 3, 4), ValueError, "empty batch"),
        (SubsampleShortcut(16, 32), images(2, 8, 8, 16), ValueError, "NHWC"),
        (ReLU(), np.arange(3), TypeError, r"ReLU\(\): expected x of float32 \(or float64\), got int64"),
        (Sigmoid(), np.arange(3), TypeError, "got int64"),
        (Dropout(rng=0), np.float16([1, 2]), TypeError, r"Dropout\(\): .* got float16"),
        (Identity(), None, TypeError, "NumPy array, got NoneType"),
    ],
)
def test_bad_input_is_named(layer, x, error, message):
    with pytest.raises(error, match=message) as caught:
        layer.forward(x)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: Conv2d(3, 8, 0),
            "Conv2d kernel_size: expected a whole number of at least 1, or a pair of them, got 0",
        ),
        (lambda: Conv2d(3, 8, (3, 3, 3)), r"kernel_size.*got \(3, 3, 3\)"),
        (lambda: Conv2d(3, 8, 3, stride=0), "Conv2d stride.*got 0"),
        (lambda: Conv2d(3, 8, 3, dilation=(1, 0)), r"Conv2d dilation.*got \(1, 0\)"),
        (lambda: Conv2d(3, 8, 3, padding=-1), "Conv2d padding.*at least 0.*got -1"),
        (lambda: Conv2d(3, 8, 3, padding=1.5), "Conv2d padding.*got 1.5"),
        (lambda: Conv2d(3, 8, 3, padding="full"), 'expected padding "same", "valid".*got \'full\''),
        (lambda: Conv2d(3, 8, 3, stride=2, padding="same"), r"needs stride 1, got stride=\(2, 2\).*kernel_size // 2"),
        (lambda: Conv2d(3, 8, 3, groups=2), "groups to divide in_channels and out_channels, got groups=2 for 3 and 8"),
        (lambda: Conv2d(4, 6, 3, groups=4), "got groups=4 for 4 and 6"),
        (lambda: Conv2d(4, 6, 3, groups=0), "expected groups, a whole number of at least 1, got 0"),
        (lambda: Conv2d(0, 6, 3), "Conv2d: expected in_channels, a whole number of at least 1, got 0"),
        (lambda: Conv2d(16 / 2, 6, 3), "expected in_channels, a whole number .*got 8.0"),
        (lambda: BatchNorm2d(0), "BatchNorm2d: expected num_features.*got 0"),
        (lambda: BatchNorm2d(16 / 2), "whole number.*got 8.0"),
        (lambda: Linear(4, -1), "Linear: expected out_features, .*got -1"),
        (lambda: MaxPool2d(3, padding=2), r"MaxPool2d: expected padding of at most half the kernel, got padding=2"),
        (lambda: AvgPool2d((4, 2), padding=(2, 2)), r"at most half the kernel, got padding=\(2, 2\)"),
        (lambda: AvgPool2d(2, divisor_override=0), "divisor_override, a whole number of at least 1, got 0"),
        (lambda: MaxPool2d(2, stride=0), "MaxPool2d stride.*got 0"),
        (lambda: Dropout(1.5), "Dropout: expected p, a number from 0 to 1, got 1.5"),
        (lambda: Conv2d(True, 4, 3), "Conv2d: expected in_channels, a whole number of at least 1, got True"),
        (lambda: Conv2d(3, "4", 3), "Conv2d: expected out_channels, a whole number of at least 1, got '4'"),
        (lambda: Conv2d(3, 4, 3, groups=None), "Conv2d: expected groups, .*got None"),
        (lambda: Conv2d(3, 4, "3"), "Conv2d kernel_size: expected a whole number.*got '3'"),
        (lambda: Conv2d(3, 4, 3, bias="yes"), "Conv2d: expected bias, True or False, got 'yes'"),
        (lambda: Conv2d(3, 4, 3, rng="seed"), "Conv2d: expected rng, a numpy.random.Generator.*got 'seed'"),
        (lambda: Linear(3, 4, 0), "Linear: expected bias, True or False, got 0"),
        (lambda: Linear(None, 4), "Linear: expected in_features, .*got None"),
        (lambda: BatchNorm2d(3, eps=-1), "BatchNorm2d: expected eps, a finite number of at least 0, got -1"),
        (lambda: BatchNorm2d(3, momentum=None), "BatchNorm2d: expected momentum, a number from 0 to 1, got None"),
        (lambda: AvgPool2d(2, ceil_mode="no"), "AvgPool2d: expected ceil_mode, True or False, got 'no'"),
        (lambda: Dropout("half"), "Dropout: expected p, a number from 0 to 1, got 'half'"),
        (lambda: Dropout(math.nan), "Dropout: expected p, a number from 0 to 1, got nan"),
        (lambda: Scale(math.nan), "Scale: expected factor, a finite number, got nan"),
        (lambda: Scale([2]), r"Scale: expected factor, a finite number, got \[2\]"),
        (lambda: SubsampleShortcut(8, 4), "out_channels, a whole number of at least 8, got 4.*1x1 Conv2d"),
        (lambda: SubsampleShortcut(4, 8, stride=0), "SubsampleShortcut: expected stride.*got 0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
