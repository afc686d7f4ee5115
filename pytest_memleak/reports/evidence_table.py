"""Tables of evidence in five formats, complete for programs and short for print.

Programs (CSV, JSON, Parquet) get every number unchanged. Print (Markdown, LaTeX) gets
model, book title, samples, measures with intervals, and verdict, and bundle or suite
only where rows differ in it.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.evidence_rows import data_frame, heads_of
from pytest_memleak.reports.measure_text import format_value
from pytest_memleak.results.run_verdict import expectation
from pytest_memleak.scoring.measure_table import BMC, MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records import Measure
    from pytest_memleak.reports.evidence_rows import Evidence, Row

_BUNDLE_AND_SUITE = ("bundle", "suite")
_NOTHING = "-"
_FORMULA = ("=", "+", "-", "@")
_LATEX = {char: f"\\{char}" for char in "&%$#_{}"}
_LATEX["\\"] = r"\textbackslash{}"
_LATEX["~"] = r"\textasciitilde{}"
_LATEX["^"] = r"\textasciicircum{}"
_LATEX["–"] = "--"
_TO_LATEX = str.maketrans(_LATEX)


class PrintedTable(NamedTuple):
    """A table for print: heads, lines of cells, and the heads of numeric columns."""

    heads: list[str]
    lines: list[list[str]]
    numeric: list[str]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one kind of evidence, or a measure as books x models."""

    evidence: Evidence
    kind: str
    measure: str | None = None
    by: str = "book"
    across: str = "model"

    @property
    def rows(self) -> list[Row]:
        """The rows for programs."""
        if self.kind == "correlations":
            measure = self.measure or BMC.name
            return self.evidence.correlations(measure, self.across)
        if self.measure:
            return self.evidence.grid(self.measure, self.by, self.across)
        return self.evidence.of(self.kind)

    @property
    def printed(self) -> PrintedTable:
        """The rows for print."""
        if self.measure and self.kind == "pairs":
            return self._printed_grid(self.measure)
        rows = list(self._with_titles())
        if self.kind == "pairs":
            pairs = [pair for _, pair in self.evidence.pairs]
            for row, pair in zip(rows, pairs, strict=True):
                row["verdict"] += expectation(pair)
        heads = self._printed_heads(rows)
        lines = [_row_cells(row, heads) for row in rows]
        numeric = [head for head in heads if _is_numeric_column(rows, head)]
        return PrintedTable(heads, lines, numeric)

    def _with_titles(self) -> Iterator[Row]:
        titles = self.evidence.titles
        for row in self.rows:
            shown = dict(row)
            if "book" in row:
                shown["book"] = titles[row["book"]]
            yield shown

    def _printed_heads(self, rows: Sequence[Row]) -> list[str]:
        differing = [
            key for key in _BUNDLE_AND_SUITE if _has_differing_values(rows, key)
        ]
        if self.kind == "pairs":
            measures = self.evidence.measures
            return [*differing, "model", "book", "samples", *measures, "verdict"]
        own = heads_of(rows[:1])
        others = [head for head in own if head not in _BUNDLE_AND_SUITE]
        return differing + others

    def _printed_grid(self, measure: str) -> PrintedTable:
        """Return a measure for print; a cell of a single pair has its interval."""
        grid = self.rows
        titles = self.evidence.titles
        columns = [head for head in grid[0] if head != self.by]
        pairs = self._pairs_by_cell()
        lines = []
        for row in grid:
            key = row[self.by]
            title = titles.get(key, str(key))
            line = [inert(title)]
            for column in columns:
                mean = {measure: row[column]}
                pair = pairs.get((key, column), mean)
                line.append(_cell_text(pair, measure))
            lines.append(line)
        names = list(map(inert, columns))
        return PrintedTable(
            heads=[self.by, *names],
            lines=lines,
            numeric=names,
        )

    def _pairs_by_cell(self) -> dict[tuple[Any, str], Row]:
        """Return the pair of each cell, by book and column; none for other facts."""
        pairs: dict[tuple[Any, str], Row] = {}
        if (self.by, self.across) != ("book", "model"):
            return pairs
        evidence = self.evidence
        cells = zip(evidence.rows, evidence.columns, strict=True)
        for row, column in cells:
            book = row["book"]
            pairs[book, column] = row
        return pairs


def _has_differing_values(rows: Sequence[Row], key: str) -> bool:
    values = {row.get(key) for row in rows}
    return len(values) > 1


def _is_numeric_column(rows: Sequence[Row], head: str) -> bool:
    values = [row.get(head) for row in rows]
    return any(isinstance(value, int | float) for value in values)


def _row_cells(row: Row, heads: Sequence[str]) -> list[str]:
    return [_cell_text(row, head) for head in heads]


def _cell_text(row: Row, head: str) -> str:
    value = row.get(head)
    if value is None:
        return _NOTHING
    if head in MEASURES and not isinstance(value, str):
        return _value_and_interval(row, MEASURES[head])
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return inert(str(value))


def _value_and_interval(row: Row, measure: Measure) -> str:
    name = measure.name
    text = format_value(measure, row[name])
    low = row.get(f"{name}_low")
    high = row.get(f"{name}_high")
    if low is None or high is None or low == high:
        return text
    low_text = format_value(measure, low)
    high_text = format_value(measure, high)
    return f"{text} ({low_text}–{high_text})"


def write_csv(table: Table, file: TextIO) -> None:
    """Write CSV at full precision; a ' protects text that looks like a formula."""
    write_rows(table.rows, file)


def write_rows(
    rows: Sequence[Row],
    file: TextIO,
    *,
    heads: Sequence[str] = (),
) -> None:
    """Write rows as CSV; heads: of its columns, where there may be no row."""
    heads = heads or heads_of(rows)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(_spreadsheet_safe, heads))
    for row in rows:
        values = [row.get(head) for head in heads]
        writer.writerow(map(_spreadsheet_safe, values))


def _spreadsheet_safe(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = inert(value)
    if text.startswith(_FORMULA):
        return f"'{text}"
    return text


def write_json(table: Table, file: TextIO) -> None:
    """Write a JSON list with an object per row."""
    text = json.dumps(table.rows, indent=1)
    file.write(f"{text}\n")


def write_parquet(table: Table, file: TextIO) -> None:
    """Write Parquet; SettingsError without the extra `tables`."""
    frame = data_frame(table.rows)
    file.buffer.write(frame.to_parquet(index=False))


def write_md(table: Table, file: TextIO) -> None:
    """Write a Markdown table with aligned source columns."""
    heads, lines, numeric = table.printed
    every_line = []
    for line in (heads, *lines):
        every_line.append(list(map(_without_bars, line)))
    columns = []
    cells_by_column = zip(*every_line, strict=True)
    for head, cells in zip(heads, cells_by_column, strict=True):
        width = max(3, *map(len, cells))
        columns.append(_MarkdownColumn(width, to_right=head in numeric))
    head_line, *other_lines = every_line
    rule = [column.rule for column in columns]
    for line in (head_line, rule, *other_lines):
        in_columns = zip(columns, line, strict=True)
        aligned = [column.align(cell) for column, cell in in_columns]
        file.write(f"| {' | '.join(aligned)} |\n")


def _without_bars(cell: str) -> str:
    return cell.replace("|", "/")


class _MarkdownColumn(NamedTuple):
    """The width and alignment of a column."""

    width: int
    to_right: bool

    @property
    def rule(self) -> str:
        """The rule below the head."""
        if self.to_right:
            return "-" * (self.width - 1) + ":"
        return "-" * self.width

    def align(self, cell: str) -> str:
        """Fill up a cell with blanks."""
        if self.to_right:
            return cell.rjust(self.width)
        return cell.ljust(self.width)


def write_latex(table: Table, file: TextIO) -> None:
    """Write a LaTeX tabular that needs no package."""
    heads, lines, numeric = table.printed
    alignments = ["r" if head in numeric else "l" for head in heads]
    columns = "".join(alignments)
    rows = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\hline",
        _latex_line(heads),
        r"\hline",
        *map(_latex_line, lines),
        r"\hline",
        r"\end{tabular}",
    ]
    file.writelines(f"{row}\n" for row in rows)


def _latex_line(cells: Sequence[str]) -> str:
    escaped = [cell.translate(_TO_LATEX) for cell in cells]
    return " & ".join(escaped) + r" \\"
