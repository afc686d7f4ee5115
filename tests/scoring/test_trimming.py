"""Trimming by instructions, METRICS section 3, against the oracle."""

from itertools import chain

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_books import book_of

from pytest_memleak.scoring.index import Index
from pytest_memleak.scoring.trimming import Trimming

LETTERS = st.sampled_from("abcd")


@st.composite
def cases(draw):
    """A book, instructions that quote it, intervals for some of them, k and m."""
    book = draw(st.lists(LETTERS, min_size=4, max_size=40))
    quoted = st.tuples(st.integers(0, len(book) - 1), st.integers(1, 20)).map(
        lambda at: book[at[0] : sum(at)]
    )
    parts = st.lists(quoted | st.lists(st.sampled_from("abxy"), max_size=3), max_size=4)
    instructions = draw(st.lists(st.none() | parts.map(chain.from_iterable).map(list), min_size=1))
    ends = st.tuples(st.integers(0, len(book)), st.integers(0, len(book)))
    interval = ends.map(sorted).filter(lambda at: at[0] < at[1])
    numbered = st.tuples(st.integers(0, len(instructions) - 1), interval)
    matches = [(n, *at) for n, at in draw(st.lists(numbered, max_size=20))]
    k = draw(st.integers(1, 4))
    return book, instructions, [one for one in matches if one[2] - one[1] >= k], k


@pytest.mark.full
@settings(max_examples=examples(2_000))
@given(cases(), st.integers(0, 6))
def test_pieces_equal_the_oracle(oracle, case, m):
    words, instructions, matches, k = case
    book = book_of(" ".join(words))
    texts = [None if one is None else " ".join(one) for one in instructions]
    trimming = Trimming(book, Index(book, k=k), texts, trim=m)
    number, start, end = np.array(matches, dtype=np.intp).reshape(-1, 3).T
    found = trimming.pieces(number, start, end)
    expected = [
        (of, *piece)
        for of, (n, *match) in enumerate(matches)
        for piece in oracle.trimmed(words, match, instructions[n] or [], k, m)
    ]
    rows = zip(found.of.tolist(), found.start.tolist(), found.end.tolist(), strict=True)
    assert sorted(rows) == expected
