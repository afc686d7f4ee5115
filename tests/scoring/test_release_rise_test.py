"""Release against release, docs/method.md."""

import itertools
import math

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Verdict
from pytest_memleak.scoring.bmc_interval import Spread, difference_bounds
from pytest_memleak.scoring.release_rise_test import (
    Comparison,
    PairRounds,
    compare_releases,
    least_rounds,
)

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def rounds_of(values, *, bmc=0.1, alike=True, words=1_000, variance=0.01**2):
    return PairRounds(
        words=words,
        values={"bmc": bmc, "longest_span": max(values)},
        per_round={"bmc": np.array(values), "longest_span": np.array(values)},
        spread=Spread(variance, len(values), 0.001),
        alike=alike,
    )


def compare(old, new, *named, **settings):
    named = named or (Comparison("a", "bmc"),)
    return compare_releases({"a": old}, {"a": new}, named, **settings)


def poisson(mean, n=100, seed=0, **settings):
    return rounds_of(np.random.default_rng(seed).poisson(mean, n).tolist(), **settings)


def test_a_release_is_never_worse_than_itself():
    (rise,) = compare(poisson(5), poisson(9, seed=1))
    (fall,) = compare(poisson(9, seed=1), poisson(5))
    assert (rise.p, fall.p) == (1 / 10_000, 1)
    (change,) = compare(poisson(5), poisson(5))
    assert change.p > 0.4
    assert (change.verdict, change.rise) == (PASS, 0)


def test_changes_are_seeded_and_keep_their_order():
    named = Comparison("a", "longest_span"), Comparison("a", "bmc")
    first = compare(poisson(5), poisson(6, seed=1), *named, seed=3)
    assert first == compare(poisson(5), poisson(6, seed=1), *named, seed=3)
    assert [change.measure for change in first] == ["longest_span", "bmc"]
    assert compare_releases({}, {}, ()) == ()


def test_a_rise_fails_only_over_its_tolerance():
    old, new = poisson(5), poisson(9, seed=1, bmc=0.16)
    for tolerance, verdict in ((0.0, FAIL), (0.05, FAIL), (0.07, PASS)):
        (change,) = compare(old, new, Comparison("a", "bmc", tolerance))
        assert (change.verdict, change.rise) == (verdict, pytest.approx(0.06))
    # A rise in the value alone is noise.
    (change,) = compare(poisson(5), poisson(5, seed=1, bmc=0.3))
    assert (change.p > 0.05, change.verdict) == (True, PASS)
    # With confidence 0 every rise over it counts.
    one, more = rounds_of([5], variance=None), rounds_of([5], bmc=0.2, variance=None)
    for tolerance, verdict in ((0.05, FAIL), (0.1, PASS)):
        (change,) = compare(one, more, Comparison("a", "bmc", tolerance), confidence=0)
        assert change.verdict is verdict


def compare_many(before, after):
    return compare_releases(before, after, [Comparison(pair, "bmc") for pair in before])


@pytest.mark.parametrize(("n", "comparisons", "enough"), [
    (1, 1, False), (4, 1, False), (5, 1, True), (7, 60, False), (8, 60, True),
])  # fmt: skip
def test_too_few_rounds_for_the_level_are_inconclusive(n, comparisons, enough):
    pairs = dict.fromkeys(
        map(str, range(comparisons)), rounds_of([7] * n, variance=None)
    )
    (change, *_) = compare_many(pairs, pairs)
    assert change.verdict is (PASS if enough else INCONCLUSIVE)


def test_the_smallest_p_is_a_tenth_of_the_smallest_level():
    pairs = list(map(str, range(300)))
    risen = dict.fromkeys(pairs, poisson(12, seed=1, bmc=0.4))
    changes = compare_many(dict.fromkeys(pairs, poisson(5)), risen)
    assert [change.p for change in changes] == pytest.approx([0.05 / 300 / 10] * 300)
    assert {change.verdict for change in changes} == {FAIL}


def test_blocks_are_permuted_where_the_rounds_of_either_are_not_alike():
    moody = [20 if 40 <= r < 60 else 0 for r in range(100)]
    never = [0] * 100
    (as_rounds,) = compare(rounds_of(never), rounds_of(moody, bmc=0.3))
    assert (as_rounds.verdict, as_rounds.approximate) == (FAIL, False)
    for old, new in ((True, False), (False, True)):
        (change,) = compare(
            rounds_of(never, alike=old), rounds_of(moody, bmc=0.3, alike=new)
        )
        # Both full blocks are in the later release: a division in about four.
        expected = math.comb(18, 8) / math.comb(20, 10)
        assert change.p == pytest.approx(expected, abs=0.02)
        assert (change.verdict, change.approximate) == (PASS, True)


def test_a_change_of_bmc_has_an_interval_and_the_rise_it_could_resolve():
    old, new = (
        poisson(5, variance=0.03**2),
        poisson(9, seed=1, bmc=0.16, variance=0.04**2),
    )
    of_bmc, of_span = compare(
        old, new, Comparison("a", "bmc"), Comparison("a", "longest_span")
    )
    assert of_bmc.resolved == pytest.approx(2.5 * 0.05)
    expected = difference_bounds(
        of_bmc.rise, Spread(0.05**2, 100, 0.001), typical_less=0.001, confidence=0.95
    )
    assert (of_bmc.low, of_bmc.high) == pytest.approx(expected)
    assert (of_span.low, of_span.high, of_span.resolved) == (None, None, None)
    # One round resolves nothing.
    one = rounds_of([5], variance=None)
    (change,) = compare(one, one)
    assert (change.low, change.high, change.resolved) == (-1, 1, None)
    assert change.verdict is INCONCLUSIVE


@pytest.mark.parametrize(("named", "message"), [
    (Comparison("b", "bmc"), "the earlier release has no pair 'b'"),
    (Comparison("a", "bcm"), "the earlier release has no measure 'bcm'"),
    (Comparison("a", "bmc", -0.1), "tolerance of bmc"),
    (Comparison("a", "bmc", math.nan), "tolerance of bmc"),
    (Comparison("a", "bmc", math.inf), "tolerance of bmc"),
])  # fmt: skip
def test_unknown_names_and_bad_tolerances_raise_an_error(named, message):
    with pytest.raises(SettingsError, match=message):
        compare(poisson(5), poisson(5), named)


def test_incomparable_releases_raise_an_error():
    with pytest.raises(SettingsError, match="later release has no pair 'a'") as caught:
        compare_releases({"a": poisson(5)}, {"b": poisson(5)}, [Comparison("a", "bmc")])
    assert "b" in caught.value.hint
    for other in ({"n": 50}, {"words": 2_000}):
        with pytest.raises(SettingsError, match="1,000 words and 100 rounds"):
            compare(poisson(5), poisson(5, **other))
    with pytest.raises(SettingsError, match="twice"):
        compare(
            poisson(5), poisson(5), Comparison("a", "bmc"), Comparison("a", "bmc", 0.1)
        )
    with pytest.raises(SettingsError, match="confidence"):
        compare(poisson(5), poisson(5), confidence=1)


def exact_p(old, new):
    both, size = old + new, len(new)
    sums = [
        sum(both[n] for n in chosen)
        for chosen in itertools.combinations(range(2 * size), size)
    ]
    return sum(total >= sum(new) for total in sums) / len(sums)


def holm_by_hand(p, level):
    """Those rejected: the smallest p against level / m, the next against level / (m - 1), ..."""
    left = dict(enumerate(p))
    rejected = set()
    while left:
        at = min(left, key=left.get)
        if left[at] > level / len(left):
            break
        rejected.add(at)
        del left[at]
    return rejected


@given(
    st.integers(5, 6).flatmap(
        lambda n: st.tuples(
            *[st.lists(st.integers(0, 6), min_size=n, max_size=n) for _ in range(2)]
        )
    )
)
@settings(max_examples=examples(40))
def test_p_is_that_of_every_division_gone_through(sides):
    old, new = sides
    (change,) = compare(rounds_of(old), rounds_of(new))
    exact = exact_p(old, new)
    error = 5 * math.sqrt(exact * (1 - exact) / 9_999) + 2 / 10_000
    assert change.p == pytest.approx(exact, abs=error)


@given(
    st.lists(st.sampled_from([5.0, 5.6, 6.2, 9.0]), min_size=1, max_size=6),
    st.integers(0, 30),
)
@settings(max_examples=examples(25))
def test_holms_rejections_over_all_named_comparisons_fail(means, further):
    before = {str(n): poisson(5, n=30, seed=n) for n in range(len(means))}
    after = {
        str(n): poisson(mean, n=30, seed=100 + n, bmc=0.2)
        for n, mean in enumerate(means)
    }
    named = [Comparison(pair, "bmc", 0.01) for pair in before]
    changes = compare_releases(before, after, named, untested=further)
    rejected = holm_by_hand([change.p for change in changes] + [1.0] * further, 0.05)
    assert {n for n, change in enumerate(changes) if change.verdict is FAIL} == rejected


def test_comparisons_that_could_not_be_made_still_divide_the_level():
    old, new = poisson(5), poisson(6, seed=1, bmc=0.4)
    (alone,) = compare(old, new)
    (one_of_many,) = compare(old, new, untested=30)
    assert 0.05 / 31 < alone.p <= 0.05
    assert (alone.verdict, one_of_many.verdict) == (FAIL, PASS)


@pytest.mark.parametrize(("comparisons", "confidence", "rounds"), [
    (1, 0.95, 5), (60, 0.95, 8), (2, 0.95, 6), (60, 0, 1),
])  # fmt: skip
def test_least_rounds_are_the_first_that_reach_the_level(
    comparisons, confidence, rounds
):
    assert least_rounds(comparisons, confidence=confidence) == rounds
