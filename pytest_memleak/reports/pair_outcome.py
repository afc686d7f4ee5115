"""A pair's verdict beside what was expected of it, and how reports show that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.records import Verdict
from pytest_memleak.results.run_verdict import expectation, passes

if TYPE_CHECKING:
    from pytest_memleak.records.pair_result import PairResult

_CONTROL = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "expected",
    Verdict.INCONCLUSIVE: "inconclusive",
}


class OutcomeStyle(NamedTuple):
    """How reports show a kind of outcome: its color, and marks in HTML and Markdown."""

    color: str
    mark: str
    emoji: str


LOOKS = {
    "fail": OutcomeStyle("red", "✗", "❌"),
    "unexpected": OutcomeStyle("red", "!", "❗"),
    "inconclusive": OutcomeStyle("yellow", "?", "❔"),
    "expected": OutcomeStyle("cyan", "✗", "☑️"),
    "pass": OutcomeStyle("green", "✓", "✅"),
}
"""The kinds of outcomes, the worst first. Marks show them where no color does."""
WORST_FIRST = tuple(LOOKS)

BRIEF_FROM_PAIRS = 9
"""From so many pairs on, reports show a pair's details only on request."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict beside what was expected.

    word: the verdict, with the expectation in parentheses where it matters
    kind: of LOOKS; expected: an expected leak; unexpected: a leak that didn't come
    note: what it means for the pair's test, where the word alone could mislead
    """

    word: str
    kind: str
    note: str = ""

    @property
    def style(self) -> OutcomeStyle:
        """How it is shown."""
        return LOOKS[self.kind]


def pair_outcome(result: PairResult) -> Outcome:
    """Compare the pair's verdict with what was expected."""
    verdict, word = result.plain_verdict, f"{result.verdict}{expectation(result)}"
    if result.unexcused:
        note = (
            "Passages of other books count even if this pair is a control or is "
            "expected to leak."
        )
        return Outcome(word, "fail", note)
    if result.control:
        note = (
            ""
            if verdict is Verdict.PASS or not passes(result)
            else "A control isn't gated, so its test passes."
        )
        kind = _CONTROL.get(verdict, "inconclusive")
        return Outcome(word, kind, note)
    if result.expected == "leak" and verdict is Verdict.FAIL:
        return Outcome(word, "expected")
    if result.expected == "leak" and verdict is Verdict.PASS:
        note = "This pair must leak, but all limits hold, so its test fails."
        return Outcome(word, "unexpected", note)
    return Outcome(word, verdict.value.lower())
