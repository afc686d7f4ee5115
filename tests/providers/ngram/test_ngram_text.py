from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.providers.ngram.ngram_writer import (
    PARAGRAPH,
    detokenise,
    is_break,
    opens_sentence,
    tokenise,
)

PROSE = (
    "“It’s seven,” said Mrs. O’Hara—softly. “Seven o’clock; the rest (all of it) went at 6:30 "
    "for 10,000 pounds.”\n\n‘Tis no use, e.g. to ask . . . or is it? Well-known, half-seen... and "
    "so: on!\n\nÀ demain! «Bien sûr», fit-il.\nA new line. 「はい」と言った。"
)


def test_prose_comes_back_as_it_was() -> None:
    assert detokenise(tokenise(PROSE)) == PROSE


def test_tokens_are_words_and_marks_with_the_blank_before_them() -> None:
    assert tokenise("“Don’t,” he said, 10,000 times...\n\nSo.") == [
        *("“", "Don’t", ",", "”", " he", " said", ",", " 10,000", " times", "..."),
        *(PARAGRAPH, "So", "."),
    ]


@pytest.mark.parametrize(
    ("space", "regular"),
    [
        ("  ", " "),
        ("\t", " "),
        ("\u00a0", " "),
        ("\n", "\n"),
        (" \r\n ", "\n"),
        ("\u2028", "\n"),
        ("\n\n", "\n\n"),
        ("\r\n\r\n", "\n\n"),
        (" \n \t\n\n ", "\n\n"),
        ("\u2029\n", "\n\n"),
    ],
)
def test_white_space_becomes_regular(space: str, regular: str) -> None:
    assert detokenise(tokenise(f"{space}one{space}two{space}")) == f"one{regular}two"


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["from", "That"], "from That"),
        (["fellow", ".", "His"], "fellow. His"),
        (["on", "“", " Come", ",", "”", "he"], "on “Come,” he"),
        (["One", ".", PARAGRAPH, PARAGRAPH, " two", PARAGRAPH], "One.\n\ntwo"),
        ([PARAGRAPH, " the"], "the"),
        ([" (", " see", " it", ")"], "(see it)"),
        (["half", "-", "seen"], "half-seen"),
        ([], ""),
    ],
)
def test_tokens_that_never_met_are_spaced_like_prose(tokens: list[str], text: str) -> None:
    assert detokenise(tokens) == text


@given(st.text())
def test_no_word_is_lost_joined_or_split(text: str) -> None:
    assert re.findall(r"\w+", detokenise(tokenise(text))) == re.findall(r"\w+", text)


@given(st.text())
def test_joined_tokens_are_the_text_but_for_white_space(text: str) -> None:
    tokens = tokenise(text)
    assert "".join("".join(tokens).split()) == "".join(text.split())
    assert all(token.strip() or is_break(token) for token in tokens)


def test_a_long_run_of_blanks_is_no_trouble() -> None:
    assert tokenise("a" + " " * 1_000_000 + "b") == ["a", " b"]


def test_sentences_open_after_a_stop_and_a_blank() -> None:
    assert opens_sentence(".", " He")
    assert opens_sentence("”", " “")
    assert not opens_sentence(",", " He")
    assert not opens_sentence(".", " he")
    assert not opens_sentence(".", "”")
