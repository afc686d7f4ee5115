"""Rows of evidence as text: complete for programs (CSV, JSON), in few columns for print.

Printed pairs show model, book title, samples, measures with intervals, and verdict, and their
bundle or suite only where rows differ in it.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TextIO

from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.evidence_table import columns_of, data_frame
from pytest_memleak.reports.report_text import format_value
from pytest_memleak.scoring.measure_table import MEASURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.records import Measure
    from pytest_memleak.reports.evidence_table import Evidence, Row

_FORMULA = ("=", "+", "-", "@")
_LATEX = {char: f"\\{char}" for char in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "–": "--",
}  # fmt: skip
_NOTHING = "-"


class Printed(NamedTuple):
    """A table for print: heads, cells, and the heads of numeric columns."""

    heads: list[str]
    rows: list[list[str]]
    numbers: list[str]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one kind of evidence, or books x models of a measure."""

    evidence: Evidence
    kind: str
    measure: str | None = None

    @property
    def rows(self) -> list[Row]:
        """The rows for programs."""
        return self.evidence.grid(self.measure) if self.measure else self.evidence.of(self.kind)

    @property
    def printed(self) -> Printed:
        """The rows for print."""
        if self.measure:
            return _printed_grid(self.evidence, self.measure)
        return _printed_rows(self.evidence, self.kind)


# --- for programs --------------------------------------------------------------------------


def write_csv(table: Table, file: TextIO) -> None:
    """Write CSV at full precision; a ' protects text that spreadsheets take for a formula."""
    rows = table.rows
    heads = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([_safe(head) for head in heads])
    writer.writerows([_safe(row.get(head)) for head in heads] for row in rows)


def _safe(value: object) -> object:
    if isinstance(value, str):
        text = inert(value)
        return f"'{text}" if text.startswith(_FORMULA) else text
    return value


def write_json(table: Table, file: TextIO) -> None:
    """Write a JSON list with an object per row."""
    file.write(json.dumps(table.rows, indent=1) + "\n")


def write_parquet(table: Table, file: TextIO) -> None:
    """Write Parquet; SettingsError without the extra `tables`."""
    file.buffer.write(data_frame(table.rows).to_parquet(index=False))


# --- for print -----------------------------------------------------------------------------


def _printed_rows(evidence: Evidence, kind: str) -> Printed:
    """Lay out the rows of one of ROWS for print."""
    rows = evidence.of(kind)
    if kind != "pairs":
        heads = [head for head in (rows[0] if rows else ()) if head not in ("bundle", "suite")]
        return _cells(evidence, rows, [*_varying_keys(rows), *heads])
    names = evidence.measures
    heads = [*_varying_keys(rows), "model", "book", "samples", *names, "verdict"]
    table = _cells(evidence, rows, heads)
    for row, cells in zip(rows, table.rows, strict=True):
        for name in names:
            cells[heads.index(name)] += _interval(row, MEASURES[name])
    return table


def _printed_grid(evidence: Evidence, measure: str) -> Printed:
    """Lay out books x models for print: the measure with its interval."""
    grid = evidence.grid(measure)
    models = [head for head in grid[0] if head != "book"]
    measured = MEASURES[measure]
    cells = {
        (row["book"], column): _value(row.get(measure), measured) + _interval(row, measured)
        for row, column in zip(evidence.rows, columns_of(evidence.rows), strict=True)
    }
    titles, books = evidence.titles, [row["book"] for row in grid]
    lines = [
        [inert(titles[book]), *(cells.get((book, model), _NOTHING) for model in models)]
        for book in books
    ]
    return Printed(["book", *map(inert, models)], lines, list(map(inert, models)))


def _varying_keys(rows: Sequence[Row]) -> list[str]:
    """List the origins, bundle or suite, in which rows differ."""
    return [key for key in ("bundle", "suite") if len({row[key] for row in rows}) > 1]


def _cells(evidence: Evidence, rows: Sequence[Row], heads: list[str]) -> Printed:
    lines = [[_cell(evidence, row, head) for head in heads] for row in rows]
    numbers = [head for head in heads if any(_is_number(row.get(head)) for row in rows)]
    return Printed(heads, lines, numbers)


def _cell(evidence: Evidence, row: Row, head: str) -> str:
    if head == "book":
        return inert(evidence.titles[row["book"]])
    return _value(row.get(head), MEASURES.get(head))


def _value(value: object, measure: Measure | None) -> str:
    if value is None:
        return _NOTHING
    if measure and isinstance(value, int | float):
        return format_value(measure, value)
    return f"{value:,}" if isinstance(value, int) else inert(str(value))


def _interval(row: Row, measure: Measure) -> str:
    low, high = row.get(f"{measure.name}_low"), row.get(f"{measure.name}_high")
    if low is None or high is None or low == high:
        return ""
    return f" ({format_value(measure, low)}–{format_value(measure, high)})"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def write_md(selected: Table, file: TextIO) -> None:
    """Write a Markdown table with aligned source columns."""
    table = selected.printed
    lines = [[cell.replace("|", "/") for cell in line] for line in (table.heads, *table.rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    right = [head in table.numbers for head in table.heads]
    rule = [
        f"{'-' * (width - 1)}:" if numbers else "-" * width
        for width, numbers in zip(widths, right, strict=True)
    ]
    for line in (lines[0], rule, *lines[1:]):
        columns = zip(line, widths, right, strict=True)
        cells = (cell.rjust(w) if numbers else cell.ljust(w) for cell, w, numbers in columns)
        file.write(f"| {' | '.join(cells)} |\n")


def write_latex(selected: Table, file: TextIO) -> None:
    """Write a LaTeX tabular that needs no package."""
    table = selected.printed

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(_escaped, cells)) + r" \\"

    columns = "".join("r" if head in table.numbers else "l" for head in table.heads)
    lines = [
        rf"\begin{{tabular}}{{{columns}}}",
        *(r"\hline", line(table.heads), r"\hline"),
        *map(line, table.rows),
        *(r"\hline", r"\end{tabular}"),
    ]
    file.writelines(f"{line}\n" for line in lines)


def _escaped(cell: str) -> str:
    return "".join(_LATEX.get(char, char) for char in cell)
