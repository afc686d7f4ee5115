"""What the intervals and extrapolations promise, held against models that are known.

The slow tests make 1,000 seeded runs of a cell; docs/figures/simulated.py makes tables
of the same.
"""

import numpy as np
import pytest
import simulations
from known_models import (
    ALIKE,
    ALL_OR_NOTHING_2,
    ALL_OR_NOTHING_10,
    CLUMPED,
    MOODS,
    TEMPERS,
    KnownModel,
)
from marks import full

from pytest_memleak.records import Scoring
from pytest_memleak.scoring.bmc_interval import bmc_bounds, spread
from pytest_memleak.scoring.rarefaction import extrapolation
from pytest_memleak.scoring.sampling_error import samples_to_settle, sampling_error
from pytest_memleak.scoring.uplift import uplift

ROUNDS = 100
RUNS = 1_000
SPANS = (5, 20, 100, 400)
SCORING = Scoring()
LENGTHS = {
    "constant": lambda rng, spans: np.full(spans, 30),
    "uniform": lambda rng, spans: rng.integers(5, 61, spans),
    "geometric": lambda rng, spans: 4 + rng.geometric(1 / 26, spans),
}
LEVELS = {"lowest": 0.1, "low": 0.25, "middle": 0.5, "high": 0.9}


def heavy_tailed(rng, *, spans, recalled, lengths="geometric"):
    """A model with log-normal probabilities that recalls that share of its spans in ROUNDS."""
    tail = rng.lognormal(0, 2, spans)
    low, high = 1e-12, 1e9
    for _ in range(100):
        scale = np.sqrt(low * high)
        too_few = (1 - (1 - np.minimum(1, scale * tail)) ** ROUNDS).mean() < recalled
        low, high = (scale, high) if too_few else (low, scale)
    return KnownModel(rng, LENGTHS[lengths](rng, spans), np.minimum(1, scale * tail))


def drawn_counts(rng, model, rounds=ROUNDS):
    return model.counts(model.draw(rng, rounds)[0])


def heavy_tailed_runs(spans, level, lengths, *, models=20, each=50):
    rng = np.random.default_rng([spans, int(100 * LEVELS[level])])
    for _ in range(models):
        model = heavy_tailed(rng, spans=spans, recalled=LEVELS[level], lengths=lengths)
        for _ in range(each):
            yield model, drawn_counts(rng, model)


def held(spans, level, lengths, **runs):
    """How often the interval of rounds that are known to be alike holds the expected BMC."""
    inside = [
        low <= model.expected_bmc(ROUNDS) <= high
        for model, counts in heavy_tailed_runs(spans, level, lengths, **runs)
        for low, high in [
            bmc_bounds(counts.bmc, spread(counts, scoring=SCORING), confidence=0.95)
        ]
    ]
    return np.mean(inside)


@pytest.mark.parametrize("temper", TEMPERS, ids=lambda temper: temper.name)
def test_the_expected_bmc_is_the_mean_of_many_draws(temper):
    rng = np.random.default_rng(7)
    model = KnownModel.drawn(rng, 60, temper=temper)
    bmc = [drawn_counts(rng, model, 25).bmc for _ in range(400)]
    assert abs(np.mean(bmc) - model.expected_bmc(25)) < 4 * np.std(bmc) / 20


@pytest.mark.parametrize(
    ("lengths", "each"), [("geometric", 5), *(full(lengths, 50) for lengths in LENGTHS)]
)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("spans", [5, full(20), 100, full(400)])
def test_the_interval_holds_the_expected_bmc(spans, level, lengths, each):
    promised = 0.93 if spans * LEVELS[level] >= 10 else 0.88
    assert held(spans, level, lengths, each=each) >= promised


def test_the_interval_is_no_wider_than_it_must_be():
    # Where much is recalled, chance would miss a 95 % interval in 5 runs of 100.
    assert held(100, "low", "constant", each=10) < 0.995


# In the fast set fewer rounds, in 200 runs, and clumps in 40.
@pytest.mark.parametrize(("rounds", "promised", "runs"), [
    (10, 0.94, 200), (3, 0.93, 200), full(100, 0.95, RUNS), full(10, 0.95, RUNS),
    full(5, 0.95, RUNS), full(3, 0.94, RUNS),
])  # fmt: skip
@pytest.mark.parametrize("spans", [5, full(20), full(100), full(400)])
def test_intervals_of_exchangeable_rounds_keep_their_confidence(
    rounds, promised, runs, spans
):
    cell = simulations.intervals(ALIKE, spans=spans, rounds=rounds, runs=runs)
    assert cell.held.mean() >= promised
    assert cell.said.mean() <= 0.02
    if rounds == ROUNDS:
        assert cell.over_d.mean() >= 0.95


@pytest.mark.parametrize(
    ("spans", "runs"), [(20, 40), *(full(spans, RUNS) for spans in SPANS)]
)
def test_intervals_of_clumped_rounds_keep_their_confidence(spans, runs):
    cell = simulations.intervals(CLUMPED, spans=spans, rounds=ROUNDS, runs=runs)
    assert cell.held.mean() >= 0.95
    if spans >= 20:
        assert cell.said.mean() >= (0.98 if runs == RUNS else 0.95)
    if runs == RUNS:
        assert cell.held[cell.said > 0].mean() >= 0.90
        assert cell.over_d.mean() >= 0.95
        cell = simulations.intervals(MOODS, spans=spans, rounds=ROUNDS, runs=RUNS)
        assert ((cell.held + cell.said) > 0).mean() >= 0.88
        assert cell.held[cell.said > 0].mean() >= 0.90


@pytest.mark.full
@pytest.mark.parametrize("spans", [20, 100])
def test_intervals_of_all_or_nothing_rounds_keep_their_confidence(spans):
    for temper in (ALL_OR_NOTHING_2, ALL_OR_NOTHING_10):
        cell = simulations.intervals(temper, spans=spans, rounds=ROUNDS, runs=RUNS)
        assert cell.said[cell.passages > 1].mean() >= 0.99
        assert cell.held[cell.said > 0].mean() >= 0.90


@pytest.mark.full
def test_ranges_hold_what_other_seeds_give():
    for held in simulations.ranges(models=40, seeds=8, rounds=ROUNDS).values():
        assert (held - 1).mean() / 7 >= 0.92  # each holds its own value
        assert np.mean(held >= 7) >= 0.85


@pytest.mark.full
@pytest.mark.parametrize(
    "temper", [ALIKE, CLUMPED, ALL_OR_NOTHING_10], ids=lambda temper: temper.name
)
def test_equal_models_are_seldom_called_worse(temper):
    called = simulations.called_worse_though_the_same(temper, releases=RUNS)
    assert called.mean() <= 0.064  # 5 %, in 1,000 draws


@pytest.mark.full
def test_models_that_know_more_are_called_worse():
    assert simulations.called_worse(simulations.more_passages, runs=RUNS).mean() >= 0.78
    assert simulations.called_worse(simulations.more_often, runs=RUNS).mean() >= 0.85


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("spans", [100, full(400)])
def test_extrapolation_to_twice_the_rounds_errs_as_documented(spans, level):
    errors = []
    for model, counts in heavy_tailed_runs(spans, level, "geometric", each=5):
        gain = model.expected_bmc(2 * ROUNDS) - model.expected_bmc(ROUNDS)
        errors.append(abs(extrapolation(counts).bmc[-1] - counts.bmc - gain) / gain)
    assert np.median(errors) < 0.5


@pytest.mark.full
def test_limits_settle_as_estimated():
    rng = np.random.default_rng(3)
    foretold = []
    for _ in range(150):
        model = heavy_tailed(rng, spans=200, recalled=rng.uniform(0.2, 0.7))
        recalled, _ = model.draw(rng, 2 * ROUNDS)
        error = sampling_error(model.counts(recalled[:ROUNDS]))
        limit = error.bmc + rng.uniform(0.02, 0.98) * (error.high - error.bmc)
        settling = samples_to_settle(error, limit)
        if settling:
            later = sampling_error(model.counts(recalled[: ROUNDS + settling.samples]))
            foretold.append(later.bmc > limit if settling.over else later.high <= limit)
    assert len(foretold) > 50
    assert np.mean(foretold) > 0.6


@pytest.mark.parametrize(("spans", "level", "each"), [
    (20, "low", 15), full(20, "low", 50), full(20, "high", 50), full(100, "middle", 50),
])  # fmt: skip
def test_the_interval_of_uplift_holds_the_expected_uplift(spans, level, each):
    rng = np.random.default_rng(spans)
    inside = []
    for _ in range(10):
        tuned = heavy_tailed(rng, spans=spans, recalled=LEVELS[level])
        before = heavy_tailed(rng, spans=max(5, spans // 4), recalled=0.3)
        expected = tuned.expected_bmc(ROUNDS) - before.expected_bmc(ROUNDS)
        for _ in range(each):
            risen = uplift(
                drawn_counts(rng, tuned), drawn_counts(rng, before), scoring=SCORING
            )
            inside.append(risen.low <= expected <= risen.high)
    assert np.mean(inside) >= 0.93
