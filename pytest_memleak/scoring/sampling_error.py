"""Sampling error: the uncertainty of BMC and of the maxima over n rounds (docs/method.md).

Sources: rarefaction and extrapolation of incidence data, Colwell et al. 2012 (equations
17 and 18), Chao et al. 2014. Longest block, span and passage rest on the one luckiest
generation, so their ranges come from random halves of the rounds instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.records import Scoring
from pytest_memleak.scoring.confidence_bounds import (
    ShareInterval,
    detection_limit,
    normal_quantile,
    student_quantile,
)
from pytest_memleak.scoring.rounds import (
    block_variance,
    blocks_of,
    exchangeability,
    jackknife_variance,
    random_orders,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.rounds import Exchangeability, RoundCounts, Rounds

# Length, in words, of a typical span if none was seen.
_NO_SPAN = 20

# Confidence of the detection limit at confidence 0, where the limit would be 0.
_CONFIDENCE = 0.95


def rarefaction(counts: RoundCounts) -> NDArray[np.float64]:
    """Return the mean BMC of m of the n rounds, over all choices of m, for m = 1..n; exact."""
    often = np.bincount(counts.times, minlength=counts.rounds + 1)
    covered_in = np.flatnonzero(often[1:]) + 1
    weights = often[covered_in] / counts.words
    curve = np.empty(counts.rounds)
    missed = np.ones(
        len(covered_in)
    )  # C(s,m)/C(n,m): that none of m rounds covers them
    for m in range(counts.rounds):
        left = np.maximum(counts.rounds - covered_in - m, 0)
        missed = missed * (left / (counts.rounds - m))
        curve[m] = weights @ (1 - missed)
    return curve


def extrapolation(counts: RoundCounts) -> NDArray[np.float64]:
    """Estimate the BMC of n + t rounds, for t = 1..n (Chao2, no more than 1)."""
    unseen, kept = _unseen(counts)
    left = kept ** np.arange(1, counts.rounds + 1)
    curve: NDArray[np.float64] = np.minimum(counts.bmc + unseen * (1 - left), 1.0)
    return curve


def _unseen(counts: RoundCounts) -> tuple[float, float]:
    """Return the share of words that only more rounds would cover, and what each round leaves."""
    n, words = counts.rounds, counts.words
    once = int(np.count_nonzero(counts.times == 1))
    twice = int(np.count_nonzero(counts.times == 2))  # noqa: PLR2004 - Q2
    estimate = once * once / (2 * twice) if twice else once * (once - 1) / 2
    unseen = min((n - 1) / n * estimate, words - int(np.count_nonzero(counts.times)))
    if unseen <= 0:
        return 0.0, 1.0
    return unseen / words, 1 - once / (n * unseen + once)


class Spread(NamedTuple):
    """The components of an interval of BMC.

    variance: of BMC, over `units` rounds, or blocks of them if rounds aren't
    exchangeable; None
              for a single round
    units:    Student's t has one degree of freedom less
    typical:  length of a typical span, a share of the book
    """

    variance: float | None
    units: int
    typical: float


def spread(
    counts: RoundCounts,
    *,
    baseline: RoundCounts | None = None,
    scoring: Scoring,
    alike: bool = True,
    seed: int = 0,
) -> Spread:
    """Compute the spread of BMC: the jackknife over rounds, if they are `alike`.

    Otherwise the largest of it, the jackknife over blocks of rounds, and twice the
    bootstrap variance over these. With a `baseline`: of the difference, round by round.
    """
    typical = typical_span(counts, scoring=scoring)
    lost = counts.alone - baseline.alone if baseline else counts.alone
    variance = jackknife_variance(lost / counts.words)
    if alike or variance is None:
        return Spread(variance, counts.rounds, typical)
    blocks = int(blocks_of(counts.rounds)[-1]) + 1
    over_blocks = block_variance(counts, baseline=baseline, seed=seed)
    return Spread(max(variance, over_blocks), blocks, typical)


def bmc_bounds(bmc: float, spread: Spread, *, confidence: float) -> ShareInterval:
    """Return the two-sided interval, in [0, 1], of the expected BMC of n rounds.

    It covers the mean over such samples, not the value of another sample. To the spread
    of rounds it adds that of spans that appear by chance: of two more or fewer; above,
    as wide as Wilson's for a Poisson count of spans, since a few that were seen say
    less about how many there can be than about how few.

    One round has no variance: its bounds are 0 and 1. With confidence 0 both are the
    BMC. Raises SettingsError for a confidence outside [0, 1).
    """
    z = normal_quantile(confidence)
    if z == 0:
        return ShareInterval(bmc, bmc)
    if spread.variance is None:
        return ShareInterval(0.0, 1.0)
    of_rounds = student_quantile(confidence, spread.units - 1) ** 2 * spread.variance
    low = math.sqrt(of_rounds + 2 * (z * spread.typical) ** 2)
    wilson = z * z / 2 * spread.typical
    wilson += math.sqrt(of_rounds + (z * z / 2 * spread.typical) ** 2)
    high = max(low, wilson)  # below a confidence of 0.85 `low` can be greater
    return ShareInterval(max(bmc - low, 0.0), min(bmc + high, 1.0))


def least_upper_end(words: int, *, scoring: Scoring, confidence: float) -> float:
    """Return the upper end of BMC's interval with nothing covered, of a book of `words`.

    The same for any number of rounds from two on. Raises SettingsError as `bmc_bounds`
    does.
    """
    typical = max(scoring.k, _NO_SPAN) / words
    return bmc_bounds(0.0, Spread(0.0, 2, typical), confidence=confidence).high


def difference_bounds(
    difference: float, spread: Spread, *, typical_less: float, confidence: float
) -> ShareInterval:
    """Return the interval of one BMC minus another, computed as `bmc_bounds` is, in [-1, 1].

    spread: of the difference, with the typical span of the minuend's coverage;
    typical_less: the typical span of the subtrahend's coverage.
    """
    z = normal_quantile(confidence)
    if z == 0:
        return ShareInterval(difference, difference)
    if spread.variance is None:
        return ShareInterval(-1.0, 1.0)
    of_rounds = student_quantile(confidence, spread.units - 1) ** 2 * spread.variance
    more, less = z * z / 2 * spread.typical, z * z / 2 * typical_less
    width = math.sqrt(of_rounds + more * more + less * less)
    return ShareInterval(
        max(difference - less - width, -1.0), min(difference + more + width, 1.0)
    )


def typical_span(counts: RoundCounts, *, scoring: Scoring) -> float:
    """Return the root mean square of rounds' spans, or max(k, 20) words, as a share of the book."""
    if not len(counts.spans):
        return max(scoring.k, _NO_SPAN) / counts.words
    return math.sqrt(float(np.mean(counts.spans**2))) / counts.words


@dataclass(frozen=True, slots=True)
class SamplingError:
    """The uncertainty of the BMC of n rounds, and its course over fewer and more.

    bmc:        of all n rounds
    low, high:  the interval of the expected BMC of n rounds, at `confidence`
    likeness:   the exchangeability of the rounds
    blocks:     if they aren't exchangeable, the number of blocks that replace them;
    else None
    detection:  the detection limit per prompt, at `confidence`; at 0.95 if that is 0
    curve:      mean BMC of m rounds, m = 1..n; exact
    guess:      BMC of n + t rounds, t = 1..n; an extrapolation
    variance:   of BMC, over rounds or over blocks; None for one round
    typical:    typical length of a span of one round, a share of the book
    discovery:  per t = 1..n, the expected rate of new words per round after n + t
    rounds, as a
                multiple of the rate after n
    """

    bmc: float
    rounds: int
    confidence: float
    low: float
    high: float
    likeness: Exchangeability
    blocks: int | None
    detection: float
    curve: tuple[float, ...] = field(repr=False)
    guess: tuple[float, ...] = field(repr=False)
    variance: float | None = field(repr=False)
    typical: float = field(repr=False)
    discovery: tuple[float, ...] = field(repr=False)

    def with_answers(self, answers: int) -> SamplingError:
        """Recompute the detection limit for the answers of the excerpt that has fewest."""
        seen = min(self.blocks or answers, answers)
        return replace(
            self,
            detection=detection_limit(seen, confidence=self.confidence or _CONFIDENCE),
        )


def sampling_error(
    counts: RoundCounts,
    *,
    scoring: Scoring | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> SamplingError:
    """Compute interval, detection limit, rarefaction and extrapolation of the BMC of `counts`.

    scoring: its k replaces the length of a span if nothing is covered. seed: of
    permutations and bootstrap. Raises SettingsError for a confidence outside [0, 1).
    Cost: 60 ms for 100 rounds of a book of 100,000 words.
    """
    likeness = exchangeability(counts.by_excerpt, seed=seed)
    of = spread(counts, scoring=scoring or Scoring(), alike=likeness.alike, seed=seed)
    low, high = bmc_bounds(counts.bmc, of, confidence=confidence)
    blocks = None if likeness.alike else of.units
    _, kept = _unseen(counts)
    return SamplingError(
        bmc=counts.bmc,
        rounds=counts.rounds,
        confidence=confidence,
        low=low,
        high=high,
        likeness=likeness,
        blocks=blocks,
        detection=detection_limit(
            blocks or counts.rounds, confidence=confidence or _CONFIDENCE
        ),
        curve=tuple(rarefaction(counts).tolist()),
        guess=tuple(extrapolation(counts).tolist()),
        variance=of.variance,
        typical=of.typical,
        discovery=tuple((kept ** np.arange(1, counts.rounds + 1)).tolist()),
    )


class Settling(NamedTuple):
    """The estimated number of further rounds that settle a limit, and the outcome.

    samples: more generations per excerpt; 0 if it is settled now
    over:    whether BMC is then expected to exceed the limit
    """

    samples: int
    over: bool


def samples_to_settle(error: SamplingError, limit: float) -> Settling | None:
    """Estimate how many more rounds settle whether BMC keeps the `limit`.

    BMC is taken along `guess`, and exceeds the limit only when its gain would have to
    fall short by a standard deviation (of spans of typical length that come by chance)
    to stay under. The variance, which rests on the words that one round alone covers,
    shrinks as their number is expected to. None if up to n more rounds are not expected
    to settle it: the curve ends there.
    """
    if error.bmc > limit or error.high <= limit:
        return Settling(0, over=error.bmc > limit)
    for t, (bmc, discovery) in enumerate(
        zip(error.guess, error.discovery, strict=True), start=1
    ):
        gain = bmc - error.bmc
        if bmc - math.sqrt(gain * error.typical) > limit:
            return Settling(t, over=True)
        if error.variance is not None:
            variance = error.variance * discovery * (error.rounds + t) / error.rounds
            then = Spread(variance, error.blocks or error.rounds + t, error.typical)
            if bmc_bounds(bmc, then, confidence=error.confidence).high <= limit:
                return Settling(t, over=False)
    return None


_HALVES = 200
_BITS, _BIT = 64, np.uint64(1)
_LOW = 0.025


class Range(NamedTuple):
    """The likely range of a measure in another sample of n rounds, in words."""

    low: int
    high: int


def maximum_range(
    values: ArrayLike, *, typical: float, most: int, seed: int = 0
) -> Range:
    """Return the range of a measure that is the largest of the n `values`, one per round.

    typical: length of a typical span, in words (`SamplingError.typical` times N); most:
    an upper bound of the measure.
    """
    per_round = np.asarray(values)
    halves = _halves(len(per_round), seed)
    of_halves = np.where(halves, per_round, 0).max(axis=1, initial=0)
    return _range(of_halves, int(per_round.max(initial=0)), typical, most)


def block_range(
    rounds: Rounds,
    *,
    n: int,
    borders: Positions,
    typical: float,
    words: int,
    seed: int = 0,
) -> Range:
    """Return the range of the longest block that n rounds cover together.

    borders: positions that no block crosses, ascending; typical: as in `maximum_range`;
    words: N. Cost: 80 ms where 100 rounds cover 20,000 runs.
    """
    halves = np.concatenate((np.ones((1, n), dtype=np.bool_), _halves(n, seed)))
    observed, *of_halves = _longest_blocks(rounds, halves, borders, words)
    return _range(np.array(of_halves), observed, typical, words)


def _halves(n: int, seed: int) -> NDArray[np.bool_]:
    """Return random halves of n rounds, n / 2 of them, rounded down; shape (200, n)."""
    return random_orders(np.random.default_rng(seed), rows=_HALVES, n=n) < n // 2


def _range(
    of_halves: NDArray[np.integer], observed: int, typical: float, most: int
) -> Range:
    low = math.floor(np.quantile(of_halves, _LOW))
    return Range(low, min(observed + max(observed - low, math.ceil(2 * typical)), most))


def _longest_blocks(
    rounds: Rounds, chosen: NDArray[np.bool_], borders: Positions, words: int
) -> list[int]:
    """Return the longest block of each of the sets of rounds, `chosen` of shape (sets, n)."""
    is_mark = np.zeros(words + 1, dtype=np.bool_)
    is_mark[rounds.start] = is_mark[rounds.end] = is_mark[borders] = True
    # Between each border and itself is a stretch of no words, which no set covers.
    marks = np.sort(np.concatenate((np.flatnonzero(is_mark), borders)))
    at_border = np.diff(marks, append=words + 1) == 0
    parts = []
    for begin in range(0, chosen.shape[1], _BITS):
        some = slice(*rounds.round.searchsorted([begin, begin + _BITS]))
        bits = _BIT << (rounds.round[some] - begin).astype(np.uint64)
        # No round covers a word twice, so the sum of bits is the set of the rounds that
        # cover it.
        steps = np.zeros(words + 1, dtype=np.uint64)
        np.add.at(steps, rounds.start[some], bits)
        np.subtract.at(steps, rounds.end[some], bits)
        covering = np.cumsum(steps, out=steps)[marks]
        covering[at_border] = 0
        in_sets = chosen[:, begin : begin + _BITS]
        sets = in_sets @ (_BIT << np.arange(in_sets.shape[1], dtype=np.uint64))
        parts.append((covering, sets))
    longest = []
    for number in range(len(chosen)):
        covered = np.zeros(len(marks) + 1, dtype=np.bool_)
        for covering, sets in parts:
            covered[1:] |= (covering & sets[number]) > 0
        edges = np.flatnonzero(covered[1:] != covered[:-1])
        longest.append(int((marks[edges[1::2]] - marks[edges[::2]]).max(initial=0)))
    return longest
