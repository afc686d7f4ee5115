"""Models compared, METRICS section 5: its example, and a slow oracle."""

import random

import numpy as np
import pytest
from examples import examples
from scored_books import book_of, drawn

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Scoring
from pytest_memleak.scoring.measures import (
    compare,
    independence,
    jaccard,
    measure,
    round_agreement,
    self_agreement,
)
from pytest_memleak.scoring.rounds import Rounds

SCORING = Scoring(k=5, trim=5)


BOOK = book_of("a b c d e f g h", "i j k l m n o p")
MODEL_A = drawn(["a b c d e f", "c d e f g"], ["i j k l m"])
MODEL_B = drawn(["d e f g h"], ["k l m n o p", "i j k l m"])


def test_worked_example():
    similarity = compare(measure(BOOK, MODEL_A, SCORING), measure(BOOK, MODEL_B, SCORING).coverage)
    assert similarity.jaccard == 9 / 16
    assert similarity.baseline == (12 / 16 * 13 / 16) / (12 / 16 + 13 / 16 - 12 / 16 * 13 / 16)
    assert round(similarity.baseline, 5) == 0.63934
    assert self_agreement(BOOK, MODEL_A, SCORING) == 4 / 12
    assert self_agreement(BOOK, MODEL_B, SCORING) == 3 / 13
    # From rounds:
    a = {0: {(0, 6), (8, 13)}, 1: {(2, 7)}}
    b = {0: {(3, 8), (10, 16)}, 1: {(8, 13)}}
    assert round_agreement(Rounds.of(a), words=16, n=2) == 4 / 12
    assert round_agreement(Rounds.of(b), words=16, n=2) == 3 / 13


def test_nothing_covered():
    nothing = np.zeros(4, dtype=np.bool_)
    assert (jaccard(nothing, nothing), independence(0, 0)) == (0, 0)
    assert (compare(nothing, nothing).jaccard, compare([], []).baseline) == (0, 0)
    assert self_agreement(BOOK, [], SCORING) == 0
    assert round_agreement(Rounds.of({}), words=16, n=4) == 0
    # One generation agrees with nothing.
    assert self_agreement(BOOK, drawn(["a b c d e f"], []), SCORING) == 0


def test_masks_of_two_books_are_refused():
    with pytest.raises(SettingsError, match="3 and 4 words"):
        compare([True] * 3, [True] * 4)


def slow_mask(oracle, book, generations):
    words = [word for excerpt in book.excerpts for word in oracle.words(excerpt.text)]
    asked = {e.id: oracle.words(e.instruction or "") for e in book.excerpts}
    return {
        place
        for one in generations
        for match in oracle.matches(words, oracle.words(one.text), 5)
        for start, end in oracle.trimmed(words, match, asked[one.excerpt_id], 5, 5)
        for place in range(start, end)
    }


def slow_jaccard(a, b):
    return len(a & b) / len(a | b) if a | b else 0


def generated_case(seed):
    rng = random.Random(seed)
    letters = "abcdefghijklm"[: rng.randint(1, 13)]
    texts = [rng.choices(letters, k=rng.randint(2, 14)) for _ in range(rng.randint(1, 4))]
    whole = [word for text in texts for word in text] + ["x"]

    def said():
        if rng.random() < 0.4:
            return " ".join(rng.choices(letters, k=rng.randint(0, 14)))
        start = rng.randrange(len(whole))
        return " ".join([*whole[start : start + rng.randint(3, 14)], "y", *whole[start // 2 :][:6]])

    book = book_of(*map(" ".join, texts), asked=[rng.choice([None, said()]) for _ in texts])
    models = [drawn(*[[said() for _ in range(rng.randint(0, 4))] for _ in texts]) for _ in range(2)]
    for generations in models:
        rng.shuffle(generations)
    return book, models


@pytest.mark.full
def test_equals_the_oracle_on_generated_cases(oracle):
    compared, cases = 0, examples(3_000)
    for seed in range(cases):
        book, (a, b) = generated_case(seed)
        total = sum(len(excerpt.text.split()) for excerpt in book.excerpts)
        if total < 5:
            continue
        masks = [slow_mask(oracle, book, generations) for generations in (a, b)]
        similarity = compare(measure(book, a, SCORING), measure(book, b, SCORING))
        assert similarity.jaccard == slow_jaccard(*masks), seed
        p, q = (len(mask) / total for mask in masks)
        expected = p * q / (p + q - p * q) if p + q else 0
        assert similarity.baseline == pytest.approx(expected, abs=1e-15), seed
        half = max((one.ordinal + 1 for one in a), default=0) // 2
        halves = [
            slow_mask(oracle, book, [one for one in a if (one.ordinal < half) == first])
            for first in (True, False)
        ]
        assert self_agreement(book, a, SCORING) == slow_jaccard(*halves), seed
        compared += 1
    assert compared > cases * 2 // 3
