"""Terminal summary: verdicts of all pairs, then what to know of those that don't pass.

How much a pair gets depends on the number of pairs and on -v: a line, six lines, or
everything.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, figure
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.book_text import work_lines
from pytest_memleak.reports.console import print_lines, text_console
from pytest_memleak.reports.detection_and_chance import (
    control_lines,
    detection_captions,
)
from pytest_memleak.reports.generation_text import (
    generation_lines,
    notice_lines,
    reuse_lines,
)
from pytest_memleak.reports.measure_text import format_value, limit_check, rate_text
from pytest_memleak.reports.pair_matrix import MANY
from pytest_memleak.reports.pair_outcome import LOOKS, WORST_FIRST, pair_outcome
from pytest_memleak.reports.passage_selection import (
    other_book_lines,
    passage_text,
    reported_passages,
    unique_passages,
)
from pytest_memleak.reports.release_text import comparison_lines, comparison_sentence
from pytest_memleak.reports.terminal_tables import print_pairs, print_rows
from pytest_memleak.results.build_result import collect_measures
from pytest_memleak.results.tried_prompts import tried_lines
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE, NV_LONGEST_PASSAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
    has_many = len(results) >= MANY
    detail = verbosity - has_many
    if detail > 0:
        print_rows(console, results, wrap=wrap)
    elif verbosity >= 0:
        print_pairs(console, results, wrap=wrap)
    lines: list[Text] = []
    if verbosity >= 0 and detail >= 0:
        lines += _dim(detection_captions(results))
    lines += _dim(control_lines(results))
    lines += _dim(tried_lines(results))
    if detail < 0:
        lines.append(Text())
        lines += _grouped(results)
    for result in results:
        if detail > 0:
            lines += _everything(result)
        elif detail == 0:
            lines += _at_a_glance(result, more="-vv" if has_many else "-v")
    if compared:
        lines.append(Text())
        sentence = inert(comparison_sentence(compared))
        lines.append(Text(sentence, style="bold"))
        lines += _indented(comparison_lines(compared))
    print_lines(console, lines, width=width, wrap=wrap)
    return out.getvalue()


def _dim(lines: Iterable[str]) -> Iterator[Text]:
    for line in lines:
        yield Text(inert(line), style="dim")


def _indented(lines: Iterable[str], style: str = "") -> Iterator[Text]:
    for line in lines:
        yield Text(f"  {inert(line)}", style=style)


# --- one line ---


def _grouped(results: Sequence[PairResult]) -> Iterator[Text]:
    """Yield what doesn't pass, by cause; then notices, each once."""
    by_cause: defaultdict[_Cause, list[PairResult]] = defaultdict(list)
    by_notice: defaultdict[str, list[str]] = defaultdict(list)
    for result in results:
        outcome = pair_outcome(result)
        if outcome.kind not in ("pass", "expected"):
            text = _cause_text(result, outcome)
            cause = _Cause(
                kind=outcome.kind,
                word=outcome.word,
                text=text,
            )
            by_cause[cause].append(result)
        for notice in _notices(result):
            by_notice[notice].append(result.pair)
    worst_first = sorted(by_cause, key=lambda cause: WORST_FIRST.index(cause.kind))
    for cause in worst_first:
        yield from _group(cause, by_cause[cause])
    for notice, pairs in by_notice.items():
        where = pairs[0]
        if len(pairs) > 1:
            where += f" and {amount(len(pairs) - 1, 'more pair')}"
        yield Text(f"{inert(notice)} ({where})", style="dim")


class _Cause(NamedTuple):
    """Why pairs don't pass. kind, word: of their outcome."""

    kind: str
    word: str
    text: str


def _group(cause: _Cause, results: Sequence[PairResult]) -> Iterator[Text]:
    """Yield the pairs of one cause, those with the longest passages first."""
    count = amount(len(results), "pair")
    verdict = (cause.word, LOOKS[cause.kind].color)
    yield Text.assemble(verdict, f" ({count}): {inert(cause.text)}")
    worst: dict[str, Passage] = {}
    others: list[str] = []
    for result in results:
        passages = _passages(result)
        if passages:
            worst[result.pair] = passages[0]
        else:
            others.append(result.pair)
    for pair in sorted(worst, key=lambda pair: -worst[pair].words):
        passage = worst[pair]
        yield Text(f"  {pair}: {passage_text(passage, inert(passage.place))}")
    if others:
        yield Text(f"  {', '.join(others)}")


def _cause_text(result: PairResult, outcome: Outcome) -> str:
    over = _exceeded(result)
    if outcome.kind == "fail" and over and not result.unexcused:
        limits = "limit" if len(over) == 1 else "limits"
        return f"exceeds the {limits} on {', '.join(over)}"
    first, *more = result.reasons or (outcome.note,)
    if not more:
        return first
    return f"{first} (-v shows {amount(len(more), 'more reason')})"


# --- six lines ---


def _at_a_glance(result: PairResult, more: str) -> Iterator[Text]:
    """Yield verdict, causes, and the worst passage of a pair; of a pass its notices.

    more: the option that shows everything
    """
    outcome = pair_outcome(result)
    notices = _notices(result)
    if outcome.kind in ("pass", "expected"):
        if notices:
            yield from _heading(result, outcome)
            yield from _indented(notices)
        return
    yield from _heading(result, outcome)
    yield from _indented(_causes(result, outcome))
    passages = _passages(result)
    for passage in passages[:1]:
        yield from _passage_lines(passage)
    further = []
    if len(passages) > 1:
        further.append(amount(len(passages) - 1, "more passage"))
    if notices:
        further.append(amount(len(notices), "notice"))
    left = len(result.reasons) - _MOST_REASONS
    if outcome.kind == "inconclusive" and left > 0:
        further.append(amount(left, "more reason"))
    if further:
        yield Text(f"  {', '.join(further)}: see {more}", style="dim")


def _heading(result: PairResult, outcome: Outcome) -> Iterator[Text]:
    yield Text()
    verdict = (outcome.word, outcome.look.color)
    pair = (result.pair, "bold")
    yield Text.assemble(verdict, " ", pair)
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
    exceeded = {}
    for name, limit in result.limit_values.items():
        if name not in result.values:
            continue
        if limit_check(result, rows[name], limit).over:
            value = figure(result.values[name])
            exceeded[name] = f"{value} > {figure(limit)}"
    return exceeded


def _notices(result: PairResult) -> tuple[str, ...]:
    """Return what readers must know even of a pass."""
    passes = pair_outcome(result).kind == "pass"
    notices: list[str] = []
    if passes and result.leaking:
        notices += work_lines(result)
    notices += notice_lines(result)
    notices += result.changes
    if passes:
        notices += [passage_text(each, each.place) for each in result.unasked]
    notices += [f"warning: {warning}" for warning in result.warnings]
    return tuple(notices)


# --- everything ---


def _everything(result: PairResult) -> Iterator[Text]:
    outcome = pair_outcome(result)
    yield from _heading(result, outcome)
    for passage in unique_passages(reported_passages(result)):
        yield from _passage_lines(passage, with_rate=True)
    yield from _indented(result.reasons)
    yield from _indented(result.changes)
    if result.spared:
        yield from _indented([result.spared])
    yield from _indented(work_lines(result, verbose=True))
    ranges = _intervals(result)
    if ranges:
        yield Text(f"  {ranges}", style="dim")
    yield from _indented(generation_lines(result), style="dim")
    yield from _indented(other_book_lines(result))
    yield from _indented(f"warning: {warning}" for warning in result.warnings)


def _intervals(result: PairResult) -> str:
    rows = collect_measures([result])
    ranges = []
    for name, (low, high) in result.intervals.items():
        if name in result.limits and name in rows:
            low_text = format_value(rows[name], low)
            high_text = format_value(rows[name], high)
            ranges.append(f"{name} {low_text}–{high_text}")
    if not ranges:
        return ""
    confidence = f"{100 * result.settings.get('confidence', 0):g}%"
    return f"{confidence} confidence intervals: {', '.join(ranges)}"


def _passages(result: PairResult) -> list[Passage]:
    """Return a failed pair's passages, the worst first.

    Near-verbatim passages come first where only they are too long.
    """
    if result.plain_verdict is not Verdict.FAIL:
        return []
    passages = unique_passages(reported_passages(result))
    over = _exceeded(result)
    verbatim_is_over = LONGEST_PASSAGE.name in over
    if NV_LONGEST_PASSAGE.name in over and not verbatim_is_over:
        passages.sort(key=lambda passage: passage.kind != NV_LONGEST_PASSAGE.title)
    return passages


def _passage_lines(passage: Passage, *, with_rate: bool = False) -> Iterator[Text]:
    where = f"  {passage_text(passage, inert(passage.place))}"
    if passage.generation is not None:
        where += f", generation {passage.generation}"
    yield Text(where)
    if with_rate and passage.rate:
        yield Text(f"    {rate_text(passage.rate)}", style="dim")
    sides = {"": passage.quote}
    if passage.answer:
        sides = {"book: ": passage.quote, "answer: ": passage.answer}
    for side, quote in sides.items():
        if quote:
            yield Text(f"    {side}“{quote}”", style="italic")
