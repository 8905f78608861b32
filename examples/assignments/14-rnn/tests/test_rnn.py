"""Visible tests of assignment 14. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np
import pytest

from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "rnn.py")


def test_task_14_1_one_step():
    h = mine.step(np.array([[1.0]]), np.array([[0.5]]), np.array([[2.0]]), np.array([[-3.0]]), np.array([0.25]))
    np.testing.assert_allclose(h, [[np.tanh(2 - 1.5 + 0.25)]], rtol=1e-12)


def test_task_14_2_states_follow_one_another():
    rnn, x = mine.RNN(2, 3), seeded(1).normal(size=(4, 5, 2))
    y = rnn.forward(x)
    assert y.shape == (4, 5, 3)
    w_x, w_h = rnn.weight_x.data, rnn.weight_h.data
    np.testing.assert_allclose(y[:, 0], np.tanh(x[:, 0] @ w_x.T), rtol=1e-9)
    np.testing.assert_allclose(y[:, 3], np.tanh(x[:, 3] @ w_x.T + y[:, 2] @ w_h.T), rtol=1e-9)


def test_task_14_2_backward_is_the_derivative():
    check_layer(mine.RNN(2, 3), seeded(2).normal(size=(2, 5, 2)))


def test_task_14_3_a_window_of_one_step_knows_no_past():
    rnn, x, dy = mine.RNN(2, 3, window=1), seeded(3).normal(size=(2, 4, 2)), seeded(4).normal(size=(2, 4, 3))
    y = rnn.forward(x)
    np.testing.assert_allclose(rnn.backward(dy), (dy * (1 - y**2)) @ rnn.weight_x.data, rtol=1e-9)


def test_task_14_4_the_norm_of_all_arrays_together():
    norm, (a, b) = mine.clipped([np.array([3.0]), np.array([0.0, 4.0])], 1.0)
    assert norm == pytest.approx(5)
    np.testing.assert_allclose(np.concatenate([a, b]), [0.6, 0, 0.8])
