"""The evaluation of one pair, from its book to its verdict.

    suite ── books ── providers ── sampling ── scoring ── verdict ── reports
                          (ledger)

Read the book, list the required samples, sample what the ledger lacks, measure the
generations against the book and against chance, and judge. Each step has a package.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import MemleakError
from pytest_memleak.pipeline.analyze_pair import (
    SecondOpinion,
    analyze_pair,
    is_over,
    stop_rule,
)
from pytest_memleak.pipeline.limit_reachability import (
    detection_issues,
    detection_summary,
    validate_limit_reach,
)
from pytest_memleak.pipeline.reference_models import compare_references
from pytest_memleak.pipeline.required_samples import all_generations, required_samples
from pytest_memleak.pipeline.sampled_generations import (
    CountedGenerations,
    identify,
    sample_all,
)
from pytest_memleak.records import Completeness, Issue, Pair
from pytest_memleak.records.phases import Phase, ProgressEvent
from pytest_memleak.scoring.freed_memory import return_freed_memory
from pytest_memleak.verdict.evaluation import Evaluation
from pytest_memleak.verdict.judge import judge

if TYPE_CHECKING:
    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.scoring.analysis import Analysis


def evaluate(
    pair: Pair, suite: SuiteRun, *, endpoint: Endpoint | None = None
) -> Evaluation:
    """Evaluate one model on one book.

    `endpoint` replaces the suite's own. Generations that the ledger holds are reused.
    Whatever can't be read, opened, or sampled makes the pair INCONCLUSIVE, unless the
    samples already exceed a limit; it raises nothing.
    """
    try:
        suite.validate_preregistration()
        suite.resources.progress(ProgressEvent(Phase.READING, pair.id))
        book = suite.books.book_of(pair)
        suite.books.validate_no_shared_text(book, pair)
        validate_limit_reach(pair, book, suite.suite, suite.protected)
        return _of_generations(pair, suite, endpoint)
    except MemleakError as error:
        nothing = Completeness(
            requested=0, received=0, issues=(Issue("sampled", error.line),)
        )
        return _judged(pair, suite, None, nothing)


def _of_generations(
    pair: Pair, suite: SuiteRun, endpoint: Endpoint | None
) -> Evaluation:
    required = required_samples(pair, suite.suite, endpoint)
    protected, resources = suite.protected, suite.resources
    stop = stop_rule(pair, protected, resources)
    parts = sample_all(required, suite.endpoints, stop=stop)
    own, *beside = counted = [CountedGenerations(part) for part in parts]
    resources.progress(ProgressEvent(Phase.SCORING, pair.id))
    catalog = suite.catalog.matches(parts)
    second_opinion = SecondOpinion(parts, protected, catalog)
    texts = second_opinion.watch(chain(own.batches(), all_generations(beside)))
    analysis = analyze_pair(pair, parts, protected, resources, catalog, texts=texts)
    return_freed_memory()
    scan_issues = (
        *second_opinion.issues(analysis),
        *protected.issues(pair),
        *catalog.issues,
    )
    return_freed_memory()
    references = compare_references(analysis, own, beside, required, suite.endpoints)
    analysis, sampled = references.analysis, (*counted, *references.sampled)
    samples = [part.sampled for part in sampled]
    served = identify(own.sampled)
    detection = (
        detection_summary(analysis, pair, answers=own.fewest) if analysis else None
    )
    completeness = own.completeness(
        beside=beside,
        over_limit=is_over(analysis, pair),
        issues=(
            *references.issues,
            *served.issues,
            *scan_issues,
            *detection_issues(detection),
        ),
        notes=(*served.notes, *references.notes),
    )
    return _judged(
        pair,
        suite,
        analysis,
        completeness,
        book=own.book,
        endpoint=own.sampled.endpoint_id,
        measurement=analysis.measurement if analysis else None,
        analysis=analysis,
        spared=own.sampled.spared,
        detection=detection,
        second_opinion=second_opinion.counts,
        near_verbatim=second_opinion.near_verbatim,
        provenance=served.provenance,
        as_of=own.sampled.until,
        sampled=tuple(part.counted for part in sampled),
        generations=lambda: chain.from_iterable(part.generations() for part in samples),
        protected=protected.holding(analysis, own.book, catalog.books),
        scan_scope=protected.scan_scope(pair) if analysis else None,
        catalog=catalog.summary,
        unread=(
            *catalog.unread,
            *(f"{name}: {why}" for name, why in protected.unread.items()),
        ),
    )


def _judged(
    pair: Pair,
    suite: SuiteRun,
    evidence: Analysis | None,
    completeness: Completeness,
    **fields: Any,
) -> Evaluation:
    return Evaluation(
        suite=suite.suite.name,
        suite_digest=suite.suite.digest,
        pair=pair,
        verdict_result=judge(evidence, completeness, pair.limits, fields.get("book")),
        completeness=completeness,
        job=suite.endpoints.job_of(pair.model) if fields else None,
        book_file=suite.books.file_digest(pair.book),
        **fields,
    )
