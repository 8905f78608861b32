"""Visible tests of assignment 3. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np

from minires import check_loss
from minires.course import check_layer, seeded, submitted

mine = submitted(__file__, "two_layer.py")
given = submitted(__file__, "given.py")


def test_task_3_1_linear_of_two_examples():
    linear = mine.Linear(2, 3)
    linear.weight.data[...] = [[1, 2], [3, 4], [5, 6]]
    linear.bias.data[...] = [10, 20, 30]
    np.testing.assert_allclose(linear.forward(np.array([[1.0, 0.0], [1.0, -1.0]])), [[11, 23, 35], [9, 19, 29]])


def test_task_3_1_backward_of_linear_is_its_derivative():
    check_layer(mine.Linear(4, 3), seeded(1).normal(size=(5, 4)))


def test_task_3_2_equal_logits_cost_the_log_of_the_number_of_classes():
    loss, dlogits = mine.softmax_cross_entropy(np.zeros((2, 4)), np.array([0, 3]))
    np.testing.assert_allclose(loss, np.log(4), rtol=1e-12)
    np.testing.assert_allclose(dlogits, (0.25 - np.eye(4)[[0, 3]]) / 2, rtol=1e-12)


def test_task_3_2_the_gradient_is_that_of_the_loss():
    logits, labels = seeded(2).normal(size=(6, 4)), np.array([0, 1, 2, 3, 0, 0])
    assert mine.softmax_cross_entropy(logits, labels)[0] > 0
    check_loss(mine.softmax_cross_entropy, logits, labels)


def test_task_3_3_the_net_has_four_parameters():
    shapes = {p.data.shape for p in mine.TwoLayerNet(2, 7, 3).parameters()}
    assert shapes == {(7, 2), (7,), (3, 7), (3,)}, "expected the parameters of two linear layers (Task 3.3)"


def test_task_3_3_backward_of_the_net_is_its_derivative():
    check_layer(mine.TwoLayerNet(4, 5, 3), seeded(3).normal(size=(6, 4)))


def test_task_3_4_the_net_learns_the_spiral():
    x, labels = mine.spiral()
    net = given.ready_net(2, 50, 3)
    losses = mine.train(net, x, labels, 400, 1.0)
    assert len(losses) == 400 and abs(losses[0] - np.log(3)) < 0.6
    wrong = np.mean(net.forward(x).argmax(axis=1) != labels)
    assert wrong < 0.05, f"{100 * wrong:.0f} % of the points are on the wrong arm after 400 steps"
