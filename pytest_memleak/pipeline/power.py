"""What a suite could see with so many samples, and what they would cost, before any is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.pipeline.detection_check import planned_rounds
from pytest_memleak.pipeline.dry_run import plan_run
from pytest_memleak.pipeline.required_samples import Purpose, draws_of
from pytest_memleak.records.number_format import amount
from pytest_memleak.sampling.cost_plan import Power, PowerRow
from pytest_memleak.scoring.index import measurable_words
from pytest_memleak.scoring.sampling_error import least_upper_end

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Pair

_USUAL = (10, 30, 66, 100, 299)

# What so many null books see of an excess, as a multiple of chance (METRICS section 7).
_SEEN = (
    (10, "about twice"),
    (4, "two to three times"),
    (3, "about three times"),
    (2, "about eight times"),
)


def power_of(suite: SuiteRun) -> Power:
    """What the suite could see, for usual numbers of samples and for its own.

    Its resources should be offline, with a ledger that holds nothing. Of pairs whose probe is
    "probability" nothing is sampled, and they are left out.
    """
    pairs = tuple(pair for pair in suite.suite.pairs if pair.probe.kind != "probability")
    if not pairs:
        return Power((), 0.0, ("nothing is sampled: all its pairs ask for probabilities",), ())
    told, confidence = _told(pairs), planned_rounds(pairs[0]).confidence
    rows: list[PowerRow] = []
    obstacles: dict[str, None] = {}
    for samples in sorted({*_USUAL, *told}):
        planned = plan_run(pairs, lambda _: suite, samples=samples)
        obstacles |= dict.fromkeys(planned.obstacles)
        costs = [one.cost for one in planned.steps]
        drawn = [one.sampling for one in planned.steps if one.sampling]
        row = PowerRow(
            samples=samples,
            detection=planned_rounds(pairs[0], samples).detection,
            calls=sum(one.calls for one in drawn),
            generations=sum(one.generations for one in drawn),
            cost=None if None in costs else sum(one for one in costs if one),
            said=told.get(samples, ""),
        )
        rows.append(row)
    return Power(tuple(rows), confidence, tuple(_of_limits(pairs, suite)), tuple(obstacles))


def _told(pairs: Iterable[Pair]) -> dict[int, str]:
    """The numbers of samples that the suite itself speaks of, and how."""
    told: dict[int, list[str]] = {}
    for pair in pairs:
        planned = planned_rounds(pair)
        told.setdefault(planned.samples, []).append("asked for")
        if planned.needed is not None:
            told.setdefault(planned.needed, []).append(
                f"for detection_limit {planned.detection_limit:g}, 10% withheld"
            )
    return {samples: ", ".join(dict.fromkeys(said)) for samples, said in told.items()}


def _of_limits(pairs: Iterable[Pair], suite: SuiteRun) -> Iterator[str]:
    """What limits of pairs that gate can hold, whatever is drawn."""
    gating = [pair for pair in pairs if pair.gates]
    yield from _of_bmc(gating, suite)
    yield from _of_excess([pair for pair in gating if "bmc_excess" in pair.limits], suite)


def _of_bmc(pairs: Iterable[Pair], suite: SuiteRun) -> Iterator[str]:
    known: dict[tuple[float, str], float] = {}
    for pair in pairs:
        if "bmc" in pair.limits and pair.confidence:
            try:
                words = measurable_words(suite.books.cut(pair.book), pair.scoring)
            except MemleakError:
                continue  # an obstacle of the plan
            least = least_upper_end(words, scoring=pair.scoring, confidence=pair.confidence)
            known[pair.limits["bmc"], pair.book.id] = least
    for limit in dict.fromkeys(limit for limit, _ in known):
        held = [least for (its, _), least in known.items() if its == limit and least <= limit]
        if held:
            yield (
                f"bmc <= {limit:g} can hold: with nothing recited it is known up to {max(held):.2g}"
            )
    for (limit, book), least in known.items():
        if least > limit:
            yield (
                f"bmc <= {limit:g} can never hold for {book}, which is too short: with nothing "
                f"recited it is known up to {least:.2g}; loosen it there"
            )


def _of_excess(pairs: Iterable[Pair], suite: SuiteRun) -> Iterator[str]:
    by_nulls: dict[int, list[str]] = {}
    for pair in pairs:
        nulls = sum(one.purpose is Purpose.NULL for one in draws_of(pair, suite.suite))
        by_nulls.setdefault(nulls, []).append(pair.id)
    for nulls, names in by_nulls.items():
        of = f" of {', '.join(names)}" if len(by_nulls) > 1 else ""
        books = amount(nulls, "null book")
        if seen := next((many for least, many in _SEEN if nulls >= least), None):
            yield f"bmc_excess{of}: with {books} an excess of {seen} chance shows"
        else:
            yield (
                f"bmc_excess{of}: with {books} there is no interval and no p; give the suite two "
                "controls or more"
            )
