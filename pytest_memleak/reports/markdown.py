"""The summary that GitHub shows on a job's page: a table of pairs, and why each is not a pass.

It quotes nothing, whatever --memleak-quote says: such pages are read by many, and kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.passage_selection import of_other_books, passage, told_passages
from pytest_memleak.reports.release_text import release_details, release_words
from pytest_memleak.reports.report_text import (
    captions,
    cell,
    detects,
    generation_lines,
    notice_lines,
    of_suites,
    of_works,
    outcome,
)
from pytest_memleak.results.build_result import overview

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_memleak.records import Measure
    from pytest_memleak.records.pair_result import PairResult, RunReport

_MOST_ROWS = 200
_MOST_DETAILS = 100
_LONGEST_NAME = 120
_LONGEST_REASON = 400
_MARKS = {"pass": "✅", "fail": "❌", "inconclusive": "❔", "expected": "☑️", "unexpected": "❗"}
_MARK = re.compile(r"[!-/:-@\[-`{-~]")


def append_summary(run: RunReport, path: Path) -> None:
    """Add the summary to the file that GITHUB_STEP_SUMMARY names; MemleakError if that fails."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(summary(run))
    except OSError as error:
        raise MemleakError(
            f"the step summary could not be written: {error.strerror or error}",
            location=str(path),
            hint="GITHUB_STEP_SUMMARY must name a file; unset it where no runner reads it",
        ) from None


def summary(run: RunReport) -> str:
    """The whole summary in GitHub's Markdown."""
    lines = ["## Memorization", "", *_table(run.results[:_MOST_ROWS])]
    for caption in captions(run.results):
        lines += ["", _plain(caption)]
    for line in of_suites(run.results):
        lines += ["", _plain(line)]
    if run.compared:
        lines += ["", f"**{_plain(release_words(run.compared))}**", ""]
        lines += [f"- {_plain(said)}" for said in release_details(run.compared)]
    if left := len(run.results) - _MOST_ROWS:
        lines += ["", f"… and {left:,} more pairs."] if left > 0 else []
    # Whatever has to be left out, no reason is.
    told = sorted(filter(_to_tell, run.results), key=lambda found: not found.reasons)
    for found in told[:_MOST_DETAILS]:
        lines += ["", *_details(found)]
    if len(told) > _MOST_DETAILS:
        lines += ["", f"… and {len(told) - _MOST_DETAILS:,} more with reasons."]
    lines += ["", f"pytest-memleak {_plain(run.version)}", "", ""]
    return "\n".join(lines)


def _table(findings: tuple[PairResult, ...]) -> Iterator[str]:
    measures = overview(findings)
    compared = ["compared"] if any(found.compared for found in findings) else []
    heads = ["pair", "verdict", *compared, *(row.name for row in measures), "drawn", "detects"]
    yield f"| {' | '.join(heads)} |"
    yield f"| {'--- | ' * (2 + len(compared))}{'---: | ' * len(measures)}---: | ---: |"
    for found in findings:
        cells = [
            _plain(found.pair, _LONGEST_NAME),
            f"{_MARKS[outcome(found).kind]} {outcome(found).word}",
            *([_compared(found)] if compared else []),
            *(_cell(found, row) for row in measures),
            f"{found.received:,} of {found.requested:,}",
            detects(found),
        ]
        yield f"| {' | '.join(cells)} |"


def _compared(found: PairResult) -> str:
    return f"{_MARKS[found.compared.lower()]} {found.compared}" if found.compared else ""


def _cell(found: PairResult, row: Measure) -> str:
    if row.name not in found.measures:
        return "not measured"
    said, over = cell(found, row, interval=True, limit=True)
    return f"**{said}**" if over else said


def _to_tell(found: PairResult) -> bool:
    told = found.reasons or found.spared or found.warnings or found.changes or found.unasked
    return bool(told or found.leaking or outcome(found).note or any(notice_lines(found)))


def _details(found: PairResult) -> Iterator[str]:
    yield f"<details><summary>{_plain(found.pair, _LONGEST_NAME)}: {outcome(found).word}</summary>"
    yield ""
    for reason in (
        *filter(None, [outcome(found).note]),
        *found.reasons,
        *found.changes,
        *filter(None, [found.spared]),
    ):
        yield f"- {_plain(reason)}"
    for line in of_works(found):
        yield f"- {_plain(line)}"
    for title, said in generation_lines(found):
        yield f"- {title}: {_plain(said)}"
    for one in told_passages(found):
        yield f"- {passage(one, _plain(one.place))}"
    for line in of_other_books(found):
        yield f"- {_plain(line)}"
    for warning in found.warnings:
        yield f"- warning: {_plain(warning)}"
    yield ""
    yield "</details>"


def _plain(text: str, longest: int = _LONGEST_REASON) -> str:
    """Text that Markdown and HTML make nothing of: every mark of ASCII as a character reference.

    A reference never opens a tag, a link, a code span or a cell.
    """
    return _MARK.sub(lambda mark: f"&#{ord(mark[0])};", inert(text, longest=longest))
