"""--memleak-baseline, --memleak-max-increase: comparison with an earlier bundle.

Holm's procedure needs the p-values of all pairs, so no pair's own item can decide
whether the pair is worse. After the last item, one more test case of the run reports
the comparison, and the column `compared` of the tables shows it for each pair.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.errors import MemleakError
from pytest_memleak.plugin.options import baseline_error_key, pairs_of
from pytest_memleak.records import Verdict
from pytest_memleak.reports.junit_properties import comparison_properties
from pytest_memleak.reports.release_text import (
    change_text,
    comparison_lines,
    comparison_sentence,
)
from pytest_memleak.results.release_comparison import BaselineBundle, label_pairs
from pytest_memleak.results.result_codec import localize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.verdicts import Change, ReleaseComparison

CASE = "memleak::no_worse_than_baseline"
"""The node id of the comparison's test case."""


def validate_baseline(
    config: pytest.Config,
    items: Iterable[pytest.Item],
    run: Run,
) -> None:
    """Raise UsageError if --memleak-max-increase can't be tested for these pairs.

    A worker of xdist, which must not raise it, evaluates no pair instead.
    """
    selected = [item for item in items if not item.get_closest_marker("skip")]
    pairs = pairs_of(selected)
    path = config.getoption("memleak_baseline")
    measures = config.getoption("memleak_max_increase")
    try:
        suites = {}
        for pair in pairs.values():
            suites[pair.suite] = run.suite_run_for(pair.suite).suite
        baseline = BaselineBundle(Path(path))
        baseline.validate(pairs.values(), measures, suites)
    except MemleakError as error:
        message = f"--memleak-max-increase: {error}"
        if not hasattr(config, "workerinput"):
            raise pytest.UsageError(message) from None
        config.stash[baseline_error_key] = message


def compare_with_baseline(
    config: pytest.Config,
    results: tuple[PairResult, ...],
) -> tuple[tuple[PairResult, ...], ReleaseComparison | None]:
    """Return the results with their changes; with tolerances, the comparison, too."""
    path = config.getoption("memleak_baseline")
    baseline = BaselineBundle(Path(path))
    pairs = label_pairs(map(localize, results))  # as a bundle has them
    tolerances: Mapping[str, float] = config.getoption("memleak_max_increase") or {}
    comparison = None
    if tolerances:
        comparison = baseline.compare(pairs, tolerances)
    compared_results = []
    for name, result in zip(pairs, results, strict=True):
        tested: list[Change] = []
        compared = ""
        if comparison:
            tested = [change for change in comparison.changes if change.pair == name]
            if verdict := comparison.of(name):
                compared = verdict.value
        lines = [change_text(change) for change in tested]
        tested_measures = {change.measure for change in tested}
        lines += baseline.change_lines(pairs[name], but=tested_measures)
        changes = tuple(f"since the baseline: {line}" for line in lines)
        compared_results.append(
            dataclasses.replace(result, changes=changes, compared=compared),
        )
    return tuple(compared_results), comparison


def report_comparison(session: pytest.Session, comparison: ReleaseComparison) -> None:
    """Report the comparison to pytest and all plugins as a test case."""
    session.testscollected += 1
    verdict = comparison.verdict
    phases: dict[Any, str | None] = {"setup": None, "call": None, "teardown": None}
    lines = [comparison_sentence(comparison), *comparison_lines(comparison)]
    text = "\n".join(lines)
    if verdict is Verdict.INCONCLUSIVE:
        phases = {"setup": text, "teardown": None}
    elif verdict is not Verdict.PASS:
        phases["call"] = text
    for phase, failure in phases.items():
        report = pytest.TestReport(
            nodeid=CASE,
            location=("memleak", None, "no_worse_than_baseline"),
            keywords={},
            when=phase,
            user_properties=comparison_properties(comparison),
            outcome="passed" if failure is None else "failed",
            longrepr=failure,
        )
        session.config.hook.pytest_runtest_logreport(report=report)
