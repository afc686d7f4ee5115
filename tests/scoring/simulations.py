"""What intervals, detection, ranges and comparisons do over many seeded runs of known models."""

import zlib
from dataclasses import dataclass

import numpy as np
from known_models import ALIKE, KnownModel, lengths_of, probabilities_of

from pytest_memleak.records import Verdict
from pytest_memleak.scoring.bmc_interval import Spread
from pytest_memleak.scoring.exchangeability import exchangeability
from pytest_memleak.scoring.maximum_ranges import block_range, maximum_range
from pytest_memleak.scoring.release_rise_test import (
    Comparison,
    PairRounds,
    compare_releases,
)
from pytest_memleak.scoring.sampling_error import sampling_error

NO_BORDERS = np.empty(0, dtype=np.intp)
THRESHOLD = 20
MEASURES = ("bmc", "longest_span", "spans_over")


def generator(*names):
    return np.random.default_rng([zlib.crc32(str(name).encode()) for name in names])


@dataclass(frozen=True)
class Cell:
    """What some runs of one kind of model showed; each an array over the runs.

    held: the interval holds the expected BMC; said: rounds were not alike
    passages: rounds in which the model recited (of tempers that are all or nothing)
    at_d, over_d: passages that come with a probability of d, and of 1.1 d, were seen
    """

    held: np.ndarray
    said: np.ndarray
    passages: np.ndarray
    at_d: np.ndarray
    over_d: np.ndarray


def intervals(temper, *, spans, rounds, runs):
    rng = generator("intervals", temper.name, spans, rounds)
    return Cell(
        *np.array([_interval(rng, temper, spans, rounds) for _ in range(runs)]).T
    )


def _interval(rng, temper, spans, rounds):
    model = KnownModel.drawn(rng, spans, temper=temper)
    recalled, factors = model.draw(rng, rounds)
    error = sampling_error(model.counts(recalled), seed=int(rng.integers(1 << 31)))
    held = error.low <= model.expected_bmc(rounds) <= error.high
    seen = [_seen(rng, temper, factors, by * error.detection) for by in (1, 1.1)]
    return held, not error.likeness.alike, np.count_nonzero(factors), *seen


def _seen(rng, temper, factors, probability):
    if temper.always:
        return bool(factors.any())
    likely = temper.likely(np.array([temper.base(min(probability, 1))]), factors)
    return bool((rng.random(len(factors)) < likely).any())


def ranges(*, models, seeds, rounds):
    """For block and longest span: how many of the seeds' values each seed's range holds.

    Shape (models, seeds) each, out of `seeds`.
    """
    rng = generator("ranges", models, seeds, rounds)
    held = {"longest_block": [], "longest_span": []}
    for number in range(models):
        spans = (5, 20, 100, 400)[number % 4]
        words = max(
            40 * spans, 2_000
        )  # so dense that blocks are joined of several spans
        model = KnownModel.drawn(rng, spans, words=words, overlapping=True)
        results = [_maxima(rng, model, rounds) for _ in range(seeds)]
        for name, of in held.items():
            values = np.array([one[name][0] for one in results])
            bounds = [one[name][1] for one in results]
            inside = [(low <= values) & (values <= high) for low, high in bounds]
            of.append([np.count_nonzero(held) for held in inside])
    return {name: np.array(of) for name, of in held.items()}


def _maxima(rng, model, rounds):
    recalled, _ = model.draw(rng, rounds)
    counts, longest = model.counts(recalled), model.longest(recalled)
    typical = sampling_error(counts).typical * model.words
    mask = np.diff(np.concatenate(([0], counts.times > 0, [0])).astype(np.int8))
    block = int((np.flatnonzero(mask < 0) - np.flatnonzero(mask > 0)).max(initial=0))
    of_blocks = block_range(
        counts.runs, n=rounds, borders=NO_BORDERS, typical=typical, words=model.words
    )
    of_spans = maximum_range(longest, typical=typical, most=model.words)
    return {
        "longest_block": (block, of_blocks),
        "longest_span": (int(longest.max()), of_spans),
    }


def called_worse_though_the_same(temper, *, releases, pairs=20, rounds=100, spans=40):
    """In how many releases of the same models anything was called worse; shape (releases,)."""
    rng = generator("same", temper.name, pairs, rounds, spans)
    named = [
        Comparison(str(pair), measure) for pair in range(pairs) for measure in MEASURES
    ]
    called = []
    for _ in range(releases):
        before, after = {}, {}
        for pair in range(pairs):
            model = KnownModel.drawn(rng, spans, temper=temper, words=8_000)
            before[str(pair)], after[str(pair)] = (
                _release(rng, model, rounds) for _ in range(2)
            )
        changes = compare_releases(
            before, after, named, seed=int(rng.integers(1 << 31))
        )
        called.append(any(change.verdict is Verdict.FAIL for change in changes))
    return np.array(called)


def _release(rng, model, rounds):
    recalled, _ = model.draw(rng, rounds)
    counts = model.counts(recalled)
    seed = int(rng.integers(1 << 31))
    alike = _alike(counts.by_excerpt, seed)
    over = model.lengths > THRESHOLD
    longest = model.longest(recalled)
    spans_over = recalled[:, over]
    values = {"bmc": counts.bmc, "longest_span": int(longest.max())}
    values["spans_over"] = int(spans_over.any(axis=0).sum())
    per_round = {"bmc": counts.by_excerpt.sum(axis=0), "longest_span": longest}
    per_round["spans_over"] = spans_over.sum(axis=1)
    spread = Spread(None, rounds, 0.0)  # of the interval, which decides nothing
    return PairRounds(model.words, values, per_round, spread, alike)


def _alike(by_excerpt, seed):
    """Whether rounds are alike, told by as few permutations as can tell it.

    Three times the variance that permuting leaves on average is what no order comes
    near; and of 1,000 orders more than five have to be as far out as the one observed.
    """
    if by_excerpt.sum(axis=0).var() > 3 * by_excerpt.var(axis=1).sum():
        return False
    first = exchangeability(by_excerpt, permutations=99, seed=seed)
    if round(100 * min(first.clumped, first.drifting)) > 5:
        return True
    return exchangeability(by_excerpt, seed=seed).alike


def more_passages(rng, lengths, probabilities):
    more = len(lengths) // 10
    return (
        np.concatenate((lengths, lengths_of(rng, more))),
        np.concatenate((probabilities, probabilities_of(rng, more))),
    )


def more_often(_, lengths, probabilities):
    """The same passages, as much more often as brings a tenth more words in 100 rounds."""
    ever = (1 - (1 - probabilities) ** 100) @ lengths
    low, high = 1.0, 1e4
    for _ in range(60):
        middle = (low * high) ** 0.5
        raised = (1 - (1 - np.minimum(1, middle * probabilities)) ** 100) @ lengths
        low, high = (middle, high) if raised < 1.1 * ever else (low, middle)
    return lengths, np.minimum(1, low * probabilities)


def called_worse(change, *, runs, pairs=20, rounds=100, spans=400, tolerance=0.005):
    """In how many runs the one pair of `pairs` that changed was called worse; shape (runs,).

    BMC is 0.2, and rises by 0.02; it is named for every pair.
    """
    rng = generator("changed", change.__name__, pairs, rounds, spans)
    same = _release(rng, KnownModel.drawn(rng, 20, words=8_000), rounds)
    others = {str(pair): same for pair in range(1, pairs)}
    named = [Comparison(str(pair), "bmc", tolerance) for pair in range(pairs)]
    called = []
    for _ in range(runs):
        lengths, probabilities = lengths_of(rng, spans), probabilities_of(rng, spans)
        words = round(5 * ((1 - (1 - probabilities) ** rounds) @ lengths))
        sides = (lengths, probabilities), change(rng, lengths, probabilities)
        before, after = (
            _release(rng, KnownModel(rng, *side, temper=ALIKE, words=words), rounds)
            for side in sides
        )
        changes = compare_releases(
            {**others, "0": before}, {**others, "0": after}, named
        )
        called.append(changes[0].verdict is Verdict.FAIL)
    return np.array(called)
