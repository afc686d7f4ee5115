"""Scoring: words, indexes, matches, and measures, without files or network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.formats.paper_format import (
    book_from_records,
    generations_from_records,
    with_recorded_instructions,
)
from pytest_memleak.records import Book, Generation, Measurement, Scoring

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from pytest_memleak.records import WordMode

__all__ = ["score"]


def score(
    book: Book | Iterable[Mapping[str, Any]],
    generations: Iterable[Generation] | Iterable[Mapping[str, Any]],
    *,
    k: int = 5,
    trim: int = 5,
    span_threshold: int = 20,
    word_mode: WordMode = "paper",
) -> Measurement:
    """Measure how much of a book a model's generations reproduce (docs/method.md).

    `book` and `generations` are this package's records or the paper's (lists of dicts
    with `excerpt_id`, `excerpt_text`, `instruction` and `generations:
    [{"generated_text": ...}]`; arXiv 2603.20957, section 3.1). A generation record's
    own instruction takes precedence over the book's.

    k: shortest match, in words. trim: m of the m-grams that the instruction contains; 0
    trims nothing. span_threshold: of `spans_over`. word_mode: what counts as a word.

    Raises SettingsError, BookError or RecordsError, each with cause and location.
    """
    from pytest_memleak.scoring.four_measures import measure

    if not isinstance(book, Book):
        book = book_from_records(list(book))
    records: list[Any] = list(generations)
    if not all(isinstance(record, Generation) for record in records):
        book = with_recorded_instructions(book, records)
        records = generations_from_records(records)
    return measure(
        book,
        records,
        Scoring(
            k=k,
            trim=trim,
            span_threshold=span_threshold,
            word_mode=word_mode,
        ),
    )
