"""--memleak-baseline and --memleak-max-increase: comparison with an earlier release's bundle.

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
from pytest_memleak.reports.junit import compared_properties
from pytest_memleak.reports.report_text import (
    change_text,
    comparison_lines,
    comparison_sentence,
)
from pytest_memleak.results.release_comparison import Baseline, label_pairs
from pytest_memleak.results.result_codec import localize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.verdicts import ReleaseComparison

CASE = "memleak::no_worse_than_baseline"
"""The node id of the comparison's test case."""


def validate_baseline(
    config: pytest.Config, items: Iterable[pytest.Item], run: Run
) -> None:
    """Raise UsageError if --memleak-max-increase can't be tested for the selected pairs.

    A worker of xdist, which must not raise it, evaluates no pair instead.
    """
    selected = [item for item in items if not item.get_closest_marker("skip")]
    pairs = pairs_of(selected)
    path, measures = map(config.getoption, ("memleak_baseline", "memleak_max_increase"))
    try:
        suites = {pair.suite: run.of_suite(pair.suite).suite for pair in pairs.values()}
        Baseline(Path(path)).validate(pairs.values(), measures, suites)
    except MemleakError as error:
        message = f"--memleak-max-increase: {error}"
        if not hasattr(config, "workerinput"):
            raise pytest.UsageError(message) from None
        config.stash[baseline_error_key] = message


def compare_with_baseline(
    config: pytest.Config, results: tuple[PairResult, ...]
) -> tuple[tuple[PairResult, ...], ReleaseComparison | None]:
    """Return the results with what changed, and the comparison if a tolerance is set."""
    baseline = Baseline(Path(config.getoption("memleak_baseline")))
    pairs = label_pairs(map(localize, results))  # as a bundle has them
    tolerances: Mapping[str, float] = config.getoption("memleak_max_increase") or {}
    comparison = baseline.compare(pairs, tolerances) if tolerances else None
    all_changes = comparison.changes if comparison else ()
    compared_results = []
    for name, result in zip(pairs, results, strict=True):
        tested = [change for change in all_changes if change.pair == name]
        lines = [change_text(change) for change in tested]
        lines += baseline.change_lines(
            pairs[name], but={change.measure for change in tested}
        )
        verdict = comparison.of(name) if comparison else None
        compared_results.append(
            dataclasses.replace(
                result,
                changes=tuple(f"since the baseline: {line}" for line in lines),
                compared=verdict.value if verdict else "",
            )
        )
    return tuple(compared_results), comparison


def report_comparison(session: pytest.Session, comparison: ReleaseComparison) -> None:
    """Report the comparison to pytest and all plugins as a test case."""
    session.testscollected += 1
    text = "\n".join((comparison_sentence(comparison), *comparison_lines(comparison)))
    verdict = comparison.verdict
    when: Any = "setup" if verdict is Verdict.INCONCLUSIVE else "call"
    success: Any = {"outcome": "passed", "longrepr": None}
    outcome: Any = (
        success if verdict is Verdict.PASS else {"outcome": "failed", "longrepr": text}
    )
    for phase in dict.fromkeys(("setup", when, "teardown")):
        report = pytest.TestReport(
            nodeid=CASE,
            location=("memleak", None, "no_worse_than_baseline"),
            keywords={},
            when=phase,
            user_properties=compared_properties(comparison),
            **(outcome if phase == when else success),
        )
        session.config.hook.pytest_runtest_logreport(report=report)
