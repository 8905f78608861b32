"""Who checks the checker: every mistake has to be rejected, and nothing else."""

import numpy as np
import pytest
from mutants import LAYER_MUTANTS, LOSS_MUTANTS, without_mistake

from minires.gradcheck import GradientError, check_layer, check_loss


def x_of(shape):
    """A random x; "ties" has two pixels equal, both the largest of their window."""
    if shape != "ties":
        return np.random.default_rng(0).normal(size=shape)
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 6))
    x[0, 0, 0, :2] = 5
    return x


@pytest.mark.parametrize("name", LAYER_MUTANTS)
def test_a_mistake_is_rejected_and_named(name):
    layer, shape, message = LAYER_MUTANTS[name]
    with pytest.raises(GradientError, match=message):
        check_layer(layer, x_of(shape))


@pytest.mark.parametrize("name", LAYER_MUTANTS)
def test_without_the_mistake_the_layer_is_accepted(name):
    layer, shape, _ = LAYER_MUTANTS[name]
    check_layer(without_mistake(layer), x_of(shape))


@pytest.mark.parametrize("name", LOSS_MUTANTS)
def test_a_mistake_in_a_loss_is_rejected_and_named(name):
    mutant, correct, arguments, message = LOSS_MUTANTS[name]
    logits = np.random.default_rng(0).normal(size=(4, 5))
    with pytest.raises(GradientError, match=message):
        check_loss(mutant, logits, *arguments)
    check_loss(correct, logits, *arguments)
