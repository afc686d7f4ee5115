"""The pytest plugin: options, collection of suite files, outcomes, fixtures for tests of one's own.

PYTEST_DONT_REWRITE

Installed but not used it costs nothing: everything heavy is imported where a suite is met.
Tests of one's own get what they measure from its fixtures; override `memleak_endpoint` in a
conftest to
bring a model of your own: anything with `sample`.

    @pytest.mark.copyright(suite="release.memleak.toml")
    def test_no_long_passage(memorization):
        assert memorization.longest_passage <= 38
"""

from __future__ import annotations

import dataclasses
import fnmatch
import gc
import inspect
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.plugin.options import TO_RUN_IT, add_options, refuse_unknown_measures
from pytest_memleak.plugin.stash import of_books_key, run_key

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pytest_memleak.interfaces.protocols import Endpoint, Recording
    from pytest_memleak.plugin.outcomes import Memorization, SuiteModule
    from pytest_memleak.plugin.run_record import RunRecord
    from pytest_memleak.records import Book, Pair
    from pytest_memleak.records.pair_result import PairResult, RunReport
    from pytest_memleak.records.releases import ReleaseComparison
    from pytest_memleak.verdict.evaluation import Evaluation

_FILES = [f"memleak_{name}" for name in ("html", "evidence", "signing_key", "baseline", "ledger")]
_IN_HASTE = 1e-5  # seconds after which a thread lets others go on

# --- options -------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all of which begin with --memleak-."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; on the controller, gather what the pairs' reports bring."""
    config.addinivalue_line(
        "markers",
        "copyright(suite=None): a memorization test; on a function of your own, suite is the "
        "suite file (from the function's folder) whose pairs it runs for",
    )
    if config.getoption("memleak_max_increase") and not config.getoption("memleak_baseline"):
        raise pytest.UsageError("--memleak-max-increase needs --memleak-baseline")
    refuse_unknown_measures(config)
    if config.getoption("memleak_ray_address") and config.getoption("memleak_executor") != "ray":
        raise pytest.UsageError("--memleak-ray-address needs --memleak-executor ray")
    evidence, page = map(config.getoption, ("memleak_evidence", "memleak_html"))
    if config.getoption("memleak_signing_key") and not evidence:
        raise pytest.UsageError("--memleak-signing-key needs --memleak-evidence")
    if config.getoption("memleak_release") and not (evidence or page):
        raise pytest.UsageError("--memleak-release needs --memleak-evidence or --memleak-html")
    gathers = not hasattr(config, "workerinput")
    if gathers and any(map(config.getoption, _FILES)):
        from pytest_memleak.plugin.preflight import refuse_bad_options

        refuse_bad_options(config)
    record = None
    if (evidence or page) and not any(map(config.getoption, ("memleak_dry_run", "collectonly"))):
        from pytest_memleak.plugin.run_record import RunRecord

        record = RunRecord(config)
    if gathers:
        config.pluginmanager.register(Findings(config, record), "memleak-findings")
    if record:
        config.pluginmanager.register(record, "memleak-run-record")


# --- collection ----------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SuiteModule | None:
    """A suite file is a test module."""
    patterns = parent.config.getini("memleak_suites")
    if not any(fnmatch.fnmatch(file_path.name, pattern) for pattern in patterns):
        if parent.session.isinitpath(file_path):
            _refuse_what_looks_like_one(file_path, patterns)
        return None
    from pytest_memleak.plugin.outcomes import SuiteModule

    return SuiteModule.from_parent(parent, path=file_path)


def _refuse_what_looks_like_one(path: Path, patterns: list[str]) -> None:
    """Raise CollectError for a suite by another name, or a book in a suite's place."""
    from pytest_memleak.errors import SuiteError

    error = None
    if path.suffix == ".toml":
        error = SuiteError(
            f"{path.name} is no suite by its name: memleak_suites is {' '.join(patterns)}",
            hint=f"mv {path.name} {path.stem}.memleak.toml, or add -o memleak_suites={path.name}",
        )
    elif path.suffix == ".epub":
        error = SuiteError(
            f"{path.name} is a book, and pytest runs suites",
            hint=f"memleak try {path.name} --model openai/NAME",
        )
    if error is not None:
        raise pytest.Collector.CollectError(str(error))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None]:
    """One test per pair of the suite, for every test that uses a pair."""
    marked = metafunc.definition.get_closest_marker("copyright") is not None
    if marked and "memleak_pair" in metafunc.fixturenames:
        from pytest_memleak.plugin.outcomes import parametrize_pairs

        parametrize_pairs(metafunc)
    metafunc.config.stash[of_books_key] = marked
    yield
    metafunc.config.stash[of_books_key] = False


def pytest_make_parametrize_id(config: pytest.Config, val: object) -> str | None:
    """Name a test after the first words of a long text only: every reporter shows the name."""
    if not isinstance(val, str) or not config.stash.get(of_books_key, False):
        return None
    from pytest_memleak.redaction.text import first_words

    short = first_words(val)
    return None if short == val else short.removesuffix(" …")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Pairs whose calls cost money wait until somebody asks for them."""
    if run_key in config.stash:
        from pytest_memleak.plugin.outcomes import run_of, skip_what_nobody_asked_for

        skip_what_nobody_asked_for(config, items)
        if config.getoption("memleak_max_increase"):
            from pytest_memleak.plugin.baseline_gate import refuse_incomparable

            refuse_incomparable(config, items, run_of(config))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What the pairs that were chosen share is done once."""
    if run_key in session.config.stash:
        from pytest_memleak.plugin.outcomes import expect_pairs

        expect_pairs(session)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """With --memleak-dry-run, plans instead of tests."""
    if not session.config.getoption("memleak_dry_run") or session.testsfailed:
        return None
    from pytest_memleak.plugin.outcomes import show_plans

    show_plans(session)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """What was deployed for the run is taken down, by the last process that asks it."""
    if run_key in session.config.stash:
        session.config.stash[run_key].settle()


# --- fixtures of books ---------------------------------------------------------------------


@pytest.fixture(scope="session")
def memleak_pair(request: pytest.FixtureRequest) -> Pair:
    """The model and the book that the test is for (`pytest_memleak.records.Pair`)."""
    if not hasattr(request, "param"):
        pytest.fail(
            "this test needs the suite whose pairs it runs for:\n"
            '    @pytest.mark.copyright(suite="release.memleak.toml")',
            pytrace=False,
        )
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def memleak_book(memleak_pair: Pair, request: pytest.FixtureRequest) -> Book:
    """The pair's book, cut into excerpts with their instructions."""
    from pytest_memleak.plugin.outcomes import plainly
    from pytest_memleak.plugin.text_views import view_of_book

    run = request.config.stash[run_key]
    with plainly(request.config):
        return view_of_book(run.of_suite(memleak_pair.suite).books.book_of(memleak_pair))


@pytest.fixture(scope="session")
def memleak_endpoint(memleak_pair: Pair, request: pytest.FixtureRequest) -> Endpoint | Recording:
    """The model's endpoint, opened (and fine-tuned, if need be) when it is first used."""
    from pytest_memleak.plugin.outcomes import SuiteEndpoint

    return SuiteEndpoint(memleak_pair, request.config)


@pytest.fixture
def memleak_evaluation(
    memleak_pair: Pair, memleak_endpoint: Any, request: pytest.FixtureRequest
) -> Evaluation:
    """The pair's evaluation: measurement, completeness, verdict. INCONCLUSIVE is an error."""
    from pytest_memleak.plugin.outcomes import conclusive, evaluate_for, remembering_doubt
    from pytest_memleak.plugin.text_views import view_of_evaluation

    with remembering_doubt(request.node):
        return view_of_evaluation(
            conclusive(evaluate_for(request.node, memleak_pair, memleak_endpoint))
        )


@pytest.fixture
def memorization(
    memleak_pair: Pair, memleak_endpoint: Any, request: pytest.FixtureRequest
) -> Memorization:
    """The pair's measures, on complete evidence only; the suite's limits do not matter to them."""
    from pytest_memleak.plugin.outcomes import (
        Memorization,
        complete,
        evaluate_for,
        remembering_doubt,
    )

    with remembering_doubt(request.node):
        return Memorization(
            complete(evaluate_for(request.node, memleak_pair, memleak_endpoint)), request.node
        )


# --- outcomes ------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let the pair's finding travel with the report."""
    report = yield
    if run_key in item.config.stash and item.get_closest_marker("copyright"):
        from pytest_memleak.plugin.outcomes import SuiteModule
        from pytest_memleak.plugin.run_reports import publish

        publish(item, report, own=item.getparent(SuiteModule) is None)
    return report


def pytest_assertrepr_compare(
    config: pytest.Config, op: str, left: object, right: object
) -> list[str] | None:
    """Explain a limit that does not hold."""
    if run_key not in config.stash:
        return None
    from pytest_memleak.plugin.run_reports import explain_comparison

    return explain_comparison(config.stash[run_key], op, left, right)


class Findings:
    """What the pairs' reports brought, from this process or from xdist's workers."""

    def __init__(self, config: pytest.Config, record: RunRecord | None) -> None:
        self._config = config
        self._record = record
        self._found: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._report: RunReport | None = None
        self._findings: tuple[PairResult, ...] = ()
        self._compared: ReleaseComparison | None = None
        self._broke = False

    def pytest_internalerror(self) -> None:
        """Note it: xdist tells of a worker's, and ends with 0 all the same."""
        self._broke = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the finding that travels with a report."""
        found = getattr(report, "memleak", None)
        if found is not None:
            self._found[found["suite_path"], found["pair"], found["endpoint"]] = found

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """After the last pair, whether any is worse than the baseline."""
        result = yield
        if self._found and self._config.getoption("memleak_baseline"):
            from pytest_memleak.plugin.baseline_gate import against_baseline, close

            self._findings, self._compared = against_baseline(self._config, self._told())
            if self._compared:
                close(session, self._compared)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, Any, Any]:
        """Before all others end: the reports, and the run's properties for JUnit's file."""
        if self._broke:
            exitstatus = session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        if self._found or self._record:
            from pytest_memleak.plugin.outcomes import run_of
            from pytest_memleak.plugin.run_reports import run_report

            findings = self._findings or self._told()
            self._report = run_report(
                self._config,
                findings,
                exitstatus,
                run_of,
                record=self._record,
                compared=self._compared,
            )
        if self._report is None:
            return (yield)
        from pytest_memleak.plugin.outcomes import run_of
        from pytest_memleak.plugin.run_reports import conclude, refuse_damage, tell_junit

        failed: Exception | None = None
        try:
            conclude(self._config, self._report, run_of)
        except Exception as error:  # noqa: BLE001 - raised once all others have ended
            failed = error
            self._report = dataclasses.replace(self._report, outputs={})
        if self._report.results:
            tell_junit(self._config, self._report.results)
        result = yield
        if failed is not None:
            raise failed
        refuse_damage(self._config, run_of)  # once more: what else ends now may have done it
        return result

    def _told(self) -> tuple[PairResult, ...]:
        from pytest_memleak.results.build_result import results_from_json

        return results_from_json(self._found.values())

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """After Ctrl-C: what was drawn is not lost."""
        # pytest.Session.Interrupted, after collection errors, is a KeyboardInterrupt too.
        if run_key in self._config.stash and type(excinfo.value) is KeyboardInterrupt:
            _hasten(excinfo, whole=self._config.getoption("fulltrace"))
            reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
            reporter.write_line(
                "\nmemleak: every answer that was in is in the ledger; the same command goes on"
            )

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """The table of pairs and the passages that came back; what to do where no suite is."""
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self._report is None:
            if self._config.getoption("markexpr") == "copyright":
                patterns = " ".join(self._config.getini("memleak_suites"))
                terminalreporter.write_line(f"memleak: there is no suite ({patterns}) here")
                terminalreporter.write_line("  memleak init writes one, memleak demo shows one")
        elif self._report is not None:
            from pytest_memleak.plugin.outcomes import debt_lines
            from pytest_memleak.plugin.run_reports import evidence_line, next_lines, summary_text

            terminalreporter.section("memorization")
            if self._report.results:
                terminalreporter.write(summary_text(self._config, self._report))
            if "evidence" in self._report.outputs:
                terminalreporter.write_line(evidence_line(self._report))
            for line in (*next_lines(self._report), *debt_lines(self._config)):
                terminalreporter.write_line(line)
        _tell_skipped(terminalreporter)


def _hasten(excinfo: pytest.ExceptionInfo[BaseException], *, whole: bool) -> None:
    """Have pytest end without delay, also where a server keeps threads at work without a pause.

    whole: whether the whole way to where it was stopped is shown; its last line is, else.
    """
    sys.setswitchinterval(_IN_HASTE)
    # What is there now stays to the end: with an SDK's million objects, collections of garbage
    # on the way out would take seconds.
    gc.freeze()
    if not whole:
        excinfo.traceback = excinfo.traceback.filter(excinfo)[-1:] or excinfo.traceback
    # To find the module of a line, `inspect` would look at the files of all modules.
    for entry in excinfo.traceback:
        name = entry.frame.f_globals.get("__name__")
        inspect.modulesbyfile.setdefault(entry.frame.code.raw.co_filename, str(name))


def _tell_skipped(terminalreporter: Any) -> None:
    """What was not run for want of -m copyright: a run without a word would look like a pass."""
    reasons = (str(one.longrepr) for one in terminalreporter.stats.get("skipped", ()))
    if skipped := sum(TO_RUN_IT in reason for reason in reasons):
        pairs = "1 pair was" if skipped == 1 else f"{skipped} pairs were"
        terminalreporter.write_line(
            f"memleak: {pairs} not measured, since that calls a model: add -m copyright"
        )
