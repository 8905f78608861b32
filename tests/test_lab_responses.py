"""Layer responses: what is measured, and that gains and offsets alone decide it."""

import numpy as np
import pytest

from minires.lab.controls import without_batchnorm
from minires.lab.responses.measure import decay_alone, layer_responses
from minires.layer import Layer
from minires.layers import BatchNorm2d, Identity, Linear, Sequential
from minires.networks import cifar_plain, cifar_resnet
from minires.optim import SGD, warm_up_then_cosine


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).standard_normal((6, 3, 16, 16))


def shaken(net):
    """The net with random gains and offsets, as after training."""
    rng = np.random.default_rng(1)
    for parameter in net.parameters():
        if parameter.data.ndim == 1:
            parameter.data[:] = rng.normal(0.7, 0.3, parameter.data.shape)
    return net


@pytest.mark.parametrize("build", [cifar_plain, cifar_resnet])
def test_there_is_one_response_for_every_3x3_layer_in_order(build, x):
    for depth in (8, 14):
        rows = layer_responses(build(depth, rng=0), x)
        assert len(rows) == depth - 1  # all but the linear layer
        assert rows[0].measured == "bn1"
        assert all(row.measured == row.conv.replace("conv", "bn") for row in rows)


def test_at_initialisation_every_response_is_1(x):
    rows = layer_responses(cifar_resnet(14, rng=0), x)
    np.testing.assert_allclose([row.std for row in rows], 1, atol=1e-3)


def test_a_gain_without_a_gradient_falls_to_what_decay_alone_leaves():
    norm, schedule = BatchNorm2d(3), warm_up_then_cosine(0.1, 400)
    optimizer = SGD(norm.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    for step in range(400):
        optimizer.lr = schedule.lr(step)
        optimizer.step()
    lrs = [schedule.lr(step) for step in range(400)]
    floor = decay_alone(lrs)
    np.testing.assert_allclose(norm.weight.data, floor, rtol=1e-5)
    assert floor == pytest.approx(np.exp(-1e-4 * sum(lrs) / (1 - 0.9)), abs=1e-3)
    assert floor < 1 == decay_alone([])


def test_in_training_mode_gains_and_offsets_alone_decide_the_response(x):
    net = shaken(cifar_resnet(14, "B", rng=0))
    layers = dict(net.named_layers())
    for row in layer_responses(net, x):
        bn = layers[row.measured]
        gamma, beta = bn.weight.data, bn.bias.data
        assert row.std == pytest.approx(np.sqrt(np.mean(gamma**2) + np.var(beta)), rel=2e-3)


def test_projections_are_not_counted(x):
    assert len(layer_responses(cifar_resnet(8, "C", rng=0), x)) == 7


def test_without_batch_norm_the_convolution_itself_is_measured(x):
    net = without_batchnorm(cifar_plain(8, rng=0))
    rows = layer_responses(net, x)
    assert [row.measured for row in rows] == [row.conv for row in rows]
    assert rows[0].std == pytest.approx(net.conv1.forward(x).std())


def test_the_net_stays_as_it_is(x):
    net = cifar_resnet(8, rng=0)
    before = net.state_dict()
    layer_responses(net, x)
    assert all(np.array_equal(array, before[name]) for name, array in net.state_dict().items())
    net.forward(x)  # and can go on: no cache of the measurement is left


def test_a_net_without_3x3_layers_is_refused(x):
    with pytest.raises(ValueError, match="the net has no 3x3 convolution"):
        layer_responses(Sequential(Linear(3, 2, rng=0)), x)


def test_batch_norms_in_lists_and_dicts_are_taken_out_too():
    class Held(Layer):
        def __init__(self):
            self.parts = {"norms": [BatchNorm2d(3), (BatchNorm2d(3), Identity())]}

    kinds = {type(layer).__name__ for path, layer in without_batchnorm(Sequential(Held())).named_layers() if path}
    assert kinds == {"Held", "Identity"}
