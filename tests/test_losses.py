"""The losses and their gradients: values written out, slopes measured, bad input named."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.gradcheck import GradientError, check_loss
from minires.losses import mean_squared_error, softmax_cross_entropy


def draw(N, K, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, K)), rng.integers(K, size=N)


def cross_entropy_by_definition(logits, labels, eps, weight):
    """Sums of logarithms of probabilities, one at a time."""
    loss = total = 0
    for z, label in zip(logits, labels):
        exps = [math.exp(v) for v in z]
        K = len(z)
        loss -= (1 - eps) * weight[label] * math.log(exps[label] / sum(exps))
        loss -= eps / K * sum(weight[k] * math.log(exps[k] / sum(exps)) for k in range(K))
        total += weight[label]
    return loss / total


SMOOTHINGS = st.sampled_from([0.0, 0.1, 0.5, 1.0])


@given(N=st.integers(1, 5), K=st.integers(1, 6), eps=SMOOTHINGS, weighted=st.booleans(), seed=st.integers(0, 99))
def test_cross_entropy_is_the_sum_of_its_definition(N, K, eps, weighted, seed):
    logits, labels = draw(N, K, seed)
    weight = np.random.default_rng(seed).uniform(0.1, 2, K) if weighted else None
    loss, _ = softmax_cross_entropy(logits, labels, label_smoothing=eps, weight=weight)
    expected = cross_entropy_by_definition(logits, labels, eps, np.ones(K) if weight is None else weight)
    assert loss == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("eps", [0, 0.1, 1])
@pytest.mark.parametrize("weight", [None, [0.5, 1, 0, 2, 3]])
@pytest.mark.parametrize("N", [1, 4])
def test_dlogits_is_the_derivative_of_cross_entropy(N, eps, weight):
    logits, labels = draw(N, 5)
    check_loss(softmax_cross_entropy, logits * 3, labels, label_smoothing=eps, weight=weight)


def test_dprediction_is_the_derivative_of_the_mean_squared_error():
    rng = np.random.default_rng(0)
    check_loss(mean_squared_error, rng.normal(size=(3, 2, 4)), rng.normal(size=(3, 2, 4)))


def sums_over_the_batch(logits, labels):
    loss, dlogits = softmax_cross_entropy(logits, labels)
    return loss, dlogits * len(logits)


def forgets_the_label(logits, labels):
    loss, dlogits = softmax_cross_entropy(logits, labels)
    dlogits = dlogits.copy()
    dlogits[0, labels[0]] += 1 / len(logits)
    return loss, dlogits


def divides_by_the_batch_alone(logits, labels):
    loss, _ = softmax_cross_entropy(logits, labels, weight=[1, 2, 3, 4, 5])
    return loss, softmax_cross_entropy(logits, labels)[1]


@pytest.mark.parametrize("wrong", [sums_over_the_batch, forgets_the_label, divides_by_the_batch_alone])
def test_the_check_catches_a_wrong_dlogits(wrong):
    logits, labels = draw(3, 5)
    with pytest.raises(GradientError, match="wrong"):
        check_loss(wrong, logits, labels)


def test_a_net_that_knows_nothing_has_the_loss_log_k():
    loss, dlogits = softmax_cross_entropy(np.full((2, 10), 7.0), np.array([3, 9]))
    assert loss == pytest.approx(math.log(10))
    np.testing.assert_allclose(dlogits[0], [0.05] * 3 + [-0.45] + [0.05] * 6, rtol=1e-12)


def test_raising_all_logits_changes_nothing_and_rows_of_dlogits_add_to_0():
    logits, labels = draw(4, 6)
    loss, dlogits = softmax_cross_entropy(logits, labels, label_smoothing=0.1, weight=np.arange(1, 7))
    raised, draised = softmax_cross_entropy(logits + 5, labels, label_smoothing=0.1, weight=np.arange(1, 7))
    assert raised == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(draised, dlogits, rtol=1e-9)
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_huge_logits_overflow_nowhere(dtype):
    logits = np.array([[3e4, 0, -3e4], [-3e4, 0, 3e4]], dtype)
    loss, dlogits = softmax_cross_entropy(logits, np.array([0, 0]))
    assert loss == pytest.approx(3e4)
    np.testing.assert_array_equal(dlogits, [[0, 0, 0], [-0.5, 0, 0.5]])


def test_equal_class_weights_change_nothing_and_a_weight_of_0_leaves_a_class_out():
    logits, labels = draw(6, 3)
    assert softmax_cross_entropy(logits, labels, weight=[2, 2, 2])[0] == pytest.approx(
        softmax_cross_entropy(logits, labels)[0]
    )
    kept = labels != 1
    loss, dlogits = softmax_cross_entropy(logits, labels, weight=[1, 0, 1])
    assert 0 < kept.sum() < 6 and loss == pytest.approx(softmax_cross_entropy(logits[kept], labels[kept])[0])
    np.testing.assert_array_equal(dlogits[~kept], 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_keep_the_dtype_and_the_loss_is_a_number(dtype):
    logits, labels = draw(4, 3)
    logits = logits.astype(dtype)
    logits.flags.writeable = False
    for given_labels in (labels, labels.astype(np.uint8), labels.tolist()):
        loss, dlogits = softmax_cross_entropy(logits, given_labels, label_smoothing=0.1, weight=np.ones(3))
        assert type(loss) is float and dlogits.dtype == dtype
    loss, dprediction = mean_squared_error(logits, np.zeros((4, 3), int))
    assert type(loss) is float and dprediction.dtype == dtype


def test_the_mean_squared_error_is_over_every_number():
    loss, dprediction = mean_squared_error(np.array([[1.0, 2], [3, 4]]), np.array([[1, 2], [3, 0]]))
    assert loss == 4
    np.testing.assert_array_equal(dprediction, [[0, 0], [0, 2]])


LOGITS = np.zeros((2, 10), np.float32)


@pytest.mark.parametrize(
    "logits, labels, options, error, message",
    [
        (LOGITS, [3, 10], {}, ValueError, "labels from 0 to 9, as logits have 10 classes, got 10.*start at 1"),
        (LOGITS, [3, -1], {}, ValueError, "labels from 0 to 9, as logits have 10 classes, got -1"),
        (LOGITS, [3.0, 4.0], {}, TypeError, r"labels, numbers of classes, as ints, got float64\. Use \.astype\(int\)"),
        (LOGITS, [1, 2, 3], {}, ValueError, r"labels of shape \(2,\), one per row of logits, got \(3,\)"),
        (LOGITS, np.eye(10)[:2], {}, ValueError, r"got \(2, 10\)\. Are they one-hot\? Use labels\.argmax\(axis=1\)"),
        (LOGITS[0], [3], {}, ValueError, r"logits of shape \(N, K\), K classes per row, got \(10,\)"),
        (LOGITS[:0], [], {}, ValueError, r"empty batch \(0, 10\)"),
        (LOGITS.astype(int), [1, 2], {}, TypeError, r"logits, an array of float32 \(or float64\), got int64"),
        ([[0.0, 1.0]], [1], {}, TypeError, "got list"),
        (LOGITS * np.nan, [1, 2], {}, ValueError, r"finite logits, got nan at \(0, 0\)\. .*lower the learning rate"),
        (LOGITS + [[0], [np.inf]], [1, 2], {}, ValueError, r"finite logits, got inf at \(1, 0\)"),
        (LOGITS, [1, 2], {"label_smoothing": 1.5}, ValueError, "label_smoothing, a number from 0 to 1, got 1.5"),
        (LOGITS, [1, 2], {"weight": [1, 2]}, ValueError, r"weight of shape \(10,\), one per class, got \(2,\)"),
        (LOGITS, [1, 2], {"weight": np.zeros(10)}, ValueError, "weight above 0 for some label"),
    ],
)
def test_bad_input_of_cross_entropy_is_named(logits, labels, options, error, message):
    with pytest.raises(error, match=f"softmax_cross_entropy: expected .*{message}") as caught:
        softmax_cross_entropy(logits, labels, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "prediction, target, error, message",
    [
        (np.zeros((3, 1)), np.zeros(3), ValueError, r"target of shape \(3, 1\), as prediction, got \(3,\)"),
        (np.zeros(3, int), np.zeros(3), TypeError, "prediction, an array of float32.*got int64"),
        (np.array([1.0, np.nan]), np.zeros(2), ValueError, r"finite prediction, got nan at \(1,\)"),
        (np.zeros((0, 2)), np.zeros((0, 2)), ValueError, "empty batch"),
    ],
)
def test_bad_input_of_the_squared_error_is_named(prediction, target, error, message):
    with pytest.raises(error, match=f"mean_squared_error: expected .*{message}"):
        mean_squared_error(prediction, target)


# -- the ends of the range of numbers -----------------------------------------------------------------------------


def test_logits_at_the_ends_of_float32_have_a_finite_loss():
    loss, dlogits = softmax_cross_entropy(np.float32([[3e38, 3e38, -3e38]]), np.array([0]))
    assert loss == pytest.approx(math.log(2), rel=1e-6)
    np.testing.assert_array_equal(dlogits, [[-0.5, 0.5, 0]])
    for smoothing in (0, 0.1):
        ends = softmax_cross_entropy(np.array([[1.7e308, 0, -1.7e308]]), [2], label_smoothing=smoothing)
        assert np.isfinite(ends[0]) and np.isfinite(ends[1]).all()


def test_nothing_is_raised_where_exp_underflows():
    with np.errstate(all="raise"):
        assert softmax_cross_entropy(np.float32([[1000, 0, -1000]]), [0])[0] == 0
        assert mean_squared_error(np.float32([1e-30]), np.zeros(1))[0] == 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"weight": [1, -1, 1]}, "a finite weight of at least 0 for each class"),
        ({"weight": [1, np.nan, 1]}, "a finite weight of at least 0 for each class"),
        ({"weight": ["a", "b", "c"]}, "weight, an array of numbers, got <U1"),
        ({"weight": np.ma.ones(3)}, "weight, an array of numbers, got a masked array"),
        ({"label_smoothing": "much"}, "label_smoothing, a number from 0 to 1, got 'much'"),
        ({"label_smoothing": None}, "label_smoothing, a number from 0 to 1, got None"),
        ({"label_smoothing": np.nan}, "label_smoothing, a number from 0 to 1, got nan"),
    ],
)
def test_wrong_options_of_cross_entropy_are_named(options, message):
    with pytest.raises(ValueError, match=f"softmax_cross_entropy: expected {message}"):
        softmax_cross_entropy(np.zeros((2, 3)), [0, 1], **options)


def test_masked_arrays_are_refused():
    masked = np.ma.masked_less(np.ones((2, 3)), 0)
    with pytest.raises(TypeError, match="expected logits, an array of float32 .*, got MaskedArray"):
        softmax_cross_entropy(masked, [0, 1])
    with pytest.raises(TypeError, match="expected labels, an array of numbers, got a masked array"):
        softmax_cross_entropy(np.ones((2, 3)), np.ma.array([0, 1]))
    with pytest.raises(TypeError, match="expected target, an array of numbers, got a masked array"):
        mean_squared_error(np.ones((2, 3)), masked)


def test_a_loss_is_asked_for_backward_and_says_what_to_do():
    with pytest.raises(AttributeError, match=r"no attribute 'backward': a loss comes with its gradient.*net.backward"):
        softmax_cross_entropy(np.zeros((2, 3)), [0, 1]).backward()
