"""Layers and Parameters where no layer looks for its members."""

import functools
from collections import deque

import numpy as np
import pytest

from minires.layer import Layer, Parameter
from minires.layers import Dropout, Linear, ReLU, Residual, Sequential
from minires.networks import cifar_resnet
from minires.unfound import unfound

GAIN = Parameter(np.ones(1, np.float32))


class InTheClass(Layer):
    gains = [Parameter(np.ones(1, np.float32))]


class InTheModule(Layer):
    def forward(self, x):
        return GAIN.data * x


class InADefault(Layer):
    def forward(self, x, layer=ReLU()):  # noqa: B008
        return layer(x)


class Holder:
    def __init__(self, value):
        self.value = value


def with_attribute(value):
    layer = Layer()
    layer.held = value
    return layer


def closing_over():
    hidden = Linear(3, 3, rng=0)

    class Closing(Layer):
        def forward(self, x):
            return hidden(x)

    return Closing()


CASES = {
    "a closure": (closing_over(), "Closing.forward, which closes over hidden"),
    "the class": (InTheClass(), "InTheClass.gains, an attribute of the class"),
    "the module": (InTheModule(), "InTheModule.forward, which uses the global GAIN"),
    "a default": (InADefault(), "InADefault.forward, as a default value"),
    "a set": (with_attribute({ReLU()}), "in the attribute held, in a set"),
    "a frozen set": (with_attribute(frozenset({ReLU()})), "in the attribute held, in a frozenset"),
    "a queue": (with_attribute(deque([ReLU()])), "in the attribute held, in a deque"),
    "an object": (with_attribute(Holder(Holder(ReLU()))), "in the attribute held, in a Holder, in a Holder"),
    "a lambda": (with_attribute(lambda x: GAIN.data * x), "in the attribute held, which uses the global GAIN"),
    "a partial": (with_attribute(functools.partial(max, ReLU())), "in the attribute held, in a partial"),
    "an array": (with_attribute(np.array([ReLU(), None])), "in the attribute held"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_hides_is_named(case):
    layer, where = CASES[case]
    assert unfound(layer) == [where]
    assert unfound(Sequential(layer)) == [f"0: {where}"]


def test_what_is_found_does_not_hide():
    tied = Residual(Linear(3, 3, rng=0))
    tied.table, tied.again = {"layers": [tied.branch]}, Holder(tied.branch)
    for layer in (tied, cifar_resnet(8, rng=0), Dropout(rng=0)):
        layer.holds_itself = {"me": layer}
        assert unfound(layer) == []
