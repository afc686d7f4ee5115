"""BMC compared with chance and with a baseline, docs/method.md."""

import dataclasses
import math
import random

import numpy as np
import pytest
from scored_books import book_of, prose, rounds_of

from pytest_memleak.errors import BookError, SettingsError
from pytest_memleak.records import Scoring
from pytest_memleak.scoring.confidence_bounds import student_quantile, student_tail
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.null_books import NullBook, excess_over_null
from pytest_memleak.scoring.round_blocks import larger_bmc_variance_over_blocks
from pytest_memleak.scoring.sampling_error import sampling_error
from pytest_memleak.scoring.uplift import uplift

SCORING = Scoring(k=5, trim=5, span_threshold=20)
ALPHABET = list("abcdefghijklmnopqrst")
BOOK = book_of(" ".join(ALPHABET[:8]), " ".join(ALPHABET[8:]))
LETTERS = " ".join(ALPHABET)
OWN = [(None, LETTERS), (None, "x " * 20)]
CLEAN = [(None, "x " * 20)] * 2


def test_the_null_is_what_each_other_books_generations_share():
    result = excess_over_null(
        BOOK,
        [(None, "a b c d e f x x x x"), (None, "l m n o p x x x x x")],
        {
            "one": [
                (None, "x x f g h i j k x x"),
                ("about f g h i j", "f g h i j x x x x x"),
            ],
            "other": [(None, "x x x x x x x x x x"), (None, "l m n o p q r s t x")],
        },
        SCORING,
    )
    assert (result.words, result.bmc) == (20, 11 / 20)
    # "f g h i j k" lies across the border: three words before it, three after it.
    assert result.books == (NullBook("one", 6 / 20, 0), NullBook("other", 9 / 20, 9))
    assert (result.null_bmc, result.null_longest_span) == (pytest.approx(7.5 / 20), 9)
    assert result.excess == pytest.approx(11 / 20 - 7.5 / 20)
    assert -1 <= result.low <= result.excess <= result.high <= result.own_high <= 1


def test_a_generation_is_trimmed_by_its_own_instruction():
    own = [("say a b c d e", "a b c d e f"), ("say a b c d", "a b c d e f")]
    others = [(None, "l m n o p q"), ("l m n o p q", "l m n o p q")]

    def compared(own, others, scoring=SCORING):
        result = excess_over_null(BOOK, own, {"other": others}, scoring)
        return result.bmc, result.null_bmc, result.null_longest_span

    assert compared(own, others) == (6 / 20, 6 / 20, 6)
    assert compared(own[:1], others[1:], Scoring(trim=0)) == (6 / 20, 6 / 20, 6)
    assert compared(own[:1], others[1:]) == (0, 0, 6)
    assert compared(own[1:], others, Scoring(trim=3))[0] == 0
    assert compared(own, others, Scoring(trim=50))[0] == 6 / 20


def test_all_sides_are_thinned_to_the_words_of_the_least():
    few, many = [(None, "a b c d e f g")], [(None, "i j k l m n o p q r")] * 5
    for own, nulls in (
        (few, {"a": many}),
        (many, {"a": few}),
        (many, {"a": many, "b": few}),
        (many, {"a": few, "b": many}),
    ):
        result = excess_over_null(BOOK, own, nulls, SCORING)
        assert (result.words, result.bmc) == (7, 7 / 20)
        assert {book.bmc for book in result.books} == {7 / 20}
    result = excess_over_null(BOOK, many, {"a": few * 3}, SCORING)
    assert (result.words, result.bmc) == (21, 10 / 20)


def test_thinning_is_seeded_and_takes_any_generation():
    texts = [" ".join(ALPHABET[n : n + 5]) for n in range(16)]
    nulls = {"other": [(None, text) for text in texts]}
    seen = set()
    for seed in range(60):
        result = excess_over_null(BOOK, [(None, "x " * 10)], nulls, SCORING, seed=seed)
        assert result == excess_over_null(
            BOOK, [(None, "x " * 10)], nulls, SCORING, seed=seed
        )
        assert result.words == 10
        seen.add(result.null_bmc)
    assert seen >= {6 / 20, 10 / 20}


def test_a_pair_without_words_or_null_books_has_no_null():
    own, blank = [(None, "a b c d e")], [(None, "")]
    for nulls in ({}, {"a": []}, {"a": [(None, " — ")]}):
        assert excess_over_null(BOOK, own, nulls, SCORING) is None
    assert excess_over_null(BOOK, [], {"a": own}, SCORING) is None
    result = excess_over_null(BOOK, own, {"a": blank, "b": [(None, "x x")]}, SCORING)
    assert [null.book_id for null in result.books] == [
        "b"
    ]  # a book without words is no null
    assert (result.words, result.bmc) == (2, 0)
    sides = [(None, "a b c d e f")] * 2, {"other": [(None, "x x x x x x")] * 2}
    error = excess_over_null(BOOK, *sides, SCORING, index=SharedIndex([BOOK], k=5))
    assert error == excess_over_null(BOOK, *sides, SCORING)
    # Bad input.
    with pytest.raises(BookError, match="fewer than k"):
        excess_over_null(book_of("a b"), [], {}, SCORING)
    with pytest.raises(SettingsError, match="confidence"):
        excess_over_null(
            BOOK, [(None, "a")], {"b": [(None, "a")]}, SCORING, confidence=1.5
        )


def nulls_with(*words):
    """Null books that share the first so many letters; 40 words each, in two generations."""
    shared = [" ".join(ALPHABET[:count]) for count in words]
    return {
        str(number): [(None, f"{text} {'x ' * (20 - one)}"), (None, "x " * 20)]
        for number, (one, text) in enumerate(zip(words, shared, strict=True))
    }


def test_the_interval_rests_on_the_variance_between_null_books():
    result = excess_over_null(BOOK, OWN, nulls_with(6, 8, 13), SCORING)
    assert result.excess == pytest.approx(1 - 9 / 20)
    between = ((6 - 9) ** 2 + (8 - 9) ** 2 + (13 - 9) ** 2) / 2 / 20**2
    own = (
        (2 - 1) / 2 * ((1 - 0.5) ** 2 + (0 - 0.5) ** 2)
    )  # the jackknife of two generations
    within = np.mean([count**2 / 4 for count in (6, 8, 13)]) / 20**2
    width = 4.302652729911275 * math.sqrt(own + within / 3 + between * (1 + 1 / 3))
    assert width > 1.55
    assert (result.low, result.high) == (-1, 1)
    at_half = excess_over_null(BOOK, OWN, nulls_with(6, 8, 13), SCORING, confidence=0.3)
    width *= student_quantile(0.3, 2) / 4.302652729911275
    assert at_half.low == pytest.approx(1 - 9 / 20 - width)


def test_p_is_one_sided_and_rests_on_logarithms():
    result = excess_over_null(BOOK, OWN, nulls_with(6, 8, 13), SCORING)
    logs = [math.log((count + 5) / 20) for count in (6, 8, 13)]
    mean = sum(logs) / 3
    scale = math.sqrt(sum((log - mean) ** 2 for log in logs) / 2 * (1 + 1 / 3))
    t = (math.log((20 + 5) / 20) - mean) / scale
    assert result.p == pytest.approx(student_tail(t, 2))
    assert result.visible == pytest.approx(math.exp(2.919985580355516 * scale))
    assert (
        excess_over_null(BOOK, [(None, "x " * 40)], nulls_with(6, 8, 13), SCORING).p
        > 0.9
    )


def test_a_pair_at_the_visible_multiple_has_just_that_p():
    nulls = nulls_with(6, 8, 13)
    visible = excess_over_null(BOOK, OWN, nulls, SCORING, confidence=0.7).visible
    mean = math.exp(np.mean([math.log((count + 5) / 20) for count in (6, 8, 13)]))
    for letters in range(5, 21):
        own = [(None, " ".join(ALPHABET[:letters])), (None, "x " * (40 - letters))]
        p = excess_over_null(BOOK, own, nulls, SCORING).p
        assert (p < 0.3) == ((letters + 5) / 20 > visible * mean)


def test_null_books_that_agree_give_a_certain_p():
    result = excess_over_null(BOOK, OWN, nulls_with(6, 6), SCORING)
    assert (result.p, result.visible) == (0, 1)
    assert (
        excess_over_null(BOOK, nulls_with(6)["0"], nulls_with(6, 6), SCORING).p == 0.5
    )
    # A single generation tells nothing of its variance.
    result = excess_over_null(BOOK, [(None, LETTERS)], nulls_with(6, 6), SCORING)
    assert (result.low, result.high) == (-1, 1)


def test_one_null_book_gives_no_interval_and_the_pairs_own_upper_end():
    result = excess_over_null(BOOK, OWN, nulls_with(6), SCORING)
    assert (result.low, result.high, result.p, result.visible) == (None,) * 4
    assert result.own_high == 1
    result = excess_over_null(BOOK, CLEAN, nulls_with(6), SCORING)
    assert result.own_high == pytest.approx(
        min(1, 1.959963984540054**2)
    )  # of 20 words in 20
    # With no confidence it is the value itself.
    for nulls in (nulls_with(6), nulls_with(6, 13)):
        result = excess_over_null(BOOK, OWN, nulls, SCORING, confidence=0)
        assert result.low == result.high == result.excess


def test_the_error_of_all_rounds_bounds_the_excess_and_widens_it():
    error = sampling_error(rounds_of([]).counts(words=20, n=9))
    error = dataclasses.replace(error, high=0.6, variance=0.0)
    nulls = nulls_with(6, 8, 7, 6, 8)
    result = excess_over_null(BOOK, CLEAN, nulls, SCORING, error=error)
    assert result.high <= result.own_high == 0.6
    unknown = dataclasses.replace(error, variance=0.04)
    assert (
        excess_over_null(BOOK, CLEAN, nulls, SCORING, error=unknown).low
        < result.low - 0.3
    )
    over = excess_over_null(
        BOOK, OWN, nulls, SCORING, error=dataclasses.replace(error, high=0.1)
    )
    assert over.high == over.excess


@pytest.mark.full
def test_unrelated_prose_has_no_excess():
    inside = seen = 0
    rng = random.Random(5)
    for seed in range(120):
        if seed % 10 == 0:
            book = book_of(*(" ".join(prose(rng, 400)) for _ in range(25)))
            index = SharedIndex([book], k=5)
        own, *others = (
            [
                (f"about {n % 25}", " ".join(prose(rng, 200)))
                for n in range(rng.choice([25, 50]))
            ]
            for _ in range(2 + seed % 3)
        )
        if len(others) == 1:
            others *= 2
        nulls = dict(enumerate(others))
        result = excess_over_null(book, own, nulls, SCORING, seed=seed, index=index)
        assert result.null_bmc > 0
        inside += result.low <= 0 <= result.high
        seen += result.p < 0.05 and len(others) > 2
    assert inside / 120 >= 0.93
    assert seen / 40 <= 0.15


def rounds_of_100(*intervals):
    return rounds_of(intervals).counts(words=100, n=len(intervals))


def test_uplift_is_the_difference_and_its_paired_jackknife():
    tuned = rounds_of_100([(0, 20)], [(0, 10), (50, 70)], [])
    result = uplift(tuned, rounds_of_100([(0, 5)], [], [(90, 95)]), scoring=SCORING)
    assert result.value == 0.40 - 0.10
    without = [(0.30 - 0.05), (0.20 - 0.10), (0.40 - 0.05)]
    variance = 2 / 3 * sum((value - np.mean(without)) ** 2 for value in without)
    z, t = 1.959963984540054, 4.302652729911275
    width = (t * t * variance + z**4 / 4 * (0.20**2 + 0.05**2)) ** 0.5
    assert result.low == pytest.approx(0.30 - width - z * z / 2 * 0.05)
    assert result.high == pytest.approx(min(1, 0.30 + width + z * z / 2 * 0.20))
    # Over itself there is none.
    result = uplift(tuned, tuned, scoring=SCORING)
    assert result.value == 0
    assert result.low < 0 < result.high


@pytest.mark.parametrize(("words", "n"), [(101, 2), (100, 3)])
def test_uplift_of_different_books_or_rounds_raises_an_error(words, n):
    theirs = rounds_of([]).counts(words=words, n=n)
    with pytest.raises(SettingsError, match="100 words and 2 rounds"):
        uplift(rounds_of_100([(0, 20)], []), theirs, scoring=SCORING)


def test_uplift_of_rounds_that_are_not_alike_takes_blocks_of_both():
    tuned = rounds_of_100(*[[]] * 10, *[[(0, 20)]] * 10, *[[]] * 80)
    before = rounds_of_100(*[[]] * 100)
    as_if_alike = uplift(tuned, before, scoring=SCORING)
    result = uplift(tuned, before, scoring=SCORING, alike=False)
    assert result.value == as_if_alike.value == 0.20
    variance = larger_bmc_variance_over_blocks(tuned, baseline=before)
    t, z = 2.2621571627409915, 1.959963984540054  # ten blocks
    less, more = z * z / 2 * 20 / 100, z * z / 2 * 20 / 100
    width = math.sqrt(t * t * variance + less * less + more * more)
    assert result.low == pytest.approx(max(-1, 0.20 - less - width))
    assert result.low < as_if_alike.low
