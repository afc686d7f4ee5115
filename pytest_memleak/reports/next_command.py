"""The one command that the first screen tells to type."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.reports.exceeded_limits import exceeded_limits
from pytest_memleak.reports.output_table import EVIDENCE
from pytest_memleak.reports.pair_outcome import pair_outcome
from pytest_memleak.reports.screen_view import NextCommand
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE

if TYPE_CHECKING:
    from pytest_memleak.records.pair_result import PairResult, RunReport

_REUSED = "stored generations are reused"
TYPED = "_MEMLEAK_TYPED"
"""The environment variable with the line to type again, if a command runs pytest."""
_NO_CALLS = " --memleak-offline"
_LEAVE_OUT = re.compile(rf",? without{_NO_CALLS}\b,?")
_LEFT_OUT = ("deselected", "none of its tests was selected", "skipped")
"""How reasons of pairs begin that the command line or a mark left out."""


def next_command(run: RunReport, verdict: Verdict) -> NextCommand:
    """Return the command: for pairs that the run didn't reach, then the worst outcome.

    verdict: of the run
    """
    if not all(map(_was_left_out, run.unrun)):
        return NextCommand(_pytest_command_of_run(run), f"runs the rest; {_REUSED}")
    by_kind: dict[str, list[PairResult]] = {}
    for result in run.results:
        by_kind.setdefault(pair_outcome(result).kind, []).append(result)
    for kind, command in _COMMANDS.items():
        if kind in by_kind:
            return command(run, by_kind[kind])
    if run.unrun:
        suite = _suite_of_result(run.unrun[0])
        why = f"runs all pairs of the suite; {_REUSED}"
        return NextCommand(f"pytest -m copyright {suite}", why)
    return _command_after_pass(run, verdict)


def advice_for_typed_command(text: str, typed: str) -> str:
    """Return advice without an option to leave out that the typed line doesn't have.

    typed: "" if the line is unknown
    """
    if not typed or _NO_CALLS in typed:
        return text
    return _LEAVE_OUT.sub("", text)


def _was_left_out(pair: PairResult) -> bool:
    return any(reason.startswith(_LEFT_OUT) for reason in pair.reasons)


def _command_after_pass(run: RunReport, verdict: Verdict) -> NextCommand:
    """Return the command where every pair is as it should be."""
    if verdict is not Verdict.PASS:
        gated = any(pair.gates for pair in run.results)
        why = "after the reason above is gone"
        if not gated:
            why = "after you add a pair that must not leak"
        why = f"{why}; {_REUSED}"
        return NextCommand(_pytest_command_of_run(run), why)
    bundle = run.outputs.get(EVIDENCE.name)
    if bundle:
        why = "recomputes every number from suite, books, and ledger"
        return NextCommand(f"memleak verify {shell_quoted_path(bundle)}", why)
    line = f"{_pytest_command_of_run(run)} {EVIDENCE.option}=evidence.json"
    return NextCommand(line, f"keeps the proof; {_REUSED}")


def _view_command(run: RunReport, failed: Sequence[PairResult]) -> NextCommand:
    worst = max(failed, key=_passage_and_excess)
    bundle = run.outputs.get(EVIDENCE.name)
    source = shell_quoted_path(bundle) if bundle else _suite_of_result(worst)
    return NextCommand(
        f"memleak view {source} --pair {shlex.quote(worst.pair)}",
        "shows the passage beside its prompt",
    )


def _doctor_command(run: RunReport, unexpected: Sequence[PairResult]) -> NextCommand:  # noqa: ARG001 - as the others
    why = "checks the positive control's settings"
    return NextCommand(f"memleak doctor {_suite_of_result(unexpected[0])}", why)


def _rerun_command(run: RunReport, undecided: Sequence[PairResult]) -> NextCommand:
    line = _pytest_command_of_run(run)
    if any(map(_needs_calls, undecided)):
        line = line.replace(_NO_CALLS, "")
    return NextCommand(line, f"after the fix; {_REUSED}")


def _needs_calls(result: PairResult) -> bool:
    return any(_NO_CALLS.strip() in issue.fix for issue in result.completeness.issues)


_COMMANDS: dict[str, Callable[[RunReport, Sequence[PairResult]], NextCommand]] = {
    "fail": _view_command,
    "unexpected": _doctor_command,
    "inconclusive": _rerun_command,
}
"""The command by the worst kind of outcome, in order."""


def _passage_and_excess(result: PairResult) -> tuple[float, float]:
    """Return the length of the longest passage, then how far a limit is exceeded."""
    longest = result.values.get(LONGEST_PASSAGE.name, 0)
    times = 0.0
    for over in exceeded_limits(result):
        if over.limit:
            times = max(times, over.value / over.limit)
    return (longest, times)


def _pytest_command_of_run(run: RunReport) -> str:
    if run.typed:
        return run.typed
    suites = dict.fromkeys(map(_suite_of_result, (*run.results, *run.unrun)))
    return " ".join(["pytest -m copyright", *suites])


def _suite_of_result(result: PairResult) -> str:
    return shell_quoted_path(result.suite.path)


def shell_quoted_path(path: str | os.PathLike[str]) -> str:
    """Return a path from the current folder, quoted for a shell.

    No path is absolute, since reports are published.
    """
    shown = Path(path)
    if shown.is_absolute():
        shown = Path(os.path.relpath(shown))
    return shlex.quote(shown.as_posix())
