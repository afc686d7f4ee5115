"""The first screen of every report: verdict, models, map, causes, and one command.

    first_screen(run)   the view that terminal, HTML, Markdown, and job summary render

Its parts: `screen_view` (the data), `screen_map`, `screen_causes`, `next_command`;
`screen_text` renders it for a terminal.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount
from pytest_memleak.reports.book_text import book_titles
from pytest_memleak.reports.detection_and_chance import (
    control_lines,
    highest_detection_limit_lines,
)
from pytest_memleak.reports.next_command import advice_for_typed_command, next_command
from pytest_memleak.reports.pair_outcome import pair_outcome
from pytest_memleak.reports.screen_causes import screen_causes
from pytest_memleak.reports.screen_map import screen_maps
from pytest_memleak.reports.screen_view import SCREEN_KINDS, FirstScreen
from pytest_memleak.results.run_evidence import collect_pairs, suite_controls
from pytest_memleak.results.run_verdict import result_of_run
from pytest_memleak.results.tried_prompts import tried_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records.pair_result import PairResult, RunReport
    from pytest_memleak.reports.screen_view import ScreenCause

_CONTROL_OVER = "control over a limit"
_REFUSING = "pass with refusals"
_COUNTED = {
    "fail": "over a limit",
    "unexpected": "passed but must leak",
    "inconclusive": "undecided",
    "expected": "leaked as expected",
    "pass": "passed",
    _REFUSING: "passed with refusals",
    _CONTROL_OVER: "over a limit as a negative control, which isn't gated",
}


def first_screen(run: RunReport) -> FirstScreen:
    """Build the first screen of a run."""
    verdict = result_of_run(run, collect_pairs(run))
    titles = book_titles((*run.results, *run.unrun))
    causes, more_causes = screen_causes(run.results, run.unrun)
    return FirstScreen(
        verdict=verdict,
        headline=_headline_text(run, verdict),
        maps=screen_maps(run.results, run.unrun, titles),
        causes=tuple(_with_advice(cause, run.typed) for cause in causes),
        more_causes=more_causes,
        notes=tuple(_run_notes(run)),
        next=next_command(run, verdict),
    )


def _with_advice(cause: ScreenCause, typed: str) -> ScreenCause:
    """Return the cause with advice for the line that was typed."""
    return replace(
        cause,
        fix=advice_for_typed_command(cause.fix, typed),
        unexplained=tuple(
            advice_for_typed_command(text, typed) for text in cause.unexplained
        ),
    )


def _headline_text(run: RunReport, verdict: Verdict) -> str:
    """State why the verdict is what it is, and count pairs, models, and books."""
    everyone = (*run.results, *run.unrun)
    models = {(pair.suite.path, pair.model.id) for pair in everyone}
    books = {(pair.suite.path, pair.book.id) for pair in everyone}
    parts = [", ".join(_outcome_counts(run.results)), *_further_reasons(run, verdict)]
    if run.unrun:
        place = 1 if verdict is Verdict.FAIL else 0
        # A pair that one test evaluated and another didn't is in both.
        pairs_run, pairs = map(_count_distinct_pairs, (run.results, everyone))
        ran = f"{pairs_run:,} of {pairs:,} pairs ran"
        parts.insert(place, ran)
    parts.append(f"{amount(len(models), 'model')}, {amount(len(books), 'book')}")
    return "; ".join(filter(None, parts))


def _count_distinct_pairs(results: Sequence[PairResult]) -> int:
    return len({(result.suite.path, result.pair) for result in results})


def _outcome_counts(results: Sequence[PairResult]) -> list[str]:
    """Count pairs by outcome, the worst first; the first count names them pairs."""
    counts = Counter(map(_outcome_word, results))
    texts: list[str] = []
    for kind in (*SCREEN_KINDS, _REFUSING, _CONTROL_OVER):
        if not counts[kind]:
            continue
        number = f"{counts[kind]:,}" if texts else amount(counts[kind], "pair")
        texts.append(f"{number} {_COUNTED[kind]}")
    return texts


def _outcome_word(result: PairResult) -> str:
    kind = pair_outcome(result).kind
    if kind == "expected" and result.control:
        return _CONTROL_OVER
    if kind == "pass" and "," in result.verdict:
        return _REFUSING
    return kind


def _further_reasons(run: RunReport, verdict: Verdict) -> Iterator[str]:
    """Yield what else keeps the run from passing, beside its pairs."""
    if verdict is Verdict.PASS:
        return
    failed = sum(_has_failed_test(result) for result in run.results)
    if failed:
        yield f"{amount(failed, 'pair')} failed a test with limits of its own"
    if run.compared and run.compared.verdict is Verdict.FAIL:
        yield "the release is worse than its baseline"
    if run.compared and run.compared.verdict is Verdict.INCONCLUSIVE:
        yield "the comparison with the baseline is inconclusive"
    if run.uncollected:
        yield f"{amount(len(run.uncollected), 'file')} couldn't be collected"
    for suite in suite_controls((*run.results, *run.unrun)):
        if not suite.gates:
            yield f"{suite.suite} gates nothing: all its pairs are controls"
    kinds = {pair_outcome(result).kind for result in run.results}
    explained = kinds - {"pass", "expected"} or run.unrun or failed or run.compared
    if run.exit_status and not explained:
        yield f"pytest ended with exit code {run.exit_status}"


def _has_failed_test(result: PairResult) -> bool:
    """Whether a passing pair has a test that failed, by limits of its own."""
    if pair_outcome(result).kind != "pass":
        return False
    return any(test.outcome == "failed" for test in result.tests)


def _run_notes(run: RunReport) -> Iterator[str]:
    """Yield what the run could see. Another fact about the whole run belongs here."""
    yield from highest_detection_limit_lines(run.results)
    yield from control_lines(run.results)
    yield from tried_lines(run.results)
