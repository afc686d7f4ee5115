"""BMC compared with chance and with a baseline, METRICS section 7."""

import random
from itertools import accumulate

import numpy as np
import pytest

from pytest_memleak.errors import BookError, SettingsError
from pytest_memleak.records import Book, Excerpt, Scoring
from pytest_memleak.scoring.index import Index
from pytest_memleak.scoring.null import excess_over_null, uplift
from pytest_memleak.scoring.rounds import round_counts

SCORING = Scoring(k=5, trim=5, span_threshold=20)


def book_of(*texts):
    excerpts = tuple(Excerpt(f"p_id{n}", text) for n, text in enumerate(texts, start=1))
    return Book("b", "B", "A", excerpts, digest="")


ALPHABET = list("abcdefghijklmnopqrst")
BOOK = book_of(" ".join(ALPHABET[:8]), " ".join(ALPHABET[8:]))


def prose(rng, words):
    """Words as frequent as in prose (Zipf's law), some of them in set phrases."""
    text = []
    while len(text) < words:
        text += rng.choice(PHRASES) if rng.random() < 0.1 else []
        text += rng.choices(VOCABULARY, cum_weights=WEIGHTS, k=3)
    return text[:words]


VOCABULARY = [f"w{n}" for n in range(4_000)]
WEIGHTS = list(accumulate(1 / (n + 2.7) for n in range(4_000)))
PHRASES = [random.Random(n).choices(VOCABULARY, k=4 + n % 5) for n in range(300)]


# --- the numbers ---------------------------------------------------------------------------


def test_the_null_is_what_other_books_generations_share():
    found = excess_over_null(
        BOOK,
        [(None, "a b c d e f x x x x"), (None, "l m n o p x x x x x")],
        [(None, "x x f g h i j k x x"), ("about f g h i j", "f g h i j x x x x x")],
        SCORING,
    )
    assert (found.words, found.bmc, found.null_bmc) == (20, 11 / 20, 6 / 20)
    assert found.excess == 11 / 20 - 6 / 20
    assert found.null_longest_span == 0  # three words before the border, three after it
    assert -1 <= found.low <= found.excess <= found.high <= 1


def test_each_generation_is_trimmed_by_its_own_instruction():
    own = [("say a b c d e", "a b c d e f"), ("say a b c d", "a b c d e f")]
    others = [(None, "l m n o p q"), ("l m n o p q", "l m n o p q")]
    found = excess_over_null(BOOK, own, others, SCORING)
    assert (found.bmc, found.null_bmc, found.null_longest_span) == (6 / 20, 6 / 20, 6)
    untrimmed = excess_over_null(BOOK, own[:1], others[1:], Scoring(trim=0))
    assert (untrimmed.bmc, untrimmed.null_bmc) == (6 / 20, 6 / 20)
    trimmed = excess_over_null(BOOK, own[:1], others[1:], SCORING)
    assert (trimmed.bmc, trimmed.null_bmc) == (0, 0)
    by_three = excess_over_null(BOOK, own[1:], others, Scoring(trim=3))
    assert by_three.bmc == 0
    assert excess_over_null(BOOK, own, others, Scoring(trim=50)).bmc == 6 / 20


def test_the_larger_side_is_thinned_to_the_others_words():
    few, many = [(None, "a b c d e f g")], [(None, "i j k l m n o p q r")] * 5
    found = excess_over_null(BOOK, few, many, SCORING)
    assert (found.words, found.bmc, found.null_bmc) == (7, 7 / 20, 7 / 20)
    found = excess_over_null(BOOK, many, few, SCORING)
    assert (found.words, found.bmc, found.null_bmc) == (7, 7 / 20, 7 / 20)
    found = excess_over_null(BOOK, many, few * 3, SCORING)
    assert (found.words, found.bmc) == (21, 10 / 20)


def test_thinning_is_seeded_and_takes_any_generation():
    texts = [" ".join(ALPHABET[n : n + 5]) for n in range(16)]
    others = [(None, text) for text in texts]
    seen = set()
    for seed in range(60):
        found = excess_over_null(BOOK, [(None, "x " * 10)], others, SCORING, seed=seed)
        assert found == excess_over_null(BOOK, [(None, "x " * 10)], others, SCORING, seed=seed)
        assert found.words == 10
        seen.add(found.null_bmc)
    assert seen >= {6 / 20, 10 / 20}


def test_the_size_of_the_sides_makes_no_excess():
    # Ten times as many generations for other books, of the same kind: thinned, they cover alike.
    rng = random.Random(1)
    text = prose(rng, 20_000)
    book = book_of(" ".join(text))

    def answers(count):
        starts = [rng.randrange(len(text) - 40) for _ in range(count)]
        return [(None, " ".join(text[start : start + 40])) for start in starts]

    found = excess_over_null(book, answers(100), answers(1_000), SCORING)
    assert found.bmc == pytest.approx(found.null_bmc, abs=0.03)
    assert found.low < 0 < found.high


def test_nothing_to_compare_with():
    assert excess_over_null(BOOK, [(None, "a b c d e")], [], SCORING) is None
    assert excess_over_null(BOOK, [(None, "a b c d e")], [(None, " — ")], SCORING) is None
    assert excess_over_null(BOOK, [], [(None, "a b c d e")], SCORING) is None


def test_an_index_that_is_there_is_used():
    index = Index(BOOK, k=5)
    sides = [(None, "a b c d e f")] * 2, [(None, "x x x x x x")] * 2
    assert excess_over_null(BOOK, *sides, SCORING, index=index) == excess_over_null(
        BOOK, *sides, SCORING
    )


def test_bad_input():
    with pytest.raises(BookError, match="fewer than k"):
        excess_over_null(book_of("a b"), [], [], SCORING)
    with pytest.raises(SettingsError, match="confidence"):
        excess_over_null(BOOK, [(None, "a")], [(None, "a")], SCORING, confidence=1.5)


# --- the interval --------------------------------------------------------------------------


def test_unrelated_prose_has_no_excess():
    inside = 0
    rng = random.Random(5)
    for seed in range(120):
        if seed % 10 == 0:
            book = book_of(*(" ".join(prose(rng, 400)) for _ in range(25)))
            index = Index(book, k=5)
        sides = [
            [(f"about {n % 25}", " ".join(prose(rng, 200))) for n in range(count)]
            for count in (rng.choice([25, 75]), rng.choice([25, 150]))
        ]
        found = excess_over_null(book, *sides, SCORING, seed=seed, index=index)
        assert found.null_bmc > 0
        inside += found.low <= 0 <= found.high
    assert inside / 120 >= 0.93


def test_recall_is_an_excess():
    rng = random.Random(6)
    excerpts = [prose(rng, 400) for _ in range(25)]
    book = book_of(*map(" ".join, excerpts))
    own = []
    for n in range(100):
        answer, excerpt = prose(rng, 200), excerpts[n % 25]
        if n % 3 == 0:
            start = rng.randrange(340)
            answer[50:110] = excerpt[start : start + 60]
        own.append((f"about {n % 25}", " ".join(answer)))
    others = [(f"on {n % 25}", " ".join(prose(rng, 200))) for n in range(100)]
    found = excess_over_null(book, own, others, SCORING)
    assert found.bmc > 0.2 > found.null_bmc > 0.1
    assert found.low > 0.05
    assert found.null_longest_span < 15


# --- uplift --------------------------------------------------------------------------------


def test_uplift_is_the_difference_and_its_paired_jackknife():
    tuned = round_counts({0: [(0, 20)], 1: [(0, 10), (50, 70)], 2: []}, words=100, n=3)
    before = round_counts({0: [(0, 5)], 1: [], 2: [(90, 95)]}, words=100, n=3)
    found = uplift(tuned, before, scoring=SCORING)
    assert (found.bmc, found.baseline_bmc, found.uplift) == (0.40, 0.10, 0.40 - 0.10)
    without = [(0.30 - 0.05), (0.20 - 0.10), (0.40 - 0.05)]
    variance = 2 / 3 * sum((one - np.mean(without)) ** 2 for one in without)
    z = 1.959963984540054
    width = z * (variance + z * z / 4 * (0.20**2 + 0.05**2)) ** 0.5
    assert found.low == pytest.approx(0.30 - width - z * z / 2 * 0.05)
    assert found.high == pytest.approx(min(1, 0.30 + width + z * z / 2 * 0.20))


def test_uplift_over_itself_is_none():
    counts = round_counts({0: [(0, 20)], 1: [(0, 10)]}, words=100, n=2)
    found = uplift(counts, counts, scoring=SCORING)
    assert found.uplift == 0
    assert found.low < 0 < found.high


@pytest.mark.parametrize(("words", "n"), [(101, 2), (100, 3)])
def test_uplift_of_different_books_or_rounds_is_refused(words, n):
    counts = round_counts({0: [(0, 20)]}, words=100, n=2)
    with pytest.raises(SettingsError, match="100 words and 2 rounds"):
        uplift(counts, round_counts({}, words=words, n=n), scoring=SCORING)
