"""The verdict: a measurement held against limits, on complete evidence only (METRICS section 9)."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

from pytest_memleak.records import Completeness, FinishReason, Judgement, LimitCheck, Verdict
from pytest_memleak.records.amounts import amount, figure
from pytest_memleak.scoring.analysis import estimates
from pytest_memleak.scoring.extraction import Extraction
from pytest_memleak.scoring.measure_table import MEASURES, why_unmeasured
from pytest_memleak.scoring.sampling_error import samples_to_settle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_memleak.records import Book, Estimate, Generation, Limits, Sampling
    from pytest_memleak.scoring.analysis import Analysis

__all__ = ["Census", "check_limits", "judge", "what_is_missing"]

_ENOUGH_TO_DIFFER = 3


def judge(
    analysis: Analysis | Extraction | None, completeness: Completeness, limits: Limits
) -> Judgement:
    """PASS, FAIL or INCONCLUSIVE, and why.

    FAIL needs an observed value over its limit, whatever else is missing, since most measures
    never fall as samples are added; the others (`bmc_excess`, `uplift`) need complete evidence
    as well. PASS needs every limit to hold at its interval's upper end, on complete evidence.
    """
    missing = what_is_missing(completeness)
    found = estimates(analysis) if analysis else {}
    checks = check_limits(found, limits)
    over = [check for check in checks if check.over and (check.rises or not missing)]
    if over:
        return Judgement(Verdict.FAIL, checks, tuple(map(_over_its_limit, over)))
    missing += _unmeasured(analysis, found, limits) if analysis else ()
    if analysis and not isinstance(analysis, Extraction):
        missing += tuple(_in_doubt(check, analysis) for check in checks if check.in_doubt)
    if not checks and not missing:
        missing = ("nothing could be held against a limit",)
    if missing:
        return Judgement(Verdict.INCONCLUSIVE, checks, missing)
    return Judgement(Verdict.PASS, checks)


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
            high=found[name].high,
            rises=name in rows and rows[name].rises,
        )
        for name in order
        if name in found
    )


def _unmeasured(
    analysis: Analysis | Extraction, found: Mapping[str, Estimate], limits: Limits
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
    said = (
        f"{check.measure} {figure(check.value)} may be over its limit {figure(check.limit)}: with "
        f"{amount(error.rounds, 'sample')} it is known up to {figure(check.high)} "
        f"(at confidence {error.confidence:g})"
    )
    settling = samples_to_settle(error, check.limit) if check.measure == "bmc" else None
    if settling is None:
        return said
    direction = "over" if settling.over else "within"
    more = amount(settling.samples, "more sample")
    return f"{said}; about {more} would settle this (likely {direction})"


def what_is_missing(completeness: Completeness) -> tuple[str, ...]:
    """Why the evidence is not complete, in plain words; empty if it is."""
    missing = list(completeness.gaps)
    if completeness.asked == 0 and not missing:
        missing.append("nothing was asked of the model")
    elif completeness.got < completeness.asked:
        asked = amount(completeness.asked, "generation")
        missing.append(
            f"{completeness.got:,} of {asked} {'is' if completeness.got == 1 else 'are'} there"
        )
    withheld = sum(completeness.withheld.values())
    # Not max_withheld * asked: 0.29 * 100 is less than 29.
    if withheld / max(completeness.asked, 1) > completeness.max_withheld:
        kinds = ", ".join(
            f"{count:,} {reason.value}" for reason, count in sorted(completeness.withheld.items())
        )
        missing.append(
            f"{withheld:,} of {completeness.asked:,} generations were withheld or empty ({kinds}), "
            f"more than max_blocked = {completeness.max_withheld:g} allows"
        )
    return tuple(missing)


def _over_its_limit(check: LimitCheck) -> str:
    return f"{check.measure} {figure(check.value)} is over its limit {figure(check.limit)}"


class Census:
    """Counts generations as they go by, for the completeness of a pair's evidence."""

    def __init__(self, book: Book, sampling: Sampling) -> None:
        self._sampling = sampling
        self._excerpts = len(book.excerpts)
        self._unasked = {one.id for one in book.excerpts if not one.instruction}
        self._got: Counter[str] = Counter()
        self._withheld: Counter[FinishReason] = Counter()
        self._texts: Counter[str] = Counter()  # those that are not blank
        self._first: dict[str, str] = {}
        self._varied: set[str] = set()
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 over all that was counted: excerpts, ordinals, finish reasons, texts."""
        return self._digest.hexdigest()

    def watch(self, generations: Iterable[Generation]) -> Iterator[Generation]:
        """Pass on the generations of the rounds that the suite asks for, counting them."""
        for generation in generations:
            if generation.ordinal < self._sampling.samples:
                self._count(generation)
                yield generation

    def completeness(self, gaps: Iterable[str] = ()) -> Completeness:
        """What was seen so far, against what the suite asks for."""
        missing = list(gaps)
        unasked = self._unasked - self._got.keys()
        if unasked:
            missing.append(
                f"no instruction for {len(unasked):,} of {amount(self._excerpts, 'excerpt')}, "
                "which the model could not be asked for"
            )
        if self._sampling.temperature > 0:
            missing.extend(self._alike())
        return Completeness(
            asked=self._excerpts * self._sampling.samples,
            got=sum(self._got.values()),
            withheld=dict(self._withheld),
            max_withheld=self._sampling.max_blocked,
            gaps=tuple(missing),
        )

    def _count(self, generation: Generation) -> None:
        excerpt_id = generation.excerpt_id
        self._got[excerpt_id] += 1
        for part in (excerpt_id, generation.ordinal, generation.finish_reason, generation.text):
            data = str(part).encode("utf-8", "surrogatepass")
            self._digest.update(len(data).to_bytes(8, "big") + data)
        if generation.finish_reason.withheld:
            self._withheld[generation.finish_reason] += 1
        elif not generation.text.strip():
            self._withheld[FinishReason.EMPTY] += 1
        if generation.text.strip():
            self._texts[excerpt_id] += 1
            if self._first.setdefault(excerpt_id, generation.text) != generation.text:
                self._varied.add(excerpt_id)

    def _alike(self) -> Iterator[str]:
        alike = [
            excerpt_id
            for excerpt_id, count in self._texts.items()
            if count >= _ENOUGH_TO_DIFFER and excerpt_id not in self._varied
        ]
        if alike:
            yield (
                f"all generations of {amount(len(alike), 'excerpt')} ({alike[0]}"
                f"{', ...' if len(alike) > 1 else ''}) are alike although "
                f"the temperature is {self._sampling.temperature:g}: the server may not sample"
            )
