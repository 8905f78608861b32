"""Visible tests of assignment 4. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np

from minires import Parameter
from minires.course import submitted

mine = submitted(__file__, "optimizers.py")


def steps(optimizer, parameter, gradients):
    """The values of a parameter of one number after each step."""
    values = []
    for gradient in gradients:
        parameter.grad[...] = gradient
        optimizer.step()
        values.append(float(parameter.data[0]))
    return values


def test_task_4_1_sgd_goes_against_the_gradient():
    w = Parameter(np.array([1.0]))
    np.testing.assert_allclose(steps(mine.SGD([w], lr=0.1), w, [2, -4]), [0.8, 1.2], rtol=1e-12)


def test_task_4_1_sgd_moves_every_parameter():
    a, b = Parameter(np.ones((2, 3))), Parameter(np.ones(4))
    a.grad[...] = 1
    b.grad[...] = 2
    mine.SGD([a, b], lr=0.5).step()
    np.testing.assert_allclose(a.data, np.full((2, 3), 0.5))
    np.testing.assert_allclose(b.data, np.zeros(4))


def test_task_4_2_momentum_remembers():
    w = Parameter(np.array([0.0]))
    optimizer = mine.Momentum([w], lr=0.1, momentum=0.5)
    np.testing.assert_allclose(steps(optimizer, w, [1, 1, 0]), [-0.1, -0.25, -0.325], rtol=1e-12)


def test_task_4_2_weight_decay_pulls_towards_0():
    w = Parameter(np.array([2.0]))
    optimizer = mine.Momentum([w], lr=0.1, momentum=0.0, weight_decay=0.5)
    np.testing.assert_allclose(steps(optimizer, w, [0, 0]), [1.9, 1.805], rtol=1e-12)


def test_task_4_3_the_first_step_of_adam_is_as_long_as_the_rate():
    w = Parameter(np.array([0.0]))
    np.testing.assert_allclose(steps(mine.Adam([w], lr=0.01), w, [1000.0]), [-0.01], rtol=1e-6)


def test_task_4_3_three_steps_of_adam():
    w = Parameter(np.array([1.0]))
    optimizer = mine.Adam([w], lr=0.1, beta1=0.5, beta2=0.75, eps=0.0)
    # by hand: m = 1, 0, 1/2; s = 1, 1, 1; divided by 1 - beta^t: m 2, 0, 4/7; s 4, 16/7, 64/37
    expected = [0.9, 0.9, 0.9 - 0.1 * (4 / 7) / np.sqrt(64 / 37)]
    np.testing.assert_allclose(steps(optimizer, w, [2.0, -1.0, 1.0]), expected, rtol=1e-9)


def test_task_4_4_up_a_line_and_down_a_cosine():
    rates = [mine.schedule(step, 12, 0.4, 4) for step in range(12)]
    np.testing.assert_allclose(rates[:5], [0.1, 0.2, 0.3, 0.4, 0.4], rtol=1e-12)
    np.testing.assert_allclose(rates[8], 0.2, rtol=1e-12)
    assert all(a > b for a, b in zip(rates[4:], rates[5:])) and rates[-1] > 0
