"""How every report says things: verdicts, values of measures, what holds of a limit.

Heads are the measures' own names, as suite files have them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.amounts import amount

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records import Measure
    from pytest_memleak.records.finding import Finding, Passage

__all__ = [
    "Outcome",
    "cell",
    "in_percent",
    "of_other_books",
    "outcome",
    "passage",
    "percent",
    "shown",
    "told_passages",
    "unit",
]

_LETTERS = {"k": "k", "span_threshold": "T"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict beside what was expected.

    word: the verdict, with what was expected in brackets where that makes a difference
    kind: pass, fail, inconclusive, expected (a leak that had to be) or unexpected (a pass that
          had not)
    note: what it means for the pair's item, where the word alone could mislead
    """

    word: str
    kind: str
    note: str = ""


def outcome(found: Finding) -> Outcome:
    """What became of the pair."""
    verdict = Verdict(found.verdict)
    if found.expected == "leak" and verdict is Verdict.FAIL:
        return Outcome("FAIL (expected)", "expected")
    if found.expected == "leak" and verdict is Verdict.PASS:
        note = "it was expected to leak, and its limits hold: its item fails"
        return Outcome("PASS (a leak was expected)", "unexpected", note)
    return Outcome(verdict.value, verdict.value.lower())


def shown(row: Measure, value: float) -> str:
    """A value of the measure, or a limit on it: a share to three places, a count whole."""
    if row.kind == "share":
        return f"{value:,.3f}"
    return f"{value:,.0f}" if row.kind == "count" else f"{value:,.4g}"


def in_percent(row: Measure, value: float) -> str:
    """The same, a share in per cent."""
    return percent(value) if row.kind == "share" else shown(row, value)


def percent(share: float) -> str:
    """A share of the book, to three places where it is small."""
    hundredths = 100 * share
    places = 2 if hundredths and abs(hundredths) < 1 else 1
    return f"{hundredths:.{places}f} %".replace("-", "−")


def cell(found: Finding, row: Measure, *, interval: bool, limit: bool) -> tuple[str, bool]:
    """A measure of a pair in a table: value, interval, limit; and whether it is over that."""
    value, most = found.measures[row.name], found.limits.get(row.name)
    over = most is not None and value > most
    said = shown(row, value)
    if interval and row.name in found.intervals:
        low, high = found.intervals[row.name]
        said += f" ({shown(row, low)}–{shown(row, high)})"
    if limit and most is not None:
        said += f" {'>' if over else '≤'} {shown(row, most)}"
    return said, over


def unit(row: Measure, findings: Sequence[Finding]) -> str:
    """The measure's unit, with k and T; with the letters where pairs differ in them."""
    values = {name: {found.settings[name] for found in findings} for name in _LETTERS}
    settings = {
        name: seen.pop() if len(seen) == 1 else _LETTERS[name] for name, seen in values.items()
    }
    return row.unit.format(**settings)


def passage(one: Passage, place: str) -> str:
    """Where a passage stands, and how long it is; `place` as the report may show it."""
    return f"{one.kind} of {amount(one.words, 'word')} at {place}"


def told_passages(found: Finding) -> tuple[Passage, ...]:
    """The passages to tell of a pair, the worst first.

    Of a FAIL recitals and then the own book's spans, but for those that lie in a recital told;
    else the long recitals that no verdict tells.
    """
    if Verdict(found.verdict) is not Verdict.FAIL:
        return found.unasked
    own = [one for one in found.recitals if not one.book and not _near(one)]
    rest = (
        one
        for one in found.passages
        if not any(each.start <= one.start and one.end <= each.end for each in own)
    )
    return (*found.recitals, *rest)


def of_other_books(found: Finding) -> Iterator[str]:
    """How many long recitals there are of each book that was not asked for."""
    over = found.details.get("recitals_over", {}).get("books", {})
    for book, count in over.items():
        if book != found.book:
            passages = amount(count, "passage")
            over_words = f"over {found.settings['span_threshold']} words"
            yield f"{passages} {over_words} of {book}, which was not asked for"


def _near(one: Passage) -> bool:
    return "near-verbatim" in one.kind
