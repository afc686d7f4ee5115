"""What several numbers of samples can detect, and may cost.

`scoring.detection_limit` computes what so many samples detect.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.errors import MemleakError
from pytest_memleak.pipeline.dry_run import plan_run
from pytest_memleak.pipeline.limit_reachability import planned_rounds
from pytest_memleak.pipeline.required_samples import Purpose, required_samples
from pytest_memleak.records.number_format import amount
from pytest_memleak.sampling.cost_plan import DetectionRow, DetectionTable, RunPlan
from pytest_memleak.scoring.bmc_interval import upper_end_without_recall
from pytest_memleak.scoring.book_layout import measurable_words
from pytest_memleak.scoring.measure_table import BMC, BMC_EXCESS, CHANCE, with_needs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Pair

USUAL_SAMPLES = (10, 30, 66, 100, 299)
# The coverage that so many null books detect, as a multiple of chance (docs/method.md).
_SEEN = (
    (10, "about twice"),
    (4, "two to three times"),
    (3, "about three times"),
    (2, "about eight times"),
)


def build_detection_table(suite_run: SuiteRun) -> DetectionTable:
    """Return what the suite can detect, for usual numbers of samples and for its own.

    Its resources should be offline, with an empty ledger.
    """
    pairs = suite_run.suite.pairs
    sampled = pairs_with_rounds(pairs)
    notes = _notes_by_samples(sampled)
    rows: list[DetectionRow] = []
    obstacles: dict[str, None] = {}
    for samples in sorted({*USUAL_SAMPLES, *notes}):
        planned = plan_run(pairs, lambda _: suite_run, samples=samples)
        obstacles |= dict.fromkeys(map(str, planned.obstacles))
        if not sampled:
            break  # whatever the number of samples
        rows.append(detection_row(planned, sampled[0], samples, notes.get(samples, "")))
    return DetectionTable(
        rows=tuple(rows),
        confidence=planned_rounds(pairs[0]).confidence,
        limits=tuple(_limit_reachability_lines(pairs, suite_run)),
        obstacles=tuple(obstacles),
    )


def pairs_with_rounds(pairs: Iterable[Pair]) -> list[Pair]:
    """Return the pairs whose prompts have many samples: no extraction."""
    return [pair for pair in pairs if pair.probe.kind != "extraction"]


def next_usual_samples(pairs: Iterable[Pair]) -> int | None:
    """Return the next usual number above all pairs' samples, if there is one."""
    sampled = pairs_with_rounds(pairs)
    if not sampled:
        return None
    most = max(planned_rounds(pair).samples for pair in sampled)
    for samples in USUAL_SAMPLES:
        if samples > most:
            return samples
    return None


def detection_row(
    planned: RunPlan,
    pair: Pair,
    samples: int,
    note: str = "",
) -> DetectionRow:
    """Return what a plan with so many samples costs, and what `pair` detects."""
    sampled = [step.sampling for step in planned.steps if step.sampling is not None]
    return DetectionRow(
        samples,
        planned_rounds(pair, samples).detection,
        calls=sum(plan.calls for plan in sampled),
        generations=sum(plan.generations for plan in sampled),
        cost=None if planned.unpriced else planned.cost,
        note=note,
    )


def _notes_by_samples(pairs: Iterable[Pair]) -> dict[int, str]:
    """Return the numbers of samples that the suite itself names, and why."""
    reasons: defaultdict[int, list[str]] = defaultdict(list)
    for pair in pairs:
        planned = planned_rounds(pair)
        reasons[planned.samples].append("this suite's samples")
        if planned.needed is not None:
            limit = f"detection_limit {planned.detection_limit:g}"
            reasons[planned.needed].append(f"{limit} at 10% withheld")
    notes = {}
    for samples, texts in reasons.items():
        each_once = dict.fromkeys(texts)
        notes[samples] = ", ".join(each_once)
    return notes


def _limit_reachability_lines(
    pairs: Iterable[Pair], suite_run: SuiteRun
) -> Iterator[str]:
    """Yield which limits of gating pairs can pass, whatever is sampled."""
    gating = [pair for pair in pairs if pair.gates]
    within: dict[float, float] = {}
    for bound in _bmc_bounds(gating, suite_run):
        if bound.least <= bound.limit:
            within[bound.limit] = bound.least
    for limit, least in within.items():
        yield (
            f"bmc limit {limit:g} can pass: with no recall, the upper bound of bmc is "
            f"{least:.2g}"
        )
    yield from limits_that_cant_pass(pairs, suite_run)
    by_chance = [pair for pair in gating if with_needs(pair.limits, CHANCE)]
    yield from _null_book_detection_lines(by_chance, suite_run)


def limits_that_cant_pass(pairs: Iterable[Pair], suite_run: SuiteRun) -> Iterator[str]:
    """Yield the limits of gating pairs that a book is too short to pass."""
    gating = [pair for pair in pairs if pair.gates]
    for bound in _bmc_bounds(gating, suite_run):
        if bound.least > bound.limit:
            yield (
                f"bmc limit {bound.limit:g} can't pass for {bound.book}, which is too "
                f"short: with no recall, the upper bound of bmc is {bound.least:.2g}; "
                "test more of the book, or raise the limit"
            )


class _BmcBound(NamedTuple):
    """A limit of bmc for a book, and the upper bound of bmc without recall."""

    limit: float
    book: str
    least: float


def _bmc_bounds(pairs: Iterable[Pair], suite_run: SuiteRun) -> list[_BmcBound]:
    """Return the bound of each limit and book, the highest last."""
    bounds: dict[tuple[float, str], _BmcBound] = {}
    for pair in pairs:
        if BMC.name not in pair.limits or not pair.confidence:
            continue
        with contextlib.suppress(MemleakError):  # the plan reports it
            words = measurable_words(
                suite_run.books.cut_into_excerpts(pair.book), pair.scoring
            )
            least = upper_end_without_recall(
                words,
                scoring=pair.scoring,
                confidence=pair.confidence,
            )
            bound = _BmcBound(pair.limits[BMC.name], pair.book.id, least)
            bounds[bound.limit, bound.book] = bound
    return sorted(bounds.values(), key=attrgetter("least"))


def _null_book_detection_lines(
    pairs: Iterable[Pair], suite_run: SuiteRun
) -> Iterator[str]:
    """Yield what each number of null books can detect."""
    names_by_nulls: defaultdict[int, list[str]] = defaultdict(list)
    for pair in pairs:
        purposes = [each.purpose for each in required_samples(pair, suite_run.suite)]
        nulls = purposes.count(Purpose.NULL)
        names_by_nulls[nulls].append(pair.id)
    for nulls, names in names_by_nulls.items():
        limit = BMC_EXCESS.name
        if len(names_by_nulls) > 1:
            limit += f" of {', '.join(names)}"
        books = amount(nulls, "null book")
        seen = _detectable_multiple(nulls)
        if seen is not None:
            yield f"{limit}: {books} can detect coverage of {seen} the chance level"
        else:
            yield (
                f"{limit}: no interval and no p-value from {books}; add negative "
                "controls until the suite has two"
            )


def _detectable_multiple(nulls: int) -> str | None:
    for least, multiple in _SEEN:
        if nulls >= least:
            return multiple
    return None
