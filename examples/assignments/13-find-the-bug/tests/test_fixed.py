"""Visible tests of assignment 13. Run them with  python -m pytest  in this assignment's folder."""

import pytest

from minires import check_layer
from minires.course import seeded, submitted

mine = submitted(__file__, "fixed.py")
ARGUMENTS = {"A": (4,), "B": (4,), "K": (4,)}


def check(letter, number):
    layer = getattr(mine, letter)(*ARGUMENTS.get(letter, ()))
    check_layer(layer, seeded(number).normal(size=(5, 4)))


@pytest.mark.parametrize("letter", "ABCDE")
def test_task_13_1_the_mended_layer_passes_the_check(letter):
    check(letter, 1)


@pytest.mark.parametrize("letter", "FGHJK")
def test_task_13_2_the_mended_layer_passes_the_check(letter):
    check(letter, 2)


def test_task_13_3_each_layer_has_a_word_and_each_word_a_layer():
    words = mine.mistakes()
    assert sorted(words) == list("ABCDEFGHJK")
    assert sorted(words.values()) == sorted(
        "mean|overwrites|mask from dy|diagonal|path|argument|overlap|new mask|transposed|stale".split("|")
    )
