"""Numbers behind the figures: maps, span counts, overlaps of models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pytest_memleak.records import Estimate
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.evidence_table import columns_of
from pytest_memleak.results.coverage_map import decode_times
from pytest_memleak.scoring.measure_table import BMC, LONGEST_BLOCK
from pytest_memleak.scoring.measures import compare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records.plot_records import CoverageMap
    from pytest_memleak.reports.evidence_table import Evidence

    Books = Mapping[str, Sequence["PlottedPair"]]


@dataclass(frozen=True, slots=True)
class PlottedPair:
    """A pair with a coverage map.

    label:    its model, distinct among the pairs of the book
    coverage: its map; times: for each word of the book, the rounds that cover it; (N,)
    bmc, limit: BMC with its interval, and its limit, if any
    block:    first word and end of the longest block, None without one
    agreement: the model's self-agreement
    """

    label: str
    bmc: Estimate
    limit: float | None
    threshold: int
    coverage: CoverageMap = field(repr=False)
    times: NDArray[np.intc] = field(repr=False)
    block: tuple[int, int] | None
    agreement: float | None


def plotted_pairs(evidence: Evidence) -> dict[str, list[PlottedPair]]:
    """Collect the pairs with a coverage map, by the titles of their books.

    Raises EvidenceError for a map that doesn't fit its book.
    """
    books: dict[str, list[PlottedPair]] = {}
    labels = columns_of(evidence.rows)
    for (_, pair), row, label in zip(evidence.pairs, evidence.rows, labels, strict=True):
        if (coverage := pair.coverage) is None:
            continue
        measures = pair.measures
        block = measures.get(LONGEST_BLOCK.name, {})
        start, end = block.get("start"), block.get("end")
        drawn = PlottedPair(
            label=inert(label),
            bmc=Estimate(*(row[f"{BMC.name}{end}"] for end in ("", "_low", "_high"))),
            limit=row.get(f"{BMC.name}_limit"),
            threshold=pair.settings["span_threshold"],
            coverage=coverage,
            times=decode_times(coverage),
            block=None if start is None or end is None else (start, end),
            agreement=measures.get("self_agreement", {}).get("value"),
        )
        books.setdefault(inert(evidence.titles[row["book"]]), []).append(drawn)
    return books


def span_counts(pair: PlottedPair) -> tuple[list[int], list[int]]:
    """List the distinct lengths of spans over T, and how many spans are at least that long."""
    spans = np.sort([span.end - span.start for span in pair.coverage.spans]).astype(int)
    lengths, first = np.unique(spans, return_index=True)
    return lengths.tolist(), (len(spans) - first).tolist()


class Overlap(NamedTuple):
    """Models on one book: the Jaccard index of the words that each two reproduce, shape (m, m).

    jaccard:     on the diagonal the model's self-agreement, NaN where it is unknown
    independent: the expected index of independent models; NaN on the diagonal
    """

    labels: list[str]
    jaccard: NDArray[np.float64]
    independent: NDArray[np.float64]


def overlaps(books: Books) -> dict[str, Overlap]:
    """Compare the models of each book whose excerpts are the same (METRICS section 5)."""
    return {
        title: _overlap(alike) for title, pairs in books.items() if len(alike := _alike(pairs)) > 1
    }


def _alike(pairs: Sequence[PlottedPair]) -> list[PlottedPair]:
    def cut(pair: PlottedPair) -> list[tuple[Any, ...]]:
        return [(part.id, part.start, part.words) for part in pair.coverage.excerpts]

    return [pair for pair in pairs if cut(pair) == cut(pairs[0])]


def _overlap(pairs: Sequence[PlottedPair]) -> Overlap:
    jaccard = np.full((len(pairs), len(pairs)), np.nan)
    independent = jaccard.copy()
    for row, a in enumerate(pairs):
        jaccard[row, row] = np.nan if a.agreement is None else a.agreement
        for column, b in enumerate(pairs[:row]):
            similarity = compare(a.times > 0, b.times > 0)
            jaccard[row, column] = jaccard[column, row] = similarity.jaccard
            independent[row, column] = independent[column, row] = similarity.baseline
    return Overlap([pair.label for pair in pairs], jaccard, independent)
