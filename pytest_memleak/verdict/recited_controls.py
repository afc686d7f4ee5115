"""Negative controls whose own book comes back: the model has read it after all.

Such a book is no negative control. Its pair is INCONCLUSIVE, and so are the pairs whose
chance level it gives (docs/method.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_memleak.records import Estimate, Issue, Verdict
from pytest_memleak.records.number_format import figure
from pytest_memleak.records.verdicts import RECITED, is_recited
from pytest_memleak.scoring.measure_table import PASSAGES, PASSAGES_OVER, with_needs
from pytest_memleak.verdict.judge import check_limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_memleak.records import Limits, VerdictResult
    from pytest_memleak.scoring.protected_passages import ProtectedPassages

_FIX = "replace it with a book that is in no training set"


def own_book_passage_measures(passages: ProtectedPassages) -> dict[str, float]:
    """Return the measures of the passages of a control's own book."""
    apart, _ = passages.measures_of_own_book_and_others()
    if apart:
        return apart
    values = {name: float(passage.words) for name, passage in passages.longest.items()}
    return values | {PASSAGES_OVER.name: float(passages.passages_over)}


def recited_control_issues(
    book_id: str,
    values: Mapping[str, float],
    limits: Limits,
) -> Iterator[Issue]:
    """Yield an issue if passages of a control's own book exceed a limit on passages.

    values: the measures of these passages
    """
    names = with_needs(limits, PASSAGES)
    estimates = {
        name: Estimate.exact(value) for name, value in values.items() if name in names
    }
    over = [check for check in check_limits(estimates, limits) if check.is_exceeded]
    if over:
        check = over[0]
        value, limit = figure(check.value), figure(check.limit)
        yield Issue(
            RECITED,
            f"{book_id} comes back ({check.measure} {value}, limit {limit}), so it is "
            "no negative control",
            _FIX,
        )


def inconclusive_if_recited(
    result: VerdictResult,
    issues: tuple[Issue, ...],
) -> VerdictResult:
    """Return the verdict on a control's pair: INCONCLUSIVE if it is no control.

    A passage of another book fails it all the same.

    issues: of its evidence
    """
    if result.unexcused or not is_recited(issues):
        return result
    return replace(result, verdict=Verdict.INCONCLUSIVE, issues=issues)
