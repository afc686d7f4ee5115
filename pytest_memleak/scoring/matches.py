"""Matches: maximal runs of equal words on one diagonal (METRICS section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.index import CODE_LENGTH, DIAGONAL, UNKNOWN, numbers_of
from pytest_memleak.scoring.intervals import Interval, cut, united

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.scoring.distinct import Positions
    from pytest_memleak.scoring.index import Index

_IN_TEXT = (1 << DIAGONAL) - 1

# Texts are coded a thousand at a time and scanned fifty at a time (of 400 words): the words' codes
# and the automaton would drive each other out of the processor's cache.
_CODED_TOGETHER = 1000 * 400 * CODE_LENGTH
_SCANNED_TOGETHER = 50 * 400 * CODE_LENGTH
_TEXTS_TOGETHER = 1 << 12


class Matches(NamedTuple):
    """Matches of several texts, one entry each, in no order.

    text:       number of the text; one with the same words at two places may have a match twice
    start, end: the book's words [start, end)
    """

    text: Positions
    start: Positions
    end: Positions

    def where(self, chosen: NDArray[np.bool_]) -> Matches:
        """Those of the matches that are `chosen`."""
        return Matches(self.text[chosen], self.start[chosen], self.end[chosen])

    def rows(self) -> Iterator[tuple[int, int, int]]:
        """Text, start and end of each."""
        return zip(self.text.tolist(), self.start.tolist(), self.end.tolist(), strict=True)


def find_matches(index: Index, coded: str) -> set[Interval]:
    """The distinct book intervals [start, end) that match somewhere in `coded` words."""
    matches = match_texts(index, [coded])
    return set(zip(matches.start.tolist(), matches.end.tolist(), strict=True))


def match_all(index: Index, coded: Iterable[str]) -> Iterator[Matches]:
    """The matches of any number of texts, those of some hundreds of texts at a time.

    Texts are numbered from 0; they are taken from `coded` as they are needed.
    """
    first = 0
    for texts in _batches(coded, _CODED_TOGETHER):
        batches = []
        for batch in _batches(texts, _SCANNED_TOGETHER):
            matches = match_texts(index, batch)
            batches.append(matches._replace(text=matches.text + first))
            first += len(batch)
        yield Matches(*map(np.concatenate, zip(*batches, strict=True)))


def _batches(texts: Iterable[str], length: int) -> Iterator[list[str]]:
    """The texts in batches that are just over that length."""
    batch: list[str] = []
    left = length
    for text in texts:
        batch.append(text)
        left -= len(text) + CODE_LENGTH
        if left <= 0 or len(batch) >= _TEXTS_TOGETHER:
            yield batch
            batch, left = [], length
    if batch:
        yield batch


def match_texts(index: Index, coded: Sequence[str]) -> Matches:
    """The matches of each of the texts, given as coded words.

    Several at once are matched far faster than one by one: a few thousand words at a time.
    """
    joined = UNKNOWN.join(coded)
    start, end, ahead = _runs(index, joined)
    if not len(start):
        return Matches(start, start, start)
    numbers = numbers_of(joined)
    for _ in range(index.k - index.anchor):
        before = index.same(numbers, start - 1, start - 1 + ahead)
        after = index.same(numbers, end, end + ahead)
        start, end = start - before, end + after
        alive = before | after | (end - start >= index.k)
        start, end, ahead = start[alive], end[alive], ahead[alive]
    enough = end - start >= index.k
    start, end, ahead = start[enough], end[enough], ahead[enough]
    last_words = np.cumsum([len(words) // CODE_LENGTH + 1 for words in coded])
    text = last_words.searchsorted(start, side="right")
    return _within_borders(index, Matches(text, start + ahead, end + ahead))


def _within_borders(index: Index, matches: Matches) -> Matches:
    """The matches, cut where none may lie across; a maximal run is one on either side too."""
    if not len(index.borders):
        return matches
    of, start, end = cut(matches.start, matches.end, index.borders)
    pieces = Matches(matches.text[of], start, end)
    return pieces.where(end - start >= index.k)


def _runs(index: Index, coded: str) -> tuple[Positions, Positions, Positions]:
    """Runs of anchors that overlap or touch on one diagonal: start and end in the text, diagonal.

    A diagonal is how much further on in the book its words are. Any two k-word windows of a match
    that begin one word apart hold anchors that overlap or touch, so that a match has one run.
    """
    anchors = index.anchors(coded)
    begin = anchors & ~1
    words = np.array([index.anchor, index.k])[anchors & 1]
    begin, reached = united(begin, begin + (words << 1))
    return (begin & _IN_TEXT) >> 1, (reached & _IN_TEXT) >> 1, begin >> DIAGONAL
