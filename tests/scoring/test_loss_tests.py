"""Whether lost completions are lost by chance, against counting by brute force."""

from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.scoring.control_call_count import (
    MOST_LOST_SHARE,
    control_calls_due,
    most_control_calls,
)
from pytest_memleak.scoring.loss_tests import (
    MOST_CONTROLS,
    TEST_LEVEL,
    hypergeometric_tail,
    p_control,
    p_uneven,
)


def tail_by_counting(hits, draws, marked, total):
    """Draw every set, and count those with enough marked ones."""
    sets = list(combinations(range(total), draws))
    enough = [drawn for drawn in sets if sum(one < marked for one in drawn) >= hits]
    return len(enough) / len(sets)


@given(st.data())
def test_the_tail_equals_the_share_of_all_draws(data):
    total = data.draw(st.integers(1, 9))
    draws, marked, hits = (data.draw(st.integers(0, total)) for _ in range(3))
    expected = tail_by_counting(hits, draws, marked, total)
    assert hypergeometric_tail(hits, draws, marked, total) == pytest.approx(expected)


def test_the_tail_is_exact_for_thousands():
    ways = [comb(500, hits) * comb(9500, 100 - hits) for hits in range(20, 101)]
    expected = sum(ways) / comb(10_000, 100)
    tail = hypergeometric_tail(20, 100, 500, 10_000)
    assert tail == pytest.approx(expected, rel=1e-9)


def test_losses_at_one_excerpt_are_uneven():
    assert p_uneven([100] * 20, [5] + [0] * 19) < TEST_LEVEL


def test_losses_spread_over_excerpts_are_even():
    assert p_uneven([100] * 20, [5] * 20) == 1.0


def test_nothing_lost_is_even():
    assert p_uneven([100] * 20, [0] * 20) == 1.0


@given(st.integers(1, 5_000), st.data())
def test_due_controls_can_reject(requested, data):
    lost = data.draw(st.integers(0, requested))
    due = control_calls_due(requested, lost)
    assert due <= most_control_calls(requested) <= MOST_CONTROLS
    if lost <= MOST_LOST_SHARE * requested:
        assert due == 0
    if due:
        assert p_control(requested, lost, due, 0) <= TEST_LEVEL


def test_due_controls_expect_five_losses():
    assert control_calls_due(10_000, 500) == 100
    assert control_calls_due(2_000, 200) == 50


def test_no_controls_are_due_where_they_could_not_tell():
    assert control_calls_due(24, 1) == 0
