"""GitHub's job summary: the first screen, a table of pairs, and details of each.

It never quotes a book, whatever --memleak-quote says, since many people read these
pages.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError, file_errors
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.book_text import excluded_lines, leaking_work_lines
from pytest_memleak.reports.detection_and_chance import detection_text
from pytest_memleak.reports.first_screen import first_screen
from pytest_memleak.reports.generation_text import generation_lines, notice_lines
from pytest_memleak.reports.measure_text import measure_cell
from pytest_memleak.reports.pair_outcome import BRIEF_FROM_PAIRS, LOOKS, pair_outcome
from pytest_memleak.reports.passage_selection import (
    other_book_lines,
    passage_text,
    reported_passages,
)
from pytest_memleak.reports.release_text import comparison_lines, comparison_sentence
from pytest_memleak.reports.screen_view import SCREEN_LOOKS
from pytest_memleak.results.build_result import overview_measures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_memleak.records import Measure
    from pytest_memleak.records.pair_result import PairResult, RunReport
    from pytest_memleak.reports.screen_view import (
        FirstScreen,
        ScreenCause,
        ScreenCell,
        ScreenMap,
    )

_MOST_ROWS = 200
_MOST_DETAILS = 100
_LONGEST_NAME = 120
_LONGEST_REASON = 400
_MARK = re.compile(r"[!-/:-@\[-`{-~]")


def append_job_summary(run: RunReport, path: Path) -> None:
    """Append the summary, if there are results, to GitHub's file.

    Raises MemleakError.
    """
    if not run.results:
        return
    hint = "GITHUB_STEP_SUMMARY must name a writable file; unset it outside CI"
    with (
        file_errors(MemleakError, path, "Can't write the job summary", hint=hint),
        path.open("a", encoding="utf-8") as file,
    ):
        file.write(summary(run))


def summary(run: RunReport) -> str:
    """Render the whole summary in GitHub's Markdown."""
    lines = [*_first_screen_lines(first_screen(run)), ""]
    table = _table_lines(run.results[:_MOST_ROWS])
    if len(run.results) < BRIEF_FROM_PAIRS:
        lines += table
    else:
        lines += ["<details><summary>All measures</summary>", "", *table]
        lines += ["", "</details>"]
    books = {result.book.id: result.book for result in run.results}
    for name, book in books.items():
        for line in (*excluded_lines(book.parts), f"text {book.approval}"):
            lines += ["", f"{_escaped_within(name, _LONGEST_NAME)}: {line}"]
    if run.compared:
        lines += ["", f"**{_escaped_within(comparison_sentence(run.compared))}**", ""]
        lines += [
            f"- {_escaped_within(line)}" for line in comparison_lines(run.compared)
        ]
    if left := len(run.results) - _MOST_ROWS:
        lines += ["", f"… and {amount(left, 'more pair')}."] if left > 0 else []
    # Pairs with reasons first, since the page has room for so many only.
    noticed = sorted(
        filter(_has_details, run.results),
        key=lambda result: not result.reasons,
    )
    for result in noticed[:_MOST_DETAILS]:
        lines += ["", *_detail_lines(result)]
    if len(noticed) > _MOST_DETAILS:
        lines += [
            "",
            f"… and reasons for {amount(len(noticed) - _MOST_DETAILS, 'more pair')}.",
        ]
    lines += ["", f"pytest-memleak {_escaped_within(run.version)}", "", ""]
    return "\n".join(lines)


def _first_screen_lines(view: FirstScreen) -> Iterator[str]:
    """Render the first screen."""
    kind = view.verdict.value.lower()
    emoji = SCREEN_LOOKS[kind].emoji if kind in SCREEN_LOOKS else ""
    yield from (
        f"## {emoji} Memorization: {view.verdict}",
        "",
        _escaped_within(view.headline),
    )
    for screen_map in view.maps:
        yield from _map_lines(screen_map)
    if view.causes:
        yield ""
    for cause in view.causes:
        yield from _cause_lines(cause)
    if view.more_causes:
        yield f"- … and {amount(view.more_causes, 'more cause')}"
    for note in view.notes:
        yield from ("", _escaped_within(note))
    command = _escaped_within(view.next.command)
    yield from ("", f"Next: <code>{command}</code> ({_escaped_within(view.next.why)})")


def _map_lines(screen_map: ScreenMap) -> Iterator[str]:
    """Render a suite's map, or its models alone where pairs don't fill a map."""
    yield ""
    if screen_map.suite:
        yield from (f"**{_escaped_within(screen_map.suite, _LONGEST_NAME)}**", "")
    if not screen_map.rows:
        for model in screen_map.models:
            emoji = SCREEN_LOOKS[model.kind].emoji
            name = _escaped_within(model.name, _LONGEST_NAME)
            yield f"- {emoji} {name}: {_escaped_within(model.text)}"
        return
    names = [_escaped_within(model.name, _LONGEST_NAME) for model in screen_map.models]
    yield f"| book | {' | '.join(names)} |"
    yield f"| --- |{' ---: |' * len(names)}"
    for row in screen_map.rows[:_MOST_ROWS]:
        places = [" ".join(map(_map_cell, cells)) for cells in row.cells]
        book = _escaped_within(row.title, _LONGEST_NAME)
        yield f"| {book} | {' | '.join(places)} |"
    if left := len(screen_map.rows[_MOST_ROWS:]):
        yield from ("", f"… and {amount(left, 'more book')}.")
    if screen_map.folded:
        books = amount(len(screen_map.folded), "more book")
        yield from ("", f"… and {books}, which every model passes.")


def _map_cell(cell: ScreenCell) -> str:
    emoji = SCREEN_LOOKS[cell.kind].emoji
    return f"{emoji} {_escaped_within(cell.text, _LONGEST_NAME)}".rstrip()


def _cause_lines(cause: ScreenCause) -> Iterator[str]:
    emoji = SCREEN_LOOKS[cause.kind].emoji
    text = f"{cause.count}: {_escaped_within(cause.text)}"
    yield f"- {emoji} **{text}** ({_escaped_within(cause.place)})"
    if cause.fix:
        yield f"  Fix: {_escaped_within(cause.fix)}"
    for line in cause.unexplained:
        yield f"  Also: {_escaped_within(line)}"


def _table_lines(results: tuple[PairResult, ...]) -> Iterator[str]:
    measures = overview_measures(results)
    compared = ["compared"] if any(result.compared for result in results) else []
    heads = ["pair", "verdict", *compared, *(row.name for row in measures)]
    heads += ["received", "detection limit"]
    yield f"| {' | '.join(heads)} |"
    yield f"| {'--- | ' * (2 + len(compared))}{'---: | ' * len(measures)}---: | ---: |"
    for result in results:
        outcome, word = pair_outcome(result), result.compared
        change = f"{LOOKS[word.lower()].emoji} {word}" if word else ""
        cells = [
            _escaped_within(result.pair, _LONGEST_NAME),
            f"{outcome.style.emoji} {outcome.word}",
            *([change] if compared else []),
            *(_cell_text(result, row) for row in measures),
            f"{result.received:,} of {result.requested:,}",
            detection_text(result),
        ]
        yield f"| {' | '.join(cells)} |"


def _cell_text(result: PairResult, row: Measure) -> str:
    if row.name not in result.values:
        return "not measured"
    text, over = measure_cell(result, row, interval=True, limit=True)
    return f"**{text}**" if over else text


def _has_details(result: PairResult) -> bool:
    notices = (
        result.reasons
        or result.spared
        or result.warnings
        or result.changes
        or result.passages_beside_verdict
    )
    return bool(
        notices
        or result.leaking
        or pair_outcome(result).note
        or any(notice_lines(result)),
    )


def _detail_lines(result: PairResult) -> Iterator[str]:
    outcome = pair_outcome(result)
    pair = _escaped_within(result.pair, _LONGEST_NAME)
    yield f"<details><summary>{pair}: {outcome.word}</summary>"
    yield ""
    reasons = (outcome.note, *result.reasons, *result.changes, result.spared)
    for line in (
        *filter(None, reasons),
        *leaking_work_lines(result),
        *generation_lines(result),
    ):
        yield f"- {_escaped_within(line)}"
    for passage in reported_passages(result):
        yield f"- {passage_text(passage, _escaped_within(passage.place))}"
    for line in other_book_lines(result):
        yield f"- {_escaped_within(line)}"
    for warning in result.warnings:
        yield f"- warning: {_escaped_within(warning)}"
    yield ""
    yield "</details>"


def _escaped_within(text: str, longest: int = _LONGEST_REASON) -> str:
    """Escape every ASCII punctuation mark as a character reference.

    A reference never opens a tag, a link, a code span or a cell.
    """
    return _MARK.sub(lambda mark: f"&#{ord(mark[0])};", inert(text, longest=longest))
