"""What reports show of any passage: a few of its words, and how often it comes back."""

from __future__ import annotations

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
    """The words of a run, at most `most` of them (0: none; None: all), the rest counted.

    They are the words that were matched: lower-cased and without punctuation.
    """
    if most == 0 or run.start is None or run.end is None:
        return ""
    wanted = run.words if most is None else min(run.words, most)
    place = measured.excerpt_at(run.start)
    skipped = run.start - measured.excerpt_starts[place]

    def split(text: str) -> list[str]:
        return words(text, measured.word_mode)

    return _quoted(book.excerpts[place:], split, skipped, wanted, run.words)


def quote_anywhere(
    book: Book,
    start: int,
    end: int,
    *,
    mode: WordMode,
    folded: bool = False,
    most: int | None = QUOTED_WORDS,
) -> str:
    """Words [start, end) of any book, as `quote` gives them.

    folded: they are counted, and given, as words of near-verbatim passages.
    """
    if most == 0:
        return ""
    wanted = end - start if most is None else min(end - start, most)

    def split(text: str) -> list[str]:
        return passage_words(text) if folded else words(text, mode)

    return _quoted(book.excerpts, split, start, wanted, end - start)


def _quoted(
    excerpts: Sequence[Excerpt],
    split: Callable[[str], list[str]],
    skipped: int,
    wanted: int,
    of: int,
) -> str:
    text_words: list[str] = []
    for excerpt in excerpts:
        text_words += split(excerpt.text)
        if len(text_words) >= skipped + wanted:
            break
    text = " ".join(inert(word, longest=_LONGEST_WORD) for word in text_words[skipped:][:wanted])
    left = of - wanted
    return f"{text} … (+{amount(left, 'word')})" if left else text


def passage_rate(analysis: Analysis, start: int, end: int) -> PassageRate | None:
    """How often their own prompt brought back the words [start, end) of the pair's book, whole.

    None where they lie across the border of two excerpts, which no one prompt asks for.
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
