"""Evidence bundles as rows: one per pair or part of one, or books x models.

    Evidence(Path("evidence.json")).to_frame()

Numbers come from the bundles unchanged.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import EvidenceError, SettingsError, install_command
from pytest_memleak.records import Verdict
from pytest_memleak.results.evidence_file import read_unchanged
from pytest_memleak.scoring.measure_table import (
    BMC,
    LONGEST_SPAN,
    MEASURES,
    unknown_name_hint,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from pytest_memleak.records.pair_result import ModelFacts, PairResult

Row = dict[str, Any]

CROSS_EXCERPT = "cross_excerpt"
_DIVIDING = (("bundle",), ("suite",), ("bundle", "suite"))


class Evidence:
    """The pairs of evidence bundles as rows.

    Raises EvidenceError for files that aren't bundles, and for a bundle named twice.

    rows:     one per pair, in the bundles' order: model, book, counts, verdict, and for
        each measure `NAME`, `NAME_low`, `NAME_high` and, where it has a limit,
        `NAME_limit`; for lengths also the expected range of another run,
        `NAME_range_low` and `NAME_range_high`. Shares are fractions, lengths and counts
        whole numbers.
    excerpts: one per excerpt of a pair: first word, words, `covered` words, their share
        `bmc`, and the length of the longest span from its own prompt
    spans:    one per span over span_threshold, longest first in each pair
    curve:    one per pair and number of samples: the expected BMC of so many rounds
    missing:  what the bundles don't contain, a sentence per pair
    """

    def __init__(self, *paths: Path) -> None:
        self.pairs: list[tuple[str, PairResult]] = []
        self.rows: list[Row] = []
        self.excerpts: list[Row] = []
        self.spans: list[Row] = []
        self.curve: list[Row] = []
        self.missing: list[str] = []
        path_by_digest: dict[str, Path] = {}
        for path in paths:
            evidence = read_unchanged(path)
            content = evidence.content
            created = evidence.bundle["created"]
            same = path_by_digest.get(content.sha256)
            if same:
                raise EvidenceError(
                    f"the same bundle as {same}",
                    location=str(path),
                    hint="name each bundle once: its pairs would count twice",
                )
            path_by_digest[content.sha256] = path
            for pair in content.pairs:
                self._add_rows_of_pair(path.stem, created, pair)

    def _add_rows_of_pair(
        self,
        bundle: str,
        created: str,
        pair: PairResult,
    ) -> None:
        self.pairs.append((bundle, pair))
        self.rows.append(_row_of_pair(bundle, created, pair))
        self.excerpts += _excerpt_rows(bundle, pair)
        self.spans += _span_rows(bundle, pair)
        self.curve += _curve_rows(bundle, pair)
        if pair.coverage is None:
            reason = _missing_reason(pair)
            self.missing.append(f"{bundle}: {pair.pair}: {reason}")

    @property
    def measures(self) -> list[str]:
        """List the measures that any pair has, in the order of the measure table."""
        facts = heads_of(self.rows)
        names = (*MEASURES, CROSS_EXCERPT)
        return [name for name in names if name in facts]

    @property
    def titles(self) -> dict[str, str]:
        """Name each book for print: its title, with its id where two books share it."""
        titles: dict[str, str] = {}
        for row in self.rows:
            book = row["book"]
            titles[book] = row["title"] or book
        books_of_title = Counter(titles.values())
        for book, title in titles.items():
            if books_of_title[title] > 1:
                titles[book] = f"{title} ({book})"
        return titles

    def grid(
        self,
        measure: str,
        by: str = "book",
        across: str = "model",
    ) -> list[Row]:
        """Arrange a measure as books x models, or by any two facts of the pairs.

        A cell is the mean of pairs of one suite, each book once: `columns_of` divides
        columns. Raises SettingsError for what no pair has, and for a column that can't
        be divided.
        """
        facts = heads_of(self.rows)
        _validate_known("measure", measure, self.measures)
        _validate_known("column", by, facts)
        _validate_known("column", across, facts)
        columns = self.columns_of(by, across)
        lines: dict[Any, Row] = {}
        values: defaultdict[tuple[Any, str], list[float]] = defaultdict(list)
        for row, column in zip(self.rows, columns, strict=True):
            key = row.get(by)
            value = row.get(measure)
            empty = dict.fromkeys(columns)
            lines.setdefault(key, {by: key, **empty})
            if value is not None:
                values[key, column].append(value)
        for (key, column), several in values.items():
            lines[key][column] = _mean_of_same_type(several)
        return list(lines.values())

    def correlations(self, measure: str = BMC.name, across: str = "model") -> list[Row]:
        """Correlate a measure of each two models over the books that both have."""
        grid = self.grid(measure, "book", across)
        columns = [head for head in heads_of(grid) if head != "book"]
        rows = []
        for column, other in itertools.combinations(columns, 2):
            values = []
            other_values = []
            for row in grid:
                if row[column] is not None and row[other] is not None:
                    values.append(row[column])
                    other_values.append(row[other])
            correlation: Row = {
                "model": column,
                "other_model": other,
                "books": len(values),
                "r": _correlation(values, other_values),
            }
            rows.append(correlation)
        return rows

    @property
    def overlap(self) -> list[Row]:
        """Compare where each two models reproduce a book with the same excerpts."""
        from pytest_memleak.results.coverage_map import compare_coverage

        pairs = [pair for _, pair in self.pairs]
        columns = zip(self.columns, pairs, strict=True)
        rows = []
        for (model, pair), (other_model, other) in itertools.combinations(columns, 2):
            if pair.book.id != other.book.id:
                continue
            if pair.coverage is None or other.coverage is None:
                continue
            similarity = compare_coverage(pair.coverage, other.coverage)
            if similarity is None:
                continue
            names = {
                "book": pair.book.id,
                "model": model,
                "other_model": other_model,
            }
            rows.append(names | dataclasses.asdict(similarity))
        return rows

    @property
    def columns(self) -> list[str]:
        """Name each row's column in a grid of books x models."""
        return self.columns_of("book", "model")

    def columns_of(self, by: str, across: str) -> list[str]:
        """Name each row's column in a grid: a fact, and what tells experiments apart.

        Columns with a cell of several suites, or of a book twice, are divided by
        bundle, else by suite, else by both. Raises SettingsError where they would
        still mix.
        """
        whole = [_column_title(row, across) for row in self.rows]
        mixing = self._columns_mixing_experiments(by, whole)
        columns, still = whole, mixing
        for facts in _DIVIDING if mixing else ():
            columns = []
            for row, column in zip(self.rows, whole, strict=True):
                origin = ", ".join(str(row[fact]) for fact in facts)
                divided = f"{column} ({origin})" if column in mixing else column
                columns.append(divided)
            still = self._columns_mixing_experiments(by, columns)
            if not still:
                return columns
        if still:
            raise _mixed_columns_error(min(still), across)
        return columns

    def _columns_mixing_experiments(self, by: str, columns: Sequence[str]) -> set[str]:
        """Return the columns with a cell that would average several experiments."""
        suite_of: dict[tuple[Any, str], Any] = {}
        seen: set[tuple[Any, str, Any]] = set()
        mixing = set()
        for row, column in zip(self.rows, columns, strict=True):
            cell = row.get(by), column
            place = (*cell, row["book"])
            if suite_of.setdefault(cell, row["suite"]) != row["suite"] or place in seen:
                mixing.add(column)
            seen.add(place)
        return mixing

    def of(self, kind: str) -> list[Row]:
        """Return rows of a kind, such as "spans". Raises SettingsError without any."""
        if kind == "correlations":
            return self.correlations()
        attribute = "rows" if kind == "pairs" else kind
        rows: list[Row] = getattr(self, attribute)
        has_nothing = len(self.missing) == len(self.pairs)
        if has_nothing and not rows:
            reasons = self.missing or ["it has no pairs"]
            raise SettingsError(f"the evidence contains no {kind}", hint=reasons[0])
        return rows

    def to_frame(self, kind: str = "pairs") -> pd.DataFrame:
        """Return rows as a DataFrame. Raises SettingsError without pandas."""
        return data_frame(self.of(kind))


def heads_of(rows: Iterable[Row]) -> list[str]:
    """Return the keys of all rows, each once, in the order in which they come."""
    heads: dict[str, None] = {}
    for row in rows:
        heads |= dict.fromkeys(row)
    return list(heads)


def _column_title(row: Row, across: str) -> str:
    value = row.get(across)
    return f"no {across}" if value is None else str(value)


def _mixed_columns_error(column: str, across: str) -> SettingsError:
    hint = "use --columns model"
    if across == "model":
        hint = "give the bundles different file names, or leave one out"
    return SettingsError(
        f"the column {column!r} would average several pairs of one book",
        location=f"--columns {across}",
        hint=hint,
    )


def _mean_of_same_type(values: Sequence[float]) -> float:
    # The mean of one number could differ from it in type.
    if len(values) == 1:
        return values[0]
    return statistics.fmean(values)


def _correlation(values: Sequence[float], others: Sequence[float]) -> float | None:
    """Return None for too few books, and for values that are all alike."""
    try:
        return statistics.correlation(values, others)
    except (statistics.StatisticsError, TypeError):
        return None


def _validate_known(
    what: str,
    name: str,
    names: Sequence[str],
) -> None:
    if name not in names:
        raise SettingsError(
            f"no pair has the {what} {name!r}",
            hint=unknown_name_hint(name, names),
        )


def _missing_reason(pair: PairResult) -> str:
    if pair.plain_verdict is Verdict.NOT_RUN:
        return "it wasn't run"
    return "nothing was measured"


def _row_of_pair(
    stem: str,
    created: str,
    pair: PairResult,
) -> Row:
    model = pair.model
    book = pair.book
    row: Row = {
        "bundle": stem,
        "created": created,
        "suite": pair.suite.name,
        "model": model.id,
        "provider": model.provider,
        "base_model": model.base_model,
        "endpoint": model.endpoint,
        "weights_version": model.weights_version,
        "finetune_share": _finetune_share(model),
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
    row |= _measure_cells(pair)
    cross = pair.measures.get(CROSS_EXCERPT)
    if cross:
        row[CROSS_EXCERPT] = cross["ratio"]
        row[f"{CROSS_EXCERPT}_spans"] = cross["cross"]
    return dict(book.metadata) | row


def _finetune_share(model: ModelFacts) -> float | None:
    """Return the share of excerpts that a model was tuned on; None if it wasn't."""
    if not model.finetune_books:
        return None
    share: float = model.finetune.get("share", 1.0)
    return share


def _measure_cells(pair: PairResult) -> Row:
    cells: Row = {}
    ranges = pair.detection.ranges if pair.detection else {}
    for name in MEASURES:
        if name in pair.values:
            measure = pair.measures[name]
            cells[name] = measure["value"]
            cells[f"{name}_low"] = measure["low"]
            cells[f"{name}_high"] = measure["high"]
        if name in ranges:
            low, high = ranges[name]
            cells[f"{name}_range_low"] = low
            cells[f"{name}_range_high"] = high
        if name in pair.limits:
            cells[f"{name}_limit"] = pair.limits[name].limit
    return cells


def _pair_keys(stem: str, pair: PairResult) -> Row:
    return {
        "bundle": stem,
        "suite": pair.suite.name,
        "model": pair.model.id,
        "book": pair.book.id,
    }


def _excerpt_rows(bundle: str, pair: PairResult) -> Iterator[Row]:
    if pair.coverage is None:
        return
    for excerpt in pair.coverage.excerpts:
        share = 0.0
        if excerpt.words:
            share = excerpt.covered / excerpt.words
        yield _pair_keys(bundle, pair) | {
            "excerpt_id": excerpt.id,
            "start": excerpt.start,
            "words": excerpt.words,
            "rounds": pair.coverage.rounds,
            "covered": excerpt.covered,
            BMC.name: share,
            LONGEST_SPAN.name: excerpt.longest_span,
        }


def _span_rows(bundle: str, pair: PairResult) -> Iterator[Row]:
    if pair.coverage is None:
        return
    for span in pair.coverage.spans:
        own = {"words": span.end - span.start}
        own |= dataclasses.asdict(span)
        yield _pair_keys(bundle, pair) | own


def _curve_rows(bundle: str, pair: PairResult) -> Iterator[Row]:
    if pair.coverage is None:
        return
    keys = _pair_keys(bundle, pair)
    for samples, bmc in enumerate(pair.coverage.curve, start=1):
        yield keys | {"samples": samples, BMC.name: bmc}


def data_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Return rows as a DataFrame. Raises SettingsError without pandas."""
    try:
        import pandas as pd
        import pyarrow  # noqa: F401 - what pandas writes Parquet with
    except ImportError:
        raise SettingsError(
            "data frames and Parquet need the packages pandas and pyarrow",
            hint=f"install them with: {install_command('tables')}",
        ) from None
    return pd.DataFrame(list(rows))
