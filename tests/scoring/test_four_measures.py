"""The measures, of continuations too, against docs/method.md and the slow oracle."""

import random

import numpy as np
import pytest
from examples import examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scored_books import book_of, generations_of, reciting_case

from pytest_memleak import score
from pytest_memleak.books.instructions import BARE_PREFIX, beginnings
from pytest_memleak.errors import BookError, RecordsError, SettingsError
from pytest_memleak.records import Generation, Scoring
from pytest_memleak.scoring.analysis import analyze
from pytest_memleak.scoring.coverage_similarity import (
    compare,
    jaccard,
    round_agreement,
    self_agreement,
)
from pytest_memleak.scoring.four_measures import measure
from pytest_memleak.scoring.null_books import excess_over_null
from pytest_memleak.scoring.rounds import Rounds


def records(*excerpts):
    book = [
        {"excerpt_id": f"p_id{n}", "excerpt_text": text, "instruction": instruction}
        for n, (text, instruction, _) in enumerate(excerpts, start=1)
    ]
    generations = [
        {
            "excerpt_id": f"p_id{n}",
            "generations": [{"generated_text": one} for one in texts],
        }
        for n, (_, _, texts) in enumerate(excerpts, start=1)
    ]
    return book, generations


WORDS = st.sampled_from(
    [*"abcde", "A", "b.", "c’", "é", "K", "x\u00ady", "İ", "2²", "木", "_"]
)
PHRASE = st.lists(WORDS, max_size=12).map(" ".join)
ROWS = st.lists(
    st.tuples(PHRASE, st.none() | PHRASE, st.lists(PHRASE, max_size=3)),
    min_size=1,
    max_size=4,
)
RECITING = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(1, 20))
)
SETTINGS = st.tuples(*map(st.integers, (1, 0, 0), (9, 7, 8)))


@settings(max_examples=examples(20_000, fast=120))
@given(
    ROWS,
    RECITING,
    SETTINGS,
    st.sampled_from(["paper", "unicode"]),
    st.integers(0, 1000),
)
def test_every_measure_equals_the_oracle(oracle, rows, reciting, numbers, mode, seed):
    whole = [word for text, _, _ in rows for word in text.split()]
    for number, start, length in reciting:
        rows[number % len(rows)][2].append(" ".join(whole[start : start + length]))
    excerpts = [(f"p_id{n}", *row[:2]) for n, row in enumerate(rows, start=1)]
    generations = {f"p_id{n}": row[2] for n, row in enumerate(rows, start=1)}
    settings_ = dict(zip(("k", "trim", "span_threshold"), numbers, strict=True))
    expected = oracle.measure(excerpts, generations, **settings_, mode=mode)

    shuffled = random.Random(seed)
    book, answers = records(*rows)
    shuffled.shuffle(book)
    shuffled.shuffle(answers)
    seen = expected["words"]
    in_unicode = sum(len(oracle.words(text, "unicode")) for text, *_ in rows)
    if seen < settings_["k"] or (mode == "paper" and seen < 0.9 * in_unicode):
        with pytest.raises(BookError):
            score(book, answers, **settings_, word_mode=mode)
        return
    agree(score(book, answers, **settings_, word_mode=mode), expected)


def agree(measured, expected):
    block, span = measured.longest_block, measured.longest_span
    assert measured.words == expected["words"]
    assert measured.bmc == expected["bmc"]
    assert (block.words, block.start, block.end) == expected["longest_block"]
    place = span.words, span.start, span.end, span.excerpt_id, span.generation
    assert place == expected["longest_span"]
    assert [(s.start, s.end) for s in measured.spans] == expected["spans"]
    assert measured.spans_over == len(expected["spans"])
    assert list(measured.coverage.rounds) == expected["rounds"]
    assert list(measured.coverage.reach) == expected["reach"]


def test_own_records_and_the_papers_measure_alike():
    texts = "one two three four five six seven", "eight nine ten eleven twelve thirteen"
    ours = book_of(*texts, instructions=["about three four five six seven"])
    generations = [
        Generation("p_id2", 0, "so eight nine ten eleven twelve"),
        Generation("p_id1", 0, "one two three four five six seven"),
        Generation("p_id1", 1, ""),
    ]
    theirs, sampled = records(
        (texts[0], ours.excerpts[0].instruction, [generations[1].text, ""]),
        (texts[1], None, [generations[0].text]),
    )
    assert score(ours, generations) == score(theirs, sampled)


def test_the_instruction_of_a_generation_trims_before_the_books():
    book, generations = records(("a b c d e f", "nothing of it", ["a b c d e f"]))
    assert score(book, generations).bmc == 1
    generations[0]["instruction"] = "say a b c d e f"
    assert score(book, generations).bmc == 0


@pytest.mark.parametrize(("name", "value"), [
    ("k", 0), ("k", 1.5), ("k", True), ("trim", -1), ("span_threshold", -1), ("word_mode", "ascii"),
])  # fmt: skip
def test_settings_out_of_range_raise_an_error(name, value):
    book, generations = records(("a b c d e f", None, ["a"]))
    with pytest.raises(SettingsError, match=name):
        score(book, generations, **{name: value})


def test_foreign_and_duplicate_generations_raise_an_error():
    book = book_of("a b c d e f")
    with pytest.raises(RecordsError, match="p_id7"):
        score(book, [{"excerpt_id": "p_id7", "generations": [{"generated_text": "a"}]}])
    with pytest.raises(RecordsError, match="twice"):
        score(book, [Generation("p_id1", 0, "a"), Generation("p_id1", 0, "b")])


FEW_WORDS = st.lists(
    st.sampled_from([*"abcde", "b.", "A"]), min_size=1, max_size=12
).map(" ".join)
NAMES = ("prefix_words", "k", "trim", "span_threshold")


def beginnings_of(*texts, prefix_words):
    return beginnings(book_of(*texts), prefix_words=prefix_words, template=BARE_PREFIX)


def test_null_and_source_excerpts_stay_within_the_borders():
    book = beginnings_of("a b c d e f", "g h i j k l", prefix_words=2)
    scoring = Scoring(k=4, trim=0)
    across = ["e f i j", "d e f i j k"]
    nulls = {"other": [(None, text) for text in across]}
    null = excess_over_null(book, [(None, "n o p q")], nulls, scoring)
    assert (null.null_bmc, null.null_longest_span) == (0, 0)
    assert analyze(book, generations_of(across), scoring).cross.count == 0


@settings(max_examples=examples(2_000, fast=100))
@given(
    st.lists(
        st.tuples(FEW_WORDS, st.lists(FEW_WORDS, max_size=3)), min_size=1, max_size=4
    ),
    RECITING,
    st.tuples(*map(st.integers, (1, 1, 0, 0), (8, 6, 6, 6))),
)
def test_continuations_agree_with_the_oracle(oracle, texts, reciting, numbers):
    settings = dict(zip(NAMES, numbers, strict=True))
    prefix_words = settings.pop("prefix_words")
    book = beginnings_of(*(text for text, _ in texts), prefix_words=prefix_words)
    whole = [word for text, _ in texts for word in text.split()]
    for number, start, length in reciting:
        texts[number % len(texts)][1].append(" ".join(whole[start : start + length]))
    parts = [
        (excerpt.id, excerpt.instruction or "", excerpt.text)
        for excerpt in book.excerpts
    ]
    answers = {f"p_id{n}": answer for n, (_, answer) in enumerate(texts, start=1)}
    expected = oracle.measure_continuations(parts, answers, **settings)
    assume(expected["words"] >= settings["k"])
    agree(
        measure(book, generations_of(*answers.values()), Scoring(**settings)), expected
    )


FIVE = Scoring(k=5, trim=5)
BOOK = book_of("a b c d e f g h", "i j k l m n o p")
MODEL_A = generations_of(["a b c d e f", "c d e f g"], ["i j k l m"])
MODEL_B = generations_of(["d e f g h"], ["k l m n o p", "i j k l m"])


def test_the_worked_example_of_two_models_holds():
    similarity = compare(
        measure(BOOK, MODEL_A, FIVE), measure(BOOK, MODEL_B, FIVE).coverage
    )
    assert similarity.jaccard == 9 / 16
    assert similarity.baseline == (12 / 16 * 13 / 16) / (
        12 / 16 + 13 / 16 - 12 / 16 * 13 / 16
    )
    assert round(similarity.baseline, 5) == 0.63934
    assert self_agreement(BOOK, MODEL_A, FIVE) == 4 / 12
    assert self_agreement(BOOK, MODEL_B, FIVE) == 3 / 13
    # From rounds:
    a = {0: {(0, 6), (8, 13)}, 1: {(2, 7)}}
    b = {0: {(3, 8), (10, 16)}, 1: {(8, 13)}}
    assert round_agreement(Rounds.of(a), words=16, n=2) == 4 / 12
    assert round_agreement(Rounds.of(b), words=16, n=2) == 3 / 13


def test_generations_that_reproduce_nothing_cover_nothing():
    nothing = np.zeros(4, dtype=np.bool_)
    for masks in ((nothing, nothing), ([], [])):
        assert (jaccard(*masks), compare(*masks).jaccard, compare(*masks).baseline) == (
            0,
            0,
            0,
        )
    assert self_agreement(BOOK, [], FIVE) == 0
    assert round_agreement(Rounds.of({}), words=16, n=4) == 0
    # One generation agrees with nothing.
    assert self_agreement(BOOK, generations_of(["a b c d e f"], []), FIVE) == 0
    # Masks of two books are refused.
    with pytest.raises(SettingsError, match="3 and 4 words"):
        compare([True] * 3, [True] * 4)


def slow_mask(oracle, book, generations):
    excerpts = [
        (excerpt.id, excerpt.text, excerpt.instruction) for excerpt in book.excerpts
    ]
    texts = {excerpt.id: [] for excerpt in book.excerpts}
    for generation in generations:
        texts[generation.excerpt_id].append(generation.text)
    rounds = oracle.measure(excerpts, texts)["rounds"]
    return {place for place, count in enumerate(rounds) if count}


def slow_jaccard(a, b):
    return len(a & b) / len(a | b) if a | b else 0


@pytest.mark.full
def test_measures_of_generated_cases_equal_the_oracle(oracle):
    for seed in range(examples(3_000)):
        book, a, b = reciting_case(random.Random(seed), models=2)
        masks = [slow_mask(oracle, book, generations) for generations in (a, b)]
        one, other = measure(book, a, FIVE), measure(book, b, FIVE)
        similarity = compare(one, other)
        assert similarity.jaccard == slow_jaccard(*masks), seed
        p, q = (len(mask) / one.words for mask in masks)
        expected = p * q / (p + q - p * q) if p + q else 0
        assert similarity.baseline == pytest.approx(expected, abs=1e-15), seed
        half = max((generation.ordinal + 1 for generation in a), default=0) // 2
        halves = (
            [generation for generation in a if (generation.ordinal < half) == first]
            for first in (True, False)
        )
        masks = [slow_mask(oracle, book, generations) for generations in halves]
        assert self_agreement(book, a, FIVE) == slow_jaccard(*masks), seed
