"""What is said of depth: only what the numbers show, by how many seeds they show it, and whether nets have learned."""

import math

import pytest

from minires.lab.degradation.measure import percent, verdict


def results(*errors, images=10_000):
    keys = [("plain", 20), ("plain", 56), ("resnet", 20), ("resnet", 56)]
    return {key: [(e, images, e) for e in seeds] for key, seeds in zip(keys, errors)}


def test_of_one_seed_the_words_say_so():
    one = verdict(results([0.30], [0.45], [0.30], [0.28]))
    assert "One seed: by another one these errors may move by several points." in one and "not overfitting" in one
    assert "One seed" not in verdict(results(*[[0.3, 0.31], [0.45, 0.46], [0.3, 0.31], [0.28, 0.29]]))
    assert verdict({("plain", 20): [(0.3, 100, 0.3)]}) == ""


@pytest.mark.parametrize("shallow, said", [(0.85, "this says nothing of depth"), (0.75, "not overfitting")])
def test_nets_near_chance_show_no_degradation(shallow, said):
    words = verdict(results([shallow] * 2, [shallow + 0.04] * 2, [0.5] * 2, [0.5] * 2))
    assert said in words and ("degradation" in words) == (said == "not overfitting")


def test_an_error_that_is_not_there_is_a_dash():
    assert percent([math.nan]) == "-" and percent([0.1, 0.2]) == "15.0 +- 7.1 %" and percent([0.25]) == "25.0 %"
