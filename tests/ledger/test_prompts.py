import dataclasses

import pytest
from by_hand import a_book, count_words
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.ledger.prompts import asks, questionnaire
from pytest_memleak.records import Book, Excerpt, Sampling


def asked_of(*excerpts, **sampling):
    book = Book("b", "B", "A", excerpts, "0" * 64)
    return questionnaire("m/b", book, Sampling(**sampling), words=count_words)


def one_question(text=None, instruction=None, **sampling):
    (excerpt,) = a_book(1).excerpts
    changes = {"text": text or excerpt.text, "instruction": instruction or excerpt.instruction}
    return asked_of(dataclasses.replace(excerpt, **changes), **sampling).questions[0]


@pytest.mark.parametrize(("words", "tokens"), [(0, 50), (1, 51), (2, 52), (3, 54), (400, 583)])
def test_most_tokens_of_an_answer(words, tokens):
    assert one_question(text="word " * words or " ").max_tokens == tokens


def test_what_is_asked_shapes_the_key():
    key = one_question().key
    other = ({"temperature": 0.5}, {"seed": 1}, {"instruction": "Other."}, {"text": "word " * 50})
    assert key not in {one_question(**changes).key for changes in other}
    assert one_question(samples=7, temperature=1).key == key
    # A lone surrogate isn't its pair.
    pair, letter = (one_question(instruction=text).key for text in ("\ud83d\ude00", "\U0001f600"))
    assert pair != letter


def test_a_repeated_instruction_is_a_question_of_its_own():
    excerpts = [Excerpt(f"p_id{n}", "some words", "The same.") for n in range(3)]
    asked = asked_of(*excerpts)
    assert len({question.key for question in asked.questions}) == 3
    assert asked_of(*excerpts) == asked


@pytest.mark.parametrize("instruction", [None, ""])
def test_excerpts_without_instruction_are_left_out(instruction):
    excerpts = Excerpt("p_id1", "text", instruction), Excerpt("p_id2", "text", "Write.")
    asked = asked_of(*excerpts, samples=5)
    assert [question.excerpt_id for question in asked.questions] == ["p_id2"]
    assert asked.asked == 5


def test_seeds_differ_and_are_31_bits():
    question = one_question()
    seeds = {question.seed_from(first) for first in range(200)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert one_question(seed=1).seed_from(0) != question.seed_from(0)


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_texts_have_different_keys(one, other):
    digests = {one_question(instruction=text).instruction_digest for text in (one, other)}
    assert len(digests) == len({one, other})


@given(
    st.lists(st.sets(st.integers(0, 30), max_size=12), min_size=1, max_size=5), st.integers(1, 5)
)
def test_asks_are_rounds_of_what_is_missing(missing, per_call):
    questions = questionnaire("m/b", a_book(len(missing)), Sampling(), words=count_words).questions
    pairs = zip(questions, missing, strict=True)
    wanted = {question: sorted(ordinals) for question, ordinals in pairs if ordinals}
    drawn, rounds = {}, []
    for call in asks(wanted, per_call):
        assert 1 <= len(call.ordinals) <= per_call
        earlier = drawn.setdefault(call.question, [])
        rounds.append(len(earlier))
        earlier.append(call.ordinals)
    assert {question: [n for part in parts for n in part] for question, parts in drawn.items()} == (
        wanted
    )
    assert rounds == sorted(rounds)
