"""One result for a whole run, computed from the evidence of its pairs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.verdicts import is_recited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.records.pair_result import PairResult, RunReport

_FAILED = {"failed", "xpassed"}
_ENDED_OTHERWISE = {"error", "crashed", "unfinished"}


def result_of_run(run: RunReport, pairs: Sequence[PairResult]) -> Verdict:
    """Return the result of a run whose pairs, evaluated or not, are `pairs`."""
    return run_result(
        pairs,
        uncollected=run.uncollected,
        compared=run.compared.verdict if run.compared else None,
        exit_status=run.exit_status,
    )


def run_result(
    pairs: Sequence[PairResult],
    *,
    uncollected: Sequence[str] = (),
    compared: Verdict | None = None,
    exit_status: int = 0,
) -> Verdict:
    """Return FAIL if any pair failed, PASS if all passed, and INCONCLUSIVE otherwise.

    A leak that the suite expects counts as a pass, and its absence as a failure. A
    measured negative control counts only if it leaks a book: another fails the run, and
    its own leaves the run undecided. A run without pairs
    doesn't pass, nor does a run with a pair that wasn't run, a suite that couldn't be
    collected or gates nothing, or a passing pair whose test failed by limits of its
    own, nor one that pytest ended otherwise.

    compared: the verdict of the comparison with an earlier release
    exit_status: pytest's
    """
    outcomes = {_outcome(pair) for pair in pairs if not _is_spared(pair)}
    if compared is not None:
        outcomes.add(compared)
    if Verdict.FAIL in outcomes:
        return Verdict.FAIL
    suites = {pair.suite.path for pair in pairs}
    gating = {pair.suite.path for pair in pairs if pair.gates}
    if exit_status or uncollected or outcomes != {Verdict.PASS} or suites != gating:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def verdict_counts(pairs: Sequence[PairResult]) -> str:
    """Count the pairs of each verdict: "3 PASS, 1 FAIL (expected)"."""
    counts = Counter(_verdict_label(pair) for pair in pairs)
    texts = [f"{count:,} {label}" for label, count in sorted(counts.items())]
    return ", ".join(texts) or "no pair"


def _verdict_label(pair: PairResult) -> str:
    beside = expectation(pair)
    if not beside and "," in pair.verdict:
        beside = " (with refusals)"
    return f"{pair.plain_verdict}{beside}"


def expectation(pair: PairResult) -> str:
    """Return what was expected of a pair, to stand behind its verdict: " (control)"."""
    if pair.unexcused:
        return ""
    if pair.control:
        return " (control)"
    if pair.expected == "leak" and pair.plain_verdict is Verdict.FAIL:
        return " (expected)"
    if pair.expected == "leak" and pair.plain_verdict is Verdict.PASS:
        return " (a leak was expected)"
    return ""


def passes(pair: PairResult) -> bool:
    """Tell whether a pair doesn't keep its run from passing."""
    return _is_spared(pair) or _outcome(pair) is Verdict.PASS


def _is_spared(pair: PairResult) -> bool:
    """Tell whether a pair is a measured control that shows no passage over a limit."""
    measured = pair.measures and pair.plain_verdict is not Verdict.NOT_RUN
    if not pair.control or not measured or pair.unexcused:
        return False
    return not is_recited(pair.completeness.issues)


def _outcome(pair: PairResult) -> Verdict:
    if pair.unexcused:
        return Verdict.FAIL
    if pair.plain_verdict not in {Verdict.PASS, Verdict.FAIL}:
        return Verdict.INCONCLUSIVE
    expected = Verdict.FAIL if pair.expected == "leak" else Verdict.PASS
    outcomes = {test.outcome for test in pair.tests}
    if pair.plain_verdict is not expected or outcomes & _FAILED:
        return Verdict.FAIL
    if outcomes & _ENDED_OTHERWISE:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS
