"""A passage in reports: a few of its words, and how often it is generated."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import QUOTED_WORDS, inert
from pytest_memleak.scoring.folding import passage_words
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_memleak.records import Block, Book, Excerpt, Measurement, WordMode
    from pytest_memleak.records.measurement import PassageRate
    from pytest_memleak.scoring.analysis import Analysis

_LONGEST_WORD = 40


def quote(book: Book, run: Block, measured: Measurement, *, most: int | None = QUOTED_WORDS) -> str:
    """Quote a run's words, at most `most` of them (0: none; None: all), and count the rest.

    Quoted are the words as they were matched: lower-cased and without punctuation.
    """
    if most == 0 or run.start is None or run.end is None:
        return ""
    count = run.words if most is None else min(run.words, most)
    place = measured.excerpt_at(run.start)
    skipped = run.start - measured.excerpt_starts[place]
    split = partial(words, mode=measured.word_mode)
    return _quoted(book.excerpts[place:], split, skipped, count, run.words)


def quote_anywhere(
    book: Book,
    start: int,
    end: int,
    *,
    mode: WordMode,
    folded: bool = False,
    most: int | None = QUOTED_WORDS,
) -> str:
    """Quote words [start, end) of any book, as `quote` does.

    folded: count and quote words as near-verbatim matching does.
    """
    if most == 0:
        return ""
    count = end - start if most is None else min(end - start, most)
    split = passage_words if folded else partial(words, mode=mode)
    return _quoted(book.excerpts, split, start, count, end - start)


def _quoted(
    excerpts: Sequence[Excerpt],
    split: Callable[[str], list[str]],
    skipped: int,
    count: int,
    of: int,
) -> str:
    text_words: list[str] = []
    for excerpt in excerpts:
        text_words += split(excerpt.text)
        if len(text_words) >= skipped + count:
            break
    text = " ".join(inert(word, longest=_LONGEST_WORD) for word in text_words[skipped:][:count])
    left = of - count
    return f"{text} … (+{amount(left, 'word')})" if left else text


def passage_rate(analysis: Analysis, start: int, end: int) -> PassageRate | None:
    """Return how often their prompt generated all words [start, end) of the pair's book.

    None if they cross two excerpts, which no single prompt requests.
    """
    from pytest_memleak.scoring.rounds import passage_rates  # with numpy

    measured, error = analysis.measurement, analysis.error
    if measured.excerpt_at(start) != measured.excerpt_at(end - 1):
        return None
    (rate,) = passage_rates(
        [(start, end)],
        analysis.own_runs,
        n=error.rounds,
        alike=error.likeness.alike,
        confidence=error.confidence,
    )
    return rate
