"""Visible tests of assignment 5. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np
import pytest

from minires.course import seeded, submitted

mine = submitted(__file__, "checker.py")


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def softmax_backward(x, dy):
    p = softmax(x)
    return p * (dy - np.sum(p * dy))


HONEST = {
    "cube": (lambda x: x**3, lambda x, dy: 3 * x**2 * dy),
    "relu": (lambda x: np.maximum(x, 0), lambda x, dy: (x > 0) * dy),
    "softmax": (softmax, softmax_backward),
    "sum of a row": (lambda x: x.sum(axis=-1), lambda x, dy: np.repeat(dy[..., None], x.shape[-1], axis=-1)),
}


def wrong_at_one(x, dy):
    dx = 3 * x**2 * dy
    dx.reshape(-1)[-1] *= 2
    return dx


SINE = (np.sin, lambda x, dy: np.cos(x) * dy)
LIARS = {  # what it claims to be the derivative of, and the lie
    "forgets a factor": (*HONEST["cube"], lambda x, dy: x**2 * dy),
    "mask from dy": (*HONEST["relu"], lambda x, dy: (dy > 0) * (x > 0) * dy),
    "zeros for a softmax": (*HONEST["softmax"], lambda x, dy: np.zeros_like(x)),
    "wrong at one entry": (*HONEST["cube"], wrong_at_one),
    "a part in a thousand": (*SINE, lambda x, dy: 1.001 * np.cos(x) * dy),
}


def test_task_5_1_slopes_of_a_quadratic():
    x = seeded(1).normal(size=(2, 3))
    np.testing.assert_allclose(mine.numeric_gradient(lambda x: float(np.sum(x**2)), x), 2 * x, rtol=1e-7)


def test_task_5_1_both_sides_are_looked_at():
    slope = mine.numeric_gradient(lambda x: float(np.sum(x**2)), np.array([1.0]), 0.1)
    np.testing.assert_allclose(slope, [2], rtol=1e-9)  # one side would give 2.1: its error is h, here it is 0


def test_task_5_2_the_worst_entry_counts():
    error = mine.worst_error(np.array([1.0, 2.0, 10.0]), np.array([1.0, 2.3, 10.0]))
    assert error == pytest.approx(0.3 / (2.3 + 1), rel=1e-9)


def test_task_5_2_two_arrays_of_zeros_agree():
    assert mine.worst_error(np.zeros(3), np.zeros(3)) == 0 < mine.worst_error(np.zeros(3), np.ones(3))


@pytest.mark.parametrize("which", HONEST)
def test_task_5_3_the_honest_are_believed_and_twice_as_much_is_not(which):
    (forward, backward), x = HONEST[which], seeded(2).normal(size=(3, 4))
    assert mine.check(forward, backward, x, 0) < 1e-6
    assert mine.check(forward, lambda x, dy: 2 * backward(x, dy), x, 0) > 1e-4


@pytest.mark.parametrize("which", LIARS)
def test_task_5_3_the_five_that_lie_are_caught_and_the_truth_is_not(which):
    (forward, truth, lie), x = LIARS[which], seeded(3).normal(size=(6, 8))
    assert mine.check(forward, lie, x, 0) > 1e-4
    assert mine.check(forward, truth, x, 0) < 1e-6


def test_task_5_4_the_kink_of_the_absolute_value():
    found = mine.kinks(lambda x: float(np.sum(np.abs(x))), np.array([-1.0, 0.0, 2.0]))
    np.testing.assert_array_equal(found, [False, True, False])
