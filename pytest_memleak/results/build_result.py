"""Pair results, built from evaluations or read back from another process's JSON."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from pytest_memleak.records import (
    Block,
    Completeness,
    Issue,
    Measure,
    Verdict,
    VerdictResult,
)
from pytest_memleak.records.measurement import BY_EXCERPT, ProbeKind, RoundStats
from pytest_memleak.records.pair_result import (
    APPROVED,
    LIKELIEST_SPAN,
    NOT_APPROVED,
    BookFacts,
    ExcusedWords,
    ModelFacts,
    PairResult,
    SetLimit,
    SuiteFacts,
)
from pytest_memleak.records.verdicts import verdict_with_accepted_refusals
from pytest_memleak.redaction.text import QUOTED_WORDS
from pytest_memleak.results.committed_passages import commit_passages
from pytest_memleak.results.passage_details import listed_passages, passage_details
from pytest_memleak.results.quotes import own_passage, passage_rate, shown_title
from pytest_memleak.scoring.measure_table import (
    GREEDY,
    MEASURES,
    PASSAGES,
    SPANS_OVER,
    applies_to,
    table_with,
    with_needs,
)
from pytest_memleak.verdict.evaluation import Evaluation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.records import Book, BookSource, Model, Pair, Suite
    from pytest_memleak.records.measurement import Passage
    from pytest_memleak.records.plot_records import CoverageMap
    from pytest_memleak.scoring.analysis import Analysis

_PASSAGES = 5

CHANGED = (
    "the text that was read isn't the approved one: look at it with memleak prepare; "
    "if it is your book, set approved to the digest printed there"
)
"""A warning of a book whose words differ from those that the suite's author saw."""


def results_from_json(rows: Iterable[dict[str, Any]]) -> tuple[PairResult, ...]:
    """Read a run's results from JSON; suites that share a name go by their paths."""
    # An idle plugin doesn't load pydantic.
    from pytest_memleak.results.result_codec import decode

    results = [decode(PairResult, row) for row in rows]
    paths: defaultdict[str, set[str]] = defaultdict(set)
    for result in results:
        suite = result.suite
        paths[suite.name].add(suite.path)
    named = []
    for result in results:
        is_shared = len(paths[result.suite.name]) > 1
        named.append(_named_by_path(result) if is_shared else result)
    return tuple(named)


def _named_by_path(result: PairResult) -> PairResult:
    path = os.path.relpath(result.suite.path)
    suite = dataclasses.replace(result.suite, name=path)
    return dataclasses.replace(result, suite=suite)


def collect_measures(results: Iterable[PairResult]) -> dict[str, Measure]:
    """Return the table of measures, with those that extensions brought to results."""
    brought: dict[str, Measure] = {}
    for result in results:
        for name in (*result.limits, *result.values):
            if name not in MEASURES:
                brought.setdefault(name, Measure(name))
        brought |= {row.name: row for row in result.brought}
    return table_with(brought)


def overview_measures(results: Sequence[PairResult]) -> tuple[Measure, ...]:
    """Return the measures an overview shows: those that some pair has.

    Where none has any, those that some pair limits, else all.
    """
    every_row = collect_measures(results).values()
    rows = [row for row in every_row if row.overview]
    measured: set[str] = set()
    limited: set[str] = set()
    for result in results:
        measured |= result.values.keys()
        limited |= result.limits.keys()
    shown = measured or limited
    return tuple([row for row in rows if row.name in shown] or rows)


def build_result(
    evaluation: Evaluation,
    *,
    quoted: int | None = QUOTED_WORDS,
) -> PairResult:
    """Build the result of an evaluation.

    quoted: words of each passage to quote, None for all
    """
    from pytest_memleak.results.coverage_map import build_plot_data  # with numpy

    result = dataclasses.replace(
        build_result_without_quotes(evaluation),
        passages=listed_passages(evaluation, quoted),
    )
    if evaluation.pair.probe.kind not in BY_EXCERPT:
        return result
    return dataclasses.replace(
        result,
        spans=tuple(_worst_passages(evaluation, quoted)),
        plot=build_plot_data(evaluation, quoted=quoted),
    )


def build_result_without_quotes(evaluation: Evaluation) -> PairResult:
    """Build the result of an evaluation without quotes and chart data."""
    pair = evaluation.pair
    verdict_result = evaluation.verdict_result
    settings = pair_settings(pair)
    if evaluation.book and evaluation.book.icu:
        settings["icu"] = evaluation.book.icu
    limits = {}
    for name, limit in pair.limits.items():
        origin = pair.limit_origins.get(name)
        limits[name] = SetLimit(limit, origin)
    brought = [row.without_functions() for row in pair.limits.brought.values()]
    suite = SuiteFacts(
        name=evaluation.suite,
        path=str(pair.suite),
        sha256=evaluation.suite_digest,
    )
    return PairResult(
        pair=pair.id,
        suite=suite,
        book=_book_facts(evaluation),
        model=_model_facts(evaluation),
        settings=settings,
        completeness=evaluation.completeness,
        provenance=evaluation.provenance,
        as_of=evaluation.as_of,
        sampled=evaluation.sampled,
        detection=evaluation.detection,
        second_opinion=evaluation.second_opinion,
        measures=_measures(evaluation),
        works=verdict_result.works,
        rounds=_rounds(evaluation.analysis, pair.probe.kind),
        coverage=_coverage(evaluation),
        scan_scope=evaluation.scan_scope,
        excused=_excused(evaluation.analysis),
        catalog=evaluation.catalog,
        limits=limits,
        control=pair.control,
        expected=pair.expected,
        verdict=verdict_with_accepted_refusals(
            evaluation.verdict, evaluation.completeness
        ),
        reasons=verdict_result.reasons,
        unexcused=verdict_result.unexcused,
        leaked=verdict_result.leaked,
        stopped_early=evaluation.spared is not None,
        prompts=evaluation.prompts,
        committed=commit_passages(evaluation),
        extraction=evaluation.extraction,
        prompt_rates=evaluation.prompt_rates,
        probability=evaluation.probability,
        spared=evaluation.spared,
        warnings=_warnings(evaluation),
        brought=tuple(brought),
    )


def _book_facts(evaluation: Evaluation) -> BookFacts:
    source = evaluation.pair.book
    book = evaluation.book
    measured = evaluation.measurement
    words = measured.words if measured else None
    if book is None:
        return BookFacts(
            id=source.id,
            title=source.title or None,
            author=source.author or None,
            file_sha256=evaluation.book_file,
            sha256=None,
            words=words or None,
            excerpts=None,
            parts=(),
            metadata=dict(source.metadata),
        )
    parts = []
    for part in book.parts:
        label = shown_title(part.label)
        parts.append(dataclasses.replace(part, label=label))
    return BookFacts(
        id=source.id,
        title=shown_title(book.title or None),
        author=shown_title(book.author or None),
        file_sha256=evaluation.book_file,
        sha256=book.digest or None,
        words=words or None,
        excerpts=len(book.excerpts) or None,
        parts=tuple(parts),
        metadata=dict(source.metadata),
        approval=APPROVED if is_approved(source, book) else NOT_APPROVED,
        alarms=book.alarms,
    )


def is_approved(source: BookSource, book: Book) -> bool:
    """Whether the suite has the digest of the words that were read."""
    return bool(source.approved) and source.approved == book.words_digest


def _model_facts(evaluation: Evaluation) -> ModelFacts:
    model = evaluation.pair.model
    return ModelFacts(
        id=model.id,
        endpoint=evaluation.endpoint or None,
        provider=model.provider,
        base_model=model.base_model,
        baseline_model=model.baseline_model,
        finetune_books=model.finetune_books,
        finetune=_finetune_settings(model),
        job=evaluation.job,
        options=model.options,
        weights_version=model.weights_version or None,
        served_names=model.served_names,
    )


def _finetune_settings(model: Model) -> dict[str, Any]:
    """Return the provider's settings of a fine-tune, and the share if it isn't all."""
    if model.finetune_share == 1:
        return model.finetune
    return model.finetune | {"share": model.finetune_share}


def build_unrun_result(
    pair: Pair,
    suite: Suite,
    *,
    reasons: tuple[str, ...] = (),
) -> PairResult:
    """Build the result of a pair that wasn't evaluated, for these reasons."""
    issues = tuple(Issue("not run", reason) for reason in reasons)
    verdict = VerdictResult(
        verdict=Verdict.NOT_RUN,
        checks=(),
        issues=issues,
    )
    completeness = Completeness(requested=0, received=0)
    return build_result_without_quotes(
        Evaluation(
            suite=suite.name,
            suite_digest=suite.digest,
            pair=pair,
            verdict_result=verdict,
            completeness=completeness,
        ),
    )


def _measures(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Return measures with interval and evidence, and what has no value."""
    if evaluation.analysis is None:
        return {}
    # Collecting needs no numpy.
    from pytest_memleak.scoring.analysis import estimates

    analysis = evaluation.analysis.without_excused_words
    measures = _details(evaluation, analysis)
    probe = evaluation.pair.probe.kind
    rows = table_with(evaluation.pair.limits.brought)
    measured = {
        name: estimate
        for name, estimate in estimates(analysis).items()
        if applies_to(rows[name], probe)
    }
    if probe not in BY_EXCERPT:
        measures = {name: measures[name] for name in measures if name in measured}
    for name, estimate in measured.items():
        row = {
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
        }
        if estimate.p is not None:
            row["p"] = estimate.p
        measures[name] = row | measures.get(name, {})
    return measures


def pair_settings(pair: Pair) -> dict[str, Any]:
    """Return the suite's keys for sampling, measuring and judging a pair."""
    return {
        **dataclasses.asdict(pair.sampling),
        **dataclasses.asdict(pair.scoring),
        **dataclasses.asdict(pair.answers),
        "confidence": pair.confidence,
        "detection_limit": pair.detection_limit,
        "probe": dataclasses.asdict(pair.probe),
    }


def _details(evaluation: Evaluation, analysis: Analysis) -> dict[str, Any]:
    details: dict[str, Any] = {}
    for name, row in MEASURES.items():
        run = None if row.needs is PASSAGES else row.value(analysis)
        if isinstance(run, Block):
            details[name] = dataclasses.asdict(run)
            del details[name]["words"]
    details["self_agreement"] = {"value": analysis.agreement}
    details["cross_excerpt"] = {
        "spans": analysis.cross.count,
        "cross": analysis.cross.cross,
        "ratio": analysis.cross.ratio,
    }
    details[SPANS_OVER.name] = {"longest": _rates_of_longest_spans(analysis)}
    details |= passage_details(evaluation)
    if analysis.null:
        details["null"] = dataclasses.asdict(analysis.null)
    return details


def _rates_of_longest_spans(analysis: Analysis) -> list[dict[str, Any]]:
    """Return how often each of the longest spans over T was generated."""
    rates = []
    for span in analysis.measurement.spans[:_PASSAGES]:
        start = span.start or 0
        end = span.end or 0
        rate = passage_rate(analysis, start, end)
        if rate:
            rates.append(dataclasses.asdict(rate))
    return rates


def _rounds(analysis: Analysis | None, probe: ProbeKind) -> RoundStats | None:
    """Return what comparisons of releases need, of the measures that apply."""
    if analysis is None:
        return None
    # Collecting needs no numpy.
    from pytest_memleak.scoring.analysis import values_by_round

    error = analysis.without_excused_words.error
    measures = {
        name: values
        for name, values in values_by_round(analysis).items()
        if applies_to(MEASURES[name], probe)
    }
    return RoundStats(
        alike=error.likeness.alike,
        units=error.blocks or error.rounds,
        variance=error.variance,
        typical=error.typical,
        measures=measures,
    )


def _excused(analysis: Analysis | None) -> ExcusedWords | None:
    if analysis is None:
        return None
    # Collecting needs no numpy.
    from pytest_memleak.scoring.analysis import estimates, measures_with_excused_words

    whole = measures_with_excused_words(analysis)
    judged = estimates(analysis.without_excused_words)
    is_any = any(judged[name].value != value for name, value in whole.items())
    if analysis.remaining is None:
        return ExcusedWords(0, {}, whole) if is_any else None
    remaining = analysis.remaining
    by_text = dict(sorted(remaining.excused_by.items()))
    return ExcusedWords(remaining.words.excused, by_text, whole)


def _coverage(evaluation: Evaluation) -> CoverageMap | None:
    if evaluation.analysis is None or evaluation.book is None:
        return None
    # Collecting needs no numpy.
    from pytest_memleak.results.coverage_map import coverage_map

    excerpt_ids = [excerpt.id for excerpt in evaluation.book.excerpts]
    return coverage_map(evaluation.analysis, excerpt_ids)


def _warnings(evaluation: Evaluation) -> tuple[str, ...]:
    book = evaluation.book
    source = evaluation.pair.book
    of_book = list(book.warnings) if book else []
    if book and source.approved and not is_approved(source, book):
        of_book.append(CHANGED)
    of_others = [f"not scanned for passages: {name}" for name in evaluation.unread]
    return (*of_book, *of_others)


def _worst_passages(evaluation: Evaluation, quoted: int | None) -> list[Passage]:
    """List a failed pair's worst passages: the likeliest, the longest block, spans."""
    analysis = evaluation.analysis
    book = evaluation.book
    if evaluation.verdict is not Verdict.FAIL:
        return []
    if not analysis or not book:
        return []
    passages = []
    for kind, run in _worst_runs(evaluation, analysis):
        if run.start is not None:
            passages.append(own_passage(kind, run, analysis, book, quoted))
    return passages


def _worst_runs(
    evaluation: Evaluation,
    analysis: Analysis,
) -> Iterator[tuple[str, Block]]:
    """Yield a failed pair's worst runs of its own book, with their kinds."""
    measured = analysis.without_excused_words.measurement
    checks = evaluation.verdict_result.checks
    failed = [check.measure for check in checks if check.is_exceeded]
    if analysis.greedy is not None and with_needs(failed, GREEDY):
        yield LIKELIEST_SPAN, analysis.greedy.longest_span
    yield "longest block", measured.longest_block
    for span in measured.spans[:_PASSAGES] or (measured.longest_span,):
        yield "span", span
