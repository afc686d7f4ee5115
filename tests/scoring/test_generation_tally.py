"""Tallies in parts: whatever way generations are divided, the numbers are the same."""

import random
from dataclasses import replace
from itertools import chain
from operator import itemgetter

import pytest
from examples import examples
from scored_books import book_of, generations_of, reciting_case

from pytest_memleak.errors import RecordsError
from pytest_memleak.records import Generation, Origin, Scoring
from pytest_memleak.scoring.analysis import (
    analysis_of,
    analyze,
    estimates,
    values_by_round,
)
from pytest_memleak.scoring.four_measures import measure
from pytest_memleak.scoring.generation_tally import Tally

SCORING = Scoring(k=3, trim=3, span_threshold=5)


def some_cases(seed, count):
    """Such cases, those without generations left out."""
    rng = random.Random(seed)
    return filter(itemgetter(1), (reciting_case(rng) for _ in range(count)))


def in_parts(book, generations, parts=3):
    tallies = [Tally(book, SCORING) for _ in range(parts)]
    for number, tally in enumerate(tallies):
        tally.add(generations[number::parts])
    return tallies


def test_adding_counts_leaves_the_added_ones_unchanged(plain):
    book, generations = reciting_case(random.Random(9))
    one, other = in_parts(book, generations, parts=2)
    for name in ("covered", "matches", "cut", "rest", "own"):
        getattr(other.counted, name).ascending().flags.writeable = False
    one.add_counted(other.counted)
    expected = plain(analyze(book, generations, SCORING))
    assert plain(analysis_of(one)) == expected
    assert plain(analysis_of(one)) == expected


def of_mixed_origins(rng, generations):
    """The generations, the first of them sampled, the others of any origin."""
    others = rng.choices(list(Origin), k=len(generations) - 1)
    return [
        replace(generation, origin=origin)
        for generation, origin in zip(
            generations, [Origin.SAMPLED, *others], strict=True
        )
    ]


def analyze_by_origin(book, generations):
    """An analysis of the generations of each origin, as if they had been sampled."""
    of_origin = {}
    for generation in generations:
        sampled = replace(generation, origin=Origin.SAMPLED)
        of_origin.setdefault(generation.origin, []).append(sampled)
    return {
        origin: analyze(book, of_origin[origin], SCORING)
        for origin in sorted(of_origin)
    }


def mixed_cases():
    """A book, generations of mixed origins, and their analysis."""
    rng = random.Random(5)
    for book, generations in some_cases(5, examples(200)):
        mixed = of_mixed_origins(rng, generations)
        yield book, mixed, analyze(book, mixed, SCORING)


@pytest.mark.full
def test_parts_of_mixed_origins_add_up_to_the_whole(plain):
    for book, mixed, result in mixed_cases():
        first, *others = in_parts(book, mixed)
        for part in others:
            first.add_counted(part.counted)
        assert plain(analysis_of(first)) == plain(result)


@pytest.mark.full
def test_only_passages_count_outside_the_sampled_rounds(plain):
    for book, mixed, result in mixed_cases():
        sampled = analyze_by_origin(book, mixed)[Origin.SAMPLED]
        rounds = (sampled.passages.by_round, sampled.passages.nv_by_round)
        assert (result.passages.by_round, result.passages.nv_by_round) == rounds
        without_passages, expected = (
            plain(replace(analysis, passages=None, ranges={}))
            for analysis in (result, sampled)
        )
        assert without_passages == expected


@pytest.mark.full
def test_the_longest_passages_are_those_of_any_origin():
    for book, mixed, result in mixed_cases():
        by_origin = analyze_by_origin(book, mixed)
        as_sampled = [replace(each, origin=Origin.SAMPLED) for each in mixed]
        every = analyze(book, as_sampled, SCORING).passages
        assert result.passages.passages_over == every.passages_over
        for name, passage in result.passages.longest.items():
            longest = [
                analysis.passages.longest[name].words for analysis in by_origin.values()
            ]
            assert passage.words == max(longest) == every.longest[name].words
            assert passage.origin is list(by_origin)[longest.index(max(longest))]
            assert (name in result.ranges) == (passage.origin is Origin.SAMPLED)


def test_own_runs_are_counted_by_length(oracle):
    rng = random.Random(5)
    for _ in range(examples(200)):
        book, generations = reciting_case(rng)
        words = [oracle.words(excerpt.text) for excerpt in book.excerpts]
        whole = list(chain.from_iterable(words))
        bounds, start = {}, 0
        for excerpt, its in zip(book.excerpts, words, strict=True):
            bounds[excerpt.id] = start, (start := start + len(its))
        expected = {}
        for generation in generations:
            first, last = bounds[generation.excerpt_id]
            for s, e in oracle.matches(whole, oracle.words(generation.text), 3):
                if (length := min(e, last) - max(s, first)) >= 3:
                    expected[length] = expected.get(length, 0) + 1
        tally = Tally(book, SCORING)
        tally.add(generations)
        assert tally.counted.own_lengths == expected


def test_invalid_generations_raise_an_error():
    book = book_of("a b c d")
    one, other = Tally(book, SCORING), Tally(book, SCORING)
    for tally in (one, other):
        tally.add([Generation("p_id1", 1, "a b")])
    with pytest.raises(
        RecordsError, match="generation 1 of excerpt 'p_id1' appears twice"
    ):
        one.add_counted(other.counted)
    for ordinal in (-1, 1 << 60):
        with pytest.raises(
            RecordsError, match=rf"the ordinal {ordinal}; expected 0 to 1"
        ):
            one.add([Generation("p_id1", ordinal, "a b")])


@pytest.mark.full
def test_covered_words_by_excerpt_are_those_of_each_generation_alone():
    rng = random.Random(6)
    for _ in range(60):
        book, generations = reciting_case(rng)
        tally = Tally(book, SCORING)
        tally.add(generations)
        covered = tally.covered_by_excerpt()
        assert covered.shape == (len(book.excerpts), tally.counted.rounds)
        for place, excerpt in enumerate(book.excerpts):
            for ordinal in range(tally.counted.rounds):
                one = [
                    g
                    for g in generations
                    if (g.excerpt_id, g.ordinal) == (excerpt.id, ordinal)
                ]
                alone = measure(book, one, SCORING)
                assert covered[place, ordinal] == round(alone.bmc * alone.words)


@pytest.mark.full
def test_measures_by_round_are_those_of_each_round_alone():
    several = 0
    for book, generations in some_cases(7, 30):
        result = values_by_round(analyze(book, generations, SCORING))
        rounds = 1 + max(generation.ordinal for generation in generations)
        assert {len(one) for one in result.values()} == {rounds}
        for ordinal in range(rounds):
            of_round = [
                generation
                for generation in generations
                if generation.ordinal == ordinal
            ]
            expected = dict.fromkeys(result, 0)
            if alone := analyze(book, of_round, SCORING):
                values = estimates(alone)
                expected = {name: values[name].value for name in result}
                expected["bmc"] *= alone.measurement.words
            assert {
                name: one[ordinal] for name, one in result.items()
            } == pytest.approx(expected)
            several += expected["spans_over"] > 1
    passages = {"longest_passage", "nv_longest_passage"}
    assert set(result) == {"bmc", "longest_span", "spans_over"} | passages
    assert several > 3


def numbered_words(*, excerpts, words):
    texts = (range(n, n + words) for n in range(0, excerpts * words, words))
    return book_of(*(" ".join(f"w{n}" for n in text) for text in texts))


def test_rounds_that_reproduce_all_or_nothing_are_not_exchangeable():
    book = numbered_words(excerpts=20, words=50)
    generations = [
        Generation(
            excerpt.id, n, excerpt.text if n % 20 == 7 else "nothing of it at all"
        )
        for excerpt in book.excerpts
        for n in range(40)
    ]
    analysis = analyze(book, generations, Scoring())
    assert not analysis.error.likeness.alike
    assert analysis.error.blocks == 6
    assert analysis.error.detection == pytest.approx(1 - 0.05 ** (1 / 6))


def test_ranges_of_maxima_rest_on_each_rounds_longest():
    book = numbered_words(excerpts=10, words=100)
    lucky = {
        3: 90,
        8: 40,
    }  # one round gives 90 words of an excerpt back, one 40, all others 10
    its_words = book.excerpts[0].text.split()
    generations = generations_of(
        [" ".join(its_words[: lucky.get(n, 10)]) for n in range(10)]
    )
    ranges = analyze(book, generations, Scoring()).ranges
    assert set(ranges) == {
        "longest_span",
        "longest_block",
        "longest_passage",
        "nv_longest_passage",
    }
    for name in ("longest_span", "longest_block", "longest_passage"):
        assert ranges[name].low == 10  # half of the halves have neither lucky round
        assert ranges[name].high == (
            100 if name == "longest_span" else 270
        )  # two spans of 90
    assert (
        ranges["nv_longest_passage"].low == 0
    )  # ten words make no near-verbatim passage
