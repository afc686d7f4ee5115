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


class Printed(NamedTuple):
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
            return self.evidence.correlations(self.measure or BMC.name, self.across)
        if self.measure:
            return self.evidence.grid(self.measure, self.by, self.across)
        return self.evidence.of(self.kind)

    @property
    def printed(self) -> Printed:
        """The rows for print."""
        if self.measure and self.kind == "pairs":
            return self._printed_grid(self.measure)
        rows = list(self._with_titles())
        if self.kind == "pairs":
            for row, (_, pair) in zip(rows, self.evidence.pairs, strict=True):
                row["verdict"] += expectation(pair)
        heads = self._printed_heads(rows)
        lines = [_line(row, heads) for row in rows]
        return Printed(
            heads,
            lines,
            [head for head in heads if _is_numeric(rows, head)],
        )

    def _with_titles(self) -> Iterator[Row]:
        titles = self.evidence.titles
        for row in self.rows:
            title = {"book": titles[row["book"]]} if "book" in row else {}
            yield row | title

    def _printed_heads(self, rows: Sequence[Row]) -> list[str]:
        differing = [key for key in _BUNDLE_AND_SUITE if _differs(rows, key)]
        if self.kind == "pairs":
            measures = self.evidence.measures
            return [*differing, "model", "book", "samples", *measures, "verdict"]
        own = heads_of(rows[:1])
        return differing + [head for head in own if head not in _BUNDLE_AND_SUITE]

    def _printed_grid(self, measure: str) -> Printed:
        """Return a measure for print; a cell of a single pair has its interval."""
        grid, titles = self.rows, self.evidence.titles
        columns = [head for head in grid[0] if head != self.by]
        pairs: dict[tuple[Any, str], Row] = {}
        if (self.by, self.across) == ("book", "model"):
            evidence = self.evidence
            for row, column in zip(evidence.rows, evidence.columns, strict=True):
                pairs[row[self.by], column] = row
        lines = []
        for row in grid:
            key = row[self.by]
            line = [inert(titles.get(key, str(key)))]
            for column in columns:
                pair = pairs.get((key, column), {measure: row[column]})
                line.append(_cell(pair, measure))
            lines.append(line)
        names = list(map(inert, columns))
        return Printed([self.by, *names], lines, names)


def _differs(rows: Sequence[Row], key: str) -> bool:
    return len({row.get(key) for row in rows}) > 1


def _is_numeric(rows: Sequence[Row], head: str) -> bool:
    return any(isinstance(row.get(head), int | float) for row in rows)


def _line(row: Row, heads: Sequence[str]) -> list[str]:
    return [_cell(row, head) for head in heads]


def _cell(row: Row, head: str) -> str:
    value = row.get(head)
    if value is None:
        return _NOTHING
    if head in MEASURES and not isinstance(value, str):
        return _with_interval(row, MEASURES[head])
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return inert(str(value))


def _with_interval(row: Row, measure: Measure) -> str:
    name = measure.name
    text = format_value(measure, row[name])
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if low is None or high is None or low == high:
        return text
    return f"{text} ({format_value(measure, low)}–{format_value(measure, high)})"


def write_csv(table: Table, file: TextIO) -> None:
    """Write CSV at full precision; a ' protects text that looks like a formula."""
    write_rows(table.rows, file)


def write_rows(rows: Sequence[Row], file: TextIO, *, heads: Sequence[str] = ()) -> None:
    """Write rows as CSV; heads: of its columns, where there may be no row."""
    heads = heads or heads_of(rows)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([_safe(head) for head in heads])
    for row in rows:
        writer.writerow([_safe(row.get(head)) for head in heads])


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


def write_md(table: Table, file: TextIO) -> None:
    """Write a Markdown table with aligned source columns."""
    heads, lines, numeric = table.printed
    lines = [list(map(_without_bars, line)) for line in (heads, *lines)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    is_right = [head in numeric for head in heads]
    rule = []
    for width, right in zip(widths, is_right, strict=True):
        rule.append("-" * (width - 1) + ":" if right else "-" * width)
    for line in (lines[0], rule, *lines[1:]):
        cells = []
        for cell, width, right in zip(line, widths, is_right, strict=True):
            cells.append(cell.rjust(width) if right else cell.ljust(width))
        file.write(f"| {' | '.join(cells)} |\n")


def _without_bars(cell: str) -> str:
    return cell.replace("|", "/")


def write_latex(table: Table, file: TextIO) -> None:
    """Write a LaTeX tabular that needs no package."""
    heads, lines, numeric = table.printed
    columns = "".join("r" if head in numeric else "l" for head in heads)
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
    return " & ".join(cell.translate(_TO_LATEX) for cell in cells) + r" \\"
