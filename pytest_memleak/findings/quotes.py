"""The few words of a passage that a report may show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.redaction.text import QUOTED_WORDS, inert
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from pytest_memleak.records import Block, Book, Measurement

__all__ = ["quote"]

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
    found: list[str] = []
    for excerpt in book.excerpts[place:]:
        found += words(excerpt.text, measured.word_mode)
        if len(found) >= skipped + wanted:
            break
    said = " ".join(inert(word, longest=_LONGEST_WORD) for word in found[skipped:][:wanted])
    left = run.words - wanted
    return f"{said} … (+{left:,} words)" if left else said
