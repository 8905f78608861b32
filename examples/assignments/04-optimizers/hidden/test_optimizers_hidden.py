"""Hidden tests of assignment 4: several steps against the formulas, written out."""

import numpy as np
import pytest

from minires import Parameter
from minires.course import seeded, submitted

mine = submitted(__file__, "optimizers.py")


def walk(optimizer, parameters, gradients):
    for step in gradients:
        for parameter, gradient in zip(parameters, step):
            parameter.grad[...] = gradient
        optimizer.step()


def some(seed, steps=5):
    rng = seeded(seed)
    starts = [rng.normal(size=(3, 2)), rng.normal(size=4)]
    return (
        starts,
        [Parameter(start) for start in starts],
        [[rng.normal(size=s.shape) for s in starts] for _ in range(steps)],
    )


def test_task_4_1_the_gradient_and_the_array_stay_the_same_objects():
    (w,) = [Parameter(np.ones(3))]
    data, w.grad[...] = w.data, 2
    mine.SGD([w], lr=0.25).step()
    np.testing.assert_allclose(data, 0.5)  # the layer's own array, not a new one
    np.testing.assert_array_equal(w.grad, 2)


@pytest.mark.parametrize("momentum, decay", [(0.9, 0.0), (0.8, 0.01)])
def test_task_4_2_five_steps_with_momentum(momentum, decay):
    starts, parameters, gradients = some(12)
    walk(mine.Momentum(parameters, 0.1, momentum, decay), parameters, gradients)
    for i, w in enumerate(starts):
        v = 0
        for step in gradients:
            v = momentum * v + step[i] + decay * w
            w = w - 0.1 * v
        np.testing.assert_allclose(parameters[i].data, w, rtol=1e-9)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.75)])
def test_task_4_3_five_steps_of_adam(betas):
    starts, parameters, gradients = some(13)
    one, two = betas
    walk(mine.Adam(parameters, 0.01, one, two, 1e-3), parameters, gradients)
    for i, w in enumerate(starts):
        m = s = 0
        for t, step in enumerate(gradients, 1):
            m, s = one * m + (1 - one) * step[i], two * s + (1 - two) * step[i] ** 2
            w = w - 0.01 * (m / (1 - one**t)) / (np.sqrt(s / (1 - two**t)) + 1e-3)
        np.testing.assert_allclose(parameters[i].data, w, rtol=1e-9)


def test_task_4_3_adam_leaves_the_gradient_alone():
    _, parameters, gradients = some(14, 2)
    walk(mine.Adam(parameters), parameters, gradients)
    np.testing.assert_array_equal(parameters[0].grad, gradients[-1][0])


def test_task_4_3_two_optimizers_share_nothing():
    a, b = Parameter(np.zeros(2)), Parameter(np.zeros(2))
    first, second = mine.Adam([a], lr=0.1), mine.Adam([b], lr=0.1)
    for _ in range(3):
        a.grad[...] = 1
        first.step()
    b.grad[...] = 1
    second.step()
    np.testing.assert_allclose(b.data, -0.1, rtol=1e-6)


@pytest.mark.parametrize("steps, peak, warmup", [(100, 0.1, 10), (50, 2.0, 0), (7, 1.0, 3)])
def test_task_4_4_other_schedules(steps, peak, warmup):
    rates = [mine.schedule(step, steps, peak, warmup) for step in range(steps)]
    t = (np.arange(warmup, steps) - warmup) / (steps - warmup)
    expected = [*(peak * np.arange(1, warmup + 1) / max(warmup, 1)), *(peak * (1 + np.cos(np.pi * t)) / 2)]
    np.testing.assert_allclose(rates, expected, rtol=1e-9)
