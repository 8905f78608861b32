"""Fitting the identity, and fitting what is left: lines, stumps, blocks."""

from itertools import product

import numpy as np
import pytest
from lab_commands import drawn

from minires.lab.identity.measure import (
    KINDS,
    boosted_stumps,
    fit_stacks,
    residual_stages,
    stack,
    straight_line,
    stump,
    wave,
)

TARGETS = "x itself", "x changed by 0.1"


def activations():
    return np.maximum(np.random.default_rng(0).standard_normal((4, 8, 8, 8)), 0).astype(np.float32)


def test_only_a_stack_whose_branches_begin_at_zero_begins_as_the_identity():
    x = activations()
    for kind in KINDS:
        y = stack(kind, 3, rng=0).forward(x)
        assert np.array_equal(y, x) == (kind == "residual, from zero")


def test_a_residual_stack_without_branches_is_the_identity_and_a_plain_one_is_nothing():
    x = activations()
    plain, residual = stack("plain", 2, rng=0), stack("residual", 2, rng=0)
    for net in (plain, residual):
        for name, parameter in net.named_parameters():
            if "bn2" in name:
                parameter.data[...] = 0
    np.testing.assert_array_equal(residual.forward(x), x)
    assert not np.any(plain.forward(x))


def test_a_shallow_residual_stack_learns_the_identity_and_a_plain_one_lags_behind():
    plain, residual, zero = fit_stacks([1], kinds=["plain", "residual", "residual, from zero"], steps=60, lrs=[0.3])
    assert residual.final < 0.1 * plain.final and zero.final == 0
    assert plain.curve[-1] < plain.curve[0]


def test_the_perturbation_is_measured_against_handing_x_on():
    (fit,) = fit_stacks([2], 0.1, kinds=["residual, from zero"], steps=40, lrs=[0.001, 0.1])
    assert fit.curve[0] == pytest.approx(1) and fit.final < 0.95 and fit.lr == 0.1


def test_one_seed_gives_one_result_and_the_same_data_to_all():
    a, b = (fit_stacks([1], kinds=["plain"], steps=3, lrs=[0.1])[0] for _ in range(2))
    assert np.array_equal(a.curve, b.curve)
    with pytest.raises(ValueError, match="at least one block"):
        fit_stacks([0, 2])
    assert [fit.kind for fit in fit_stacks(1, kinds="plain", steps=1, lrs=[0.1])] == ["plain"]
    with pytest.raises(ValueError, match="expected one of 'plain', 'residual'"):
        stack("plian", 2)


def test_a_line_leaves_what_is_at_right_angles_to_it():
    x, y = wave()
    left = y - straight_line(x, y)
    assert left.sum() == pytest.approx(0, abs=1e-9) and left @ x == pytest.approx(0, abs=1e-9)
    assert np.any(np.abs(left) > 0.1)


def test_the_stump_is_the_best_of_all():
    x, y = wave(30)
    where, low, high = stump(x, y)

    def squares(w):
        return sum(np.sum((part - part.mean()) ** 2) for part in (y[x < w], y[x >= w]))

    assert squares(where) == pytest.approx(min(squares((a + b) / 2) for a, b in zip(x, x[1:])))
    assert (low, high) == (pytest.approx(y[x < where].mean()), pytest.approx(y[x >= where].mean()))
    shuffled = np.random.default_rng(1).permutation(30)
    assert stump(x[shuffled], y[shuffled]) == pytest.approx((where, low, high))


def test_a_stump_does_not_step_between_equal_x():
    assert stump(np.array([0.0, 0.0, 1.0]), np.array([0.0, 9.0, 5.0]))[0] == 0.5
    with pytest.raises(ValueError, match="two different x"):
        stump(np.zeros(3), np.arange(3.0))
    for fit in (stump, residual_stages):
        with pytest.raises(ValueError, match=r"expected x and y \(points,\), got \(3, 1\) and \(3,\)"):
            fit(np.zeros((3, 1)), np.arange(3.0), *([1] if fit is residual_stages else []))


def test_every_round_of_boosting_leaves_less():
    x, y = wave()
    fits = boosted_stumps(x, y, 30)
    errors = np.mean((fits - y) ** 2, axis=1)
    assert fits.shape == (31, 80) and errors[0] == pytest.approx(y.var())
    assert np.all(np.diff(errors) < 0) and errors[-1] < 0.2 * errors[0]


def test_residual_stages_begin_with_the_straight_line_and_go_on_with_what_is_left():
    x, y = wave()
    fits = residual_stages(x, y, 3, steps=300)
    np.testing.assert_allclose(fits[0], straight_line(x, y), atol=0.02)
    errors = np.mean((fits - y) ** 2, axis=1)
    assert np.all(np.diff(errors) < 0) and errors[1] < 0.5 * errors[0]


def test_the_command_draws_every_seed_and_step(lab, capsys):
    assert lab.run("identity --blocks 1 2 --steps 2 3 --seeds 0 1 --lrs 0.1 --kinds plain residual --out out") == 0
    assert "8 residual blocks: mean square" in capsys.readouterr().out
    errors = {tuple(key): np.array(finals) for *key, finals in lab.numbers["fits"]}
    assert list(errors) == [(to, kind, at) for to in TARGETS for kind in ("plain", "residual") for at in (2, 3)]
    assert errors["x itself", "plain", 3].shape == (2, 2)  # (seeds, depths)
    for axis, (to, kind) in zip(lab.figures["identity"].axes, product(TARGETS, ("plain", "residual"))):
        for i, line in enumerate(drawn(axis).values()):
            np.testing.assert_allclose(line, [np.median(errors[to, kind, at][:, i]) for at in (2, 3)])
    data = lab.figures["residuals"].axes[0].lines[0]
    np.testing.assert_array_equal(data.get_xydata().T, wave())


def test_without_a_change_of_x_the_identity_alone_is_asked_for(lab):
    assert lab.run("identity --blocks 1 --steps 2 --lrs 0.1 --perturbation 0 --out out") == 0
    assert [row[1] for row in lab.numbers["fits"]] == list(KINDS) and len(lab.figures["identity"].axes) == 4
