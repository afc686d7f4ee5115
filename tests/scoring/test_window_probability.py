"""Windows of tokens, and what samples bring back, against direct computations."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.scoring.window_probability import (
    is_extractable,
    window_log_probability,
    windows_of_tokens,
)


@given(st.integers(0, 400), st.integers(1, 5))
def test_a_window_of_50_tokens_after_50_begins_every_10_tokens(tokens, width):
    starts = [width * number for number in range(tokens)]
    windows = [*windows_of_tokens(starts, width * tokens)]
    expected = [
        (width * first, width * (first + 50), width * (first + 100))
        for first in range(0, tokens, 10)
        if first + 100 <= tokens
    ]
    assert [(each.prefix, each.start, each.end) for each in windows] == expected


@given(
    st.lists(st.floats(-20, 0), min_size=1, max_size=30),
    st.integers(0, 29),
)
def test_log_p_is_the_sum_over_the_tokens_after_the_prefix(logprobs, prefix):
    prefix %= len(logprobs)
    starts = [3 * number for number in range(len(logprobs))]
    log_p = window_log_probability(starts, logprobs, 3 * prefix)
    assert log_p == pytest.approx(sum(logprobs[prefix:]))


def test_a_token_across_the_end_of_the_prefix_counts():
    assert window_log_probability([0, 3, 6], [-1.0, -2.0, -4.0], 5) == -6.0


def test_a_window_whose_token_has_no_probability_has_none():
    assert window_log_probability([0, 3, 6], [None, None, -4.0], 3) is None
    assert window_log_probability([0, 3, 6], [None, -1.0, -4.0], 3) == -5.0


def test_a_text_whose_tokens_are_unknown_has_no_probability():
    assert window_log_probability([], [], 3) is None


@pytest.mark.parametrize("samples", [1, 100, 10_000])
def test_extractable_means_that_n_samples_have_an_even_chance(samples):
    for halvings in range(1, 21):
        p = Fraction(1, 2**halvings)
        has_even_chance = 1 - (1 - p) ** samples >= Fraction(1, 2)
        assert is_extractable(-halvings * math.log(2), samples) == has_even_chance


def test_a_sure_window_is_extractable_and_an_impossible_one_never():
    assert is_extractable(0.0, 1)
    assert not is_extractable(-math.inf, 10_000)
