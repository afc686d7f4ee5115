"""How far BMC is known from n rounds of sampling (METRICS section 6).

Sources: rarefaction and extrapolation of incidence data, Colwell et al. 2012 (equations 17 and
18), Chao et al. 2014.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Scoring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from pytest_memleak.scoring.rounds import RoundCounts

__all__ = [
    "Bounds",
    "SamplingError",
    "Settling",
    "bmc_bounds",
    "difference_bounds",
    "expected_maximum",
    "extrapolation",
    "jackknife_variance",
    "rarefaction",
    "samples_to_settle",
    "sampling_error",
    "typical_span",
]


# --- fewer and more rounds -----------------------------------------------------------------


def rarefaction(counts: RoundCounts) -> NDArray[np.float64]:
    """The mean BMC of m of the n rounds, over all choices of m, for m = 1..n; exact."""
    often = np.bincount(counts.times, minlength=counts.rounds + 1)
    covered_in = np.flatnonzero(often[1:]) + 1
    weights = often[covered_in] / counts.words
    curve = [
        float(weights @ (1 - missed))
        for missed in _all_within(counts.rounds - covered_in, counts.rounds)
    ]
    return np.array(curve)


def expected_maximum(values: ArrayLike) -> NDArray[np.float64]:
    """The mean maximum over m of the n `values`, over all choices of m, for m = 1..n; exact.

    values: one per round, as the longest span of each; shape (n,).
    """
    ascending = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ascending)
    steps = np.diff(ascending)
    at_most = np.arange(1, n)  # how many of the values lie below each step
    means = [float(ascending[-1] - steps @ below) for below in _all_within(at_most, n)]
    return np.array(means)


def _all_within(sizes: NDArray[np.intp], n: int) -> Iterator[NDArray[np.float64]]:
    """For m = 1..n, how likely m of n all fall into a set of each of `sizes`: C(s,m)/C(n,m)."""
    likely = np.ones(len(sizes))
    for drawn in range(n):
        likely = likely * (np.maximum(sizes - drawn, 0) / (n - drawn))
        yield likely


def extrapolation(counts: RoundCounts) -> NDArray[np.float64]:
    """A guess at the BMC of n + t rounds, for t = 1..n (Chao2, no more than 1)."""
    unseen, kept = _unseen(counts)
    left = kept ** np.arange(1, counts.rounds + 1)
    curve: NDArray[np.float64] = np.minimum(counts.bmc + unseen * (1 - left), 1.0)
    return curve


def _unseen(counts: RoundCounts) -> tuple[float, float]:
    """The share of words that only more rounds would cover, and what a round leaves of it."""
    n, words = counts.rounds, counts.words
    once = int(np.count_nonzero(counts.times == 1))
    twice = int(np.count_nonzero(counts.times == 2))  # noqa: PLR2004 - Q2
    estimate = once * once / (2 * twice) if twice else once * (once - 1) / 2
    unseen = min((n - 1) / n * estimate, words - int(np.count_nonzero(counts.times)))
    if unseen <= 0:
        return 0.0, 1.0
    return unseen / words, 1 - once / (n * unseen + once)


# --- the interval --------------------------------------------------------------------------


class Bounds(NamedTuple):
    """The ends of an interval, as shares of the book."""

    low: float
    high: float


Shape = Literal["skewed", "normal"]


def bmc_bounds(
    counts: RoundCounts, *, scoring: Scoring, confidence: float, shape: Shape = "skewed"
) -> Bounds:
    """Where BMC lies when the same n rounds are drawn again: a two-sided interval in [0, 1].

    Both shapes take the delete-one jackknife's variance over rounds and add two more spans of
    typical length seen by chance. `normal` is METRICS's own: as wide above as below, typical is
    a run of covered words, and k words where nothing is covered. `skewed` goes by the spans of
    single rounds, since a book that is covered whole is one run, and no chance brings two more
    of these. Its upper end is Wilson's for a Poisson count of spans, since a few that were seen
    say less about how many there can be than about how few; where nothing is covered, T words
    are typical. It keeps its promise where under ten spans are recalled, which `normal` does
    not, at some 10 % more width.

    One round has no variance: its bounds are 0 and 1. With confidence 0 both are the BMC.
    Raises SettingsError for a confidence outside [0, 1).
    """
    z = _z(confidence)
    if shape == "normal":
        typical = _typical(_covered_runs(counts), scoring.k) / counts.words
    else:
        typical = typical_span(counts, where_none=max(scoring.k, scoring.span_threshold))
    variance = jackknife_variance(counts.alone / counts.words)
    return _bounds(counts.bmc, variance, typical, z, shape)


def difference_bounds(
    difference: float, variance: float | None, more: float, less: float, *, confidence: float
) -> Bounds:
    """The skewed interval of one BMC minus another, clipped to [-1, 1].

    variance: of the difference; more, less: the typical span (`typical_span`) of the coverage
    that is counted and of the one that is taken away.
    """
    z = _z(confidence)
    if z == 0:
        return Bounds(difference, difference)
    if variance is None:
        return Bounds(-1.0, 1.0)
    width = z * math.sqrt(variance + z * z / 4 * (more * more + less * less))
    low, high = z * z / 2 * less + width, z * z / 2 * more + width
    return Bounds(max(difference - low, -1.0), min(difference + high, 1.0))


def typical_span(counts: RoundCounts, *, where_none: int) -> float:
    """The root mean square length of the spans of single rounds, as a share of the book.

    where_none: the length that stands for it where nothing is covered, in words.
    """
    return _typical(counts.spans, where_none) / counts.words


def _covered_runs(counts: RoundCounts) -> NDArray[np.intp]:
    """Lengths of the runs of words that any round covers."""
    edges = np.diff(np.concatenate(([0], (counts.times > 0).astype(np.int8), [0])))
    return np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)


def _typical(lengths: NDArray[np.intp], where_none: int) -> float:
    return math.sqrt(float(np.mean(lengths**2))) if len(lengths) else where_none


def jackknife_variance(lost: NDArray[np.float64]) -> float | None:
    """The delete-one jackknife's variance of what is `lost[r]` less without round r.

    None for a single round. lost: shape (n,).
    """
    n = len(lost)
    return float((n - 1) * np.var(lost)) if n > 1 else None


def _bounds(bmc: float, variance: float | None, typical: float, z: float, shape: Shape) -> Bounds:
    if z == 0:
        return Bounds(bmc, bmc)
    if variance is None:
        return Bounds(0.0, 1.0)
    low = high = z * math.sqrt(variance + 2 * typical**2)
    if shape == "skewed":
        wilson = z * z / 2 * typical + z * math.sqrt(variance + z * z / 4 * typical**2)
        high = max(low, wilson)  # below a confidence of 0.85 two spans can be more
    return Bounds(max(bmc - low, 0.0), min(bmc + high, 1.0))


def _z(confidence: float) -> float:
    """How many standard deviations hold `confidence` of a normal distribution."""
    if not 0 <= confidence < 1:
        raise SettingsError(f"confidence must be at least 0 and less than 1, not {confidence!r}")
    return NormalDist().inv_cdf((1 + confidence) / 2)


# --- all of it -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SamplingError:
    """What n rounds say of BMC, and what fewer and more would.

    bmc:        of all n rounds
    low, high:  its interval, at `confidence`
    curve:      mean BMC of m rounds, m = 1..n; exact
    guess:      BMC of n + t rounds, t = 1..n; an extrapolation
    variance:   of BMC, by the jackknife over rounds; None for one round
    typical:    typical length of a span of one round, a share of the book
    discovery:  per t = 1..n, the rate at which a round is expected to find new words after
                n + t rounds, as a multiple of the rate after n
    """

    bmc: float
    rounds: int
    confidence: float
    low: float
    high: float
    curve: tuple[float, ...] = field(repr=False)
    guess: tuple[float, ...] = field(repr=False)
    variance: float | None = field(repr=False)
    typical: float = field(repr=False)
    discovery: tuple[float, ...] = field(repr=False)


def sampling_error(
    counts: RoundCounts, *, scoring: Scoring | None = None, confidence: float = 0.95
) -> SamplingError:
    """Interval (of the `skewed` shape), rarefaction and extrapolation of the BMC of `counts`.

    scoring: k and T stand in for the length of a span where nothing is covered.
    Raises SettingsError for a confidence outside [0, 1).
    """
    scoring = scoring or Scoring()
    low, high = bmc_bounds(counts, scoring=scoring, confidence=confidence)
    _, kept = _unseen(counts)
    return SamplingError(
        bmc=counts.bmc,
        rounds=counts.rounds,
        confidence=confidence,
        low=low,
        high=high,
        curve=tuple(rarefaction(counts).tolist()),
        guess=tuple(extrapolation(counts).tolist()),
        variance=jackknife_variance(counts.alone / counts.words),
        typical=typical_span(counts, where_none=max(scoring.k, scoring.span_threshold)),
        discovery=tuple((kept ** np.arange(1, counts.rounds + 1)).tolist()),
    )


class Settling(NamedTuple):
    """About how many more rounds would settle a limit, and which way.

    samples: more generations per excerpt; 0 if it is settled now
    over:    whether the limit is then expected to be broken
    """

    samples: int
    over: bool


def samples_to_settle(error: SamplingError, limit: float) -> Settling | None:
    """How many more rounds are expected to settle whether BMC keeps the `limit`.

    BMC is taken along `guess`, and to be over the limit only when its gain would have to fall
    short by a standard deviation (of spans of typical length that come by chance) to stay
    under. The jackknife's variance, which rests on the words that one round alone covers,
    shrinks as their number is expected to. None where up to n more rounds are not expected to
    settle it: further the curve does not tell.
    """
    if error.bmc > limit or error.high <= limit:
        return Settling(0, over=error.bmc > limit)
    z = _z(error.confidence)
    for t, (bmc, discovery) in enumerate(zip(error.guess, error.discovery, strict=True), start=1):
        gain = bmc - error.bmc
        if bmc - math.sqrt(gain * error.typical) > limit:
            return Settling(t, over=True)
        if error.variance is not None:
            variance = error.variance * discovery * (error.rounds + t) / error.rounds
            if _bounds(bmc, variance, error.typical, z, "skewed").high <= limit:
                return Settling(t, over=False)
    return None
