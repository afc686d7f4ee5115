"""The verdict: a measurement held against limits, on complete evidence only (METRICS section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import LimitCheck, Verdict, VerdictResult
from pytest_memleak.records.number_format import amount, figure
from pytest_memleak.scoring.analysis import Analysis, judged_apart, judged_measures
from pytest_memleak.scoring.extraction import Extraction
from pytest_memleak.scoring.measure_table import MEASURES, why_unmeasured
from pytest_memleak.scoring.sampling_error import samples_to_settle
from pytest_memleak.verdict.work_verdicts import leaks_told, undecided, work_verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_memleak.records import Book, Completeness, Estimate, Limits, WorkVerdict


def judge(
    analysis: Analysis | Extraction | None,
    completeness: Completeness,
    limits: Limits,
    book: Book | None = None,
) -> VerdictResult:
    """PASS, FAIL or INCONCLUSIVE, and why; of a collection (`book`) for each of its works, too.

    FAIL needs an observed value over its limit, whatever else is missing, since most measures
    never fall as samples are added; the others (`bmc_excess`, `uplift`) need the lower end of
    their interval over it, and complete evidence as well. Only where the second opinion differs,
    no value counts. PASS needs every limit to hold at its interval's upper end, on complete
    evidence.
    """
    missing = tuple(map(str, completeness.issues))
    found = judged_measures(analysis) if analysis else {}
    checks = check_limits(found, limits)
    measured = getattr(analysis, "works", None)
    works = work_verdicts(measured, book, completeness) if measured and book else ()
    own, others = (
        tuple(one for one in check_limits(part, limits) if one.over and (one.rises or not missing))
        for part in (judged_apart(analysis) if analysis else ({}, {}))
    )
    doubted = any(issue.rule == "second opinion" for issue in completeness.issues)
    if (own or others) and not doubted:
        unexcused = tuple(_unexcused(check, analysis) for check in others)
        reasons = (*unexcused, *(_over_its_limit(check, works) for check in own))
        return VerdictResult(Verdict.FAIL, checks, reasons, unexcused, bool(own), works)
    if analysis:
        of_works = measured.limits_of_works if measured else frozenset()
        named = [name for name in limits if name not in of_works]
        missing += _unmeasured(analysis, found, named)
    missing += undecided(works, limits.get("leaking_works", 0.0))
    if analysis and not isinstance(analysis, Extraction):
        missing += tuple(_in_doubt(check, analysis) for check in checks if check.in_doubt)
    if not checks and not missing:
        missing = ("nothing could be held against a limit",)
    if missing:
        return VerdictResult(Verdict.INCONCLUSIVE, checks, missing, works=works)
    return VerdictResult(Verdict.PASS, checks, works=works)


def check_limits(found: Mapping[str, Estimate], limits: Limits) -> tuple[LimitCheck, ...]:
    """Each limit beside the measure of its name, where it was measured, as the table orders them.

    An extension's measure comes last, and rises only if its row says so.
    """
    rows = {**MEASURES, **limits.brought}
    order = [name for name in MEASURES if name in limits]
    order += [name for name in limits if name not in MEASURES]
    return tuple(
        LimitCheck(
            measure=name,
            value=found[name].value,
            limit=limits[name],
            low=found[name].low,
            high=found[name].high,
            rises=name in rows and rows[name].rises,
        )
        for name in order
        if name in found
    )


def _unmeasured(
    analysis: Analysis | Extraction, found: Mapping[str, Estimate], limits: Iterable[str]
) -> tuple[str, ...]:
    windows = isinstance(analysis, Extraction)
    given = {} if isinstance(analysis, Extraction) else analysis.further
    return tuple(
        f"{name} has a limit, but could not be measured: "
        + (f"it gave {given[name]}" if name in given else why_unmeasured(name, windows=windows))
        for name in limits
        if name not in found
    )


def _in_doubt(check: LimitCheck, analysis: Analysis) -> str:
    """A limit inside the sampling error, and how many more samples would settle it."""
    error = analysis.error
    null = analysis.null if check.measure == "bmc_excess" else None
    by = amount(len(null.books), "null book") if null else amount(error.rounds, "sample")
    said = (
        f"{check.measure} {figure(check.value)} may be over its limit {figure(check.limit)}: with "
        f"{by} it is known up to {figure(check.high)} "
        f"(at confidence {error.confidence:g})"
    )
    settling = samples_to_settle(error, check.limit) if check.measure == "bmc" else None
    if settling is None:
        return said
    direction = "over" if settling.over else "within"
    more = amount(settling.samples, "more sample")
    return f"{said}; about {more} would settle this (likely {direction})"


def _unexcused(check: LimitCheck, analysis: Analysis | Extraction | None) -> str:
    passages = analysis.passages if isinstance(analysis, Analysis) else None
    assert passages is not None  # noqa: S101 - nothing else is judged apart
    longest = passages.of_others.get(check.measure)
    books = {longest.book} if longest else {one.book for one in passages.passages}
    names = ", ".join(sorted(one for one in books - {passages.own} if one))
    asked = f", in a generation for {longest.excerpt_id}" if longest else ""
    return f"{_over_its_limit(check, ())} by {names}, which nothing excuses{asked}"


def _over_its_limit(check: LimitCheck, works: Sequence[WorkVerdict]) -> str:
    if check.measure == "leaking_works":
        return leaks_told(works, check.limit)
    return f"{check.measure} {figure(check.value)} is over its limit {figure(check.limit)}"
