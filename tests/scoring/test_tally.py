"""Tallies in parts: whatever way generations are divided, the numbers are the same."""

import pickle
import random
from itertools import chain

import pytest

from pytest_memleak.errors import RecordsError
from pytest_memleak.records import Book, Excerpt, Generation, Scoring
from pytest_memleak.scoring import tally as module
from pytest_memleak.scoring.analysis import analyse, analysis_of
from pytest_memleak.scoring.tally import Tally

SCORING = Scoring(k=3, trim=3, span_threshold=5)


def generated_case(rng):
    letters = "abcdefghijklmn"[: rng.randint(2, 14)]
    texts = [rng.choices(letters, k=rng.randint(0, 30)) for _ in range(rng.randint(1, 5))]
    texts[0] += rng.choices(letters, k=6)
    whole = [word for text in texts for word in text]

    def said():
        start = rng.randrange(len(whole))
        return [*whole[start : start + rng.randint(1, 25)], "y", *rng.choices(letters, k=5)]

    excerpts = tuple(
        Excerpt(f"p_id{n}", " ".join(text), " ".join(rng.choices(letters, k=6)))
        for n, text in enumerate(texts, start=1)
    )
    generations = [
        Generation(excerpt.id, ordinal, " ".join(said()))
        for excerpt in excerpts
        for ordinal in range(rng.randint(0, 6))
    ]
    rng.shuffle(generations)
    return Book("b", "B", "A", excerpts, digest=""), generations


def test_parts_added_up_are_the_whole(plain):
    rng = random.Random(3)
    for _ in range(300):
        book, generations = generated_case(rng)
        if not generations:
            continue
        parts = [Tally(book, SCORING) for _ in range(3)]
        for number, tally in enumerate(parts):
            tally.add(generations[number::3])
        parts[0].add_counted(parts[1].counted)
        parts[2].add_counted(pickle.loads(pickle.dumps(parts[0].counted)))
        together = plain(analysis_of(parts[2], SCORING))
        assert together == plain(analyse(book, generations, SCORING))


def test_what_is_added_is_left_as_it_is(plain):
    book, generations = generated_case(random.Random(9))
    one, other = Tally(book, SCORING), Tally(book, SCORING)
    one.add(generations[::2])
    other.add(generations[1::2])
    for numbers in (other.counted.pieces, other.counted.matches, other.counted.over):
        numbers.ascending().flags.writeable = False
    one.add_counted(other.counted)
    expected = plain(analyse(book, generations, SCORING))
    assert plain(analysis_of(one, SCORING)) == expected
    assert plain(analysis_of(one, SCORING)) == expected


def test_what_is_given_out_together_changes_nothing(plain, monkeypatch):
    rng = random.Random(4)
    cases = [generated_case(rng) for _ in range(50)]
    cases = [case for case in cases if case[1]]
    expected = [plain(analyse(*case, SCORING)) for case in cases]
    monkeypatch.setattr(module, "_CHARACTERS_TOGETHER", 90)
    monkeypatch.setattr(module, "_TEXTS_TOGETHER", 3)
    assert [plain(analyse(*case, SCORING)) for case in cases] == expected


def test_lengths_of_runs_with_the_own_excerpt(oracle):
    rng = random.Random(5)
    for _ in range(200):
        book, generations = generated_case(rng)
        words = [oracle.words(excerpt.text) for excerpt in book.excerpts]
        whole = list(chain.from_iterable(words))
        bounds, start = {}, 0
        for excerpt, its in zip(book.excerpts, words, strict=True):
            bounds[excerpt.id] = start, (start := start + len(its))
        expected = {}
        for one in generations:
            first, last = bounds[one.excerpt_id]
            for s, e in oracle.matches(whole, oracle.words(one.text), 3):
                if (length := min(e, last) - max(s, first)) >= 3:
                    expected[length] = expected.get(length, 0) + 1
        tally = Tally(book, SCORING)
        tally.add(generations)
        assert tally.counted.own_lengths == expected


def test_a_generation_in_two_parts_is_refused():
    book = Book("b", "B", "A", (Excerpt("p_id1", "a b c d"),), digest="")
    one, other = Tally(book, SCORING), Tally(book, SCORING)
    one.add([Generation("p_id1", 1, "a b")])
    other.add([Generation("p_id1", 1, "a b")])
    with pytest.raises(RecordsError, match="generation 1 of excerpt 'p_id1' comes twice"):
        one.add_counted(other.counted)


@pytest.mark.parametrize("ordinal", [-1, 1 << 60])
def test_an_ordinal_out_of_range_is_refused(ordinal):
    book = Book("b", "B", "A", (Excerpt("p_id1", "a b c d"),), digest="")
    with pytest.raises(RecordsError, match=rf"the ordinal {ordinal}; expected 0 to 1"):
        Tally(book, SCORING).add([Generation("p_id1", ordinal, "a b")])
