"""The terminal summary: a table of pairs, then where each failure is in its book."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pytest_memleak.findings.finding import main_measures
from pytest_memleak.records import Verdict
from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records.finding import Finding
    from pytest_memleak.story.plan import PlannedStep, RunPlan

__all__ = ["plans", "summary"]

_NARROWEST = 80
_WIDEST = 1000
_FEW_PASSAGES = 2
_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}
# The main ones are always shown, the others where somebody set a limit on them.
_TITLES = {
    "bmc": "BMC@{k}",
    "longest_block": "block",
    "longest_span": "span",
    "spans_over": "span>{span_threshold}",
    "bmc_excess": "excess",
    "uplift": "uplift",
    "nv_recall": "nv",
    "nv_longest_span": "nv span",
    "greedy_bmc": "greedy",
    "greedy_longest_span": "greedy span",
    "extractable": "extractable",
    "extractable_plain": "plain product",
}


def summary(findings: Sequence[Finding], *, width: int, color: bool, verbose: bool = False) -> str:
    """The whole summary as text, with colours if `color`.

    Of a leak that is expected only the worst passages are shown, unless `verbose`.
    """
    console, out = _console(width=width, color=color)
    _print_whole(console, _table(findings))
    for found in findings:
        for line in _details(found, verbose=verbose):
            console.print(line, soft_wrap=True)
    return out.getvalue()


def plans(planned: RunPlan, *, width: int, color: bool) -> str:
    """What a run would still do and pay, a row a step, and what keeps others from being planned.

    draws: generations outstanding; in, out, train: tokens, estimated and at most.
    """
    console, out = _console(width=width, color=color)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("pair", overflow="fold")
    for title in ("calls", "draws", "pending", "in", "out", "train", "US$"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in planned.steps:
        table.add_row(Text(inert(one.what)), *_planned(one))
    _print_whole(console, table)
    if planned.steps:
        total = sum(_cost(one) or 0 for one in planned.steps)
        unpriced = sum(_cost(one) is None for one in planned.steps)
        said = f"at most US$ {total:,.2f} in all"
        console.print(said + (f", and {unpriced} pairs without a price" if unpriced else ""))
    for line in planned.obstacles:
        console.print(Text(f"cannot be planned: {inert(line)}", style="yellow"), soft_wrap=True)
    return out.getvalue()


def _planned(one: PlannedStep) -> list[str]:
    if one.sampling is None:
        return ["recorded", "-", "-", "-", "-", "-", "-"]
    cost, sampling = _cost(one), one.sampling
    counts = (
        sampling.calls,
        sampling.generations,
        sampling.pending,
        sampling.prompt_tokens,
        sampling.completion_tokens,
        one.training_tokens,
    )
    return [*(f"{count:,}" for count in counts), "no price" if cost is None else f"{cost:,.2f}"]


def _cost(one: PlannedStep) -> float | None:
    if one.sampling is None or not (one.sampling.generations or one.training_tokens):
        return 0.0
    if one.sampling.cost is None:
        return None
    return one.sampling.cost + (one.training_cost or 0)


def _print_whole(console: Console, table: Table) -> None:
    """Print the table as wide as it is: better that a terminal breaks lines than numbers lost."""
    needed = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    console.width = max(console.width, needed)
    console.print(table)


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


def _table(findings: Sequence[Finding]) -> Table:
    """Pairs x measures; a row of limits where they are the same for all, else in the cells."""
    alike = all(found.limits == findings[0].limits for found in findings)
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=alike)
    limits = findings[0].limits
    settings = _common_settings(findings)
    suites = {found.suite for found in findings}
    if len(suites) > 1:
        table.add_column("suite", overflow="fold")
    table.add_column("pair", footer=Text("limit", style="dim"), overflow="fold")
    shown = {*main_measures(findings), *(name for found in findings for name in found.limits)}
    titles = {name: title for name, title in _TITLES.items() if name in shown}
    for name, title in titles.items():
        limit = f"≤{_number(limits[name])}" if name in limits else ""
        table.add_column(
            title.format(**settings),
            footer=Text(limit, style="dim"),
            justify="right",
            no_wrap=True,
        )
    table.add_column("drawn", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for found in findings:
        table.add_row(
            *([Text(inert(found.suite))] if len(suites) > 1 else []),
            Text(found.pair),
            *(_cell(found, name, with_limit=not alike) for name in titles),
            Text(f"{found.got:,}/{found.asked:,}" if found.asked else "-"),
            _verdict(found),
        )
    return table


def _common_settings(findings: Sequence[Finding]) -> dict[str, object]:
    """The headings' k and T; their letters where suites differ in them."""
    letters = {"k": "k", "span_threshold": "T"}
    values = {name: {found.settings[name] for found in findings} for name in letters}
    return {name: seen.pop() if len(seen) == 1 else letters[name] for name, seen in values.items()}


def _cell(found: Finding, name: str, *, with_limit: bool) -> Text:
    if name not in found.measures:
        return Text("-")
    value, limit = found.measures[name], found.limits.get(name)
    over = limit is not None and value > limit
    shown = _number(value)
    if with_limit and limit is not None:
        shown += f"{'>' if over else '≤'}{_number(limit)}"
    return Text(shown, style="red" if over else "")


def _verdict(found: Finding) -> Text:
    verdict = Verdict(found.verdict)
    if found.expected == "leak" and verdict is Verdict.FAIL:
        return Text("FAIL (expected)", style="cyan")
    return Text(verdict.value, style=_STYLES[verdict])


def _details(found: Finding, *, verbose: bool) -> Iterator[Text]:
    told = found.warnings or found.changes or _recited_elsewhere(found)
    if found.verdict == Verdict.PASS and not told:
        return
    yield Text()
    yield Text.assemble((f"{found.pair}", "bold"), f": {found.verdict}")
    for said in (*found.reasons, *found.changes, *filter(None, [found.spared])):
        yield Text(f"  {inert(said)}")
    few = found.expected == "leak" and not verbose
    shown = found.passages[:_FEW_PASSAGES] if few else found.passages
    for passage in shown:
        where = f"  {passage.kind} of {passage.words:,} words at {inert(passage.place)}"
        if passage.generation is not None:
            where += f", generation {passage.generation}"
        yield Text(where)
        if passage.quote:
            yield Text(f"    “{passage.quote}”", style="italic")
    if left := len(found.passages) - len(shown):
        yield Text(f"  and {left} more, shown with -v", style="dim")
    for one in _recited_elsewhere(found):
        yield Text(
            f"  {one['spans_over']:,} spans over {found.settings['span_threshold']} words of "
            f"{inert(one['book'])}, which was not asked for; the longest has "
            f"{one['longest_span']:,} words"
        )
    for warning in found.warnings:
        yield Text(f"  warning: {inert(warning)}")


def _recited_elsewhere(found: Finding) -> list[dict[str, Any]]:
    """The books that nobody asked for, of which long spans came."""
    return [one for one in found.elsewhere if one["spans_over"]]


def _number(value: float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"
