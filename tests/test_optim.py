"""The optimizers against updates written out by hand, and the schedules at the iterations that matter."""

import copy
import math
import pickle

import numpy as np
import pytest

from minires.layer import Layer, Parameter
from minires.layers import Linear
from minires.optim import (
    SGD,
    Adam,
    AdamW,
    Cosine,
    LinearWarmUp,
    MultiStep,
    Optimizer,
    Schedule,
    WarmUpUntil,
    clip_gradients,
    split_decay,
    warm_up_then_cosine,
)


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
        ({"lr": -0.1}, "SGD: expected lr, a finite number of at least 0, got -0.1"),
        ({"lr": math.nan}, "expected lr, a finite number of at least 0, got nan"),
        ({"lr": 0.1, "momentum": -1}, "expected momentum, a finite number of at least 0"),
        ({"lr": 0.1, "weight_decay": -1}, "expected weight_decay, a finite number of at least 0"),
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
    with pytest.raises(ValueError, match="velocity, a list of 1, got 2. Is it the same network"):
        optimizer.load_state_dict(SGD([Parameter([1.0]), Parameter([1.0])], lr=0.2).state_dict())
    assert optimizer.lr == 0.1


# -- every optimizer ----------------------------------------------------------------------------------------------

EVERY = {
    "SGD": lambda parameters: SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-2),
    "Adam": lambda parameters: Adam(parameters, lr=0.1, weight_decay=1e-2),
    "AdamW": lambda parameters: AdamW(parameters, lr=0.1),
}


def descend(net, optimizer, steps, seed=0):
    """Steps with gradients drawn from a seed."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        for parameter in net.parameters():
            parameter.grad[...] = rng.standard_normal(parameter.data.shape)
        optimizer.step()
    return net


def same(a, b):
    return all(np.array_equal(array, b.state_dict()[name]) for name, array in a.state_dict().items())


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["copy", "pickle"]
)
def test_a_copy_of_net_and_optimizer_steps_as_the_originals_do(make, copied):
    net = Linear(3, 2, rng=0)
    optimizer = make(net.parameters())
    descend(net, optimizer, 3)
    twin, its_optimizer = copied((net, optimizer))
    descend(net, optimizer, 3, seed=1)
    descend(twin, its_optimizer, 3, seed=1)
    assert same(net, twin) and not same(net, descend(Linear(3, 2, rng=0), make(net.parameters()), 3))


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_state_of_every_optimizer_restored_continues_bit_for_bit(make):
    net, other = Linear(3, 2, rng=0), Linear(3, 2, rng=0)
    optimizer, resumed = make(net.parameters()), make(other.parameters())
    descend(net, optimizer, 3)
    other.load_state_dict(net.state_dict())
    resumed.load_state_dict(optimizer.state_dict())
    assert same(descend(net, optimizer, 3, seed=1), descend(other, resumed, 3, seed=1))


def damaged(name, value):
    """state_dict of an optimizer that has made a step, with one entry replaced."""
    state = EVERY[name]([Parameter(np.ones(2, np.float32))])
    descend(type("Net", (), {"parameters": lambda _: state.parameters()})(), state, 1)
    return state, {**state.state_dict(), **value}


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("SGD", {"lr": "fast"}, "expected lr, a finite number of at least 0, got 'fast'"),
        ("SGD", {"lr": -1.0}, "expected lr, .* got -1.0"),
        ("SGD", {"steps": 1.5}, "expected steps, a whole number"),
        ("SGD", {"groups": [{}]}, "expected the settings dampening, .* of a group, got {}"),
        ("SGD", {"groups": [3]}, "expected the settings .* got 3"),
        ("SGD", {"groups": None}, "expected groups, a list of 1, got None"),
        ("SGD", {"groups": 1}, "expected groups, a list of 1, got 1"),
        ("SGD", {"velocity": np.ones(2)}, "expected velocity, a list of 1, got array"),
        ("SGD", {"velocity": ["abc"]}, "expected the velocity of parameter 0 as an array of floats, got str"),
        ("SGD", {"velocity": [np.ones(2, int)]}, "as an array of floats, got int64"),
        ("SGD", {"velocity": [np.ones(2, complex)]}, "as an array of floats, got complex128"),
        ("SGD", {"velocity": [np.ones(3, np.float32)]}, r"of parameter 0 of shape \(2,\), got \(3,\)"),
        ("SGD", {"velocity": [np.array([1, np.nan])]}, "finite in float32, got NaN"),
        ("SGD", {"velocity": [np.array([1, 1e300])]}, "finite in float32"),
        ("SGD", {"more": 1}, "expected a state with lr, steps, groups, velocity, got the keys"),
        ("Adam", {"m": [None]}, "of parameter 0 there is v alone"),
        ("Adam", {"v": [np.array([1.0, -1.0])]}, "expected the v of parameter 0 of numbers of at least 0, got -1"),
        ("Adam", {"groups": [{"lr_factor": 1.0, "betas": [0.9, 1.0], "eps": 0.1, "weight_decay": 0}]}, "less than 1"),
    ],
)  # fmt: skip
def test_a_damaged_state_is_refused_in_one_line_and_changes_nothing(name, value, message):
    optimizer, state = damaged(name, value)
    before = repr(optimizer.state_dict())
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert repr(optimizer.state_dict()) == before


@pytest.mark.parametrize("state", [None, [], 3, {}, "state"])
def test_what_is_no_state_at_all_is_named(state):
    with pytest.raises(ValueError, match="^Adam: expected a state with lr, steps, groups, m, v, got [^\n]*$"):
        Adam([Parameter([1.0])]).load_state_dict(state)


def test_adams_first_step_is_the_rate_in_the_direction_of_the_sign():
    p = Parameter([1.0, 1.0])
    p.grad[:] = [1e-3, -50]
    Adam([p], lr=0.25, eps=0).step()
    np.testing.assert_allclose(p.data, [0.75, 1.25])


def test_adamw_shrinks_every_entry_alike_and_adam_does_not():
    shrunk = {}
    for make in (Adam, AdamW):
        p, q = Parameter([1.0, 1.0]), Parameter([1.0, 1.0])
        optimizers = make([p], lr=0.1, weight_decay=0.5), make([q], lr=0.1, weight_decay=0)
        p.grad[:] = q.grad[:] = [1e-2, 10]
        for optimizer in optimizers:
            optimizer.step()
        shrunk[make] = p.data - q.data
    np.testing.assert_allclose(shrunk[AdamW], -0.1 * 0.5)
    np.testing.assert_allclose(shrunk[Adam], 0, atol=1e-6)


def test_a_rule_of_ones_own_is_one_class_with_one_method():
    class Momentum(Optimizer):
        remembers = ("velocity",)

        def __init__(self, parameters, lr, momentum=0.9):
            super().__init__(parameters, lr, momentum=momentum)

        def move(self, p, g, lr, memory, settings):
            memory["velocity"] = settings["momentum"] * memory.get("velocity", 0) + g
            p -= lr * memory["velocity"]

    net, other = Linear(3, 2, rng=0), Linear(3, 2, rng=0)
    mine = Momentum(net.parameters(), lr=0.1)
    descend(net, mine, 5)
    descend(other, SGD(other.parameters(), lr=0.1, momentum=0.9), 5)
    for name, array in net.state_dict().items():
        np.testing.assert_allclose(array, other.state_dict()[name], rtol=1e-6)
    assert repr(mine) == "Momentum(lr=0.1, momentum=0.9)" and mine.state_dict()["velocity"][0].shape == (2, 3)
    with pytest.raises(ValueError, match="Momentum: expected momentum, a finite number of at least 0, got 'much'"):
        Momentum(net.parameters(), lr=0.1, momentum="much")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: SGD(p, lr=MultiStep(0.1, [3])), r"got MultiStep\(.*A schedule goes to train\(..., schedule=...\)"),
        (lambda p: SGD(p, lr="0.1"), "SGD: expected lr, a finite number of at least 0, got '0.1'"),
        (lambda p: SGD(p, 0.1, momentum=True), "SGD: expected momentum, a finite number"),
        (lambda p: SGD(p, 0.1, 0.9, nesterov="yes"), "SGD: expected nesterov, True or False, got 'yes'"),
        (lambda p: Adam(p, betas=0.9), r"Adam: expected betas, numbers such as \(0.9, 0.999\), got 0.9"),
        (lambda p: AdamW(p, betas=(0.9, 1)), r"AdamW: expected betas less than 1, got \(0.9, 1.0\)"),
        (lambda p: Adam(p, eps=np.nan), "Adam: expected eps, a finite number of at least 0, got nan"),
        (lambda p: SGD(3, 0.1), "SGD: expected a list of Parameters, got int. Use net.parameters()"),
        (lambda p: SGD([{"parameters": 3}], 0.1), "a list under the key"),
        (lambda p: SGD("abc", 0.1), "expected Parameters, got str"),
        (lambda p: Cosine("0.1", 5), "Cosine: expected base"),
        (lambda p: Cosine(0.1, 1e4), "Cosine: expected total, a whole number of at least 1, got 10000.0"),
        (lambda p: MultiStep(0.1, 5), "MultiStep: expected milestones, a list of iterations, got 5"),
        (lambda p: MultiStep(0.1, [0.5]), "MultiStep: expected each of the milestones, a whole number"),
        (lambda p: LinearWarmUp(0.1, 5), r"LinearWarmUp: expected then, a Schedule to follow, such as .*, got 0.1"),
        (lambda p: WarmUpUntil(Schedule(0.1), error=80), "WarmUpUntil: expected error, a number from 0 to 1, got 80"),
        (lambda p: Schedule(None), "Schedule: expected base, a finite number of at least 0, got None"),
    ],
)  # fmt: skip
def test_arguments_of_the_wrong_kind_get_one_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make([Parameter([1.0])])
    assert "\n" not in str(caught.value)


# -- what is done to gradients before -----------------------------------------------------------------------------


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
    with pytest.raises(ValueError, match="max_norm, a finite number above 0"):
        clip_gradients([a], max_norm=0)


def test_clipping_knows_large_from_infinite():
    a, b = Parameter(np.zeros(1)), Parameter(np.zeros(2))
    a.grad[...], b.grad[...] = 3e200, [0, -4e200]
    assert clip_gradients([a, b], max_norm=1) == pytest.approx(5e200)
    np.testing.assert_allclose([a.grad[0], b.grad[1]], [0.6, -0.8])


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
    with pytest.raises(ValueError, match="total, a whole number of at least 1"):
        Cosine(0.1, 0)


def test_the_short_runs_schedule_warms_up_over_a_tenth():
    schedule = warm_up_then_cosine(0.4, 40)
    assert [schedule.lr(i) for i in (0, 3, 40)] == pytest.approx([0.1, 0.4 * 0.5 * (1 + math.cos(math.pi * 3 / 40)), 0])


@pytest.mark.parametrize("schedule", [Schedule(0.1), MultiStep(0.1, [3]), LinearWarmUp(Cosine(0.1, 9), 2)])
def test_a_schedule_prints_as_it_was_made(schedule):
    again = eval(repr(schedule))
    assert [again.lr(i) for i in range(12)] == [schedule.lr(i) for i in range(12)]
