"""Visible tests of assignment 12. Run them with  python -m pytest  in this assignment's folder."""

import numpy as np
import pytest

from minires.course import submitted

mine = submitted(__file__, "degradation.py")
RUNS = {
    "plain-20": {"train": [[1, 0.9], [2, 0.3], [3, 0.2], [4, 0.1]], "test": [[4, 0.5]]},
    "plain-56": {"train": [[1, 0.9], [2, 0.5], [3, 0.4], [4, 0.3]], "test": [[4, 0.4]]},
}


def test_task_12_1_the_last_three_count():
    assert mine.final_error(RUNS, "plain-20", "train") == pytest.approx(0.2)


def test_task_12_1_a_gap_in_percentage_points():
    assert mine.gap(RUNS, "plain", "train") == pytest.approx(20)


@pytest.mark.parametrize("residual", [False, True])
def test_task_12_2_the_net_has_depth_linear_layers(residual):
    net = mine.mlp(5, residual)
    shapes = sorted(p.data.shape for p in net.parameters() if p.data.ndim == 2)
    assert shapes == [(3, 16), (16, 2), (16, 16), (16, 16), (16, 16)]
    assert net.forward(np.zeros((4, 2))).shape == (4, 3)


def test_task_12_3_a_net_of_six_layers_learns():
    losses = mine.measure(6, False, [0], 200)
    assert len(losses) == 1 and losses[0] < 0.1


def test_task_12_3_mean_and_standard_error():
    assert mine.summary([1.0, 2.0, 3.0]) == pytest.approx((2, 1 / np.sqrt(3)))


def test_task_12_4_there_are_five_answers():
    found = mine.answers()
    assert set(found) == {"gap", "overfitting", "could", "ratio", "seeds"}
    assert found["overfitting"] in (True, False) and found["could"] in ("yes", "no") and found["ratio"] in (2, 10, 100)
