"""Terminal summary: a table of pairs, then the details of each pair that isn't a plain pass."""

from __future__ import annotations

import io
from enum import IntEnum
from typing import TYPE_CHECKING

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pytest_memleak.records.number_format import amount, percent_at_most
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.passage_selection import (
    other_book_lines,
    passage_text,
    reported_passages,
    unique_passages,
)
from pytest_memleak.reports.report_text import (
    comparison_lines,
    comparison_sentence,
    control_lines,
    detection_caption,
    detection_captions,
    detection_text,
    format_value,
    generation_lines,
    measure_cell,
    notice_lines,
    pair_outcome,
    rate_text,
    work_lines,
)
from pytest_memleak.results.build_result import collect_measures, overview_measures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.records import Measure
    from pytest_memleak.records.measurement import PlannedRounds
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.verdicts import ReleaseComparison
    from pytest_memleak.sampling.cost_plan import PlannedStep, Power, RunPlan

_NARROWEST = 80
_WIDEST = 1000
_FEW_PASSAGES = 2
_STYLES = {
    "pass": "green",
    "fail": "red",
    "inconclusive": "yellow",
    "expected": "cyan",
    "unexpected": "red",
}


class _Narrow(IntEnum):
    """Steps that make the pairs' table narrower; each includes those before it.

    HEADS: break heads; BLANKS: one between columns, not two; MEASURES: only those of the overview,
    since the reasons below the table name every exceeded limit; EXPECTED: expectations below the
    verdict; ROWS: books below their models, detection limits below the counts; COUNTS: both of
    these below the verdict
    """

    NOT = 0
    HEADS = 1
    BLANKS = 2
    MEASURES = 3
    EXPECTED = 4
    ROWS = 5
    COUNTS = 6


def summary(
    results: Sequence[PairResult],
    *,
    width: int,
    color: bool,
    verbose: bool = False,
    wrap: bool = False,
    compared: ReleaseComparison | None = None,
) -> str:
    """Render the whole summary, in color if `color`.

    Unless `verbose`, an expected leak shows only its worst passages, and a pass none of its
    details.

    wrap: break long lines between words, for a reader at a terminal; a log keeps them whole
    compared: the comparison with an earlier release, shown last
    """
    console, out = _console(width=width, color=color)
    _print_table(console, results, wrap=wrap)
    notes = (
        Text(inert(line), style="dim")
        for line in (*detection_captions(results), *control_lines(results))
    )
    details = (line for result in results for line in _details(result, verbose=verbose))
    changes: list[Text] = []
    if compared:
        changes = [Text(), Text(inert(comparison_sentence(compared)), style="bold")]
        changes += [Text(f"  {inert(change)}") for change in comparison_lines(compared)]
    _print_lines(console, (*notes, *details, *changes), width=width, wrap=wrap)
    return out.getvalue()


def plan_table(planned: RunPlan, *, width: int, color: bool, wrap: bool) -> str:
    """Render what a run would still do and pay, a row a step, and what has no estimate.

    in, out, train: tokens, estimated as an upper bound; wrap: fold sentences at `width`
    """
    console, out = _console(width=width, color=color)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("pair", overflow="fold")
    for title in ("calls", "generations", "pending", "in", "out", "train", "US$"):
        table.add_column(title, justify="right", no_wrap=True)
    for step in planned.steps:
        table.add_row(Text(inert(step.what)), *_planned(step))
    table.collapse_padding = _width(console, table) > console.width
    _print_whole(console, table)
    lines: list[Text] = []
    if planned.steps:
        unpriced = [step.what for step in planned.steps if step.cost is None]
        if len(unpriced) < len(planned.steps):
            total = sum(step.cost or 0 for step in planned.steps)
            more = ", plus pairs without a price" if unpriced else ""
            console.print(f"Total: at most US${total:,.2f}{more}")
        if unpriced:
            line = f"Can't estimate: no price for {', '.join(unpriced)}. Add [model.price]."
            lines.append(Text(inert(line)))
    lines += [Text(inert(line)) for line in _rounds(planned.steps)]
    lines += [Text(f"Can't estimate: {inert(line)}", style="yellow") for line in planned.obstacles]
    _print_lines(console, lines, width=width, wrap=wrap)
    return out.getvalue()


def power_table(power: Power, *, width: int, color: bool) -> str:
    """Render the detection limit and the maximum cost of several sample counts."""
    console, out = _console(width=width, color=color)
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    for title in ("samples", "detection\nlimit", "calls", "generations", "US$"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in power.rows:
        table.add_row(
            f"{row.samples:,}",
            "-" if row.detection is None else percent_at_most(row.detection),
            f"{row.calls:,}",
            f"{row.generations:,}",
            "no price" if row.cost is None else f"{row.cost:,.2f}",
            Text(inert(row.note), style="dim"),
        )
    _print_whole(console, table)
    notes = [detection_caption(power.confidence)]
    notes += ["generations: for all pairs, including null books and baseline models"]
    if any(row.cost is None for row in power.rows):
        notes += ["no price: set [model.price] for every model"]
    lines = [Text(note, style="dim") for note in notes if power.rows]
    lines += [Text(inert(limit)) for limit in power.limits]
    lines += [Text(f"Can't estimate: {inert(line)}", style="yellow") for line in power.obstacles]
    _print_lines(console, lines, width=width, wrap=True)
    return out.getvalue()


def _rounds(steps: Sequence[PlannedStep]) -> Iterator[str]:
    """State the detection limit of the planned samples, once for all pairs that share it."""
    groups: dict[PlannedRounds, list[str]] = {}
    for step in steps:
        if step.rounds:
            groups.setdefault(step.rounds, []).append(step.what)
    for rounds, pairs in groups.items():
        text = (
            f"{amount(rounds.samples, 'sample')}: detection limit "
            f"{percent_at_most(rounds.detection)} ({100 * rounds.confidence:g}% confidence)"
        )
        if rounds.needed is not None and rounds.needed > rounds.samples:
            text += (
                f". Set samples = {rounds.needed} to reach detection_limit = "
                f"{rounds.detection_limit:g} even if the provider withholds 1 generation in 10."
            )
        yield text if len(groups) == 1 else f"{', '.join(pairs)}: {text}"


def _planned(step: PlannedStep) -> list[str]:
    cost, sampling = step.cost, step.sampling
    if sampling is None and step.hours:
        return [*"------", "no price" if cost is None else f"{cost:,.2f}"]
    if sampling is None:
        return ["recorded", *"------"]
    counts = (
        *(sampling.calls, sampling.generations, sampling.pending),
        *(sampling.prompt_tokens, sampling.completion_tokens, step.training_tokens),
    )
    return [*(f"{count:,}" for count in counts), "no price" if cost is None else f"{cost:,.2f}"]


def _print_table(console: Console, results: Sequence[PairResult], *, wrap: bool) -> None:
    """Print the pairs' table as narrow as the width requires; wrap: fold rows, too."""
    for narrow in _Narrow if wrap else tuple(_Narrow)[: _Narrow.EXPECTED]:
        table = _table(results, narrow)
        if _width(console, table) <= console.width:
            break
    _print_whole(console, table)


def _print_whole(console: Console, table: Table) -> None:
    """Print the table at its full width: better a broken line than a lost number."""
    console.width = max(console.width, _width(console, table))
    with console.capture() as printed:
        console.print(table)
    # Trailing blanks would wrap.
    lines = (line.rstrip() for line in printed.get().splitlines())
    console.file.write("".join(f"{line}\n" for line in lines))


def _print_lines(console: Console, lines: Iterable[Text], *, width: int, wrap: bool) -> None:
    """Print lines of any length; wrap: fold them at `width`."""
    for line in lines:
        if wrap:
            _print_wrapped(console, line, width=max(width, _NARROWEST))
        else:
            console.print(line, soft_wrap=True)


def _print_wrapped(console: Console, line: Text, *, width: int) -> None:
    """Print a line; continuation lines are indented by two more columns."""
    indent = len(line.plain) - len(line.plain.lstrip())
    first, *rest = line.wrap(console, width) if line.cell_len > width else [line]
    left = line[len(first.plain) :]
    first.rstrip()
    console.print(first, soft_wrap=True)
    if rest:
        ahead = " " * (indent + 2)
        left = left[len(left.plain) - len(left.plain.lstrip()) :]
        for part in left.wrap(console, width - len(ahead)):
            part.rstrip()
            console.print(Text(ahead).append_text(part), soft_wrap=True)


def _width(console: Console, table: Table) -> int:
    return Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum


def _console(*, width: int, color: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    console = Console(
        file=out,
        width=max(width, _NARROWEST),
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    return console, out


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
        table.add_column(head, footer=Text(limit, style="dim"), justify="right", no_wrap=True)
    sensitive = any(result.detection for result in results)
    limit_head = "detection\nlimit" if narrow >= _Narrow.HEADS else "detection limit"
    counts = ["received", limit_head] if sensitive else ["received"]
    below = narrow >= _Narrow.COUNTS
    if not below:
        for head in ["\n".join(counts)] if folded else counts:
            table.add_column(head, justify="right", no_wrap=True)
    table.add_column("\n".join(["verdict", *counts]) if below else "verdict", no_wrap=True)
    with_compared = any(result.compared for result in results)
    if with_compared:
        table.add_column("compared", no_wrap=True)
    for result in results:
        compared = Text(result.compared or "-", style=_STYLES.get(result.compared.lower(), ""))
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
    word = outcome.word.replace(" (", "\n(") if narrow >= _Narrow.EXPECTED else outcome.word
    verdict = Text(word, style=_STYLES[outcome.kind])
    if narrow >= _Narrow.COUNTS:
        return [verdict.append("".join(f"\n{count}" for count in counts), style="default")]
    return [*map(Text, ["\n".join(counts)] if folded else counts), verdict]


def _cell(result: PairResult, row: Measure, *, with_limit: bool) -> Text:
    if row.name not in result.values:
        return Text("-")
    text, over = measure_cell(result, row, interval=False, limit=with_limit)
    return Text(text.replace(" ", ""), style="red" if over else "")


def _details(result: PairResult, *, verbose: bool) -> Iterator[Text]:
    outcome = pair_outcome(result)
    whole = outcome.kind != "pass" or verbose
    answers = tuple(generation_lines(result) if whole else notice_lines(result))
    has_notices = result.warnings or result.changes or result.unasked or answers
    if not whole and not has_notices and not result.leaking:
        return
    yield Text()
    yield Text.assemble((f"{result.pair}", "bold"), f": {outcome.word}")
    if outcome.note:
        yield Text(f"  {outcome.note}")
    yield from _passages(result, verbose=verbose)
    for line in (*result.reasons, *result.changes, *filter(None, [result.spared])):
        yield Text(f"  {inert(line)}")
    yield from (Text(f"  {inert(line)}") for line in work_lines(result, verbose=verbose))
    if whole and (ranges := _intervals(result)):
        yield Text(f"  {ranges}", style="dim")
    yield from (Text(f"  {inert(line)}", style="dim") for line in answers)
    yield from (Text(f"  {inert(line)}") for line in other_book_lines(result))
    yield from (Text(f"  warning: {inert(warning)}") for warning in result.warnings)


def _intervals(result: PairResult) -> str:
    rows = collect_measures([result])
    ranges = [
        f"{name} {format_value(rows[name], low)}–{format_value(rows[name], high)}"
        for name, (low, high) in result.intervals.items()
        if name in result.limits and name in rows
    ]
    confidence = f"{100 * result.settings.get('confidence', 0):g}%"
    return f"{confidence} confidence intervals: {', '.join(ranges)}" if ranges else ""


def _passages(result: PairResult, *, verbose: bool) -> Iterator[Text]:
    passages = unique_passages(reported_passages(result))
    few = pair_outcome(result).kind == "expected" and not verbose
    first = passages[:_FEW_PASSAGES] if few else passages
    for passage in first:
        where = f"  {passage_text(passage, inert(passage.place))}"
        if passage.generation is not None:
            where += f", generation {passage.generation}"
        yield Text(where)
        if verbose and passage.rate:
            yield Text(f"    {rate_text(passage.rate)}", style="dim")
        if passage.quote:
            yield Text(f"    “{passage.quote}”", style="italic")
    if left := len(passages) - len(first):
        yield Text(f"  {amount(left, 'more passage')}; rerun with -v", style="dim")
