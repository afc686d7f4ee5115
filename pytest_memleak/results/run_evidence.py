"""What the evidence bundle says of a run: its release, what was selected, all of its pairs."""

from __future__ import annotations

import dataclasses
import datetime
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

from pytest_memleak.results.control_summary import controls_in
from pytest_memleak.results.evidence_file import SCHEMA, sealed
from pytest_memleak.results.pair_evidence import pair_evidence
from pytest_memleak.results.run_verdict import result_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.records.pair_result import PairResult, RunReport
    from pytest_memleak.records.selection import PairTest

_PROGRAMS = ("pytest-memleak", "pytest", "numpy", "pyahocorasick", "ebooklib", "lxml")

LIMITATIONS = """
A PASS says that this sampling brought back no more than the limits allow; it does not show that \
the model holds nothing of the book.
Only literal and near-verbatim recall is measured: not paraphrase, not translation, and no passage \
that is changed at every fifth word or closer, or whose letters are parted.
Intervals speak of the coverage to expect of so many rounds, not of the figure that a second run \
would show; they say nothing of other instructions, temperatures or prompts.
A passage that comes more rarely than `sensitivity.detection` may be there and not have been seen.
Limits on long spans, blocks and passages hold at the observed value; `sensitivity.ranges` says \
what another such run may have.
Short runs are shared by any two texts of a language; bmc alone does not tell recall from common \
phrases, bmc_excess does.
Generations that the provider withheld were not measured; they are counted by reason.
The answers are those of the maker's ledger: only the provider of the model can rule out that they \
were made up.
"""


def run_evidence(run: RunReport) -> dict[str, Any]:
    """The bundle of a run, with its digest: every pair of every suite, looked at or not."""
    pairs = pairs_of(run)
    return sealed(
        {
            "schema": SCHEMA,
            "result": result_of(
                pairs,
                uncollected=run.uncollected,
                compared=run.compared.verdict if run.compared else None,
            ),
            "release": run.release,
            "program": versions(),
            "platform": {"python": platform.python_version(), "system": platform.platform()},
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "selection": {
                name: list(said) if isinstance(said, tuple) else said
                for name, said in dataclasses.asdict(run.selection).items()
            },
            "uncollected": list(run.uncollected),
            "ledger": run.ledger,
            "pairs": pairs,
            "compared": run.compared and run.compared.to_json(),
            "suites": [one.to_json() for one in controls_in(pairs)],
            "limitations": limitations(),
        }
    )


def limitations() -> list[str]:
    """What a reader may not conclude, a sentence each."""
    return LIMITATIONS.strip().splitlines()


def versions() -> dict[str, str | None]:
    """Of this program, and of what computes its numbers; None of what is not installed."""
    return {name: _version(name) for name in _PROGRAMS}


def pairs_of(run: RunReport) -> list[dict[str, Any]]:
    """Every pair of the run with its tests, in order."""
    return sorted([*_evaluated(run.results, run.tests), *_unrun(run)], key=_order)


def _evaluated(findings: Iterable[PairResult], tests: Iterable[PairTest]) -> list[dict[str, Any]]:
    by_key: dict[tuple[str, str, str | None], list[PairTest]] = {}
    for one in tests:
        by_key.setdefault((one.suite_path, one.pair, one.endpoint), []).append(one)
    return [
        pair_evidence(found)
        | {"tests": _told(by_key.get((found.suite_path, found.pair, found.endpoint), []))}
        for found in findings
    ]


def _unrun(run: RunReport) -> list[dict[str, Any]]:
    return [
        pair_evidence(found)
        | {
            "tests": _told(
                one
                for one in run.tests
                if (one.suite_path, one.pair, one.endpoint) == (found.suite_path, found.pair, None)
            )
        }
        for found in run.unrun
    ]


def _told(tests: Iterable[PairTest]) -> list[dict[str, str]]:
    return [{"test": one.test, "outcome": one.outcome, "reason": one.reason} for one in tests]


def _order(pair: dict[str, Any]) -> tuple[str, str, str, str]:
    suite = pair["suite"]
    return suite["name"], suite["path"], pair["pair"], pair["model"]["endpoint"] or ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
