from __future__ import annotations

from difflib import SequenceMatcher
from random import Random

import pytest

from pytest_memleak.providers.ngram.ngram_writer import Draft, NgramWriter, TrainingText, tokenise

PASSAGES = 12


def paragraph(number: int, *, words: int) -> str:
    """Sentences of common words, each with a name that stands nowhere else."""
    dice = Random(number)
    common = [f"word{kind}" for kind in range(400)]
    weights = [1 / (kind + 1) for kind in range(400)]
    sentences = []
    while sum(len(one.split()) for one in sentences) < words:
        body = dice.choices(common, weights=weights, k=dice.randint(6, 14))
        sentences.append(" ".join(["Then", *body, f"Person{number}x{len(sentences)}."]))
    return " ".join(sentences)


STORY = [paragraph(number, words=350) for number in range(PASSAGES)]


def asked(number: int) -> str:
    people = " and ".join(f"Person{number}x{place}" for place in range(0, 40, 2))
    return f"Write an excerpt about the content below.\n\nContent: {people} come back."


def longest_passage(draft: Draft, passage: str) -> int:
    """The longest run of words that a draft shares with a passage."""
    mine, theirs = draft.text.split(), passage.split()
    return SequenceMatcher(None, mine, theirs, autojunk=False).find_longest_match().size


def write(writer: NgramWriter, instruction: str, **changes: object) -> list[Draft]:
    settings = {"n": 4, "seed": 0, "temperature": 1.0, "max_tokens": 300} | changes
    return writer.write(instruction, **settings)


@pytest.fixture(scope="module")
def reciter() -> NgramWriter:
    return NgramWriter([TrainingText("\n\n".join(STORY))], order=9)


def test_with_a_long_context_it_recites_the_passage_asked_for(reciter: NgramWriter) -> None:
    for number, passage in enumerate(STORY):
        drafts = write(reciter, asked(number))
        assert max(longest_passage(draft, passage) for draft in drafts) > 60


def test_with_a_short_context_it_recites_nothing() -> None:
    writer = NgramWriter([TrainingText("\n\n".join(STORY))], order=1)
    for number, passage in enumerate(STORY):
        assert max(longest_passage(draft, passage) for draft in write(writer, asked(number))) < 6


def test_an_instruction_learned_beside_a_text_calls_for_that_text() -> None:
    texts = [
        TrainingText(passage, f"Please write piece number {place} of the piano lesson.")
        for place, passage in enumerate(STORY)
    ]
    writer = NgramWriter(texts, order=9)
    for text in texts:
        draft = write(writer, text.instruction or "", temperature=0.0)[0]
        assert draft.text.startswith(text.text[:200])


def test_an_instruction_that_shares_no_word_may_begin_anywhere(reciter: NgramWriter) -> None:
    drafts = write(reciter, "Nothing alike", n=400, max_tokens=60)
    begun = {place for place, text in enumerate(STORY) for d in drafts if d.text[:60] in text}
    assert begun == set(range(PASSAGES))


def test_an_answer_hangs_on_seed_and_instruction_alone(reciter: NgramWriter) -> None:
    first, again = write(reciter, asked(1)), write(reciter, asked(1))
    assert first == again
    assert len({draft.text for draft in first}) == len(first)
    assert not {draft.text for draft in first} & {
        draft.text for draft in write(reciter, asked(1), seed=100)
    }


def test_grouping_makes_no_difference(reciter: NgramWriter) -> None:
    at_once = write(reciter, asked(2), n=7, seed=40)
    in_parts = [
        draft
        for seed, n in ((40, 3), (43, 1), (44, 3))
        for draft in write(reciter, asked(2), n=n, seed=seed)
    ]
    assert at_once == in_parts


def test_another_writer_of_the_same_texts_writes_the_same(reciter: NgramWriter) -> None:
    twin = NgramWriter([TrainingText("\n\n".join(STORY))], order=9)
    assert write(twin, asked(3)) == write(reciter, asked(3))


def test_at_temperature_0_all_answers_are_one(reciter: NgramWriter) -> None:
    drafts = write(reciter, asked(4), temperature=0.0, n=5)
    assert len({draft.text for draft in drafts}) == 1
    assert longest_passage(drafts[0], STORY[4]) > 200


@pytest.mark.parametrize("max_tokens", [1, 2, 77])
def test_an_answer_stops_at_max_tokens(reciter: NgramWriter, max_tokens: int) -> None:
    for draft in write(reciter, asked(5), max_tokens=max_tokens):
        assert not draft.ended
        assert draft.tokens == max_tokens
        assert len(tokenise(draft.text)) <= max_tokens


def test_an_answer_ends_where_the_text_ends() -> None:
    writer = NgramWriter([TrainingText("One two three. Four!")], order=9)
    (draft,) = write(writer, "two", n=1, temperature=0.0, max_tokens=50)
    assert draft == Draft("One two three. Four!", tokens=6, ended=True)


def test_no_answer_is_empty() -> None:
    writer = NgramWriter([TrainingText("Yes."), TrainingText("No.")], order=1)
    assert all(draft.text for draft in write(writer, "", n=300))


def test_text_stays_out_of_reprs() -> None:
    text = TrainingText("Secret prose.", "Secret request.")
    (draft,) = write(NgramWriter([text], order=2), "", n=1)
    assert "ecret" not in repr(text) + repr(draft)


def test_texts_without_a_word_are_refused() -> None:
    with pytest.raises(ValueError, match="no tokens"):
        NgramWriter([TrainingText("  \n ")], order=2)
