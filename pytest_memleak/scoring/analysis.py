"""The analysis of a pair's generations, computed in one pass over their text."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.records import Estimate, Measurement, Origin
from pytest_memleak.scoring.coverage_similarity import round_agreement
from pytest_memleak.scoring.excused_words import placed_in_book
from pytest_memleak.scoring.four_measures import measurement_of_tally
from pytest_memleak.scoring.generation_tally import tally_generations
from pytest_memleak.scoring.maximum_ranges import Range, block_range, maximum_range
from pytest_memleak.scoring.measure_table import (
    GENERATIONS,
    LONGEST_BLOCK,
    LONGEST_PASSAGE,
    LONGEST_SPAN,
    MEASURES,
    NV_LONGEST_PASSAGE,
    OF_PASSAGES,
)
from pytest_memleak.scoring.null_books import ChanceLevel
from pytest_memleak.scoring.nv_recall import NearVerbatimRecall, NearVerbatimTally
from pytest_memleak.scoring.protected_passages import ProtectedPassages
from pytest_memleak.scoring.rounds import RoundCounts, Rounds
from pytest_memleak.scoring.sampling_error import SamplingError, sampling_error
from pytest_memleak.scoring.span_sources import CrossExcerpt, cross_excerpt_of_matches
from pytest_memleak.scoring.work_measures import WorkMeasures, measure_works

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.excused_words import RemainingWords
    from pytest_memleak.scoring.extracted_words import ExtractedWords
    from pytest_memleak.scoring.generation_tally import Count, Tally
    from pytest_memleak.scoring.protected_passages import Protected
    from pytest_memleak.scoring.text_batches import Batch

    PromptedOtherwise = tuple[Book, Iterable[Generation | Batch]]


class SpansByRound(NamedTuple):
    """Spans with the prompted excerpt, of each round as if alone; shape (n,) each.

    longest:    words of the round's longest span
    over:       number of its distinct spans over `effective_threshold` words
    by_excerpt: words of the longest span per excerpt, over all rounds; shape (E,)
    """

    longest: tuple[int, ...]
    over: tuple[int, ...]
    by_excerpt: tuple[int, ...]


class WithoutExcusedWords(NamedTuple):
    """What limits apply to where texts excuse words of the book: the other words.

    Fields as in `Analysis`; blocks and spans have their places in the whole book, and
    as many words as remain of them.

    words: which of the book's they are
    excused_by: how many of its other words each text holds
    """

    measurement: Measurement
    error: SamplingError
    counts: RoundCounts
    own_spans: SpansByRound
    ranges: Mapping[str, Range]
    words: RemainingWords
    excused_by: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Analysis:
    """The results of one pass over a pair's generations.

    Passages, null, uplift, works, and greedy measures are without excused words.

    error:     sampling error of BMC (docs/method.md)
    counts:    its basis: rounds per word of the book
    agreement: self-agreement of the first and second half of the rounds
    cross:     source excerpts of spans
    lengths:   number of runs with the prompted excerpt, per length
    own_spans: spans with the prompted excerpt, per round and per excerpt
    own_runs:  words of their prompted excerpts that each round covers, untrimmed
    passages:  passages of any protected book
    ranges:    likely range of the longest block, span, and passages in another n rounds
    near:      near-verbatim recall, if a limit needs it
    null, uplift: comparisons, if available and a limit or baseline needs them
    greedy:    measures of the greedy continuations alone, if the probe requests them
    further:   measures of extensions, if a limit needs them
    passages_of_other_attempts: each attempt alone
    works:     measures of a collection's works
    remaining: the measures without excused words; None where no text excuses any
    extraction: what a conversation extracted, if the probe is one
    """

    measurement: Measurement
    error: SamplingError
    counts: RoundCounts = field(repr=False)
    agreement: float
    cross: CrossExcerpt
    lengths: Mapping[int, int] = field(repr=False)
    own_spans: SpansByRound = field(repr=False)
    own_runs: Rounds = field(repr=False)
    passages: ProtectedPassages | None = None
    ranges: Mapping[str, Range] = field(default_factory=dict)
    near: NearVerbatimRecall | None = None
    null: ChanceLevel | None = None
    uplift: Estimate | None = None
    greedy: Measurement | None = None
    further: Mapping[str, float] = field(default_factory=dict)
    passages_of_other_attempts: tuple[ProtectedPassages, ...] = ()
    works: WorkMeasures | None = None
    remaining: WithoutExcusedWords | None = field(default=None, repr=False)
    extraction: ExtractedWords | None = None

    @property
    def without_excused_words(self) -> Analysis:
        """Return the analysis of the words that limits apply to."""
        remaining = self.remaining
        if remaining is None:
            return self
        return replace(
            self,
            measurement=remaining.measurement,
            error=remaining.error,
            counts=remaining.counts,
            own_spans=remaining.own_spans,
            ranges={**self.ranges, **remaining.ranges},
        )


def analyze(
    book: Book,
    generations: Iterable[Generation | Batch],
    scoring: Scoring,
    *,
    confidence: float = 0.95,
    near: bool = False,
    protected: Protected | None = None,
    limits: Mapping[str, float] = MappingProxyType({}),
    count: Count = tally_generations,
    other_attempts: Iterable[PromptedOtherwise] = (),
) -> Analysis | None:
    """Measure the generations and their uncertainty; None if no generation was sampled.

    Passages are sought in every generation; all other measures use the sampled rounds.

    near: whether to find near-verbatim spans too, which takes far longer than the rest.
    protected: the run's books and their index; without it, passages are sought in
    `book`.
    limits: the limits of each work of a collection.
    count: the function that matches and counts the generations, perhaps in other
    processes.
    other_attempts: of which only passages count: the book with their instructions, and
    the generations, none of them sampled. Raises as `measure` does.
    """
    near_tally = NearVerbatimTally(book) if near else None
    if near_tally:
        generations = near_tally.pass_through(generations)
    if protected:
        tally = count(book, scoring, generations, protected=protected)
    else:
        tally = count(book, scoring, generations)
    if not tally.counted.generations:
        return None
    passages = list(
        _add_passages_of_other_prompts(tally, other_attempts, protected, count)
    )
    analysis = analysis_of(tally, confidence=confidence)
    analysis = replace(analysis, passages_of_other_attempts=tuple(passages))
    if book.works and analysis.passages:
        counted = tally.without_excused_words() or tally
        measured = measurement_of_tally(counted)
        works = measure_works(book, counted, measured, analysis.passages, limits)
        analysis = replace(analysis, works=works)
    if near_tally:
        analysis = replace(analysis, near=near_tally.recall())
    return analysis


def _add_passages_of_other_prompts(
    tally: Tally,
    other_attempts: Iterable[PromptedOtherwise],
    protected: Protected | None,
    count: Count,
) -> Iterator[ProtectedPassages]:
    """Add the passages of generations that had other instructions; yield each set's.

    Each text is trimmed by its own instruction.
    """
    for book, generations in other_attempts:
        theirs = count(book, tally.scoring, generations, protected=protected)
        passages = theirs.passages()
        if passages:
            yield passages
        tally.counted.passages.add(theirs.counted.passages)


def analysis_of(tally: Tally, *, confidence: float = 0.95) -> Analysis:
    """Build the analysis from a tally of at least one generation."""
    words = tally.layout.total
    n = tally.counted.rounds
    rounds = tally.rounds()
    counts = _round_counts(tally, rounds)
    error = sampling_error(counts, scoring=tally.scoring, confidence=confidence)
    passages = tally.passages()
    own_lengths = sorted(tally.counted.own_lengths.items())
    remaining = _measured_without_excused_words(tally, confidence)
    typical_words = error.typical * words
    if remaining:
        typical_words = remaining.error.typical * remaining.counts.words
    ranges: dict[str, Range] = {}
    if passages:
        ranges |= _passage_ranges(tally, passages, typical_words)
    ranges |= _block_and_span_ranges(tally, rounds, error.typical * words)
    return Analysis(
        measurement=measurement_of_tally(tally, rounds),
        error=error,
        counts=counts,
        agreement=round_agreement(rounds, words=words, n=n),
        cross=cross_excerpt_of_matches(tally.layout, *tally.matches()),
        lengths=dict(own_lengths),
        own_spans=_spans_by_round(tally),
        own_runs=tally.own_rounds(),
        passages=passages,
        ranges=ranges,
        remaining=remaining,
    )


def _round_counts(tally: Tally, rounds: Rounds) -> RoundCounts:
    return rounds.counts(
        words=tally.layout.total,
        n=tally.counted.rounds,
        excerpt_starts=tally.layout.starts,
        by_excerpt=tally.covered_by_excerpt(),
    )


def _measured_without_excused_words(
    tally: Tally, confidence: float
) -> WithoutExcusedWords | None:
    """Measure the words that no text excuses; None where none is excused."""
    counted = tally.without_excused_words()
    if counted is None or tally.remaining is None:
        return None
    rounds = counted.rounds()
    counts = _round_counts(counted, rounds)
    error = sampling_error(counts, scoring=counted.scoring, confidence=confidence)
    ranges = _block_and_span_ranges(counted, rounds, error.typical * counts.words)
    return WithoutExcusedWords(
        measurement=placed_in_book(
            measurement_of_tally(counted, rounds),
            tally.remaining,
            tally.layout,
        ),
        error=error,
        counts=counts,
        own_spans=_spans_by_round(counted),
        ranges=dict(ranges),
        words=tally.remaining,
        excused_by=tally.excused_by,
    )


def _spans_by_round(tally: Tally) -> SpansByRound:
    longest = tally.longest_own_run_by_round()
    over = tally.spans_by_round()
    # Prompts that request no excerpt have no spans of their own.
    by_excerpt = tally.longest_own_run_by_excerpt()[: len(tally.layout.excerpt_starts)]
    return SpansByRound(
        longest=tuple(longest.tolist()),
        over=tuple(over.tolist()),
        by_excerpt=tuple(by_excerpt.tolist()),
    )


def _passage_ranges(
    tally: Tally,
    passages: ProtectedPassages,
    typical_words: float,
) -> Iterator[tuple[str, Range]]:
    """Yield the ranges of the longest passages that sampled generations have.

    typical_words: of a typical span
    """
    for name, by_round, near in (
        (LONGEST_PASSAGE.name, passages.by_round, False),
        (NV_LONGEST_PASSAGE.name, passages.nv_by_round, True),
    ):
        longest = passages.longest[name]
        if longest.origin is not Origin.SAMPLED:
            continue
        most = tally.most_passage_words(near=near)
        range_of_passage = maximum_range(by_round, typical=typical_words, most=most)
        yield name, range_of_passage


def _block_and_span_ranges(
    tally: Tally,
    rounds: Rounds,
    typical_words: float,
) -> Iterator[tuple[str, Range]]:
    """Yield the ranges of the longest block and span.

    typical_words: of a typical span
    """
    layout = tally.layout
    range_of_block = block_range(
        rounds,
        n=tally.counted.rounds,
        borders=layout.borders,
        typical=typical_words,
        words=layout.total,
    )
    yield LONGEST_BLOCK.name, range_of_block
    range_of_span = maximum_range(
        tally.longest_own_run_by_round(),
        typical=typical_words,
        most=int(layout.lengths.max()),
    )
    yield LONGEST_SPAN.name, range_of_span


def estimates(analysis: Analysis) -> dict[str, Estimate]:
    """Return every available measure of the table, by name, and those of extensions.

    A value that is not finite is left out: no limit could apply to it.
    """
    values = {}
    for name, row in MEASURES.items():
        estimate = row.estimate(analysis)
        if estimate is not None:
            values[name] = estimate
    for name, value in analysis.further.items():
        if math.isfinite(value):
            values[name] = Estimate.exact(value)
    return values


def judged_measures(analysis: Analysis) -> dict[str, Estimate]:
    """Return what the pair's limits apply to.

    Of a collection, most limits apply to each work instead.
    """
    values = estimates(analysis.without_excused_words)
    if not analysis.works:
        return values
    return analysis.works.measures_judged_as_a_whole(values)


def judged_measures_of_own_book_and_others(
    analysis: Analysis,
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Return the judged measures of the pair's own book, and of all others.

    They are apart only if the own book is excused; otherwise the first dict holds all
    of them, and the second is empty (docs/method.md).
    """
    judged = judged_measures(analysis)
    if not analysis.passages:
        return judged, {}
    of_own_book, of_others = analysis.passages.measures_of_own_book_and_others()
    if not of_own_book:
        return judged, {}
    own = {name: row for name, row in judged.items() if name not in OF_PASSAGES}
    if not analysis.works:  # whose limits apply work by work
        own |= _exact_estimates(of_own_book)
    return own, _exact_estimates(of_others)


def _exact_estimates(values: Mapping[str, float]) -> dict[str, Estimate]:
    return {name: Estimate.exact(value) for name, value in values.items()}


def measures_with_excused_words(analysis: Analysis) -> dict[str, float]:
    """Return measures with excused words, by name; none where none is excused.

    Those of the paper, which excuses nothing, and those of passages.
    """
    values: dict[str, float] = {}
    if analysis.remaining is not None:
        of_paper = [row for row in MEASURES.values() if row.needs is GENERATIONS]
        whole = {row.name: row.estimate(analysis) for row in of_paper}
        values = {name: row.value for name, row in whole.items() if row is not None}
    if analysis.passages:
        values |= analysis.passages.whole
    return {name: values[name] for name in MEASURES if name in values}


def values_by_round(analysis: Analysis) -> dict[str, tuple[int, ...]]:
    """Return each round's values of the measures that releases are compared in.

    By name, each round as if alone; shares in whole words (docs/method.md).
    """
    values = {}
    analysis = analysis.without_excused_words
    for name, row in MEASURES.items():
        if row.by_round is None:
            continue
        part = getattr(analysis, row.needs.part)
        if part is not None:
            values[name] = tuple(row.by_round(analysis))
    return values
