"""The index: what it refuses, its matches, and what trimming leaves of them."""

from itertools import chain

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_books import book_of

from pytest_memleak.errors import BookError, SettingsError
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.prompt_trimming import PromptWords, outside_prompt


def index_of(words, *, k):
    return SharedIndex([book_of(" ".join(words))], k=k)


def matches_of(index, texts):
    """Per text, the book intervals that match somewhere in it."""
    result = index.matches(texts, near=False).matches
    of_texts = [set() for _ in texts]
    for text, start, end in zip(result.text, result.start, result.end, strict=True):
        of_texts[text].add((start, end))
    return of_texts


FUSED = [f"word{number}" for number in range(300)]
FUSED = " ".join((*FUSED, "".join(FUSED)))
JAVANESE = "ꦲꦤꦕꦫꦏ" * 6 + " "
HAN = "自由の国 one two three"


@pytest.mark.parametrize(("text", "settings", "error", "message"), [
    ("a b c", {"k": 0}, SettingsError, "at least 1, not 0"),
    ("a b", {"k": 3}, BookError, "2 words, fewer than k = 3"),
    (FUSED, {"k": 5}, BookError, "50% of its letters are in words of over 40"),
    (FUSED, {"k": 5, "mode": "unicode"}, BookError, "50% of its letters are in words of over 40"),
    (JAVANESE * 20, {"k": 5, "mode": "unicode"}, BookError, "100% of its letters .* of over 20"),
    (HAN, {"k": 3}, BookError, r"recognizes only 3 of its 6 words \(50%\).*\n.*unicode"),
])  # fmt: skip
def test_a_book_that_cannot_be_measured_raises(text, settings, error, message):
    with pytest.raises(error, match=message):
        SharedIndex([book_of(text)], **settings)


def test_a_long_word_is_no_fault_of_a_book():
    jest = (
        "bababadalgharaghtakamminarronnkonnbronntonnerronntuonnthunntrovarrhounawnskawn"
        * 3
    )
    law = "rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz"
    thai = "ภาษาไทยไม่มีช่องว่าง" * 40
    web = "https://example.com/" + "/".join(f"page-{number}" for number in range(90))

    def total(text, **settings):
        return SharedIndex([book_of(text)], **settings).books[0].layout.total

    assert total(f"the fall {jest} of a law {law} was read", k=5) == 9
    assert total(thai, k=5, mode="unicode") >= 160
    assert total(web, k=5) > 90
    assert total(HAN, k=3, mode="unicode") == 6


@st.composite
def cases(draw):
    """A book that repeats itself, some texts that recite it with changes, and k."""
    alphabet = "abcdefghijkl"[: draw(st.integers(1, 12))]
    letters = st.sampled_from(alphabet)
    phrases = draw(
        st.lists(st.lists(letters, min_size=1, max_size=20), min_size=1, max_size=4)
    )
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
    return book, texts, k


@settings(max_examples=examples(20_000, fast=60))
@given(cases())
def test_matches_equal_the_oracle(oracle, case):
    book, texts, k = case
    expected = [oracle.matches(book, text, k) for text in texts]
    assert (
        matches_of(index_of(book, k=k), [" ".join(text) for text in texts]) == expected
    )


@pytest.mark.parametrize(("book", "text", "k", "expected"), [
    ("abcdefgh", "abcdefgh", 5, {(0, 8)}), ("abcdefgh", "xabcdex", 5, {(0, 5)}),
    ("abcdefgh", "abcd", 5, set()), ("abcdefgh", "", 5, set()),
    ("abcdefgh", "abcxabcxabc", 3, {(0, 3)}), ("abcdefgh", "abcdexfgh", 3, {(0, 5), (5, 8)}),
    ("abcabc", "abc", 3, {(0, 3), (3, 6)}), ("aaaa", "aa", 2, {(0, 2), (1, 3), (2, 4)}),
    ("aaaa", "aaaaaa", 2, {(0, 2), (0, 3), (0, 4), (1, 4), (2, 4)}),
    ("abcab", "ab", 1, {(0, 2), (3, 5)}), ("abcdefgh", "efghabcd", 4, {(4, 8), (0, 4)}),
])  # fmt: skip
def test_matches_are_maximal(book, text, k, expected):
    assert matches_of(index_of(book, k=k), [" ".join(text)]) == [expected]


def test_a_book_recited_whole_is_one_match():
    words = [f"w{n % 997}x{n % 13}" for n in range(20_000)]
    (result,) = matches_of(index_of(words, k=5), [" ".join(words)])
    assert max(result, key=lambda match: match[1] - match[0]) == (0, 20_000)


@st.composite
def trimmed_cases(draw):
    """A book, instructions that quote it, intervals for some of them, k and m."""
    book = draw(st.lists(st.sampled_from("abcd"), min_size=4, max_size=40))
    quoted = st.tuples(st.integers(0, len(book) - 1), st.integers(1, 20)).map(
        lambda at: book[at[0] : sum(at)]
    )
    parts = st.lists(quoted | st.lists(st.sampled_from("abxy"), max_size=3), max_size=4)
    instructions = draw(
        st.lists(st.none() | parts.map(chain.from_iterable).map(list), min_size=1)
    )
    ends = st.tuples(st.integers(0, len(book)), st.integers(0, len(book)))
    interval = ends.map(sorted).filter(lambda at: at[0] < at[1])
    numbered = st.tuples(st.integers(0, len(instructions) - 1), interval)
    matches = [(n, *at) for n, at in draw(st.lists(numbered, max_size=20))]
    k = draw(st.integers(1, 4))
    return (
        book,
        instructions,
        [match for match in matches if match[2] - match[1] >= k],
        k,
    )


@pytest.mark.full
@settings(max_examples=examples(2_000))
@given(trimmed_cases(), st.integers(0, 6))
def test_trimmed_pieces_equal_the_oracle(oracle, case, m):
    words, instructions, matches, k = case
    index = index_of(words, k=k)
    texts = [" ".join(instruction or ()) for instruction in instructions]
    prompt_words = PromptWords(index.instructions(texts, folded=False), trim=m)
    # The texts hold the matches alone, which are cut on their own words.
    number, start, end = np.array(matches, dtype=np.intp).reshape(-1, 3).T
    recited = index.instructions(
        [" ".join(words[a:b]) for _, a, b in matches], folded=False
    )
    place = recited.ends[:-1] + 1
    ranges = prompt_words.ranges(recited, number)
    result = outside_prompt(place, place + end - start, ranges, trim=m, least_words=k)
    ahead = (start - place)[result.of]
    expected = [
        (of, *piece)
        for of, (n, *match) in enumerate(matches)
        for piece in oracle.trimmed(words, match, instructions[n] or [], k, m)
    ]
    pieces = result.of, result.start + ahead, result.end + ahead
    assert sorted(zip(*(column.tolist() for column in pieces), strict=True)) == expected


def test_a_book_of_which_folding_changes_little_is_stored_once():
    words = [f"w{n}" for n in range(20_000)]
    plain = SharedIndex([book_of(" ".join(words))], k=5).nbytes
    words[7_000:17_000:5_000] = "caf\u00e9", "na\u00efve"
    assert SharedIndex([book_of(" ".join(words))], k=5).nbytes < plain * 1.01
