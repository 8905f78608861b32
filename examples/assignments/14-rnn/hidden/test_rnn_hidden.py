"""Hidden tests of assignment 14."""

import numpy as np
import pytest

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "rnn.py")


def by_windows(rnn, x, dy, window):
    """The gradients of truncated backpropagation, written out: every window with the state that came before it."""
    w_x, w_h = rnn.weight_x.data, rnn.weight_h.data
    states = [np.zeros((len(x), len(w_h)))]
    for t in range(x.shape[1]):
        states.append(np.tanh(x[:, t] @ w_x.T + states[-1] @ w_h.T + rnn.bias.data))
    dx, gradients = np.zeros_like(x), [np.zeros_like(w_x), np.zeros_like(w_h), np.zeros(len(w_h))]
    for start in range(0, x.shape[1], window):
        later = 0
        for t in reversed(range(start, min(start + window, x.shape[1]))):
            da = (dy[:, t] + later) * (1 - states[t + 1] ** 2)
            later, dx[:, t] = da @ w_h, da @ w_x
            for total, part in zip(gradients, (da.T @ x[:, t], da.T @ states[t], da.sum(axis=0))):
                total += part
    return dx, gradients


def test_task_14_1_a_batch():
    rng = seeded(11)
    x, h, w_x, w_h, b = (rng.normal(size=s) for s in ((4, 3), (4, 2), (2, 3), (2, 2), 2))
    np.testing.assert_allclose(mine.step(x, h, w_x, w_h, b), np.tanh(x @ w_x.T + h @ w_h.T + b), rtol=1e-12)


@pytest.mark.parametrize("shape, hidden", [((1, 1, 2), 2), ((3, 8, 1), 2), ((2, 3, 4), 1)])
def test_task_14_2_the_derivative_of_other_shapes(shape, hidden):
    check_layer(mine.RNN(shape[2], hidden, seed=3), seeded(12).normal(size=shape))


@pytest.mark.parametrize("window", [2, 3, 5, 7, 100])
def test_task_14_3_windows_from_the_first_step_on(window):
    rnn, x = mine.RNN(2, 3, window=window, seed=4), seeded(13).normal(size=(2, 7, 2))
    dy = seeded(14).normal(size=(2, 7, 3))
    expected, gradients = by_windows(rnn, x, dy, window)
    rnn.forward(x)
    np.testing.assert_allclose(rnn.backward(dy), expected, rtol=1e-9, atol=1e-12)
    for parameter, gradient in zip((rnn.weight_x, rnn.weight_h, rnn.bias), gradients):
        np.testing.assert_allclose(parameter.grad, gradient, rtol=1e-9, atol=1e-12)


def test_task_14_3_forward_runs_on_across_windows():
    x = seeded(15).normal(size=(2, 6, 2))
    cut, whole = mine.RNN(2, 3, window=2, seed=5), mine.RNN(2, 3, seed=5)
    for parameter in (*cut.parameters(), *whole.parameters()):
        parameter.data[...] = 0.3
    np.testing.assert_array_equal(cut.forward(x), whole.forward(x))
    dy = np.ones((2, 6, 3))
    assert not np.allclose(cut.backward(dy), whole.backward(dy))


def test_task_14_4_small_gradients_stay():
    norm, (a,) = mine.clipped([np.array([0.3, -0.4])], 1.0)
    assert norm == pytest.approx(0.5)
    np.testing.assert_array_equal(a, [0.3, -0.4])


def test_task_14_4_arrays_of_several_shapes():
    arrays = [seeded(16).normal(size=(3, 4)), seeded(17).normal(size=5)]
    total = np.sqrt(sum(np.sum(a**2) for a in arrays))
    norm, after = mine.clipped(arrays, 0.5)
    assert norm == pytest.approx(total, rel=1e-9)
    for before, now in zip(arrays, after):
        np.testing.assert_allclose(now, before * 0.5 / total, rtol=1e-9)
