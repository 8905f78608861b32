"""Names that PyTorch has and minires has not: each is answered with a sentence, the one of the docs."""

import copy
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import minires
from minires import SGD, Linear, Parameter, softmax_cross_entropy
from minires.pytorch import INSTEAD

NET = Linear(3, 2, rng=0)
OWNERS = {
    "minires": minires,
    "Layer": NET,
    "Parameter": Parameter(np.ones(2, np.float32)),
    "loss": softmax_cross_entropy(np.zeros((1, 2)), [0]),
    "optimizer": SGD(NET.parameters(), lr=0.1),
}
DOCS = Path(__file__).parents[1] / "docs" / "coming-from-pytorch.md"


@pytest.mark.parametrize("kind, name", [(kind, name) for kind in INSTEAD for name in INSTEAD[kind]])
def test_a_missing_name_is_answered_with_what_to_use(kind, name):
    assert not hasattr(OWNERS[kind], name)
    with pytest.raises(AttributeError, match=re.escape(f"no attribute {name!r}: {INSTEAD[kind][name]}.")):
        getattr(OWNERS[kind], name)


def test_any_other_name_is_missing_as_ever():
    for owner in OWNERS.values():
        with pytest.raises(AttributeError, match="has no attribute 'nothing_like_it'$"):
            owner.nothing_like_it  # noqa: B018


def test_the_docs_say_the_same():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [row for names in INSTEAD.values() for row in names.items()]


def test_copies_and_pickles_are_as_before():
    for twin in (copy.deepcopy(NET), copy.copy(NET), pickle.loads(pickle.dumps(NET))):
        np.testing.assert_array_equal(twin.weight.data, NET.weight.data)
        assert twin.weight.grad is not None and not hasattr(twin, "cuda")


def test_minires_says_its_version():
    assert isinstance(minires.__version__, str)
