"""What an evidence bundle says, computed once more: from the suite, its books and the ledger."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import EvidenceError
from pytest_memleak.findings.bundle import differences
from pytest_memleak.findings.from_evaluation import facts, unrun
from pytest_memleak.findings.overall import result_of, verdict_of
from pytest_memleak.findings.pair_evidence import pair_evidence
from pytest_memleak.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_memleak.records import Pair, Suite
    from pytest_memleak.story.run import Run

__all__ = ["end_of", "recomputed"]


def recomputed(
    made: dict[str, Any], run: Run, *, suite_file: Callable[[str, str], Path]
) -> Iterator[str]:
    """Where the bundle differs from what suites, books and ledger give now, a sentence each.

    run: its time is the bundle's; suite_file: where the suite of a name and a path is. Raises
    MemleakError for what cannot be read.
    """
    told = result_of(made["pairs"], broken=made["broken"])
    if made["result"] != told:
        yield f"result: the bundle says {made['result']}, its pairs give {told}"
    suites: dict[Path, Suite] = {}
    for said in made["pairs"]:
        path = suite_file(said["suite"]["name"], said["suite"]["path"])
        suites[path] = run.suite(path)
        for line in _of_pair(said, suites[path], run, made["created"]):
            yield f"{said['pair']}: {line}"
    for path, suite in suites.items():
        there = {
            one["pair"]
            for one in made["pairs"]
            if suite_file(one["suite"]["name"], one["suite"]["path"]) == path
        }
        for pair in suite.pairs:
            if pair.id not in there:
                yield f"{pair.id}: the suite {suite.name} has this pair, and the bundle has not"


def end_of(second: str) -> float:
    """The end of the second in which a bundle was made, in seconds since 1970."""
    return datetime.datetime.fromisoformat(second).timestamp() + 1


def _of_pair(said: dict[str, Any], suite: Suite, run: Run, created: str) -> Iterator[str]:
    pair = next((one for one in suite.pairs if one.id == said["pair"]), None)
    if pair is None:
        raise EvidenceError(f"the suite has no pair {said['pair']!r}", place=str(suite.path))
    if verdict_of(said) is Verdict.NOT_RUN:
        found = pair_evidence(unrun(pair, suite, reasons=tuple(said["reasons"])))
    else:
        found, last = _evaluated(pair, run)
        if last is not None and last > end_of(created):
            yield f"its answers were drawn after {created}"
        _take_calls_of_that_run(found["answerer"], said.get("answerer"))
    # Nothing that is kept tells these, so they are taken as they are said.
    found["suite"]["path"] = said["suite"]["path"]
    found["stopped_early"] = said["stopped_early"]
    found["tests"] = said["tests"]
    yield from differences(said, json.loads(json.dumps(found)))


def _evaluated(pair: Pair, run: Run) -> tuple[dict[str, Any], float | None]:
    evaluation = run.evaluate(pair)
    drawn = evaluation.answerer.last if evaluation.answerer else None
    return pair_evidence(facts(evaluation)), drawn


def _take_calls_of_that_run(found: dict[str, Any] | None, said: object) -> None:
    """How many calls the bundle's run made, which nothing tells but that there were no more."""
    if found and isinstance(said, dict):
        calls = said.get("calls_this_run")
        if type(calls) is int and 0 <= calls <= found["calls"]:
            found["calls_this_run"] = calls
