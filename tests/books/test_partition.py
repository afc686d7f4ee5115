from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.books.excerpts import Row, cheapest_cuts


def row(words, prices=None, chapters=None, long_chapters=()):
    return Row(
        words=words,
        prices=prices or [0.0] * len(words),
        chapters=chapters or [0] * len(words),
        long_chapters=frozenset(long_chapters),
    )


def cuts(given_row, *, allow_short=False):
    return cheapest_cuts(given_row, shortest=300, longest=500, allow_short=allow_short)


def test_sizes_are_as_near_to_the_middle_as_can_be():
    assert cuts(row([100] * 8)) == [(0, 4), (4, 8)]


def test_no_way_without_short_parts():
    assert cuts(row([250, 400, 250])) is None
    assert cuts(row([250, 400, 250]), allow_short=True) == [(0, 1), (1, 2), (2, 3)]


def test_a_short_part_is_the_last_resort_and_as_long_as_can_be():
    parts = cuts(row([50] * 11), allow_short=True)
    assert sorted(end - first for first, end in parts) == [5, 6]


def test_dear_cuts_are_avoided():
    assert cuts(row([100] * 8, prices=[0, 0, 0, 40, 0, 0, 0, 0])) in (
        [(0, 3), (3, 8)],
        [(0, 5), (5, 8)],
    )


def test_two_long_chapters_never_share_a_part():
    words, chapters = [250, 100, 250], [0, 1, 2]
    assert cuts(row(words, chapters=chapters, long_chapters={0, 2})) is None
    assert cuts(row([150, 100, 150], chapters=chapters, long_chapters={0})) == [(0, 3)]


def test_a_unit_that_is_too_long_is_a_part_of_its_own():
    assert cuts(row([400, 700, 400])) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("words", [[300], [500], [400, 400]])
def test_units_that_are_parts(words):
    assert cuts(row(words)) == [(number, number + 1) for number in range(len(words))]


UNITS = st.lists(
    st.tuples(
        st.integers(1, 9), st.sampled_from([0.0, 40.0, 120.0]), st.integers(0, 1), st.booleans()
    ),
    min_size=1,
    max_size=8,
)


def price_of(found, units, long_chapters, *, shortest, longest, allow_short):
    """The price of a way to cut, said again from the module's own description; None: no way."""
    total = 0.0
    for first, end in found:
        size = sum(words for words, _, _ in units[first:end])
        chapters = [chapter for _, _, chapter in units[first:end]]
        if (size > longest and end - first > 1) or (size < shortest and not allow_short):
            return None
        if len(set(chapters)) > 1 and len(long_chapters & set(chapters)) > 1:
            return None
        middle, reach = (shortest + longest) / 2, (longest - shortest) / 2
        if size < shortest:
            total += 1000 + 10 * (shortest - size)
        else:
            total += 10 * ((min(size, longest) - middle) / reach) ** 2
        total += 60 * (chapters[-1] - chapters[0])
        total += units[end - 1][1] if end < len(units) else 0.0
    return total


@given(UNITS, st.booleans())
def test_no_other_way_is_cheaper(drawn, allow_short):
    chapter, units = 0, []
    for words, price, step, _ in drawn:
        chapter += step
        units.append((words, price, chapter))
    long_chapters = frozenset(
        number for number, (*_, is_long) in zip(range(chapter + 1), drawn, strict=False) if is_long
    )
    sizes = {"shortest": 4, "longest": 8, "allow_short": allow_short}
    given_row = Row(
        words=[one for one, _, _ in units],
        prices=[one for _, one, _ in units],
        chapters=[one for _, _, one in units],
        long_chapters=long_chapters,
    )
    found = cheapest_cuts(given_row, **sizes)
    every = (
        list(pairwise([0, *inner, len(units)]))
        for count in range(len(units))
        for inner in combinations(range(1, len(units)), count)
    )
    prices = [price_of(way, units, long_chapters, **sizes) for way in every]
    cheapest = min((one for one in prices if one is not None), default=None)
    if cheapest is None:
        assert found is None
    else:
        assert price_of(found, units, long_chapters, **sizes) == pytest.approx(cheapest)
