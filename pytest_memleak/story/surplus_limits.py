"""A recital is one whether it was asked for or not: what the ledger holds beside a pair's answers.

Answers of more samples than are asked for now, late ones and those that a server sent unasked are
no part of the pair's measures. But where they break a limit there is no pass (METRICS section 10).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_memleak.records import Gap
from pytest_memleak.records.amounts import amount, figure
from pytest_memleak.scoring.analysis import judged_measures
from pytest_memleak.story.measured import analysed
from pytest_memleak.verdict.judge import check_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records import Generation, LimitCheck
    from pytest_memleak.story.catalogue import Held
    from pytest_memleak.story.drawn_answers import Answers
    from pytest_memleak.story.suite_run import SuiteRun

__all__ = ["surplus_gaps", "surplus_rounds"]


def surplus_gaps(answers: Answers, suite: SuiteRun, held: Held) -> tuple[Gap, ...]:
    """The limits that the surplus breaks, taken as many rounds at a time as the pair has.

    held: what of the catalogue the answers, these too, are held against.
    """
    there = surplus_rounds(answers)
    if not there:
        return ()
    worst: dict[str, LimitCheck] = {}
    for draw in there.values():
        for check in _over(answers, draw, suite, held):
            known = worst.get(check.measure)
            worst[check.measure] = check if known is None else max(check, known, key=_value)
    beside = amount(sum(map(len, there.values())), "answer")
    return tuple(
        Gap(
            "surplus",
            f"in {beside} to the same questions that the ledger has beside these, {check.measure} "
            f"is {figure(check.value)}, over its limit {figure(check.limit)}",
            "that they are not asked for now changes nothing: see what they are, and raise samples "
            "again where it was lowered",
        )
        for check in worst.values()
    )


def _value(check: LimitCheck) -> float:
    return check.value


def surplus_rounds(answers: Answers) -> dict[int, list[Generation]]:
    """The surplus, in draws of as many rounds as the pair has."""
    source, asked = answers.source, answers.asked
    found: dict[int, list[Generation]] = {}
    if source is None or asked is None:
        return found
    from pytest_memleak.ledger.surplus import surplus

    now = source.resources.now
    for one in surplus(source.ledger, source.endpoint_id, asked, until=now):
        if not one.written.strip():
            continue  # it breaks no limit, however many a server sends
        number, ordinal = divmod(one.ordinal, asked.samples)
        found.setdefault(number, []).append(replace(one, ordinal=ordinal, text=one.written))
    return found


def _over(
    answers: Answers, drawn: list[Generation], suite: SuiteRun, held: Held
) -> Iterator[LimitCheck]:
    pair = answers.draws.pair
    analysis = analysed(pair, answers.book, drawn, suite, held)
    checks = check_limits(judged_measures(analysis), pair.limits) if analysis else ()
    return (check for check in checks if check.over and check.rises)
