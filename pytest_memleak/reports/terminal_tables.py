"""Terminal tables of pairs: a row for each pair, or a matrix of models and books."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.console import full_width, print_whole
from pytest_memleak.reports.pair_outcome import LOOKS, pair_outcome
from pytest_memleak.reports.report_text import (
    detection_text,
    fills_matrix,
    format_value,
    measure_cell,
)
from pytest_memleak.results.build_result import collect_measures, overview_measures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pytest_memleak.records import Measure
    from pytest_memleak.records.pair_result import PairResult


class _Narrow(IntEnum):
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


def print_pairs(console: Console, results: Sequence[PairResult], *, wrap: bool) -> None:
    """Print a row for each pair, or a matrix of models and books where it holds many pairs."""
    if not fills_matrix(results):
        print_rows(console, results, wrap=wrap)
        return
    by_suite: dict[str, list[PairResult]] = {}
    for result in results:
        by_suite.setdefault(result.suite.name, []).append(result)
    for suite, pairs in by_suite.items():
        if len(by_suite) > 1:
            console.print(Text(inert(suite), style="bold"), soft_wrap=True)
        _print_matrix(console, pairs)


def _print_matrix(console: Console, results: Sequence[PairResult]) -> None:
    """Print verdicts and the first measure of the overview, books x models.

    Models that don't fit beside the others follow in a matrix of their own.
    """
    row = overview_measures(results)[0]
    models = list(dict.fromkeys(result.model.id for result in results))
    while models:
        count = len(models)
        table = _matrix(results, models, row)
        while count > 1 and full_width(console, table) > console.width:
            count -= 1
            table = _matrix(results, models[:count], row)
        print_whole(console, table)
        del models[:count]
    limits = {result.limit_values.get(row.name) for result in results}
    (limit,) = limits if len(limits) == 1 else (None,)
    caption = f"verdict and {row.name}"
    caption += "" if limit is None else f" (limit {format_value(row, limit)})"
    if not all(result.gates for result in results):
        caption += "; *: a control, or expected to leak"
    console.print(Text(caption, style="dim"), soft_wrap=True)


def _matrix(
    results: Sequence[PairResult], models: Sequence[str], row: Measure
) -> Table:
    cells: dict[str, dict[str, Text]] = {}
    for result in results:
        if result.model.id in models:
            cell = cells.setdefault(result.book.id, {}).setdefault(
                result.model.id, Text()
            )
            cell.append("\n" if cell else "")
            cell.append(result.verdict, style=pair_outcome(result).look.color)
            cell.append("" if result.gates else "*")
            if row.name in result.values:
                cell.append(f" {format_value(row, result.values[row.name])}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("book", overflow="fold")
    for model in models:
        table.add_column(Text(model), justify="right", overflow="fold")
    for book, of_models in cells.items():
        table.add_row(
            Text(inert(book)), *(of_models.get(model, Text("-")) for model in models)
        )
    return table


def print_rows(console: Console, results: Sequence[PairResult], *, wrap: bool) -> None:
    """Print the pairs' table as narrow as the width requires; wrap: fold rows, too."""
    for narrow in _Narrow if wrap else tuple(_Narrow)[: _Narrow.EXPECTED]:
        table = _table(results, narrow)
        if full_width(console, table) <= console.width:
            break
    print_whole(console, table)


def _table(results: Sequence[PairResult], narrow: _Narrow) -> Table:
    """Build the table, pairs x measures; limits that differ stand in the cells."""
    folded = narrow >= _Narrow.ROWS
    alike = all(result.limit_values == results[0].limit_values for result in results)
    table = Table(
        box=None,
        pad_edge=False,
        collapse_padding=narrow >= _Narrow.BLANKS,
        header_style="bold",
        show_footer=alike,
    )
    limits = results[0].limit_values
    suites = {result.suite.name for result in results}
    if len(suites) > 1:
        table.add_column("suite", overflow="fold")
    table.add_column("pair", footer=Text("limit", style="dim"), overflow="fold")
    main = {row.name for row in overview_measures(results)}
    if narrow < _Narrow.MEASURES:
        main |= {name for result in results for name in result.limits}
    rows = [row for row in collect_measures(results).values() if row.name in main]
    for row in rows:
        limit = f"≤{format_value(row, limits[row.name])}" if row.name in limits else ""
        head = row.name.replace("_", "_\n") if narrow >= _Narrow.HEADS else row.name
        table.add_column(
            head, footer=Text(limit, style="dim"), justify="right", no_wrap=True
        )
    sensitive = any(result.detection for result in results)
    limit_head = "detection\nlimit" if narrow >= _Narrow.HEADS else "detection limit"
    counts = ["received", limit_head] if sensitive else ["received"]
    below = narrow >= _Narrow.COUNTS
    if not below:
        for head in ["\n".join(counts)] if folded else counts:
            table.add_column(head, justify="right", no_wrap=True)
    table.add_column(
        "\n".join(["verdict", *counts]) if below else "verdict", no_wrap=True
    )
    with_compared = any(result.compared for result in results)
    if with_compared:
        table.add_column("compared", no_wrap=True)
    for result in results:
        word = result.compared
        compared = Text(word or "-", style=LOOKS[word.lower()].color if word else "")
        table.add_row(
            *([Text(inert(result.suite.name))] if len(suites) > 1 else []),
            Text(result.pair.replace("/", "/\n", 1) if folded else result.pair),
            *(_cell(result, row, with_limit=not alike) for row in rows),
            *_verdict(result, sensitive=sensitive, narrow=narrow),
            *([compared] if with_compared else []),
        )
    return table


def _verdict(result: PairResult, *, sensitive: bool, narrow: _Narrow) -> list[Text]:
    """Build the cells for generation count, detection limit and verdict."""
    counts = [f"{result.received:,}/{result.requested:,}" if result.requested else "-"]
    counts += [detection_text(result)] if sensitive else []
    outcome = pair_outcome(result)
    folded = narrow >= _Narrow.ROWS
    word = (
        outcome.word.replace(" (", "\n(")
        if narrow >= _Narrow.EXPECTED
        else outcome.word
    )
    verdict = Text(word, style=outcome.look.color)
    if narrow >= _Narrow.COUNTS:
        return [
            verdict.append("".join(f"\n{count}" for count in counts), style="default")
        ]
    return [*map(Text, ["\n".join(counts)] if folded else counts), verdict]


def _cell(result: PairResult, row: Measure, *, with_limit: bool) -> Text:
    if row.name not in result.values:
        return Text("-")
    text, over = measure_cell(result, row, interval=False, limit=with_limit)
    return Text(text.replace(" ", ""), style="red" if over else "")
