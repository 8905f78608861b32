"""Stopping on the way, and the controls: the same net with one thing changed."""

import numpy as np
import pytest

from minires.data import batches, synthetic
from minires.lab import subjects
from minires.lab.controls import scaled_weights, settled, without_batchnorm
from minires.lab.snapshots import snapshots
from minires.layers import BatchNorm2d
from minires.losses import softmax_cross_entropy
from minires.networks import cifar_plain, cifar_resnet
from minires.optim import SGD, Cosine, LinearWarmUp
from minires.probe import gradient_flow
from minires.train import Diverged, train


@pytest.fixture(scope="module")
def train_set():
    return synthetic(train_size=48, test_size=8)[0]


@pytest.fixture(scope="module")
def batch(train_set):
    return next(batches(train_set, 8))


def test_it_stops_after_the_steps_asked_for_and_counts_the_batches_between(train_set):
    seen = list(snapshots(cifar_plain(8, rng=0), train_set, at=[4, 0, 2], batch_size=16, rng=0))
    assert [snapshot.step for snapshot in seen] == [0, 2, 4]
    assert np.isnan(seen[0].loss) and np.isnan(seen[0].error)
    assert all(snapshot.loss > 0 and 0 <= snapshot.error <= 1 for snapshot in seen[1:])


def test_it_trains_as_train_does(train_set):
    watched, unwatched = cifar_resnet(8, rng=0), cifar_resnet(8, rng=0)
    *_, end = snapshots(watched, train_set, at=[0, 3, 5], batch_size=16, lr=0.05, rng=1)
    optimizer = SGD(unwatched.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
    schedule = LinearWarmUp(Cosine(0.05, 5), 0)
    log = train(unwatched, optimizer, train_set, steps=5, batch_size=16, schedule=schedule, rng=1, log_every=1)
    for a, b in zip(watched.parameters(), unwatched.parameters()):
        np.testing.assert_array_equal(a.data, b.data)
    assert end.loss == pytest.approx(np.mean([line["loss"] for line in log[3:5]]))


def test_the_net_may_be_left_in_any_mode_while_it_waits(train_set):
    nets = [cifar_resnet(8, rng=0), cifar_resnet(8, rng=0)]
    for _ in snapshots(nets[0], train_set, at=[0, 1, 2], batch_size=8):
        nets[0].eval()
    list(snapshots(nets[1], train_set, at=[2], batch_size=8))
    np.testing.assert_array_equal(nets[0].linear.weight.data, nets[1].linear.weight.data)


def test_a_net_that_diverges_says_when(train_set):
    net = without_batchnorm(cifar_resnet(14, rng=0))
    with pytest.raises(Diverged, match=r"Step \d+, .*: NaN or infinity, first in .*Lower the learning rate"):
        list(snapshots(net, train_set, at=[30], batch_size=8, lr=1e4))


@pytest.mark.parametrize("at", [[], [-1], [1.5], "two", None])
def test_impossible_steps_are_named(at, train_set):
    with pytest.raises(ValueError, match="expected at least one step in at, whole numbers from 0 on"):
        list(snapshots(cifar_plain(8, rng=0), train_set, at=at))


def test_without_batchnorm_no_batch_norm_is_left_and_the_convolutions_are_the_same(batch):
    net = cifar_resnet(8, "B", rng=0)
    bare = without_batchnorm(net)
    assert not any(isinstance(layer, BatchNorm2d) for _, layer in bare.named_layers())
    assert any(isinstance(layer, BatchNorm2d) for _, layer in net.named_layers())
    weights = dict(net.named_parameters())
    assert all(np.array_equal(parameter.data, weights[name].data) for name, parameter in bare.named_parameters())
    bare.backward(softmax_cross_entropy(bare.forward(batch[0]), batch[1])[1])


def test_batch_norm_takes_the_scale_of_the_weights_away_and_only_batch_norm(batch):
    x, labels = batch[0].astype(np.float64), batch[1]

    def norms(net):
        return np.array([row.entering for row in gradient_flow(net, x, labels)])

    net = cifar_plain(14, rng=0).astype(np.float64)
    np.testing.assert_allclose(norms(scaled_weights(net, 0.5**0.5)), norms(net), rtol=5e-3)  # but for eps
    bare = without_batchnorm(net)
    ratio = norms(scaled_weights(bare, 0.5**0.5)) / norms(bare)
    np.testing.assert_allclose(ratio, 0.5 ** np.arange(5, -1, -1), rtol=0.02)  # two layers a block: it halves at each


def test_without_batch_norm_gradients_shrink_with_each_layer_by_the_factor_of_its_weights(batch):
    """Piecewise linear and without biases, a plain net of L convolutions is homogeneous of degree L in their scale."""
    x = batch[0].astype(np.float64)
    bare = without_batchnorm(cifar_plain(14, rng=0).astype(np.float64))
    dlogits = np.random.default_rng(0).standard_normal((len(x), 10))
    small = scaled_weights(bare, 0.5)
    y = [net.forward(x) for net in (bare, small)]
    np.testing.assert_allclose(y[1], y[0] * 0.5**13, rtol=1e-9)
    dx = [net.backward(dlogits) for net in (bare, small)]
    np.testing.assert_allclose(dx[1], dx[0] * 0.5**13, rtol=1e-9)


def test_a_settled_net_computes_each_image_by_itself_as_it_did_in_the_batch(batch):
    x, _ = batch
    net = cifar_resnet(8, rng=0)
    before = net.state_dict()
    still = settled(net, x)
    np.testing.assert_allclose(still.forward(x), net.forward(x), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(still.forward(x[:1]), still.forward(x)[:1], rtol=1e-4, atol=1e-5)
    assert not still.training and still.bn1.momentum == 0.1
    assert np.array_equal(before["bn1.weight"], net.bn1.weight.data) and net.training


def test_a_training_error_of_0_is_a_number_and_a_missing_one_none(monkeypatch):
    states = {"early": {"step": 5, "train_error": None}, "final": {"step": 9, "train_error": 0.0}}
    monkeypatch.setattr(subjects, "models", lambda: {"plain-8": {"states": states}})
    monkeypatch.setattr(subjects, "weights_file", lambda *_: None)
    monkeypatch.setattr(subjects, "load_weights", lambda *_: None)
    shipped = subjects.Subject("plain", 8, 0, None, None, run=None, shipped=True)
    found = [(moment.step, moment.error) for moment in shipped.moments(None, [])]
    np.testing.assert_equal(found, [(0, np.nan), (5, np.nan), (9, 0.0)])
