"""Release tests: is a rise between two releases real or noise? (docs/method.md).

Each measure compared for a pair is tested by permuting whole rounds between the
releases; Holm's procedure limits the chance that noise passes for any rise to 1 -
confidence over all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Verdict
from pytest_memleak.records.verdicts import Change
from pytest_memleak.scoring.bmc_interval import Spread, difference_bounds
from pytest_memleak.scoring.confidence_bounds import normal_quantile
from pytest_memleak.scoring.exchangeability import random_orders
from pytest_memleak.scoring.measure_table import BMC
from pytest_memleak.scoring.round_blocks import blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_memleak.scoring.array_types import Counts, Floats


_LEAST_PERMUTATIONS = 9_999
_TOGETHER = 1_000

# The smallest p is this many times below the smallest level.
_FINER = 10

# Standard errors of a difference that one test at 5% detects with power 80%.
_RESOLVED = 2.5


@dataclass(frozen=True, slots=True)
class PairRounds:
    """A pair's numbers in one release's bundle.

    words:     N
    values:    per measure, its value over all rounds
    per_round: per measure, that of each of the n rounds, for `bmc` its covered words;
               shape (n,)
    spread:    of BMC (`SamplingError`'s variance, rounds or blocks, and typical span)
    alike:     whether the rounds are exchangeable
    """

    words: int
    values: Mapping[str, float]
    per_round: Mapping[str, Counts] = field(repr=False)
    spread: Spread
    alike: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """A measure of a pair that fails on a real rise by more than `tolerance`."""

    pair: str
    measure: str
    tolerance: float = 0.0


def compare_releases(
    before: Mapping[str, PairRounds],
    after: Mapping[str, PairRounds],
    compared: Sequence[Comparison],
    *,
    untested: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Change, ...]:
    """Test the change of every comparison, in order; pairs by their names.

    untested: number of named comparisons that cannot be made. Holm's procedure covers
    all; it assumes that these did not rise. With a confidence of 0 every rise is real.

    Raises SettingsError for a pair or measure that either release lacks, for a
    duplicate, for books or numbers of rounds that differ, a tolerance that is negative
    or no number, and a confidence outside [0, 1). Cost: 30 ms for 60 comparisons of 100
    rounds.
    """
    normal_quantile(confidence)
    sides = [_validated_sides(before, after, comparison) for comparison in compared]
    _validate_unique(compared)
    if not compared:
        return ()
    level = _smallest_level(len(compared) + untested, confidence)
    for_finer_p = math.ceil(_FINER / level) - 1
    permutations = max(_LEAST_PERMUTATIONS, for_finer_p)
    units = []
    for comparison, side in zip(compared, sides, strict=True):
        units.append(_permutable_units(side.old, side.new, comparison.measure))
    p_values = _p_values(units, permutations, seed)
    rejected = [True] * len(compared)
    if confidence:
        rejected = _rejected_by_holm(p_values, 1 - confidence, untested)
    changes = []
    for number, comparison in enumerate(compared):
        units_per_release = len(units[number].old)
        test = _Test(
            p=p_values[number],
            rejected=rejected[number],
            reachable=not confidence or _can_reach(units_per_release, level),
        )
        change = _change_with_verdict(comparison, sides[number], test, confidence)
        changes.append(change)
    return tuple(changes)


class _Sides(NamedTuple):
    """A pair's numbers in the earlier and in the later release."""

    old: PairRounds
    new: PairRounds


class _Units(NamedTuple):
    """What is permuted of each release: a measure of rounds, or its means of blocks."""

    old: Floats
    new: Floats


class _Test(NamedTuple):
    """The outcome of one measure's test.

    p:         one-sided
    rejected:  whether Holm's procedure takes the rise for real
    reachable: whether so many rounds could show one
    """

    p: float
    rejected: bool
    reachable: bool


def least_rounds(comparisons: int, *, confidence: float) -> int:
    """Return the rounds, or blocks, that can separate a rise from noise.

    In so many comparisons.
    """
    if not confidence:
        return 1
    level = _smallest_level(comparisons, confidence)
    units = 1
    while not _can_reach(units, level):
        units += 1
    return units


def _smallest_level(comparisons: int, confidence: float) -> float:
    """Return the smallest p that Holm may require."""
    return (1 - confidence) / comparisons


def _can_reach(units: int, level: float) -> bool:
    """Return whether so many units per release allow a p of a tenth of the level."""
    divisions = math.comb(2 * units, units)
    return divisions * level >= _FINER


# --- validation ---


def _validated_sides(
    before: Mapping[str, PairRounds],
    after: Mapping[str, PairRounds],
    comparison: Comparison,
) -> _Sides:
    if not 0 <= comparison.tolerance < math.inf:
        raise SettingsError(
            f"the tolerance of {comparison.measure} must be 0 or more, not "
            f"{comparison.tolerance!r}",
        )
    pair = comparison.pair
    measure = comparison.measure
    for release_name, release in (("earlier", before), ("later", after)):
        _validate_name(
            what="pair",
            name=pair,
            candidates=release,
            release_name=release_name,
        )
        measures = release[pair].per_round
        _validate_name(
            what="measure",
            name=measure,
            candidates=measures,
            release_name=release_name,
        )
    old = before[pair]
    new = after[pair]
    old_rounds = len(old.per_round[measure])
    new_rounds = len(new.per_round[measure])
    if (old.words, old_rounds) != (new.words, new_rounds):
        raise SettingsError(
            f"{pair!r} has {old.words:,} words and {old_rounds:,} rounds in the "
            f"earlier release, but {new.words:,} words and {new_rounds:,} rounds in "
            "the later",
            hint="measure both releases with the same suite",
        )
    return _Sides(old, new)


def _validate_name(
    what: str,
    name: str,
    candidates: Iterable[str],
    release_name: str,
) -> None:
    names = sorted(candidates)
    if name not in names:
        raise SettingsError(
            f"the {release_name} release has no {what} {name!r}",
            hint=f"it has: {', '.join(names)}" if names else f"it has no {what}",
        )


def _validate_unique(compared: Sequence[Comparison]) -> None:
    seen: set[tuple[str, str]] = set()
    for comparison in compared:
        key = (comparison.pair, comparison.measure)
        if key in seen:
            raise SettingsError(
                f"{comparison.measure} of {comparison.pair!r} is compared twice",
            )
        seen.add(key)


# --- the tests ---


def _permutable_units(
    before: PairRounds,
    after: PairRounds,
    measure: str,
) -> _Units:
    old = np.asarray(before.per_round[measure], dtype=np.float64)
    new = np.asarray(after.per_round[measure], dtype=np.float64)
    if before.alike and after.alike:
        return _Units(old, new)
    block_of = blocks_of(len(old))
    rounds_of_block = np.bincount(block_of)
    old_sums = np.bincount(block_of, old)
    new_sums = np.bincount(block_of, new)
    return _Units(
        old=old_sums / rounds_of_block,
        new=new_sums / rounds_of_block,
    )


def _p_values(
    units: Sequence[_Units],
    permutations: int,
    seed: int,
) -> list[float]:
    """Return the one-sided p of each comparison.

    Those with as many units are permuted together.
    """
    numbers_by_size: dict[int, list[int]] = {}
    for number, of_measure in enumerate(units):
        size = len(of_measure.old)
        numbers_by_size.setdefault(size, []).append(number)
    p_values = [1.0] * len(units)
    for size, numbers in numbers_by_size.items():
        rows = [np.concatenate(units[number]) for number in numbers]
        columns = np.array(rows).T
        p_of_columns = _shares_as_high(columns, size, permutations, seed)
        for number, p in zip(numbers, p_of_columns.tolist(), strict=True):
            p_values[number] = p
    return p_values


def _shares_as_high(
    values: Floats,
    size: int,
    permutations: int,
    seed: int,
) -> Floats:
    """Return the share of permutations in which the later release's sum is as high.

    values: shape (2 * size, columns), the later release's units last. The observed sum
    is one of the permutations. Returns shape (columns,).
    """
    observed = values[size:].sum(axis=0)
    rounding = 1e-9 * (1 + np.abs(observed))
    as_high = observed - rounding  # ties must count
    rng = np.random.default_rng(seed)
    hits = np.ones(values.shape[1])
    for begin in range(0, permutations, _TOGETHER):
        rows = min(_TOGETHER, permutations - begin)
        order = random_orders(rng, rows=rows, n=2 * size)
        is_later = order < size
        sums = is_later.astype(np.float64) @ values
        is_hit = sums >= as_high
        hits += is_hit.sum(axis=0)
    return np.asarray(hits / (permutations + 1))


def _rejected_by_holm(
    p: Sequence[float],
    level: float,
    untested: int,
) -> list[bool]:
    """Return which hypotheses Holm's procedure rejects at this `level`.

    p: of each; untested: number of hypotheses that aren't tested, but count
    """
    rejected = [False] * len(p)
    ascending = sorted(range(len(p)), key=p.__getitem__)
    for done, at in enumerate(ascending):
        if p[at] > level / (len(p) + untested - done):
            break
        rejected[at] = True
    return rejected


def _change_with_verdict(
    comparison: Comparison,
    sides: _Sides,
    test: _Test,
    confidence: float,
) -> Change:
    old, new = sides
    before = old.values[comparison.measure]
    after = new.values[comparison.measure]
    verdict = Verdict.PASS if test.reachable else Verdict.INCONCLUSIVE
    if test.rejected and after - before > comparison.tolerance:
        verdict = Verdict.FAIL
    low = None
    high = None
    resolved = None
    if comparison.measure == BMC.name:
        spread = _spread_of_rise(old, new)
        low, high = difference_bounds(
            after - before,
            spread,
            typical_less=old.spread.typical,
            confidence=confidence,
        )
        if spread.variance:
            resolved = _RESOLVED * math.sqrt(spread.variance)
    return Change(
        pair=comparison.pair,
        measure=comparison.measure,
        before=before,
        after=after,
        tolerance=comparison.tolerance,
        rounds=len(new.per_round[comparison.measure]),
        p=test.p,
        verdict=verdict,
        low=low,
        high=high,
        resolved=resolved,
        approximate=not (old.alike and new.alike),
    )


def _spread_of_rise(old: PairRounds, new: PairRounds) -> Spread:
    old_variance = old.spread.variance
    new_variance = new.spread.variance
    variance = None
    if old_variance is not None and new_variance is not None:
        variance = old_variance + new_variance
    units = min(old.spread.units, new.spread.units)
    return Spread(variance, units, new.spread.typical)
