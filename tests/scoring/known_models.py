"""Models of which it is known what they recall, how often, and in what moods.

A model recalls each of its spans in a round with a known probability, so that the BMC
to expect of n rounds is known. Lengths are log-normal (median 12 words, 5 to 200),
probabilities log-uniform from 10^-3.5 to 1, and the spans stand anywhere in a book of
excerpts of 400 words.
"""

from dataclasses import dataclass

import numpy as np

from pytest_memleak.scoring.rounds import Rounds

EXCERPT = 400


@dataclass(frozen=True)
class Temper:
    """By what factor probabilities rise and fall together.

    factors: each with its probability; run: how many rounds in a row share one, in runs
    that begin anywhere. `always` recites everything where the factor is not 0.
    """

    name: str
    factors: tuple[tuple[float, float], ...]
    run: int = 1
    always: bool = False

    def likely(self, probabilities, factor):
        if self.always:
            return np.full(len(probabilities), float(factor > 0))
        return np.minimum(1, probabilities * factor)

    def draw(self, rng, rounds):
        factors, likely = zip(*self.factors, strict=True)
        runs = rng.choice(factors, size=rounds // self.run + 2, p=likely)
        begin = rng.integers(self.run)
        return np.repeat(runs, self.run)[begin : begin + rounds]

    def never(self, probabilities, rounds):
        """How likely each span comes in none of the rounds."""
        by_begin = []
        for begin in range(self.run):
            first = min(self.run - begin, rounds)
            whole, last = divmod(rounds - first, self.run)
            runs = self._in_no_round_of(probabilities, first)
            runs = runs * self._in_no_round_of(probabilities, self.run) ** whole
            by_begin.append(runs * self._in_no_round_of(probabilities, last))
        return np.mean(by_begin, axis=0)

    def _in_no_round_of(self, probabilities, run):
        return sum(
            share * (1 - self.likely(probabilities, factor)) ** run
            for factor, share in self.factors
        )

    def base(self, mean):
        """The probability that is `mean` over all factors; above 1 where only that can be."""
        low, high = 0.0, 1e3
        for _ in range(60):
            middle = (low + high) / 2
            over = sum(
                share * min(1, middle * factor) for factor, share in self.factors
            )
            low, high = (middle, high) if over < mean else (low, middle)
        return low


ALIKE = Temper("alike", ((1, 1),))
CLUMPED = Temper("clumped", ((8, 0.1), (0.22, 0.9)))
MOODS = Temper("moods", ((4, 0.2), (0.25, 0.8)), run=10)
ALL_OR_NOTHING_2 = Temper("all or nothing, 2 %", ((1, 0.02), (0, 0.98)), always=True)
ALL_OR_NOTHING_10 = Temper("all or nothing, 10 %", ((1, 0.1), (0, 0.9)), always=True)
TEMPERS = (ALIKE, CLUMPED, MOODS, ALL_OR_NOTHING_2, ALL_OR_NOTHING_10)


def lengths_of(rng, spans):
    return np.clip(np.rint(12 * rng.lognormal(0, 0.8, spans)), 5, 200).astype(np.intp)


def probabilities_of(rng, spans):
    return 10 ** rng.uniform(-3.5, 0.0, spans)


class KnownModel:
    """Spans of a book, with lengths and probabilities; none overlap unless `overlapping`."""

    def __init__(
        self,
        rng,
        lengths,
        probabilities,
        *,
        temper=ALIKE,
        words=40_000,
        overlapping=False,
    ):
        self.temper, self.words = temper, words
        self.lengths, self.probabilities = lengths, probabilities
        if overlapping:
            begin = np.sort(rng.integers(words - lengths.max(), size=len(lengths)))
        else:
            gaps = np.sort(rng.integers(words - lengths.sum() + 1, size=len(lengths)))
            begin = gaps + np.concatenate(([0], np.cumsum(lengths)[:-1]))
        self.start, self.end = begin, begin + lengths
        self.excerpts = -(-words // EXCERPT)
        self.excerpt_starts = np.arange(0, words, EXCERPT)

    @classmethod
    def drawn(cls, rng, spans, **settings):
        return cls(
            rng, lengths_of(rng, spans), probabilities_of(rng, spans), **settings
        )

    def expected_bmc(self, rounds):
        ever = 1 - self.temper.never(self.probabilities, rounds)
        return (ever * self.lengths).sum() / self.words

    def draw(self, rng, rounds):
        """Whether each round has each span, and the factors of the rounds."""
        factors = self.temper.draw(rng, rounds)
        likely_by_factor = {
            factor: self.temper.likely(self.probabilities, factor)
            for factor in set(factors.tolist())
        }
        likely = np.array([likely_by_factor[factor] for factor in factors.tolist()])
        return rng.random(likely.shape, dtype=np.float32) < likely, factors

    def counts(self, recalled):
        n = len(recalled)
        number, span = np.nonzero(recalled)
        runs = Rounds.of_intervals(number, self.start[span], self.end[span])
        place = self.start[span] // EXCERPT * n + number
        by_excerpt = np.bincount(place, self.lengths[span], self.excerpts * n).reshape(
            -1, n
        )
        return runs.counts(
            words=self.words,
            n=n,
            excerpt_starts=self.excerpt_starts,
            by_excerpt=by_excerpt,
        )

    def longest(self, recalled):
        return np.where(recalled, self.lengths, 0).max(axis=1)
