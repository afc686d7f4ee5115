"""The verdict on a pair and on each work of a collection (docs/method.md).

A verdict compares a measurement with limits, on complete evidence only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import LimitCheck, Verdict, VerdictResult, WorkVerdict
from pytest_memleak.records.number_format import amount, figure, first_three
from pytest_memleak.scoring.analysis import judged_measures, split_judged_measures
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
    from collections.abc import Iterable, Mapping, Sequence

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
    """Return PASS, FAIL, or INCONCLUSIVE with reasons, for each work of a collection (`book`), too.

    A measure that never falls as samples are added is FAIL if its observed value
    exceeds its limit, even on incomplete evidence. One that can fall (a row without
    `rises`) is FAIL only on complete evidence, if the lower end of its interval exceeds
    the limit. No value counts where the second opinion differs. PASS needs complete
    evidence, and every limit to hold at the interval's upper end.
    """
    missing = tuple(map(str, completeness.issues))
    measured_values = judged_measures(analysis) if analysis else {}
    checks = check_limits(measured_values, limits)
    works_measured = analysis.works if analysis else None
    works = (
        work_verdicts(works_measured, book, completeness)
        if works_measured and book
        else ()
    )
    own, others = (
        tuple(
            check
            for check in check_limits(part, limits)
            if check.over and (check.rises or not missing)
        )
        for part in (split_judged_measures(analysis) if analysis else ({}, {}))
    )
    doubted = any(issue.rule == "second opinion" for issue in completeness.issues)
    if (own or others) and not doubted:
        unexcused = tuple(_unexcused(check, analysis) for check in others)
        reasons = (*unexcused, *(_over_its_limit(check, works) for check in own))
        return VerdictResult(Verdict.FAIL, checks, reasons, unexcused, bool(own), works)
    if analysis:
        of_works = works_measured.limits_of_works if works_measured else frozenset()
        named = [name for name in limits if name not in of_works]
        missing += _unmeasured(analysis, measured_values, named)
    missing += undecided_reasons(works, limits.get(LEAKING_WORKS.name, 0.0))
    if analysis:
        missing += tuple(
            _in_doubt(check, analysis) for check in checks if check.in_doubt
        )
    if not checks and not missing:
        missing = ("no limit was evaluated",)
    if missing:
        return VerdictResult(Verdict.INCONCLUSIVE, checks, missing, works=works)
    return VerdictResult(Verdict.PASS, checks, works=works)


def check_limits(
    estimates: Mapping[str, Estimate], limits: Limits
) -> tuple[LimitCheck, ...]:
    """Return each limit beside its measure, where that was measured, in the table's order.

    An extension's measure comes last, and rises only if its row says so.
    """
    rows = {**MEASURES, **limits.brought}
    order = [name for name in MEASURES if name in limits]
    order += [name for name in limits if name not in MEASURES]
    return tuple(
        LimitCheck(
            measure=name,
            value=estimates[name].value,
            limit=limits[name],
            low=estimates[name].low,
            high=estimates[name].high,
            rises=name in rows and rows[name].rises,
        )
        for name in order
        if name in estimates
    )


def _unmeasured(
    analysis: Analysis, estimates: Mapping[str, Estimate], limits: Iterable[str]
) -> tuple[str, ...]:
    further = analysis.further
    return tuple(
        f"{name} has a limit, but couldn't be measured: "
        + (f"it is {further[name]}" if name in further else why_unmeasured(name))
        for name in limits
        if name not in estimates
    )


def _in_doubt(check: LimitCheck, analysis: Analysis) -> str:
    """Return why a limit is in doubt, and what would settle it."""
    error = analysis.error
    null = analysis.null if with_needs([check.measure], CHANCE) else None
    by = (
        amount(len(null.books), "null book") if null else amount(error.rounds, "sample")
    )
    exceeds = check.value > check.limit
    relation = "exceeds" if exceeds else "is within"
    side, end = ("lower", check.low) if exceeds else ("upper", check.high)
    text = (
        f"{check.measure} {figure(check.value)} {relation} its limit "
        f"{figure(check.limit)}, but "
        f"its {100 * error.confidence:g}% {side} bound is {figure(end)} ({by})"
    )
    settling = (
        samples_to_settle(error, check.limit) if check.measure == BMC.name else None
    )
    if settling is None:
        more = "add negative controls" if null else "test more of the book, add samples"
        return f"{text}; {more}, or raise the limit"
    direction = "over" if settling.over else "within"
    more = amount(settling.samples, "more sample")
    return f"{text}; about {more} would settle it (likely {direction})"


def _unexcused(check: LimitCheck, analysis: Analysis | None) -> str:
    passages = analysis.passages if analysis else None
    assert passages is not None  # noqa: S101 - nothing else is judged apart
    longest = passages.of_others.get(check.measure)
    books = (
        {longest.book} if longest else {passage.book for passage in passages.passages}
    )
    names = ", ".join(sorted(book for book in books - {passages.own} if book))
    source = f"passages of {names} aren't excused"
    if longest:
        source = f"a passage of {names} (in a generation for {longest.excerpt_id}) isn't excused"
    return f"{_over_its_limit(check, ())}: {source}"


def _over_its_limit(check: LimitCheck, works: Sequence[WorkVerdict]) -> str:
    if check.measure == LEAKING_WORKS.name:
        return leaks_text(works, check.limit)
    return (
        f"{check.measure} {figure(check.value)} exceeds the limit {figure(check.limit)}"
    )


def work_verdicts(
    measured: WorkMeasures, book: Book, completeness: Completeness
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
    measured: WorkMeasures, number: int, book: Book, completeness: Completeness
) -> WorkVerdict:
    work = measured.works[number]
    ids = {excerpt.id for excerpt in book.excerpts[work.first : work.end]}
    no_answer = not ids.isdisjoint(completeness.unanswered)
    over = {name: measured.limits[name] for name in measured.over(number)}
    reason = None
    if over:
        verdict = Verdict.FAIL
    elif no_answer or not measured.can_leak(number):
        verdict, reason = Verdict.INCONCLUSIVE, _NO_ANSWER if no_answer else _NO_LIMIT
    else:
        verdict = Verdict.PASS if completeness.complete else Verdict.INCONCLUSIVE
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
        f"leaking: {leaking:,} of {amount(len(works), 'work')}; leaking_works {share} "
        "exceeds the "
        f"limit {figure(limit)}"
    )


def undecided_reasons(works: Sequence[WorkVerdict], limit: float) -> tuple[str, ...]:
    """Return why more works might leak than the limit allows; empty where they can't."""
    open_ = [work for work in works if work.reason]
    leaking = sum(work.verdict is Verdict.FAIL for work in works)
    if not open_ or (leaking + len(open_)) / len(works) <= limit:
        return ()
    reasons = []
    for reason, fix in _FIXES.items():
        titles = [work.title for work in open_ if work.reason == reason]
        if titles:
            count = f"{amount(len(titles), 'work')} of {len(works):,}"
            reasons.append(
                f"{count} can't be judged ({first_three(titles)}): {reason}; {fix}"
            )
    return tuple(reasons)
