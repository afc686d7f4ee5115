"""The evaluation of one pair, from its book to its verdict.

    suite ── books ── providers ── sampling ── scoring ── verdict ── reports
                          (ledger)

Read the book, list the required samples, sample what the ledger lacks, measure the
generations against the book and against chance, and judge. Each step has a package.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.pipeline.analyze_pair import is_over, stop_rule
from pytest_memleak.pipeline.attempt_results import with_other_attempts
from pytest_memleak.pipeline.delivery_check import check_delivery
from pytest_memleak.pipeline.limit_reachability import (
    detection_issues,
    detection_summary,
    validate_limits_can_be_exceeded,
)
from pytest_memleak.pipeline.measured_pair import measure_pair
from pytest_memleak.pipeline.named_prompts import prompt_rates
from pytest_memleak.pipeline.probability import measure_probability
from pytest_memleak.pipeline.provenance_check import identify
from pytest_memleak.pipeline.reference_models import compare_references
from pytest_memleak.pipeline.sampled_generations import sample_all
from pytest_memleak.pipeline.samples import LedgerSamples, rereading
from pytest_memleak.pipeline.sampling_plan import plan_pair
from pytest_memleak.records import Completeness, Issue, Pair
from pytest_memleak.records.phases import Phase, ProgressEvent
from pytest_memleak.verdict.evaluation import Evaluation
from pytest_memleak.verdict.judge import judge
from pytest_memleak.verdict.quoting_requests import prompt_facts
from pytest_memleak.verdict.recited_controls import (
    inconclusive_if_recited,
    own_book_passage_measures,
    recited_control_issues,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.pipeline.measured_pair import MeasuredPair
    from pytest_memleak.pipeline.provenance_check import ProvenanceCheck
    from pytest_memleak.pipeline.reference_models import ReferenceComparison
    from pytest_memleak.pipeline.samples import SampledGenerations
    from pytest_memleak.pipeline.sampling_plan import SamplingPlan
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records.prompt_rates import PromptRate
    from pytest_memleak.scoring.analysis import Analysis


def evaluate(
    pair: Pair,
    suite: SuiteRun,
    *,
    endpoint: Endpoint | None = None,
) -> Evaluation:
    """Evaluate one model on one book.

    `endpoint` replaces the suite's own. Generations that the ledger holds are reused.
    Whatever can't be read, opened, or sampled makes the pair INCONCLUSIVE, unless the
    samples already exceed a limit. So no MemleakError escapes; Ctrl-C does.
    """
    try:
        _validate(pair, suite)
        plan = plan_pair(pair, suite.suite, suite.endpoints, endpoint=endpoint)
        return _sample_and_judge(pair, suite, plan)
    except MemleakError as error:
        return _without_evidence(pair, suite, error)


def _validate(pair: Pair, suite: SuiteRun) -> None:
    """Raise MemleakError for what would make every sample worthless."""
    suite.validate_preregistration()
    suite.resources.progress(ProgressEvent(Phase.READING, pair.id))
    book = suite.books.book_of(pair)
    suite.books.validate_no_shared_text(book, pair)
    validate_limits_can_be_exceeded(pair, book, suite.suite, suite.protected)


def _sample_and_judge(
    pair: Pair,
    suite: SuiteRun,
    plan: SamplingPlan,
) -> Evaluation:
    stop = stop_rule(pair, suite.protected, suite.resources)
    samples = sample_all(plan, stop=stop)
    measured = measure_pair(
        pair,
        samples,
        suite.protected,
        suite.catalog,
        suite.resources,
    )
    references = compare_references(
        measured.analysis,
        measured.own,
        measured.beside,
        plan,
    )
    provenance_check = with_other_attempts(
        identify(measured.own.sampled),
        samples,
        measured.analysis,
    )
    evaluation = _judge(pair, suite, measured, references, provenance_check)
    return replace(evaluation, probability=measure_probability(plan))


def _judge(
    pair: Pair,
    suite: SuiteRun,
    measured: MeasuredPair,
    references: ReferenceComparison,
    provenance_check: ProvenanceCheck,
) -> Evaluation:
    own, catalog = measured.own, measured.catalog
    protected = suite.protected
    analysis = references.analysis
    delivery = check_delivery(own)
    detection = None
    if analysis is not None and pair.probe.kind != "extraction":
        answers = delivery.answers
        detection = detection_summary(analysis, pair, answers, lost=delivery.lost)
    issues = (
        *references.issues,
        *provenance_check.issues,
        *measured.issues,
        *protected.issues(pair),
        *catalog.issues,
        *detection_issues(detection),
        *_recited_control_issues(pair, analysis),
    )
    completeness = own.completeness(
        beside=measured.beside,
        over_limit=is_over(analysis, pair),
        issues=issues,
        notes=(*provenance_check.notes, *references.notes),
        delivery=delivery,
    )
    verdict_result = judge(analysis, completeness, pair.limits, own.book)
    if pair.control:
        verdict_result = inconclusive_if_recited(verdict_result, completeness.issues)
    counted = (own, *measured.beside, *references.sampled)
    evaluation = Evaluation(
        suite=suite.suite.name,
        suite_digest=suite.suite.digest,
        pair=pair,
        verdict_result=verdict_result,
        completeness=completeness,
        book=own.book,
        endpoint=own.sampled.endpoint_id,
        job=suite.endpoints.job_of(pair.model),
        measurement=analysis.measurement if analysis else None,
        analysis=analysis,
        detection=detection,
        second_opinion=measured.second_opinion.counts,
        provenance=provenance_check.provenance,
        sampled=tuple(part.counted for part in counted),
        protected=protected.holding(analysis, own.book, catalog.books),
        scan_scope=protected.scan_scope(pair) if analysis else None,
        catalog=catalog.summary,
        unread=(*catalog.unread, *protected.unread_books()),
        book_file=suite.books.file_digest(pair.book),
        generations=rereading([part.sampled for part in counted]),
        near_verbatim=measured.second_opinion.near_verbatim,
        prompt_rates=_prompt_rates(pair, suite, measured),
        prompts=prompt_facts(
            pair,
            own.book,
            ready_made=suite.books.is_ready_made(pair.book),
            file_sha256=suite.books.prompts_digest(pair),
        ),
    )
    return _with_ledger_facts(evaluation, own.sampled)


def _prompt_rates(
    pair: Pair,
    suite: SuiteRun,
    measured: MeasuredPair,
) -> tuple[PromptRate, ...]:
    """Return how often each named prompt brought a long passage."""
    if pair.probe.kind != "prompts" or measured.analysis is None:
        return ()
    own = measured.own.sampled
    return tuple(prompt_rates(pair, own, suite, measured.catalog))


def _recited_control_issues(pair: Pair, analysis: Analysis | None) -> Iterator[Issue]:
    """Yield an issue if the pair's book is a negative control that comes back."""
    if pair.control and analysis is not None and analysis.passages is not None:
        values = own_book_passage_measures(analysis.passages)
        yield from recited_control_issues(pair.book.id, values, pair.limits)


def _with_ledger_facts(evaluation: Evaluation, own: SampledGenerations) -> Evaluation:
    """Add what only samples from the ledger have, such as a time."""
    if not isinstance(own, LedgerSamples):
        return evaluation
    return replace(
        evaluation,
        as_of=own.until,
        spared=own.spared,
        extraction=own.conversation.facts if own.conversation else None,
    )


def _without_evidence(
    pair: Pair,
    suite: SuiteRun,
    error: MemleakError,
) -> Evaluation:
    issue = Issue.of_error("sampled", error)
    completeness = Completeness(
        requested=0,
        received=0,
        issues=(issue,),
    )
    return Evaluation(
        suite=suite.suite.name,
        suite_digest=suite.suite.digest,
        pair=pair,
        verdict_result=judge(None, completeness, pair.limits, None),
        completeness=completeness,
        book_file=suite.books.file_digest(pair.book),
    )
