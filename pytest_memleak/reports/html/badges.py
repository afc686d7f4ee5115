"""A verdict as the page shows it: a mark and a word before it is a colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.reports.report_text import outcome

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


def outcome_badge(found: PairResult) -> Badge:
    """What became of a pair."""
    became = outcome(found)
    kind = became.kind if became.kind in _MARKS else "inconclusive"
    return Badge(became.word, _MARKS[kind], kind, became.note)


def verdict_badge(verdict: Verdict | str) -> Badge:
    """A verdict by itself; what is none is no pass either."""
    word = str(verdict)
    kind = word.lower() if word.lower() in _MARKS else "inconclusive"
    return Badge(word, _MARKS[kind], kind)
