"""Rounds (docs/method.md): their words, blocks, likeness and passage rates, against sets."""

import itertools
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scored_books import INTERVALS, ROUNDS, WORDS, counts_of, covered, rounds_of

from pytest_memleak.scoring.confidence_bounds import clopper_pearson
from pytest_memleak.scoring.exchangeability import (
    Exchangeability,
    exchangeability,
    random_orders,
)
from pytest_memleak.scoring.intervals import (
    Distinct,
    Packing,
    cut,
    merge_intervals,
    outermost,
)
from pytest_memleak.scoring.passage_rates import passage_rates
from pytest_memleak.scoring.round_blocks import block_variance, blocks_of
from pytest_memleak.scoring.rounds import Rounds


@given(ROUNDS)
def test_counts_and_patterns_are_those_of_sets(rounds):
    counts, n = counts_of(rounds), len(rounds)
    sets = [covered(intervals) for intervals in rounds]
    by_word = [tuple(at in words for words in sets) for at in range(WORDS)]
    assert counts.times.tolist() == list(map(sum, by_word))
    everything = set().union(*sets)
    assert counts.bmc == len(everything) / WORDS
    for left_out, lost in enumerate(counts.alone.tolist()):
        others = [one for number, one in enumerate(sets) if number != left_out]
        assert lost == len(everything) - len(set().union(*others))
    patterns, words = rounds_of(rounds).patterns(n=n)
    by_pattern = dict(zip(map(tuple, patterns.tolist()), words.tolist(), strict=True))
    uncovered = {(False,) * n: 0}  # is no pattern
    assert {**by_pattern, **uncovered} == {**Counter(by_word), **uncovered}


@given(ROUNDS)
def test_halves_and_groups_cover_what_their_rounds_did(rounds):
    n = len(rounds)
    sets = list(map(covered, rounds))
    first, second = rounds_of(rounds).halves(words=WORDS, n=n)
    for half, of in ((first, sets[: n // 2]), (second, sets[n // 2 :])):
        assert set(half.nonzero()[0].tolist()) == set().union(*of)
    group = np.arange(n) // 2
    grouped = rounds_of(rounds).grouped(group)
    for number in range(group[-1] + 1):
        mine = grouped.round == number
        runs = zip(
            grouped.start[mine].tolist(), grouped.end[mine].tolist(), strict=True
        )
        assert covered(runs) == set().union(*sets[2 * number : 2 * number + 2])


def test_words_by_excerpt_are_those_of_the_rounds_unless_they_are_told():
    rounds = Rounds.of({0: [(0, 5), (10, 12)], 2: [(3, 4)]})
    assert rounds.counts(words=20, n=3).by_excerpt.tolist() == [[7, 0, 1]]
    by_excerpt = [[5, 0, 0], [2, 0, 1]]
    counts = rounds.counts(words=20, n=3, by_excerpt=np.array(by_excerpt))
    assert counts.by_excerpt.tolist() == by_excerpt
    # Rounds that cover nothing count.
    counts = Rounds.of({3: [(0, 2)]}).counts(words=4, n=10)
    assert (counts.rounds, counts.bmc) == (10, 0.5)


@given(st.lists(st.tuples(st.integers(0, 4), INTERVALS.map(sorted)), max_size=8))
def test_the_words_that_each_text_covers_are_those_of_sets(found):
    rows = [(text, start, end) for text, pieces in found for start, end in pieces]
    expected = [
        len(covered((s, e) for t, s, e in rows if t == text)) for text in range(5)
    ]
    columns = np.array(rows, dtype=np.intp).reshape(-1, 3).T
    joined = Rounds.joined(*columns)
    assert np.bincount(joined.round, joined.end - joined.start, 5).tolist() == expected


SIZES = {1: [1], 2: [1, 1], 3: [2, 1], 5: [3, 2], 10: [4, 3, 3], 100: [10] * 10}


@pytest.mark.parametrize(("n", "sizes"), SIZES.items())
def test_blocks_are_of_the_square_root_of_the_rounds_in_order(n, sizes):
    blocks = blocks_of(n)
    assert np.bincount(blocks).tolist() == sizes
    assert blocks.tolist() == sorted(blocks.tolist())


def covered_by_blocks(rounds):
    sets = [set() for _ in range(max(blocks_of(len(rounds))) + 1)]
    for number, intervals in zip(blocks_of(len(rounds)), rounds, strict=True):
        sets[number] |= covered(intervals)
    return sets


def variances_of_sets(of_model, of_baseline=None):
    """The jackknife over the sets, and twice the bootstrap with the draws of the seed 0."""
    empty = [set()] * len(of_model)

    def bmc(chosen):
        mine = set().union(*(of_model[number] for number in chosen))
        theirs = set().union(*((of_baseline or empty)[number] for number in chosen))
        return (len(mine) - len(theirs)) / WORDS

    blocks = range(len(of_model))
    without = [
        bmc([block for block in blocks if block != left_out]) for left_out in blocks
    ]
    jackknife = (len(blocks) - 1) * np.var(without)
    resampled = np.random.default_rng(0).integers(len(blocks), size=(200, len(blocks)))
    return jackknife, 2 * np.var([bmc(chosen) for chosen in resampled.tolist()], ddof=1)


@given(st.lists(st.tuples(INTERVALS, INTERVALS), min_size=2, max_size=20))
def test_the_variance_is_the_larger_of_jackknife_and_twice_the_bootstrap(both):
    model, baseline = zip(*both, strict=True)
    mine, theirs = map(covered_by_blocks, (model, baseline))
    # That of a difference takes blocks in pairs.
    for of_baseline, counts in ((None, None), (theirs, counts_of(baseline))):
        expected = max(variances_of_sets(mine, of_baseline))
        variance = block_variance(counts_of(model), baseline=counts)
        assert variance == pytest.approx(expected, abs=1e-12)


def test_a_model_that_recites_now_and_then_is_known_less_than_rounds_alone_would_say():
    counts = counts_of([[]] * 10 + [[(0, 30)]] * 10 + [[]] * 80)  # one block of ten
    assert counts.alone.sum() == 0  # so that the jackknife over rounds would be 0
    assert math.sqrt(block_variance(counts)) > 0.2


def rates(passages, rounds, n, *, alike=True):
    return passage_rates(passages, Rounds.of(rounds), n=n, alike=alike, confidence=0.95)


def test_a_round_counts_where_its_matches_cover_the_passage_whole():
    # Just it; two matches together; a word short at either end; around it; all of it.
    rounds = {0: [(10, 40)], 1: [(0, 25), (20, 60)], 2: [(11, 40)], 4: [(10, 39)]}
    rounds |= {5: [(0, 10), (40, 80)], 7: [(0, 90)]}
    (rate,) = rates([(10, 40)], rounds, 10)
    assert (rate.start, rate.end, rate.hits, rate.tries) == (10, 40, 3, 10)
    assert (rate.low, rate.high) == clopper_pearson(3, 10, confidence=0.95)
    assert not rate.approximate
    # Several passages, and none.
    result = rates([(0, 5), (50, 80), (200, 230)], {1: [(0, 9)], 3: [(0, 90)]}, 4)
    assert [rate.hits for rate in result] == [2, 1, 0]
    assert [rate.hits for rate in rates([(0, 5)], {}, 3)] == [0]
    assert rates([], {0: [(0, 9)]}, 3) == ()


def test_rounds_that_are_not_alike_count_for_fewer():
    rounds = {r: [(0, 30)] for r in range(20, 40)}
    (rate,) = rates([(0, 30)], rounds, 100, alike=False)
    # Ten blocks of ten, of which two are full: 2 * 8**2 + 8 * 2**2 = 160, times 10 / 9.
    effect = 160 * 10 / 9 / (100 * 0.2 * 0.8)
    assert (rate.hits, rate.tries, rate.approximate) == (20, 100, True)
    assert (rate.low, rate.high) == clopper_pearson(
        20 / effect, 100 / effect, confidence=0.95
    )
    (as_if_alike,) = rates([(0, 30)], rounds, 100)
    assert rate.low < as_if_alike.low < 0.2 < as_if_alike.high < rate.high
    # A design effect never makes more of the rounds.
    evenly = {r: [(0, 30)] for r in range(0, 100, 5)}
    (rate,) = rates([(0, 30)], evenly, 100, alike=False)
    assert (rate.low, rate.high) == clopper_pearson(20, 100, confidence=0.95)
    always = {r: [(0, 30)] for r in range(100)}
    (rate,) = rates([(0, 30)], always, 100, alike=False)
    assert rate.high == 1


ENDS = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted)
SPANS = st.lists(ENDS.filter(lambda at: at[0] < at[1]).map(tuple))


def columns(intervals):
    return np.array(intervals, dtype=np.intp).reshape(-1, 2).T


def rows(start, end):
    return list(zip(start.tolist(), end.tolist(), strict=True))


@given(SPANS)
def test_outermost(intervals):
    expected = {
        (s, e)
        for s, e in intervals
        if not any(a <= s and e <= b and (a, b) != (s, e) for a, b in intervals)
    }
    assert rows(*outermost(*columns(intervals))) == sorted(expected)


@given(SPANS)
@example([(0, 2), (2, 4)])
def test_united(intervals):
    result = rows(*merge_intervals(*columns(sorted(intervals))))
    held = {at for start, end in result for at in range(start, end)}
    assert held == {at for start, end in intervals for at in range(start, end)}
    assert all(last < first for (_, last), (first, _) in pairwise(result))


@given(st.lists(st.lists(st.integers(0, 2**62))))
def test_distinct_numbers_are_those_of_a_set(parts):
    numbers = Distinct()
    for part in parts:
        numbers.add(np.array(part, dtype=np.int64))
    assert numbers.ascending().tolist() == sorted(set().union(*parts))


def test_many_distinct_numbers():
    numbers = Distinct()
    for start in range(0, 1_000_000, 30_000):
        numbers.add(np.arange(start, start + 60_000)[::-1])
    assert numbers.ascending().tolist() == list(range(1_020_000 + 30_000))


@given(
    st.lists(st.tuples(*[st.integers(0, n) for n in (2**12 - 1, 2**26 - 1, 2**25 - 1)]))
)
def test_three_numbers_in_one_keep_their_order(triples):
    packing = Packing(26, 25)
    assert packing.high == 12
    packed = packing.pack(*np.array(triples, dtype=np.int64).reshape(-1, 3).T)
    assert [
        *zip(*(part.tolist() for part in packing.unpack(packed)), strict=True)
    ] == triples
    assert packed.argsort(kind="stable").tolist() == sorted(
        range(len(triples)), key=lambda n: triples[n]
    )


@given(SPANS, st.sets(st.integers(0, 30)).map(sorted))
def test_cut(intervals, borders):
    expected = [
        piece
        for start, end in intervals
        for piece in pairwise([start, *(at for at in borders if start < at < end), end])
    ]
    of, *pieces = cut(*columns(intervals), np.array(borders, dtype=np.intp))
    assert rows(*pieces) == expected
    holding = [intervals[number] for number in of.tolist()]
    assert all(
        a <= s < e <= b for (a, b), (s, e) in zip(holding, expected, strict=True)
    )


def covered_words(rng, likely):
    """Of generations that recall 12 words with the probability `likely`."""
    return 12 * (rng.random(likely.shape) < likely)


def test_the_p_of_clumps_is_that_of_all_permutations():
    rows = np.array([[9, 0, 0, 4], [7, 1, 0, 0], [0, 0, 2, 3]])
    observed = (rows.sum(axis=0) ** 2).sum()
    squares = [
        ((np.array(a) + b + c) ** 2).sum()
        for a, b, c in itertools.product(
            *(itertools.permutations(row) for row in rows.tolist())
        )
    ]
    expected = np.mean(np.array(squares) >= observed)
    results = [exchangeability(rows, seed=seed).clumped for seed in range(20)]
    assert np.mean(results) == pytest.approx(expected, abs=0.01)


def test_the_p_of_drift_is_that_of_all_orders():
    row = np.array([[1, 3, 3, 4, 2, 6]])

    def correlation(values):
        below = [
            sum(b < a for b in values) + sum(b == a for b in values) / 2 for a in values
        ]
        return abs(np.corrcoef(below, range(6))[0, 1])

    every = [correlation(order) for order in itertools.permutations(row[0].tolist())]
    expected = np.mean(np.array(every) >= correlation(row[0].tolist()) - 1e-12)
    results = [exchangeability(row, seed=seed).drifting for seed in range(20)]
    assert np.mean(results) == pytest.approx(expected, abs=0.01)
    # It is of ranks.
    # Whatever the values are, their order is the same: 2 of 720 orders go as far either
    # way.
    for row in ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 600]):
        results = [
            exchangeability(np.array([row]), seed=seed).drifting for seed in range(20)
        ]
        assert np.mean(results) == pytest.approx(2 / 720 + 1 / 1000, abs=0.001)


@pytest.mark.full
def test_rounds_that_are_alike_are_seldom_said_not_to_be():
    rng = np.random.default_rng(1)
    likely = 10 ** rng.uniform(-3.5, 0, (60, 1))
    rows = (covered_words(rng, np.tile(likely, 40)) for _ in range(200))
    assert (
        np.mean(
            [exchangeability(row, seed=seed).alike for seed, row in enumerate(rows)]
        )
        >= 0.97
    )


def test_clumps_are_seen():
    rng = np.random.default_rng(2)
    clumps = np.where(rng.random(100) < 0.1, 0.8, 0.05)
    result = exchangeability(covered_words(rng, np.tile(clumps, (50, 1))))
    assert (result.clumped, result.alike) == (0.001, False)
    # Of more excerpts than pools, all are counted.
    rows = covered_words(rng, np.full((100, 30), 0.3))
    rows[:, 4] = 12
    assert exchangeability(rows, seed=7) == exchangeability(rows, seed=7)
    assert exchangeability(rows).clumped == 0.001


def test_a_model_that_changes_on_the_way_is_seen_even_in_one_excerpt():
    rising = np.arange(0, 100)[None] // 5
    result = exchangeability(rising)
    assert (result.clumped, result.drifting, result.alike) == (1, 0.001, False)
    assert exchangeability(rising[:, ::-1]) == result


def test_where_nothing_is_covered_and_in_one_excerpt_no_clumps_show():
    for shape in ((3, 1), (5, 100)):
        assert exchangeability(np.zeros(shape, dtype=np.int64)) == Exchangeability(1, 1)
    assert exchangeability(np.array([[50] * 3 + [0] * 97])).clumped == 1
    # The two are taken together at one per cent.
    pairs = ((0.006, 1), (0.005, 1), (1, 0.005))
    assert [Exchangeability(*pair).alike for pair in pairs] == [True, False, False]


def test_each_row_is_an_order_and_every_order_is_as_likely_and_seeded():
    for n in (1, 2, 7, 64, 1_000):
        orders = random_orders(np.random.default_rng(0), rows=50, n=n)
        assert (np.sort(orders, axis=1) == [[*range(n)]] * 50).all()
    orders, again = (
        random_orders(np.random.default_rng(1), rows=24_000, n=4) for _ in range(2)
    )
    assert (orders == again).all()
    seen = Counter(map(tuple, orders.tolist()))
    assert len(seen) == 24
    assert all(850 < times < 1_150 for times in seen.values())
