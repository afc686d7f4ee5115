"""Evidence bundles as tables: a row per pair or part of one, or books x models.

    Evidence(Path("evidence.json")).to_frame()

Numbers come from the bundles unchanged, complete for programs (CSV, JSON, Parquet), in
few columns for print: model, book title, samples, measures with intervals, and verdict,
and bundle or suite only where rows differ in it.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import itertools
import json
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from pytest_memleak.errors import EvidenceError, SettingsError, install_command
from pytest_memleak.records import Verdict
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.report_text import format_value
from pytest_memleak.results.evidence_file import read_unchanged
from pytest_memleak.results.run_verdict import expectation
from pytest_memleak.scoring.measure_table import BMC, LONGEST_SPAN, MEASURES, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from pytest_memleak.records.pair_result import PairResult

Row = dict[str, Any]

_ORIGIN = ("model", "bundle", "suite")
_NOTHING = "-"
CROSS_EXCERPT = "cross_excerpt"
_FORMULA = ("=", "+", "-", "@")
_LATEX = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
    }
)


class Evidence:
    """The pairs of evidence bundles as rows. Raises EvidenceError for files that aren't bundles.

    rows:     one per pair, in the bundles' order: model, book, counts, verdict, and for
    each
              measure `NAME`, `NAME_low`, `NAME_high` and, where it has a limit,
              `NAME_limit`; for lengths also the expected range of another run,
              `NAME_range_low` and `NAME_range_high`. Shares are fractions, lengths and
              counts whole numbers.
    excerpts: one per excerpt of a pair: first word, words, `covered` words, their share
    `bmc`, and
              the length of the longest span from its own prompt
    spans:    one per span over span_threshold, longest first in each pair
    curve:    one per pair and number of samples: the expected BMC of so many rounds
    missing:  what the bundles don't contain, a sentence per pair
    """

    def __init__(self, *paths: Path) -> None:
        self.pairs: list[tuple[str, PairResult]] = []
        self.rows: list[Row] = []
        path_by_digest: dict[str, Path] = {}
        for path in paths:
            evidence = read_unchanged(path)
            if same := path_by_digest.get(evidence.content.sha256):
                raise EvidenceError(
                    f"the same bundle as {same}",
                    location=str(path),
                    hint="name each bundle once: its pairs would count twice",
                )
            path_by_digest[evidence.content.sha256] = path
            created = evidence.bundle["created"]
            self.pairs += [(path.stem, pair) for pair in evidence.content.pairs]
            self.rows += [
                _row(path.stem, created, pair) for pair in evidence.content.pairs
            ]
        self.excerpts = [row for pair in self.pairs for row in _excerpts(*pair)]
        self.spans = [row for pair in self.pairs for row in _spans(*pair)]
        self.curve = [row for pair in self.pairs for row in _curve(*pair)]
        self.missing = [
            f"{bundle}: {pair.pair}: {_missing_reason(pair)}"
            for bundle, pair in self.pairs
            if pair.coverage is None
        ]

    @property
    def measures(self) -> list[str]:
        """List the measures that any pair has, in the order of the measure table."""
        columns = {key for row in self.rows for key in row}
        return [name for name in (*MEASURES, CROSS_EXCERPT) if name in columns]

    @property
    def titles(self) -> dict[str, str]:
        """Name each book for print: its title, with its id where two books share it."""
        titles = {row["book"]: row["title"] or row["book"] for row in self.rows}
        same = Counter(titles.values())
        return {
            book: title if same[title] == 1 else f"{title} ({book})"
            for book, title in titles.items()
        }

    def grid(self, measure: str, by: str = "book", across: str = "model") -> list[Row]:
        """Arrange a measure as books x models, or by any two facts of the pairs.

        A model with several pairs for a book has a column for each bundle or suite;
        otherwise a cell is the mean of its pairs. Raises SettingsError for what no pair
        has.
        """
        facts = list(dict.fromkeys(key for row in self.rows for key in row))
        for name, what, names in (
            (measure, "measure", self.measures),
            *((fact, "column", facts) for fact in (by, across)),
        ):
            if name not in names:
                raise SettingsError(
                    f"no pair has the {what} {name!r}", hint=nearest(name, names)
                )
        columns = [str(row.get(across)) for row in self.rows]
        if (by, across) == ("book", "model"):
            columns = self.columns
        cells: dict[tuple[Any, str], list[float]] = {}
        for row, column in zip(self.rows, columns, strict=True):
            values = cells.setdefault((row.get(by), column), [])
            values += [row[measure]] if row.get(measure) is not None else []
        lines: dict[Any, Row] = {}
        for (key, column), values in cells.items():
            line = lines.setdefault(key, {by: key, **dict.fromkeys(columns)})
            if values:
                line[column] = (
                    values[0] if len(values) == 1 else statistics.fmean(values)
                )
        return list(lines.values())

    def correlations(self, measure: str = BMC.name, across: str = "model") -> list[Row]:
        """Correlate a measure of each two models over the books that both were tested with."""
        grid = self.grid(measure, "book", across)
        columns = [column for column in (grid[0] if grid else {}) if column != "book"]
        rows = []
        for column, other in itertools.combinations(columns, 2):
            both = [
                (row[column], row[other]) for row in grid if row[column] is not None
            ]
            both = [values for values in both if values[1] is not None]
            r = None
            with contextlib.suppress(
                statistics.StatisticsError, TypeError
            ):  # few books, or alike
                r = statistics.correlation(*zip(*both, strict=True))
            rows.append(
                {"model": column, "other_model": other, "books": len(both), "r": r}
            )
        return rows

    @property
    def overlap(self) -> list[Row]:
        """Compare where each two models reproduce a book, if its excerpts are the same."""
        from pytest_memleak.results.coverage_map import compare_coverage

        rows = []
        pairs = zip(self.columns, (pair for _, pair in self.pairs), strict=True)
        for (model, pair), (other_model, other) in itertools.combinations(pairs, 2):
            if pair.book.id == other.book.id and pair.coverage and other.coverage:
                row = {"book": pair.book.id, "model": model, "other_model": other_model}
                if similarity := compare_coverage(pair.coverage, other.coverage):
                    rows.append(row | dataclasses.asdict(similarity))
        return rows

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
        """Return rows of a kind, such as "spans"; SettingsError where no bundle contains any."""
        if kind == "correlations":
            return self.correlations()
        rows: list[Row] = getattr(self, "rows" if kind == "pairs" else kind)
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
        "author": book.author,
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
    cross = pair.measures.get(CROSS_EXCERPT)
    if cross:
        row |= {CROSS_EXCERPT: cross["ratio"], f"{CROSS_EXCERPT}_spans": cross["cross"]}
    return dict(book.metadata) | row


def _pair_keys(stem: str, pair: PairResult) -> Row:
    return {
        "bundle": stem,
        "suite": pair.suite.name,
        "model": pair.model.id,
        "book": pair.book.id,
    }


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


def _curve(bundle: str, pair: PairResult) -> Iterator[Row]:
    for samples, bmc in enumerate(
        pair.coverage.curve if pair.coverage else (), start=1
    ):
        yield _pair_keys(bundle, pair) | {"samples": samples, BMC.name: bmc}


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
    """The rows of one kind of evidence, or a measure by two facts, as books x models."""

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
    def printed(self) -> tuple[list[str], list[list[str]], list[str]]:
        """The rows for print: heads, cells, and the heads of numeric columns."""
        evidence, titles = self.evidence, self.evidence.titles
        if self.measure and self.kind == "pairs":
            return self._printed_grid(self.measure, titles)
        rows = [
            row | {"book": titles[row["book"]]} if "book" in row else row
            for row in self.rows
        ]
        differing = [
            key for key in _ORIGIN[1:] if len({row.get(key) for row in rows}) > 1
        ]
        if self.kind == "pairs":
            for row, (_, pair) in zip(rows, evidence.pairs, strict=True):
                row["verdict"] += expectation(pair)
            heads = [
                *differing,
                "model",
                "book",
                "samples",
                *evidence.measures,
                "verdict",
            ]
        else:
            own = [*rows[0]] if rows else []
            heads = differing + [head for head in own if head not in _ORIGIN[1:]]
        numbers = [
            head
            for head in heads
            if any(isinstance(row.get(head), int | float) for row in rows)
        ]
        return heads, [[_cell(row, head) for head in heads] for row in rows], numbers

    def _printed_grid(
        self, measure: str, titles: Mapping[str, str]
    ) -> tuple[list[str], list[list[str]], list[str]]:
        """Return a measure for print; a cell of a single pair has its interval."""
        rows, by = self.rows, self.by
        heads = [head for head in rows[0] if head != by]
        pairs: dict[tuple[Any, str], Row] = {}
        if (by, self.across) == ("book", "model"):
            columns = zip(self.evidence.rows, self.evidence.columns, strict=True)
            pairs = {(row[by], column): row for row, column in columns}
        lines = []
        for row in rows:
            cells = (pairs.get((row[by], head), {measure: row[head]}) for head in heads)
            name = titles.get(row[by], str(row[by]))
            lines.append([inert(name), *(_cell(cell, measure) for cell in cells)])
        names = [*map(inert, heads)]
        return [by, *names], lines, names


def _cell(row: Row, head: str) -> str:
    """Format a value, a measure with its interval."""
    value, low, high = row.get(head), row.get(f"{head}_low"), row.get(f"{head}_high")
    if value is None:
        return _NOTHING
    measure = MEASURES.get(head)
    if isinstance(value, float) and measure is None:
        return f"{value:.3f}"
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
        cells = (
            cell.rjust(w) if is_number else cell.ljust(w)
            for cell, w, is_number in columns
        )
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
