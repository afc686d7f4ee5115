"""What a pair's model wrote, measured against every protected book and counted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from pytest_memleak.pipeline.analyze_pair import (
    SecondOpinion,
    analyze_pair,
    own_and_other_attempts,
)
from pytest_memleak.pipeline.counted_generations import CountedGenerations
from pytest_memleak.pipeline.required_samples import all_generations
from pytest_memleak.records.phases import Phase, ProgressEvent
from pytest_memleak.scoring.freed_memory import return_freed_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.pipeline.catalog import Catalog, CatalogMatches
    from pytest_memleak.pipeline.protected_index import ProtectedBooks
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.sample_readers import PairSamples
    from pytest_memleak.records import Issue, Pair
    from pytest_memleak.scoring.analysis import Analysis


@dataclass(frozen=True, slots=True)
class MeasuredPair:
    """What the pair's model wrote, counted and measured.

    own: the pair's own samples; other_samples: everything else
    analysis: without references; None without samples
    catalog: the catalog's books that it matches
    issues: where a second, exact matching differs
    """

    own: CountedGenerations
    other_samples: Sequence[CountedGenerations]
    analysis: Analysis | None
    catalog: CatalogMatches
    second_opinion: SecondOpinion
    issues: Sequence[Issue]


def measure_pair(
    pair: Pair,
    samples: PairSamples,
    protected: ProtectedBooks,
    catalog: Catalog,
    resources: Resources,
) -> MeasuredPair:
    """Measure generations against every protected book, and count them meanwhile."""
    own, *other_samples = [CountedGenerations(part) for part in samples]
    resources.progress(ProgressEvent(Phase.SCORING, pair.id))
    matches = catalog.matches(samples)
    second_opinion = SecondOpinion(samples, protected, matches)
    this_attempt, others = own_and_other_attempts(other_samples)
    texts = second_opinion.pass_through(
        chain(own.batches(), all_generations(this_attempt))
    )
    attempts = [
        (part.book, second_opinion.pass_through(all_generations([part])))
        for part in others
    ]
    analysis = analyze_pair(
        pair,
        samples,
        protected,
        resources,
        matches,
        texts=texts,
        attempts=attempts,
    )
    return_freed_memory()
    issues = tuple(second_opinion.issues(analysis))
    return_freed_memory()
    return MeasuredPair(own, other_samples, analysis, matches, second_opinion, issues)
