"""What happens when pytest ends: results are gathered, compared, written, and shown.

PYTEST_DONT_REWRITE

Every run has it, so heavy modules are imported where they are used.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.plugin.options import (
    HOW_TO_RUN,
    folded,
    report_paths,
    run_key,
    terminal_settings,
)
from pytest_memleak.reports.output_table import EVIDENCE, HTML, REPORTS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from pytest_memleak.plugin.run_record import RunRecord
    from pytest_memleak.records.pair_result import PairResult, RunReport
    from pytest_memleak.records.verdicts import ReleaseComparison

_ITEMS = "memleak_items"  # of what a worker of xdist sends at its end
_PLANS = ("memleak_dry_run", "collectonly")  # options with which no test runs


def pytest_configure(config: pytest.Config) -> None:
    """Register the result collector and, if tests run, the run record."""
    record = None
    if not any(map(config.getoption, _PLANS)):
        from pytest_memleak.plugin.run_record import RunRecord

        record = RunRecord(config)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(EndOfRun(config, record), "memleak-end-of-run")
    if record:
        config.pluginmanager.register(record, "memleak-run-record")


def pytest_collection_finish(session: pytest.Session) -> None:
    """List the items that need a result, here or for the controller of xdist."""
    config: Any = session.config
    if run_key in config.stash:
        from pytest_memleak.plugin.collect_suites import unrun_verdicts

        end_of_run = config.pluginmanager.get_plugin("memleak-end-of-run")
        if end_of_run:
            items = end_of_run.items
        else:
            items = config.workeroutput.setdefault(_ITEMS, {})
        items.update(unrun_verdicts(session.items))


class EndOfRun:
    """Gathers the results that test reports carry, and reports them when pytest ends.

    They come from this process or from xdist's workers. Reports are written when the
    session finishes, and again if other plugins then make the run end worse than they
    say.
    """

    def __init__(self, config: pytest.Config, record: RunRecord | None) -> None:
        self._config = config
        self._record = record
        self._result_by_pair: dict[tuple[str, str, str | None], dict[str, Any]] = {}
        # Of each item with a pair its verdict, "" if accepted.
        self.items: dict[str, str] = {}
        self._unearned = ""
        self._report: RunReport | None = None
        self._compared_results: tuple[PairResult, ...] = ()
        self._comparison: ReleaseComparison | None = None
        self._had_internal_error = False
        self._interrupted = False
        # Raised while writing a report; shown once.
        self._write_error: BaseException | None = None
        self._session: pytest.Session | None = None
        self._least: int = 0  # exit status that hooks can't lower
        self._written: Mapping[str, Path] = {}

    def pytest_internalerror(self) -> None:
        """Remember the error: after a worker's, xdist would exit with 0."""
        self._had_internal_error = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the result off the report, so that no other plugin writes its quotes."""
        result, verdict, accepted = vars(report).pop("memleak", (None, None, False))
        is_subtest = hasattr(report, "context")
        if accepted and report.passed and not is_subtest:
            verdict = ""
        if verdict is not None:
            self.items[report.nodeid] = verdict
        if result is not None:
            suite_path = result["suite"]["path"]
            endpoint = result["model"]["endpoint"]
            key = (suite_path, result["pair"], endpoint)
            self._result_by_pair[key] = result

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """List the items that a worker of xdist collected."""
        output = getattr(node, "workeroutput", {})
        unrun = output.get(_ITEMS, {})
        self.items = {**unrun, **self.items}
        if self._config.getoption("memleak_witness"):
            from pytest_memleak.plugin.witnessed_run import take_from_worker

            take_from_worker(self._config, output)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """After the last pair, fail if one didn't pass; compare with the baseline."""
        result = yield
        only_plans = any(map(self._config.getoption, _PLANS))
        if self.items and not session.testsfailed and not only_plans:
            from pytest_memleak.plugin.run_reports import failed_gate_line

            self._unearned = failed_gate_line(self.items)
            session.testsfailed += bool(self._unearned)
        if self._result_by_pair and self._config.getoption("memleak_baseline"):
            from pytest_memleak.plugin.baseline_gate import (
                compare_with_baseline,
                report_comparison,
            )

            self._compared_results, self._comparison = compare_with_baseline(
                self._config,
                self._results_list(),
            )
            if self._comparison:
                report_comparison(session, self._comparison)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(
        self,
        session: pytest.Session,
        exitstatus: int,
    ) -> Generator[None, Any, Any]:
        """Write the reports; add the JUnit properties before that file is written."""
        self._session = session
        if self._had_internal_error:
            exitstatus = session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        elif self._interrupted and not exitstatus:
            # `pytest.exit` gave 0.
            exitstatus = session.exitstatus = pytest.ExitCode.INTERRUPTED
        self._least = int(exitstatus) if any(self.items.values()) else 0
        with self._correcting_status_and_reports():
            has_record = self._record and report_paths(self._config)
            if not (self._result_by_pair or has_record):
                return (yield)
            from pytest_memleak.plugin import run_reports
            from pytest_memleak.plugin.session_run import run_of

            run = run_of(self._config)
            self._report = run_reports.run_report(
                self._config,
                self._compared_results or self._results_list(),
                exitstatus,
                run,
                record=self._record,
                comparison=self._comparison,
            )
            if self._report is None:
                return (yield)
            self._report = dataclasses.replace(
                self._report,
                typed=run_reports.command_to_repeat(self._config),
            )
            try:
                with run_reports.exiting():
                    run.validate_ledger()
                    self._written = self._report.outputs
                    run.extensions.report(self._report)
                    self._report_to_witness()
            except BaseException as error:  # noqa: BLE001 - raised once all others have ended
                self._write_error = error
                self._report = dataclasses.replace(self._report, outputs={})
            if self._report.results:
                run_reports.add_junit_properties(self._config, self._report)
            result = yield
            if self._write_error is not None:
                raise self._write_error
            with run_reports.exiting():
                run.validate_ledger()  # again, after other plugins
            return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_unconfigure(self) -> Generator[None, Any, None]:
        """Check again how the run ended, which other plugins may change until now."""
        with self._correcting_status_and_reports():
            yield

    @contextlib.contextmanager
    def _correcting_status_and_reports(self) -> Iterator[None]:
        """Keep a failed run failed; if it ends worse than reported, report again."""
        status: int = pytest.ExitCode.INTERNAL_ERROR
        try:
            yield
            if self._session:
                status = self._session.exitstatus = max(
                    self._session.exitstatus,
                    self._least,
                )
        except KeyboardInterrupt:
            status = self._least = pytest.ExitCode.INTERRUPTED
            raise
        finally:
            self._rewrite_reports_if_worse(status)

    def _rewrite_reports_if_worse(self, status: int) -> None:
        """Write the reports again if the run ended worse than they say."""
        report = self._report
        if report is None or status in (pytest.ExitCode.OK, report.exit_status):
            return
        from pytest_memleak.errors import MemleakError
        from pytest_memleak.plugin.run_reports import evidence_line

        self._report = dataclasses.replace(report, exit_status=int(status))
        rewritten = dataclasses.replace(self._report, outputs=self._written)
        try:  # evidence first: it must not say PASS
            for output in sorted(REPORTS, key=lambda output: output is not EVIDENCE):
                output.write_if_requested(rewritten)
            self._report_to_witness()
        except MemleakError as error:
            # No bundle is better than one that claims too much.
            evidence = self._written.get(EVIDENCE.name)
            if evidence:
                with contextlib.suppress(OSError):
                    evidence.unlink()
            if not self._write_error:
                print(f"memleak: {error}")
            return
        if EVIDENCE.name in report.outputs:
            print(evidence_line(self._report))

    def _report_to_witness(self) -> None:
        """Report the bundle to the run's witness, if it has one."""
        evidence = self._written.get(EVIDENCE.name)
        if evidence and self._config.getoption("memleak_witness"):
            from pytest_memleak.plugin.witnessed_run import end_run

            end_run(self._config, evidence)

    def _results_list(self) -> tuple[PairResult, ...]:
        from pytest_memleak.results.build_result import results_from_json

        return results_from_json(self._result_by_pair.values())

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(
        self,
        excinfo: pytest.ExceptionInfo[BaseException],
    ) -> None:
        """After Ctrl-C, write no evidence, and exit without delay."""
        self._interrupted = True
        if run_key in self._config.stash:
            from pytest_memleak.plugin.run_reports import exit_without_delay

            exit_without_delay(excinfo, whole=self._config.getoption("fulltrace"))

    @pytest.hookimpl(
        wrapper=True,
        tryfirst=True,
        specname="pytest_terminal_summary",
    )
    def pytest_show_verdicts_once(
        self,
        terminalreporter: Any,
    ) -> Generator[None, Any, None]:
        """Leave verdicts to the section `memorization`, out of failures and summary."""
        stats = terminalreporter.stats if self._report else {}
        whole = {kind: stats[kind] for kind in ("failed", "error") if kind in stats}
        for kind, reports in whole.items():
            stats[kind] = [
                report for report in reports if not hasattr(report, "memleak_verdict")
            ]
        try:
            yield
        finally:
            stats.update(whole)

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """Write the table of pairs and the passages, or a hint if there is no suite."""
        if self._report is not None:
            self._write_report(terminalreporter, self._report)
        elif exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            for line in self._lines_without_tests(terminalreporter):
                terminalreporter.write_line(line)
        if self._unearned:
            terminalreporter.write_line(self._unearned)
        if skipped := _count_skipped_pairs(terminalreporter):
            pairs = "1 pair" if skipped == 1 else f"{skipped} pairs"
            sentence = (
                f"memleak: skipped {pairs} whose provider can charge for calls. To "
                "run them, add -m copyright."
            )
            terminalreporter.write_line(folded(sentence, self._config))

    def _lines_without_tests(self, terminalreporter: Any) -> Iterator[str]:
        """Yield why no test ran, if options of the run explain it."""
        if deselected := len(terminalreporter.stats.get("deselected", ())):
            tests = "1 test" if deselected == 1 else f"{deselected} tests"
            options = {name: self._config.getoption(name) for name in ("-k", "-m")}
            selection = " ".join(
                f"{name} {text!r}" for name, text in options.items() if text
            )
            yield f"memleak: {selection or 'the selection'} matches none of {tests}"
        elif self._config.getoption("markexpr") == "copyright":
            patterns = " ".join(self._config.getini("memleak_suites"))
            yield f"memleak: no suite ({patterns}) found"
            yield "  memleak init writes one; memleak demo runs one"

    def _write_report(self, terminalreporter: Any, report: RunReport) -> None:
        from pytest_memleak.plugin.run_reports import evidence_line
        from pytest_memleak.plugin.session_run import deployment_lines
        from pytest_memleak.reports.first_screen import first_screen
        from pytest_memleak.reports.github_annotations import annotation_lines
        from pytest_memleak.reports.screen_text import screen_text
        from pytest_memleak.reports.terminal_summary import summary

        terminal = terminal_settings(self._config)
        verbosity = self._config.get_verbosity()
        terminalreporter.write_sep("=", "memorization")
        text = summary(
            report.results,
            compared=report.compared,
            verbosity=verbosity,
            **terminal,
        )
        terminalreporter.write(text)
        if EVIDENCE.name in report.outputs:
            terminalreporter.write_line(evidence_line(report))
            for line in self._witness_lines(report.outputs[EVIDENCE.name]):
                terminalreporter.write_line(line)
        if page := report.outputs.get(HTML.name):
            terminalreporter.write_line(f"HTML report: {page}")
        if report.results or report.unrun:
            if text or EVIDENCE.name in report.outputs or page:
                terminalreporter.write_line("")
            view = first_screen(report)
            screen = screen_text(view, brief=verbosity < 0, **terminal)
            terminalreporter.write(screen)
            for line in annotation_lines(report, view, os.environ):
                terminalreporter.write_line(line)
        for line in deployment_lines(self._config):
            terminalreporter.write_line(line)

    def _witness_lines(self, evidence: Path) -> Iterator[str]:
        """Yield which attempt a witness knows the run as."""
        if self._config.getoption("memleak_witness"):
            from pytest_memleak.plugin.witnessed_run import witness_lines

            yield from witness_lines(self._config, evidence)


def _count_skipped_pairs(terminalreporter: Any) -> int:
    skipped = terminalreporter.stats.get("skipped", ())
    return sum(HOW_TO_RUN in str(report.longrepr) for report in skipped)
