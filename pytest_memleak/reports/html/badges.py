"""A verdict as the page shows it: a mark and a word before it is a colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.reports.report_text import pair_outcome

if TYPE_CHECKING:
    from pytest_memleak.records.pair_result import PairResult

_MARKS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "expected": "✗", "unexpected": "!"}


@dataclass(frozen=True, slots=True)
class Badge:
    """A verdict as shown: never by colour alone."""

    word: str
    mark: str
    kind: str
    note: str = ""


def outcome_badge(result: PairResult) -> Badge:
    """What became of a pair."""
    outcome = pair_outcome(result)
    kind = outcome.kind if outcome.kind in _MARKS else "inconclusive"
    return Badge(outcome.word, _MARKS[kind], kind, outcome.note)


def verdict_badge(verdict: Verdict | str) -> Badge:
    """A verdict by itself; what is none is no pass either."""
    word = str(verdict)
    kind = word.lower() if word.lower() in _MARKS else "inconclusive"
    return Badge(word, _MARKS[kind], kind)
