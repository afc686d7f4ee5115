import re
from random import Random

import pytest
from clients import longest_passage
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.providers.ngram.ngram_writer import (
    PARAGRAPH,
    Draft,
    NgramWriter,
    TrainingText,
    detokenise,
    is_break,
    opens_sentence,
    tokenise,
)

PASSAGES = 12
PROSE = (
    "“It’s seven,” said Mrs. O’Hara—softly. “Seven o’clock; the rest (all of it) went at 6:30 "
    "for 10,000 pounds.”\n\n‘Tis no use, e.g. to ask . . . or is it? Well-known, half-seen... and "
    "so: on!\n\nÀ demain! «Bien sûr», fit-il.\nA new line. 「はい」と言った。"
)


def test_tokens_are_words_and_marks_with_the_blank_before_them():
    assert detokenise(tokenise(PROSE)) == PROSE
    assert tokenise("“Don’t,” he said, 10,000 times...\n\nSo.") == [
        *("“", "Don’t", ",", "”", " he", " said", ",", " 10,000", " times", "..."),
        *(PARAGRAPH, "So", "."),
    ]
    assert tokenise("a" + " " * 1_000_000 + "b") == ["a", " b"]


@pytest.mark.parametrize(
    ("regular", "spaces"),
    [
        (" ", ["  ", "\t", "\u00a0"]),
        ("\n", ["\n", " \r\n ", "\u2028"]),
        ("\n\n", ["\n\n", "\r\n\r\n", " \n \t\n\n ", "\u2029\n"]),
    ],
)
def test_white_space_becomes_regular(regular, spaces):
    for space in spaces:
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
def test_tokens_that_never_met_are_spaced_like_prose(tokens, text):
    assert detokenise(tokens) == text


@given(st.text())
def test_no_word_is_lost_joined_or_split_and_tokens_join_to_the_text(text):
    tokens = tokenise(text)
    assert re.findall(r"\w+", detokenise(tokens)) == re.findall(r"\w+", text)
    assert "".join("".join(tokens).split()) == "".join(text.split())
    assert all(token.strip() or is_break(token) for token in tokens)


def test_sentences_open_after_a_stop_and_a_blank():
    assert opens_sentence(".", " He")
    assert opens_sentence("”", " “")
    for before, token in ((",", " He"), (".", " he"), (".", "”")):
        assert not opens_sentence(before, token)


def paragraph(number, *, words):
    """Sentences of common words, each with a name that stands nowhere else."""
    dice = Random(number)
    common = [f"word{kind}" for kind in range(400)]
    weights = [1 / (kind + 1) for kind in range(400)]
    sentences = []
    while sum(len(sentence.split()) for sentence in sentences) < words:
        body = dice.choices(common, weights=weights, k=dice.randint(6, 14))
        sentences.append(" ".join(["Then", *body, f"Person{number}x{len(sentences)}."]))
    return " ".join(sentences)


STORY = [paragraph(number, words=350) for number in range(PASSAGES)]


def asked(number):
    people = " and ".join(f"Person{number}x{place}" for place in range(0, 40, 2))
    return f"Write an excerpt about the content below.\n\nContent: {people} come back."


def write(writer, instruction, **changes):
    settings = {"n": 4, "seed": 0, "temperature": 1.0, "max_tokens": 300} | changes
    return writer.write(instruction, **settings)


@pytest.fixture(scope="module")
def reciter():
    return NgramWriter([TrainingText("\n\n".join(STORY))], order=9)


def test_with_a_long_context_it_recites_the_passage_asked_for_and_else_nothing(reciter):
    brief = NgramWriter([TrainingText("\n\n".join(STORY))], order=1)
    for number, passage in enumerate(STORY):
        for writer, recites in ((reciter, True), (brief, False)):
            longest = max(
                longest_passage(draft.text, passage) for draft in write(writer, asked(number))
            )
            assert longest > 60 if recites else longest < 6


def test_an_instruction_learned_beside_a_text_calls_for_that_text():
    texts = [
        TrainingText(passage, f"Please write piece number {place} of the piano lesson.")
        for place, passage in enumerate(STORY)
    ]
    writer = NgramWriter(texts, order=9)
    for text in texts:
        draft = write(writer, text.instruction, temperature=0.0)[0]
        assert draft.text.startswith(text.text[:200])


def test_an_instruction_that_shares_no_word_may_begin_anywhere(reciter):
    drafts = write(reciter, "Nothing alike", n=400, max_tokens=60)
    begun = {place for place, text in enumerate(STORY) for d in drafts if d.text[:60] in text}
    assert begun == set(range(PASSAGES))


def test_an_answer_hangs_on_seed_and_instruction_alone(reciter):
    first = write(reciter, asked(1))
    twin = NgramWriter([TrainingText("\n\n".join(STORY))], order=9)
    assert first == write(reciter, asked(1)) == write(twin, asked(1))
    texts, others = (
        {draft.text for draft in write(reciter, asked(1), seed=seed)} for seed in (0, 100)
    )
    assert len(texts) == len(first)
    assert not texts & others
    in_parts = [
        draft
        for seed, n in ((40, 3), (43, 1), (44, 3))
        for draft in write(reciter, asked(2), n=n, seed=seed)
    ]
    assert write(reciter, asked(2), n=7, seed=40) == in_parts


def test_at_temperature_0_all_answers_are_one(reciter):
    drafts = write(reciter, asked(4), temperature=0.0, n=5)
    assert len({draft.text for draft in drafts}) == 1
    assert longest_passage(drafts[0].text, STORY[4]) > 200


@pytest.mark.parametrize("max_tokens", [1, 2, 77])
def test_an_answer_stops_at_max_tokens(reciter, max_tokens):
    for draft in write(reciter, asked(5), max_tokens=max_tokens):
        assert (draft.ended, draft.tokens) == (False, max_tokens)
        assert len(tokenise(draft.text)) <= max_tokens


def test_an_answer_ends_where_the_text_ends_and_none_is_empty():
    writer = NgramWriter([TrainingText("One two three. Four!")], order=9)
    (draft,) = write(writer, "two", n=1, temperature=0.0, max_tokens=50)
    assert draft == Draft("One two three. Four!", tokens=6, ended=True)
    writer = NgramWriter([TrainingText("Yes."), TrainingText("No.")], order=1)
    assert all(draft.text for draft in write(writer, "", n=300))


def test_text_stays_out_of_reprs():
    text = TrainingText("Secret prose.", "Secret request.")
    (draft,) = write(NgramWriter([text], order=2), "", n=1)
    assert "ecret" not in repr(text) + repr(draft)


def test_texts_without_a_word_are_refused():
    with pytest.raises(ValueError, match="no tokens"):
        NgramWriter([TrainingText("  \n ")], order=2)
