"""--memleak-baseline and --memleak-max-increase: this run against an earlier release's bundle.

Holm's procedure needs the p-values of all pairs, so that no pair's own item can say whether it is
worse: after the last item one closing statement does, as one more test case of the run, and the
tables' column `compared` says the same of each pair.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.errors import MemleakError
from pytest_memleak.plugin.stash import pair_of, refused_key
from pytest_memleak.records import Verdict
from pytest_memleak.reports.junit import compared_properties
from pytest_memleak.reports.report_text import change_text, comparison_lines, comparison_sentence
from pytest_memleak.results.release_comparison import Baseline, label_pairs
from pytest_memleak.results.run_evidence import pair_evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.releases import ReleaseComparison

CASE = "memleak::no_worse_than_baseline"
"""The node id of the closing statement."""


def refuse_incomparable(config: pytest.Config, items: Iterable[pytest.Item], run: Run) -> None:
    """Raise UsageError where --memleak-max-increase cannot be held for pairs that are to run.

    In a worker of xdist, which may raise none, no pair is evaluated.
    """
    to_run = [item for item in items if not item.get_closest_marker("skip")]
    pairs = {(pair.suite, pair.id): pair for pair in map(pair_of, to_run) if pair}
    path, measures = map(config.getoption, ("memleak_baseline", "memleak_max_increase"))
    try:
        suites = {pair.suite: run.of_suite(pair.suite).suite for pair in pairs.values()}
        Baseline(Path(path)).validate(pairs.values(), measures, suites)
    except MemleakError as error:
        told = f"--memleak-max-increase: {error}"
        if not hasattr(config, "workerinput"):
            raise pytest.UsageError(told) from None
        config.stash[refused_key] = told


def against_baseline(
    config: pytest.Config, findings: tuple[PairResult, ...]
) -> tuple[tuple[PairResult, ...], ReleaseComparison | None]:
    """The findings with what changed, and the comparison where a tolerance asks for one."""
    path = config.getoption("memleak_baseline")
    if path is None:
        return findings, None
    baseline = Baseline(Path(path))
    # As a bundle would have them.
    now = label_pairs(json.loads(json.dumps([pair_evidence(found) for found in findings])))
    tolerances: Mapping[str, float] = config.getoption("memleak_max_increase") or {}
    compared = baseline.compare(now, tolerances) if tolerances else None
    told = []
    for name, found in zip(now, findings, strict=True):
        lines = [change_text(one) for one in _changes(compared, name)]
        tested = {one.measure for one in _changes(compared, name)}
        lines += baseline.change_lines(now[name], but=tested)
        verdict = compared.of(name) if compared else None
        told.append(
            dataclasses.replace(
                found,
                changes=tuple(f"against the baseline: {line}" for line in lines),
                compared=verdict.value if verdict else "",
            )
        )
    return tuple(told), compared


def _changes(compared: ReleaseComparison | None, name: str) -> list[Any]:
    return [one for one in compared.changes if one.pair == name] if compared else []


def close(session: pytest.Session, compared: ReleaseComparison) -> None:
    """Tell pytest, and every plugin that listens, of the closing statement as of a test."""
    session.testscollected += 1
    said = "\n".join((comparison_sentence(compared), *comparison_lines(compared)))
    verdict = compared.verdict
    when = "setup" if verdict is Verdict.INCONCLUSIVE else "call"
    passed: Any = {"outcome": "passed", "longrepr": None}
    ends: Any = passed if verdict is Verdict.PASS else {"outcome": "failed", "longrepr": said}
    for phase in ("setup", "call", "teardown"):
        if phase == "call" and when == "setup":
            continue
        report = pytest.TestReport(
            nodeid=CASE,
            location=("memleak", None, "no_worse_than_baseline"),
            keywords={},
            when=phase,
            user_properties=compared_properties(compared),
            **(ends if phase == when else passed),
        )
        session.config.hook.pytest_runtest_logreport(report=report)
