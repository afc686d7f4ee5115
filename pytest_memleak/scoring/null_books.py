"""BMC compared with chance and with a baseline model (docs/method.md).

The null: what the same model shares with a book when it is prompted for others. Prose
shares runs of a few words with any book, so BMC alone doesn't separate recall from
common phrases. The spread between nulls (genre and period move them) limits how well
chance is known.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Estimate
from pytest_memleak.scoring.confidence_bounds import (
    normal_quantile,
    student_quantile,
    student_tail,
)
from pytest_memleak.scoring.intervals import Distinct, Packing, cut
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.prompt_trimming import PromptWords, outside_prompt
from pytest_memleak.scoring.rounds import RoundCounts, Rounds, jackknife_variance
from pytest_memleak.scoring.sampling_error import (
    bmc_bounds,
    difference_bounds,
    spread,
    typical_span,
)
from pytest_memleak.scoring.text_batches import batches_of
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.sampling_error import SamplingError

    Numbers = NDArray[np.float64]
    Answer = tuple[str | None, str]  # instruction or None, generation

# Jackknife groups; more would add no precision.
_GROUPS = 50

# Fewer null books have no variance.
_LEAST_NULLS = 2


@dataclass(frozen=True, slots=True)
class NullBook:
    """The overlap of generations for one other book with the pair's book.

    bmc: of them; longest_span: their longest run within one of its excerpts, in words.
    """

    book_id: str
    bmc: float
    longest_span: int


@dataclass(frozen=True, slots=True)
class Null:
    """A pair against chance, all at `words` words of generations.

    bmc:       of the pair, at that many words
    books:     per null book, b of them
    null_bmc:  their mean
    null_longest_span: the longest run of any of them, in words
    excess:    bmc - null_bmc
    low, high: its interval, at `confidence`; None with fewer than two null books
    own_high:  the upper end of the pair's own BMC, which the excess cannot exceed
    p:         of no excess, one-sided; None with fewer than two null books
    visible:   the multiple of the null at which p would be 1 - `confidence`; None
    likewise
    """

    words: int
    bmc: float
    books: tuple[NullBook, ...]
    null_bmc: float
    null_longest_span: int
    excess: float
    low: float | None
    high: float | None
    own_high: float
    p: float | None
    visible: float | None
    confidence: float


def excess_over_null(
    book: Book,
    own: Iterable[Answer],
    nulls: Mapping[str, Iterable[Answer]],
    scoring: Scoring,
    *,
    error: SamplingError | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    index: SharedIndex | None = None,
) -> Null | None:
    """Compare what a pair's generations reproduce of `book` with those for other books.

    own: pairs of instruction and generation; nulls: the same per id of another book,
    the suite's negative controls if it has any; each generation is trimmed by its own
    instruction. All sides are thinned at random to the word count of the smallest, one
    generation of each cut short to meet it; those without words are left out. The
    interval rests on the variance between null books, of the pair's generations, and of
    the null's instructions. error: of the pair's BMC over all its rounds; its variance
    is taken if larger, and its upper end. index: of this book with this `scoring`
    alone, if already built.

    Returns None if the pair, or every null book, has no words. Raises BookError for a
    book that cannot be measured, SettingsError for a confidence outside [0, 1). Memory:
    the texts of `own`, and no more for each null book.
    """
    matcher = _Matcher(book, scoring, index)
    order = random.Random(seed)  # noqa: S311 - a seeded choice, no secret
    own_shuffled, words = matcher.shuffled(own, order, at_most=math.inf)
    others: dict[str, list[_Shuffled]] = {}
    for book_id, answers in nulls.items():
        shuffled, other_words = matcher.shuffled(answers, order, at_most=words)
        if shuffled:
            others[book_id] = shuffled
            words = min(words, other_words)
    if not (own_shuffled and others):
        return None
    pair = matcher.cover(
        _cut_to(own_shuffled, words), group=lambda answer: answer.number
    )
    covered = {
        book_id: matcher.cover(
            _cut_to(shuffled, words), group=_group_by_instruction(shuffled)
        )
        for book_id, shuffled in others.items()
    }
    return _compared(pair, covered, words, scoring, error=error, confidence=confidence)


def _compared(
    pair: _Covered,
    nulls: Mapping[str, _Covered],
    words: int,
    scoring: Scoring,
    *,
    error: SamplingError | None,
    confidence: float,
) -> Null:
    own = spread(pair.counts, scoring=scoring)
    own_high = (
        error.high
        if error
        else bmc_bounds(pair.counts.bmc, own, confidence=confidence).high
    )
    null_bmcs = np.array([null.counts.bmc for null in nulls.values()])
    excess = pair.counts.bmc - float(null_bmcs.mean())
    low, high = _excess_bounds(
        excess,
        null_bmcs,
        own=_combined([own.variance, error.variance if error else None], max),
        within=_combined(
            (
                jackknife_variance(null.counts.alone / null.counts.words)
                for null in nulls.values()
            ),
            fmean,
        ),
        confidence=confidence,
    )
    floor = scoring.k / pair.counts.words
    p, visible = _chance(pair.counts.bmc + floor, null_bmcs + floor, confidence)
    return Null(
        words=words,
        bmc=pair.counts.bmc,
        books=tuple(
            NullBook(book_id, null.counts.bmc, null.longest_span)
            for book_id, null in nulls.items()
        ),
        null_bmc=float(null_bmcs.mean()),
        null_longest_span=max(null.longest_span for null in nulls.values()),
        excess=excess,
        low=low,
        high=high if high is None else max(excess, min(high, own_high)),
        own_high=own_high,
        p=p,
        visible=visible,
        confidence=confidence,
    )


def _excess_bounds(
    excess: float,
    nulls: Numbers,
    *,
    own: float | None,
    within: float | None,
    confidence: float,
) -> tuple[float, float] | tuple[None, None]:
    """Return excess ± t sqrt(V_own + mean V_null / b + s² (1 + 1 / b)), s² the nulls' variance."""
    b = len(nulls)
    if normal_quantile(confidence) == 0:
        return excess, excess
    if b < _LEAST_NULLS:
        return None, None
    if own is None or within is None:
        return -1.0, 1.0
    between = float(nulls.var(ddof=1)) * (1 + 1 / b)
    width = student_quantile(confidence, b - 1) * math.sqrt(own + within / b + between)
    return max(excess - width, -1.0), min(excess + width, 1.0)


def _combined(
    variances: Iterable[float | None], combine: Callable[[list[float]], float]
) -> float | None:
    """Combine the variances that are not None; None if none is."""
    values = [variance for variance in variances if variance is not None]
    return combine(values) if values else None


def _chance(
    own: float, nulls: Numbers, confidence: float
) -> tuple[float, float] | tuple[None, None]:
    """Return the probability that the next null book matches the pair, and the visible multiple.

    Student's t of the logarithms, since what moves a null (genre, period) multiplies
    it.
    """
    b = len(nulls)
    if b < _LEAST_NULLS:
        return None, None
    logarithms = np.log(nulls)
    rise = math.log(own) - float(logarithms.mean())
    scale = float(logarithms.std(ddof=1)) * math.sqrt(1 + 1 / b)
    t = rise / scale if scale else math.copysign(math.inf, rise) if rise else 0.0
    one_sided = student_quantile(max(2 * confidence - 1, 0.0), b - 1)
    return student_tail(t, b - 1), math.exp(one_sided * scale)


@dataclass(frozen=True, slots=True, order=True)
class _Shuffled:
    """A generation, of which the first `words` words count, with its random turn."""

    turn: float
    number: int
    instruction: str | None = field(compare=False, repr=False)
    text: str = field(compare=False, repr=False)
    words: int = field(compare=False)


class _Covered(NamedTuple):
    counts: RoundCounts
    longest_span: int


class _Matcher:
    """A matcher of generations with one book."""

    def __init__(self, book: Book, scoring: Scoring, index: SharedIndex | None) -> None:
        self._scoring = scoring
        self._index = index or SharedIndex([book], k=scoring.k, mode=scoring.word_mode)
        self._layout = self._index.books[0].layout

    def shuffled(
        self, answers: Iterable[Answer], order: random.Random, *, at_most: float
    ) -> tuple[list[_Shuffled], int]:
        """Return generations in random order, the first with `at_most` words, and their words."""
        heap: list[tuple[float, _Shuffled]] = []  # last turn on top
        total = 0
        for number, (instruction, text) in enumerate(answers):
            turn = order.random()
            if total >= at_most and (not heap or turn > -heap[0][0]):
                continue
            count = len(words(text, self._scoring.word_mode))
            if not count:
                continue
            heapq.heappush(
                heap, (-turn, _Shuffled(turn, number, instruction, text, count))
            )
            total += count
            while total - heap[0][1].words >= at_most:
                total -= heapq.heappop(heap)[1].words
        return sorted(generation for _, generation in heap), total

    def cover(
        self, generations: list[_Shuffled], *, group: Callable[[_Shuffled], Hashable]
    ) -> _Covered:
        """Count what the generations cover of the book, by group."""
        groups = np.array(_numbered(map(group, generations)), dtype=np.intp) % _GROUPS
        instructions = dict.fromkeys(
            generation.instruction or "" for generation in generations
        )
        prompt_words = PromptWords(
            self._index.instructions(list(instructions), folded=False),
            trim=self._scoring.trim,
        )
        instruction_of = np.array(
            _numbered(generation.instruction or "" for generation in generations),
            dtype=np.intp,
        )
        kept = np.array([generation.words for generation in generations], dtype=np.intp)
        bits = self._layout.total.bit_length()
        packing = Packing(bits, bits)
        pieces = Distinct()
        longest = first = 0
        for batch in batches_of(generations, lambda generation: len(generation.text)):
            batch_of = slice(first, first + len(batch))
            first += len(batch)
            matched = self._index.matches(
                [generation.text for generation in batch], near=False
            )
            matches = matched.matches
            ends = matched.exact.ends[:-1] + 1 + kept[batch_of]
            place_end = np.minimum(matches.place + matches.words, ends[matches.text])
            counted = place_end - matches.place >= self._scoring.k
            matches, place_end = matches.where(counted), place_end[counted]
            ranges = prompt_words.ranges(matched.exact, instruction_of[batch_of])
            left = outside_prompt(
                matches.place,
                place_end,
                ranges,
                trim=self._scoring.trim,
                keep=self._scoring.k,
            )
            ahead = matches.start - matches.place
            numbers = groups[batch_of][matches.text[left.of]]
            start, end = left.start + ahead[left.of], left.end + ahead[left.of]
            pieces.add(packing.pack(numbers, start, end))
            longest = max(
                longest, self._within_an_excerpt(matches.start, place_end + ahead)
            )
        rounds = Rounds.joined(*packing.unpack(pieces.ascending()))
        counts = rounds.counts(
            words=self._layout.total,
            n=int(groups.max()) + 1,
            borders=(start for start, _ in self._layout.bounds.values()),
        )
        return _Covered(counts, longest if longest >= self._scoring.k else 0)

    def _within_an_excerpt(self, start: Positions, end: Positions) -> int:
        """Return the longest part of these matches that lies in one excerpt."""
        _, first, last = cut(start, end, self._layout.ends)
        return int((last - first).max(initial=0))


def _numbered(keys: Iterable[Hashable]) -> list[int]:
    """Return a number per key, from 0 in order of first appearance."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _cut_to(generations: list[_Shuffled], words: int) -> list[_Shuffled]:
    """Return the first `words` words of the generations, in order."""
    kept = []
    for generation in generations:
        if not words:
            break
        kept.append(replace(generation, words=min(generation.words, words)))
        words -= kept[-1].words
    return kept


def _group_by_instruction(
    generations: list[_Shuffled],
) -> Callable[[_Shuffled], Hashable]:
    """Group by instruction, or by generation if instructions are few."""
    if len({answer.instruction for answer in generations}) < _GROUPS:
        return lambda answer: answer.number
    return lambda answer: answer.instruction


def uplift(
    counts: RoundCounts,
    baseline: RoundCounts,
    *,
    scoring: Scoring,
    confidence: float = 0.95,
    alike: bool = True,
    seed: int = 0,
) -> Estimate:
    """Return the BMC of a model minus that of its baseline, on the same excerpts and rounds.

    The interval is the paired jackknife's: round r is left out of both at once. If the
    rounds of either are not `alike`, blocks of rounds are used, and the blocks'
    bootstrap covers both at once. Raises SettingsError for counts of different books or
    numbers of rounds, and for a confidence outside [0, 1).
    """
    sizes = (counts.words, counts.rounds), (baseline.words, baseline.rounds)
    if sizes[0] != sizes[1]:
        raise SettingsError(
            f"{sizes[0][0]:,} words and {sizes[0][1]} rounds of the model, but "
            f"{sizes[1][0]:,} words and {sizes[1][1]} rounds of its baseline",
            hint="compare them on the same book and the same rounds",
        )
    difference = counts.bmc - baseline.bmc
    low, high = difference_bounds(
        difference,
        spread(counts, baseline=baseline, scoring=scoring, alike=alike, seed=seed),
        typical_less=typical_span(baseline, scoring=scoring),
        confidence=confidence,
    )
    return Estimate(difference, low, high)
