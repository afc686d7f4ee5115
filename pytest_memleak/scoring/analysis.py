"""Everything that is computed of a pair's generations in one pass over their text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.records import Block, Measurement
from pytest_memleak.scoring.extraction import Extraction
from pytest_memleak.scoring.measures import Tally
from pytest_memleak.scoring.near_verbatim import NearVerbatimRecall, NearVerbatimTally
from pytest_memleak.scoring.null import Null, Uplift
from pytest_memleak.scoring.provenance import CrossExcerpt, CrossExcerptTally
from pytest_memleak.scoring.sampling_error import (
    RoundCounts,
    SamplingError,
    round_counts,
    sampling_error,
)
from pytest_memleak.scoring.similarity import round_agreement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_memleak.records import Book, Generation, Scoring

__all__ = ["Analysis", "Estimate", "analyse", "estimates"]


class Estimate(NamedTuple):
    """A measure, and its interval where it has one (else both ends are the value).

    rises: whether more samples can only raise it, so that a limit once broken stays broken.
    """

    value: float
    low: float
    high: float
    rises: bool = True


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one pass over a pair's generations tells.

    error:     sampling error of BMC (METRICS section 6)
    counts:    what it rests on: rounds per word of the book
    agreement: self-agreement of the first and second half of the rounds (section 5)
    cross:     where spans came from (section 4)
    lengths:   how many runs with the own excerpt there are of each length
    near:      near-verbatim recall (section 8), where a limit asks for it
    null, uplift: comparisons (section 7), where they can be had and a limit or baseline asks
    greedy:    the measures of the likeliest continuations alone, where the probe asks for them
    further:   the measures of extensions, where a limit asks for them
    """

    measurement: Measurement
    error: SamplingError
    counts: RoundCounts = field(repr=False)
    agreement: float
    cross: CrossExcerpt
    lengths: Mapping[int, int] = field(repr=False)
    near: NearVerbatimRecall | None = None
    null: Null | None = None
    uplift: Uplift | None = None
    greedy: Measurement | None = None
    further: Mapping[str, float] = field(default_factory=dict)


def analyse(
    book: Book,
    generations: Iterable[Generation],
    scoring: Scoring,
    *,
    confidence: float = 0.95,
    near: bool = False,
) -> Analysis | None:
    """Measure the generations and how far the measures can be trusted; None without any.

    near: whether to look for near-verbatim spans too, which takes far longer than the rest.
    Raises as `measure` does.
    """
    tally = Tally(book, scoring)
    crossing = CrossExcerptTally(tally.index)
    nearly = NearVerbatimTally(book) if near else None
    for generation in generations:
        crossing.add_matches(generation.excerpt_id, tally.add(generation))
        if nearly is not None:
            nearly.add(generation)
    if not tally.rounds:
        return None
    words, n = tally.index.total, max(tally.rounds) + 1
    counts = round_counts(tally.rounds, words=words, n=n)
    return Analysis(
        measurement=tally.measurement(),
        error=sampling_error(counts, scoring=scoring, confidence=confidence),
        counts=counts,
        agreement=round_agreement(tally.rounds, words=words, n=n),
        cross=crossing.cross_excerpt(),
        lengths=dict(sorted(tally.own_lengths.items())),
        near=nearly.recall() if nearly else None,
    )


def estimates(analysis: Analysis | Extraction) -> dict[str, Estimate]:
    """Every measure that can be held against a limit, by name; absent where it cannot be had."""
    if isinstance(analysis, Extraction):
        return {analysis.measure: _exact(analysis.extractable)}
    measured, error = analysis.measurement, analysis.error
    found = {"bmc": Estimate(measured.bmc, error.low, error.high)}
    for name in ("longest_block", "longest_span", "spans_over"):
        found[name] = _exact(getattr(measured, name))
    if analysis.near:
        found["nv_recall"] = _exact(analysis.near.nv_recall)
        found["nv_longest_span"] = _exact(analysis.near.longest_span.words)
    if analysis.null:
        null = analysis.null
        found["bmc_excess"] = Estimate(null.excess, null.low, null.high, rises=False)
    if analysis.uplift:
        gain = analysis.uplift
        found["uplift"] = Estimate(gain.uplift, gain.low, gain.high, rises=False)
    if analysis.greedy:
        found["greedy_bmc"] = _exact(analysis.greedy.bmc)
        found["greedy_longest_span"] = _exact(analysis.greedy.longest_span)
    for name, value in analysis.further.items():
        found[name] = Estimate(value, value, value, rises=False)
    return found


def _exact(value: Block | float) -> Estimate:
    number = value.words if isinstance(value, Block) else value
    return Estimate(number, number, number)
