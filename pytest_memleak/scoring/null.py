"""BMC compared with chance and with a baseline model (METRICS section 7).

The null: what the same model shares with a book when it is asked for others. Prose shares runs
of a few words with any book, so BMC alone does not tell recall from common phrases.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.scoring.distinct import Distinct, Packing
from pytest_memleak.scoring.index import CODE_LENGTH, Index
from pytest_memleak.scoring.matches import match_all
from pytest_memleak.scoring.rounds import RoundCounts, Rounds
from pytest_memleak.scoring.sampling_error import (
    difference_bounds,
    jackknife_variance,
    typical_span,
)
from pytest_memleak.scoring.trimming import Trimming

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.index import Positions

    Answer = tuple[str | None, str]  # an instruction (None where there is none), and the answer

__all__ = ["Null", "Uplift", "excess_over_null", "uplift"]

# Groups of the jackknife: more would make it no more exact.
_GROUPS = 50


@dataclass(frozen=True, slots=True)
class Null:
    """A pair against chance, both at `words` words of generations.

    bmc:               of the pair, at that many words
    null_bmc:          of the generations for other books, matched with this one
    null_longest_span: their longest run within one of its excerpts, in words
    excess:            bmc - null_bmc
    low, high:         its interval, at `confidence`
    """

    words: int
    bmc: float
    null_bmc: float
    null_longest_span: int
    excess: float
    low: float
    high: float
    confidence: float


def excess_over_null(
    book: Book,
    own: Iterable[Answer],
    others: Iterable[Answer],
    scoring: Scoring,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    index: Index | None = None,
) -> Null | None:
    """How much more of `book` its own generations give back than those for other books.

    own, others: pairs of instruction and generation; each generation is trimmed by its own
    instruction. Whichever side has more words is thinned at random to the other's number, one
    of its generations cut short to meet it. The interval takes the pair's generations, and the
    instructions of the others, as drawn anew. index: of this book with this `scoring`, where
    there is one already.

    Returns None where a side has no words: then there is nothing to compare with.
    Raises BookError for a book that cannot be measured, SettingsError for a confidence outside
    [0, 1). Memory: 4 bytes per word of `own`, and no more for `others`.
    """
    matcher = _Matcher(book, scoring, index)
    order = random.Random(seed)  # noqa: S311 - a seeded choice, no secret
    mine, its_words = matcher.drawn(own, order, at_most=math.inf)
    theirs, their_words = matcher.drawn(others, order, at_most=its_words)
    if not (words := min(its_words, their_words)):
        return None
    pair = matcher.cover(_cut_to(mine, words), group=lambda answer: answer.number)
    null = matcher.cover(_cut_to(theirs, words), group=_group_by_instruction(theirs))
    excess = pair.counts.bmc - null.counts.bmc
    where_none = max(scoring.k, scoring.span_threshold)
    low, high = difference_bounds(
        excess,
        _sum_of_variances(pair.counts, null.counts),
        typical_span(pair.counts, where_none=where_none),
        typical_span(null.counts, where_none=where_none),
        confidence=confidence,
    )
    return Null(
        words=words,
        bmc=pair.counts.bmc,
        null_bmc=null.counts.bmc,
        null_longest_span=null.longest_span,
        excess=excess,
        low=low,
        high=high,
        confidence=confidence,
    )


def _sum_of_variances(a: RoundCounts, b: RoundCounts) -> float | None:
    of_a, of_b = (jackknife_variance(counts.alone / counts.words) for counts in (a, b))
    return None if of_a is None or of_b is None else of_a + of_b


@dataclass(frozen=True, slots=True, order=True)
class _Drawn:
    """A generation, coded, and when its turn comes."""

    turn: float
    number: int
    instruction: str | None = field(compare=False, repr=False)
    coded: str = field(compare=False, repr=False)

    @property
    def words(self) -> int:
        return len(self.coded) // CODE_LENGTH


class _Covered(NamedTuple):
    counts: RoundCounts
    longest_span: int


class _Matcher:
    """Matches generations with one book."""

    def __init__(self, book: Book, scoring: Scoring, index: Index | None) -> None:
        self._book = book
        self._trim = scoring.trim
        self._index = index or Index(book, k=scoring.k, mode=scoring.words)

    def drawn(
        self, answers: Iterable[Answer], order: random.Random, *, at_most: float
    ) -> tuple[list[_Drawn], int]:
        """Generations in random order, the first that hold `at_most` words, and their words."""
        heap: list[tuple[float, _Drawn]] = []  # the last turn on top
        words = 0
        for number, (instruction, text) in enumerate(answers):
            turn = order.random()
            if words >= at_most and (not heap or turn > -heap[0][0]):
                continue
            coded = self._index.code_text(text)
            if not coded:
                continue
            drawn = _Drawn(turn, number, instruction, coded)
            heapq.heappush(heap, (-turn, drawn))
            words += drawn.words
            while words - heap[0][1].words >= at_most:
                words -= heapq.heappop(heap)[1].words
        return sorted(drawn for _, drawn in heap), words

    def cover(self, drawn: list[_Drawn], *, group: Callable[[_Drawn], Hashable]) -> _Covered:
        """What the generations cover of the book, counted by group."""
        groups = np.array(_numbered(map(group, drawn)), dtype=np.intp) % _GROUPS
        instructions = list(dict.fromkeys(answer.instruction for answer in drawn))
        asked = np.array(_numbered(answer.instruction for answer in drawn), dtype=np.intp)
        trimming = Trimming(self._book, self._index, instructions, trim=self._trim)
        packing = Packing(self._index.total.bit_length(), self._index.total.bit_length())
        pieces = Distinct()
        longest = 0
        for text, start, end in match_all(self._index, (answer.coded for answer in drawn)):
            left = trimming.pieces(asked[text], start, end)
            pieces.add(packing.pack(groups[text[left.of]], left.start, left.end))
            longest = max(longest, self._within_an_excerpt(start, end))
        rounds = Rounds.joined(*packing.unpack(pieces.ascending()))
        counts = rounds.counts(
            words=self._index.total,
            n=int(groups.max()) + 1,
            borders=(start for start, _ in self._index.bounds.values()),
        )
        return _Covered(counts, longest if longest >= self._index.k else 0)

    def _within_an_excerpt(self, start: Positions, end: Positions) -> int:
        """The longest part of these matches that lies in one excerpt."""
        starts, ends = np.array(list(self._index.bounds.values()), dtype=np.intp).T
        within = end <= ends[ends.searchsorted(start, side="right")]
        longest = int((end - start)[within].max(initial=0))
        start, end = start[~within], end[~within]  # few cross a border
        for first, last in zip(starts, ends, strict=True):
            inside = np.minimum(end, last) - np.maximum(start, first)
            longest = max(longest, int(inside.max(initial=0)))
        return longest


def _numbered(keys: Iterable[Hashable]) -> list[int]:
    """A number per key, from 0 in order of their first appearance."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _cut_to(drawn: list[_Drawn], words: int) -> list[_Drawn]:
    """The first `words` words of the generations, in their order."""
    kept = []
    for answer in drawn:
        if not words:
            break
        kept.append(replace(answer, coded=answer.coded[: words * CODE_LENGTH]))
        words -= kept[-1].words
    return kept


def _group_by_instruction(drawn: list[_Drawn]) -> Callable[[_Drawn], Hashable]:
    """Groups of one instruction each; of one generation each where instructions are few."""
    if len({answer.instruction for answer in drawn}) < _GROUPS:
        return lambda answer: answer.number
    return lambda answer: answer.instruction


# --- a baseline model ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Uplift:
    """A model against its baseline, on the same excerpts and rounds.

    uplift: bmc - baseline_bmc; low, high: its interval, at `confidence`.
    """

    bmc: float
    baseline_bmc: float
    uplift: float
    low: float
    high: float
    confidence: float


def uplift(
    counts: RoundCounts,
    baseline: RoundCounts,
    *,
    scoring: Scoring,
    confidence: float = 0.95,
) -> Uplift:
    """How much more of a book a model gives back than its baseline.

    The interval is the paired jackknife's: round r is left out of both at once.
    Raises SettingsError for counts of different books or numbers of rounds, and for a
    confidence outside [0, 1).
    """
    sizes = (counts.words, counts.rounds), (baseline.words, baseline.rounds)
    if sizes[0] != sizes[1]:
        raise SettingsError(
            f"{sizes[0][0]:,} words and {sizes[0][1]} rounds of the model, but "
            f"{sizes[1][0]:,} words and {sizes[1][1]} rounds of its baseline",
            hint="compare them on the same book and on the rounds that both have",
        )
    where_none = max(scoring.k, scoring.span_threshold)
    difference = counts.bmc - baseline.bmc
    low, high = difference_bounds(
        difference,
        jackknife_variance((counts.alone - baseline.alone) / counts.words),
        typical_span(counts, where_none=where_none),
        typical_span(baseline, where_none=where_none),
        confidence=confidence,
    )
    return Uplift(counts.bmc, baseline.bmc, difference, low, high, confidence)
