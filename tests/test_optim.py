"""The optimizer against updates written out by hand, and the schedules at the iterations that matter."""

import math

import numpy as np
import pytest

from minires.layer import Layer, Parameter
from minires.optim import SGD, Cosine, LinearWarmUp, MultiStep, Schedule, WarmUpUntil, clip_gradients, split_decay


def by_hand(p, gradients, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """The same rule, one line of the definition at a time, on new arrays."""
    v = None
    for g in gradients:
        g = g + weight_decay * p
        if momentum:
            v = g if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        p = p - lr * g
    return p


RULES = {
    "plain": {},
    "weight decay": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.9},
    "the paper's": {"momentum": 0.9, "weight_decay": 1e-4},
    "dampening": {"momentum": 0.9, "dampening": 0.3},
    "dampening and decay": {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "nesterov and decay": {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
}


@pytest.mark.parametrize("rule", RULES)
def test_five_steps_are_the_definition(rule):
    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal((3, 4)), rng.standard_normal((5, 3, 4))
    p = Parameter(start)
    optimizer = SGD([p], lr=0.3, **RULES[rule])
    for g in gradients:
        p.grad[...] = g
        optimizer.step()
    np.testing.assert_allclose(p.data, by_hand(start, gradients, 0.3, **RULES[rule]), rtol=1e-13)


def test_the_numbers_of_one_small_example():
    p = Parameter([1.0])
    optimizer = SGD([p], lr=0.1, momentum=0.9, weight_decay=0.5)
    p.grad[:] = 2.0
    optimizer.step()  # v = 2 + 0.5 * 1 = 2.5, p = 1 - 0.25
    assert p.data[0] == pytest.approx(0.75)
    optimizer.step()  # v = 0.9 * 2.5 + 2 + 0.375 = 4.625, p = 0.75 - 0.4625
    assert p.data[0] == pytest.approx(0.2875)


def test_zero_grad_empties_the_gradients_of_all_groups_in_place():
    weight, bias, other = (Parameter(np.ones(3)) for _ in range(3))
    grads = [p.grad for p in (weight, bias, other)]
    for grad in grads:
        grad[:] = 2
    SGD([{"parameters": [weight]}, {"parameters": [bias], "lr": 0.2}], lr=0.1).zero_grad()
    assert [grad.tolist() for grad in grads] == [[0, 0, 0], [0, 0, 0], [2, 2, 2]]


def test_a_step_changes_data_in_place_and_leaves_the_gradient_alone():
    p = Parameter(np.ones((2, 3), np.float32))
    data, grad = p.data, p.grad
    grad[...] = 1
    SGD([p], lr=0.1, momentum=0.9, weight_decay=0.1).step()
    assert p.data is data and p.grad is grad
    assert (grad == 1).all() and (data < 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_data_and_velocity_keep_their_dtype_whatever_type_the_rate_has(dtype):
    p = Parameter(np.ones(3, dtype))
    optimizer = SGD([p], lr=np.float64(0.1), momentum=np.float32(0.9), weight_decay=np.float64(0.1))
    for _ in range(2):
        optimizer.step()
    assert p.data.dtype == dtype and optimizer.state_dict()["velocity"][0].dtype == dtype


def test_velocity_follows_a_net_converted_after_a_step():
    p = Parameter(np.ones(3, np.float32))
    optimizer = SGD([p], lr=0.5, momentum=0.5)
    p.grad[:] = 1
    optimizer.step()
    p.astype(np.float64)
    optimizer.step()
    assert p.data.dtype == np.float64 and optimizer.state_dict()["velocity"][0].dtype == np.float64
    np.testing.assert_array_equal(p.data, 1 - 0.5 * 1 - 0.5 * 1.5)


def test_each_group_follows_its_own_settings():
    a, b = Parameter([1.0]), Parameter([1.0])
    groups = [{"parameters": [a]}, {"parameters": [b], "weight_decay": 0, "lr": 0.01}]
    optimizer = SGD(groups, lr=0.1, weight_decay=0.5)
    a.grad[:] = b.grad[:] = 1
    optimizer.step()
    assert a.data[0] == pytest.approx(1 - 0.1 * 1.5)
    assert b.data[0] == pytest.approx(1 - 0.01 * 1)
    optimizer.lr = 0.2  # a schedule doubles the rate of both
    a.data[:] = b.data[:] = 1
    optimizer.step()
    assert a.data[0] == pytest.approx(1 - 0.2 * 1.5)
    assert b.data[0] == pytest.approx(1 - 0.02 * 1)


def test_a_generator_of_parameters_is_used_once():
    parameters = [Parameter([1.0]), Parameter([2.0])]
    optimizer = SGD((p for p in parameters), lr=0.1)
    assert optimizer.parameters() == parameters


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"lr": -0.1}, "expected lr >= 0, got -0.1"),
        ({"lr": math.nan}, "expected lr >= 0, got nan"),
        ({"lr": 0.1, "momentum": -1}, "expected momentum >= 0"),
        ({"lr": 0.1, "weight_decay": -1}, "expected weight_decay >= 0"),
        ({"lr": 0.1, "nesterov": True}, "nesterov=True wants momentum > 0"),
        ({"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "nesterov": True}, "dampening = 0"),
    ],
)
def test_impossible_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SGD([Parameter([1.0])], **arguments)


p, q = Parameter([1.0]), Parameter([1.0])


@pytest.mark.parametrize(
    "parameters, message",
    [
        ([], "empty list of parameters"),
        ([{"parameters": []}], "empty list of parameters"),
        ([p, q, p], "given twice"),
        ([{"parameters": [p]}, {"parameters": [q, p]}], "given twice"),
        (Layer(), "got Layer. Use net.parameters()"),
        ([("weight", p)], "expected Parameters, got tuple. Use net.parameters()"),
        ([np.ones(3)], "expected Parameters, got ndarray"),
        ([{"params": [p]}], 'the key "parameters"'),
        ([{"parameters": [p], "momentun": 0.9}], "unknown setting 'momentun'"),
    ],
)
def test_unusable_parameters_are_named(parameters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        SGD(parameters, lr=0.1)


def test_state_restored_continues_bit_for_bit():
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((6, 4)).astype(np.float32)

    def run(p, optimizer, gradients):
        for g in gradients:
            p.grad[...] = g
            optimizer.step()

    straight = Parameter(np.ones(4, np.float32))
    run(straight, SGD([straight], lr=0.1, momentum=0.9), gradients)

    first = Parameter(np.ones(4, np.float32))
    optimizer = SGD([first], lr=0.1, momentum=0.9)
    run(first, optimizer, gradients[:3])
    second = Parameter(first.data)
    resumed = SGD([second], lr=0.7, momentum=0.1)
    resumed.load_state_dict(optimizer.state_dict())
    run(first, optimizer, gradients[3:])  # the state is a copy: this must not reach the resumed one
    run(second, resumed, gradients[3:])
    np.testing.assert_array_equal(second.data, straight.data)


def test_state_of_another_network_is_refused_and_nothing_changes():
    optimizer = SGD([Parameter([1.0, 2.0])], lr=0.1, momentum=0.9)
    other = SGD([Parameter([1.0, 2.0, 3.0])], lr=0.2, momentum=0.9)
    other.step()
    with pytest.raises(ValueError, match=r"velocity of parameter 0 of shape \(2,\), got \(3,\)"):
        optimizer.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="1 groups with 1 parameters, got 1 with 2"):
        optimizer.load_state_dict(SGD([Parameter([1.0]), Parameter([1.0])], lr=0.2).state_dict())
    assert optimizer.lr == 0.1


class Affine(Layer):
    def __init__(self):
        self.weight, self.bias = Parameter(np.ones((2, 3))), Parameter(np.ones(2))


def test_split_decay_separates_weights_from_biases_and_gains():
    net = Affine()
    assert split_decay(net) == ([net.weight], [net.bias])


def test_clipping_shrinks_all_gradients_together_and_returns_the_norm_before():
    a, b = Parameter(np.zeros(1, np.float32)), Parameter(np.zeros((1, 1), np.float32))
    a.grad[...], b.grad[...] = 3, 4
    assert clip_gradients([a, b], max_norm=10) == pytest.approx(5)
    assert (a.grad[0], b.grad[0, 0]) == (3, 4)
    assert clip_gradients((p for p in [a, b]), max_norm=1) == pytest.approx(5)
    assert (a.grad[0], b.grad[0, 0]) == (pytest.approx(0.6, 1e-6), pytest.approx(0.8, 1e-6))


def test_clipping_refuses_gradients_that_are_not_finite_and_changes_none():
    a, b = Parameter([1.0]), Parameter([1.0, 1.0])
    a.grad[...], b.grad[...] = 100, [0, np.inf]
    with pytest.raises(FloatingPointError, match=r"parameter 1 of 2, of shape \(2,\), is not finite"):
        clip_gradients([a, b], max_norm=1)
    assert a.grad[0] == 100
    with pytest.raises(ValueError, match="max_norm > 0"):
        clip_gradients([a], max_norm=0)


def test_the_papers_schedule_divides_the_rate_at_32k_and_48k_iterations():
    schedule = MultiStep(0.1, [32_000, 48_000])
    for iteration, lr in [(0, 0.1), (31_999, 0.1), (32_000, 0.01), (47_999, 0.01), (48_000, 0.001), (63_999, 0.001)]:
        assert schedule.lr(iteration) == pytest.approx(lr, rel=1e-12)


def test_cosine_goes_from_base_over_half_to_zero():
    schedule = Cosine(0.2, total=100)
    assert [schedule.lr(i) for i in (0, 50, 100, 150)] == pytest.approx([0.2, 0.1, 0, 0])
    assert schedule.lr(25) == pytest.approx(0.1 * (1 + math.sqrt(0.5)))


def test_warm_up_rises_in_equal_steps_to_the_schedule_behind_it():
    schedule = LinearWarmUp(MultiStep(0.4, [6]), iterations=4)
    assert [schedule.lr(i) for i in range(8)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.04, 0.04])


def test_the_papers_warm_up_ends_when_the_error_is_below_80_percent_and_does_not_come_back():
    schedule = WarmUpUntil(MultiStep(0.1, [32_000, 48_000]))
    for _ in range(500):
        schedule.observe(0.9)
    assert schedule.lr(500) == 0.01
    schedule.observe(0.0)  # one lucky batch
    assert schedule.lr(501) == 0.01
    for _ in range(200):
        schedule.observe(0.7)
    assert schedule.lr(701) == 0.1
    for _ in range(500):
        schedule.observe(1.0)
    assert schedule.lr(1201) == 0.1
    assert schedule.lr(32_000) == pytest.approx(0.01)


def test_the_papers_warm_up_survives_a_checkpoint():
    schedule, other = WarmUpUntil(Schedule(0.1)), WarmUpUntil(Schedule(0.1))
    for _ in range(30):
        schedule.observe(0.6)
    other.load_state_dict(schedule.state_dict())
    ends = []
    for s in (schedule, other):
        while s.lr(0) == 0.01:
            s.observe(0.7)
            ends.append(s)
    assert ends.count(schedule) == ends.count(other) > 0


def test_impossible_schedules_are_named():
    with pytest.raises(ValueError, match="ascending order"):
        MultiStep(0.1, [48_000, 32_000])
    with pytest.raises(ValueError, match="total >= 1"):
        Cosine(0.1, 0)


@pytest.mark.parametrize("schedule", [Schedule(0.1), MultiStep(0.1, [3]), LinearWarmUp(Cosine(0.1, 9), 2)])
def test_a_schedule_prints_as_it_was_made(schedule):
    again = eval(repr(schedule))
    assert [again.lr(i) for i in range(12)] == [schedule.lr(i) for i in range(12)]
