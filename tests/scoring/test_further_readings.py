"""Passages that markup, codes or another order disguise are found nearly verbatim."""

import hashlib
from functools import cache

import pytest
from disguised_texts import DISGUISES, TRIALS, book, planted, prose
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.formats.decode_words import decoded_readings
from pytest_memleak.records import Generation, Scoring
from pytest_memleak.scoring import further_readings
from pytest_memleak.scoring.catalog_scan import GenerationPrefilter, book_keys
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.keyed_texts import keyed
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.protected_passages import Protected


@cache
def index():
    return SharedIndex([book("the-lamplighter")], k=5)


def longest(texts):
    protected = Protected(index(), "the-lamplighter", ("the-lamplighter",))
    tally = Tally(book("the-lamplighter"), Scoring(), protected=protected)
    first = book("the-lamplighter").excerpts[0].id
    tally.add(Generation(first, n, text) for n, text in enumerate(texts))
    return tally.passages().nv_by_round


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
def test_a_disguised_passage_is_found_and_its_honest_twin_is_not(disguise):
    texts = list(planted(disguise, "the-lamplighter"))
    result = longest(texts)
    assert sum(words >= 20 for words in result) == TRIALS
    assert max(longest(planted(disguise, "the-seed-vault"))) < 20
    its_keys = [("the-lamplighter", book_keys(book("the-lamplighter"), k=5))]
    (survivor,) = GenerationPrefilter(texts, k=5).matching_books(
        its_keys, least_verbatim_words=20
    )
    assert survivor.nv_longest == max(result)


def read(*texts):
    return further_readings.further_readings(texts, keyed(texts, "unicode"), ())


def test_prose_is_read_once():
    words = prose("the-seed-vault")
    texts = [" ".join(words[at : at + 400]) for at in range(0, len(words), 400)]
    assert len(set(read(*texts)[0])) <= len(texts) / 10
    assert read() == ([], [])
    assert read("", "", "\0", "\ud800", "In 1984, at 7:05 (p. 12).") == ([], [])


NASTY = st.sampled_from([
    *"aZ1 \\&#;%=<>{}[]'\"_*-\n\0\x1b\x85\xc2\x80\xf4\u0120\u2581\u202e\u0301\ufdfa\U000e0061",
    "\ud83d", "\udc00", "&#", "&amp;", "&#x", "&#" + "9" * 4_301, "&amp;#" + "0" * 4_301,
    "\\u", "\\x", "\\u{", "U+", "10FFFF", "d800", "the of ", "##", "@@ ", "<b ", "='", "</",
    "&#xd800;",
])  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(NASTY | st.characters(), max_size=12).map("".join))
def test_no_text_is_beyond_reading(text):
    index().matches([text, text + 12 * "\\", " ".join([text] * 4)])


UNITS = st.sampled_from([
    "SheWalksToTheHarborWhereAShipHasComeIn", "c2hlIHdhbGtzIHRvIHRoZSBoYXJib3IgYnkgbmlnaHQ",
    "7368652077616c6b7320746f2074686520686172626f72", "fifteen-letters", "sixteen-letters-",
    "she", "a—ship—has—come—in—tonight", "\u3000", "\xa0", "\x85", "\0", "\x1c", "\x01", "é" * 15,
    "😀" * 9, "\ud83d", " ", "\n", "\t", "",
])  # fmt: skip


@settings(max_examples=examples(500))
@given(st.lists(st.lists(UNITS, max_size=6).map("".join), max_size=6))
def test_every_text_that_decodes_is_read_again(texts):
    numbers, readings = read(*texts)
    result = set(zip(numbers, readings, strict=True))
    for number, text in enumerate(texts):
        decoded = {*decoded_readings(text)} - {text}
        assert {(number, reading) for reading in decoded} <= result


@settings(max_examples=examples(300))
@given(st.lists(st.lists(NASTY | UNITS, max_size=12).map("".join), max_size=4))
def test_texts_read_together_have_the_readings_of_each(texts):
    numbers, readings = read(*texts)
    alone = [
        (number, reading)
        for number, text in enumerate(texts)
        for reading in read(text)[1]
    ]
    assert [*zip(numbers, readings, strict=True)] == alone


def test_a_stretch_ends_with_its_text():
    brief = ("doubled doubled", "kciuq nworb xof", "sea the of")
    assert read(*(text for text in brief for _ in range(40))) == ([], [])
    doubled = " ".join(["the the end end of of it it"] * 4)
    numbers, readings = read(
        "", "the the end", doubled, "\0%61%62%63%64%65%66%67%68%69"
    )
    assert set(numbers) == {2, 3}
    assert readings[0] == " ".join(["the end of it"] * 4)
    assert readings[numbers.index(3)] == "\0abcdefghi"


@pytest.mark.parametrize(("words", "count", "digest"), [
    (further_readings.USUAL, 73, "d4e7f56b53d4c63e"),
    (further_readings._BEFORE, 42, "0646324419c4ee99"),
    (further_readings._BEHIND, 46, "8cdd763fabcc11c4"),
], ids=["usual", "before", "behind"])  # fmt: skip
def test_a_changed_word_list_is_seen(words, count, digest):
    """A word more, less, or misspelled changes which texts are read again."""
    distinct = dict.fromkeys(words.split())
    assert len(words.split()) == len(distinct) == count
    assert hashlib.sha256(" ".join(distinct).encode()).hexdigest()[:16] == digest


def test_no_usual_word_reads_backwards_as_another():
    usual = set(further_readings.USUAL.split())
    palindromes = {word for word in usual if word == word[::-1]}
    assert {word[::-1] for word in usual} & usual == palindromes
