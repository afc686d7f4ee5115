"""Rounds: the words each covers, whether they're exchangeable, passage rates (docs/method.md).

Round r is the r-th generation of every excerpt. BMC needs, per word of the book, the
number of rounds that cover it, and per round how many words it alone covers.

Sampling error needs exchangeable rounds: any of an excerpt's generations could belong
to any round. If recall varies in phases, or the endpoint changes during the run,
generations of a round rise and fall together; such rounds are taken in blocks, which
are more nearly independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records.measurement import PassageRate
from pytest_memleak.scoring.confidence_bounds import clopper_pearson
from pytest_memleak.scoring.intervals import Interval, coverage, cut, outermost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.scoring.intervals import Positions

    Words = NDArray[np.int64]

_BOOTSTRAPS = 200
_TOGETHER = 25


@dataclass(frozen=True, slots=True, eq=False)
class RoundCounts:
    """The coverage of a book's words by rounds, and by one round alone.

    words:  N, the number of words of the book
    rounds: n, the number of rounds
    times:  c_i, per word the number of rounds that cover it; shape (N,)
    alone:  per round, the number of words that no other round covers; shape (n,)
    spans:  lengths of the runs of words that rounds cover, cut at excerpts' borders;
    each once,
            and none that another contains
    runs:   the words that each round covers
    by_excerpt: per excerpt and round, how many words its generation covers; shape (E,
    n). Words
            that two generations of a round cover count for both
    """

    words: int
    rounds: int
    times: NDArray[np.intc] = field(repr=False)
    alone: NDArray[np.int64] = field(repr=False)
    spans: Positions = field(repr=False)
    runs: Rounds = field(repr=False)
    by_excerpt: NDArray[np.int64] = field(repr=False)

    @property
    def bmc(self) -> float:
        """Return the share of the words that some round covers."""
        return int(np.count_nonzero(self.times)) / self.words

    @property
    def covered(self) -> NDArray[np.int64]:
        """Return how many words each round covers; shape (n,)."""
        words = self.runs.end - self.runs.start
        return np.bincount(self.runs.round, words, self.rounds).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """The words [start, end) that each round covers, in runs that overlap in no round.

    round, start, end: shape (runs,) each, by round and start.
    """

    round: Positions
    start: Positions
    end: Positions

    @classmethod
    def of(cls, rounds: Mapping[int, Iterable[Interval]]) -> Rounds:
        """Build from the rounds' intervals, by ordinal; they may overlap."""
        rows = [(r, *interval) for r, covered in rounds.items() for interval in covered]
        number, start, end = np.array(rows, dtype=np.intp).reshape(-1, 3).T
        return cls.joined(number, start, end)

    @classmethod
    def joined(cls, number: Positions, start: Positions, end: Positions) -> Rounds:
        """Build from intervals in any order, which may overlap."""
        apart = int(end.max(initial=0)) + 1
        start, end = number * apart + start, number * apart + end
        order = np.argsort(start, kind="stable")  # mostly sorted already
        start, reached = start[order], np.maximum.accumulate(end[order])
        first = np.ones(len(start), dtype=np.bool_)
        first[1:] = start[1:] > reached[:-1]
        last = np.append(first[1:], first[:1])  # the last of all, if there are any
        number = number[order][first]
        return cls(
            number, start[first] - number * apart, reached[last] - number * apart
        )

    @classmethod
    def together(cls, parts: Sequence[Rounds]) -> Rounds:
        """Concatenate different rounds, in order."""
        empty = np.empty(0, dtype=np.intp)
        return cls(
            np.concatenate([empty, *(part.round for part in parts)]),
            np.concatenate([empty, *(part.start for part in parts)]),
            np.concatenate([empty, *(part.end for part in parts)]),
        )

    def times(self, *, words: int) -> NDArray[np.intc]:
        """Return, per word of a book of `words`, the number of rounds that cover it."""
        return coverage(self.start, self.end, words=words)

    def counts(
        self,
        *,
        words: int,
        n: int,
        borders: Iterable[int] = (),
        by_excerpt: NDArray[np.int64] | None = None,
    ) -> RoundCounts:
        """Count rounds 0..n-1; a round without a run covers nothing.

        words: N; borders: positions of the excerpts' first words; by_excerpt: as in
        RoundCounts; without it, what each round covers, as in a book of one excerpt.
        """
        times = self.times(words=words)
        once = np.zeros(words + 1, dtype=np.intc)
        np.cumsum(times == 1, out=once[1:])
        alone = np.bincount(self.round, once[self.end] - once[self.start], minlength=n)
        if by_excerpt is None:
            by_excerpt = np.bincount(self.round, self.end - self.start, minlength=n)[
                None
            ]
        _, start, end = cut(
            self.start, self.end, np.array(list(borders), dtype=np.intp)
        )
        start, end = outermost(start, end)
        return RoundCounts(
            words=words,
            rounds=n,
            times=times,
            alone=alone.astype(np.int64),
            spans=end - start,
            runs=self,
            by_excerpt=by_excerpt.astype(np.int64),
        )

    def grouped(self, group: Positions) -> Rounds:
        """Merge the rounds of one `group`; group: of each round, ascending."""
        return Rounds.joined(group[self.round], self.start, self.end)

    def patterns(self, *, n: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Return the sets of the n rounds that cover words together, and their word counts.

        Whether a round is in a set: shape (sets, n); words that exactly its rounds
        cover: (sets,). Memory: n / 8 bytes per stretch of words between two ends of
        runs.
        """
        marks, place = np.unique(
            np.concatenate((self.start, self.end)), return_inverse=True
        )
        steps = np.zeros((n, max(len(marks), 1)), dtype=np.int8)
        first, last = np.split(place, 2)
        np.add.at(steps, (self.round, first), 1)
        np.add.at(steps, (self.round, last), -1)
        covered = np.packbits(steps.cumsum(axis=1, dtype=np.int8)[:, :-1] > 0, axis=0).T
        rounds, set_of = np.unique(covered, axis=0, return_inverse=True)
        words = np.zeros(len(rounds))
        np.add.at(words, set_of.reshape(-1), np.diff(marks))
        return np.unpackbits(rounds, axis=1, count=n).astype(np.bool_), words

    def halves(
        self, *, words: int, n: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return, per word, whether the first and the second half of the rounds cover it.

        The first half is the first n / 2 rounds, rounded down.
        """
        border = self.round.searchsorted(n // 2)
        first, second = (
            coverage(self.start[half], self.end[half], words=words) > 0
            for half in (slice(border), slice(border, None))
        )
        return first, second


def blocks_of(n: int) -> Positions:
    """Return the number of each round's block: blocks of about √n rounds, at least two."""
    blocks = max(n // round(math.sqrt(n)), min(n, 2))
    return np.arange(n) * blocks // n


def jackknife_variance(lost: NDArray[np.float64]) -> float | None:
    """Return the delete-one jackknife's variance of what is `lost[r]` less without round r."""
    n = len(lost)
    return float((n - 1) * np.var(lost)) if n > 1 else None


def block_variance(
    counts: RoundCounts, *, baseline: RoundCounts | None = None, seed: int = 0
) -> float:
    """Return the larger of the jackknife over blocks and twice the bootstrap over them.

    Of BMC; with a `baseline` of the same book and rounds, of the difference of the two,
    block by block. The bootstrap resamples the blocks 200 times.
    """
    group = blocks_of(counts.rounds)
    of_model = _BlockCover(counts, group)
    lost, resampled = of_model.lost(), of_model.resampled(seed)
    if baseline:
        of_baseline = _BlockCover(baseline, group)
        lost, resampled = (
            lost - of_baseline.lost(),
            resampled - of_baseline.resampled(seed),
        )
    return max(jackknife_variance(lost) or 0.0, 2 * float(np.var(resampled, ddof=1)))


class _BlockCover:
    """The share of a book that each set of blocks of rounds covers."""

    def __init__(self, counts: RoundCounts, group: Positions) -> None:
        self._blocks = int(group[-1]) + 1
        self._sets, words = counts.runs.grouped(group).patterns(n=self._blocks)
        self._share = words / counts.words

    def lost(self) -> NDArray[np.float64]:
        """Return, per block, what it alone covers."""
        alone = self._sets.sum(axis=1) == 1
        return np.asarray(self._share[alone] @ self._sets[alone])

    def resampled(self, seed: int) -> NDArray[np.float64]:
        """Return BMC of as many blocks, resampled with replacement, 200 times."""
        choices = np.random.default_rng(seed).integers(
            self._blocks, size=(_BOOTSTRAPS, self._blocks)
        )
        chosen = np.zeros((_BOOTSTRAPS, self._blocks), dtype=np.float32)
        np.put_along_axis(chosen, choices, 1, axis=1)
        sets = self._sets.astype(np.float32)
        covered = [
            self._share @ (sets @ chosen[at : at + _TOGETHER].T > 0)
            for at in range(0, _BOOTSTRAPS, _TOGETHER)
        ]
        return np.concatenate(covered)


def passage_rates(
    passages: Sequence[Interval], own: Rounds, *, n: int, alike: bool, confidence: float
) -> tuple[PassageRate, ...]:
    """Return the recall rate of each passage [start, end) of one excerpt, with an exact interval.

    own: the words that matches of each of the n rounds cover of their prompted
    excerpts, untrimmed. alike: if the rounds aren't, n is divided by the design effect
    over blocks, at least 1. Raises SettingsError for a confidence outside [0, 1).
    """
    if not passages:
        return ()
    places = np.array(passages, dtype=np.intp)
    whole = _contained_whole(places, own, n)
    hits = whole.sum(axis=1)
    effect = np.ones(len(places)) if alike else _design_effect(whole)
    rates = []
    for (start, end), count, by in zip(
        passages, hits.tolist(), effect.tolist(), strict=True
    ):
        interval = clopper_pearson(count / by, n / by, confidence=confidence)
        rates.append(PassageRate(start, end, count, n, *interval, not alike))
    return tuple(rates)


def _contained_whole(
    places: NDArray[np.intp], own: Rounds, n: int
) -> NDArray[np.bool_]:
    """Return whether a run of each round contains each place whole; shape (places, n)."""
    if not len(own.start):
        return np.zeros((len(places), n), dtype=np.bool_)
    apart = int(max(own.end.max(), places.max())) + 1
    begin = own.round * apart + own.start
    targets = np.arange(n) * apart + places[:, :1]
    at = begin.searchsorted(targets, side="right") - 1  # the last that begins no later
    last = own.round[at] * apart + own.end[at]
    return np.asarray((at >= 0) & (last >= np.arange(n) * apart + places[:, 1:]))


def _design_effect(whole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return by how much the variance over blocks exceeds exchangeable rounds'; at least 1."""
    n = whole.shape[1]
    group = blocks_of(n)
    sizes = np.bincount(group)
    share = whole.mean(axis=1)
    hits = np.add.reduceat(
        whole, np.flatnonzero(np.diff(group, prepend=-1)), axis=1, dtype=np.intp
    )
    blocks = len(sizes)
    over_blocks = (
        ((hits - share[:, None] * sizes) ** 2).sum(axis=1) * blocks / max(blocks - 1, 1)
    )
    if_alike = n * share * (1 - share)
    effect = np.divide(
        over_blocks, if_alike, out=np.ones(len(share)), where=if_alike > 0
    )
    return np.asarray(np.maximum(effect, 1))


def random_orders(rng: np.random.Generator, *, rows: int, n: int) -> NDArray[np.int64]:
    """Return independent random orders of 0..n-1; shape (rows, n).

    Sorts random numbers that hold the index in their lowest bits: four times as fast as
    sorting indices by random numbers.
    """
    lowest = np.uint64((1 << n.bit_length()) - 1)
    keys = rng.integers(1 << 64, size=(rows, n), dtype=np.uint64)
    keys &= ~lowest
    keys |= np.arange(n, dtype=np.uint64)
    keys.sort(axis=1)
    keys &= lowest
    return keys.view(np.int64)


_PERMUTATIONS = 999
_LEVEL = 0.01

# More excerpts than this are pooled, every 32nd into one, and each pool is permuted
# like an excerpt. The test stays exact; it loses a 32nd of what rounds have in common,
# and its cost doesn't grow with the book.
_POOLS = 32

_NUMBERS_TOGETHER = 1 << 20  # bounds memory where rounds are many


@dataclass(frozen=True, slots=True)
class Exchangeability:
    """Two p-values of a permutation test against exchangeable rounds.

    clumped:  one-sided, of the variance over rounds of covered words
    drifting: two-sided, of the rank correlation of covered words with the sampling
    order
    """

    clumped: float
    drifting: float

    @property
    def alike(self) -> bool:
        """Return whether neither test rejects, at 1% over both."""
        return 2 * min(self.clumped, self.drifting) > _LEVEL


def exchangeability(
    by_excerpt: Words, *, permutations: int = _PERMUTATIONS, seed: int = 0
) -> Exchangeability:
    """Test exchangeability by permuting each excerpt's generations between rounds.

    by_excerpt: covered words per excerpt and round, shape (E, n). One excerpt alone
    cannot show clumps. Cost: 20 ms for 100 rounds, however many excerpts; proportional
    to the rounds.
    """
    pools = _pooled(by_excerpt)
    n = pools.shape[1]
    rng = np.random.default_rng(seed)
    covered = np.zeros((permutations + 1, n), dtype=np.int64)
    covered[0] = pools.sum(axis=0)
    parts = 1 + covered.size // _NUMBERS_TOGETHER
    for pool in pools:
        for rows in np.array_split(covered[1:], parts):
            order = random_orders(rng, rows=len(rows), n=n)
            np.add(rows, pool.take(order), out=rows)
    correlation = [
        _correlation_with_order(rows) for rows in np.array_split(covered, parts)
    ]
    # Permutation keeps the sum, so the sum of squares replaces the variance.
    return Exchangeability(
        clumped=_p(np.einsum("ij,ij->i", covered, covered)),
        drifting=_p(np.abs(np.concatenate(correlation))),
    )


def _pooled(by_excerpt: Words) -> Words:
    """Sum the rows that cover anything into at most 32 pools."""
    rows = by_excerpt[by_excerpt.any(axis=1)]
    pools = np.zeros((min(len(rows), _POOLS), rows.shape[1]), dtype=np.int64)
    np.add.at(pools, np.arange(len(rows)) % _POOLS, rows)
    return pools


def _p(statistics: Words | NDArray[np.float64]) -> float:
    """Return the share of the statistics that are at least the first, the observed one."""
    return float(np.mean(statistics >= statistics[0]))


def _correlation_with_order(covered: Words) -> NDArray[np.float64]:
    """Return Spearman's rank correlation of each row with 0..n-1; 0 for a constant row.

    Values are sorted with their positions in the lowest bits; equals share their mean
    rank.
    """
    n = covered.shape[1]
    bits = n.bit_length()
    ascending = np.sort((covered << bits) | np.arange(n))
    place, values = ascending & ((1 << bits) - 1), ascending >> bits
    begins = np.ones((len(covered), n + 1), dtype=np.bool_)
    begins[:, 1:-1] = np.diff(values) > 0
    at = np.arange(n)
    first = np.maximum.accumulate(np.where(begins[:, :-1], at, 0), axis=1)
    last = np.minimum.accumulate(np.where(begins[:, 1:], at, n)[:, ::-1], axis=1)[
        :, ::-1
    ]
    ranks = (first + last) / 2 - (n - 1) / 2
    spread = np.sqrt((ranks**2).sum(axis=1) * ((at - (n - 1) / 2) ** 2).sum())
    with_place = (ranks * (place - (n - 1) / 2)).sum(axis=1)
    correlation = np.divide(
        with_place, spread, out=np.zeros(len(covered)), where=spread > 0
    )
    return np.asarray(correlation.round(12))  # ties must stay ties
