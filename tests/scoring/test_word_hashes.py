"""Words as keys: the same words as `words` and `passage_words` give, whatever way they are read."""

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.scoring import word_hashes as module
from pytest_memleak.scoring.folding import passage_words
from pytest_memleak.scoring.word_hashes import (
    LONG,
    changed_by_folding,
    keyed,
    keyed_folded,
    keys_of,
    spelled,
)
from pytest_memleak.scoring.words import words

PIECES = st.sampled_from([
    *"aeZ9. -_*\n\r<>&;/[]():½²ªµßæøÞ÷ÿéKК", "word ", "1 ", "-\n", "\r\n", "\n3. ", "\n12:",
    "- \n ",
    "\u2010\n", "e\u0301", "\u200b", "\u00ad", "\u2028", "\x85", "\x00", "\xa0", "’", "—", "…", "–",
    "<b>", "</b>", "&nbsp;", "аЕ", "İ", "ﬁ", "木", "¨", "´", "abcdefgÿ", "abcdefgh", "abcdefghi",
    "\x01", "\x7f", "\x80",
    "averylongwordofmorethansixteenbytes", "__", " é ", " _ ", "\x1c",
])  # fmt: skip
TEXTS = st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=5)


def spellings(found):
    its = [found.spelling(place) for place in range(len(found.keys))]
    assert its[0] == b"\x00"
    return [
        b" ".join(its[first + 1 : last])
        for first, last in zip(found.ends, found.ends[1:], strict=False)
    ]


@settings(max_examples=examples(1_000))
@given(TEXTS, st.sampled_from(["paper", "unicode"]))
def test_words_are_those_of_words(texts, mode):
    assert spellings(keyed(texts, mode)) == [spelled(words(text, mode)) for text in texts]


@settings(max_examples=examples(1_000))
@given(TEXTS)
def test_folded_words_are_those_of_passage_words(texts):
    expected = [spelled(passage_words(text)) for text in texts]
    assert spellings(keyed_folded(texts)) == expected
    assert spellings(keyed_folded(texts, keyed(texts, "paper"))) == expected


@settings(max_examples=examples(1_000))
@given(TEXTS)
def test_texts_that_folding_leaves_alone_are_not_read_twice(texts):
    plain = keyed(texts, "paper")
    changed, numbers = changed_by_folding(texts, plain)
    folded, measured = ([spelled(read(text)) for text in texts] for read in (passage_words, words))
    assert spellings(changed) == [folded[number] for number in numbers]
    for number in set(range(len(texts))).difference(numbers):
        assert folded[number] == measured[number]


@settings(max_examples=examples(500))
@given(TEXTS, st.sampled_from(["paper", "unicode"]))
def test_each_text_has_its_words_keys_and_their_characters(texts, mode):
    found, expected = keyed(texts, mode), [words(text, mode) for text in texts]
    assert [its.tolist() for its in found.each()] == [keys_of(its).tolist() for its in expected]
    inside = [place for place in range(len(found.keys)) if place not in found.ends]
    lengths = [len(word) for its in expected for word in its]
    assert found.characters()[inside].tolist() == lengths


@settings(max_examples=examples(500))
@given(TEXTS)
def test_keys_tell_words_apart(texts):
    found = keyed(texts, "unicode")
    by_key = {}
    for place, key in enumerate(found.keys.tolist()):
        assert by_key.setdefault(key, found.spelling(place)) == found.spelling(place)
        assert (key >> 56 == LONG) == bool(found.is_long()[place])
        if key >> 56 != LONG:
            assert key == int.from_bytes(found.spelling(place), "little")
    assert found.lengths().tolist() == [len(words(text, "unicode")) for text in texts]


def test_what_folding_leaves_alone_is_read_once():
    for texts, alike in ((["the same words", "both ways"], True), (["the same", "_words_"], False)):
        plain = keyed(texts, "paper")
        assert (keyed_folded(texts, plain) is plain) is alike


@pytest.mark.parametrize("text", ["a & b", "a <b> c", "œ", "e\u0301"])
def test_what_bytes_cannot_fold_is_left_to_the_slow_way(text):
    assert module._foldable(text) is None
    assert module._foldable("plain, 3. and\n4. numbered: _and_ **só** on") is not None


@pytest.mark.parametrize("letter", ["a", "é", "_", "木"])
@pytest.mark.parametrize("mode", ["paper", "unicode"])
def test_a_word_of_any_length_is_a_word(letter, mode):
    """Each eight letters of a word once cost a copy of all texts."""
    lengths = [255, 256, 257, 263, 264, 265, 600, 100_000]
    texts = [" ".join((letter * length, f"{letter * length}b", "an end")) for length in lengths]
    found = keyed(texts, mode)
    assert spellings(found) == [spelled(words(text, mode)) for text in texts]
    kept = {found.spelling(place) for place in range(len(found.keys))}
    assert len(set(found.keys.tolist())) == len(kept)
