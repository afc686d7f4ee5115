"""What evidence says of a run as a whole: all pairs that it has, and what became of their tests.

PYTEST_DONT_REWRITE

The process that collects lists what there is; under xdist each worker leaves its list in a folder
of the controller's, so that a worker which dies later takes nothing with it. What the reports tell
is held against that list in the end: what is on it and was not told of was not run.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.plugin.stash import pair_of, run_key
from pytest_memleak.records.pair_result import PairResult, PairTest, Selection
from pytest_memleak.redaction.text import first_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FOLDER = "memleak_run_record"
_CRASHED = "???"  # xdist's name for when a worker died
_ENDED: dict[int, str] = {
    pytest.ExitCode.INTERRUPTED: "the run was interrupted before it",
    pytest.ExitCode.INTERNAL_ERROR: "an internal error ended the run before it was told",
}
_WHY = {
    "crashed": "the process that ran it died",
    "unfinished": "it had begun when the run ended",
    "error": "an error before anything was evaluated",
    "skipped": "skipped",
    "deselected": "deselected",
}


def selection_of(config: pytest.Config) -> Selection:
    """What the run was asked to run; no path outside the current folder is told."""
    here = Path.cwd()
    return Selection(
        keyword=config.getoption("keyword") or "",
        markers=config.getoption("markexpr") or "",
        arguments=tuple(_relative(one, here) for one in config.args),
        deselected=tuple(config.getoption("deselect") or ()),
    )


def _relative(argument: str, here: Path) -> str:
    name, colons, node = argument.partition("::")
    path = here / name
    inside = path.is_relative_to(here)
    return f"{path.relative_to(here).as_posix() if inside else path.name}{colons}{node}"


@dataclass(slots=True)
class _Fate:
    """What the reports of a test tell: outcome by phase, and the endpoint of its evaluation."""

    phases: dict[str, str] = field(default_factory=dict)
    endpoint: str | None = None

    @property
    def outcome(self) -> str:
        if _CRASHED in self.phases:
            return "crashed"
        setup, call = self.phases.get("setup"), self.phases.get("call")
        if setup != "passed":
            return {"failed": "error", None: "not run"}.get(setup, setup or "")
        if call is None:
            return "unfinished"
        return "error" if self.phases.get("teardown") == "failed" else call


class RunRecord:
    """All pairs of the run, all of their tests, and what became of each."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._deselected: list[pytest.Item] = []
        self._lists: list[dict[str, Any]] = []
        self._fates: dict[str, _Fate] = {}
        self._broken: list[str] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    # --- where tests are collected ---------------------------------------------------------

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """-k, -m and the like."""
        self._deselected += items

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """List what there is to run, here or for the controller."""
        listed = {"pairs": self._pairs(), "tests": [*self._tests(session.items)]}
        worker = getattr(self._config, "workerinput", None)
        if worker is None:
            self._lists.append(listed)
        else:
            path = Path(worker[_FOLDER]) / f"{worker['workerid']}.json"
            part = path.with_suffix(".part")
            part.write_text(json.dumps(listed), encoding="utf-8")
            part.replace(path)

    def _pairs(self) -> list[dict[str, Any]]:
        if run_key not in self._config.stash:
            return []
        from pytest_memleak.results.build_result import build_unrun_result

        suites = self._config.stash[run_key].suites
        return [
            build_unrun_result(pair, suite).to_json() for suite in suites for pair in suite.pairs
        ]

    def _tests(self, selected: Iterable[pytest.Item]) -> Iterable[dict[str, Any]]:
        items = [(item, "not run") for item in selected]
        items += [(item, "deselected") for item in self._deselected]
        for item, state in items:
            pair = pair_of(item)
            if pair is not None and item.get_closest_marker("copyright"):
                yield {
                    "node": item.nodeid,
                    "suite_path": str(pair.suite),
                    "pair": pair.id,
                    "state": state,
                    "skip": _said_to_skip(item),
                }

    # --- where reports arrive --------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist where to leave its list."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="memleak-")
        node.workerinput[_FOLDER] = self._folder.name

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """What cannot be collected hides its pairs."""
        if report.failed and report.nodeid not in self._broken:
            self._broken.append(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test went so far."""
        fate = self._fates.setdefault(report.nodeid, _Fate())
        if report.when == "setup":  # again, where a plugin runs failed tests anew
            fate.phases.clear()
        outcome: str = report.outcome
        if hasattr(report, "wasxfail"):
            outcome = {"skipped": "xfailed", "passed": "xpassed"}.get(outcome, outcome)
        fate.phases[report.when or _CRASHED] = outcome
        found = getattr(report, "memleak", None)
        if found is not None:
            fate.endpoint = found["endpoint"]

    # --- in the end ------------------------------------------------------------------------

    @property
    def broken(self) -> tuple[str, ...]:
        """What could not be collected, by node id."""
        if self._folder is not None and not self._lists:
            return (*self._broken, "no process told which pairs there are")
        return tuple(self._broken)

    def settled(self, status: int) -> tuple[tuple[PairTest, ...], tuple[PairResult, ...]]:
        """The tests of all pairs, and the pairs that nobody looked at, each with why.

        A pair that one test evaluated and another did not, for whatever befell it, is among both.
        status: the session's exit status.
        """
        self._gather()
        tests: dict[str, PairTest] = {}
        for listed in self._lists:
            for one in listed["tests"]:
                tests[one["node"]] = self._settled(one, status)
        every = (one for listed in self._lists for one in listed["pairs"])
        pairs = {(one["suite_path"], one["pair"]): one for one in every}
        unrun = (_nobody_looked(one, tests.values()) for one in pairs.values())
        return tuple(tests.values()), tuple(one for one in unrun if one is not None)

    def _gather(self) -> None:
        if self._folder is not None:
            for path in sorted(Path(self._folder.name).glob("*.json")):
                self._lists.append(json.loads(path.read_text(encoding="utf-8")))
            self._folder.cleanup()

    def _settled(self, listed: dict[str, Any], status: int) -> PairTest:
        fate = self._fates.get(listed["node"], _Fate())
        outcome = fate.outcome
        if outcome == "not run":
            outcome = listed["state"]
        reason = ""
        if fate.endpoint is None:
            reason = listed["skip"] if outcome == "skipped" and listed["skip"] else ""
            reason = reason or _WHY.get(outcome, "")
            if outcome == "not run":
                reason = _ENDED.get(status, "the run ended before it")
        return PairTest(
            suite_path=listed["suite_path"],
            pair=listed["pair"],
            endpoint=fate.endpoint,
            test=listed["node"].partition("[")[0],
            outcome=outcome,
            reason=reason,
        )


def _nobody_looked(pair: dict[str, Any], tests: Iterable[PairTest]) -> PairResult | None:
    """The finding of a pair that was not run, or not by each of its tests; None if it was."""
    key = (pair["suite_path"], pair["pair"])
    own = [one for one in tests if (one.suite_path, one.pair) == key]
    reasons = [one.reason for one in own if one.reason]
    if not reasons and any(one.endpoint is not None for one in own):
        return None
    if not reasons:
        reasons = ["its tests evaluate nothing" if own else "no test of it was selected"]
    return PairResult.from_json(pair | {"reasons": list(dict.fromkeys(reasons))})


def _said_to_skip(item: pytest.Item) -> str:
    """Why a marker has the test skipped: not what the test itself says when it runs."""
    marks = [*item.iter_markers("skip"), *item.iter_markers("skipif")]
    said = (one.kwargs.get("reason") for one in marks)
    reason = next((one for one in said if isinstance(one, str)), "")
    return reason and f"skipped: {first_words(reason)}"
