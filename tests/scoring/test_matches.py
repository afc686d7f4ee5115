"""Matches against the oracle, on alphabets so small that everything repeats."""

from itertools import chain

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.records import Book, Excerpt
from pytest_memleak.scoring import index as module
from pytest_memleak.scoring.index import Index, find_matches, match_texts


@st.composite
def cases(draw):
    """A book that repeats itself, some texts that recite it with changes, and k."""
    alphabet = "abcdefghijkl"[: draw(st.integers(1, 12))]
    letters = st.sampled_from(alphabet)
    phrases = draw(st.lists(st.lists(letters, min_size=1, max_size=20), min_size=1, max_size=4))
    order = draw(st.lists(st.integers(0, len(phrases) - 1), min_size=1, max_size=8))
    k = draw(st.integers(1, 12))
    book = [word for number in order for word in phrases[number]]
    book += draw(st.lists(letters, min_size=max(0, k - len(book)), max_size=k))
    recited = st.tuples(st.integers(0, len(book) - 1), st.integers(1, 25)).map(
        lambda place: book[place[0] : sum(place)]
    )
    changed = st.lists(st.sampled_from(alphabet + "z"), min_size=1, max_size=3)
    text = st.lists(recited | changed, max_size=6).map(
        lambda parts: list(chain.from_iterable(parts))
    )
    texts = draw(st.lists(text, min_size=1, max_size=4))
    return book, texts, k, draw(st.sampled_from([0, 1, 2, module._FEW_PLACES]))


def index_of(words, *, k, few=module._FEW_PLACES):
    """The index; phrases at more than `few` places are stock phrases."""
    book = Book("b", "B", "A", (Excerpt("p_id1", " ".join(words)),), digest="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FEW_PLACES", few)
        return Index(book, k=k)


def agree_with_oracle(oracle, case):
    book, texts, k, few = case
    index = index_of(book, k=k, few=few)
    expected = [oracle.matches(book, text, k) for text in texts]
    coded = [index.code(text) for text in texts]
    assert [find_matches(index, one) for one in coded] == expected
    together = [set() for _ in texts]
    for number, start, end in match_texts(index, coded).rows():
        together[number].add((start, end))
    assert together == expected


@settings(max_examples=examples(2_000))
@given(cases())
def test_matches_equal_the_oracle(oracle, case):
    agree_with_oracle(oracle, case)


@pytest.mark.full
@settings(max_examples=examples(100_000))
@given(cases())
def test_matches_equal_the_oracle_on_many_more(oracle, case):
    agree_with_oracle(oracle, case)


@pytest.mark.parametrize(
    ("book", "text", "k", "expected"),
    [
        ("abcdefgh", "abcdefgh", 5, {(0, 8)}),
        ("abcdefgh", "xabcdex", 5, {(0, 5)}),
        ("abcdefgh", "abcd", 5, set()),
        ("abcdefgh", "", 5, set()),
        ("abcdefgh", "abcdexfgh", 3, {(0, 5), (5, 8)}),
        ("abcabc", "abc", 3, {(0, 3), (3, 6)}),
        ("aaaa", "aa", 2, {(0, 2), (1, 3), (2, 4)}),
        ("aaaa", "aaaaaa", 2, {(0, 2), (0, 3), (0, 4), (1, 4), (2, 4)}),
        ("abcab", "ab", 1, {(0, 2), (3, 5)}),
        ("abcdefgh", "efghabcd", 4, {(4, 8), (0, 4)}),
    ],
)
def test_matches(book, text, k, expected):
    index = index_of(book, k=k)
    assert find_matches(index, index.code(text)) == expected


def test_no_match_reaches_from_one_text_into_the_next():
    index = index_of("abcdefgh", k=3)
    found = match_texts(index, [index.code("abcd"), index.code(""), index.code("efgh")])
    assert sorted(found.rows()) == [(0, 0, 4), (2, 4, 8)]


def test_a_match_at_two_places_of_a_text_is_one():
    index = index_of("abcdefgh", k=3)
    assert find_matches(index, index.code("abcxabcxabc")) == {(0, 3)}


def test_a_book_recited_whole_is_one_match():
    words = [f"w{n % 997}x{n % 13}" for n in range(20_000)]
    index = index_of(words, k=5)
    assert max(find_matches(index, index.code(words)), key=lambda m: m[1] - m[0]) == (0, 20_000)
