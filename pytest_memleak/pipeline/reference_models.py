"""A pair compared with chance and with its model's baseline (METRICS section 7), and further.

Only answers of one distribution are compared, and greedy ones have to be the likeliest.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.pipeline.ledger_endpoint import weights_named
from pytest_memleak.pipeline.required_samples import Purpose, answer_alike
from pytest_memleak.pipeline.sampled_generations import CountedAnswers, draw
from pytest_memleak.records import Issue
from pytest_memleak.records.phases import Phase, ProgressEvent
from pytest_memleak.records.provenance import distribution
from pytest_memleak.scoring.analysis import analyse
from pytest_memleak.scoring.null_books import excess_over_null, uplift
from pytest_memleak.verdict.model_identity import AppliedSampling, sampling_issues

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.pipeline.endpoints import Endpoints
    from pytest_memleak.pipeline.required_samples import RequiredSamples
    from pytest_memleak.pipeline.sampled_generations import SampledGenerations
    from pytest_memleak.records import Book, Generation
    from pytest_memleak.scoring.analysis import Analysis

_DRAWN = {"drawn", "all there", "no more"}


@dataclass(frozen=True, slots=True)
class Compared:
    """An analysis with what it was compared with, whose answers those were, and what is missing.

    notes: what was noticed, and takes nothing from the pair
    """

    analysis: Analysis | None
    drawn: tuple[CountedAnswers, ...] = ()
    issues: tuple[Issue, ...] = ()
    notes: tuple[str, ...] = ()


def compared(
    analysis: Analysis,
    own: CountedAnswers,
    beside: Iterable[CountedAnswers],
    wanted: Iterable[RequiredSamples],
    endpoints: Endpoints,
) -> Compared:
    """The analysis with everything beside the pair's own answers; what the ledger lacks is drawn.

    The null takes the same model's generations for other books, the uplift those of its baseline
    for this one; extensions measure the pair's own. beside: what its model wrote further.
    """
    pair = own.draws.pair
    drawn: list[CountedAnswers] = []
    issues: list[Issue] = []
    for draws in wanted:
        if draws.purpose not in {Purpose.NULL, Purpose.BASELINE}:
            continue
        endpoints.resources.progress(ProgressEvent(Phase.COMPARING, pair.id))
        try:
            drawn.append(CountedAnswers(draw(draws, endpoints)))
        except MemleakError as error:
            issues.append(Issue(draws.purpose, draws.told(error.line)))
    with_each = analysis
    for one in drawn:
        if one.draws.purpose is Purpose.BASELINE:
            with_each = _with_uplift(with_each, one, own, endpoints)
    null = [one for one in drawn if one.draws.purpose is Purpose.NULL]
    if null:
        with_each = _with_null(with_each, own, null)
    if pair.limits.brought:
        with_each = _with_measures_of_extensions(with_each, own)
    issues += _missing((*beside, *drawn), own)
    likeliest = tuple(issue for one in beside for issue in _not_the_likeliest(one))
    if any(name.startswith("greedy_") for name in pair.limits):
        return Compared(with_each, tuple(drawn), (*issues, *likeliest))
    return Compared(
        with_each, tuple(drawn), tuple(issues), tuple(issue.cause for issue in likeliest)
    )


def _with_null(
    analysis: Analysis, own: CountedAnswers, others: Sequence[CountedAnswers]
) -> Analysis:
    pair = own.draws.pair
    null = excess_over_null(
        own.book,
        _asked_and_answered(own.book, own.answers.generations()),
        {
            one.draws.pair.book.id: _asked_and_answered(one.book, one.generations())
            for one in others
        },
        pair.scoring,
        error=analysis.error,
        seed=pair.sampling.seed,
        confidence=pair.confidence,
    )
    return dataclasses.replace(analysis, null=null)


def _with_uplift(
    analysis: Analysis, baseline: CountedAnswers, own: CountedAnswers, endpoints: Endpoints
) -> Analysis:
    """The analysis with its uplift, where the baseline was drawn as often, and from the same."""
    pair = own.draws.pair
    theirs = analyse(
        baseline.book, baseline.generations(), pair.scoring, count=endpoints.resources.count
    )
    if theirs is None or theirs.counts.rounds != analysis.counts.rounds:
        return analysis
    if drawn_from(baseline.answers) != drawn_from(own.answers):
        return analysis
    gain = uplift(
        analysis.counts,
        theirs.counts,
        scoring=pair.scoring,
        confidence=pair.confidence,
        alike=analysis.error.likeness.alike and theirs.error.likeness.alike,
    )
    return dataclasses.replace(analysis, uplift=gain)


def _with_measures_of_extensions(analysis: Analysis, own: CountedAnswers) -> Analysis:
    further = {
        name: row.function(own.book, own.answers.generations())
        for name, row in own.draws.pair.limits.brought.items()
        if row.function
    }
    return dataclasses.replace(analysis, further=further)


def _missing(drawn: Iterable[CountedAnswers], own: CountedAnswers) -> Iterator[Issue]:
    """What the pair cannot do without of these answers."""
    for one in drawn:
        purpose = one.draws.purpose
        if purpose is Purpose.NULL:
            yield from (Issue(purpose, issue) for issue in one.answers.issues)
        elif purpose is Purpose.GREEDY:
            yield from (issue for issue in _issues_of(one) if issue.rule in _DRAWN)
        elif purpose is Purpose.BASELINE and "uplift" in own.draws.pair.limits:
            yield from _issues_of(one)
            yield from _drawn_otherwise(one, own)


def _drawn_otherwise(baseline: CountedAnswers, own: CountedAnswers) -> Iterator[Issue]:
    theirs, ours = drawn_from(baseline.answers), drawn_from(own.answers)
    if theirs != ours:
        told = f"it was drawn from another distribution: {theirs}; the model itself from {ours}"
        yield Issue(
            "distribution",
            baseline.draws.told(told),
            "set options.sampling alike for both, and ask both of one kind of server",
        )


def _not_the_likeliest(drawn: CountedAnswers) -> Iterator[Issue]:
    """Why limits on the likeliest answers cannot rest on these; for any other it is no matter.

    At temperature 0 many models repeat themselves, or a server samples all the same.
    """
    if drawn.draws.purpose is Purpose.GREEDY:
        yield from (issue for issue in _issues_of(drawn) if issue.rule not in _DRAWN)
        yield from greedy_issues(drawn.answers)


def _issues_of(drawn: CountedAnswers) -> Iterator[Issue]:
    for issue in drawn.completeness().issues:
        yield replace(
            issue, cause=issue.cause if issue.rule == "drawn" else drawn.draws.told(issue.cause)
        )


def _asked_and_answered(
    book: Book, generations: Iterable[Generation]
) -> Iterator[tuple[str | None, str]]:
    asked = {excerpt.id: excerpt.instruction for excerpt in book.excerpts}
    return ((asked.get(one.excerpt_id), one.text) for one in generations)


def drawn_from(answers: SampledGenerations) -> str:
    """The distribution that the answers are of, in words."""
    refused: tuple[str, ...] = ()
    if answers.source is not None and answers.asked is not None:
        from pytest_memleak.ledger.sampling_history import provenance

        source = answers.source
        refused = provenance(source.ledger, source.endpoint_id, answers.asked).refused
    return distribution(answers.draws.pair.model.options, refused)


def greedy_issues(answers: SampledGenerations) -> tuple[Issue, ...]:
    """Whether answers that were asked for at temperature 0, twice each, are the likeliest ones."""
    by_excerpt: dict[str, list[str]] = {}
    for one in answers.generations():
        by_excerpt.setdefault(one.excerpt_id, []).append(one.text)
    refused: tuple[str, ...] = ()
    if answers.source is not None and answers.asked is not None:
        from pytest_memleak.ledger.sampling_history import provenance

        source = answers.source
        refused = provenance(source.ledger, source.endpoint_id, answers.asked).refused
    agreed = answer_alike(by_excerpt.values())
    issues, _ = sampling_issues(AppliedSampling(0.0, refused, greedy=True, greedy_agreed=agreed))
    return tuple(replace(issue, fix=_without_greedy(answers)) for issue in issues)


def _without_greedy(answers: SampledGenerations) -> str:
    """The lines of the suite file to change; canaries, greedy too, could not agree either."""
    pair, source = answers.draws.pair, answers.source
    greedy = [name for name in pair.limits if name.startswith("greedy_")]
    preset = [name for name in pair.limits if pair.limit_origins.get(name) == "limits.preset"]
    if set(greedy) & set(preset):
        lines = (f"{name} = {pair.limits[name]:g}" for name in preset if name not in greedy)
        change = f"in [limits] replace preset with these lines: {'; '.join(lines)}"
    else:
        change = f"delete {' and '.join(greedy)}"
    named = source is None or weights_named(pair, source.opened)
    weights_version = "" if named else 'add weights_version = "1" to [[model]], and '
    return f"in {pair.suite.name}, {weights_version}{change}"
