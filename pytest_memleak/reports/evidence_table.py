"""Evidence bundles as tables: a row per pair, excerpt or span, or books x models.

    Evidence(Path("evidence.json")).to_frame()

Numbers come from the bundles unchanged, complete for programs (CSV, JSON, Parquet), in few columns
for print: model, book title, samples, measures with intervals, and verdict, and bundle or suite
only where rows differ in it.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from pytest_memleak.errors import EvidenceError, SettingsError, install_command
from pytest_memleak.records import Verdict
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.report_text import format_value
from pytest_memleak.results.evidence_file import digest_errors, read_evidence
from pytest_memleak.scoring.measure_table import BMC, LONGEST_SPAN, MEASURES, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from pytest_memleak.records.pair_result import PairResult

Row = dict[str, Any]

ROWS = ("pairs", "excerpts", "spans")
"""The kinds of rows that a table can have."""

_ORIGIN = ("model", "bundle", "suite")
_NOTHING = "-"
_FORMULA = ("=", "+", "-", "@")
_LATEX = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--"}
)


class Evidence:
    """The pairs of evidence bundles as rows. Raises EvidenceError for files that aren't bundles.

    rows:     one per pair, in the bundles' order: model, book, counts, verdict, and for each
              measure `NAME`, `NAME_low`, `NAME_high` and, where it has a limit, `NAME_limit`;
              for lengths also the expected range of another run, `NAME_range_low` and
              `NAME_range_high`. Shares are fractions, lengths and counts whole numbers.
    excerpts: one per excerpt of a pair: first word, words, `covered` words, their share `bmc`, and
              the length of the longest span from its own prompt
    spans:    one per span over span_threshold, longest first in each pair
    missing:  what the bundles don't contain, a sentence per pair
    """

    def __init__(self, *paths: Path) -> None:
        self.pairs: list[tuple[str, PairResult]] = []
        self.rows: list[Row] = []
        for path in paths:
            evidence = read_evidence(path)
            if problems := digest_errors(evidence.bundle):
                raise EvidenceError(
                    problems[0],
                    location=str(path),
                    hint=f"run memleak verify {path} to see what differs",
                )
            created = evidence.bundle["created"]
            self.pairs += [(path.stem, pair) for pair in evidence.content.pairs]
            self.rows += [_row(path.stem, created, pair) for pair in evidence.content.pairs]
        self.excerpts = [row for pair in self.pairs for row in _excerpts(*pair)]
        self.spans = [row for pair in self.pairs for row in _spans(*pair)]
        self.missing = [
            f"{bundle}: {pair.pair}: {_missing_reason(pair)}"
            for bundle, pair in self.pairs
            if pair.coverage is None
        ]

    @property
    def measures(self) -> list[str]:
        """List the measures that any pair has, in the order of the measure table."""
        columns = {key for row in self.rows for key in row}
        return [name for name in MEASURES if name in columns]

    @property
    def titles(self) -> dict[str, str]:
        """Name each book for print: its title, with its id where two books share it."""
        titles = {row["book"]: row["title"] or row["book"] for row in self.rows}
        same = Counter(titles.values())
        return {
            book: title if same[title] == 1 else f"{title} ({book})"
            for book, title in titles.items()
        }

    def grid(self, measure: str) -> list[Row]:
        """Arrange a measure as books x models.

        A model with several pairs for a book has a column for each bundle or suite. Raises
        SettingsError for a measure that no pair has.
        """
        if measure not in self.measures:
            raise SettingsError(
                f"no pair has the measure {measure!r}", hint=nearest(measure, self.measures)
            )
        columns = self.columns
        books: dict[str, Row] = {}
        for row, column in zip(self.rows, columns, strict=True):
            line = books.setdefault(row["book"], {"book": row["book"], **dict.fromkeys(columns)})
            line[column] = row.get(measure)
        return list(books.values())

    @property
    def columns(self) -> list[str]:
        """Name each row's column in a grid: its model, with bundle or suite if it has several."""
        rows = self.rows
        for keys in (("model",), ("model", "bundle"), ("model", "suite"), _ORIGIN):
            cells = Counter((row["book"], *(row[key] for key in keys)) for row in rows)
            if max(cells.values(), default=1) == 1:
                break
        counts = Counter((row["book"], row["model"]) for row in rows)
        several = {model for (_, model), count in counts.items() if count > 1}
        return [
            f"{row['model']} ({', '.join(row[key] for key in keys[1:])})"
            if row["model"] in several
            else str(row["model"])
            for row in rows
        ]

    def of(self, kind: str) -> list[Row]:
        """Return the rows of one of ROWS; SettingsError where no bundle contains any."""
        rows = {"pairs": self.rows, "excerpts": self.excerpts, "spans": self.spans}[kind]
        if not rows and len(self.missing) == len(self.pairs):
            raise SettingsError(
                f"the evidence contains no {kind}",
                hint=self.missing[0] if self.missing else "it has no pairs",
            )
        return rows

    def to_frame(self, kind: str = "pairs") -> pd.DataFrame:
        """Return rows as a pandas DataFrame; SettingsError without the extra `tables`."""
        return _data_frame(self.of(kind))


def _missing_reason(pair: PairResult) -> str:
    if pair.plain_verdict is Verdict.NOT_RUN:
        return "it wasn't run"
    if pair.windows is not None:
        return "its probe samples no generations, so there are no excerpts or spans"
    return "nothing was measured"


def _row(stem: str, created: str, pair: PairResult) -> Row:
    model, book = pair.model, pair.book
    row: Row = {
        "bundle": stem,
        "created": created,
        "suite": pair.suite.name,
        "model": model.id,
        "provider": model.provider,
        "base_model": model.base_model,
        "endpoint": model.endpoint,
        "weights_version": model.weights_version,
        "book": book.id,
        "title": book.title,
        "words": book.words,
        "excerpts": book.excerpts,
        "samples": pair.settings.get("samples"),
        "temperature": pair.settings.get("temperature"),
        "requested": pair.requested,
        "received": pair.received,
        "expected": pair.expected,
        "verdict": pair.verdict,
    }
    ranges = pair.detection.ranges if pair.detection else {}
    for name in MEASURES:
        if name in pair.values:
            measure = pair.measures[name]
            row |= {name: measure["value"], f"{name}_low": measure["low"]}
            row[f"{name}_high"] = measure["high"]
        if name in ranges:
            row[f"{name}_range_low"], row[f"{name}_range_high"] = ranges[name]
        if name in pair.limits:
            row[f"{name}_limit"] = pair.limits[name].limit
    return row


def _pair_keys(stem: str, pair: PairResult) -> Row:
    return {"bundle": stem, "suite": pair.suite.name, "model": pair.model.id, "book": pair.book.id}


def _excerpts(bundle: str, pair: PairResult) -> Iterator[Row]:
    if pair.coverage is None:
        return
    for excerpt in pair.coverage.excerpts:
        yield _pair_keys(bundle, pair) | {
            "excerpt_id": excerpt.id,
            "start": excerpt.start,
            "words": excerpt.words,
            "rounds": pair.coverage.rounds,
            "covered": excerpt.covered,
            BMC.name: excerpt.covered / excerpt.words if excerpt.words else 0.0,
            LONGEST_SPAN.name: excerpt.longest_span,
        }


def _spans(bundle: str, pair: PairResult) -> Iterator[Row]:
    for span in pair.coverage.spans if pair.coverage else ():
        own = {"words": span.end - span.start, **dataclasses.asdict(span)}
        yield _pair_keys(bundle, pair) | own


def _data_frame(rows: Sequence[Row]) -> pd.DataFrame:
    try:
        import pandas as pd
        import pyarrow  # noqa: F401 - what pandas writes Parquet with
    except ImportError:
        raise SettingsError(
            "data frames and Parquet need the packages pandas and pyarrow",
            hint=f"install them with: {install_command('tables')}",
        ) from None
    return pd.DataFrame(list(rows))


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
    def printed(self) -> tuple[list[str], list[list[str]], list[str]]:
        """The rows for print: heads, cells, and the heads of numeric columns."""
        evidence, titles = self.evidence, self.evidence.titles
        rows = [row | {"book": titles[row["book"]]} for row in self.rows]
        if self.measure:
            cells = {
                (titles[row["book"]], column): _cell(row, self.measure)
                for row, column in zip(evidence.rows, evidence.columns, strict=True)
            }
            columns = dict.fromkeys(evidence.columns)
            lines = [
                [inert(book), *(cells.get((book, column), _NOTHING) for column in columns)]
                for book in (row["book"] for row in rows)
            ]
            models = [*map(inert, columns)]
            return ["book", *models], lines, models
        differing = [key for key in _ORIGIN[1:] if len({row[key] for row in rows}) > 1]
        if self.kind == "pairs":
            heads = [*differing, "model", "book", "samples", *evidence.measures, "verdict"]
        else:
            own = rows[0] if rows else ()
            heads = differing + [head for head in own if head not in _ORIGIN[1:]]
        numbers = [
            head for head in heads if any(isinstance(row.get(head), int | float) for row in rows)
        ]
        return heads, [[_cell(row, head) for head in heads] for row in rows], numbers


def _cell(row: Row, head: str) -> str:
    """Format a value, a measure with its interval."""
    value, low, high = row.get(head), row.get(f"{head}_low"), row.get(f"{head}_high")
    if value is None:
        return _NOTHING
    measure = MEASURES.get(head)
    if measure is None or isinstance(value, str):
        return f"{value:,}" if isinstance(value, int) else inert(str(value))
    text = format_value(measure, value)
    if low is None or high is None or low == high:
        return text
    return f"{text} ({format_value(measure, low)}–{format_value(measure, high)})"


def write_csv(table: Table, file: TextIO) -> None:
    """Write CSV at full precision; a ' protects text that spreadsheets take for a formula."""
    write_rows(table.rows, file)


def write_rows(rows: Sequence[Row], file: TextIO, *, heads: Sequence[str] = ()) -> None:
    """Write rows as CSV; heads: of its columns, where there may be no row."""
    heads = heads or list(dict.fromkeys(key for row in rows for key in row))
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
    file.buffer.write(_data_frame(table.rows).to_parquet(index=False))


def write_md(selected: Table, file: TextIO) -> None:
    """Write a Markdown table with aligned source columns."""
    heads, rows, numbers = selected.printed
    lines = [[cell.replace("|", "/") for cell in line] for line in (heads, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    right = [head in numbers for head in heads]
    rule = [
        f"{'-' * (width - 1)}:" if is_number else "-" * width
        for width, is_number in zip(widths, right, strict=True)
    ]
    for line in (lines[0], rule, *lines[1:]):
        columns = zip(line, widths, right, strict=True)
        cells = (cell.rjust(w) if is_number else cell.ljust(w) for cell, w, is_number in columns)
        file.write(f"| {' | '.join(cells)} |\n")


def write_latex(selected: Table, file: TextIO) -> None:
    """Write a LaTeX tabular that needs no package."""
    heads, rows, numbers = selected.printed

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"

    columns = "".join("r" if head in numbers else "l" for head in heads)
    lines = [
        rf"\begin{{tabular}}{{{columns}}}",
        *(r"\hline", line(heads), r"\hline"),
        *map(line, rows),
        *(r"\hline", r"\end{tabular}"),
    ]
    file.writelines(f"{line}\n" for line in lines)
