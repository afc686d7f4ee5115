from __future__ import annotations

import dataclasses

import pytest
from by_hand import a_book, count_words
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.ledger.prompts import PromptSpec, asks, questionnaire
from pytest_memleak.records import Book, Excerpt, Sampling


def one_question(**changes: object) -> PromptSpec:
    book = a_book(1)
    excerpt = dataclasses.replace(
        book.excerpts[0], **{k: v for k, v in changes.items() if k in {"text", "instruction"}}
    )
    sampling = Sampling(
        **{k: v for k, v in changes.items() if k in {"temperature", "seed", "samples"}}
    )
    book = dataclasses.replace(book, excerpts=(excerpt,))
    return questionnaire("m/b", book, sampling, words=count_words).questions[0]


@pytest.mark.parametrize(("words", "tokens"), [(0, 50), (1, 51), (2, 52), (3, 54), (400, 583)])
def test_most_tokens_of_an_answer(words, tokens):
    assert one_question(text="word " * words).max_tokens == tokens


@pytest.mark.parametrize(
    "changes",
    [{"temperature": 0.5}, {"seed": 1}, {"instruction": "Other."}, {"text": "word " * 50}],
)
def test_what_is_asked_shapes_the_key(changes):
    assert one_question(**changes).key != one_question().key


def test_samples_and_equal_numbers_do_not():
    assert one_question(samples=7, temperature=1).key == one_question().key


def test_a_repeated_instruction_is_a_question_of_its_own():
    excerpts = tuple(Excerpt(f"p_id{n}", "some words", "The same.") for n in range(3))
    book = Book("b", "B", "A", excerpts, "0" * 64)
    asked = questionnaire("m/b", book, Sampling(), words=count_words)
    assert len({question.key for question in asked.questions}) == 3
    again = questionnaire("m/b", book, Sampling(), words=count_words)
    assert again == asked


@pytest.mark.parametrize("instruction", [None, ""])
def test_excerpts_without_instruction_are_left_out(instruction):
    excerpts = (Excerpt("p_id1", "text", instruction), Excerpt("p_id2", "text", "Write."))
    asked = questionnaire(
        "m/b", Book("b", "B", "A", excerpts, "0" * 64), Sampling(samples=5), words=count_words
    )
    assert [question.excerpt_id for question in asked.questions] == ["p_id2"]
    assert asked.asked == 5


def test_seeds_differ_and_are_31_bits():
    question = one_question()
    seeds = {question.seed_from(first) for first in range(200)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert one_question(seed=1).seed_from(0) != question.seed_from(0)


@given(st.text(), st.text())
def test_different_texts_have_different_keys(one, other):
    if one and other and one != other:
        first = one_question(instruction=one).instruction_digest
        assert first != one_question(instruction=other).instruction_digest


def test_surrogates_are_not_their_pair():
    assert (
        one_question(instruction="\ud83d\ude00").key != one_question(instruction="\U0001f600").key
    )


@given(
    st.lists(st.sets(st.integers(0, 30), max_size=12), min_size=1, max_size=5), st.integers(1, 5)
)
def test_asks_are_rounds_of_what_is_missing(missing, per_call):
    questions = questionnaire("m/b", a_book(len(missing)), Sampling(), words=count_words).questions
    wanted = {
        question: sorted(ordinals)
        for question, ordinals in zip(questions, missing, strict=True)
        if ordinals
    }
    calls = list(asks(wanted, per_call))
    drawn: dict[PromptSpec, list[int]] = {}
    for call in calls:
        assert 1 <= len(call.ordinals) <= per_call
        drawn.setdefault(call.question, []).extend(call.ordinals)
    assert drawn == wanted
    rounds = [(len(drawn_before(calls, at)), call) for at, call in enumerate(calls)]
    assert [number for number, _ in rounds] == sorted(number for number, _ in rounds)


def drawn_before(calls: list, at: int) -> list:
    return [call for call in calls[:at] if call.question == calls[at].question]
