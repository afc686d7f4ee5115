"""Measures as text: values, limits, intervals, units and rates.

Measures appear under the names that suite files use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import LimitCheck
from pytest_memleak.records.number_format import amount, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.records import Measure
    from pytest_memleak.records.measurement import PassageRate
    from pytest_memleak.records.pair_result import PairResult

_LETTERS = {"k": "k", "span_threshold": "T"}


def format_value(row: Measure, value: float) -> str:
    """Format a value or a limit: a share to three places, a count whole."""
    if row.kind == "share":
        return f"{value:,.3f}"
    if row.kind == "count":
        return f"{value:,.0f}"
    return f"{value:,.4g}"


def format_percent(row: Measure, value: float) -> str:
    """Format a value or a limit of the measure, a share as a percentage."""
    if row.kind == "share":
        return percent(value)
    return format_value(row, value)


def format_p(p: float) -> str:
    """Format a p-value to three places."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"  # noqa: PLR2004 - the least of three places


def measure_cell(
    result: PairResult,
    row: Measure,
    *,
    interval: bool,
    limit: bool,
) -> tuple[str, bool]:
    """Format a table cell: value, interval and limit; and whether it is over that."""
    value = result.values[row.name]
    limit_value = result.limit_by_measure.get(row.name)
    text = format_value(row, value)
    if interval and row.name in result.intervals:
        low, high = result.intervals[row.name]
        text += f" ({format_value(row, low)}–{format_value(row, high)})"
    if row.name in result.chances:
        p_value = result.chances[row.name]
        text += f" {format_p(p_value)}"
    if limit_value is None:
        return text, False
    if limit:
        relation = ">" if value > limit_value else "≤"
        text += f" {relation} {format_value(row, limit_value)}"
    check = limit_check(result, row, limit_value)
    return text, check.is_exceeded


def limit_check(
    result: PairResult,
    row: Measure,
    limit: float,
) -> LimitCheck:
    """Return a limit beside the measure, as the verdict compares them."""
    value = result.values[row.name]
    low, high = result.intervals.get(row.name, (value, value))
    return LimitCheck(row.name, value, limit, low, high, row.rises)


def unit_text(row: Measure, results: Sequence[PairResult]) -> str:
    """Name the measure's unit with k and T, as letters where pairs differ in them."""
    settings = dict(_LETTERS)
    for name in _LETTERS:
        values = {result.settings[name] for result in results}
        if len(values) == 1:
            settings[name] = values.pop()
    return row.unit.format(**settings)


def rate_text(rate: PassageRate) -> str:
    """State how many generations of its own prompt have the passage, and its rate."""
    text = f"in {rate.hits:,} of {amount(rate.tries, 'generation')} from its prompt"
    if rate.low == rate.high:
        return text
    about = "about " if rate.approximate else ""
    return f"{text}; likely rate {about}{percent(rate.low)} to {percent(rate.high)}"
