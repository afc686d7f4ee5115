"""What is measured of a pair: runs of the book's words, coverage, the four measures.

Positions are 0-based positions in the book's words, intervals half-open (METRICS section 1).
"""

from __future__ import annotations

import bisect
from array import array
from dataclasses import dataclass, field

from pytest_memleak.records.book import WordMode

__all__ = [
    "Block",
    "Coverage",
    "Measurement",
    "Span",
]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A run of the book's words [start, end), `words` long; both None where it has none.

    Compares with other runs and with plain numbers by its length in words, so that a test
    can say `memorization.longest_recital <= 38`. Equal runs are equal in place too; two of one
    length at different places are neither longer nor shorter than each other.
    """

    words: int
    start: int | None = None
    end: int | None = None

    def __int__(self) -> int:
        return self.words

    def __bool__(self) -> bool:
        return self.words > 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Block):
            return _fields(self) == _fields(other)
        return self.words == other if isinstance(other, int | float) else NotImplemented

    def __lt__(self, other: object) -> bool:
        length = _length(other)
        return NotImplemented if length is None else self.words < length

    def __le__(self, other: object) -> bool:
        length = _length(other)
        return NotImplemented if length is None else self.words <= length

    def __gt__(self, other: object) -> bool:
        length = _length(other)
        return NotImplemented if length is None else self.words > length

    def __ge__(self, other: object) -> bool:
        length = _length(other)
        return NotImplemented if length is None else self.words >= length

    def __hash__(self) -> int:
        return hash(self.words)


@dataclass(frozen=True, slots=True, eq=False)
class Span(Block):
    """A run that one generation shares with its own excerpt.

    `generation` is the place of the generation among those of `excerpt_id`, from 0.
    """

    excerpt_id: str | None = None
    generation: int | None = None


def _length(other: object) -> float | None:
    if isinstance(other, Block):
        return other.words
    return other if isinstance(other, int | float) else None


def _fields(run: Block) -> tuple[object, ...]:
    return (
        run.words,
        run.start,
        run.end,
        *((run.excerpt_id, run.generation) if isinstance(run, Span) else ()),
    )


@dataclass(frozen=True, slots=True)
class Coverage:
    """Per word of the book, what the memorized pieces (METRICS section 3) say of it.

    reach:  length of the longest memorized piece over the word; 0 where there is none, so
            that BMC@k' for any k' >= k is the share of words with reach >= k'.
    rounds: number of rounds (the r-th generation of every excerpt) that cover it.
    """

    reach: array[int] = field(repr=False)
    rounds: array[int] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Measurement:
    """The four measures of one model on one book (METRICS section 3).

    words:         N, the number of words of the book
    bmc:           BMC@k, covered words / N
    longest_block: longest contiguous memorized block
    longest_span:  longest contiguous regurgitated span, in one generation
    spans_over:    number of distinct contiguous regurgitated spans longer than T words
    spans:         those spans, longest first
    excerpt_starts: positions of the excerpts' first words
    """

    words: int
    k: int
    trim: int
    span_threshold: int
    word_mode: WordMode
    generations: int
    bmc: float
    longest_block: Block
    longest_span: Span
    spans_over: int
    spans: tuple[Span, ...] = field(repr=False)
    coverage: Coverage = field(repr=False)
    excerpt_starts: tuple[int, ...] = field(repr=False)

    def excerpt_at(self, position: int) -> int:
        """The place among the excerpts of the one that holds the word at `position`."""
        return bisect.bisect_right(self.excerpt_starts, position) - 1

    def bmc_at(self, k: int) -> float:
        """BMC@k for a k that is at least the one this was measured with."""
        if k < self.k:
            raise ValueError(
                f"BMC@{k} needs a measurement with k <= {k}; this one has k = {self.k}"
            )
        return sum(reach >= k for reach in self.coverage.reach) / self.words
