"""The HTML page of a scan: which books, how much of each, where, and when.

One self-contained file without scripts, as that of a run (`page`). It has text of books
only where the scan was asked for quotes.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pytest_memleak.records.number_format import percent
from pytest_memleak.reports.html.coverage_strips import WIDTH, Strip, draw_strip
from pytest_memleak.reports.html.page import environment, style_sheet
from pytest_memleak.reports.scan_verdict import verdict_of

if TYPE_CHECKING:
    import datetime

Row = Mapping[str, Any]

_MOST_LISTED = 200
_COLUMNS = 200
_MOST_PERIODS = 62
_MONTH = len("2026-12")


@dataclass(frozen=True, slots=True)
class ScannedBook:
    """A book with passages: its row of the report, and a strip of their places."""

    row: Row
    strip: Strip


@dataclass(frozen=True, slots=True)
class CountedRows:
    """How many rows with passages a file or a period has; share: of the greatest."""

    name: str
    rows: int
    share: float


def scan_page(
    report: Row,
    *,
    created: datetime.datetime,
    version: str,
) -> str:
    """Render the page. created: the time in UTC."""
    style = style_sheet()
    digest = hashlib.sha256(style.encode()).digest()
    passages = sorted(report["passages"], key=itemgetter("words"), reverse=True)
    verdict = verdict_of(report).value
    template = environment().get_template("scan.html.j2")
    return template.render(
        style=Markup(style),  # noqa: S704 - our own file
        style_digest=base64.b64encode(digest).decode(),
        version=version,
        created=created,
        report=report,
        verdict=verdict,
        kind=verdict.lower(),
        shown=_words_or_share,
        books=[_scanned_book(book, passages) for book in report["books"]],
        passages=passages[:_MOST_LISTED],
        further=max(len(passages) - _MOST_LISTED, 0),
        has_quotes=any("quote" in passage for passage in passages),
        files=_rows_by_file(passages)[:_MOST_LISTED],
        periods=_rows_by_period(passages),
        unread=report["unread"][:_MOST_LISTED],
        width=WIDTH,
    )


def _words_or_share(value: float) -> str:
    """Return a measure: words, or a share."""
    return percent(value) if isinstance(value, float) else f"{value:,}"


def _scanned_book(book: Row, passages: Iterable[Row]) -> ScannedBook:
    times = np.zeros(book["words"], dtype=np.int32)
    most = 0
    for passage in passages:
        if passage["book"] == book["book"]:
            times[passage["start"] : passage["end"]] += 1
            most += 1
    # The color tells the share of all passages that cover a place.
    return ScannedBook(book, draw_strip(times, most, columns=_COLUMNS))


def _rows_by_file(passages: Iterable[Row]) -> list[CountedRows]:
    rows = {(passage["file"], passage["row"]) for passage in passages}
    counts = Counter(file for file, _ in rows)
    return _counted_rows(sorted(counts.items(), key=_most_first))


def _most_first(count: tuple[str, int]) -> tuple[int, str]:
    return -count[1], count[0]


def _rows_by_period(passages: Iterable[Row]) -> list[CountedRows]:
    """Count the rows that have dates by day, or by month if these are many."""
    dates = {
        (passage["file"], passage["row"]): passage["date"]
        for passage in passages
        if passage["date"]
    }
    periods = Counter(dates.values())
    if len(periods) > _MOST_PERIODS:
        periods = Counter(date[:_MONTH] for date in dates.values())
    return _counted_rows(sorted(periods.items()))


def _counted_rows(counts: Sequence[tuple[str, int]]) -> list[CountedRows]:
    most = max((rows for _, rows in counts), default=1)
    return [CountedRows(name, rows, rows / most) for name, rows in counts]
