"""Details of pairs for the terminal, above the first screen, which has the causes.

How much a pair gets depends on the number of pairs and on -v: its notices, its row and
its worst passage, or everything.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rich.text import Text

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.book_text import leaking_work_lines
from pytest_memleak.reports.console import print_lines, text_console
from pytest_memleak.reports.exceeded_limits import exceeded_limits
from pytest_memleak.reports.generation_text import (
    doubtful_reuse_lines,
    generation_lines,
    notice_lines,
)
from pytest_memleak.reports.measure_text import format_value, rate_text
from pytest_memleak.reports.pair_outcome import BRIEF_FROM_PAIRS, pair_outcome
from pytest_memleak.reports.passage_selection import (
    other_book_lines,
    passage_text,
    reported_passages,
    unique_passages,
)
from pytest_memleak.reports.prompt_text import named_prompt_rate_lines
from pytest_memleak.reports.release_text import comparison_lines, comparison_sentence
from pytest_memleak.reports.terminal_tables import print_rows
from pytest_memleak.results.build_result import collect_measures
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE, NV_LONGEST_PASSAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.records.measurement import Passage
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.verdicts import ReleaseComparison
    from pytest_memleak.reports.pair_outcome import Outcome


def summary(
    results: Sequence[PairResult],
    *,
    width: int,
    color: bool,
    verbosity: int = 0,
    wrap: bool = False,
    compared: ReleaseComparison | None = None,
) -> str:
    """Render the details, in color if `color`; "" if there are none.

    verbosity: pytest's: -1 shows nothing but the comparison, 1 or 2 everything
    wrap: break long lines between words, for a reader at a terminal; a log keeps them
        whole
    compared: the comparison with an earlier release, shown last
    """
    console, out = text_console(width=width, color=color)
    has_many = len(results) >= BRIEF_FROM_PAIRS
    detail = verbosity - has_many
    if results and detail >= 0:
        print_rows(console, results, wrap=wrap)
    lines: list[Text] = []
    if verbosity >= 0 and detail < 0:
        lines += _notices_of_many(results)
    for result in results:
        if detail > 0:
            lines += _verbose_lines(result)
        elif detail == 0:
            lines += _brief_lines(result, more="-vv" if has_many else "-v")
    if compared:
        lines.append(Text())
        sentence = inert(comparison_sentence(compared))
        lines.append(Text(sentence, style="bold"))
        lines += _indented(comparison_lines(compared))
    print_lines(console, lines, width=width, wrap=wrap)
    return out.getvalue()


def _indented(lines: Iterable[str], style: str = "") -> Iterator[Text]:
    for line in lines:
        yield Text(f"  {inert(line)}", style=style)


# --- notices ---


def _notices_of_many(results: Sequence[PairResult]) -> Iterator[Text]:
    """Yield what readers must know even of passes, each notice once."""
    by_notice: defaultdict[str, list[str]] = defaultdict(list)
    for result in results:
        for notice in _notice_texts(result):
            by_notice[notice].append(result.pair)
    for notice, pairs in by_notice.items():
        where = pairs[0]
        if len(pairs) > 1:
            where += f" and {amount(len(pairs) - 1, 'more pair')}"
        yield Text(f"{inert(notice)} ({where})", style="dim")


# --- six lines ---


def _brief_lines(result: PairResult, more: str) -> Iterator[Text]:
    """Yield the exceeded limits and the worst passage of a pair; of others, notices.

    more: the option that shows everything
    """
    outcome = pair_outcome(result)
    notices = _notice_texts(result)
    causes = list(_exceeded_limit_lines(result))
    passages = _passages_worst_first(result)
    is_fine = outcome.kind in ("pass", "expected")
    if is_fine or not (causes or passages):
        has_note = bool(outcome.note) and not is_fine
        if notices or has_note:
            yield from _heading_lines(result, outcome)
            yield from _indented(notices)
        return
    further = []
    if len(passages) > 1:
        further.append(amount(len(passages) - 1, "more passage"))
    unshown = set(notices) - set(causes)
    if unshown:
        further.append(amount(len(unshown), "notice"))
    yield from _heading_lines(result, outcome)
    yield from _indented(causes)
    for passage in passages[:1]:
        yield from _passage_lines(passage)
    if further:
        yield Text(f"  {', '.join(further)}: see {more}", style="dim")


def _heading_lines(result: PairResult, outcome: Outcome) -> Iterator[Text]:
    yield Text()
    verdict = (outcome.word, outcome.style.color)
    pair = (result.pair, "bold")
    yield Text.assemble(verdict, " ", pair)
    if outcome.note:
        yield Text(f"  {outcome.note}")


def _exceeded_limit_lines(result: PairResult) -> Iterator[str]:
    """Yield what a failed pair exceeds; the first screen has other pairs' causes."""
    if result.plain_verdict is not Verdict.FAIL:
        return
    over = exceeded_limits(result)
    if over and len(over) == len(result.reasons):
        yield ", ".join(map(str, over))
    elif result.reasons:
        yield "; ".join(result.reasons)
    yield from named_prompt_rate_lines(result)
    yield from doubtful_reuse_lines(result)
    yield from leaking_work_lines(result)


def _notice_texts(result: PairResult) -> tuple[str, ...]:
    """Return what readers must know even of a pass."""
    passes = pair_outcome(result).kind == "pass"
    notices: list[str] = []
    if passes and result.leaking:
        notices += leaking_work_lines(result)
    notices += notice_lines(result)
    notices += result.changes
    if passes:
        notices += [
            passage_text(each, each.place) for each in result.passages_beside_verdict
        ]
    notices += [f"warning: {warning}" for warning in result.warnings]
    return tuple(notices)


# --- everything ---


def _verbose_lines(result: PairResult) -> Iterator[Text]:
    outcome = pair_outcome(result)
    yield from _heading_lines(result, outcome)
    for passage in unique_passages(reported_passages(result)):
        yield from _passage_lines(passage, with_rate=True)
    yield from _indented(result.reasons)
    yield from _indented(result.changes)
    if result.spared:
        yield from _indented([result.spared])
    yield from _indented(leaking_work_lines(result, verbose=True))
    ranges = _intervals_text(result)
    if ranges:
        yield Text(f"  {ranges}", style="dim")
    yield from _indented(generation_lines(result), style="dim")
    yield from _indented(other_book_lines(result))
    yield from _indented(f"warning: {warning}" for warning in result.warnings)


def _intervals_text(result: PairResult) -> str:
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


def _passages_worst_first(result: PairResult) -> list[Passage]:
    """Return a failed pair's passages, the worst first.

    Near-verbatim passages come first where only they are too long.
    """
    if result.plain_verdict is not Verdict.FAIL:
        return []
    passages = unique_passages(reported_passages(result))
    over = {limit.measure.name for limit in exceeded_limits(result)}
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
