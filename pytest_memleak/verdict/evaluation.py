"""The evaluation of one pair, as a record for reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_memleak.records import (
        Book,
        Completeness,
        Generation,
        Issue,
        Measurement,
        Origin,
        Pair,
        Verdict,
        VerdictResult,
    )
    from pytest_memleak.records.extraction_facts import ExtractionFacts
    from pytest_memleak.records.measurement import DetectionSummary
    from pytest_memleak.records.pair_result import (
        CatalogSummary,
        PromptFacts,
        SampledCount,
        ScanScope,
        SecondOpinionCounts,
    )
    from pytest_memleak.records.probability_facts import ProbabilityFacts
    from pytest_memleak.records.prompt_rates import PromptRate
    from pytest_memleak.records.provenance import Provenance
    from pytest_memleak.scoring.analysis import Analysis


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evaluation of one pair: what reports show, without most of its generations.

    book, measurement, analysis: None without evidence
    job: the id of the fine-tune behind the endpoint
    spared: what an early stop didn't sample
    detection: what its rounds can detect
    second_opinion: numbers of generations matched again, and of differences
    provenance: who generated the samples
    as_of: the time up to which the ledger was read
    sampled: counts of everything that it rests on, the pair's own first
    protected: the books that hold a passage of it, by their names in the analysis
    scan_scope: the books that were scanned; None where nothing was measured
    catalog: summary of the catalog; None without one
    unread: why books weren't scanned
    book_file: SHA-256 of the book's file; None without one
    generations: reads the generations again, from the ledger or their file
    near_verbatim: those with the near-verbatim passages that reports quote
    prompts: what was prompted of the book
    extraction: what an extraction tried; None for other probes
    prompt_rates: how often each named prompt brought a long passage
    probability: how likely the model is to write the book, measured beside
    """

    suite: str
    suite_digest: str
    pair: Pair
    verdict_result: VerdictResult
    completeness: Completeness
    book: Book | None = None
    endpoint: str | None = None
    job: str | None = None
    measurement: Measurement | None = None
    analysis: Analysis | None = None
    spared: str | None = None
    detection: DetectionSummary | None = None
    second_opinion: SecondOpinionCounts | None = None
    provenance: Provenance | None = None
    as_of: float | None = None
    sampled: tuple[SampledCount, ...] = ()
    protected: Mapping[str, Book] = field(default_factory=dict, repr=False)
    scan_scope: ScanScope | None = None
    catalog: CatalogSummary | None = None
    unread: tuple[Issue, ...] = ()
    book_file: str | None = None
    generations: Callable[[], Iterable[Generation]] = field(default=tuple, repr=False)
    near_verbatim: Mapping[tuple[Origin, str, int], Generation] = field(
        default_factory=dict,
        repr=False,
    )
    prompts: PromptFacts | None = None
    extraction: ExtractionFacts | None = None
    prompt_rates: tuple[PromptRate, ...] = ()
    probability: ProbabilityFacts | None = None

    @property
    def verdict(self) -> Verdict:
        """PASS, FAIL or INCONCLUSIVE (docs/method.md)."""
        return self.verdict_result.verdict
