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
from pytest_memleak.pipeline.analyze_pair import (
    exceeds_a_limit,
    stop_when_limit_exceeded,
)
from pytest_memleak.pipeline.attempt_results import add_other_attempts_to_provenance
from pytest_memleak.pipeline.extractable_share import measure_probability
from pytest_memleak.pipeline.limit_reachability import (
    detection_issues,
    detection_summary,
    validate_limits_can_be_exceeded,
)
from pytest_memleak.pipeline.loss_check import check_losses
from pytest_memleak.pipeline.measured_pair import measure_pair
from pytest_memleak.pipeline.named_prompts import prompt_rates
from pytest_memleak.pipeline.provenance_check import check_provenance
from pytest_memleak.pipeline.reference_models import sample_and_add_references
from pytest_memleak.pipeline.sample_pair import sample_pair
from pytest_memleak.pipeline.sample_readers import LedgerSamples, all_rounds_reader
from pytest_memleak.pipeline.shared_text import validate_no_shared_text
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
    from pytest_memleak.pipeline.reference_models import ReferencedAnalysis
    from pytest_memleak.pipeline.sample_readers import SampledGenerations
    from pytest_memleak.pipeline.sampling_plan import SamplingPlan
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records.prompt_rates import PromptRate
    from pytest_memleak.scoring.analysis import Analysis


def evaluate_pair(
    pair: Pair,
    suite_run: SuiteRun,
    *,
    endpoint: Endpoint | None = None,
) -> Evaluation:
    """Evaluate one model on one book.

    `endpoint` replaces the suite's own. Generations that the ledger holds are reused.
    Whatever can't be read, opened, or sampled makes the pair INCONCLUSIVE, unless the
    samples already exceed a limit. An Inconclusive becomes an issue of its samples in
    `SamplingPlan.prepare_part`; any MemleakError that comes here is the only issue. So
    none escapes; Ctrl-C does.
    """
    try:
        brings_endpoint = endpoint is not None
        suite_run.validate_announced(pair, brings_endpoint=brings_endpoint)
        _validate_pair(pair, suite_run)
        plan = suite_run.plan_pair(pair, endpoint=endpoint)
        return _sample_and_judge(pair, suite_run, plan)
    except MemleakError as error:
        return _inconclusive_evaluation(pair, suite_run, error)


def _validate_pair(pair: Pair, suite_run: SuiteRun) -> None:
    """Raise MemleakError for what would make every sample worthless."""
    suite_run.validate_preregistration()
    suite_run.resources.progress(ProgressEvent(Phase.READING, pair.id))
    book = suite_run.books.pair_book(pair)
    validate_no_shared_text(book, pair, suite_run)
    validate_limits_can_be_exceeded(pair, book, suite_run.suite, suite_run.protected)


def _sample_and_judge(
    pair: Pair,
    suite_run: SuiteRun,
    plan: SamplingPlan,
) -> Evaluation:
    stop = stop_when_limit_exceeded(pair, suite_run.protected, suite_run.resources)
    samples = sample_pair(plan, stop=stop)
    measured = measure_pair(
        pair,
        samples,
        suite_run.protected,
        suite_run.catalog,
        suite_run.resources,
    )
    null_and_baseline = sample_and_add_references(
        measured.analysis,
        measured.own,
        measured.other_samples,
        plan,
    )
    provenance_check = add_other_attempts_to_provenance(
        check_provenance(measured.own.sampled),
        samples,
        measured.analysis,
    )
    evaluation = _judge_measured_pair(
        pair, suite_run, measured, null_and_baseline, provenance_check
    )
    return replace(evaluation, probability=measure_probability(plan))


def _judge_measured_pair(
    pair: Pair,
    suite_run: SuiteRun,
    measured: MeasuredPair,
    null_and_baseline: ReferencedAnalysis,
    provenance_check: ProvenanceCheck,
) -> Evaluation:
    own, catalog = measured.own, measured.catalog
    protected = suite_run.protected
    analysis_with_chance = null_and_baseline.analysis
    delivery = check_losses(own)
    detection = None
    if analysis_with_chance is not None and pair.probe.kind != "extraction":
        answers = delivery.answers
        detection = detection_summary(
            analysis_with_chance, pair, answers, lost=delivery.lost
        )
    issues = (
        *null_and_baseline.issues,
        *provenance_check.issues,
        *measured.issues,
        *protected.unreadable_book_issues(pair),
        *catalog.issues,
        *detection_issues(detection),
        *_recited_control_issues(pair, analysis_with_chance),
    )
    completeness = own.completeness(
        other_samples=measured.other_samples,
        over_limit=exceeds_a_limit(analysis_with_chance, pair),
        issues=issues,
        notes=(*provenance_check.notes, *null_and_baseline.notes),
        delivery=delivery,
    )
    verdict_result = judge(analysis_with_chance, completeness, pair.limits, own.book)
    if pair.control:
        verdict_result = inconclusive_if_recited(verdict_result, completeness.issues)
    counted = (own, *measured.other_samples, *null_and_baseline.sampled)
    evaluation = Evaluation(
        suite=suite_run.suite.name,
        suite_digest=suite_run.suite.digest,
        pair=pair,
        verdict_result=verdict_result,
        completeness=completeness,
        book=own.book,
        endpoint=own.sampled.endpoint_id,
        job=suite_run.endpoints.finetune_job_id(pair.model),
        measurement=analysis_with_chance.measurement if analysis_with_chance else None,
        analysis=analysis_with_chance,
        detection=detection,
        second_opinion=measured.second_opinion.counts,
        provenance=provenance_check.provenance,
        sampled=tuple(part.counted for part in counted),
        protected=protected.books_with_passages(
            analysis_with_chance, own.book, catalog.books
        ),
        scan_scope=protected.scan_scope(pair) if analysis_with_chance else None,
        catalog=catalog.summary,
        unread=(*catalog.unread, *protected.unread_books()),
        book_file=suite_run.books.file_digest(pair.book),
        generations=all_rounds_reader([part.sampled for part in counted]),
        near_verbatim=measured.second_opinion.near_verbatim,
        prompt_rates=_prompt_rates(pair, suite_run, measured),
        prompts=prompt_facts(
            pair,
            own.book,
            ready_made=suite_run.books.is_read_from_records(pair.book),
            file_sha256=suite_run.books.prompts_digest(pair),
        ),
    )
    return _add_ledger_facts(evaluation, own.sampled)


def _prompt_rates(
    pair: Pair,
    suite_run: SuiteRun,
    measured: MeasuredPair,
) -> tuple[PromptRate, ...]:
    """Return how often each named prompt brought a long passage."""
    if pair.probe.kind != "prompts" or measured.analysis is None:
        return ()
    own = measured.own.sampled
    return tuple(prompt_rates(pair, own, suite_run, measured.catalog))


def _recited_control_issues(pair: Pair, analysis: Analysis | None) -> Iterator[Issue]:
    """Yield an issue if the pair's book is a negative control that comes back."""
    if pair.control and analysis is not None and analysis.passages is not None:
        values = own_book_passage_measures(analysis.passages)
        yield from recited_control_issues(pair.book.id, values, pair.limits)


def _add_ledger_facts(evaluation: Evaluation, own: SampledGenerations) -> Evaluation:
    """Add what only samples from the ledger have, such as a time."""
    if not isinstance(own, LedgerSamples):
        return evaluation
    return replace(
        evaluation,
        as_of=own.until,
        spared=own.spared,
        extraction=own.conversation.facts if own.conversation else None,
    )


def _inconclusive_evaluation(
    pair: Pair,
    suite_run: SuiteRun,
    error: MemleakError,
) -> Evaluation:
    issue = Issue.of_error("sampled", error)
    completeness = Completeness(
        requested=0,
        received=0,
        issues=(issue,),
    )
    return Evaluation(
        suite=suite_run.suite.name,
        suite_digest=suite_run.suite.digest,
        pair=pair,
        verdict_result=judge(None, completeness, pair.limits, None),
        completeness=completeness,
        book_file=suite_run.books.file_digest(pair.book),
    )
