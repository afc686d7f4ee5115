"""Which limits of a pair are exceeded or in doubt, in the order of the measure table.

The verdict has decided (verdict/judge.py); this finds again, for reports, what it
decided on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import figure
from pytest_memleak.reports.measure_text import format_value, limit_check
from pytest_memleak.results.build_result import collect_measures
from pytest_memleak.scoring.measure_table import OF_PASSAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records import Measure
    from pytest_memleak.records.pair_result import PairResult


class ExceededLimit(NamedTuple):
    """A measure over its limit."""

    measure: Measure
    value: float
    limit: float

    @property
    def value_text(self) -> str:
        """The value, in its measure's format."""
        return format_value(self.measure, self.value)

    @property
    def limit_text(self) -> str:
        """The limit, as short as the suite file has it."""
        return figure(self.limit)

    def __str__(self) -> str:
        return f"{self.measure.name} {self.value_text} > {self.limit_text}"


def exceeded_limits(result: PairResult) -> list[ExceededLimit]:
    """Return a failed pair's exceeded limits; none of other pairs."""
    if result.plain_verdict is not Verdict.FAIL:
        return []
    if result.unexcused:
        return list(_limits_exceeded_by_other_books(result))
    return list(_limits_exceeded_by_pair(result))


def _limits_exceeded_by_pair(result: PairResult) -> Iterator[ExceededLimit]:
    for row, limit in _limited_measures(result):
        if result.works and not _is_of_all_works(row, result):
            continue
        if limit_check(result, row, limit).is_exceeded:
            yield ExceededLimit(row, result.values[row.name], limit)


def _is_of_all_works(row: Measure, result: PairResult) -> bool:
    """Whether a limit applies to a collection as a whole, not to each work.

    Limits on lengths and counts do where a passage of another book exceeds them.
    """
    if not row.of_works or row.kind == "share":
        return True
    return any(reason.startswith(f"{row.name} ") for reason in result.reasons)


def _limits_exceeded_by_other_books(result: PairResult) -> Iterator[ExceededLimit]:
    """Yield what passages of other books exceed; the pair's own book is excused."""
    for row, limit in _limited_measures(result):
        value = result.measures[row.name].get("of_others", 0)
        if row.name in OF_PASSAGES and value > limit:
            yield ExceededLimit(row, value, limit)


def _limited_measures(result: PairResult) -> Iterator[tuple[Measure, float]]:
    """Yield each measure that has a value and a limit."""
    limits = result.limit_by_measure
    for name, row in collect_measures([result]).items():
        if name in limits and name in result.values:
            yield row, limits[name]


def limits_within_interval(result: PairResult) -> list[str]:
    """Return the limits of which only the interval's end is on the other side."""
    names = []
    for row, limit in _limited_measures(result):
        if limit_check(result, row, limit).is_in_doubt:
            names.append(row.name)
    return names


def closest_limit(result: PairResult) -> tuple[str, float] | None:
    """Return the limit that is nearest to being exceeded, and its share in use.

    The share is that of the interval's upper end. None without a limit over 0.
    """
    closest = None
    for row, limit in _limited_measures(result):
        if limit <= 0:
            continue
        check = limit_check(result, row, limit)
        share = check.high / limit
        if closest is None or share > closest[1]:
            closest = (row.name, share)
    return closest
