"""One pair, evaluated: the record that reports speak of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_memleak.records import (
        Book,
        Completeness,
        Generation,
        Measurement,
        Pair,
        Verdict,
        VerdictResult,
    )
    from pytest_memleak.records.measurement import DetectionSummary
    from pytest_memleak.records.pair_result import SampledCount, ScanScope
    from pytest_memleak.records.provenance import Provenance
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.extraction import Extraction


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One pair, evaluated: everything that reports speak of.

    book, measurement and analysis are None where the evidence could not be had; with the probe
    "probability" there is an extraction in place of the last two.
    job: id of the fine-tune behind the endpoint; spared: what an early stop did not draw;
    protected: the books that hold a passage of it, by the name that the analysis gives them;
    scan_scope: those of the suite that might have, None where nothing was measured;
    catalog: what of books that nobody asks for was looked for, None without a catalog; unread:
    the books that could not be looked for, and why;
    detection: what its rounds can show; second_opinion: how many generations it is on, and its
    differences;
    provenance: who gave the answers; as_of: up to when its ledger was read;
    sampled: all that it rests on, counted, the pair's own first;
    generations: these answers themselves, fresh with each call;
    book_file: SHA-256 of the book's file, None where there is none to read.
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
    extraction: Extraction | None = None
    spared: str | None = None
    detection: DetectionSummary | None = None
    second_opinion: Mapping[str, int] | None = None
    provenance: Provenance | None = None
    as_of: float | None = None
    sampled: tuple[SampledCount, ...] = ()
    protected: Mapping[str, Book] = field(default_factory=dict, repr=False)
    scan_scope: ScanScope | None = None
    catalog: Mapping[str, object] | None = None
    unread: tuple[str, ...] = ()
    book_file: str | None = None
    generations: Callable[[], Iterable[Generation]] = field(default=tuple, repr=False)

    @property
    def verdict(self) -> Verdict:
        """PASS, FAIL or INCONCLUSIVE (METRICS section 10)."""
        return self.verdict_result.verdict
