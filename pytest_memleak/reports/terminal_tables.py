"""The terminal's table of pairs: a row for each pair."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.console import print_table_at_full_width, unfolded_width
from pytest_memleak.reports.detection_and_chance import detection_text
from pytest_memleak.reports.measure_text import format_value, measure_cell
from pytest_memleak.reports.pair_outcome import LOOKS, pair_outcome
from pytest_memleak.results.build_result import collect_measures, overview_measures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from pytest_memleak.records import Measure
    from pytest_memleak.records.pair_result import PairResult


class _NarrowingStep(IntEnum):
    """Steps that make the pairs' table narrower; each includes those before it.

    HEADS: break heads; BLANKS: one between columns, not two; MEASURES: only those of
    the overview, since the reasons below the table name every exceeded limit; EXPECTED:
    expectations below the verdict; ROWS: books below their models, detection limits
    below the counts; COUNTS: both of these below the verdict
    """

    NOT = 0
    HEADS = 1
    BLANKS = 2
    MEASURES = 3
    EXPECTED = 4
    ROWS = 5
    COUNTS = 6


def print_rows(
    console: Console,
    results: Sequence[PairResult],
    *,
    wrap: bool,
) -> None:
    """Print the pairs' table as narrow as the width requires; wrap: fold rows, too."""
    steps = list(_NarrowingStep)
    if not wrap:
        steps = steps[: _NarrowingStep.EXPECTED]
    for narrow in steps:
        table = _PairTable(results, narrow).build()
        if unfolded_width(console, table) <= console.width:
            break
    else:
        if wrap:
            table = _with_fitting_measures(results, console)
    print_table_at_full_width(console, table)


def _with_fitting_measures(results: Sequence[PairResult], console: Console) -> Table:
    """Build the narrowest table with as many measures as fit, at least one."""
    most = len(_PairTable(results, _NarrowingStep.COUNTS).measures)
    while True:
        most -= 1
        table = _PairTable(results, _NarrowingStep.COUNTS, most=most).build()
        if most <= 1 or unfolded_width(console, table) <= console.width:
            return table


class _PairTable:
    """The table of pairs x measures at one width; limits that differ stand in cells.

    most: the number of measures; None for all
    """

    def __init__(
        self,
        results: Sequence[PairResult],
        narrow: _NarrowingStep,
        *,
        most: int | None = None,
    ) -> None:
        self._results = results
        self._narrow = narrow
        self._has_several_suites = len({result.suite.name for result in results}) > 1
        self._has_detection = any(result.detection for result in results)
        self._has_comparison = any(result.compared for result in results)
        first_limits = results[0].limit_by_measure
        self._has_same_limits = all(
            result.limit_by_measure == first_limits for result in results
        )
        self.measures = self._shown_measures()[:most]

    def _shown_measures(self) -> list[Measure]:
        names = {row.name for row in overview_measures(self._results)}
        if self._narrow < _NarrowingStep.MEASURES:
            for result in self._results:
                names |= set(result.limits)
        measured = collect_measures(self._results).values()
        return [row for row in measured if row.name in names]

    def build(self) -> Table:
        """Build the table."""
        table = Table(
            box=None,
            pad_edge=False,
            collapse_padding=self._narrow >= _NarrowingStep.BLANKS,
            header_style="bold",
            show_footer=self._has_same_limits,
        )
        self._add_columns(table)
        for result in self._results:
            table.add_row(*self._result_cells(result))
        return table

    def _add_columns(self, table: Table) -> None:
        if self._has_several_suites:
            table.add_column("suite", overflow="fold")
        footer = Text("limit", style="dim")
        table.add_column("pair", footer=footer, overflow="fold")
        limits = self._results[0].limit_by_measure
        for row in self.measures:
            limit = ""
            if row.name in limits:
                limit = f"≤{format_value(row, limits[row.name])}"
            head = row.name
            if self._narrow >= _NarrowingStep.HEADS:
                head = head.replace("_", "_\n")
            footer = Text(limit, style="dim")
            table.add_column(
                head,
                footer=footer,
                justify="right",
                no_wrap=True,
            )
        heads = self._heads_of_counts()
        if self._narrow >= _NarrowingStep.COUNTS:
            table.add_column("\n".join(["verdict", *heads]), no_wrap=True)
        else:
            if self._narrow >= _NarrowingStep.ROWS:
                heads = ["\n".join(heads)]
            for head in heads:
                table.add_column(head, justify="right", no_wrap=True)
            table.add_column("verdict", no_wrap=True)
        if self._has_comparison:
            table.add_column("compared", no_wrap=True)

    def _heads_of_counts(self) -> list[str]:
        if not self._has_detection:
            return ["received"]
        if self._narrow >= _NarrowingStep.HEADS:
            return ["received", "detection\nlimit"]
        return ["received", "detection limit"]

    def _result_cells(self, result: PairResult) -> Iterator[Text]:
        if self._has_several_suites:
            yield Text(inert(result.suite.name))
        pair = result.pair
        if self._narrow >= _NarrowingStep.ROWS:
            pair = pair.replace("/", "/\n", 1)
        yield Text(pair)
        for row in self.measures:
            yield _cell(result, row, with_limit=not self._has_same_limits)
        yield from self._counts_and_verdict(result)
        if self._has_comparison:
            yield _comparison_cell(result)

    def _counts_and_verdict(self, result: PairResult) -> list[Text]:
        counts = ["-"]
        if result.requested:
            counts = [f"{result.received:,}/{result.requested:,}"]
        if self._has_detection:
            counts.append(detection_text(result))
        outcome = pair_outcome(result)
        word = outcome.word
        if self._narrow >= _NarrowingStep.EXPECTED:
            word = word.replace(" (", "\n(")
        verdict = Text(word, style=outcome.style.color)
        if self._narrow >= _NarrowingStep.COUNTS:
            for count in counts:
                verdict.append(f"\n{count}", style="default")
            return [verdict]
        if self._narrow >= _NarrowingStep.ROWS:
            counts = ["\n".join(counts)]
        return [*map(Text, counts), verdict]


def _cell(
    result: PairResult,
    row: Measure,
    *,
    with_limit: bool,
) -> Text:
    if row.name not in result.values:
        return Text("-")
    text, over = measure_cell(result, row, interval=False, limit=with_limit)
    style = "red" if over else ""
    return Text(text.replace(" ", ""), style=style)


def _comparison_cell(result: PairResult) -> Text:
    word = result.compared
    if not word:
        return Text("-")
    look = LOOKS[word.lower()]
    return Text(word, style=look.color)
