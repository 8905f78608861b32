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
def test_task_5_2_no_number_is_infinitely_wrong(bad):
    assert mine.worst_error(np.ones(3), np.array([1, bad, 1])) == np.inf


def test_task_5_2_rounding_is_not_an_error():
    assert mine.worst_error(np.array([1.0, 1e-15]), np.array([1.0, -1e-15])) < 1e-12


def test_task_5_2_the_sign_counts():
    np.testing.assert_allclose(mine.worst_error(np.array([[1.0, -4.0]]), np.array([[1.0, 4.0]])), 8 / 4.4, rtol=1e-9)


@pytest.mark.parametrize("seed", [1, 2])
def test_task_5_3_normalisation_is_believed(seed):
    assert mine.check(normalise, normalise_backward, seeded(12).normal(size=12), seed) < 1e-6


def test_task_5_3_the_path_through_the_mean_is_missed():
    lie = lambda x, dy: normalise_backward(x, dy, mean_too=False)  # noqa: E731
    assert mine.check(normalise, lie, seeded(13).normal(size=12), 0) > 1e-3


def test_task_5_3_zeros_for_a_normalisation_are_caught():
    assert mine.check(normalise, lambda x, dy: np.zeros_like(x), seeded(14).normal(size=12), 0) > 0.5


def test_task_5_3_a_wrong_sign_at_one_entry_in_the_middle():
    def lie(x, dy):
        dx = np.cos(x) * dy
        dx[3, 2] *= -1
        return dx

    assert mine.check(np.sin, lie, seeded(15).normal(size=(6, 5)), 0) > 1e-3


def test_task_5_3_dy_is_not_the_x_of_the_tests():
    for seed in range(3):  # people draw their x from default_rng(seed)
        x = np.random.default_rng(seed).normal(size=20)
        assert mine.check(lambda x: np.maximum(x, 0), lambda x, dy: (dy > 0) * dy, x, seed) > 0.01


def test_task_5_4_smooth_is_not_a_kink():
    x = seeded(16).normal(size=(3, 3))
    assert not np.any(mine.kinks(lambda x: float(np.sum(np.exp(3 * x))), x))


def test_task_5_4_two_equal_maxima():
    found = mine.kinks(lambda x: float(np.max(x)), np.array([[1.0, 3.0], [3.0, 2.0]]))
    np.testing.assert_array_equal(found, [[False, True], [True, False]])
