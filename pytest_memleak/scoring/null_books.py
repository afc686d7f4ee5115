"""The chance level: BMC compared with that of generations for other books.

The null (docs/method.md): what the same model shares with a book when it is prompted
for others. Prose shares runs of a few words with any book, so BMC alone doesn't
separate recall from common phrases. The spread between nulls (genre and period move
them) limits how well chance is known.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.bmc_interval import bmc_bounds, spread
from pytest_memleak.scoring.confidence_bounds import (
    normal_quantile,
    student_quantile,
    student_tail,
)
from pytest_memleak.scoring.null_overlap import (
    OverlapCounter,
    cut_to_words,
    has_enough_instructions,
)
from pytest_memleak.scoring.round_blocks import jackknife_variance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.array_types import Floats
    from pytest_memleak.scoring.excused_words import RemainingWords
    from pytest_memleak.scoring.multi_book_index import SharedIndex
    from pytest_memleak.scoring.null_overlap import Answer, Overlap, ShuffledAnswer
    from pytest_memleak.scoring.sampling_error import SamplingError


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
class ChanceLevel:
    """A pair against chance, all at `words` words of generations.

    bmc:       of the pair, at that many words
    books:     per null book, b of them
    null_bmc:  their mean
    null_longest_span: the longest run of any of them, in words
    excess:    bmc - null_bmc
    low, high: its interval, at `confidence`; None with fewer than two null books
    own_high:  the upper end of the pair's own BMC, which the excess cannot exceed
    p:         of no excess, one-sided; None with fewer than two null books
    visible:   multiple of the null at which p would be 1 - `confidence`, or None
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
    remaining: RemainingWords | None = None,
) -> ChanceLevel | None:
    """Compare what a pair's generations reproduce of `book` with those for other books.

    own: pairs of instruction and generation; nulls: the same per id of another book,
    the suite's negative controls if it has any; each generation is trimmed by its own
    instruction. All sides are thinned at random to the word count of the smallest, one
    generation of each cut short to meet it; those without words are left out. The
    interval rests on the variance between null books, of the pair's generations, and of
    the null's instructions. error: of the pair's BMC over all its rounds; its variance
    is taken if larger, and its upper end. index: of this book with this `scoring`
    alone, if already built. remaining: the book's words that no text excuses; only
    they count.

    Returns None if the pair, or every null book, has no words. Raises BookError for a
    book that cannot be measured, SettingsError for a confidence outside [0, 1). Memory:
    the texts of `own`, and no more for each null book.
    """
    counter = OverlapCounter(book, scoring, index, remaining)
    order = random.Random(seed)  # noqa: S311 - a seeded choice, no secret
    own_answers, words = counter.shuffled(own, order, at_most=math.inf)
    null_answers: dict[str, list[ShuffledAnswer]] = {}
    for book_id, answers in nulls.items():
        shuffled, null_words = counter.shuffled(answers, order, at_most=words)
        if shuffled:
            null_answers[book_id] = shuffled
            words = min(words, null_words)
    if not (own_answers and null_answers):
        return None
    own_cut = cut_to_words(own_answers, words)
    own_overlap = _overlap_by_generation(counter, own_cut)
    null_overlaps = {}
    for book_id, shuffled in null_answers.items():
        null_overlaps[book_id] = _null_overlap(counter, shuffled, words)
    return _null_of_overlaps(
        own=own_overlap,
        nulls=null_overlaps,
        words=words,
        scoring=scoring,
        error=error,
        confidence=confidence,
    )


def _null_overlap(
    counter: OverlapCounter,
    answers: list[ShuffledAnswer],
    words: int,
) -> Overlap:
    """Count a null book's first words, by instruction if these are many enough."""
    first = cut_to_words(answers, words)
    if not has_enough_instructions(answers):
        return _overlap_by_generation(counter, first)
    instructions = [answer.instruction for answer in first]
    return counter.overlap(first, instructions)


def _overlap_by_generation(
    counter: OverlapCounter,
    answers: list[ShuffledAnswer],
) -> Overlap:
    numbers = [answer.number for answer in answers]
    return counter.overlap(answers, numbers)


def _null_of_overlaps(
    own: Overlap,
    nulls: Mapping[str, Overlap],
    words: int,
    scoring: Scoring,
    *,
    error: SamplingError | None,
    confidence: float,
) -> ChanceLevel:
    """Compare the overlap of a pair's generations with the null books'."""
    bmc = own.counts.bmc
    null_books = [
        NullBook(
            book_id=book_id,
            bmc=null.counts.bmc,
            longest_span=null.longest_span,
        )
        for book_id, null in nulls.items()
    ]
    null_bmcs = np.array([null.bmc for null in null_books])
    null_bmc = float(null_bmcs.mean())
    excess = bmc - null_bmc
    of_own = spread(own.counts, scoring=scoring)
    own_variances = [of_own.variance]
    own_bounds = bmc_bounds(bmc, of_own, confidence=confidence)
    own_high = own_bounds.high
    if error:
        own_variances.append(error.variance)
        own_high = error.high
    known_variances = _without_none(own_variances)
    low, high = _excess_bounds(
        excess,
        null_bmcs,
        own=max(known_variances, default=None),
        within=_mean_variance(nulls.values()),
        confidence=confidence,
    )
    if high is not None:
        high = max(excess, min(high, own_high))
    floor = scoring.k / own.counts.words
    chance = _chance_of_a_match(bmc + floor, null_bmcs + floor, confidence)
    return ChanceLevel(
        words=words,
        bmc=bmc,
        books=tuple(null_books),
        null_bmc=null_bmc,
        null_longest_span=max(null.longest_span for null in null_books),
        excess=excess,
        low=low,
        high=high,
        own_high=own_high,
        p=chance.p,
        visible=chance.visible,
        confidence=confidence,
    )


def _mean_variance(nulls: Iterable[Overlap]) -> float | None:
    """Return the mean of the null books' jackknife variances; None if none has one."""
    variances = []
    for null in nulls:
        lost = null.counts.alone / null.counts.words
        variances.append(jackknife_variance(lost))
    known_variances = _without_none(variances)
    return fmean(known_variances) if known_variances else None


def _without_none(variances: Iterable[float | None]) -> list[float]:
    return [variance for variance in variances if variance is not None]


def _excess_bounds(
    excess: float,
    nulls: Floats,
    *,
    own: float | None,
    within: float | None,
    confidence: float,
) -> tuple[float, float] | tuple[None, None]:
    """Return excess ± t sqrt(V_own + mean V_null / b + s² (1 + 1 / b)).

    nulls: BMC of each of the b null books; s² is their variance. own: V_own; within:
    mean V_null. None with fewer than two null books.
    """
    b = len(nulls)
    if normal_quantile(confidence) == 0:
        return excess, excess
    if b < _LEAST_NULLS:
        return None, None
    if own is None or within is None:
        return -1.0, 1.0
    t = student_quantile(confidence, b - 1)
    variance = float(nulls.var(ddof=1))
    between = variance * (1 + 1 / b)
    width = t * math.sqrt(own + within / b + between)
    low = max(excess - width, -1.0)
    high = min(excess + width, 1.0)
    return low, high


class _Chance(NamedTuple):
    """The p of "no excess", and the visible multiple of chance (`ChanceLevel`)."""

    p: float | None
    visible: float | None


def _chance_of_a_match(
    own: float,
    nulls: Floats,
    confidence: float,
) -> _Chance:
    """Return the probability that the next null book matches the pair.

    Student's t of the logarithms, since what moves a null (genre, period) multiplies
    it. own, nulls: BMC above 0.
    """
    b = len(nulls)
    if b < _LEAST_NULLS:
        return _Chance(None, None)
    logarithms = np.log(nulls)
    rise = math.log(own) - float(logarithms.mean())
    deviation = float(logarithms.std(ddof=1))
    scale = deviation * math.sqrt(1 + 1 / b)
    freedom = b - 1
    p = student_tail(_rise_over_scale(rise, scale), freedom)
    two_sided = max(2 * confidence - 1, 0.0)
    t = student_quantile(two_sided, freedom)
    return _Chance(p, visible=math.exp(t * scale))


def _rise_over_scale(rise: float, scale: float) -> float:
    """Return rise / scale; infinite, or 0, where nulls don't differ."""
    if scale:
        return rise / scale
    if rise:
        return math.copysign(math.inf, rise)
    return 0.0
