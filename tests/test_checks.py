"""Numbers that people hand over: what counts as one, and the sentence where it is none."""

import numpy as np
import pytest

from minires.checks import generator, real, some, whole

WIDTHS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]


@pytest.mark.parametrize("kind", [int, *WIDTHS])
def test_a_whole_number_of_any_width_becomes_an_int(kind):
    assert type(whole("f", "n", kind(3), least=3, most=3)) is int


@pytest.mark.parametrize(
    "value", [True, np.True_, 3.0, np.float32(3), "3", None, [3], np.array(3), 3 + 0j, np.timedelta64(3), -1, 8]
)
def test_what_is_no_whole_number_or_out_of_range_is_refused_in_one_line(value):
    with pytest.raises(ValueError, match="^f: expected n, a whole number from 0 to 7, got [^\n]*[.] Why[?]$"):
        whole("f", "n", value, most=7, hint="Why?")
    with pytest.raises(TypeError):  # the same error can be caught as either
        whole("f", "n", value, most=7)


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int8(1), np.float64(1)])
def test_a_real_number_becomes_a_float(value):
    number = real("f", "p", value, least=0, most=1)
    assert type(number) is float and number == value


@pytest.mark.parametrize("value", [True, np.nan, np.inf, 10**400, "0.5", None, [0.5], np.zeros(1), 1j, -0.1, 1.1])
def test_what_is_no_real_number_or_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match="^f: expected p, a number from 0 to 1, got [^\n]*[.]$"):
        real("f", "p", value, least=0, most=1)


@pytest.mark.parametrize(
    "limits, words",
    [
        ({}, "a finite number, got nan"),
        ({"least": 0}, "a finite number of at least 0, got nan"),
        ({"above": 0}, "a finite number above 0, got nan"),
        ({"above": 0, "most": 1}, "a number above 0 and at most 1, got nan"),
    ],
)
def test_the_limits_are_told_in_words(limits, words):
    with pytest.raises(ValueError, match=f"expected p, {words}"):
        real("f", "p", np.nan, **limits)


def test_a_limit_that_is_above_excludes_itself():
    assert real("f", "p", 1, above=0) == 1
    with pytest.raises(ValueError, match="above 0, got 0"):
        real("f", "p", 0, above=0)


@pytest.mark.parametrize("rng", ["seed", 1.5, -1])
def test_what_makes_no_generator_is_named(rng):
    with pytest.raises(ValueError, match=f"f: expected rng, a numpy.random.Generator, a seed .*, got {rng!r}[.]"):
        generator("f", rng)
    assert generator("f", np.int64(3)).random() == generator("f", 3).random()


def test_a_long_value_is_cut_and_a_long_list_is_counted():
    with pytest.raises(ValueError) as caught:
        whole("f", "n", list(range(1000)))
    assert len(str(caught.value)) < 200
    assert (some([]), some(["a"]), some("abcdefg")) == ("nothing", "a", "a, b, c, d, e and 2 more")
