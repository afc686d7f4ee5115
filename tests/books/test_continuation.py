"""Excerpts parted into the beginning that is asked with, and the rest that is measured."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.books.instructions import (
    BARE_PREFIX,
    CONTINUE_INSTRUCTION,
    beginnings,
    validate_continuation,
)
from pytest_memleak.errors import BookError
from pytest_memleak.records import Book, Excerpt
from pytest_memleak.scoring.words import words


def book(*texts):
    excerpts = tuple(Excerpt(f"p_id{n}", text, "Write.") for n, text in enumerate(texts, 1))
    return Book("b", "B", "Nobody", excerpts, digest="whole")


def test_an_excerpt_is_parted_after_so_many_words():
    asked = beginnings(book("One, two “three” — four. Five six."), prefix_words=3)
    (excerpt,) = asked.excerpts
    assert excerpt.instruction == CONTINUE_INSTRUCTION.format(prefix="One, two “three")
    assert excerpt.text == "” — four. Five six."
    assert (excerpt.id, asked.contiguous) == ("p_id1", False)
    assert asked.digest not in ("", "whole")


def test_no_more_than_half_of_a_short_one_goes_into_the_prompt():
    asked = beginnings(book("a b c d e", "alone", "…"), prefix_words=50, template=BARE_PREFIX)
    assert [(one.instruction, one.text) for one in asked.excerpts] == [
        ("a b", " c d e"),
        (None, "alone"),
        (None, "…"),
    ]


def test_a_template_may_not_hold_braces_of_the_book():
    (excerpt,) = beginnings(book("{a} b {c} d"), prefix_words=2).excerpts
    assert excerpt.instruction.endswith("{a} b")


MIXED = st.text(st.sampled_from("ab Z1_’.\n é国王かกI\u0300\u00ad\u200b㏂㎏İΣς\u0344"), max_size=60)


@given(MIXED | st.text(max_size=40), st.integers(1, 12), st.sampled_from(["paper", "unicode"]))
def test_no_word_is_lost_or_cut(text, prefix_words, mode):
    (parted,) = beginnings(
        book(text), prefix_words=prefix_words, template=BARE_PREFIX, mode=mode
    ).excerpts
    if parted.instruction is None:
        assert parted == dataclasses.replace(book(text).excerpts[0], instruction=None)
        return
    assert parted.instruction + parted.text == text
    assert words(parted.instruction, mode) + words(parted.text, mode) == words(text, mode)
    asked, least = (
        len(words(parted.instruction, mode)),
        min(prefix_words, len(words(text, mode)) // 2),
    )
    # One character may be two words in mode unicode.
    assert asked == least if mode == "paper" else least <= asked


@pytest.mark.parametrize(
    ("template", "said"),
    [("Go on.", "has no {prefix}"), ("{prefix} {summary}", "{summary}"), ("{prefix", "is invalid")],
)
def test_a_template_that_cannot_be_filled_is_refused(template, said):
    with pytest.raises(BookError) as caught:
        validate_continuation(template)
    assert said in str(caught.value)
