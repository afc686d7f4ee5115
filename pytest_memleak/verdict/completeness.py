"""Whether a pair's evidence is complete: the model got its prompts, and answered.

docs/method.md, as a pure function of the book, a census of its generations, and their
provenance. Each broken rule is an issue with its cause and fix; margins hold every
rule's value beside its threshold.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import Completeness, Issue, Kind, RuleCheck
from pytest_memleak.records.number_format import amount, first_three
from pytest_memleak.verdict.evidence_requirements import exact, fix
from pytest_memleak.verdict.generation_features import runs_by_excerpt
from pytest_memleak.verdict.generation_kinds import KINDS
from pytest_memleak.verdict.prompt_overlap import instruction_rules
from pytest_memleak.verdict.shingles import count_distinct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.verdict.generation_features import Flags, GenerationFeatures
    from pytest_memleak.verdict.generation_kinds import CensusResult
    from pytest_memleak.verdict.prompt_overlap import PromptOverlap
    from pytest_memleak.verdict.shingles import Keys


_INSTRUCTIONS = frozenset({"instructions", "instruction match", "prompt overlap"})
_APART = frozenset({"second opinion", "protected books", "catalog"})
_LEAST_MEDIAN_YIELD = Fraction(1, 2)
_MOST_WITHOUT_ANSWER = Fraction(1, 20)
_WORDLESS = frozenset({Kind.WITHHELD, Kind.EMPTY, Kind.REFUSAL, Kind.ECHO})
_FEW_EXCERPTS = 10
_LEAST_VARIETY = Fraction(1, 2)
_LEAST_COMMON = Fraction(35, 100)
_LEAST_ORDER = Fraction(3, 4)
_FEWEST_PAIRS = 50  # F + R under which the order is not judged
_LEAST_PAIRS = Fraction(1, 10)
RuleOutcome = Issue | RuleCheck | str


def completeness(
    counted: CensusResult,
    overlap: PromptOverlap,
    *,
    over_limit: bool = False,
    issues: Iterable[Issue] = (),
    notes: Iterable[str] = (),
) -> Completeness:
    """Judge what a census counted.

    Where an issue explains why nothing was sampled, issues that follow from it are left
    out.

    over_limit: whether the pair exceeds a limit anyway; then its answers needn't
    differ.
    issues, notes: what else is known, from provenance and records (`model_identity`).
    """
    case = RuleContext(counted, overlap, over_limit=over_limit)
    outcomes = [outcome for rule in _RULES for outcome in rule(case)]
    broken = (outcome for outcome in outcomes if isinstance(outcome, Issue))
    rule_notes = (outcome for outcome in outcomes if isinstance(outcome, str))
    ratio = case.median_length_ratio
    return Completeness(
        requested=case.requested,
        received=len(counted.readings),
        surplus=counted.surplus,
        kinds=case.counts,
        withheld=counted.withheld,
        median_length_ratio=None if ratio is None else float(ratio),
        prompt_overlap=None if overlap.share is None else float(overlap.share),
        accept_refusals=counted.request.limits.accept_refusals,
        unanswered=tuple(case.named(case.unanswered)),
        issues=_causes((*issues, *broken), case),
        margins=tuple(
            outcome for outcome in outcomes if isinstance(outcome, RuleCheck)
        ),
        notes=(*rule_notes, *notes),
    )


def _causes(issues: Sequence[Issue], case: RuleContext) -> tuple[Issue, ...]:
    reasons = frozenset() if case.request.continuation else _INSTRUCTIONS
    if not len(case.readings):
        reasons |= {"sampled"}
    causes = tuple(issue for issue in issues if issue.rule in reasons)
    if case.request.recorded or not causes:
        return tuple(issues)
    return tuple(issue for issue in issues if issue.rule in reasons | _APART)


def diversity(
    readings: GenerationFeatures, runs: Keys, answers: Flags
) -> tuple[list[Fraction], list[Fraction]]:
    """Return shares of distinct answers and of distinct 8-word runs, one per excerpt.

    Only excerpts with two answers or more count; runs need 8 words.
    """
    texts, stretches = [], []
    for numbers, excerpt_runs in runs_by_excerpt(readings, runs, answers):
        if len(numbers) > 1:
            texts.append(Fraction(len(np.unique(readings.key[numbers])), len(numbers)))
            if len(excerpt_runs):
                stretches.append(
                    Fraction(count_distinct(excerpt_runs), len(excerpt_runs))
                )
    return texts, stretches


class RuleContext:
    """The evidence that the rules judge."""

    def __init__(
        self, counted: CensusResult, overlap: PromptOverlap, *, over_limit: bool
    ) -> None:
        self.counted, self.overlap, self.over_limit = counted, overlap, over_limit
        self.request, self.limits = counted.request, counted.request.limits
        self.readings, self.kinds = counted.readings, counted.kinds
        self.excerpts = len(counted.excerpts)
        self.requested = self.excerpts * counted.request.samples
        counts = np.bincount(self.kinds, minlength=len(KINDS)).tolist()
        self.counts: dict[Kind, int] = dict(zip(KINDS, counts, strict=True))

    def of(self, *kinds: Kind) -> Flags:
        """Tell which generations are of one of these kinds."""
        return np.isin(self.kinds, [KINDS.index(kind) for kind in kinds])

    def named(self, numbers: Positions) -> list[str]:
        """Return the ids of excerpts by their numbers."""
        return [self.counted.excerpts[number] for number in numbers.tolist()]

    def issue(self, rule: str, cause: str, cure: str | None = None) -> Issue:
        """Return the broken rule, with the fix for `cure`, or else for the rule itself."""
        return Issue(rule, cause, fix(cure or rule, recorded=self.request.recorded))

    @property
    def answering(self) -> tuple[Kind, ...]:
        """The kinds that count as answers."""
        refusals = (Kind.REFUSAL,) if self.limits.accept_refusals else ()
        return (Kind.ANSWER, *refusals)

    @cached_property
    def unanswered(self) -> Positions:
        """The numbers of the excerpts without an answer."""
        answered = self.readings.excerpt[self.of(*self.answering)]
        return np.flatnonzero(np.bincount(answered, minlength=self.excerpts) == 0)

    @cached_property
    def median_length_ratio(self) -> Fraction | None:
        """The median over all generations; accepted refusals count as whole answers."""
        counts = self.readings.expected > 0
        accepted = self.of(Kind.REFUSAL) & self.limits.accept_refusals
        if accepted[counts].all():
            return None
        whole = np.where(accepted, self.readings.expected, self.readings.own)
        own, expected = whole[counts], self.readings.expected[counts]
        order = np.argsort(own / expected, kind="stable")
        middle = {int(order[(len(own) - 1) // 2]), int(order[len(own) // 2])}
        return median(Fraction(int(own[at]), int(expected[at])) for at in middle)


def _all_there(case: RuleContext) -> Iterator[RuleOutcome]:
    got = len(case.readings)
    if not case.requested:
        yield case.issue(
            "all received", "no generation was requested from the model", "asked"
        )
    if got < case.requested:
        cause = f"{got:,} of {amount(case.requested, 'requested generation')} received"
        yield case.issue("all received", cause)
    if case.counted.surplus:
        yield case.issue(
            "no surplus",
            f"the {'file' if case.request.recorded else 'ledger'} holds "
            f"{amount(case.counted.surplus, 'generation')} beyond the requested "
            "samples",
        )
    if case.counted.unstated:
        yield "no generation has a finish reason, so all count as complete"


def _short(case: RuleContext) -> Iterator[RuleOutcome]:
    got, short = len(case.readings), case.counts[Kind.SHORT]
    most = exact(case.limits.max_short)
    yield RuleCheck("short", short / max(got, 1), "<=", float(most))
    if short * most.denominator > got * most.numerator:
        yield case.issue(
            "short",
            f"{short:,} of {got:,} generations are shorter than min_length_ratio = "
            f"{case.limits.min_length_ratio:g} allows; max_short = "
            f"{case.limits.max_short:g}",
        )


def _unanswered(case: RuleContext) -> Iterator[RuleOutcome]:
    kinds = case.kinds
    if _FEW_EXCERPTS <= case.excerpts < 2 * _FEW_EXCERPTS and len(case.unanswered) == 1:
        kinds = kinds[
            case.readings.excerpt != case.unanswered[0]
        ]  # one excerpt may have none
    got = len(kinds)
    counts = np.bincount(kinds, minlength=len(KINDS)).tolist()
    counted = {
        kind: count
        for kind, count in zip(KINDS, counts, strict=True)
        if kind is not Kind.SHORT and kind not in case.answering
    }
    none, most = sum(counted.values()), exact(case.limits.max_unanswered)
    yield RuleCheck("unanswered", none / max(got, 1), "<=", float(most))
    if none * most.denominator > got * most.numerator:
        kinds_text = ", ".join(
            f"{n:,} {_noun(kind, n)}" for kind, n in counted.items() if n
        )
        chief = max(counted, key=lambda kind: counted[kind])
        yield case.issue(
            "unanswered",
            f"{none:,} of {got:,} generations aren't answers ({kinds_text}"
            f"{_server_words(case.counted.withheld)}); max_unanswered = "
            f"{case.limits.max_unanswered:g}",
            chief,
        )


def _noun(kind: Kind, count: int) -> str:
    plural = {Kind.REFUSAL: "refusals", Kind.ECHO: "echoes"} if count > 1 else {}
    return plural.get(kind, kind.value)


def _server_words(withheld: Mapping[str, int]) -> str:
    words_text = ", ".join(
        f"{n:,} {ascii(word)[1:-1]}" for word, n in sorted(withheld.items())
    )
    return f"; finish reasons of withheld text: {words_text}" if words_text else ""


def _median(case: RuleContext) -> Iterator[RuleOutcome]:
    ratio = case.median_length_ratio
    if ratio is None:
        return
    yield RuleCheck(
        "median length ratio", float(ratio), ">=", float(_LEAST_MEDIAN_YIELD)
    )
    if ratio < _LEAST_MEDIAN_YIELD:
        chief = max(KINDS, key=case.counts.__getitem__)
        yield case.issue(
            "median length ratio",
            f"the median answer has {_percent(ratio)} of the words expected of it; at "
            "least 50% is "
            "required",
            chief if chief in _WORDLESS else None,
        )


def _each_excerpt(case: RuleContext) -> Iterator[RuleOutcome]:
    without = case.unanswered
    allowed = (
        max(1, int(case.excerpts * _MOST_WITHOUT_ANSWER))
        if case.excerpts >= _FEW_EXCERPTS
        else 0
    )
    yield RuleCheck("excerpts without an answer", len(without), "<=", allowed)
    sampled = np.isin(
        without, case.readings.excerpt
    )  # where none is, the first rule fails
    if len(without) > allowed and sampled.any():
        yield case.issue(
            "excerpts without an answer",
            f"no answer to {len(without):,} of {amount(case.excerpts, 'excerpt')} "
            f"({first_three(case.named(without))}); the maximum is {allowed}",
        )


def _withheld(case: RuleContext) -> Iterator[RuleOutcome]:
    kept = np.bincount(
        case.readings.excerpt[case.of(Kind.WITHHELD)], minlength=max(case.excerpts, 1)
    )
    received = np.maximum(
        np.bincount(case.readings.excerpt, minlength=max(case.excerpts, 1)), 1
    )
    yield RuleCheck("withheld per excerpt", float((kept / received).max()), "<=", 0.5)
    most = np.flatnonzero(2 * kept > received)
    if len(most):
        yield case.issue(
            "withheld per excerpt",
            "the provider withheld more than half of the generations of "
            f"{amount(len(most), 'excerpt')} ({first_three(case.named(most))})",
            Kind.WITHHELD,
        )
    if case.counted.recitation:
        yield case.issue(
            "recitation",
            f"the provider withheld {amount(case.counted.recitation, 'generation')} "
            "for "
            "recitation, so its filter matched verbatim text",
        )


def _sampled(case: RuleContext) -> Iterator[RuleOutcome]:
    if case.request.temperature == 0 or case.over_limit:
        return
    suspected = "the server may cache responses or ignore temperature"
    if case.request.recorded:
        suspected = "they may not be independent samples"
    texts, runs = diversity(case.readings, case.counted.runs, case.of(Kind.ANSWER))
    for what, values in (("distinct answers", texts), ("distinct 8-word runs", runs)):
        if not values:
            yield f"{what} not judged: no excerpt has two answers"
            continue
        middle = median(values)
        yield RuleCheck(what, float(middle), ">", float(_LEAST_VARIETY))
        if middle <= _LEAST_VARIETY:
            yield case.issue(
                what,
                f"median share of {what} is {_percent(middle)}; over 50% is required: "
                f"{suspected}",
                "sampled",
            )


def _prose(case: RuleContext) -> Iterator[RuleOutcome]:
    prose, chosen = case.counted.prose, case.of(Kind.ANSWER)
    if not prose.judges:
        yield "prose not judged: the book is too short, or its script has no words to compare"
        return
    total, common, forward, backward = (
        int(column[chosen].sum())
        for column in (
            case.readings.words,
            case.readings.common,
            case.readings.forward,
            case.readings.reversed,
        )
    )
    if not total:
        return
    shares = [("common words", Fraction(common, total) / prose.common, _LEAST_COMMON)]
    if forward + backward >= _FEWEST_PAIRS:
        shares.append(
            ("word order", Fraction(forward, forward + backward), _LEAST_ORDER)
        )
    pairs = total - int(chosen.sum())
    if prose.judges_pairs and pairs and prose.pair:
        shares.append(
            ("common word pairs", Fraction(forward, pairs) / prose.pair, _LEAST_PAIRS)
        )
    for what, value, least in shares:
        yield RuleCheck(what, float(value), ">=", float(least))
        if value < least:
            yield case.issue(
                what,
                f"answers don't resemble the book's prose: {what} {_percent(value)}, "
                "minimum "
                f"{_percent(least)}",
                Kind.UNREADABLE,
            )


def _instructions(case: RuleContext) -> Iterator[RuleOutcome]:
    return instruction_rules(case.overlap, case.request, excerpts=case.excerpts)


# Instructions come first: where they fail, nothing is sampled, which breaks the other
# rules.
_RULES = (
    *(
        _instructions,
        _all_there,
        _short,
        _unanswered,
        _median,
        _each_excerpt,
        _withheld,
    ),
    *(_sampled, _prose),
)


def _percent(share: Fraction) -> str:
    return f"{float(100 * share):.3g}%"
