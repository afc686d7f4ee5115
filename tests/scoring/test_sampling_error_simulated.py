"""What the intervals and extrapolations promise, held against models that are known.

A simulated model recalls each of its spans in a round with a known probability; so the BMC to
expect of n rounds is known, and how often an interval holds it can be counted.
"""

import numpy as np
import pytest

from pytest_memleak.records import Scoring
from pytest_memleak.scoring.null import uplift
from pytest_memleak.scoring.rounds import RoundCounts
from pytest_memleak.scoring.sampling_error import (
    bmc_bounds,
    extrapolation,
    samples_to_settle,
    sampling_error,
)

ROUNDS = 100
WORDS = 40_000
SCORING = Scoring()
LENGTHS = {
    "constant": lambda rng, spans: np.full(spans, 30),
    "uniform": lambda rng, spans: rng.integers(5, 61, spans),
    "geometric": lambda rng, spans: 4 + rng.geometric(1 / 26, spans),
}
LEVELS = {"lowest": 0.1, "low": 0.25, "middle": 0.5, "high": 0.9}


class KnownModel:
    """Spans of a book, and how likely each is to be recalled in one round."""

    def __init__(self, rng, *, spans, recalled, lengths):
        """The mean share of spans that are recalled in ROUNDS rounds is `recalled`."""
        self.rng = rng
        self.lengths = LENGTHS[lengths](rng, spans)
        heavy_tailed = rng.lognormal(0, 2, spans)
        low, high = 1e-12, 1e9
        for _ in range(100):
            scale = np.sqrt(low * high)
            self.likely = np.minimum(1, scale * heavy_tailed)
            too_few = self._ever(ROUNDS).mean() < recalled
            low, high = (scale, high) if too_few else (low, scale)
        owner = np.full(WORDS, spans)
        owner[: (self.lengths + 1).sum()] = np.repeat(np.arange(spans), self.lengths + 1)
        owner[np.cumsum(self.lengths + 1) - 1] = spans  # a word between two spans
        self._owner = owner

    def _ever(self, rounds):
        return 1 - (1 - self.likely) ** rounds

    def expected_bmc(self, rounds=ROUNDS):
        return (self._ever(rounds) * self.lengths).sum() / WORDS

    def draw(self, rounds=ROUNDS):
        return self.rng.random((rounds, len(self.likely)), dtype=np.float32) < self.likely

    def counts(self, drawn):
        times = drawn.sum(0)
        alone = drawn @ np.where(times == 1, self.lengths, 0)
        seen = self.lengths[times > 0]
        return RoundCounts(WORDS, len(drawn), np.append(times, 0)[self._owner], alone, seen)


def runs(spans, level, lengths, *, models=20, each=50):
    """1,000 seeded runs: 50 of each of 20 models."""
    rng = np.random.default_rng([spans, int(100 * LEVELS[level])])
    for _ in range(models):
        model = KnownModel(rng, spans=spans, recalled=LEVELS[level], lengths=lengths)
        for _ in range(each):
            yield model, model.counts(model.draw())


def held(spans, level, lengths, shape="skewed"):
    inside = [
        low <= model.expected_bmc() <= high
        for model, counts in runs(spans, level, lengths)
        for low, high in [bmc_bounds(counts, scoring=SCORING, confidence=0.95, shape=shape)]
    ]
    assert len(inside) == 1_000
    return np.mean(inside)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("spans", [5, 20, 100, 400])
def test_the_interval_holds_the_expected_bmc(spans, level):
    promised = 0.93 if spans * LEVELS[level] >= 10 else 0.88
    assert held(spans, level, "geometric") >= promised


@pytest.mark.slow
@pytest.mark.parametrize("lengths", ["constant", "uniform"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("spans", [5, 20, 100, 400])
def test_the_interval_holds_it_for_other_lengths(spans, level, lengths):
    promised = 0.93 if spans * LEVELS[level] >= 10 else 0.88
    assert held(spans, level, lengths) >= promised


def test_the_normal_interval_does_not_where_few_spans_are_recalled():
    assert held(5, "low", "uniform", shape="normal") < 0.88
    assert held(5, "low", "uniform") >= 0.88


def test_the_interval_is_no_wider_than_it_must_be():
    # Where much is recalled, chance would miss a 95 % interval in 5 runs of 100.
    assert held(400, "low", "constant") < 0.995


@pytest.mark.parametrize("level", ["lowest", "low", "middle", "high"])
@pytest.mark.parametrize("spans", [100, 400])
def test_extrapolation_to_twice_the_rounds(spans, level):
    errors = []
    for model, counts in runs(spans, level, "geometric", each=15):
        gain = model.expected_bmc(2 * ROUNDS) - model.expected_bmc()
        errors.append(abs(extrapolation(counts)[-1] - counts.bmc - gain) / gain)
    assert np.median(errors) < 0.5


def test_settling_comes_about_as_foretold():
    rng = np.random.default_rng(3)
    foretold = []
    for _ in range(150):
        model = KnownModel(rng, spans=200, recalled=rng.uniform(0.2, 0.7), lengths="geometric")
        drawn = model.draw(2 * ROUNDS)
        error = sampling_error(model.counts(drawn[:ROUNDS]))
        limit = error.bmc + rng.uniform(0.02, 0.98) * (error.high - error.bmc)
        settling = samples_to_settle(error, limit)
        if settling:
            later = sampling_error(model.counts(drawn[: ROUNDS + settling.samples]))
            foretold.append(later.bmc > limit if settling.over else later.high <= limit)
    assert len(foretold) > 50
    assert np.mean(foretold) > 0.6


@pytest.mark.parametrize(("spans", "level"), [(20, "low"), (20, "high"), (100, "middle")])
def test_the_interval_of_uplift_holds_the_expected_uplift(spans, level):
    rng = np.random.default_rng(spans)
    inside = []
    for _ in range(10):
        tuned = KnownModel(rng, spans=spans, recalled=LEVELS[level], lengths="geometric")
        before = KnownModel(rng, spans=max(5, spans // 4), recalled=0.3, lengths="geometric")
        expected = tuned.expected_bmc() - before.expected_bmc()
        for _ in range(50):
            risen = uplift(
                tuned.counts(tuned.draw()), before.counts(before.draw()), scoring=SCORING
            )
            inside.append(risen.low <= expected <= risen.high)
    assert np.mean(inside) >= 0.93
