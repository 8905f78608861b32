"""Hidden tests of assignment 3."""

import numpy as np
import pytest

from minires import check_loss
from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "two_layer.py")
given = submitted(__file__, "given.py")


@pytest.mark.parametrize("sizes", [(1, 1, 1), (7, 2, 3), (2, 6, 9)])
def test_task_3_1_linear_of_other_sizes(sizes):
    examples, inputs, outputs = sizes
    check_layer(mine.Linear(inputs, outputs, seed=3), seeded(11).normal(size=(examples, inputs)))
    linear = mine.Linear(inputs, outputs, seed=3)
    np.testing.assert_allclose(linear.forward(np.eye(inputs)).T, linear.weight.data, rtol=1e-6)


def test_task_3_2_large_logits_do_not_overflow():
    loss, dlogits = mine.softmax_cross_entropy(np.array([[1000.0, 0.0, -1000.0], [1e4, 1e4, 0.0]]), np.array([2, 1]))
    np.testing.assert_allclose(loss, (2000 + np.log(2)) / 2, rtol=1e-9)
    np.testing.assert_allclose(dlogits, [[0.5, 0, -0.5], [0.25, -0.25, 0]], atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 2), (9, 3), (4, 10)])
def test_task_3_2_the_gradient_for_other_shapes(shape):
    labels = seeded(12).integers(0, shape[1], shape[0])
    logits = 2 * seeded(13).normal(size=shape)
    assert mine.softmax_cross_entropy(logits, labels)[0] > 0
    check_loss(mine.softmax_cross_entropy, logits, labels)


def test_task_3_3_the_net_is_linear_relu_linear():
    net, x = mine.TwoLayerNet(3, 4, 2, seed=5), seeded(14).normal(size=(6, 3))
    first, second = (p.data for p in net.parameters() if p.data.ndim == 2)
    first, second = (first, second) if first.shape == (4, 3) else (second, first)
    for parameter in net.parameters():
        if parameter.data.ndim == 1:
            parameter.data[...] = 0.5
    np.testing.assert_allclose(net.forward(x), np.maximum(x @ first.T + 0.5, 0) @ second.T + 0.5, rtol=1e-9)


def test_task_3_4_one_step_goes_down_the_gradient():
    x, labels = mine.spiral(20, 3, seed=8)
    net = given.ready_net(2, 6, 3, seed=2)
    before = [p.data.copy() for p in net.parameters()]
    mine.train(net, x, labels, 1, 0.25)
    for old, parameter in zip(before, net.parameters()):
        assert np.any(parameter.grad), "train left a gradient of zeros"
        np.testing.assert_allclose(parameter.data, old - 0.25 * parameter.grad, rtol=1e-9, atol=1e-12)


def test_task_3_4_gradients_do_not_pile_up():
    x, labels = mine.spiral(20, 3, seed=9)
    together, apart = given.ready_net(2, 6, 3, seed=2), given.ready_net(2, 6, 3, seed=2)
    mine.train(together, x, labels, 3, 0.1)
    for _ in range(3):
        apart.zero_grad()
        mine.train(apart, x, labels, 1, 0.1)
    for one, other, start in zip(together.parameters(), apart.parameters(), given.ready_net(2, 6, 3, 2).parameters()):
        assert np.any(one.data != start.data), "train moved nothing"
        np.testing.assert_allclose(one.data, other.data, rtol=1e-9)


def test_task_3_4_other_spirals_are_learnt_as_well():
    x, labels = mine.spiral(50, 3, seed=21)
    net = given.ready_net(2, 64, 3, seed=4)
    losses = mine.train(net, x, labels, 500, 1.0)
    assert losses[-1] < 0.3 < losses[0]
