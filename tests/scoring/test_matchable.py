"""Which text no generation could match, and that text of any language is readable."""

import codecs
import quopri
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.books.epub import read_epub
from pytest_memleak.errors import BookError
from pytest_memleak.scoring.matchable import validate_matchable, why_unmatchable

ENGLISH = (
    "The boat lay in the harbor, and its owner sat on the quay, mending a net that the "
    "storm had torn; he didn't look up, for he knew the step, and who had come.\n\n"
) * 12
RUSSIAN = (
    "Лодка стояла в гавани, а её хозяин сидел на берегу и чинил сеть, которую порвала "
    "буря; он не поднял головы, потому что узнал шаги.\n\n"
) * 12
FINNISH = (
    "Järjestelmällisyydettömyydestäänkö hän puhui, vai lentokonesuihkuturbiinimoottori"
    "apumekaanikosta, sitä emme koskaan saaneet tietää, eikä kukaan kysynyt.\n\n"
) * 12
HEBREW = (
    "הסירה עמדה בנמל, ובעליה ישב על הרציף ותיקן רשת שהסערה קרעה. הוא לא הרים את ראשו.\n\n"
) * 20


def test_a_text_about_codes_is_matchable():
    about = "In a page, &amp; stands for an ampersand, and &#8217; for an apostrophe. "
    assert why_unmatchable(f"{ENGLISH}{about * 25}{ENGLISH * 5}") is None


def test_commas_before_a_few_words_are_no_reversed_text():
    assert why_unmatchable(f"{ENGLISH}{'He wrote .NET and ,Lisp. ' * 9}") is None


@pytest.fixture(scope="module")
def lamplighter():
    """The text of a story, with all of its letters in their usual shares."""
    path = Path(__file__).parents[2] / "fixtures/books/the-lamplighter.epub"
    return "\n".join(read_epub(path).paragraphs())


def without_spaces(text):
    return text.replace(" ", "")


def encoded_twice(text):
    return text.replace("'", "’").encode().decode("cp1252")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (without_spaces(ENGLISH), "without spaces between them"),
        (RUSSIAN.encode("koi8-r").decode("latin-1"), "misread encoding"),
        (RUSSIAN.encode("cp1251").decode("cp1252"), "misread encoding"),
        (encoded_twice(ENGLISH), "read as windows-1252"),
        (" ".join(ENGLISH.replace(" ", "")), "spaces between letters"),
        (ENGLISH[::-1], "letters are reversed"),
        (HEBREW[::-1], "letters are reversed"),
        (RUSSIAN.encode("ascii", "xmlcharrefreplace").decode(), "such as '&#1051;'"),
        (RUSSIAN.encode("unicode_escape").decode(), "codes of characters"),
        (quote(RUSSIAN, safe=" "), "such as '%D0%9B"),
        (quopri.encodestring(RUSSIAN.encode()).decode(), "codes of characters"),
    ],
)
def test_unreadable_text_is_unmatchable(text, reason):
    assert reason in why_unmatchable(text)


def test_other_letters_than_those_shown_are_unmatchable(lamplighter):
    assert "are vowels" in why_unmatchable(codecs.encode(lamplighter, "rot13"))
    assert why_unmatchable(lamplighter) is None


@pytest.mark.parametrize(
    "text", [ENGLISH, RUSSIAN, FINNISH, "猫は庭で眠っていた。" * 200]
)
def test_readable_text_is_matchable(text):
    assert why_unmatchable(text) is None


def test_long_words_alone_are_matchable():
    words = "Donaudampfschifffahrtsgesellschaft"
    assert why_unmatchable(f"{words}, {words} " * 40) is None


def test_text_of_few_letters_is_not_judged():
    letters_only = without_spaces(ENGLISH)[:900]
    assert why_unmatchable(letters_only) is None


def test_words_with_digits_are_not_judged():
    assert why_unmatchable(" ".join(f"w{number}" for number in range(5_000))) is None


def test_an_unmatchable_book_is_an_error_with_its_place_and_a_fix():
    glued = without_spaces(ENGLISH).split("\n")
    with pytest.raises(BookError, match="is unreadable: 64% of its letters") as caught:
        validate_matchable(glued, place="harbor.epub")
    assert caught.value.location == "harbor.epub"
    assert "encoding = " in caught.value.hint


@given(st.integers(20, 3_000), st.randoms(use_true_random=False))
def test_a_book_that_is_misread_for_the_most_part_is_unmatchable(count, order):
    readable = RUSSIAN.split("\n\n", maxsplit=1)[0]
    misread = readable.encode("cp1251").decode("cp1252")
    blocks = [misread, misread, readable] * count
    order.shuffle(blocks)
    with pytest.raises(BookError, match="misread encoding"):
        validate_matchable(blocks, place="a book")


def test_a_book_with_a_page_of_glued_words_is_matchable():
    blocks = ENGLISH.split("\n\n") * 20
    blocks[7] = without_spaces(blocks[7])
    validate_matchable(blocks, place="a book")
