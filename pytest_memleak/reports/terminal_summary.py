"""Terminal summary: verdicts of all pairs, then what to know of those that don't plainly pass.

How much a pair gets depends on the number of pairs and on -v: a line, six lines, or
everything.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rich.text import Text

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, figure
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.console import print_lines, text_console
from pytest_memleak.reports.pair_outcome import LOOKS, WORST_FIRST, pair_outcome
from pytest_memleak.reports.passage_selection import (
    other_book_lines,
    passage_text,
    reported_passages,
    unique_passages,
)
from pytest_memleak.reports.report_text import (
    MANY,
    comparison_lines,
    comparison_sentence,
    control_lines,
    detection_captions,
    format_value,
    generation_lines,
    limit_check,
    notice_lines,
    rate_text,
    reuse_lines,
    work_lines,
)
from pytest_memleak.reports.terminal_tables import print_pairs, print_rows
from pytest_memleak.results.build_result import collect_measures
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE, NV_LONGEST_PASSAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records.measurement import Passage
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.verdicts import ReleaseComparison
    from pytest_memleak.reports.pair_outcome import Outcome

_MOST_REASONS = 4


def summary(
    results: Sequence[PairResult],
    *,
    width: int,
    color: bool,
    verbosity: int = 0,
    wrap: bool = False,
    compared: ReleaseComparison | None = None,
) -> str:
    """Render the whole summary, in color if `color`.

    verbosity: pytest's: -1 shows only what doesn't pass, 1 or 2 everything
    wrap: break long lines between words, for a reader at a terminal; a log keeps them
    whole
    compared: the comparison with an earlier release, shown last
    """
    console, out = text_console(width=width, color=color)
    detail = verbosity - (len(results) >= MANY)
    lines: list[Text] = []
    if detail > 0:
        print_rows(console, results, wrap=wrap)
    elif verbosity >= 0:
        print_pairs(console, results, wrap=wrap)
    if verbosity >= 0:
        captions = () if detail < 0 else detection_captions(results)
        lines += [Text(line, style="dim") for line in map(inert, captions)]
    lines += [Text(inert(line), style="dim") for line in control_lines(results)]
    if detail < 0:
        lines += [Text(), *_grouped(results)]
    else:
        more = "-v" if len(results) < MANY else "-vv"
        for result in results:
            lines += _everything(result) if detail else _at_a_glance(result, more)
    if compared:
        lines += [Text(), Text(inert(comparison_sentence(compared)), style="bold")]
        lines += [Text(f"  {inert(change)}") for change in comparison_lines(compared)]
    print_lines(console, lines, width=width, wrap=wrap)
    return out.getvalue()


# --- one line
# ------------------------------------------------------------------------------


def _grouped(results: Sequence[PairResult]) -> Iterator[Text]:
    """Yield what doesn't pass, pairs of the same cause together; then notices, each once."""
    by_cause: dict[tuple[str, str, str], list[PairResult]] = defaultdict(list)
    by_notice: dict[str, list[str]] = defaultdict(list)
    for result in results:
        outcome = pair_outcome(result)
        if outcome.kind not in ("pass", "expected"):
            by_cause[outcome.kind, outcome.word, _cause(result, outcome)].append(result)
        for notice in _notices(result):
            by_notice[notice].append(result.pair)
    for (kind, word, cause), group in sorted(
        by_cause.items(), key=lambda group: WORST_FIRST.index(group[0][0])
    ):
        count = amount(len(group), "pair")
        yield Text.assemble((word, LOOKS[kind].color), f" ({count}): {inert(cause)}")
        worst = {
            result.pair: passages[0]
            for result in group
            if (passages := _passages(result))
        }
        for pair, passage in sorted(worst.items(), key=lambda row: -row[1].words):
            yield Text(f"  {pair}: {passage_text(passage, inert(passage.place))}")
        if others := [result.pair for result in group if result.pair not in worst]:
            yield Text(f"  {', '.join(others)}")
    for notice, pairs in by_notice.items():
        more = f" and {amount(len(pairs) - 1, 'more pair')}" if len(pairs) > 1 else ""
        yield Text(f"{inert(notice)} ({pairs[0]}{more})", style="dim")


def _cause(result: PairResult, outcome: Outcome) -> str:
    if outcome.kind == "fail" and not result.unexcused and (over := _exceeded(result)):
        return f"exceeds the {'limit' if len(over) == 1 else 'limits'} on {', '.join(over)}"
    first, *more = result.reasons or (outcome.note,)
    return f"{first} (-v shows {amount(len(more), 'more reason')})" if more else first


# --- six lines
# -----------------------------------------------------------------------------


def _at_a_glance(result: PairResult, more: str) -> Iterator[Text]:
    """Yield verdict, causes, and the worst passage of a pair; of a pass only its notices.

    more: the option that shows everything
    """
    outcome = pair_outcome(result)
    notices = _notices(result)
    if outcome.kind in ("pass", "expected"):
        if notices:
            yield from _heading(result, outcome)
            yield from (Text(f"  {inert(notice)}") for notice in notices)
        return
    yield from _heading(result, outcome)
    yield from (Text(f"  {inert(line)}") for line in _causes(result, outcome))
    passages = _passages(result)
    for passage in passages[:1]:
        yield from _passage_lines(passage)
    further = [amount(len(passages) - 1, "more passage")] if len(passages) > 1 else []
    further += [amount(len(notices), "notice")] if notices else []
    left = len(result.reasons) - _MOST_REASONS
    further += (
        [amount(left, "more reason")]
        if outcome.kind == "inconclusive" and left > 0
        else []
    )
    if further:
        yield Text(f"  {', '.join(further)}: see {more}", style="dim")


def _heading(result: PairResult, outcome: Outcome) -> Iterator[Text]:
    yield Text()
    yield Text.assemble((outcome.word, outcome.look.color), " ", (result.pair, "bold"))
    if outcome.note:
        yield Text(f"  {outcome.note}")


def _causes(result: PairResult, outcome: Outcome) -> Iterator[str]:
    if outcome.kind == "inconclusive":
        yield from result.reasons[:_MOST_REASONS]
        return
    over = _exceeded(result)
    if over and len(over) == len(result.reasons):
        yield ", ".join(f"{name} {relation}" for name, relation in over.items())
    elif result.reasons:
        yield "; ".join(result.reasons)
    yield from reuse_lines(result)
    yield from work_lines(result)


def _exceeded(result: PairResult) -> dict[str, str]:
    """Return each exceeded limit with its value: {"bmc": "0.2 > 0.15"}."""
    rows = collect_measures([result])
    return {
        name: f"{figure(result.values[name])} > {figure(limit)}"
        for name, limit in result.limit_values.items()
        if name in result.values and limit_check(result, rows[name], limit).over
    }


def _notices(result: PairResult) -> tuple[str, ...]:
    """Return what readers must know even of a pass."""
    passing = pair_outcome(result).kind == "pass"
    passages = (
        passage_text(passage, passage.place) for passage in result.unasked if passing
    )
    works = work_lines(result) if passing and result.leaking else ()
    warnings = (f"warning: {warning}" for warning in result.warnings)
    return (*works, *notice_lines(result), *result.changes, *passages, *warnings)


# --- everything
# ----------------------------------------------------------------------------


def _everything(result: PairResult) -> Iterator[Text]:
    outcome = pair_outcome(result)
    yield from _heading(result, outcome)
    for passage in unique_passages(reported_passages(result)):
        yield from _passage_lines(passage, with_rate=True)
    for line in (*result.reasons, *result.changes, *filter(None, [result.spared])):
        yield Text(f"  {inert(line)}")
    yield from (Text(f"  {inert(line)}") for line in work_lines(result, verbose=True))
    if ranges := _intervals(result):
        yield Text(f"  {ranges}", style="dim")
    yield from (
        Text(f"  {inert(line)}", style="dim") for line in generation_lines(result)
    )
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


def _passages(result: PairResult) -> list[Passage]:
    """Return a failed pair's passages, the worst first: near-verbatim if only that is too long."""
    if result.plain_verdict is not Verdict.FAIL:
        return []
    passages, over = unique_passages(reported_passages(result)), _exceeded(result)
    near_alone = NV_LONGEST_PASSAGE.name in over and LONGEST_PASSAGE.name not in over
    first = NV_LONGEST_PASSAGE.title if near_alone else None
    return sorted(passages, key=lambda passage: passage.kind != first)


def _passage_lines(passage: Passage, *, with_rate: bool = False) -> Iterator[Text]:
    where = f"  {passage_text(passage, inert(passage.place))}"
    if passage.generation is not None:
        where += f", generation {passage.generation}"
    yield Text(where)
    if with_rate and passage.rate:
        yield Text(f"    {rate_text(passage.rate)}", style="dim")
    sides = {"book: ": passage.quote, "answer: ": passage.answer}
    for side, quote in sides.items() if passage.answer else [("", passage.quote)]:
        if quote:
            yield Text(f"    {side}“{quote}”", style="italic")
