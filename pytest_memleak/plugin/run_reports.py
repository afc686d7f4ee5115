"""What is told of a pair, and of a run: findings, JUnit's properties, reports, explanations.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_memleak import __version__
from pytest_memleak.errors import MemleakError
from pytest_memleak.plugin.options import quoted_words
from pytest_memleak.plugin.run_record import selection_of
from pytest_memleak.plugin.stash import doubt_key, evaluation_key, published_key
from pytest_memleak.records import Block, Span
from pytest_memleak.records.pair_result import RunReport
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.junit import case_properties, suite_properties
from pytest_memleak.reports.report_text import pair_outcome
from pytest_memleak.results.build_result import build_result
from pytest_memleak.results.run_verdict import run_result, verdict_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.plugin.run_record import RunRecord
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.releases import ReleaseComparison

    RunOf = Callable[[pytest.Config], Run]  # `outcomes.run_of`


def publish(item: pytest.Item, report: pytest.TestReport, *, own: bool) -> None:
    """Attach the pair's finding to the report; own: of a test that no suite file makes.

    A test that asks for its evaluation in its body has one with its call's report.
    """
    evaluation = item.stash.get(evaluation_key, None)
    _hold_doubt(item, report)
    told = item.stash.get(published_key, None)
    if evaluation and (report.when == "setup" or told is not evaluation):
        item.stash[published_key] = evaluation
        found = build_result(evaluation, quoted=quoted_words(item.config))
        report.memleak = found.to_json()  # type: ignore[attr-defined]
        item.user_properties += case_properties(found, own=own)


def _hold_doubt(item: pytest.Item, report: pytest.TestReport) -> None:
    """INCONCLUSIVE is no pass, whatever the test made of it: caught, skipped, or marked xfail.

    Nor is a FAIL of the suite's that only a mark of a conftest's expects.
    """
    doubt = item.stash.get(doubt_key, None)
    if doubt is None:
        return
    del item.stash[doubt_key]
    if not report.failed:
        expected = vars(report).pop("wasxfail", None) is not None
        report.outcome = "failed"
        report.longrepr = report.longrepr if expected and report.longrepr else doubt


def tell_junit(config: pytest.Config, findings: tuple[PairResult, ...]) -> None:
    """Add the run's properties to the JUnit report, before its file is written."""
    for plugin in config.pluginmanager.get_plugins():
        # The fixture record_testsuite_property does the same, but not from xdist's workers.
        if type(plugin).__name__ == "LogXML":
            for name, value in suite_properties(findings, version=__version__):
                plugin.add_global_property(name, value)


def run_report(
    config: pytest.Config,
    findings: tuple[PairResult, ...],
    status: int,
    run_of: RunOf,
    *,
    record: RunRecord | None,
    compared: ReleaseComparison | None,
) -> RunReport | None:
    """What there is to report of a run; None where it has no pair.

    status: the session's exit status; record: of what was collected and ran, where that is
    asked for; compared: what became of it against an earlier release.
    """
    outputs = {
        name: Path(value)
        for name in ("html", "evidence", "signing_key")
        if (value := config.getoption(f"memleak_{name}", None))
    }
    if step_summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        outputs["step_summary"] = Path(step_summary)
    report = RunReport(__version__, findings, outputs, compared)
    if record is None:
        return report
    tests, unrun = record.settled(status)
    if status == pytest.ExitCode.USAGE_ERROR or not (report.results or unrun or record.broken):
        return None
    return dataclasses.replace(
        report,
        release=config.getoption("memleak_release"),
        selection=selection_of(config),
        tests=tests,
        unrun=unrun,
        uncollected=record.broken,
        ledger=run_of(config).end_of_chain(),
    )


def evidence_line(report: RunReport) -> str:
    """The result that the evidence bundle has, for the terminal."""
    from pytest_memleak.results.run_evidence import collect_pairs

    pairs = collect_pairs(report)
    result = run_result(
        pairs,
        uncollected=report.uncollected,
        compared=report.compared.verdict if report.compared else None,
    )
    return f"evidence: {result} ({verdict_counts(pairs)}), {report.outputs['evidence']}"


def conclude(config: pytest.Config, report: RunReport, run_of: RunOf) -> None:
    """Hand the run's findings to the report sinks; one that fails, fails the run.

    So does a ledger that is damaged by then, or no longer there.
    """
    refuse_damage(config, run_of)
    try:
        run_of(config).extensions.report(report)
    except MemleakError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


def refuse_damage(config: pytest.Config, run_of: RunOf) -> None:
    """End the run as failed where its ledger is damaged, or no longer there."""
    try:
        run_of(config).refuse_damage()
    except MemleakError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


def summary_text(config: pytest.Config, report: RunReport) -> str:
    """The terminal summary of the findings."""
    from pytest_memleak.reports.terminal import summary

    writer = config.get_terminal_writer()
    return summary(
        report.results,
        width=writer.fullwidth,
        color=writer.hasmarkup,
        verbose=config.get_verbosity() > 0,
        wrap=bool(getattr(config.pluginmanager.get_plugin("terminalreporter"), "isatty", False)),
        compared=report.compared,
    )


def next_lines(report: RunReport) -> Iterator[str]:
    """What was written, and what to do about pairs that did not become what they should."""
    if "html" in report.outputs:
        yield f"page: {report.outputs['html']}"
    verdicts = {pair_outcome(found).kind for found in report.results}
    if "inconclusive" in verdicts:
        yield "next: mend what the reasons name, and run it again: no answer is drawn twice"
    elif verdicts & {"fail", "unexpected"} and "html" not in report.outputs:
        yield "next: add --memleak-html=FILE for maps of the book; no answer is drawn twice"


def explain_comparison(run: Run, op: str, left: object, right: object) -> list[str] | None:
    """`assert memorization.longest_passage <= 38` in words: value, limit, place in the book."""
    block, bound = (left, right) if isinstance(left, Block) else (right, left)
    if not isinstance(block, Block):
        return None
    limit = f"{bound.words} words" if isinstance(bound, Block) else str(bound)
    book = getattr(block, "book", None)  # of a passage
    kind = "passage" if book else "longest span" if isinstance(block, Span) else "longest block"
    lines = [f"{kind} of {block.words} words {op} {limit}"]
    evaluation = run.evaluated_with(block)
    if evaluation and book:
        excerpt_at = getattr(block, "excerpt_at", "")
        lines.append(
            f"{evaluation.pair.id}: {inert(book)}, {excerpt_at}, words {block.start}-{block.end}"
        )
    elif evaluation and evaluation.measurement and evaluation.book and block.start is not None:
        excerpt = evaluation.book.excerpts[evaluation.measurement.excerpt_at(block.start)]
        chapter = f"{inert(excerpt.chapter)}, " if excerpt.chapter else ""
        lines.append(
            f"{evaluation.pair.id}: {chapter}{excerpt.id}, words {block.start}-{block.end}"
        )
    return lines
