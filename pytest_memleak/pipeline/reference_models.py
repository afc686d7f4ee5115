"""A pair compared with chance and with its baseline model (docs/method.md).

Only samples of one distribution are compared; greedy ones must be the likeliest.
"""

from __future__ import annotations

import dataclasses
import numbers
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.pipeline.canaries import begin_alike
from pytest_memleak.pipeline.ledger_endpoint import weights_label
from pytest_memleak.pipeline.required_samples import Purpose, RequiredSamples
from pytest_memleak.pipeline.sampled_generations import (
    CountedGenerations,
    SampledGenerations,
    sample_generations,
)
from pytest_memleak.records import Book, Generation, Issue
from pytest_memleak.records.phases import Phase, ProgressEvent
from pytest_memleak.records.provenance import distribution
from pytest_memleak.scoring.analysis import Analysis, analyze
from pytest_memleak.scoring.measure_table import BASELINE, GREEDY, with_needs
from pytest_memleak.scoring.null_books import excess_over_null
from pytest_memleak.scoring.uplift import uplift
from pytest_memleak.verdict.model_identity import greedy_sampling_issues

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.pipeline.endpoints import Endpoints

_SAMPLED = {"sampled", "all received", "no surplus"}


@dataclass(frozen=True, slots=True)
class ReferenceComparison:
    """An analysis with its references, their samples, and what is missing of them.

    notes: observations that don't affect the verdict
    """

    analysis: Analysis | None
    sampled: tuple[CountedGenerations, ...] = ()
    issues: tuple[Issue, ...] = ()
    notes: tuple[str, ...] = ()


def compare_references(
    analysis: Analysis | None,
    own: CountedGenerations,
    beside: Iterable[CountedGenerations],
    required: Iterable[RequiredSamples],
    endpoints: Endpoints,
) -> ReferenceComparison:
    """Add chance, uplift, and extensions' measures to an analysis; sample what the ledger lacks.

    Chance needs the same model's generations for other books, uplift its baseline
    model's for this book; extensions measure the pair's own. beside: what else the
    pair's model wrote.
    """
    if analysis is None:
        return ReferenceComparison(None)
    pair = own.required.pair
    sampled: list[CountedGenerations] = []
    issues: list[Issue] = []
    for samples in required:
        if samples.purpose not in {Purpose.NULL, Purpose.BASELINE}:
            continue
        endpoints.resources.progress(ProgressEvent(Phase.COMPARING, pair.id))
        try:
            sampled.append(CountedGenerations(sample_generations(samples, endpoints)))
        except MemleakError as error:
            issues.append(Issue(samples.purpose, samples.describe(error.line)))
    for part in sampled:
        if part.required.purpose is Purpose.BASELINE:
            analysis = _with_uplift(analysis, part, own, endpoints)
    null = [part for part in sampled if part.required.purpose is Purpose.NULL]
    if null:
        analysis = _with_null(analysis, own, null)
    if pair.limits.brought:
        analysis = _with_measures_of_extensions(analysis, own)
    issues += _missing((*beside, *sampled), own)
    greedy = tuple(issue for part in beside for issue in _not_the_likeliest(part))
    if with_needs(pair.limits, GREEDY):
        return ReferenceComparison(analysis, tuple(sampled), (*issues, *greedy))
    notes = tuple(issue.cause for issue in greedy)
    return ReferenceComparison(analysis, tuple(sampled), tuple(issues), notes)


def _with_null(
    analysis: Analysis, own: CountedGenerations, others: Sequence[CountedGenerations]
) -> Analysis:
    pair = own.required.pair
    null = excess_over_null(
        own.book,
        _asked_and_answered(own.book, own.sampled.generations()),
        {
            other.required.pair.book.id: _asked_and_answered(
                other.book, other.generations()
            )
            for other in others
        },
        pair.scoring,
        error=analysis.error,
        seed=pair.sampling.seed,
        confidence=pair.confidence,
    )
    return dataclasses.replace(analysis, null=null)


def _with_uplift(
    analysis: Analysis,
    baseline: CountedGenerations,
    own: CountedGenerations,
    endpoints: Endpoints,
) -> Analysis:
    """Add the uplift, where the baseline has as many rounds, of the same distribution."""
    pair = own.required.pair
    theirs = analyze(
        baseline.book, baseline.batches(), pair.scoring, count=endpoints.resources.count
    )
    if theirs is None or theirs.counts.rounds != analysis.counts.rounds:
        return analysis
    if sampling_distribution(baseline.sampled) != sampling_distribution(own.sampled):
        return analysis
    gain = uplift(
        analysis.counts,
        theirs.counts,
        scoring=pair.scoring,
        confidence=pair.confidence,
        alike=analysis.error.likeness.alike and theirs.error.likeness.alike,
    )
    return dataclasses.replace(analysis, uplift=gain)


def _with_measures_of_extensions(
    analysis: Analysis, own: CountedGenerations
) -> Analysis:
    further = {
        name: _plain_number(row.function(own.book, own.sampled.generations()))
        for name, row in own.required.pair.limits.brought.items()
        if row.function
    }
    return dataclasses.replace(analysis, further=further)


def _plain_number(value: float) -> float:
    """Return a number of another library, such as numpy's, as a float."""
    is_other = isinstance(value, numbers.Number) and not isinstance(value, int | float)
    return float(value) if is_other else value


def _missing(
    references: Iterable[CountedGenerations], own: CountedGenerations
) -> Iterator[Issue]:
    """Yield the issues of references that the pair's limits need."""
    for counted in references:
        purpose = counted.required.purpose
        if purpose is Purpose.NULL:
            yield from (Issue(purpose, issue) for issue in counted.sampled.issues)
        elif purpose is Purpose.GREEDY:
            yield from (
                issue for issue in _issues_of(counted) if issue.rule in _SAMPLED
            )
        elif purpose is Purpose.BASELINE and with_needs(
            own.required.pair.limits, BASELINE
        ):
            yield from _issues_of(counted)
            yield from _drawn_otherwise(counted, own)


def _drawn_otherwise(
    baseline: CountedGenerations, own: CountedGenerations
) -> Iterator[Issue]:
    theirs, ours = (
        sampling_distribution(baseline.sampled),
        sampling_distribution(own.sampled),
    )
    if theirs != ours:
        difference = (
            f"it was sampled from a different distribution: {theirs}, not {ours}"
        )
        yield Issue(
            "distribution",
            baseline.required.describe(difference),
            "set the same options.sampling for both, on the same kind of server",
        )


def _not_the_likeliest(counted: CountedGenerations) -> Iterator[Issue]:
    """Yield why these may not be the likeliest generations, so limits on greedy ones fail.

    Even at temperature 0, many models repeat themselves, and some servers sample.
    """
    if counted.required.purpose is Purpose.GREEDY:
        yield from (
            issue for issue in _issues_of(counted) if issue.rule not in _SAMPLED
        )
        yield from greedy_issues(counted.sampled)


def _issues_of(counted: CountedGenerations) -> Iterator[Issue]:
    for issue in counted.completeness().issues:
        yield replace(
            issue,
            cause=issue.cause
            if issue.rule == "sampled"
            else counted.required.describe(issue.cause),
        )


def _asked_and_answered(
    book: Book, generations: Iterable[Generation]
) -> Iterator[tuple[str | None, str]]:
    instructions = {excerpt.id: excerpt.instruction for excerpt in book.excerpts}
    return (
        (instructions.get(generation.excerpt_id), generation.text)
        for generation in generations
    )


def sampling_distribution(answers: SampledGenerations) -> str:
    """Return the distribution of the samples, in words."""
    return distribution(
        answers.required.pair.model.options, _rejected_parameters(answers)
    )


def _rejected_parameters(answers: SampledGenerations) -> tuple[str, ...]:
    if answers.source is None or answers.prompts is None:
        return ()
    return answers.source.history(answers.prompts).refused


def greedy_issues(answers: SampledGenerations) -> tuple[Issue, ...]:
    """Check whether generations at temperature 0, two per excerpt, are the likeliest ones."""
    by_excerpt: dict[str, list[str]] = {}
    for generation in answers.generations():
        by_excerpt.setdefault(generation.excerpt_id, []).append(generation.text)
    refused = _rejected_parameters(answers)
    agreed = begin_alike(by_excerpt.values())
    issues = greedy_sampling_issues(refused, agreed=agreed)
    return tuple(replace(issue, fix=_without_greedy(answers)) for issue in issues)


def _without_greedy(answers: SampledGenerations) -> str:
    """Return what to change in the suite file; if greedy answers differ, canaries do, too."""
    pair, source = answers.required.pair, answers.source
    greedy = with_needs(pair.limits, GREEDY)
    preset = [
        name for name in pair.limits if pair.limit_origins.get(name) == "limits.preset"
    ]
    if set(greedy) & set(preset):
        lines = (
            f"{name} = {pair.limits[name]:g}" for name in preset if name not in greedy
        )
        change = f"replace preset in [limits], one key per line: {', '.join(lines)}"
    else:
        change = f"delete {' and '.join(greedy)}"
    named = source is None or weights_label(pair, source.endpoint)
    weights_version = (
        "" if named else 'add weights_version = "1" to [[model]] (resamples), and '
    )
    return f"in {pair.suite.name}, {weights_version}{change}"
