"""The logits are the sum of what the blocks add; edges bound the error; blocks can be trained one by one."""

import numpy as np
import pytest
from lab_commands import drawn, refused

from minires.data import Dataset, synthetic
from minires.lab.boosting.measure import (
    boost,
    contributions,
    cumulative_error,
    edges,
    fit_classifiers,
    gammas,
    margins,
    pooled_features,
    yes_or_no,
)
from minires.lab.paths.measure import blocks_of, deleted
from minires.networks import cifar_plain, cifar_resnet
from minires.train import evaluate


@pytest.fixture
def images():
    rng = np.random.default_rng(1)
    return Dataset(rng.integers(0, 255, (40, 3, 8, 8)).astype(np.uint8), rng.integers(0, 10, 40), [*"abcdefghij"])


def moved(net, seed=0):
    """Running statistics, gains and biases as of a net that has been trained."""
    rng = np.random.default_rng(seed)
    for name, array in net.state_dict().items():
        if "bn" in name or ".shortcut.1." in name or name == "linear.bias":
            net.load_state_dict({name: rng.uniform(0.5, 1.5, array.shape)}, strict=False)
    return net


@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_the_contributions_telescope_to_the_logits(shortcut):
    net = moved(cifar_resnet(14, shortcut, rng=0)).astype(np.float64)
    x = np.random.default_rng(0).standard_normal((3, 3, 8, 8))
    parts = contributions(net, x)
    assert parts.names == ["stem", *(block.path for block in blocks_of(net)), "bias"]
    assert parts.logits.shape == (8, 3, 10) and all(np.any(part) for part in parts.logits)
    np.testing.assert_allclose(parts.logits.sum(axis=0), net.eval().forward(x), rtol=1e-10)


def test_the_contribution_of_the_last_block_is_what_the_net_loses_without_it():
    net = moved(cifar_resnet(14, rng=0)).astype(np.float64).eval()
    x = np.random.default_rng(0).standard_normal((3, 3, 8, 8))
    with deleted(net, "stage3.1"):
        without = net.forward(x)
    np.testing.assert_allclose(contributions(net, x).logits[-2], net.forward(x) - without, rtol=1e-8, atol=1e-12)


def test_asking_for_contributions_leaves_the_net_as_it_was():
    net = cifar_resnet(8, rng=0)
    before = net.state_dict()
    contributions(net, np.ones((2, 3, 8, 8), np.float32))
    assert net.training and net.stage2[0].relu.training
    assert all(np.array_equal(before[name], array) for name, array in net.state_dict().items())


def test_the_last_cumulative_error_is_the_error_of_the_net():
    train_set, _ = synthetic(train_size=60, test_size=10)
    net = moved(cifar_resnet(8, rng=0))
    x = (train_set.images - train_set.pixel_mean) / np.float32(255)
    errors = cumulative_error(contributions(net, x), train_set.labels)
    assert len(errors) == 4 and errors[-1] == pytest.approx(evaluate(net, train_set)[0])


def test_a_margin_is_the_mean_lead_over_the_wrong_classes():
    logits, labels = np.random.default_rng(0).standard_normal((50, 4)), np.arange(50) % 4
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    leads = [[p[i, y] - p[i, k] for k in range(4) if k != y] for i, y in enumerate(labels)]
    np.testing.assert_allclose(margins(logits, labels), np.mean(leads, axis=1))
    assert margins(np.zeros((1, 4)), np.array([2]))[0] == 0  # a guess
    assert margins(np.array([[0.0, np.log(3.0)]]), np.array([1]))[0] == pytest.approx(0.5)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("scale", [0.1, 1, 5])
def test_the_edge_bounds_the_error(scale, classes):
    rng = np.random.default_rng(0)
    labels, tight = rng.integers(0, classes, 500), False
    for signal in (0, 1, 3, 10, 30):
        logits = scale * (rng.standard_normal((500, classes)) + signal * np.eye(classes)[labels])
        (bound,) = gammas([margins(logits, labels).mean()], classes).bound
        assert np.mean(logits.argmax(axis=1) != labels) <= bound
        tight |= bound < 0.9
    assert tight or scale == 0.1  # the bound says something where the classifier is sure


def test_the_product_of_the_gammas_telescopes_to_the_bound_and_the_exponential_lies_above():
    edge = np.array([0.05, 0.2, 0.15, 0.6, 0.9])
    squared, bound, exponential = gammas(edge, 2)
    np.testing.assert_allclose(np.sqrt(np.cumprod(1 - squared)), bound)
    np.testing.assert_allclose(bound, np.sqrt(1 - edge**2))
    assert squared[2] < 0 < squared[1]  # the edge fell: no weak learner
    assert np.all(bound <= exponential)
    T, gamma = len(edge), np.sqrt(np.mean(squared))
    assert exponential[-1] == pytest.approx(np.exp(-T * gamma**2 / 2))
    assert gammas([-0.3, 0.5], 2).squared == pytest.approx([0, 0.25])  # worse than nothing counts as nothing
    assert gammas([0.995], 10).bound[0] == pytest.approx(9 * np.sqrt(1 - 0.995**2))


def test_a_perfect_classifier_has_bound_zero():
    squared, bound, _ = gammas([1.0, 1.0], 2)
    assert bound.tolist() == [0, 0] and squared.tolist() == [1, 0]


def test_a_question_of_two_classes_keeps_images_and_statistics(images):
    asked = yes_or_no(images[:20], ["b", "d"])
    assert asked.classes == ("no", "yes") and np.array_equal(asked.labels, np.isin(images.labels[:20], [1, 3]))
    assert np.array_equal(asked.images, images.images[:20]) and asked.train is images
    for classes in (["b", "zebra"], [], [*"abcdefghij"]):
        with pytest.raises(ValueError, match="some, not all, of the classes a, b, c"):
            yes_or_no(images, classes)


def test_mistakes_are_one_line(images):
    net = cifar_resnet(8, rng=0)
    with pytest.raises(ValueError, match="expected 4 classifiers, of stem and blocks, got 1"):
        edges(net, [net.linear], images, images)
    with pytest.raises(ValueError, match="boost: expected steps of at least 1"):
        boost(net, images, steps=0)
    with pytest.raises(ValueError, match=r"expected 2 labels, one an image, got \(3,\)"):
        cumulative_error(contributions(net, np.ones((2, 3, 8, 8), np.float32)), [0, 1, 2])


def test_boosting_trains_every_block_and_leaves_the_earlier_ones_alone(images, monkeypatch):
    from minires.lab.boosting import measure as boosting

    net = cifar_resnet(8, rng=0)
    start, states, steps = net.state_dict(), [], boosting.taken

    def watched(*arguments, **options):
        yield from steps(*arguments, **options)
        states.append(net.state_dict())

    monkeypatch.setattr(boosting, "taken", watched)
    classifiers = boost(net, images, steps=2, batch_size=10, rng=0)
    assert [c.in_features for c in classifiers] == [16, 16, 32, 64] and len(states) == 4
    changed = [{name for name in start if np.any(a[name] != b[name])} for a, b in zip([start, *states], states)]
    own = ["conv1.", "stage1.", "stage2.", "stage3."]
    for names, prefix in zip(changed[1:], own[1:]):
        assert names and all(name.startswith(prefix) for name in names)
    assert {"conv1.weight", "bn1.running_mean"} <= changed[0]
    np.testing.assert_array_equal(net.linear.weight.data, classifiers[-1].weight.data)


def test_the_last_classifier_is_that_of_the_net(images):
    net = cifar_resnet(8, rng=0)
    classifiers = boost(net, images, steps=3, batch_size=10, rng=0)
    rows = edges(net, classifiers, images, images[:20])
    assert [row.name for row in rows] == ["stem", "stage1.0", "stage2.0", "stage3.0"]
    assert rows[-1].train_error == pytest.approx(evaluate(net, images)[0])
    assert rows[-1].test_error == pytest.approx(evaluate(net, images[:20])[0])


def test_boosting_learns_and_its_error_stays_below_the_bound():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 8
    colours = np.array([[int(bit) for bit in f"{label:03b}"] for label in labels]) * 90 + 60  # a colour for each class
    pictures = (colours[:, :, None, None] + rng.integers(0, 60, (200, 3, 8, 8))).astype(np.uint8)
    train_set, net = Dataset(pictures, labels, [*"abcdefgh"]), cifar_resnet(8, classes=8, rng=0)
    rows = edges(net, boost(net, train_set, steps=15, batch_size=32, rng=0), train_set, train_set)
    assert rows[-1].edge > rows[0].edge and rows[-1].train_error < 0.1
    bounds = gammas([row.edge for row in rows], 8).bound
    assert all(row.train_error <= bound for row, bound in zip(rows, bounds))


def test_classifiers_are_fitted_to_a_net_that_stays_as_it_is(images):
    net = moved(cifar_resnet(8, rng=0))
    before = net.state_dict()
    heads = fit_classifiers(net, images, steps=30, batch_size=20, rng=0)
    assert all(np.array_equal(before[name], array) for name, array in net.state_dict().items()) and net.training
    untrained = fit_classifiers(net, images, steps=0, rng=0)
    better = zip(edges(net, heads, images, images), edges(net, untrained, images, images))
    assert all(a.edge > b.edge for a, b in better)


def test_pooled_features_are_those_of_the_layers(images):
    net = moved(cifar_resnet(8, rng=0)).eval()
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    features = pooled_features(net, x)
    np.testing.assert_array_equal(net.linear.forward(features[-1]), net.forward(x))
    stem = net.relu.forward(net.bn1.forward(net.conv1.forward(x)))
    np.testing.assert_allclose(features[0], stem.mean(axis=(2, 3)), rtol=1e-5)


def test_a_plain_net_can_be_boosted_but_a_net_of_another_form_is_refused(images):
    assert len(boost(cifar_plain(8, rng=0), images, steps=1, batch_size=10)) == 4
    net = cifar_resnet(8, rng=0)
    net.extra = cifar_resnet(8, rng=0).bn1
    with pytest.raises(ValueError, match="followed by GlobalAvgPool2d and Linear alone"):
        contributions(net, np.ones((1, 3, 8, 8), np.float32))


def test_the_command_sums_and_boosts(images, lab, capsys):
    lab.use(images, images)
    small = "boosting --data synthetic --depths 8 --steps 8 --block-steps 2 --batch-size 10 --out out"
    assert lab.run(f"{small} --yes a b") == 0
    out = capsys.readouterr().out
    assert "Sum of the parts against the logits" in out and "2 steps for the stem and for each of 3 blocks" in out
    errors = drawn(lab.figures["telescoping"].axes[1])["the sum so far, through the last classifier"]
    np.testing.assert_allclose(errors, [100 * error for *_, error in lab.numbers["telescoping"]["parts"]])
    left, middle, _ = lab.figures["boosting"].axes
    boosted = lab.numbers["boosting"]["boosted"]
    np.testing.assert_allclose(drawn(left)["block by block"], [100 * edge[2] for edge in boosted["edges"]])
    np.testing.assert_allclose([bar.get_height() for bar in middle.patches[4:]], boosted["gamma_squared"])
    assert refused(capsys, lab.run(f"{small} --yes zebra"), "some, not all, of the classes a, b")
