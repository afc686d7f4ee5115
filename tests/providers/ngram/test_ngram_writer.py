import re

import pytest
from clients import prose
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.providers.ngram.ngram_writer import (
    PARAGRAPH,
    Draft,
    NgramWriter,
    TrainingText,
    is_break,
    opens_sentence,
    text_to_tokens,
    tokens_to_text,
)

PROSE = (
    "“It’s seven,” said Mrs. O’Hara—softly. “Seven o’clock; the rest (all of it) went "
    "at 6:30 "
    "for 10,000 pounds.”\n\n‘Tis no use, e.g. to ask . . . or is it? Well-known, "
    "half-seen... and "
    "so: on!\n\nÀ demain! «Bien sûr», fit-il.\nA new line. 「はい」と言った。"
)


def test_tokens_are_words_and_marks_with_the_blank_before_them():
    assert tokens_to_text(text_to_tokens(PROSE)) == PROSE
    assert text_to_tokens("“Don’t,” he said, 10,000 times...\n\nSo.") == [
        *("“", "Don’t", ",", "”", " he", " said", ",", " 10,000", " times", "..."),
        *(PARAGRAPH, "So", "."),
    ]
    assert text_to_tokens("a" + " " * 1_000_000 + "b") == ["a", " b"]


@pytest.mark.parametrize(("regular", "spaces"), [
    (" ", ["  ", "\t", "\u00a0"]),
    ("\n", ["\n", " \r\n ", "\u2028"]),
    ("\n\n", ["\n\n", "\r\n\r\n", " \n \t\n\n ", "\u2029\n"]),
])  # fmt: skip
def test_white_space_becomes_regular(regular, spaces):
    for space in spaces:
        assert (
            tokens_to_text(text_to_tokens(f"{space}one{space}two{space}"))
            == f"one{regular}two"
        )


@pytest.mark.parametrize(("tokens", "text"), [
    (["from", "That"], "from That"),
    (["fellow", ".", "His"], "fellow. His"),
    (["on", "“", " Come", ",", "”", "he"], "on “Come,” he"),
    (["One", ".", PARAGRAPH, PARAGRAPH, " two", PARAGRAPH], "One.\n\ntwo"),
    ([PARAGRAPH, " the"], "the"),
    ([" (", " see", " it", ")"], "(see it)"),
    (["half", "-", "seen"], "half-seen"),
    ([], ""),
])  # fmt: skip
def test_tokens_that_never_met_are_spaced_like_prose(tokens, text):
    assert tokens_to_text(tokens) == text


@given(st.text())
def test_no_word_is_lost_joined_or_split_and_tokens_join_to_the_text(text):
    tokens = text_to_tokens(text)
    assert re.findall(r"\w+", tokens_to_text(tokens)) == re.findall(r"\w+", text)
    assert "".join("".join(tokens).split()) == "".join(text.split())
    assert all(token.strip() or is_break(token) for token in tokens)


def test_sentences_open_after_a_stop_and_a_blank():
    assert opens_sentence(".", " He")
    assert opens_sentence("”", " “")
    for before, token in ((",", " He"), (".", " he"), (".", "”")):
        assert not opens_sentence(before, token)


def write(writer, instruction, **changes):
    settings = {"n": 4, "seed": 0, "temperature": 1.0, "max_tokens": 300} | changes
    return writer.write(instruction, **settings)


def test_an_instruction_that_shares_no_word_may_begin_anywhere():
    story = [prose(seed, 350) for seed in range(12)]
    writer = NgramWriter([TrainingText("\n\n".join(story))], order=9)
    drafts = write(writer, "Nothing alike", n=400, max_tokens=60)
    begun = {
        place for place, text in enumerate(story) for d in drafts if d.text[:60] in text
    }
    assert begun == set(range(12))


def test_an_answer_ends_where_the_text_ends_and_none_is_empty():
    writer = NgramWriter([TrainingText("One two three. Four!")], order=9)
    (draft,) = write(writer, "two", n=1, temperature=0.0, max_tokens=50)
    assert draft == Draft("One two three. Four!", tokens=6, ended=True)
    writer = NgramWriter([TrainingText("Yes."), TrainingText("No.")], order=1)
    assert all(draft.text for draft in write(writer, "", n=300))
