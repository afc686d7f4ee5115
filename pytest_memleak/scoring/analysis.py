"""Everything that is computed of a pair's generations in one pass over their text."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.records import Estimate, Measurement, Origin
from pytest_memleak.scoring.generation_tally import tallied
from pytest_memleak.scoring.measure_table import MEASURES, OF_PASSAGES
from pytest_memleak.scoring.measures import (
    WorkMeasures,
    measured_works,
    measurement,
    round_agreement,
)
from pytest_memleak.scoring.near_verbatim import NearVerbatimRecall, NearVerbatimTally
from pytest_memleak.scoring.null_books import Null, Uplift
from pytest_memleak.scoring.protected_passages import ProtectedPassages
from pytest_memleak.scoring.rounds import RoundCounts, Rounds
from pytest_memleak.scoring.sampling_error import (
    Range,
    SamplingError,
    block_range,
    maximum_range,
    sampling_error,
)
from pytest_memleak.scoring.span_sources import CrossExcerpt, cross_excerpt_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.extraction import Extraction
    from pytest_memleak.scoring.generation_tally import Count, Tally
    from pytest_memleak.scoring.protected_passages import Protected


class SpansByRound(NamedTuple):
    """Spans with the own excerpt, of each round as if it were alone; shape (n,) each.

    longest: the words of its longest; over: how many distinct ones are longer than T
    by_excerpt: the words of the longest for each excerpt, in all rounds; shape (E,)
    """

    longest: tuple[int, ...]
    over: tuple[int, ...]
    by_excerpt: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one pass over a pair's generations tells.

    error:     sampling error of BMC (METRICS section 6)
    counts:    what it rests on: rounds per word of the book
    agreement: self-agreement of the first and second half of the rounds (section 5)
    cross:     where spans came from (section 4)
    lengths:   how many runs with the own excerpt there are of each length
    own_spans: what each round alone gives of its own excerpts, and what each excerpt gives
    own_runs:  what runs of each round cover of their own excerpts, untrimmed
    passages:  any passage of any protected book (section 11)
    ranges:    where another n rounds are likely to have the longest block, span and passages
    near:      near-verbatim recall (section 8), where a limit asks for it
    null, uplift: comparisons (section 7), where they can be had and a limit or baseline asks
    greedy:    the measures of the likeliest continuations alone, where the probe asks for them
    further:   the measures of extensions, where a limit asks for them
    works:     those of a collection, each by itself
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
    null: Null | None = None
    uplift: Uplift | None = None
    greedy: Measurement | None = None
    further: Mapping[str, float] = field(default_factory=dict)
    works: WorkMeasures | None = None


def analyse(
    book: Book,
    generations: Iterable[Generation],
    scoring: Scoring,
    *,
    confidence: float = 0.95,
    near: bool = False,
    protected: Protected | None = None,
    limits: Mapping[str, float] = MappingProxyType({}),
    count: Count = tallied,
) -> Analysis | None:
    """Measure the generations and how far the measures can be trusted; None without sampled ones.

    Passages are looked for in every generation, all else is of the sampled rounds.

    near: whether to look for near-verbatim spans too, which takes far longer than the rest.
    protected: the run's books and their index; without it, passages are looked for in `book`.
    limits: those that each work of a collection is held against.
    count: who matches and counts the generations, in other processes perhaps.
    Raises as `measure` does.
    """
    nearly = NearVerbatimTally(book) if near else None
    watched = nearly.watch(generations) if nearly else generations
    tally = count(book, scoring, watched, **({"protected": protected} if protected else {}))
    if not tally.counted.generations:
        return None
    analysis = analysis_of(tally, scoring, confidence=confidence)
    if book.works and analysis.passages:
        measured = analysis.measurement, analysis.passages
        analysis = replace(analysis, works=measured_works(book, tally, *measured, limits))
    return replace(analysis, near=nearly.recall()) if nearly else analysis


def analysis_of(tally: Tally, scoring: Scoring, *, confidence: float = 0.95) -> Analysis:
    """What is told by a tally, with its own settings, that has counted a generation or more."""
    words, n = tally.layout.total, tally.counted.rounds
    rounds = tally.rounds()
    borders = (start for start, _ in tally.layout.bounds.values())
    counts = rounds.counts(words=words, n=n, borders=borders, by_excerpt=tally.covered_by_excerpt())
    error = sampling_error(counts, scoring=scoring, confidence=confidence)
    passages = tally.passages()
    return Analysis(
        measurement=measurement(tally, scoring, rounds),
        error=error,
        counts=counts,
        agreement=round_agreement(rounds, words=words, n=n),
        cross=cross_excerpt_of(tally.layout, *tally.matches()),
        lengths=dict(sorted(tally.counted.own_lengths.items())),
        own_spans=SpansByRound(
            longest=tuple(tally.longest_by_round().tolist()),
            over=tuple(
                tally.over_by_round(over=max(scoring.span_threshold, scoring.k - 1)).tolist()
            ),
            by_excerpt=tuple(tally.longest_by_excerpt().tolist()),
        ),
        own_runs=tally.own_rounds(),
        passages=passages,
        ranges=dict(_ranges(tally, rounds, passages, typical=error.typical * words)),
    )


def _ranges(
    tally: Tally, rounds: Rounds, passages: ProtectedPassages | None, *, typical: float
) -> Iterator[tuple[str, Range]]:
    """The ranges of the maxima that lie in the sampled rounds; typical: a typical span's words."""
    if passages:
        for name, by_round, most in (
            ("longest_passage", passages.by_round, tally.most_recited(near=False)),
            ("nv_longest_passage", passages.nv_by_round, tally.most_recited(near=True)),
        ):
            if passages.longest[name].origin is Origin.SAMPLED:
                yield name, maximum_range(by_round, typical=typical, most=most)
    layout = tally.layout
    yield (
        "longest_block",
        block_range(
            rounds,
            n=tally.counted.rounds,
            borders=layout.borders,
            typical=typical,
            words=layout.total,
        ),
    )
    longest_excerpt = max(end - start for start, end in layout.bounds.values())
    yield (
        "longest_span",
        maximum_range(tally.longest_by_round(), typical=typical, most=longest_excerpt),
    )


def estimates(analysis: Analysis | Extraction) -> dict[str, Estimate]:
    """Every measure of the table that can be had, by name, and those of extensions.

    What is no finite number is no measure: it could be held against no limit.
    """
    values = {
        name: estimate
        for name, row in MEASURES.items()
        if (estimate := row.estimate(analysis)) is not None
    }
    further = analysis.further if isinstance(analysis, Analysis) else {}
    return values | {
        name: Estimate(value, value, value)
        for name, value in further.items()
        if math.isfinite(value)
    }


def judged_measures(analysis: Analysis | Extraction) -> dict[str, Estimate]:
    """The measures that limits of the pair are held against: all of them, where it is of a book.

    Of a collection most limits are on each of its works, and hold for the pair by their share.
    """
    values = estimates(analysis)
    works = analysis.works if isinstance(analysis, Analysis) else None
    return works.held(values) if works else values


def judged_apart(
    analysis: Analysis | Extraction,
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """The judged measures of the pair's own book, and of all others where its own is excused.

    Elsewhere the former are all of them, and the latter none (METRICS section 7).
    """
    judged = judged_measures(analysis)
    passages = analysis.passages if isinstance(analysis, Analysis) else None
    own, others = (
        {name: Estimate(value, value, value) for name, value in values.items()}
        for values in (passages.apart() if passages else ({}, {}))
    )
    if not own:
        return judged, {}
    of_book = {name: estimate for name, estimate in judged.items() if name not in OF_PASSAGES}
    # A collection's own are held against limits work by work.
    return of_book | ({} if isinstance(analysis, Analysis) and analysis.works else own), others


def by_round(analysis: Analysis) -> dict[str, tuple[int, ...]]:
    """Per measure, what each round alone shows of it, where releases can be compared in it.

    By name; of shares in whole words. METRICS section 7.
    """
    return {
        name: tuple(row.by_round(analysis))
        for name, row in MEASURES.items()
        if row.by_round and getattr(analysis, row.needs.part) is not None
    }
