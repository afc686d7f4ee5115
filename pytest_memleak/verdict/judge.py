"""The verdict on a pair and on each work of a collection (docs/method.md).

A verdict compares a measurement with limits, on complete evidence only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import (
    Issue,
    LimitCheck,
    Verdict,
    VerdictResult,
    WorkVerdict,
)
from pytest_memleak.records.number_format import amount, figure, first_three
from pytest_memleak.scoring.analysis import (
    judged_measures,
    judged_measures_of_own_book_and_others,
)
from pytest_memleak.scoring.measure_table import (
    BMC,
    CHANCE,
    LEAKING_WORKS,
    MEASURES,
    why_unmeasured,
    with_needs,
)
from pytest_memleak.scoring.sampling_error import samples_to_settle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_memleak.records import Book, Completeness, Estimate, Limits
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.work_measures import WorkMeasures
_NO_ANSWER = "it has no answer"
_NO_LIMIT = "too short to exceed any limit of a work"
_FIXES = {
    _NO_ANSWER: "check its prompts and generations",
    _NO_LIMIT: "set a limit on bmc for the collection, such as limits = { bmc = 0.5 }",
}


def judge(
    analysis: Analysis | None,
    completeness: Completeness,
    limits: Limits,
    book: Book | None = None,
) -> VerdictResult:
    """Return PASS, FAIL, or INCONCLUSIVE with reasons, for each work of `book`, too.

    A measure that never falls as samples are added is FAIL if its observed value
    exceeds its limit, even on incomplete evidence. One that can fall (a row without
    `rises`) is FAIL only on complete evidence, if the lower end of its interval exceeds
    the limit. No value counts where the second opinion differs. PASS needs complete
    evidence, and every limit to hold at the interval's upper end.

    book: a collection
    """
    if analysis is None:
        return _judge_checks((), tuple(completeness.issues), ())
    works: tuple[WorkVerdict, ...] = ()
    if analysis.works and book:
        works = work_verdicts(analysis.works, book, completeness)
    estimates = judged_measures(analysis)
    checks = check_limits(estimates, limits)
    if not any(issue.rule == "second opinion" for issue in completeness.issues):
        failure = _failure(analysis, completeness, limits, checks, works)
        if failure is not None:
            return failure
    most_leaking = limits.get(LEAKING_WORKS.name, 0.0)
    issues = (
        *completeness.issues,
        *_unmeasured(analysis, estimates, limits),
        *issues_of_undecided_works(works, most_leaking),
        *(_doubt(check, analysis) for check in checks if check.is_in_doubt),
    )
    return _judge_checks(checks, issues, works)


def _judge_checks(
    checks: tuple[LimitCheck, ...],
    issues: tuple[Issue, ...],
    works: tuple[WorkVerdict, ...],
) -> VerdictResult:
    """Return PASS, or INCONCLUSIVE for any issue, if no limit is exceeded."""
    if not checks and not issues:
        issues = (Issue("limits", "no limit was evaluated"),)
    verdict = Verdict.INCONCLUSIVE if issues else Verdict.PASS
    return VerdictResult(verdict, checks, issues, works=works)


def _failure(
    analysis: Analysis,
    completeness: Completeness,
    limits: Limits,
    checks: tuple[LimitCheck, ...],
    works: tuple[WorkVerdict, ...],
) -> VerdictResult | None:
    """Return FAIL if a limit is exceeded, by the pair's own book or by others."""
    of_own, of_others = judged_measures_of_own_book_and_others(analysis)
    complete = completeness.complete
    own = _exceeded(of_own, limits, complete=complete)
    others = _exceeded(of_others, limits, complete=complete)
    if not own and not others:
        return None
    unexcused = tuple(_passage_of_other_book_text(check, analysis) for check in others)
    own_causes = [_over_its_limit(check, works) for check in own]
    causes = [*unexcused, *own_causes]
    issues = tuple(Issue("limit exceeded", cause) for cause in causes)
    return VerdictResult(
        verdict=Verdict.FAIL,
        checks=checks,
        issues=issues,
        unexcused=unexcused,
        leaked=bool(own),
        works=works,
    )


def _exceeded(
    estimates: Mapping[str, Estimate],
    limits: Limits,
    *,
    complete: bool,
) -> list[LimitCheck]:
    """Return the exceeded limits that decide, also on incomplete evidence."""
    return [
        check
        for check in check_limits(estimates, limits)
        if check.is_exceeded and (check.rises or complete)
    ]


def check_limits(
    estimates: Mapping[str, Estimate],
    limits: Limits,
) -> tuple[LimitCheck, ...]:
    """Return each limit beside its measure, if it was measured, in the table's order.

    An extension's measure comes last, and rises only if its row says so.
    """
    rows = {**MEASURES, **limits.brought}
    order = [name for name in MEASURES if name in limits]
    order += [name for name in limits if name not in MEASURES]
    checks: list[LimitCheck] = []
    for name in order:
        if name not in estimates:
            continue
        estimate = estimates[name]
        checks.append(
            LimitCheck(
                measure=name,
                value=estimate.value,
                limit=limits[name],
                low=estimate.low,
                high=estimate.high,
                rises=name in rows and rows[name].rises,
            ),
        )
    return tuple(checks)


def _unmeasured(
    analysis: Analysis,
    estimates: Mapping[str, Estimate],
    limits: Iterable[str],
) -> Iterator[Issue]:
    """Yield an issue for each limit of the pair whose measure has no value."""
    works = analysis.works
    of_works = works.limits_of_works if works else frozenset()
    for name in limits:
        if name in estimates or name in of_works:
            continue
        why = why_unmeasured(name)
        if name in analysis.further:
            why = f"it is {analysis.further[name]}"
        cause = f"{name} has a limit, but couldn't be measured: {why}"
        yield Issue("limit not measured", cause)


def _doubt(check: LimitCheck, analysis: Analysis) -> Issue:
    """Return why a limit is in doubt, and what would settle it."""
    error = analysis.without_excused_words.error
    null = analysis.null if with_needs([check.measure], CHANCE) else None
    units = amount(error.rounds, "sample")
    if null:
        units = amount(len(null.books), "null book")
    if check.value > check.limit:
        relation, side, bound = "exceeds", "lower", check.low
    else:
        relation, side, bound = "is within", "upper", check.high
    cause = (
        f"{check.measure} {figure(check.value)} {relation} its limit "
        f"{figure(check.limit)}, but its {100 * error.confidence:g}% {side} bound is "
        f"{figure(bound)} ({units})"
    )
    return Issue(
        rule="limit in doubt",
        cause=cause,
        fix=_fix_of_doubt(check, analysis, by_null=bool(null)),
    )


def _fix_of_doubt(
    check: LimitCheck,
    analysis: Analysis,
    *,
    by_null: bool,
) -> str:
    """Return what would settle a limit in doubt.

    by_null: whether null books decide
    """
    if check.measure == BMC.name:
        settling = samples_to_settle(analysis.without_excused_words.error, check.limit)
        if settling is not None:
            direction = "over" if settling.over else "within"
            more = amount(settling.samples, "more sample")
            return f"about {more} would settle it (likely {direction})"
    more = "add negative controls" if by_null else "test more of the book, add samples"
    return f"{more}, or raise the limit"


def _passage_of_other_book_text(check: LimitCheck, analysis: Analysis) -> str:
    passages = analysis.passages
    assert passages is not None  # noqa: S101 - nothing else is judged apart
    longest = passages.of_others.get(check.measure)
    over_limit = _over_its_limit(check, ())
    if longest:
        excerpt = longest.excerpt_id
        return (
            f"{over_limit}: a passage of {longest.book} "
            f"(in a generation for {excerpt}) isn't excused"
        )
    books = {passage.book for passage in passages.passages}
    others = books - {passages.own, None}
    names = ", ".join(sorted(filter(None, others)))
    return f"{over_limit}: passages of {names} aren't excused"


def _over_its_limit(check: LimitCheck, works: Sequence[WorkVerdict]) -> str:
    if check.measure == LEAKING_WORKS.name:
        return leaks_text(works, check.limit)
    value = figure(check.value)
    return f"{check.measure} {value} exceeds the limit {figure(check.limit)}"


def work_verdicts(
    measured: WorkMeasures,
    book: Book,
    completeness: Completeness,
) -> tuple[WorkVerdict, ...]:
    """Return a verdict for each work, in their order.

    FAIL: a measure is over its limit. INCONCLUSIVE: it has an excerpt without an
    answer, or no limit that it could break, or the evidence is incomplete. PASS: all
    else.
    """
    return tuple(
        _judge_work(measured, number, book, completeness)
        for number in range(len(measured.works))
    )


def _judge_work(
    measured: WorkMeasures,
    number: int,
    book: Book,
    completeness: Completeness,
) -> WorkVerdict:
    work = measured.works[number]
    ids = {excerpt.id for excerpt in book.excerpts[work.first : work.end]}
    no_answer = not ids.isdisjoint(completeness.unanswered)
    over = {name: measured.limits[name] for name in measured.over(number)}
    reason = None
    verdict = Verdict.PASS if completeness.complete else Verdict.INCONCLUSIVE
    if over:
        verdict = Verdict.FAIL
    elif no_answer or not measured.can_leak(number):
        verdict = Verdict.INCONCLUSIVE
        reason = _NO_ANSWER if no_answer else _NO_LIMIT
    return WorkVerdict(
        id=work.id,
        title=work.title,
        verdict=verdict,
        words=measured.words[number],
        measures=measured.of_each[number],
        over=over,
        reason=reason,
    )


def leaks_text(works: Sequence[WorkVerdict], limit: float) -> str:
    """Return how many works leak, and the limit on their share that this exceeds."""
    leaking = sum(work.verdict is Verdict.FAIL for work in works)
    share = figure(leaking / len(works))
    return (
        f"leaking: {leaking:,} of {amount(len(works), 'work')}; "
        f"leaking_works {share} exceeds the limit {figure(limit)}"
    )


def issues_of_undecided_works(
    works: Sequence[WorkVerdict], limit: float
) -> Iterator[Issue]:
    """Yield why more works might leak than the limit allows; nothing if they can't."""
    undecided = [work for work in works if work.reason]
    leaking = sum(work.verdict is Verdict.FAIL for work in works)
    most_leaking = leaking + len(undecided)
    if not undecided or most_leaking / len(works) <= limit:
        return
    for reason, fix in _FIXES.items():
        titles = [work.title for work in undecided if work.reason == reason]
        if titles:
            count = f"{amount(len(titles), 'work')} of {len(works):,}"
            cause = f"{count} can't be judged ({first_three(titles)}): {reason}"
            yield Issue("undecided works", cause, fix)
