"""Where spans came from, docs/method.md: its examples, and a slow oracle."""

import random

import pytest
from examples import examples
from scored_books import book_of, generations_of, reciting_case

from pytest_memleak.errors import RecordsError
from pytest_memleak.records import Generation, Scoring
from pytest_memleak.scoring.span_sources import cross_book_span_lengths, cross_excerpt


def test_sources_stand_in_the_books_order():
    book = book_of("a b c d e", *["x"] * 11)
    result = cross_excerpt(book, generations_of([], *[["a b c d e"]] * 10), Scoring())
    assert result.spans[0].sources == tuple(f"p_id{n}" for n in range(2, 12))
    # A generation of another book is refused.
    with pytest.raises(RecordsError, match="p_id77"):
        cross_excerpt(book, [Generation("p_id77", 0, "a")], Scoring())


def slow_spans(oracle, book, answers, k):
    """Gives {(start, end, target): sources}."""
    bounds, words = [], []
    for excerpt in book.excerpts:
        start = len(words)
        words += oracle.words(excerpt.text)
        bounds.append((excerpt.id, start, len(words)))
    results = {}
    for answer in answers:
        for match in oracle.matches(words, oracle.words(answer.text), k):
            results.setdefault(match, set()).add(answer.excerpt_id)
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


def test_sources_of_generated_cases_equal_the_oracle(oracle):
    crossing, cases = 0, examples(2_000, fast=100)
    for seed in range(cases):
        rng = random.Random(seed)
        k = rng.randint(1, 6)
        book, answers = reciting_case(rng)
        expected = slow_spans(oracle, book, answers, k)
        result = cross_excerpt(book, answers, Scoring(k=k))
        spans = {
            (span.start, span.end, span.target): {*span.sources}
            for span in result.spans
        }
        assert spans == expected, seed
        cross = sum(
            bool(sources - {target}) for (*_, target), sources in expected.items()
        )
        assert (result.count, result.cross) == (len(expected), cross), seed
        assert result.ratio == (cross / len(expected) if expected else 0), seed
        crossing += cross > 0
        lengths = cross_book_span_lengths(
            book, [answer.text for answer in answers], Scoring(k=k)
        )
        assert lengths == [end - start for start, end, _ in sorted(expected)], seed
    assert crossing > cases // 4
