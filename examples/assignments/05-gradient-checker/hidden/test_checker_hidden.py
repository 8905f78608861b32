"""Hidden tests of assignment 5: others that lie, others that are honest."""

import numpy as np
import pytest

from minires.course import seeded, submitted

mine = submitted(__file__, "checker.py")


def normalise(x):
    return (x - x.mean()) / x.std()


def normalise_backward(x, dy, mean_too=True):
    z = normalise(x)
    return (dy - mean_too * dy.mean() - z * np.mean(dy * z)) / x.std()


def test_task_5_1_x_is_as_before_and_f_gets_float64():
    x = np.float32([1, 2, 3])
    slope = mine.numeric_gradient(lambda x: float(np.sum(x**3)), x)
    np.testing.assert_allclose(slope, [3, 12, 27], rtol=1e-6)
    np.testing.assert_array_equal(x, np.float32([1, 2, 3]))


def test_task_5_1_slopes_have_the_shape_of_x():
    x = seeded(11).normal(size=(2, 1, 4))
    slope = mine.numeric_gradient(lambda x: float(np.sum(np.exp(x))), x, 1e-5)
    assert slope.shape == (2, 1, 4)
    np.testing.assert_allclose(slope, np.exp(x), rtol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_task_5_2_no_number_is_infinitely_wrong_and_a_number_is_not(bad):
    assert mine.worst_error(np.ones(3), np.array([1, bad, 1])) == np.inf > mine.worst_error(np.ones(3), np.zeros(3))


def test_task_5_2_rounding_is_not_an_error():
    assert mine.worst_error(np.array([1.0, 1e-15]), np.array([1.0, -1e-15])) < 1e-12
    assert mine.worst_error(np.array([1.0, 1e-15]), np.array([1.0, -1e-2])) > 1e-3


def test_task_5_2_the_sign_counts():
    error = mine.worst_error(np.array([[1.0, -4.0]]), np.array([[1.0, 4.0]]))
    assert error == pytest.approx(8 / 4.4, rel=1e-9)


def check_both(forward, truth, lie, x, seed=0):
    """Return what the checker says of the lie, if it believes the truth."""
    assert mine.check(forward, truth, x, seed) < 1e-6
    return mine.check(forward, lie, x, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_task_5_3_normalisation_is_believed_and_the_forgotten_path_through_the_mean_is_not(seed):
    lie = lambda x, dy: normalise_backward(x, dy, mean_too=False)  # noqa: E731
    assert check_both(normalise, normalise_backward, lie, seeded(12).normal(size=12), seed) > 1e-3


def test_task_5_3_zeros_for_a_normalisation_are_caught():
    zeros = lambda x, dy: np.zeros_like(x)  # noqa: E731
    assert check_both(normalise, normalise_backward, zeros, seeded(14).normal(size=12)) > 0.5


def test_task_5_3_a_wrong_sign_at_one_entry_in_the_middle():
    def lie(x, dy):
        dx = np.cos(x) * dy
        dx[3, 2] *= -1
        return dx

    assert check_both(np.sin, lambda x, dy: np.cos(x) * dy, lie, seeded(15).normal(size=(6, 5))) > 1e-3


def test_task_5_3_dy_is_not_the_x_of_the_tests():
    for seed in range(3):  # people draw their x from default_rng(seed)
        x = np.random.default_rng(seed).normal(size=20)
        relu, truth = lambda x: np.maximum(x, 0), lambda x, dy: (x > 0) * dy
        assert check_both(relu, truth, lambda x, dy: (dy > 0) * dy, x, seed) > 0.01


def test_task_5_4_smooth_is_not_a_kink():
    x = seeded(16).normal(size=(3, 3))
    found = mine.kinks(lambda x: float(np.sum(np.exp(3 * x))), x)
    np.testing.assert_array_equal(found, np.zeros((3, 3), bool))
    assert np.all(mine.kinks(lambda x: float(np.sum(np.abs(x))), 0 * x))


def test_task_5_4_two_equal_maxima():
    found = mine.kinks(lambda x: float(np.max(x)), np.array([[1.0, 3.0], [3.0, 2.0]]))
    np.testing.assert_array_equal(found, [[False, True], [True, False]])
