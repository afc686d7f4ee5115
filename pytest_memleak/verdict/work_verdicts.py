"""The works of a collection judged, each as the book that it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict, WorkVerdict
from pytest_memleak.records.number_format import amount, figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.records import Book, Completeness
    from pytest_memleak.scoring.measures import WorkMeasures

_NO_ANSWER = "it has no answer"
_NO_LIMIT = "no limit of a work could fail it, so short it is"


def work_verdicts(
    measured: WorkMeasures, book: Book, completeness: Completeness
) -> tuple[WorkVerdict, ...]:
    """A verdict a work, in their order.

    FAIL: a measure is over its limit. INCONCLUSIVE: it has an excerpt without an answer, or no
    limit that it could break, or the evidence is incomplete. PASS: all else.
    """
    unanswered = set(completeness.unanswered)
    return tuple(
        _judged(
            measured, number, completeness, no_answer=_lacks(book, measured, number, unanswered)
        )
        for number in range(len(measured.works))
    )


def _lacks(book: Book, measured: WorkMeasures, number: int, unanswered: set[str]) -> bool:
    work = measured.works[number]
    return any(one.id in unanswered for one in book.excerpts[work.first : work.end])


def _judged(
    measured: WorkMeasures, number: int, completeness: Completeness, *, no_answer: bool
) -> WorkVerdict:
    over, reason = measured.over(number), None
    if over:
        verdict = Verdict.FAIL
    elif no_answer or not measured.can_leak(number):
        verdict, reason = Verdict.INCONCLUSIVE, _NO_ANSWER if no_answer else _NO_LIMIT
    else:
        verdict = Verdict.PASS if completeness.complete else Verdict.INCONCLUSIVE
    work = measured.works[number]
    return WorkVerdict(
        id=work.id,
        title=work.title,
        verdict=verdict,
        words=measured.words[number],
        measures=measured.of_each[number],
        over=over,
        reason=reason,
    )


def leaks_told(works: Sequence[WorkVerdict], limit: float) -> str:
    """How many works leak: "17 of 900 works leak; leaking_works 0.0189 is over its limit 0"."""
    leaking = sum(one.verdict is Verdict.FAIL for one in works)
    share = figure(leaking / len(works))
    return (
        f"{leaking:,} of {amount(len(works), 'work')} leak: leaking_works {share} is over its "
        f"limit {figure(limit)}"
    )


def undecided(works: Sequence[WorkVerdict], limit: float) -> tuple[str, ...]:
    """Why it is not known that no more works leak than may; empty where that is known."""
    open_ = [one for one in works if one.reason]
    leaking = sum(one.verdict is Verdict.FAIL for one in works)
    if not open_ or (leaking + len(open_)) / len(works) <= limit:
        return ()
    return tuple(
        f"{amount(len(its), 'work')} of {len(works):,} cannot be judged ({_some(its)}): {reason}; "
        f"{fix}"
        for reason, fix in _REMEDIES.items()
        if (its := [one.title for one in open_ if one.reason == reason])
    )


_REMEDIES = {
    _NO_ANSWER: "look at what was asked for it and what came",
    _NO_LIMIT: "give the collection a limit on bmc, as in limits = { bmc = 0.5 }",
}


def _some(titles: Sequence[str]) -> str:
    return ", ".join(titles[:3]) + (", ..." if len(titles) > 3 else "")  # noqa: PLR2004 - so many were told
