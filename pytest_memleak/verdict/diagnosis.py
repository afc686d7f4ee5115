"""The one diagnosis of incomplete evidence, for reports; it changes no verdict.

A pair's issues are symptoms: a model that refuses breaks up to six rules. A row of
`_ROWS` names what must prevail among the generations, or which rules must be broken,
and the issues that this explains. The first row that fits is the diagnosis. What it
doesn't explain stays `unexplained`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_memleak.records import Kind
from pytest_memleak.verdict.evidence_requirements import fix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.records import Completeness, Issue

NO_ANSWER = "no answer"
_MAJORITY = 0.5  # of the generations that aren't full answers
_NEARLY_ALL = 0.9  # of all generations
_GREEDY = "greedy"  # the place of issues of greedy generations
_CANARIES = "canaries"
_FIXES_WITH_CAUSE = {Kind.CANNED}  # before a colon; a diagnosis has its own

_ANSWERED = frozenset(
    {
        "unanswered",
        "short",
        "median length ratio",
        "excerpts without an answer",
    },
)
_VARIETY = frozenset({"distinct answers", "distinct 8-word runs"})
_PROSE = frozenset({"common words", "word order", "common word pairs"})
_ANY = _ANSWERED | _VARIETY | _PROSE
_WITHHELD = frozenset({"withheld per excerpt", "recitation"})


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a pair's evidence is incomplete.

    key:    a few words for a cell of a map
    cause:  a sentence
    fix:    what to do, "" where nothing is known
    unexplained: the issues that it doesn't explain
    """

    key: str
    cause: str
    fix: str
    unexplained: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True)
class _Row:
    """A diagnosis. It fits if one of `rules` is broken and `kind`, if any, prevails.

    cause:    with {count} generations of the kind and all {received}
    fix:      the requirement whose fix it takes
    explains: the rules whose issues follow from it
    """

    key: str
    cause: str
    fix: str
    rules: frozenset[str]
    explains: frozenset[str]
    kind: Kind | None = None


def _row_of_kind(kind: Kind, key: str, cause: str) -> _Row:
    return _Row(key, cause, kind, _ANY, _ANY, kind)


_OF = "{count} of {received} generations"
_NOT_PROSE = "the answers aren't prose, as with a wrong chat template"
_ROWS = (
    _Row(
        key="withheld",
        cause=f"the provider withheld {_OF}",
        fix=Kind.WITHHELD,
        rules=_ANY | _WITHHELD,
        explains=_ANY | _WITHHELD,
        kind=Kind.WITHHELD,
    ),
    _row_of_kind(Kind.REFUSAL, "refuses", f"the model refuses: {_OF} are refusals"),
    _row_of_kind(Kind.CUT_EARLY, "cut off", f"{_OF} are cut off before an answer"),
    _row_of_kind(Kind.EMPTY, "empty", f"{_OF} are empty"),
    _row_of_kind(Kind.ECHO, "echo", f"the model repeats the prompt: {_OF}"),
    _row_of_kind(
        Kind.CANNED,
        "same text",
        f"different prompts return the same text: {_OF}",
    ),
    _row_of_kind(Kind.UNREADABLE, "not prose", f"{_NOT_PROSE}: {_OF}"),
    _Row(
        key="not prose",
        cause=_NOT_PROSE,
        fix=Kind.UNREADABLE,
        rules=_PROSE,
        explains=_PROSE,
    ),
    _Row(
        key="short",
        cause=f"the answers are short: {_OF}",
        fix="short",
        rules=_ANSWERED,
        explains=_ANY,
        kind=Kind.SHORT,
    ),
    _Row(
        key="repeats",
        cause="generations for one prompt are alike, as from a cache",
        fix="sampled",
        rules=_VARIETY,
        explains=_VARIETY,
    ),
)


def diagnosis(evidence: Completeness, *, recorded: bool) -> Diagnosis | None:
    """Return the pair's diagnosis; None if its evidence is complete.

    recorded: whether its generations come from a file, for which fixes differ
    """
    issues = _without_greedy_repeats(evidence.issues)
    if not issues:
        return None
    evidence = replace(evidence, issues=issues)
    if not evidence.received:
        return _of_issue(_why_nothing_came(issues), issues, key=NO_ANSWER)
    for row in _ROWS:
        if _fits(row, evidence):
            return _of_row(row, evidence, recorded=recorded)
    chief = _chief(issues)
    key = "incomplete" if chief.rule == "all received" else chief.rule
    return _of_issue(chief, issues, key=key)


def _without_greedy_repeats(issues: Sequence[Issue]) -> tuple[Issue, ...]:
    """Leave out issues of greedy generations that the sampled ones have, too."""
    sampled = {issue.rule for issue in issues if not issue.place}
    kept = []
    for issue in issues:
        if issue.place != _GREEDY or issue.rule not in sampled:
            kept.append(issue)
    return tuple(kept)


def _chief(issues: Sequence[Issue]) -> Issue:
    """Return what is missing, or that the model changed, or else the first issue."""
    for rule in ("all received", _CANARIES):
        for issue in issues:
            if issue.rule == rule:
                return issue
    return issues[0]


def _why_nothing_came(issues: Sequence[Issue]) -> Issue:
    """Return the endpoint's error, or else the first issue."""
    for issue in issues:
        if issue.rule == "sampled" and not issue.place.startswith(_GREEDY):
            return issue
    return issues[0]


def _of_issue(chief: Issue, issues: Sequence[Issue], *, key: str) -> Diagnosis:
    """Return the diagnosis of an issue that is a cause itself."""
    cause = f"{chief.place}: {chief.cause}" if chief.place else chief.cause
    unexplained = tuple(issue for issue in issues if str(issue) != str(chief))
    # Another model's answers explain nothing of this one.
    unexplained = tuple(sorted(unexplained, key=_is_no_canary))
    if key == NO_ANSWER:  # where nothing came, every other rule is broken, too
        unexplained = ()
    return Diagnosis(key, cause.rstrip("."), chief.fix, unexplained)


def _fits(row: _Row, evidence: Completeness) -> bool:
    if row.kind is None:
        return _is_alone(row, evidence)
    # Kinds are counted of the sampled generations, so those must have broken a rule.
    if not any(
        issue.rule in row.rules and not issue.place for issue in evidence.issues
    ):
        return False
    count = evidence.kinds.get(row.kind, 0)
    answers = evidence.kinds.get(Kind.ANSWER, 0)
    others = sum(evidence.kinds.values()) - answers
    return count > 0 and count >= _MAJORITY * others


def _is_alone(row: _Row, evidence: Completeness) -> bool:
    """Whether no other rule on answers is broken than those that the row explains."""
    broken = {issue.rule for issue in evidence.issues if not issue.place}
    return bool(broken & row.rules) and not (broken & _ANY) - row.explains


def _of_row(row: _Row, evidence: Completeness, *, recorded: bool) -> Diagnosis:
    count = evidence.kinds.get(row.kind, 0) if row.kind else 0
    is_nearly_all = count >= _NEARLY_ALL * evidence.received
    explains = row.explains
    unexplained = []
    for issue in evidence.issues:
        is_own = issue.place in {"", _GREEDY}
        follows = is_own and issue.rule in explains
        # Where hardly anything is an answer, nothing can be compared either.
        is_compared = issue.place == _GREEDY or issue.rule == _CANARIES
        if not follows and not (is_nearly_all and is_compared):
            unexplained.append(issue)
    received = f"{evidence.received:,}"
    cause = row.cause.format(count=f"{count:,}", received=received)
    what_to_do = fix(row.fix, recorded=recorded)
    if row.fix in _FIXES_WITH_CAUSE:
        _, _, what_to_do = what_to_do.partition(": ")
    unexplained.sort(key=_is_no_canary)
    return Diagnosis(row.key, cause, what_to_do, tuple(unexplained))


def _is_no_canary(issue: Issue) -> bool:
    return issue.rule != _CANARIES
