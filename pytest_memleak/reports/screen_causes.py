"""The first screen's causes: FAILs by first limit, undecided pairs by cause."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.records.number_format import amount
from pytest_memleak.reports.exceeded_limits import (
    exceeded_limits,
    limits_within_interval,
)
from pytest_memleak.reports.pair_outcome import pair_outcome
from pytest_memleak.reports.screen_view import SCREEN_KINDS, UNRUN, ScreenCause
from pytest_memleak.verdict.inconclusive_cause import NO_ANSWER, result_cause

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.verdict.inconclusive_cause import InconclusiveCause

_FEW = 3
_MOST_CAUSES = 5
_MOST_BESIDE = 2
_NO_LEAK = "a positive control didn't leak"
_NO_LEAK_FIX = (
    "check that its endpoint and options are those with which the model is known to "
    "leak"
)


@dataclass(frozen=True, slots=True)
class _PairCause:
    """A pair with its cause.

    key:    what pairs of the same cause share
    text:   the cause, in this pair's numbers
    value:  of a limit, the pair's
    """

    pair: PairResult
    kind: str
    key: str
    text: str
    value: float = 0.0
    shown: str = ""
    fix: str = ""
    unexplained: tuple[str, ...] = ()


def screen_causes(
    results: Sequence[PairResult],
    unrun: Sequence[PairResult],
) -> tuple[tuple[ScreenCause, ...], int]:
    """Return the causes, the worst first, and how many more there are.

    If a single pair ran, it names every limit that it exceeds.
    """
    is_single = len(results) == 1
    groups: defaultdict[tuple[str, str, str], list[_PairCause]] = defaultdict(list)
    for result in results:
        member = _cause_of_pair(result, is_single=is_single)
        if member:
            groups[member.kind, member.key, member.fix].append(member)
    for result in unrun:
        reason = result.reasons[0] if result.reasons else ""
        text = f"not run: {reason}" if reason else "not run"
        groups[UNRUN, text, ""].append(_PairCause(result, UNRUN, text, text))
    ordered = sorted(groups.values(), key=_sort_key)
    causes = [_shared_cause(members) for members in ordered[:_MOST_CAUSES]]
    return tuple(causes), len(ordered[_MOST_CAUSES:])


def _sort_key(members: Sequence[_PairCause]) -> tuple[int, int]:
    return SCREEN_KINDS.index(members[0].kind), -len(members)


def _cause_of_pair(result: PairResult, *, is_single: bool) -> _PairCause | None:
    kind = pair_outcome(result).kind
    if kind == "fail":
        return _cause_of_failed_pair(result, is_single=is_single)
    if kind == "unexpected":
        return _PairCause(result, kind, _NO_LEAK, _NO_LEAK, fix=_NO_LEAK_FIX)
    if kind == "inconclusive":
        return _cause_of_undecided_pair(result, is_single=is_single)
    return None


def _cause_of_failed_pair(result: PairResult, *, is_single: bool) -> _PairCause:
    over = exceeded_limits(result)
    if result.unexcused or not over:
        # The reasons name the books, which a limit alone doesn't.
        text = result.reasons[0] if result.reasons else "it exceeds a limit"
        return _PairCause(result, "fail", text, text)
    if is_single:
        text = ", ".join(map(str, over))
        return _PairCause(result, "fail", text, text)
    first = over[0]
    key = f"{first.measure.name} > {first.limit_text}"
    return _PairCause(
        result,
        "fail",
        key,
        key,
        value=first.value,
        shown=first.value_text,
    )


def _cause_of_undecided_pair(result: PairResult, *, is_single: bool) -> _PairCause:
    incomplete = result_cause(result)
    if incomplete:
        return _cause_of_incomplete_pair(result, incomplete)
    reason = result.reasons[0] if result.reasons else "no limit was evaluated"
    cause, _, fix = reason.partition("; ")
    key = cause
    doubtful = limits_within_interval(result)
    if doubtful:
        key = f"{', '.join(doubtful)}: too close to the limit to decide"
        if len(result.reasons) == 1 and not is_single:
            cause = key
    unexplained = result.reasons[1:]
    return _PairCause(
        result, "inconclusive", key, cause, fix=fix, unexplained=unexplained
    )


def _cause_of_incomplete_pair(
    result: PairResult, cause: InconclusiveCause
) -> _PairCause:
    key = cause.sentence if cause.key == NO_ANSWER else cause.key
    unexplained = [str(issue) for issue in cause.unexplained]
    explained = set(map(str, result.completeness.issues))
    unexplained += [reason for reason in result.reasons if reason not in explained]
    return _PairCause(
        result,
        "inconclusive",
        key,
        cause.sentence,
        fix=cause.fix,
        unexplained=tuple(unexplained),
    )


def _shared_cause(members: Sequence[_PairCause]) -> ScreenCause:
    worst = max(members, key=_value_of_pair_cause)
    first = members[0]
    where = [member.pair.pair for member in members]
    shown = [worst.pair.pair] if worst.shown else where[:_FEW]
    return ScreenCause(
        kind=first.kind,
        text=worst.text,
        pairs=len(members),
        worst=worst.shown,
        where=tuple(shown),
        more=len(members) - len(shown),
        fix=first.fix,
        unexplained=tuple(_unexplained_lines(members)),
    )


def _value_of_pair_cause(member: _PairCause) -> float:
    return member.value


def _unexplained_lines(members: Sequence[_PairCause]) -> Iterator[str]:
    """Yield what the cause doesn't explain of its pairs, two at most."""
    distinct: dict[str, None] = {}
    for member in members:
        distinct |= dict.fromkeys(member.unexplained)
    texts = list(distinct)
    yield from texts[:_MOST_BESIDE]
    if len(texts) > _MOST_BESIDE:
        yield f"and {amount(len(texts) - _MOST_BESIDE, 'more issue')}"
