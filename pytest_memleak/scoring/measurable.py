"""Which books can be measured, and how many words they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.scoring.layout import refuse_unmeasurable
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from pytest_memleak.records import Book, Scoring

__all__ = ["measurable_words"]


def measurable_words(book: Book, scoring: Scoring) -> int:
    """N of the book; BookError for one that cannot be measured."""
    lengths = [len(words(excerpt.text, scoring.words)) for excerpt in book.excerpts]
    refuse_unmeasurable(book, lengths, k=scoring.k, mode=scoring.words)
    return sum(lengths)
