"""A pair compared with chance and with its baseline model (docs/method.md).

Only samples of one distribution are compared; greedy ones must be the likeliest.
"""

from __future__ import annotations

import dataclasses
import numbers
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.pipeline.canaries import last_begins_like_first
from pytest_memleak.pipeline.counted_generations import CountedGenerations
from pytest_memleak.pipeline.ledger_endpoint import weights_label
from pytest_memleak.pipeline.recited_null_books import recited_null_book_issues
from pytest_memleak.pipeline.required_samples import Purpose
from pytest_memleak.pipeline.sample_pair import sample_requirement
from pytest_memleak.pipeline.sample_readers import LedgerSamples
from pytest_memleak.records import Book, Generation, Issue
from pytest_memleak.records.phases import Phase, ProgressEvent
from pytest_memleak.records.provenance import describe_distribution
from pytest_memleak.scoring.analysis import Analysis, analyze
from pytest_memleak.scoring.measure_table import BASELINE, GREEDY, with_needs
from pytest_memleak.scoring.null_books import excess_over_null
from pytest_memleak.scoring.protected_passages import Protected
from pytest_memleak.scoring.uplift import uplift
from pytest_memleak.verdict.provenance_issues import greedy_sampling_issues

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.pipeline.sample_readers import SampledGenerations
    from pytest_memleak.pipeline.sampling_plan import SamplingPlan
    from pytest_memleak.scoring.generation_tally import Count

_SAMPLED = {"sampled", "all received", "no surplus"}


@dataclass(frozen=True, slots=True)
class ReferencedAnalysis:
    """An analysis with its references, their samples, and what is missing of them.

    notes: observations that don't affect the verdict
    """

    analysis: Analysis | None
    sampled: tuple[CountedGenerations, ...] = ()
    issues: tuple[Issue, ...] = ()
    notes: tuple[str, ...] = ()


def sample_and_add_references(
    analysis: Analysis | None,
    own: CountedGenerations,
    other_samples: Sequence[CountedGenerations],
    plan: SamplingPlan,
) -> ReferencedAnalysis:
    """Compare an analysis with references, of which the ledger's gaps are sampled.

    Chance needs the same model's generations for other books, uplift its baseline
    model's for this book; extensions measure the pair's own.

    other_samples: what else the pair's model wrote
    """
    if analysis is None:
        return ReferencedAnalysis(None)
    limits = own.required.pair.limits
    sampled, issues = _sample_references(plan)
    analysis = _add_references(analysis, own, sampled, plan)
    if limits.brought:
        analysis = _add_extension_measures(analysis, own)
    for reference in (*other_samples, *sampled):
        issues += _missing_reference_issues(reference, own)
    for reference in sampled:
        if reference.required.purpose is Purpose.NULL:
            count = plan.endpoints.resources.tally_generations
            issues += recited_null_book_issues(reference, count)
    unlikely: list[Issue] = []
    for part in other_samples:
        unlikely += _not_greedy_issues(part)
    if with_needs(limits, GREEDY):
        all_issues = (*issues, *unlikely)
        return ReferencedAnalysis(analysis, tuple(sampled), all_issues)
    notes = tuple(str(replace(issue, fix="")) for issue in unlikely)
    return ReferencedAnalysis(analysis, tuple(sampled), tuple(issues), notes)


def _sample_references(
    plan: SamplingPlan,
) -> tuple[list[CountedGenerations], list[Issue]]:
    """Sample the null books and the baseline; return why some can't be, too."""
    sampled: list[CountedGenerations] = []
    issues: list[Issue] = []
    progress = plan.endpoints.resources.progress
    for required in plan.required:
        if required.purpose not in {Purpose.NULL, Purpose.BASELINE}:
            continue
        progress(ProgressEvent(Phase.COMPARING, plan.own.pair.id))
        try:
            sampled.append(CountedGenerations(sample_requirement(required, plan)))
        except MemleakError as error:
            issues.append(required.with_label(Issue.of_error(required.purpose, error)))
    return sampled, issues


def _add_references(
    analysis: Analysis,
    own: CountedGenerations,
    sampled: Sequence[CountedGenerations],
    plan: SamplingPlan,
) -> Analysis:
    null: list[CountedGenerations] = []
    for part in sampled:
        if part.required.purpose is Purpose.NULL:
            null.append(part)
        else:
            count = plan.endpoints.resources.tally_generations
            analysis = _add_uplift(analysis, part, own, count)
    return _add_chance_level(analysis, own, null) if null else analysis


def _add_chance_level(
    analysis: Analysis,
    own: CountedGenerations,
    others: Sequence[CountedGenerations],
) -> Analysis:
    pair = own.required.pair
    by_book = {
        other.required.pair.book.id: _texts_with_instructions(
            other.book,
            other.generations(),
        )
        for other in others
    }
    null = excess_over_null(
        own.book,
        _texts_with_instructions(own.book, own.sampled.generations()),
        by_book,
        pair.scoring,
        error=analysis.without_excused_words.error,
        seed=pair.sampling.seed or 0,
        confidence=pair.confidence,
        remaining=analysis.remaining.words if analysis.remaining else None,
    )
    return dataclasses.replace(analysis, null=null)


def _add_uplift(
    analysis: Analysis,
    baseline: CountedGenerations,
    own: CountedGenerations,
    count: Count,
) -> Analysis:
    """Add the uplift, if the baseline has as many rounds, of the same distribution."""
    pair = own.required.pair
    protected = None
    if analysis.remaining:
        book, remaining = baseline.book, analysis.remaining.words
        protected = Protected.of_one_book(book, pair.scoring, remaining)
    theirs = analyze(
        baseline.book,
        baseline.batches(),
        pair.scoring,
        protected=protected,
        count=count,
    )
    if theirs is None or theirs.counts.rounds != analysis.counts.rounds:
        return analysis
    if sampling_distribution(baseline.sampled) != sampling_distribution(own.sampled):
        return analysis
    ours = analysis.without_excused_words
    theirs = theirs.without_excused_words
    gain = uplift(
        ours.counts,
        theirs.counts,
        scoring=pair.scoring,
        confidence=pair.confidence,
        alike=ours.error.likeness.alike and theirs.error.likeness.alike,
    )
    return dataclasses.replace(analysis, uplift=gain)


def _add_extension_measures(
    analysis: Analysis,
    own: CountedGenerations,
) -> Analysis:
    further: dict[str, float] = {}
    for name, row in own.required.pair.limits.brought.items():
        if row.function:
            value = row.function(own.book, own.sampled.generations())
            further[name] = _builtin_float(value)
    return dataclasses.replace(analysis, further=further)


def _builtin_float(value: float) -> float:
    """Return a number of another library, such as numpy's, as a float."""
    is_other = isinstance(value, numbers.Number) and not isinstance(value, int | float)
    return float(value) if is_other else value


def _missing_reference_issues(
    reference: CountedGenerations, own: CountedGenerations
) -> Iterator[Issue]:
    """Yield the issues of a reference that the pair's limits need."""
    purpose = reference.required.purpose
    if purpose is Purpose.NULL:
        for issue in reference.sampled.issues:
            yield replace(issue, rule=purpose)
    elif purpose is Purpose.GREEDY:
        for issue in _placed_issues(reference):
            if issue.rule in _SAMPLED:
                yield issue
    elif purpose is Purpose.BASELINE and with_needs(own.required.pair.limits, BASELINE):
        yield from _placed_issues(reference)
        yield from _other_distribution_issues(reference, own)


def _other_distribution_issues(
    baseline: CountedGenerations,
    own: CountedGenerations,
) -> Iterator[Issue]:
    theirs = sampling_distribution(baseline.sampled)
    ours = sampling_distribution(own.sampled)
    if theirs != ours:
        issue = Issue(
            "distribution",
            f"it was sampled from a different distribution: {theirs}, not {ours}",
            "set the same options.sampling for both, on the same kind of server",
        )
        yield baseline.required.with_label(issue)


def _not_greedy_issues(counted: CountedGenerations) -> Iterator[Issue]:
    """Yield why these may not be the likeliest generations.

    Even at temperature 0, many models repeat themselves, and some servers sample.
    """
    if counted.required.purpose is not Purpose.GREEDY:
        return
    for issue in _placed_issues(counted):
        if issue.rule not in _SAMPLED:
            yield issue
    yield from greedy_issues(counted.sampled)


def _placed_issues(counted: CountedGenerations) -> Iterator[Issue]:
    for issue in counted.completeness().issues:
        is_placed = issue.rule == "sampled"
        yield issue if is_placed else counted.required.with_label(issue)


def _texts_with_instructions(
    book: Book,
    generations: Iterable[Generation],
) -> Iterator[tuple[str | None, str]]:
    instructions = {excerpt.id: excerpt.instruction for excerpt in book.excerpts}
    return (
        (instructions.get(generation.excerpt_id), generation.text)
        for generation in generations
    )


def sampling_distribution(answers: SampledGenerations) -> str:
    """Return the distribution of the samples, in words."""
    return describe_distribution(
        answers.required.pair.model.options,
        _rejected_parameters(answers),
    )


def _rejected_parameters(answers: SampledGenerations) -> tuple[str, ...]:
    if not isinstance(answers, LedgerSamples):
        return ()
    return answers.source.history(answers.prompts).refused


def greedy_issues(answers: SampledGenerations) -> tuple[Issue, ...]:
    """Check whether generations at temperature 0, two a prompt, are the likeliest."""
    by_excerpt: dict[str, list[str]] = {}
    for generation in answers.requested():
        # What a server writes beside an answer, such as its times, always differs.
        text = generation.text or generation.reasoning
        by_excerpt.setdefault(generation.excerpt_id, []).append(text)
    refused = _rejected_parameters(answers)
    agreed = last_begins_like_first(by_excerpt.values())
    issues = greedy_sampling_issues(refused, agreed=agreed)
    return tuple(replace(issue, fix=_greedy_fix_text(answers)) for issue in issues)


def _greedy_fix_text(answers: SampledGenerations) -> str:
    """Return what to change in the suite: greedy answers and canaries differ."""
    pair = answers.required.pair
    greedy = with_needs(pair.limits, GREEDY)
    preset = [
        name for name in pair.limits if pair.limit_origins.get(name) == "limits.preset"
    ]
    if set(greedy) & set(preset):
        kept = [name for name in preset if name not in greedy]
        lines = ", ".join(f"{name} = {pair.limits[name]:g}" for name in kept)
        change = f"replace preset in [limits], one key per line: {lines}"
    else:
        change = f"delete {' and '.join(greedy)}"
    if _only_name_identifies_weights(answers):
        version = 'add weights_version = "1" to [[model]] (resamples)'
        change = f"{version}, and {change}"
    return f"in {pair.suite.name}, {change}"


def _only_name_identifies_weights(answers: SampledGenerations) -> bool:
    """Tell whether only a name identifies the weights that answered."""
    if not isinstance(answers, LedgerSamples):
        return False
    return not weights_label(answers.required.pair, answers.source.endpoint)
