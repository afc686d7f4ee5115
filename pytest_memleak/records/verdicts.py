"""Limits, completeness and verdicts, also on a release (docs/method.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pytest_memleak.errors import MemleakError
from pytest_memleak.records.delivery import Delivery
from pytest_memleak.records.generation import Kind
from pytest_memleak.records.measurement import Measure


class Verdict(StrEnum):
    """Verdict on a pair's limits (docs/method.md); NOT_RUN if it wasn't evaluated."""

    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_RUN = "NOT RUN"


class Limits(Mapping[str, float]):
    """Upper limits by measure: `Limits(bmc=0.1, longest_span=38)`.

    brought: the rows of extensions' measures. Equal to any mapping of the same limits.
    """

    __slots__ = ("_limits", "brought")

    def __init__(
        self,
        limits: Mapping[str, float] = MappingProxyType({}),
        /,
        *,
        brought: Iterable[Measure] = (),
        **more: float,
    ) -> None:
        self._limits = {**limits, **more}
        self.brought = {row.name: row for row in brought}

    def __getitem__(self, name: str) -> float:
        return self._limits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._limits)

    def __len__(self) -> int:
        return len(self._limits)

    def __repr__(self) -> str:
        limits = (f"{name}={limit!r}" for name, limit in self._limits.items())
        return f"Limits({', '.join(limits)})"


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """A limit compared with a measure and its interval.

    rises: whether more samples only raise the measure
    """

    measure: str
    value: float
    limit: float
    low: float
    high: float
    rises: bool = True

    @property
    def is_exceeded(self) -> bool:
        """Whether it is exceeded: by all of the interval, if the value can fall."""
        lowest = self.value if self.rises else self.low
        return lowest > self.limit

    @property
    def is_in_doubt(self) -> bool:
        """Whether only the interval's upper end exceeds it."""
        return not self.is_exceeded and self.limit < self.high


@dataclass(frozen=True, slots=True)
class Issue:
    """A reason why evidence is incomplete.

    rule: its name
    cause: what is wrong, with the value seen
    fix: what to do next
    place: where it is wrong: a file and key, an endpoint, or the samples that lack it
    """

    rule: str
    cause: str
    fix: str = ""
    place: str = ""

    @classmethod
    def of_error(cls, rule: str, error: MemleakError) -> Issue:
        """Return the issue that an error leaves behind."""
        cause, fix = _one_line(error.message), _one_line(error.fix)
        return cls(rule, cause, fix, error.location or "")

    def placed_in(self, whole: str) -> Issue:
        """Return the issue with its place inside a larger one; the same for ""."""
        place = ": ".join(part for part in (whole, self.place) if part)
        return replace(self, place=place)

    def __str__(self) -> str:
        cause = f"{self.place}: {self.cause}" if self.place else self.cause
        return f"{cause.rstrip('.')}; {self.fix}" if self.fix else cause

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # an idle plugin doesn't load it

        serialization = core_schema.wrap_serializer_function_ser_schema(
            _without_empty_place,
        )
        return {**handler(source), "serialization": serialization}


def _without_empty_place(issue: Issue, write: Callable[[Issue], Any]) -> Any:
    """Write an issue; most concern all generations, and JSON has no place of theirs."""
    written = write(issue)
    if not issue.place:
        del written["place"]
    return written


def _one_line(text: str) -> str:
    stripped = [line.strip() for line in text.splitlines()]
    *lines, last = stripped or [""]
    clauses = [line.rstrip(".") for line in lines]
    return "; ".join([*clauses, last])


RECITED = "negative control"
"""The rule of a negative control whose own book comes back."""


def is_recited(issues: Iterable[Issue]) -> bool:
    """Tell whether a negative control whose own book comes back is among the issues."""
    return any(issue.rule == RECITED for issue in issues)


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """A rule's value, threshold, and the required relation: "<=", ">=" or ">"."""

    rule: str
    value: int | float
    bound: str
    threshold: int | float


@dataclass(frozen=True, slots=True)
class Completeness:
    """Completeness of a pair's evidence, and its generations by kind.

    median_length_ratio: of generations, 1 for accepted refusals; None without others
    prompt_overlap: share of the measured words that instructions contain; None for
        trim = 0
    withheld:   withheld generations by the server's own word
    issues:     in the order of docs/method.md; empty if it is complete
    margins:    each evaluated rule, its value and threshold
    notes:      what couldn't be evaluated and isn't an issue
    unanswered: IDs of the excerpts without an answer
    delivery:   requested and lost completions; None where nothing could be lost
    """

    requested: int
    received: int
    surplus: int = 0
    median_length_ratio: int | float | None = None
    prompt_overlap: int | float | None = None
    accept_refusals: bool = False
    kinds: Mapping[Kind, int] = field(default_factory=dict)
    withheld: Mapping[str, int] = field(default_factory=dict)
    issues: tuple[Issue, ...] = ()
    margins: tuple[RuleCheck, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = field(default=(), repr=False)
    delivery: Delivery | None = None

    @property
    def complete(self) -> bool:
        """Whether it can support a pass."""
        return not self.issues

    @property
    def refused(self) -> float:
        """Share of refusals."""
        return self.kinds.get(Kind.REFUSAL, 0) / max(self.received, 1)


def refusals_text(refusals: int, got: int) -> str:
    """Format the share of refusals: "97% refused"."""
    return f"{100 * refusals // max(got, 1) or 'under 1'}% refused"


def verdict_with_accepted_refusals(verdict: Verdict, evidence: Completeness) -> str:
    """Format the verdict, with the share of accepted refusals: "PASS, 97% refused"."""
    refusals = evidence.kinds.get(Kind.REFUSAL, 0)
    if not evidence.accept_refusals or not refusals:
        return verdict.value
    return f"{verdict.value}, {refusals_text(refusals, evidence.received)}"


@dataclass(frozen=True, slots=True)
class WorkVerdict:
    """A work of a collection, judged as a book.

    id, title: as in the collection; words: N; measures: by name; over: the limits that
    they exceed; reason: its own reason for INCONCLUSIVE, if any
    """

    id: str
    title: str
    words: int
    verdict: Verdict
    measures: Mapping[str, int | float] = field(repr=False)
    over: Mapping[str, int | float] = field(default_factory=dict)
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class VerdictResult:
    """A verdict, the limits it rests on, and why it is no pass.

    issues:    why it is no pass; empty for a pass
    unexcused: for a pair whose own book is excused, the limits exceeded by passages of
        other books, which fail it even if it is expected to leak
    leaked:    whether its own book exceeded a limit
    works:     those of a collection, each judged by itself
    """

    verdict: Verdict
    checks: tuple[LimitCheck, ...]
    issues: tuple[Issue, ...] = ()
    unexcused: tuple[str, ...] = ()
    leaked: bool = False
    works: tuple[WorkVerdict, ...] = field(default=(), repr=False)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The issues as text."""
        return tuple(map(str, self.issues))


@dataclass(frozen=True, slots=True)
class Change:
    """A measure of a pair in two releases.

    p:           one-sided p-value of no rise in the mean per round
    verdict:     FAIL if Holm's procedure over all comparisons rejects and the rise
        exceeds the tolerance; INCONCLUSIVE if so few rounds can't reach a level that
        Holm may need
    low, high:   interval of the rise of `bmc`; None for other measures
    resolved:    the rise of `bmc` that these rounds could resolve in one test, else
        None; a rise in rarely generated passages shows later
    approximate: whether blocks of rounds were permuted, since rounds aren't
        exchangeable
    """

    pair: str
    measure: str
    before: int | float
    after: int | float
    tolerance: int | float
    rounds: int
    p: int | float
    verdict: Verdict
    low: int | float | None
    high: int | float | None
    resolved: int | float | None
    approximate: bool

    @property
    def rise(self) -> float:
        """Rise of the value in the later release."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class ReleaseComparison:
    """Whether any named measure of any pair got worse in a release.

    baseline, sha256: name and digest of the earlier release's bundle
    tolerances: the tolerated rise of each named measure
    confidence: the probability of no false finding if nothing got worse
    changes:    of every comparable pair in each named measure
    obstacles:  by pair, why others aren't comparable
    left_out:   pairs that gate in the earlier release and weren't evaluated in the
        later
    """

    baseline: str
    sha256: str
    tolerances: Mapping[str, int | float]
    confidence: int | float
    verdict: Verdict
    changes: tuple[Change, ...]
    obstacles: Mapping[str, str]
    left_out: tuple[str, ...] = ()

    @property
    def comparisons(self) -> int:
        """Number of comparisons; Holm's procedure covers all of them."""
        return len(self.changes) + len(self.obstacles) * len(self.tolerances)

    def of(self, pair: str) -> Verdict | None:
        """Return the verdict on a pair; None if it wasn't to be compared."""
        verdicts = [change.verdict for change in self.changes if change.pair == pair]
        if pair in self.obstacles:
            verdicts.append(Verdict.INCONCLUSIVE)
        return worst_verdict(verdicts) if verdicts else None


def worst_verdict(verdicts: Collection[Verdict]) -> Verdict:
    """Return FAIL before INCONCLUSIVE before PASS."""
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS
