"""The plugin's hooks: options, collection of suite files, outcomes, reports at the end.

PYTEST_DONT_REWRITE

An idle plugin costs nothing: heavy modules are imported when the first suite is collected.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fnmatch
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.plugin.options import (
    HOW_TO_RUN,
    add_options,
    copyright_key,
    reject_misspelt_options,
    report_paths,
    run_key,
    validate_measures,
)
from pytest_memleak.reports.output_table import EVIDENCE, HTML

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from pytest_memleak.plugin.collect_suites import SuiteModule
    from pytest_memleak.plugin.run_record import RunRecord
    from pytest_memleak.records import Suite
    from pytest_memleak.records.pair_result import PairResult, RunReport
    from pytest_memleak.records.verdicts import ReleaseComparison
    from pytest_memleak.verdict.evaluation import Evaluation

pytest_plugins = ("pytest_memleak.plugin.fixtures",)
_FILES = ("memleak_signing_key", "memleak_baseline", "memleak_ledger")
_PLANS = ("memleak_dry_run", "collectonly")
_ITEMS = "memleak_items"  # of what a worker of xdist sends at its end

# --- options -------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all of which begin with --memleak-."""
    add_options(parser)


def pytest_load_initial_conftests(parser: pytest.Parser, args: list[str]) -> None:
    """Suggest the right name for a misspelt option."""
    reject_misspelt_options(parser, args)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, validate options, and register the collectors of results."""
    config.addinivalue_line(
        "markers",
        "copyright(suite=None): a memorization test. suite: path of a suite file, relative to the "
        "test's folder; the function runs once for each pair of that suite",
    )
    if config.getoption("memleak_max_increase") and not config.getoption("memleak_baseline"):
        raise pytest.UsageError("--memleak-max-increase needs --memleak-baseline")
    validate_measures(config)
    reports = report_paths(config)
    if config.getoption("memleak_signing_key") and EVIDENCE.name not in reports:
        raise pytest.UsageError(f"--memleak-signing-key needs {EVIDENCE.option}")
    if config.getoption("memleak_release") and not reports:
        raise pytest.UsageError(f"--memleak-release needs {EVIDENCE.option} or {HTML.option}")
    gathers = not hasattr(config, "workerinput")
    if gathers and (reports or any(map(config.getoption, _FILES))):
        from pytest_memleak.plugin.preflight import validate_outputs

        validate_outputs(config)
    record = None
    if reports and not any(map(config.getoption, _PLANS)):
        from pytest_memleak.plugin.run_record import RunRecord

        record = RunRecord(config)
    if gathers:
        config.pluginmanager.register(EndOfRun(config, record), "memleak-end-of-run")
    if record:
        config.pluginmanager.register(record, "memleak-run-record")


# --- collection ----------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SuiteModule | None:
    """Collect a suite file as a test module."""
    named = parent.session.isinitpath(file_path)
    patterns = parent.config.getini("memleak_suites") + ["*.toml"] * named
    if not any(fnmatch.fnmatch(file_path.name, pattern) for pattern in patterns):
        if named and file_path.suffix == ".epub":
            raise parent.CollectError(
                f"{file_path.name} is a book; pytest runs suites\n"
                f"  to test this book, run: memleak try {file_path.name} --model openai/NAME"
            )
        return None
    from pytest_memleak.plugin.collect_suites import SuiteModule

    # pytest prints node ids as they are, so control characters of a file's name would act.
    nodeid = None if file_path.name.isprintable() else ascii(str(file_path))[1:-1]
    module = SuiteModule.from_parent(parent, path=file_path, nodeid=nodeid)
    module.load, module.test = _load_suite, test_memorization
    return module


def _load_suite(config: pytest.Config, path: Path) -> Suite:
    from pytest_memleak.plugin.run_pair import load_suite

    return load_suite(config, path)


@pytest.mark.copyright
def test_memorization(
    memleak_evaluation: Evaluation,  # noqa: ARG001 - requested to be made
    request: pytest.FixtureRequest,
) -> None:
    """The model's memorization of the book is within its limits."""
    from pytest_memleak.plugin.run_pair import check_limits

    check_limits(request.node)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None]:
    """Make one test per pair of the suite."""
    marked = metafunc.definition.get_closest_marker("copyright") is not None
    if marked and "memleak_pair" in metafunc.fixturenames:
        from pytest_memleak.plugin.collect_suites import parametrize_pairs

        parametrize_pairs(metafunc, _load_suite)
    metafunc.config.stash[copyright_key] = marked
    yield
    metafunc.config.stash[copyright_key] = False


def pytest_make_parametrize_id(config: pytest.Config, val: object) -> str | None:
    """Shorten ids made of text, since every reporter shows them."""
    if not isinstance(val, str) or not config.stash.get(copyright_key, False):
        return None
    from pytest_memleak.redaction.text import first_words

    short = first_words(val)
    return None if short == val else short.removesuffix(" …")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group pairs by file; skip those with paid calls, unless -m or an option selects them."""
    if run_key in config.stash:
        from pytest_memleak.plugin.run_pair import group_by_file, run_of, skip_paid_pairs

        group_by_file(items)
        skip_paid_pairs(config, items)
        if config.getoption("memleak_max_increase"):
            from pytest_memleak.plugin.baseline_gate import validate_baseline

            validate_baseline(config, items, run_of(config))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Announce the selected pairs, whose shared work is done once, and which have to pass."""
    config: Any = session.config
    if run_key in config.stash:
        from pytest_memleak.plugin.collect_suites import suite_items
        from pytest_memleak.plugin.run_pair import expect_pairs

        expect_pairs(session)
        end_of_run = config.pluginmanager.get_plugin("memleak-end-of-run")
        listed = end_of_run.items if end_of_run else config.workeroutput.setdefault(_ITEMS, {})
        listed.update(suite_items(session.items))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Show plans instead of running tests with --memleak-dry-run."""
    if not session.config.getoption("memleak_dry_run") or session.testsfailed:
        return None
    from pytest_memleak.plugin.run_pair import show_plans

    show_plans(session)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Delete the run's deployments, in the last process that uses them."""
    if run_key in session.config.stash:
        session.config.stash[run_key].settle()


# --- outcomes ------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Attach the pair's result to the report."""
    report = yield
    if run_key in item.config.stash and item.get_closest_marker("copyright"):
        try:
            from pytest_memleak.plugin.collect_suites import SuiteModule
            from pytest_memleak.plugin.run_reports import attach_result

            error = call.excinfo.value if call.excinfo else None
            attach_result(item, report, error, own=item.getparent(SuiteModule) is None)
        except OSError as failure:
            if failure.errno in _TOO_MANY_OPEN:
                pytest.exit(_RAISE_LIMIT, returncode=pytest.ExitCode.INTERNAL_ERROR)
            raise
    return report


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """End a run whose reports need more open files than are allowed with one sentence."""
    try:
        return (yield)
    except OSError as failure:
        if run_key not in config.stash or failure.errno not in _TOO_MANY_OPEN:
            raise
        print(f"memleak: {_RAISE_LIMIT}", file=sys.stderr)
        return pytest.ExitCode.INTERNAL_ERROR


_TOO_MANY_OPEN = {errno.EMFILE, errno.ENFILE}
_RAISE_LIMIT = (
    "Too many open files: raise the limit (ulimit -n 1024) and rerun. Stored generations are reused"
)


def pytest_assertrepr_compare(
    config: pytest.Config, op: str, left: object, right: object
) -> list[str] | None:
    """Explain an exceeded limit."""
    if run_key not in config.stash:
        return None
    from pytest_memleak.plugin.run_reports import explain_comparison

    return explain_comparison(config.stash[run_key], op, left, right)


class EndOfRun:
    """Gathers the results that test reports carry, and reports them when pytest ends.

    They come from this process or from xdist's workers. Reports are written when the session
    finishes, and once more where other plugins then let the run end worse than they say.
    """

    def __init__(self, config: pytest.Config, record: RunRecord | None) -> None:
        self._config = config
        self._record = record
        self.items: dict[str, bool] = {}  # as `suite_items` returns them
        self._result_by_pair: dict[tuple[str, str, str | None], dict[str, Any]] = {}
        self._verdicts: dict[str, str] = {}  # of evaluated items, "" if accepted
        self._unearned = ""
        self._report: RunReport | None = None
        self._compared_results: tuple[PairResult, ...] = ()
        self._comparison: ReleaseComparison | None = None
        self._broke = self._interrupted = False
        self._failed: BaseException | None = None  # to write a report, which is told once
        self._session: pytest.Session | None = None
        self._written: Mapping[str, Path] = {}

    def pytest_internalerror(self) -> None:
        """Remember the error: after a worker's, xdist would exit with 0."""
        self._broke = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the result off the report, so that no other plugin writes its quotes."""
        result, verdict = vars(report).pop("memleak", (None, ""))
        if result is not None:
            key = (result["suite"]["path"], result["pair"], result["model"]["endpoint"])
            self._result_by_pair[key] = result
            self._verdicts[report.nodeid] = verdict

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """List the items that a worker of xdist collected."""
        self.items.update(getattr(node, "workeroutput", {}).get(_ITEMS, {}))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """After the last pair, fail if one didn't pass; compare the results with the baseline."""
        result = yield
        if self.items and not session.testsfailed and not any(map(self._config.getoption, _PLANS)):
            from pytest_memleak.plugin.run_reports import unearned_line

            self._unearned = unearned_line(self.items, self._verdicts)
            session.testsfailed += bool(self._unearned)
        if self._result_by_pair and self._config.getoption("memleak_baseline"):
            from pytest_memleak.plugin.baseline_gate import compare_with_baseline, report_comparison

            self._compared_results, self._comparison = compare_with_baseline(
                self._config, self._results_list()
            )
            if self._comparison:
                report_comparison(session, self._comparison)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, Any, Any]:
        """Write the reports, and the run's JUnit properties before JUnit's file is written."""
        self._session = session
        if self._broke:
            exitstatus = session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        elif self._interrupted and not exitstatus:
            exitstatus = session.exitstatus = pytest.ExitCode.INTERRUPTED  # `pytest.exit` gave 0
        if not (self._result_by_pair or self._record):
            return (yield)
        from pytest_memleak.plugin import run_reports
        from pytest_memleak.plugin.run_pair import run_of

        self._report = run_reports.run_report(
            self._config,
            self._compared_results or self._results_list(),
            exitstatus,
            run_of,
            record=self._record,
            comparison=self._comparison,
        )
        if self._report is None:
            return (yield)
        try:
            run_reports.exit_if_damaged(self._config, run_of)
            self._written = self._report.outputs
            run_reports.write_reports(self._config, self._report, run_of)
        except BaseException as error:  # noqa: BLE001 - raised once all others have ended
            self._failed = error
            self._report = dataclasses.replace(self._report, outputs={})
        if self._report.results:
            run_reports.add_junit_properties(self._config, self._report)
        status: int = pytest.ExitCode.INTERNAL_ERROR
        try:
            result = yield
            if self._failed is not None:
                raise self._failed
            run_reports.exit_if_damaged(self._config, run_of)  # again, after other plugins
            status = session.exitstatus
        finally:
            self._correct(status)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_unconfigure(self) -> Generator[None, Any, None]:
        """Look again how the run ended, since other plugins have the last word."""
        status: int = pytest.ExitCode.INTERNAL_ERROR
        try:
            yield
            status = self._session.exitstatus if self._session else pytest.ExitCode.OK
        finally:
            self._correct(status)

    def _correct(self, status: int) -> None:
        """Write the reports again if the run ended worse than they say."""
        report = self._report
        if report is None or status in (pytest.ExitCode.OK, report.exit_status):
            return
        from pytest_memleak.errors import MemleakError
        from pytest_memleak.plugin.run_reports import evidence_line, write_again

        self._report = dataclasses.replace(report, exit_status=int(status))
        try:
            write_again(dataclasses.replace(self._report, outputs=self._written))
        except MemleakError as error:
            # No bundle is better than one that claims too much.
            if evidence := self._written.get(EVIDENCE.name):
                with contextlib.suppress(OSError):
                    evidence.unlink()
            if not self._failed:
                print(f"memleak: {error}")
            return
        if EVIDENCE.name in report.outputs:
            print(evidence_line(self._report))

    def _results_list(self) -> tuple[PairResult, ...]:
        from pytest_memleak.results.build_result import results_from_json

        return results_from_json(self._result_by_pair.values())

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """After Ctrl-C, write no evidence, and exit without delay."""
        self._interrupted = True
        if run_key in self._config.stash:
            from pytest_memleak.plugin.run_reports import speed_up_exit

            speed_up_exit(excinfo, whole=self._config.getoption("fulltrace"))

    @pytest.hookimpl(wrapper=True, tryfirst=True, specname="pytest_terminal_summary")
    def pytest_show_verdicts_once(self, terminalreporter: Any) -> Generator[None, Any, None]:
        """Leave verdicts to the section `memorization`, out of failures and short summary."""
        stats = terminalreporter.stats if self._report else {}
        whole = {kind: stats[kind] for kind in ("failed", "error") if kind in stats}
        for kind, reports in whole.items():
            stats[kind] = [report for report in reports if not hasattr(report, "memleak_verdict")]
        try:
            yield
        finally:
            stats.update(whole)

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """Write the table of pairs and the passages, or a hint if there is no suite."""
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self._report is None:
            if deselected := len(terminalreporter.stats.get("deselected", ())):
                tests = "1 test" if deselected == 1 else f"{deselected} tests"
                words = [("-k", "keyword"), ("-m", "markexpr")]
                given = [(name, self._config.getoption(of)) for name, of in words]
                selection = " ".join(f"{name} {text!r}" for name, text in given if text)
                shown = selection or "the selection"
                terminalreporter.write_line(f"memleak: {shown} matches none of {tests}")
            elif self._config.getoption("markexpr") == "copyright":
                patterns = " ".join(self._config.getini("memleak_suites"))
                terminalreporter.write_line(f"memleak: no suite ({patterns}) found")
                terminalreporter.write_line("  memleak init writes one; memleak demo runs one")
        elif self._report is not None:
            from pytest_memleak.plugin.run_pair import deployment_lines
            from pytest_memleak.plugin.run_reports import evidence_line, next_lines, summary_text

            terminalreporter.write_sep("=", "memorization")
            if self._report.results:
                terminalreporter.write(summary_text(self._config, self._report))
            if EVIDENCE.name in self._report.outputs:
                terminalreporter.write_line(evidence_line(self._report))
            for line in (*next_lines(self._report), *deployment_lines(self._config)):
                terminalreporter.write_line(line)
        if self._unearned:
            terminalreporter.write_line(self._unearned)
        _write_skipped(terminalreporter)


def _write_skipped(terminalreporter: Any) -> None:
    """Report pairs skipped without -m copyright, so that the run doesn't look like a pass."""
    reasons = (str(report.longrepr) for report in terminalreporter.stats.get("skipped", ()))
    if skipped := sum(HOW_TO_RUN in reason for reason in reasons):
        pairs = "1 pair" if skipped == 1 else f"{skipped} pairs"
        terminalreporter.write_line(
            f"memleak: skipped {pairs} whose provider can charge for calls. To run them, add "
            "-m copyright."
        )
