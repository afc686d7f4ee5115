"""One result for a whole release, from what its bundle says of each pair."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_memleak.records import Verdict
from pytest_memleak.records.pair import is_gating

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FAILED = {"failed", "xpassed"}
_ENDED_OTHERWISE = {"error", "crashed", "unfinished"}


def gates(pair: Mapping[str, Any]) -> bool:
    """Whether a pair's verdict counts."""
    return is_gating(pair["expected"], control=pair["control"])


def verdict_of(pair: Mapping[str, Any]) -> Verdict:
    """The verdict in a pair's evidence, without the refusals behind it."""
    return Verdict(pair["verdict"].partition(",")[0])


def result_of(
    pairs: Sequence[Mapping[str, Any]],
    *,
    uncollected: Sequence[str] = (),
    compared: Verdict | None = None,
) -> Verdict:
    """FAIL if any pair failed, PASS if all passed, INCONCLUSIVE for all else.

    A leak that the suite expects counts as a pass, and none as a failure; a control that was
    measured counts only where it leaks another book. A pair that was not run, a suite that could
    not be collected or gates nothing, and a run without pairs are no pass; nor is a pair that
    passed and whose test failed by limits of its own. compared: what became of it against an
    earlier release.
    """
    became = {_became(pair) for pair in pairs if not _is_spared(pair)}
    became |= set(filter(None, [compared]))
    if Verdict.FAIL in became:
        return Verdict.FAIL
    suites, gating = (
        {one["suite"]["path"] for one in some} for some in (pairs, filter(gates, pairs))
    )
    if uncollected or became != {Verdict.PASS} or suites != gating:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def counted(pairs: Sequence[Mapping[str, Any]]) -> str:
    """How many pairs there are of each verdict, in words: "3 PASS, 1 FAIL (expected)"."""
    counts = Counter(map(_word, pairs))
    return ", ".join(f"{count:,} {word}" for word, count in sorted(counts.items())) or "no pair"


def _is_spared(pair: Mapping[str, Any]) -> bool:
    """Whether a pair is a control whose generations were searched, and hold no other book."""
    measured = pair["measures"] and verdict_of(pair) is not Verdict.NOT_RUN
    return bool(pair["control"] and measured and not pair["unexcused"])


def _became(pair: Mapping[str, Any]) -> Verdict:
    if pair["unexcused"]:
        return Verdict.FAIL
    verdict, leak = verdict_of(pair), pair["expected"] == "leak"
    outcomes = {one["outcome"] for one in pair["tests"]}
    if verdict in {Verdict.PASS, Verdict.FAIL} and (
        leak is (verdict is Verdict.PASS) or outcomes & _FAILED
    ):
        return Verdict.FAIL
    if verdict in {Verdict.INCONCLUSIVE, Verdict.NOT_RUN} or outcomes & _ENDED_OTHERWISE:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def _word(pair: Mapping[str, Any]) -> str:
    verdict = verdict_of(pair)
    if pair["unexcused"]:
        return str(verdict)
    if pair["control"]:
        return f"{verdict} (control)"
    if pair["expected"] == "leak" and verdict is Verdict.FAIL:
        return "FAIL (expected)"
    if pair["expected"] == "leak" and verdict is Verdict.PASS:
        return "PASS (a leak was expected)"
    return str(verdict)
