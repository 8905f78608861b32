"""Hidden tests of assignment 12: numbers in ranges."""

import numpy as np
import pytest

from minires.course import seeded, submitted

mine = submitted(__file__, "degradation.py")


def test_task_12_1_the_four_runs():
    runs = mine.read_runs()
    assert mine.final_error(runs, "plain-56", "train") == pytest.approx(0.62, abs=0.03)
    assert mine.gap(runs, "plain", "train") == pytest.approx(36, abs=3)
    assert abs(mine.gap(runs, "resnet", "train")) < 3


def test_task_12_1_other_runs():
    errors = seeded(11).uniform(size=(2, 5))
    runs = {f"resnet-{d}": {"test": [[i, float(e)] for i, e in enumerate(row)]} for d, row in zip((20, 56), errors)}
    expected = 100 * (errors[1, -3:].mean() - errors[0, -3:].mean())
    assert mine.gap(runs, "resnet", "test") == pytest.approx(expected)


def test_task_12_2_residual_blocks_start_near_the_identity():
    plain, residual = (mine.mlp(12, kind, seed=3) for kind in (False, True))
    inner = [[np.std(p.data) for p in net.parameters() if p.data.shape == (16, 16)] for net in (plain, residual)]
    np.testing.assert_allclose(inner[1], np.array(inner[0]) / 10, rtol=1e-6)


def test_task_12_2_shortcuts_lead_past_every_block():
    net, x = mine.mlp(8, True, seed=4), seeded(12).normal(size=(5, 2))
    weights = [p for p in net.parameters() if p.data.ndim == 2]
    for parameter in net.parameters():
        if parameter.data.shape == (16, 16):
            parameter.data[...] = 0
    first, last = (next(w.data for w in weights if w.data.shape == shape) for shape in ((16, 2), (3, 16)))
    np.testing.assert_allclose(net.forward(x), np.maximum(x @ first.T, 0) @ last.T, rtol=1e-9)


def test_task_12_2_the_plain_net_has_no_shortcut():
    net = mine.mlp(8, False, seed=4)
    for parameter in net.parameters():
        if parameter.data.shape == (16, 16):
            parameter.data[...] = 0
    assert not np.any(net.forward(seeded(13).normal(size=(5, 2))))


def test_task_12_3_depth_harms_the_plain_net_and_not_the_residual_one():
    shallow = np.mean(mine.measure(6, False, [0, 100, 200], 200))
    plain, residual = (np.mean(mine.measure(20, kind, [0, 100, 200], 200)) for kind in (False, True))
    assert shallow < 0.1 and plain > 0.4 and residual < 0.1, (shallow, plain, residual)


def test_task_12_3_no_steps_no_learning():
    (loss,) = mine.measure(4, True, [5], 0)
    assert 0.7 < loss < 3


@pytest.mark.parametrize("n", [2, 7])
def test_task_12_3_the_standard_error_of_other_samples(n):
    losses = [float(v) for v in seeded(14).normal(size=n)]
    assert mine.summary(losses) == pytest.approx((np.mean(losses), np.std(losses, ddof=1) / n**0.5))


@pytest.mark.parametrize("key, right", [("overfitting", False), ("could", "yes"), ("ratio", 100), ("seeds", 2)])
def test_task_12_4_the_explanation(key, right):
    assert mine.answers()[key] == right


def test_task_12_4_the_gap():
    assert mine.answers()["gap"] == pytest.approx(36, abs=3)
