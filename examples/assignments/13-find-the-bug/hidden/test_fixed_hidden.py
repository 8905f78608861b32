"""Hidden tests of assignment 13: mended layers still compute what they did, and the names are right."""

import numpy as np
import pytest

from minires import check_layer
from minires.course import seeded, submitted

mine = submitted(__file__, "fixed.py")
WORDS = "mean|overwrites|mask from dy|diagonal|path|argument|overlap|new mask|transposed|stale".split("|")
FORWARD = {
    "C": lambda x: np.clip(x, 0, 1),
    "D": lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True),
    "E": lambda x: x / np.sqrt(np.mean(x**2, axis=1, keepdims=True)),
    "F": lambda x: np.log(1 + np.exp(x)),
    "G": lambda x: x[:, :-2] + x[:, 1:-1] + x[:, 2:],
    "J": np.abs,
}


@pytest.mark.parametrize("letter", "ABCDE")
def test_task_13_1_also_for_other_numbers(letter):
    layer = getattr(mine, letter)(*{"A": (6,), "B": (6,)}.get(letter, ()))
    x = 0.7 * seeded(11).normal(size=(3, 6))
    y = layer.forward(x)
    layer.backward(np.ones_like(y))
    if letter in FORWARD:
        np.testing.assert_allclose(y, FORWARD[letter](x), rtol=1e-9, atol=1e-12)
    check_layer(layer, x)


@pytest.mark.parametrize("letter", "FGHJK")
def test_task_13_2_also_for_other_numbers(letter):
    layer = getattr(mine, letter)(*{"K": (6,)}.get(letter, ()))
    x = 0.7 * seeded(12).normal(size=(3, 6))
    y = layer.forward(x)
    layer.backward(np.ones_like(y))
    if letter in FORWARD:
        np.testing.assert_allclose(y, FORWARD[letter](x), rtol=1e-9, atol=1e-12)
    check_layer(layer, x)


def other_weights(layer):
    """Any numbers in place of those that a new layer has, and what they are."""
    (parameter,) = layer.parameters()
    parameter.data[...] = seeded(14).normal(size=parameter.data.shape)
    return parameter.data.copy()


@pytest.mark.parametrize("letter, forward", [("A", np.add), ("B", np.multiply)])
def test_task_13_1_forward_is_what_it_was(letter, forward):
    layer, x = getattr(mine, letter)(6), seeded(15).normal(size=(3, 6))
    weights = other_weights(layer)
    np.testing.assert_allclose(layer.forward(x), forward(x, weights), rtol=1e-9)
    layer.backward(x)


def test_task_13_2_forward_is_what_it_was():
    layer, x = mine.K(6), seeded(15).normal(size=(3, 6))
    weights = other_weights(layer)
    np.testing.assert_allclose(layer.forward(x), x @ weights, rtol=1e-9)
    layer.backward(x)
    dropping, x = mine.H(), 1 + seeded(16).random((40, 6))
    assert set(np.unique(dropping.forward(x) / x)) == {0, 2}
    np.testing.assert_array_equal(dropping.eval().forward(x), x)


def test_task_13_2_two_batches_of_one_shape():
    layer, x = mine.J(), seeded(13).normal(size=(3, 4))
    for batch in (x, -x):
        layer.forward(batch)
        np.testing.assert_array_equal(layer.backward(np.ones((3, 4))), np.sign(batch))


@pytest.mark.parametrize("letter, word", list(zip("ABCDEFGHKJ", WORDS)))
def test_task_13_3_the_word_is_right(letter, word):
    assert mine.mistakes()[letter] == word, f"layer {letter} has another mistake"
