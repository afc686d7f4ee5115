"""Reports of pairs and runs: results, JUnit properties, summaries, explanations.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import inspect
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_memleak import __version__
from pytest_memleak.errors import MemleakError
from pytest_memleak.plugin.collect_suites import Outcome, SuiteModule
from pytest_memleak.plugin.options import (
    evaluation_key,
    failure_key,
    published_key,
    quoted_words,
    report_paths,
    witnessed_key,
)
from pytest_memleak.plugin.run_record import selection_of, tested_key
from pytest_memleak.records import Block, Span
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.pair_result import RunReport
from pytest_memleak.redaction.credentials import MASK, masked
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.junit_properties import case_properties
from pytest_memleak.reports.next_command import TYPED, shell_quoted_path
from pytest_memleak.reports.output_table import EVIDENCE, JUNIT, STEP_SUMMARY
from pytest_memleak.results.build_result import build_result
from pytest_memleak.results.quotes import shown_title
from pytest_memleak.results.result_codec import encode
from pytest_memleak.results.run_origin import run_origin
from pytest_memleak.results.run_verdict import (
    expectation,
    passes,
    result_of_run,
    run_result,
    verdict_counts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.plugin.run_record import RunRecord
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.verdicts import ReleaseComparison
    from pytest_memleak.verdict.evaluation import Evaluation

_SWITCH_INTERVAL = 1e-5  # seconds until a thread yields to others
_LONGEST_LINE = 200  # characters of a command line that is shown again


def attach_result(
    item: pytest.Item,
    report: pytest.TestReport,
    error: BaseException | None,
) -> None:
    """Attach the pair's result and verdict to the report, and whether the test decides.

    error: the phase's; one that is a verdict is marked, since the summary shows it. If
    a test requests its evaluation in its body, the report of its call has the result.
    """
    own = item.getparent(SuiteModule) is None
    evaluation = item.stash.get(evaluation_key, None)
    _enforce_failure(item, report)
    if not own and isinstance(error, Outcome) and error.summarized:
        report.memleak_verdict = True  # type: ignore[attr-defined]
    accepted = own and report.when == "call" and error is None  # by its assertions
    row = verdict = None
    published = item.stash.get(published_key, None)
    if evaluation and (report.when == "setup" or published is not evaluation):
        item.stash[published_key] = evaluation
        result = build_result(evaluation, quoted=quoted_words(item.config))
        stated = f"{result.plain_verdict}{expectation(result)}"
        verdict = "" if passes(result) else stated
        row = encode(result)
        item.user_properties += case_properties(result, own=own)
    report.memleak = row, verdict, accepted  # type: ignore[attr-defined]


def _enforce_failure(item: pytest.Item, report: pytest.TestReport) -> None:
    """Fail a test that caught an INCONCLUSIVE, skipped, or is marked xfail."""
    doubt = item.stash.get(failure_key, None)
    if doubt is None:
        return
    del item.stash[failure_key]
    if not report.failed:
        expected = vars(report).pop("wasxfail", None) is not None
        report.outcome = "failed"
        if not (expected and report.longrepr):
            report.longrepr = doubt


def add_junit_properties(config: pytest.Config, report: RunReport) -> None:
    """Add the run's properties to JUnit's report before its file is written."""
    for plugin in config.pluginmanager.get_plugins():
        # The fixture record_testsuite_property doesn't work in xdist's workers.
        if type(plugin).__name__ == "LogXML":
            JUNIT.write(report, plugin)


def run_report(
    config: pytest.Config,
    results: tuple[PairResult, ...],
    status: int,
    run: Run,
    *,
    record: RunRecord | None,
    comparison: ReleaseComparison | None,
) -> RunReport | None:
    """Build the report of a run; None if it has no pair.

    status:     the session's exit status
    record:     of all pairs and tests; None if no test runs
    comparison: with an earlier release
    """
    outputs = report_paths(config)
    if key_file := config.getoption("memleak_signing_key", None):
        outputs["signing_key"] = Path(key_file)
    if step_summary := os.environ.get(STEP_SUMMARY.option):
        outputs[STEP_SUMMARY.name] = Path(step_summary)
    report = RunReport(
        __version__,
        results,
        outputs,
        comparison,
        exit_status=int(status),
    )
    if record is None:
        return report
    tests, unrun = record.pair_tests_and_unrun(status)
    tested_results = [
        dataclasses.replace(result, tests=tests.get(tested_key(result), ()))
        for result in results
    ]
    report = dataclasses.replace(
        report,
        results=tuple(tested_results),
        unrun=unrun,
        uncollected=record.broken,
    )
    if not report_paths(config):
        return report
    if status == pytest.ExitCode.USAGE_ERROR or not (
        report.results or unrun or record.broken
    ):
        return None
    return dataclasses.replace(
        report,
        release=config.getoption("memleak_release"),
        made_by=run_origin(
            config.getoption("memleak_operator"),
            os.environ,
            config.rootpath,
        ),
        witness=config.stash.get(witnessed_key, None),
        selection=selection_of(config),
        ledger=run.resources.hash_chain_end(),
    )


def command_to_repeat(config: pytest.Config) -> str:
    """Return the command line of this run, with paths from here.

    Returns "" for a long line, one with a credential, or one whose run makes no calls
    by an option that it doesn't have.
    """
    if TYPED in os.environ:
        return os.environ[TYPED]
    arguments = [*map(_from_here, config.invocation_params.args)]
    if config.getoption("memleak_offline") and "--memleak-offline" not in arguments:
        return ""
    line = " ".join(["pytest", *arguments])
    if len(line) > _LONGEST_LINE or MASK in masked(line):
        return ""
    return line


def _from_here(argument: str | os.PathLike[str]) -> str:
    text = os.fspath(argument)
    name, equals, value = text.rpartition("=")
    if not Path(value).is_absolute():
        return shlex.quote(text)
    return f"{name}{equals}{shell_quoted_path(value)}"


def failed_gate_line(verdicts: Mapping[str, str]) -> str:
    """Return why a run can't end with exit code 0; "" if all verdicts are accepted."""
    failed = [f"{item} ({verdict})" for item, verdict in verdicts.items() if verdict]
    if not failed:
        return ""
    shown = failed[0]
    if len(failed) > 1:
        shown += ", …"
    return (
        f"memleak: exit code 1, since {amount(len(failed), 'test')} neither passed nor "
        f"leaked as expected: {shown}. Look for a mark, option, fixture, or hook that "
        "skips tests or hides failures."
    )


def evidence_line(report: RunReport) -> str:
    """Return the evidence bundle's result and path for the terminal."""
    from pytest_memleak.results.run_evidence import collect_pairs

    pairs = collect_pairs(report)
    result, counts = result_of_run(report, pairs), verdict_counts(pairs)
    if result is not run_result(pairs) and report.exit_status:
        counts += f"; pytest ended with exit code {int(report.exit_status)}"
    return f"evidence: {result} ({counts}), {report.outputs[EVIDENCE.name]}"


@contextlib.contextmanager
def exiting() -> Iterator[None]:
    """Exit with an error of a report, or of a ledger that is damaged or missing."""
    try:
        yield
    except MemleakError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


def explain_comparison(
    run: Run,
    op: str,
    left: object,
    right: object,
) -> list[str] | None:
    """Explain `assert memorization.longest_passage <= 38`: value, limit, position."""
    block, bound = (left, right) if isinstance(left, Block) else (right, left)
    if not isinstance(block, Block):
        return None
    limit = f"{bound.words} words" if isinstance(bound, Block) else str(bound)
    lines = [f"{_kind_of(block)} of {block.words} words {op} {limit}"]
    evaluation = run.evaluation_with_block(block)
    place = _place_of(block, evaluation) if evaluation else ""
    if evaluation and place:
        lines.append(f"{evaluation.pair.id}: {place}, words {block.start}-{block.end}")
    return lines


def _book_of(passage: Block) -> str | None:
    return getattr(passage, "book", None)


def _kind_of(block: Block) -> str:
    if _book_of(block):
        return "passage"
    return "longest span" if isinstance(block, Span) else "longest block"


def _place_of(block: Block, evaluation: Evaluation) -> str:
    """Return a passage's book, or a block's chapter, and the excerpt; "" if unknown."""
    passage_book = _book_of(block)
    if passage_book:
        return f"{inert(passage_book)}, {getattr(block, 'excerpt_at', '')}"
    book = evaluation.book
    measurement = evaluation.measurement
    if book is None or measurement is None or block.start is None:
        return ""
    excerpt = book.excerpts[measurement.excerpt_at(block.start)]
    chapter = shown_title(excerpt.chapter)
    return f"{inert(chapter)}, {excerpt.id}" if chapter else excerpt.id


def exit_without_delay(
    excinfo: pytest.ExceptionInfo[BaseException], *, whole: bool
) -> None:
    """Make pytest exit without delay, even while a server keeps threads busy.

    whole: whether to show the whole traceback; else only its last line is shown.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
    # With an SDK's million objects, garbage collections at exit would take seconds.
    gc.freeze()
    if not whole:
        excinfo.traceback = excinfo.traceback.filter(excinfo)[-1:] or excinfo.traceback
    # Otherwise `inspect` would search the files of all modules.
    for entry in excinfo.traceback:
        name = entry.frame.f_globals.get("__name__")
        inspect.modulesbyfile.setdefault(entry.frame.code.raw.co_filename, str(name))
