"""The three explanations: each instrument on cases where the answer is known, and the words of the closing table."""

from types import SimpleNamespace

import numpy as np
import pytest

from minires.lab.explanations.command import look_at
from minires.lab.explanations.measure import (
    QUESTIONS,
    closing_table,
    gradient_correlation,
    half_distance,
    identity_distance,
    measure,
    verdict,
)
from minires.lab.shattered.measure import (
    autocorrelation,
    correlation_by_depth,
    independent_points,
    noise,
    pair_correlation,
    scalar_gradients,
    scalar_net,
)
from minires.lab.snapshots import Snapshot
from minires.layers import Flatten, Identity, Linear, ReLU, Residual, Sequential, SubsampleShortcut
from minires.networks import cifar_plain, cifar_resnet


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return rng.standard_normal((4, 3, 16, 16)).astype(np.float32), np.array([1, 5, 5, 9])


# -- distance from the identity


def test_an_identity_has_distance_0_and_a_sign_change_distance_2():
    class Minus(Identity):
        def forward(self, x):
            return -x

    net = Sequential(same=Identity(), minus=Minus(), halved=Residual(Identity(), Minus()))
    found = identity_distance(net, np.random.default_rng(0).standard_normal((2, 3)), blocks=["same", "minus"])
    np.testing.assert_allclose(found, [0, 2])


def test_a_block_that_halves_the_image_is_compared_with_option_a(batch):
    net = Sequential(stage1=Sequential(SubsampleShortcut(3, 6)))
    assert identity_distance(net, batch[0]) == [0]


def test_a_residual_net_whose_branches_are_0_hands_its_input_on(batch):
    net = cifar_resnet(14, rng=0)
    for name, parameter in net.named_parameters():
        if "branch.bn2" in name:
            parameter.data.fill(0)
    assert identity_distance(net, batch[0]) == [0] * 6


# -- correlation of gradients


def test_gradients_of_a_linear_net_agree_at_any_distance(batch):
    net = Sequential(Flatten(), Linear(3 * 16 * 16, 10, rng=0))
    np.testing.assert_allclose(gradient_correlation(net, batch[0]), 1, atol=1e-6)


def test_the_correlation_is_the_cosine_of_the_gradients_at_both_ends(batch):
    x = batch[0].astype(np.float64)
    net = Sequential(Flatten(), Linear(3 * 16 * 16, 20, rng=0), ReLU(), Linear(20, 10, rng=1)).astype(np.float64)
    v = np.random.default_rng(7).standard_normal(10)

    def gradient(image):
        net.forward(image[None])
        return net.backward(v[None]).ravel()

    cosines = []
    for a, b in ((x[0], x[2]), (x[1], x[3])):
        ga, gb = gradient(a), gradient((a + b) / 2)
        cosines.append(ga @ gb / np.sqrt((ga @ ga) * (gb @ gb)))
    (measured,) = gradient_correlation(net, x, distances=[0.5], rng=7)
    assert measured == pytest.approx(np.mean(cosines)) and 0.1 < measured < 0.99


def test_it_falls_to_a_half_where_it_is_said_to():
    distances = np.array([0.01, 0.1, 1.0])
    assert half_distance([0.9, 0.6, 0.4], distances) == pytest.approx(10**-0.5)
    assert half_distance([0.9, 0.8, 0.7], distances) == 1
    assert half_distance([0.4, 0.3, 0.7], distances) == 0.01


def test_shortcuts_keep_gradients_alike_further_away(batch):
    nets = cifar_plain(26, rng=0), cifar_resnet(26, rng=0)
    plain, residual = (half_distance(gradient_correlation(net, batch[0])) for net in nets)
    assert residual > 2 * plain


def test_one_image_has_no_neighbour(batch):
    with pytest.raises(ValueError, match="at least two images to draw a line between, got 1"):
        gradient_correlation(cifar_plain(8, rng=0), batch[0][:1])


# -- nets of one number


@pytest.mark.parametrize("residual", [False, True])
def test_the_slopes_are_those_of_the_net(residual):
    """Against central differences at each point; within 1e-4 no kink lies beside most points."""
    net = scalar_net(4, residual, width=30, rng=0).astype(np.float64)
    v = np.random.default_rng(5).standard_normal((1, 30, 1, 1)) / np.sqrt(30)
    points, h = np.linspace(-2, 2, 256), 1e-7

    def f(at):
        return (v * net.forward(at.reshape(1, 1, 1, -1))).sum(axis=1)[0, 0]

    numeric = (f(points + h) - f(points - h)) / (2 * h)
    analytic = scalar_gradients(net, points, rng=5)[0]
    assert np.mean(np.abs(numeric - analytic) < 1e-4 * np.abs(numeric).max()) > 0.95


def test_no_point_touches_another():
    net = scalar_net(6, residual=True, width=20, rng=0)
    points = np.linspace(-2, 2, 256)
    some, all_of_them = scalar_gradients(net, points[100:110], rng=1), scalar_gradients(net, points, rng=1)
    np.testing.assert_allclose(some, all_of_them[:, 100:110], rtol=1e-3, atol=1e-5)


def test_units_of_a_plain_net_are_centred_on_the_points():
    net = scalar_net(3, width=20, rng=0)
    x = np.linspace(-2, 2, 256, dtype=np.float32).reshape(1, 1, 1, -1)
    before_relu = net[2].forward(net[1].forward(net[0].forward(x)))
    np.testing.assert_allclose(before_relu.mean(axis=(0, 2, 3)), 0, atol=1e-5)


def test_the_autocorrelation_of_brown_noise_is_long_and_of_white_noise_none():
    white, brown = (
        np.mean([autocorrelation(noise(kind, rng=seed)) for seed in range(50)], axis=0) for kind in ("white", "brown")
    )
    assert white[0] == brown[0] == 1
    assert np.all(np.abs(white[1:]) < 0.05)
    assert brown[1] > 0.9 and np.all(np.diff(brown) < 0)


def test_the_correlation_over_pairs_is_that_of_its_definition():
    g = np.random.default_rng(0).standard_normal((7, 5)) + 0.5
    pairs = [
        np.mean(g[:, i] * g[:, j]) / np.sqrt(np.mean(g[:, i] ** 2) * np.mean(g[:, j] ** 2))
        for i in range(5)
        for j in range(5)
        if i != j
    ]
    assert pair_correlation(g) == pytest.approx(np.mean(pairs))


def test_plain_slopes_shatter_with_depth_and_residual_ones_less():
    plain = correlation_by_depth([1, 8], networks=4, readouts=4, width=60)
    residual = correlation_by_depth([1, 8], residual=True, networks=4, readouts=4, width=60, beta=0.3)
    assert plain[0] == residual[0] > 0.4  # one layer: the same net
    assert plain[1] < 0.5 * residual[1]


def test_between_independent_points_correlation_falls_as_derived():
    """Balduzzi et al. 2017: half of it is lost in each plain layer; shortcuts make a power of it."""
    points = independent_points(128, 64, rng=0)
    plain = correlation_by_depth([1, 2, 3, 4], networks=3, readouts=4, width=150, points=points)
    np.testing.assert_allclose(plain[1:] / plain[:-1], 0.5, atol=0.07)
    residual = correlation_by_depth([4, 16], True, networks=3, readouts=4, width=150, points=points)
    assert -0.85 < np.log(residual[1] / residual[0]) / np.log(16 / 4) < -0.4


def test_slopes_at_vectors_are_those_of_the_net():
    points = independent_points(5, 3, rng=0)
    net = scalar_net(3, width=20, points=points, rng=0).astype(np.float64)
    slopes = scalar_gradients(net, points, readouts=2, rng=1).reshape(2, 3, 5)
    moved = points.copy()
    moved[4, 1] += 0.5
    other = scalar_gradients(net, moved, readouts=2, rng=1).reshape(2, 3, 5)
    np.testing.assert_allclose(slopes[..., :4], other[..., :4])  # no point touches another
    assert np.any(slopes[..., 4] != other[..., 4])


def test_a_net_without_layers_is_refused():
    with pytest.raises(ValueError, match="at least one layer and one unit, got layers=0"):
        scalar_net(0)
    with pytest.raises(ValueError, match="expected 'white' or 'brown', got 'pink'"):
        noise("pink")
    with pytest.raises(ValueError, match=r"at least 16 numbers, not all the same, got shape \(30,\)"):
        autocorrelation(np.ones(30))
    with pytest.raises(ValueError, match=r"two points or more, got \(5,\)"):
        pair_correlation(np.ones(5))
    with pytest.raises(ValueError, match="a list of depths and networks >= 1, got 3, 10"):
        correlation_by_depth(3)
    with pytest.raises(ValueError, match="expected 17 numbers, one a distance, got 2"):
        half_distance([0.9, 0.4])


# -- the closing table


def values(plain_20, plain_56, resnet_20, resnet_56):
    seeds = (np.atleast_1d(v) for v in (plain_20, plain_56, resnet_20, resnet_56))
    return dict(zip([("plain", 20), ("plain", 56), ("resnet", 20), ("resnet", 56)], seeds))


@pytest.mark.parametrize(
    "question, numbers, answer, why",
    [
        ("identity", (1.2, 1.8, 0.6, 0.5), "yes", "more so with depth"),
        ("identity", (1.2, 1.1, 0.6, 0.5), "partly", "not worse than in plain-20"),
        ("identity", (1.2, 1.6, 0.6, 0.9), "partly", "adds no more"),
        ("vanishing", (0.24, -1.58, 0.09, -1.57), "no", "plain-56 is not worse than resnet-56"),  # by 0.01
        ("identity", (1.2, 1.3, 1.2, 1.4), "no", "plain-56 is not worse than resnet-56"),
        ("identity", ([0.8, 1.6], [1.0, 2.0], [0.5, 1.5], [0.4, 1.6]), "no", "not worse than resnet-56"),
        ("vanishing", (1.1, 3.6, 0.6, 1.2), "no", "healthy in plain-56"),
        ("vanishing", (-1.1, -3.6, -0.6, -1.2), "yes", "more so with depth"),
        ("growing", (1.1, 3.6, 0.6, 1.2), "yes", "more so with depth"),
        ("growing", (-1.1, -3.6, -0.6, -4.2), "no", "healthy in plain-56"),
        ("shattered", (-6, -12, -4, -5), "yes", "more so with depth"),
        ("shattered", (-2.53, -2.80, -2.64, -2.65), "no", "not worse than resnet-56"),  # seeds differ by as much
    ],
)
def test_the_verdict_follows_from_the_numbers(question, numbers, answer, why):
    said, reason = verdict(QUESTIONS[question], values(*numbers))
    assert said == answer and why in reason


def test_one_depth_gives_no_verdict_and_a_third_does_not_matter():
    with pytest.raises(ValueError, match="plain and resnet of two depths each, .*; got plain-20, resnet-20"):
        verdict(QUESTIONS["identity"], {("plain", 20): [1.0], ("resnet", 20): [0.5]})
    with pytest.raises(ValueError, match="got plain-20, resnet-20, plain-56"):
        verdict(QUESTIONS["identity"], {("plain", 20): [1.0], ("resnet", 20): [0.5], ("plain", 56): [1.0]})
    four = values(1.2, 1.4, 0.6, 0.5)
    more = four | {("plain", 32): np.array([9.0]), ("preact", 20): np.array([9.0])}
    assert verdict(QUESTIONS["identity"], more) == verdict(QUESTIONS["identity"], four)


def test_the_table_has_a_row_for_each_question_and_a_column_for_each_net(batch):
    builders = {"plain": cifar_plain, "resnet": cifar_resnet}
    results = {
        (name, depth): [measure(build(depth, rng=seed), *batch, pairs=1) for seed in (0, 1)]
        for name, build in builders.items()
        for depth in (8, 14)
    }
    table = closing_table(results).splitlines()
    assert len(table) == 2 + len(QUESTIONS)
    assert table[0].split(" | ")[2:6] == ["plain-8", "resnet-8", "plain-14", "resnet-14"]
    assert {line.count("|") for line in table} == {8}
    for line, question in zip(table[2:], QUESTIONS.values()):
        assert question.explanation in line and "±" in line
        assert any(f"**{answer}**" in line for answer in ("yes", "partly", "no"))


def test_the_training_error_of_a_net_is_that_of_its_last_moment(batch):
    seen = [Snapshot(0, np.nan, np.nan), Snapshot(2, 1.5, 0.6), Snapshot(9, 0.5, 0.2)]
    subject = SimpleNamespace(name="resnet-8", kind="resnet", depth=8, seed=1, net=cifar_resnet(8, rng=0), config={})
    subject.moments = lambda lab, at: seen
    lab = SimpleNamespace(options=SimpleNamespace(seeds=[0, 1], steps=9))
    assert look_at([subject], lab, batch)[1] == {"resnet-8": {1: 0.2}}
