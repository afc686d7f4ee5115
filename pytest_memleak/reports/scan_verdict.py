"""The verdict on a customer's training set, for a service that tunes models.

It names the customer's own files and rows, and neither a book nor any text, so that it
can be handed to the customer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_memleak.records import Verdict
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE, NV_LONGEST_PASSAGE

Row = Mapping[str, Any]

_COUNTS = ("rows", "texts", "rows_with_passages", "unread_rows", "unread_files")


def verdict_of(report: Row) -> Verdict:
    """Return the verdict: a limit that is exceeded fails it, whatever is unread."""
    if report["over"]:
        return Verdict.FAIL
    if report["unread_rows"] or report["unread_files"]:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def customer_verdict(
    report: Row,
    *,
    customer: str,
    exit_code: int,
    created: str,
    version: str,
) -> str:
    """Return the verdict as JSON. created: date and time, ISO 8601."""
    unread = [
        {key: place[key] for key in ("file", "row", "cause")}
        for place in report["unread"]
    ]
    rows = report["rows"]
    verdict = {
        "customer": customer,
        "verdict": verdict_of(report).value,
        "exit_code": exit_code,
        "created": created,
        "pytest_memleak": version,
        **{name: report[name] for name in _COUNTS},
        "share_of_rows": report["rows_with_passages"] / rows if rows else 0,
        "values": report["values"],
        "limits": report["limits"],
        "over": report["over"],
        "rows_to_remove": _rows_over_limits(report["passages"], report["limits"]),
        "unread": unread,
    }
    return f"{json.dumps(verdict, indent=2)}\n"


def _rows_over_limits(
    passages: Iterable[Row],
    limits: Mapping[str, float | None],
) -> list[dict[str, Any]]:
    """Return the rows with a passage over its limit, with the longest's words."""
    longest: dict[tuple[str, int], int] = {}
    for passage in passages:
        limit = limits[
            (NV_LONGEST_PASSAGE if passage["near"] else LONGEST_PASSAGE).name
        ]
        if limit is None or passage["words"] <= limit:
            continue
        place = (passage["file"], passage["row"])
        longest[place] = max(longest.get(place, 0), passage["words"])
    return [
        {"file": file, "row": row, "words": words}
        for (file, row), words in longest.items()
    ]
