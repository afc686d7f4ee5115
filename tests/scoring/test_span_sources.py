"""Where spans came from, docs/method.md: its examples, and a slow oracle."""

import random

import pytest
from examples import examples
from scored_books import book_of, generations_of

from pytest_memleak.errors import RecordsError
from pytest_memleak.records import Generation, Scoring
from pytest_memleak.scoring.span_sources import cross_book, cross_excerpt

SCORING = Scoring(k=5)
BOOK = book_of("a b c d e f g h", "i j k l m n o p")


def test_sources_stand_in_the_books_order():
    book = book_of("a b c d e", *["x"] * 11)
    result = cross_excerpt(book, generations_of([], *[["a b c d e"]] * 10), SCORING)
    assert result.spans[0].sources == tuple(f"p_id{n}" for n in range(2, 12))
    # A generation of another book is refused.
    with pytest.raises(RecordsError, match="p_id7"):
        cross_excerpt(BOOK, [Generation("p_id7", 0, "a")], SCORING)


def slow_spans(oracle, book, answers, k):
    """answers: [(source, text)]; gives {(start, end, target): sources}."""
    bounds, words = [], []
    for excerpt in book.excerpts:
        start = len(words)
        words += oracle.words(excerpt.text)
        bounds.append((excerpt.id, start, len(words)))
    results = {}
    for source, text in answers:
        for match in oracle.matches(words, oracle.words(text), k):
            results.setdefault(match, set()).add(source)
    kept = {
        (s, e): sources
        for (s, e), sources in results.items()
        if not any(a <= s and e <= b and (a, b) != (s, e) for a, b in results)
    }
    return {
        (s, e, target): sources
        for (s, e), sources in kept.items()
        for target, first, last in bounds
        if first <= s and e <= last
    }


def generated_case(seed):
    rng = random.Random(seed)
    letters = "abcdefghijklmn"[: rng.randint(1, 14)]
    texts = [rng.choices(letters, k=rng.randint(0, 14)) for _ in range(rng.randint(1, 5))]
    texts[0] += rng.choices(letters, k=6)
    whole = [word for text in texts for word in text]

    def write():
        start = rng.randrange(len(whole))
        end = start + rng.randint(1, 16)
        return " ".join([*whole[start:end], "y", *rng.choices(letters, k=rng.randint(0, 9))])

    answers = generations_of(*[[write() for _ in range(rng.randint(0, 4))] for _ in texts])
    rng.shuffle(answers)
    return book_of(*map(" ".join, texts)), answers, rng.randint(1, 6)


def found_spans(result):
    return {(s.start, s.end, s.target): set(s.sources) for s in result.spans}


def test_equals_the_oracle_on_generated_cases(oracle):
    crossing, cases = 0, examples(2_000)
    for seed in range(cases):
        book, answers, k = generated_case(seed)
        expected = slow_spans(
            oracle, book, [(answer.excerpt_id, answer.text) for answer in answers], k
        )
        result = cross_excerpt(book, answers, Scoring(k=k))
        assert found_spans(result) == expected, seed
        cross = sum(bool(sources - {target}) for (*_, target), sources in expected.items())
        assert (result.count, result.cross) == (len(expected), cross), seed
        assert result.ratio == (cross / len(expected) if expected else 0), seed
        crossing += cross > 0
        lengths = cross_book(book, [answer.text for answer in answers], Scoring(k=k))
        assert lengths == [end - start for start, end, _ in sorted(expected)], seed
    assert crossing > cases // 4
