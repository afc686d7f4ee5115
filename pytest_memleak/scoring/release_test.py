"""Release tests: is a rise from one release to the next real or noise? (docs/method.md).

Each measure compared for a pair is tested by permuting whole rounds between the
releases; Holm's procedure limits the chance that noise passes for any rise to 1 -
confidence over all.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Verdict
from pytest_memleak.records.verdicts import Change
from pytest_memleak.scoring.confidence_bounds import normal_quantile
from pytest_memleak.scoring.measure_table import BMC
from pytest_memleak.scoring.rounds import blocks_of, random_orders
from pytest_memleak.scoring.sampling_error import Spread, difference_bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

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
    per_round: per measure, that of each of the n rounds: for `bmc` its covered words;
    shape (n,)
    spread:    of BMC (`SamplingError`'s variance, rounds or blocks, and typical span)
    alike:     whether the rounds are exchangeable
    """

    words: int
    values: Mapping[str, float]
    per_round: Mapping[str, NDArray[np.int64]] = field(repr=False)
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
    further: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Change, ...]:
    """Test the change of every comparison, in order; pairs by their names.

    further: number of named comparisons that cannot be made. Holm's procedure covers
    all; it assumes that these did not rise. With a confidence of 0 every rise is real.

    Raises SettingsError for a pair or measure that either release lacks, for a
    duplicate, for books or numbers of rounds that differ, a tolerance that is negative
    or no number,
    and a confidence outside [0, 1). Cost: 30 ms for 60 comparisons of 100 rounds.
    """
    normal_quantile(confidence)
    sides = [_sides(before, after, comparison) for comparison in compared]
    _validate_unique(compared)
    if not compared:
        return ()
    level = _smallest_level(len(compared) + further, confidence)
    permutations = max(_LEAST_PERMUTATIONS, math.ceil(_FINER / level) - 1)
    units = [
        _units(*releases, comparison.measure)
        for releases, comparison in zip(sides, compared, strict=True)
    ]
    p = _p_values(units, permutations, seed)
    rejected = _holm(p, 1 - confidence, further) if confidence else [True] * len(p)
    return tuple(
        _change(
            comparison,
            *releases,
            p=p_value,
            rejected=is_rejected,
            reachable=not confidence or _can_reach(len(permuted[0]), level),
            confidence=confidence,
        )
        for comparison, releases, permuted, p_value, is_rejected in zip(
            compared, sides, units, p, rejected, strict=True
        )
    )


def least_rounds(comparisons: int, *, confidence: float) -> int:
    """Return the rounds, or blocks, needed to separate a rise from noise in so many comparisons."""
    if not confidence:
        return 1
    level = _smallest_level(comparisons, confidence)
    return next(units for units in itertools.count(1) if _can_reach(units, level))


def _smallest_level(comparisons: int, confidence: float) -> float:
    """Return the smallest p that Holm may require."""
    return (1 - confidence) / comparisons


def _can_reach(units: int, level: float) -> bool:
    """Return whether the smallest p of so many units per release is a tenth of the level."""
    return math.comb(2 * units, units) * level >= _FINER


# --- validation
# ----------------------------------------------------------------------------


def _sides(
    before: Mapping[str, PairRounds],
    after: Mapping[str, PairRounds],
    comparison: Comparison,
) -> tuple[PairRounds, PairRounds]:
    if not 0 <= comparison.tolerance < math.inf:
        raise SettingsError(
            f"the tolerance of {comparison.measure} must be 0 or more, not "
            f"{comparison.tolerance!r}"
        )
    for release_name, release in (("earlier", before), ("later", after)):
        _validate_name("pair", comparison.pair, release, release_name)
        _validate_name(
            "measure",
            comparison.measure,
            release[comparison.pair].per_round,
            release_name,
        )
    old, new = before[comparison.pair], after[comparison.pair]
    sizes = [
        (side.words, len(side.per_round[comparison.measure])) for side in (old, new)
    ]
    if sizes[0] != sizes[1]:
        raise SettingsError(
            f"{comparison.pair!r} has {sizes[0][0]:,} words and {sizes[0][1]:,} rounds "
            "in the "
            f"earlier release, but {sizes[1][0]:,} words and {sizes[1][1]:,} rounds "
            "in the later",
            hint="measure both releases with the same suite",
        )
    return old, new


def _validate_name(
    what: str, name: str, candidates: Iterable[str], release_name: str
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
        if (comparison.pair, comparison.measure) in seen:
            raise SettingsError(
                f"{comparison.measure} of {comparison.pair!r} is compared twice"
            )
        seen.add((comparison.pair, comparison.measure))


# --- the tests
# -----------------------------------------------------------------------------


def _units(
    before: PairRounds, after: PairRounds, measure: str
) -> tuple[Numbers, Numbers]:
    """Return the permuted units of either release: rounds, or means of blocks of rounds."""
    sides = before.per_round[measure], after.per_round[measure]
    old, new = (np.asarray(values, dtype=np.float64) for values in sides)
    if before.alike and after.alike:
        return old, new
    group = blocks_of(len(old))
    sizes = np.bincount(group)
    return np.bincount(group, old) / sizes, np.bincount(group, new) / sizes


def _p_values(
    units: Sequence[tuple[Numbers, Numbers]], permutations: int, seed: int
) -> list[float]:
    """Return the one-sided p of each; comparisons with as many units are permuted together."""
    p_values = [1.0] * len(units)
    for size in sorted({len(old) for old, _ in units}):
        columns = [at for at, (old, _) in enumerate(units) if len(old) == size]
        values = np.array([np.concatenate(units[at]) for at in columns]).T
        for at, p in zip(
            columns, _permuted(values, size, permutations, seed).tolist(), strict=True
        ):
            p_values[at] = p
    return p_values


def _permuted(values: Numbers, size: int, permutations: int, seed: int) -> Numbers:
    """Return the share of permutations in which `size` units of a column sum to its last ones' sum.

    values: shape (2 * size, columns), the later release's units last. The observed sum
    is one of the permutations.
    """
    observed = values[size:].sum(axis=0)
    as_high = observed - 1e-9 * (1 + np.abs(observed))  # ties must count
    rng = np.random.default_rng(seed)
    hits = np.ones(values.shape[1])
    for begin in range(0, permutations, _TOGETHER):
        rows = min(_TOGETHER, permutations - begin)
        later = random_orders(rng, rows=rows, n=2 * size) < size
        hits += (later.astype(np.float64) @ values >= as_high).sum(axis=0)
    return np.asarray(hits / (permutations + 1))


def _holm(p: Sequence[float], level: float, further: int) -> list[bool]:
    """Return which hypotheses Holm's procedure rejects at this `level`, over `further` ones too."""
    rejected = [False] * len(p)
    for done, at in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[at] > level / (len(p) + further - done):
            break
        rejected[at] = True
    return rejected


def _change(
    comparison: Comparison,
    old: PairRounds,
    new: PairRounds,
    *,
    p: float,
    rejected: bool,
    reachable: bool,
    confidence: float,
) -> Change:
    before, after = old.values[comparison.measure], new.values[comparison.measure]
    verdict = Verdict.PASS if reachable else Verdict.INCONCLUSIVE
    if rejected and after - before > comparison.tolerance:
        verdict = Verdict.FAIL
    low, high, resolved = None, None, None
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
        p=p,
        verdict=verdict,
        low=low,
        high=high,
        resolved=resolved,
        approximate=not (old.alike and new.alike),
    )


def _spread_of_rise(old: PairRounds, new: PairRounds) -> Spread:
    variances = [side.spread.variance for side in (old, new)]
    values = [variance for variance in variances if variance is not None]
    variance = sum(values) if len(values) == len(variances) else None
    return Spread(variance, min(old.spread.units, new.spread.units), new.spread.typical)
