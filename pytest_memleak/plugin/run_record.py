"""The record of a whole run: all pairs of its suites, and the outcomes of their tests.

Every run has it, so heavy modules are imported where they are used.

PYTEST_DONT_REWRITE

The collecting process lists all pairs and tests; under xdist each worker writes its
list to a folder of the controller's, so that a worker's later death loses nothing. At
the end, tests on the list without a report count as not run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.plugin.options import pair_of, run_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.records.pair_result import PairResult, PairTest, Selection

    TestedKey = tuple[str, str, str | None]  # suite, pair, and `_TestReports.endpoint`
    PairTests = dict[TestedKey, tuple[PairTest, ...]]

_FOLDER = "memleak_run_record"
_CRASHED = "???"  # xdist's phase of a dead worker
_ENDED: dict[int, str] = {
    pytest.ExitCode.INTERRUPTED: "the run was interrupted before its test",
    pytest.ExitCode.INTERNAL_ERROR: "an internal error ended the run before its report",
}
_EXPECTED_FAILURES = {"skipped": "xfailed", "passed": "xpassed"}
_REASONS = {
    "crashed": "its test's process died",
    "unfinished": "the run ended during its test",
    "error": "an error occurred before the evaluation",
    "skipped": "skipped",
    "deselected": "deselected",
}


def selection_of(config: pytest.Config) -> Selection:
    """Return the run's selection, without paths outside the current folder."""
    from pytest_memleak.records.pair_result import Selection

    here = Path.cwd()
    arguments = [_relative_to_folder(argument, here) for argument in config.args]
    deselected = config.getoption("deselect") or ()
    return Selection(
        keyword=config.getoption("keyword") or "",
        markers=config.getoption("markexpr") or "",
        arguments=tuple(arguments),
        deselected=tuple(deselected),
    )


def _relative_to_folder(argument: str, here: Path) -> str:
    name, colons, node = argument.partition("::")
    path = here / name
    shown = path.name
    if path.is_relative_to(here):
        shown = path.relative_to(here).as_posix()
    return f"{shown}{colons}{node}"


@dataclass(slots=True)
class _TestReports:
    """The reports of a test: outcome by phase, and the endpoint of its evaluation.

    endpoint: "" for an evaluation without one, None without an evaluation
    """

    phases: dict[str, str] = field(default_factory=dict)
    endpoint: str | None = None

    @property
    def outcome(self) -> str:
        if _CRASHED in self.phases:
            return "crashed"
        setup = self.phases.get("setup")
        call = self.phases.get("call")
        if setup is None:
            return "not run"
        if setup != "passed":
            return "error" if setup == "failed" else setup
        if call is None:
            return "unfinished"
        if self.phases.get("teardown") == "failed":
            return "error"
        return call


class RunRecord:
    """All pairs of the run, their tests, and the tests' outcomes."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._deselected: list[pytest.Item] = []
        self._lists: list[dict[str, Any]] = []
        self._reports: dict[str, _TestReports] = {}
        self._broken: list[str] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Note tests that -k, -m, and the like deselect."""
        self._deselected += items

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """List pairs and tests, here or for the controller."""
        listed: dict[str, Any] = {
            "pairs": self._pair_rows(),
            "broken": self._broken,
            "tests": list(self._test_rows(session.items)),
        }
        worker = getattr(self._config, "workerinput", None)
        if worker is None:
            self._lists.append(listed)
            return
        from pytest_memleak.redaction.file_writing import write_whole

        file = f"{worker['workerid']}.json"
        write_whole(Path(worker[_FOLDER]) / file, json.dumps(listed))

    def _pair_rows(self) -> list[dict[str, Any]]:
        if run_key not in self._config.stash:
            return []
        from pytest_memleak.results.build_result import build_unrun_result
        from pytest_memleak.results.result_codec import encode

        results: list[dict[str, Any]] = []
        for suite in self._config.stash[run_key].suites:
            for pair in suite.pairs:
                result = build_unrun_result(pair, suite)
                results.append(encode(result))
        return results

    def _test_rows(self, selected: Iterable[pytest.Item]) -> Iterable[dict[str, Any]]:
        if run_key not in self._config.stash:
            return
        from pytest_memleak.plugin.collect_suites import skip_reason
        from pytest_memleak.redaction.text import first_words

        items = [(item, "not run") for item in selected]
        items += [(item, "deselected") for item in self._deselected]
        for item, state in items:
            pair = pair_of(item)
            if pair is None or not item.get_closest_marker("copyright"):
                continue
            reason = skip_reason(item) or ""
            yield {
                "node": item.nodeid,
                "suite_path": str(pair.suite),
                "pair": pair.id,
                "state": state,
                "skip": first_words(reason),
            }

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist where to write its list."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="memleak-")
        node.workerinput[_FOLDER] = self._folder.name

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what can't be collected or skips itself, since its pairs are unknown."""
        hidden = report.failed
        if report.skipped:
            with contextlib.suppress(OSError):
                path = self._config.rootpath / report.fspath
                hidden = b"mark.copyright" in path.read_bytes()
        if hidden and report.nodeid not in self._broken:
            self._broken.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome of a test's phase, before EndOfRun takes its result."""
        reports = self._reports.setdefault(report.nodeid, _TestReports())
        if report.when == "setup":  # again, if a plugin reruns failed tests
            reports.phases.clear()
        outcome: str = report.outcome
        if hasattr(report, "wasxfail"):
            outcome = _EXPECTED_FAILURES.get(outcome, outcome)
        phase = report.when or _CRASHED
        reports.phases[phase] = outcome
        result = getattr(report, "memleak", [None])[0]
        if result is not None:
            model = result["model"]
            reports.endpoint = model["endpoint"] or ""

    @property
    def broken(self) -> tuple[str, ...]:
        """The node ids that couldn't be collected."""
        if self._folder is not None and not self._lists:
            return (*self._broken, "no worker reported its pairs")
        return tuple(self._broken)

    def pair_tests_and_unrun(
        self, status: int
    ) -> tuple[PairTests, tuple[PairResult, ...]]:
        """Return the tests of each evaluation, and pairs that weren't run.

        A pair that one test evaluated and another didn't is in both.
        """
        self._read_workers_lists()
        broken = dict.fromkeys(self._broken)
        listed_tests: dict[str, dict[str, Any]] = {}  # by node id
        pairs: dict[tuple[str, str], dict[str, Any]] = {}  # by suite and id
        for listed in self._lists:  # each process lists the same
            broken |= dict.fromkeys(listed["broken"])
            for test in listed["tests"]:
                listed_tests[test["node"]] = test
            for pair in listed["pairs"]:
                suite_path = pair["suite"]["path"]
                pairs[suite_path, pair["pair"]] = pair
        self._broken = [*broken]
        tests: PairTests = {}
        for test in listed_tests.values():
            reports = self._reports_of(test)
            key = (test["suite_path"], test["pair"], reports.endpoint)
            tests.setdefault(key, ())
            tests[key] += (self._pair_test(test, status),)
        unrun = []
        for pair in pairs.values():
            result = _unrun_result(pair, tests)
            if result is not None:
                unrun.append(result)
        return tests, tuple(unrun)

    def _read_workers_lists(self) -> None:
        if self._folder is None:
            return
        files = Path(self._folder.name).glob("*.json")
        for path in sorted(files):
            text = path.read_text(encoding="utf-8")
            self._lists.append(json.loads(text))
        self._folder.cleanup()

    def _reports_of(self, listed: dict[str, Any]) -> _TestReports:
        return self._reports.get(listed["node"], _TestReports())

    def _pair_test(self, listed: dict[str, Any], status: int) -> PairTest:
        from pytest_memleak.records.pair_result import PairTest

        reports = self._reports_of(listed)
        outcome = reports.outcome
        if outcome == "not run":
            outcome = listed["state"]
        reason = ""
        if reports.endpoint is None:
            reason = _REASONS.get(outcome, "")
            if outcome == "skipped" and listed["skip"]:
                reason += f": {listed['skip']}"
            if outcome == "not run":
                reason = _ENDED.get(status, "the run ended before its test")
        name, _, _ = listed["node"].partition("[")
        return PairTest(name, outcome, reason)


def tested_key(result: PairResult) -> TestedKey:
    """Return the key of the tests that evaluated a pair."""
    return result.suite.path, result.pair, result.model.endpoint or ""


def _unrun_result(
    pair: dict[str, Any],
    tests: PairTests,
) -> PairResult | None:
    """Return the result of a pair that not all of its tests evaluated, or None."""
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.results.result_codec import decode

    key = (pair["suite"]["path"], pair["pair"])
    unevaluated = tests.get((*key, None), ())
    reasons = [test.reason for test in unevaluated if test.reason]
    if not reasons:
        if _was_evaluated(key, tests):
            return None
        reasons = ["none of its tests was selected"]
        if unevaluated:
            reasons = ["its tests didn't evaluate it"]
    result = decode(PairResult, pair)
    distinct_reasons = dict.fromkeys(reasons)
    return dataclasses.replace(
        result,
        reasons=tuple(distinct_reasons),
        tests=unevaluated,
    )


def _was_evaluated(pair: tuple[str, str], tested: Iterable[TestedKey]) -> bool:
    for suite, name, endpoint in tested:
        if (suite, name) == pair and endpoint is not None:
            return True
    return False
