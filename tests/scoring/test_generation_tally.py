"""Tallies in parts: whatever way generations are divided, the numbers are the same."""

import pickle
import random
from dataclasses import replace
from itertools import chain

import pytest
from examples import examples

from pytest_memleak.errors import RecordsError
from pytest_memleak.records import Book, Excerpt, Generation, Origin, Scoring
from pytest_memleak.scoring import generation_tally as module
from pytest_memleak.scoring.analysis import analysis_of, analyze, by_round, estimates
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.measures import measure

SCORING = Scoring(k=3, trim=3, span_threshold=5)


def generated_case(rng):
    letters = "abcdefghijklmn"[: rng.randint(2, 14)]
    texts = [rng.choices(letters, k=rng.randint(0, 30)) for _ in range(rng.randint(1, 5))]
    texts[0] += rng.choices(letters, k=6)
    whole = [word for text in texts for word in text]

    def said():
        start = rng.randrange(len(whole))
        return [*whole[start : start + rng.randint(1, 25)], "y", *rng.choices(letters, k=5)]

    excerpts = tuple(
        Excerpt(f"p_id{n}", " ".join(text), " ".join(rng.choices(letters, k=6)))
        for n, text in enumerate(texts, start=1)
    )
    generations = [
        Generation(excerpt.id, ordinal, " ".join(said()))
        for excerpt in excerpts
        for ordinal in range(rng.randint(0, 6))
    ]
    rng.shuffle(generations)
    return Book("b", "B", "A", excerpts, digest=""), generations


def test_parts_added_up_are_the_whole(plain):
    rng = random.Random(3)
    for _ in range(examples(300)):
        book, generations = generated_case(rng)
        if not generations:
            continue
        parts = [Tally(book, SCORING) for _ in range(3)]
        for number, tally in enumerate(parts):
            tally.add(generations[number::3])
        parts[0].add_counted(parts[1].counted)
        parts[2].add_counted(pickle.loads(pickle.dumps(parts[0].counted)))
        together = plain(analysis_of(parts[2], SCORING))
        assert together == plain(analyze(book, generations, SCORING))


@pytest.mark.full
def test_only_passages_count_outside_the_sampled_rounds(plain):
    rng = random.Random(5)
    for _ in range(examples(200)):
        book, generations = generated_case(rng)
        if not generations:
            continue
        origins = [Origin.SAMPLED, *rng.choices(list(Origin), k=len(generations) - 1)]
        mixed = [
            replace(one, origin=origin) for one, origin in zip(generations, origins, strict=True)
        ]
        parts = [Tally(book, SCORING) for _ in range(3)]
        for number, tally in enumerate(parts):
            tally.add(mixed[number::3])
            if number:
                parts[0].add_counted(tally.counted)
        result = analysis_of(parts[0], SCORING)
        assert plain(result) == plain(analyze(book, mixed, SCORING))
        by_origin = {
            origin: analyze(
                book,
                [replace(one, origin=Origin.SAMPLED) for one in mixed if one.origin is origin],
                SCORING,
            )
            for origin in sorted(set(origins))
        }
        alone = by_origin[Origin.SAMPLED]
        rounds = (alone.passages.by_round, alone.passages.nv_by_round)
        assert (result.passages.by_round, result.passages.nv_by_round) == rounds
        every = analyze(book, generations, SCORING).passages
        assert result.passages.passages_over == every.passages_over
        for name, passage in result.passages.longest.items():
            longest = [one.passages.longest[name].words for one in by_origin.values()]
            assert passage.words == max(longest) == every.longest[name].words
            assert passage.origin is list(by_origin)[longest.index(max(longest))]
            assert (name in result.ranges) == (passage.origin is Origin.SAMPLED)
        bare = [replace(one, passages=None, ranges={}) for one in (result, alone)]
        assert plain(bare[0]) == plain(bare[1])


def test_what_is_added_is_left_as_it_is(plain):
    book, generations = generated_case(random.Random(9))
    one, other = Tally(book, SCORING), Tally(book, SCORING)
    one.add(generations[::2])
    other.add(generations[1::2])
    for numbers in (other.counted.pieces, other.counted.matches, other.counted.own):
        numbers.ascending().flags.writeable = False
    one.add_counted(other.counted)
    expected = plain(analyze(book, generations, SCORING))
    assert plain(analysis_of(one, SCORING)) == expected
    assert plain(analysis_of(one, SCORING)) == expected


@pytest.mark.full
def test_what_is_given_out_together_changes_nothing(plain, monkeypatch):
    rng = random.Random(4)
    cases = [generated_case(rng) for _ in range(50)]
    cases = [case for case in cases if case[1]]
    expected = [plain(analyze(*case, SCORING)) for case in cases]
    monkeypatch.setattr(module, "_CHARACTERS_TOGETHER", 90)
    monkeypatch.setattr(module, "_TEXTS_TOGETHER", 3)
    assert [plain(analyze(*case, SCORING)) for case in cases] == expected


def test_lengths_of_runs_with_the_own_excerpt(oracle):
    rng = random.Random(5)
    for _ in range(examples(200)):
        book, generations = generated_case(rng)
        words = [oracle.words(excerpt.text) for excerpt in book.excerpts]
        whole = list(chain.from_iterable(words))
        bounds, start = {}, 0
        for excerpt, its in zip(book.excerpts, words, strict=True):
            bounds[excerpt.id] = start, (start := start + len(its))
        expected = {}
        for one in generations:
            first, last = bounds[one.excerpt_id]
            for s, e in oracle.matches(whole, oracle.words(one.text), 3):
                if (length := min(e, last) - max(s, first)) >= 3:
                    expected[length] = expected.get(length, 0) + 1
        tally = Tally(book, SCORING)
        tally.add(generations)
        assert tally.counted.own_lengths == expected


def test_a_generation_in_two_parts_is_refused():
    book = Book("b", "B", "A", (Excerpt("p_id1", "a b c d"),), digest="")
    one, other = Tally(book, SCORING), Tally(book, SCORING)
    one.add([Generation("p_id1", 1, "a b")])
    other.add([Generation("p_id1", 1, "a b")])
    with pytest.raises(RecordsError, match="generation 1 of excerpt 'p_id1' appears twice"):
        one.add_counted(other.counted)


@pytest.mark.parametrize("ordinal", [-1, 1 << 60])
def test_an_ordinal_out_of_range_is_refused(ordinal):
    book = Book("b", "B", "A", (Excerpt("p_id1", "a b c d"),), digest="")
    with pytest.raises(RecordsError, match=rf"the ordinal {ordinal}; expected 0 to 1"):
        Tally(book, SCORING).add([Generation("p_id1", ordinal, "a b")])


@pytest.mark.full
def test_each_generation_and_round_is_told_as_if_it_were_alone():
    rng = random.Random(6)
    for _ in range(60):
        book, generations = generated_case(rng)
        tally = Tally(book, SCORING)
        tally.add(generations)
        covered, longest = tally.covered_by_excerpt(), tally.longest_by_round()
        assert covered.shape == (len(book.excerpts), tally.counted.rounds)
        for place, excerpt in enumerate(book.excerpts):
            for ordinal in range(tally.counted.rounds):
                one = [g for g in generations if (g.excerpt_id, g.ordinal) == (excerpt.id, ordinal)]
                alone = measure(book, one, SCORING)
                assert covered[place, ordinal] == round(alone.bmc * alone.words)
        for ordinal, words in enumerate(longest.tolist()):
            of_round = [one for one in generations if one.ordinal == ordinal]
            assert words == measure(book, of_round, SCORING).longest_span.words


@pytest.mark.full
def test_what_releases_are_compared_in_is_told_of_each_round_as_if_it_were_alone():
    rng = random.Random(7)
    told = 0
    for _ in range(30):
        book, generations = generated_case(rng)
        if not generations:
            continue
        found = by_round(analyze(book, generations, SCORING))
        rounds = 1 + max(one.ordinal for one in generations)
        assert {len(one) for one in found.values()} == {rounds}
        for ordinal in range(rounds):
            alone = analyze(book, [one for one in generations if one.ordinal == ordinal], SCORING)
            expected = (
                {name: one.value for name, one in estimates(alone).items() if name in found}
                if alone
                else dict.fromkeys(found, 0)
            )
            if alone:
                expected["bmc"] *= alone.measurement.words
            assert {name: one[ordinal] for name, one in found.items()} == pytest.approx(expected)
            told += expected["spans_over"] > 1
    assert set(found) == {
        "bmc",
        "longest_span",
        "spans_over",
        "longest_passage",
        "nv_longest_passage",
    }
    assert told > 3


def test_rounds_that_recite_everything_or_nothing_are_seen_not_to_be_alike():
    words = [f"w{n}" for n in range(1000)]
    excerpts = tuple(Excerpt(f"p{n}", " ".join(words[50 * n : 50 * n + 50])) for n in range(20))
    book = Book("b", "B", "A", excerpts, digest="")
    generations = [
        Generation(one.id, ordinal, one.text if ordinal % 20 == 7 else "nothing of it at all")
        for one in excerpts
        for ordinal in range(40)
    ]
    analysis = analyze(book, generations, Scoring())
    assert not analysis.error.likeness.alike
    assert analysis.error.blocks == 6
    assert analysis.error.detection == pytest.approx(1 - 0.05 ** (1 / 6))


def test_ranges_of_maxima_rest_on_each_rounds_longest():
    words = [f"w{n}" for n in range(1000)]
    excerpts = tuple(Excerpt(f"p{n}", " ".join(words[100 * n : 100 * n + 100])) for n in range(10))
    book = Book("b", "B", "A", excerpts, digest="")
    lucky = {3: 90, 8: 40}  # one round gives 90 words of an excerpt back, one 40, all others 10
    generations = [
        Generation(one.id, ordinal, " ".join(one.text.split()[: lucky.get(ordinal, 10)]))
        for one in excerpts[:1]
        for ordinal in range(10)
    ]
    ranges = analyze(book, generations, Scoring()).ranges
    assert set(ranges) == {"longest_span", "longest_block", "longest_passage", "nv_longest_passage"}
    for name in ("longest_span", "longest_block", "longest_passage"):
        assert ranges[name].low == 10  # half of the halves have neither lucky round
        assert ranges[name].high == (
            100 if name == "longest_span" else 270
        )  # two typical spans of 90
    assert ranges["nv_longest_passage"].low == 0  # ten words make no near-verbatim passage
