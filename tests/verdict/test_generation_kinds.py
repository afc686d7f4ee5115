"""The census: streams, keeps no text, and keeps to its memory."""

import dataclasses

import numpy as np
import pytest
from answer_sets import book_of, first_rounds, honest, replaced
from corpus import shakespeare
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.records import Work
from pytest_memleak.scoring.word_hashes import keys_of
from pytest_memleak.verdict import generation_kinds
from pytest_memleak.verdict.completeness import completeness
from pytest_memleak.verdict.evidence_requirements import GenerationRequest
from pytest_memleak.verdict.generation_kinds import GenerationCensus
from pytest_memleak.verdict.prompt_overlap import PromptOverlap, prompt_overlap
from pytest_memleak.verdict.prose import Prose
from pytest_memleak.verdict.shingles import RunSet, WordNumbers, run_hashes

NOTHING_GIVEN = PromptOverlap(None, (), (), None)
ASKED = GenerationRequest(samples=10)


def evidence(book, generations, overlap=NOTHING_GIVEN):
    return completeness(counted(book, generations), overlap)


def counted(book, generations, *, together=250):
    census = GenerationCensus(book, ASKED)
    for start in range(0, len(generations), together):
        part = generations[start : start + together]
        assert census.read(part)[0] == part
    return census.counted()


def test_the_order_of_generations_changes_no_census(book, answers):
    overlap = prompt_overlap(book, ASKED)
    assert evidence(book, answers, overlap) == evidence(book, answers[::-1], overlap)


def test_works_too_short_alone_are_judged_together():
    """Single excerpts with one text: each alone of too few excerpts to know a canned answer."""
    big = book_of("plays", shakespeare(), excerpts=6)
    generations = honest(big, shakespeare()[100_000:], 10)
    canned = [
        replaced(answer, generations[answer.ordinal].text) for answer in generations
    ]
    for at, excerpt in enumerate(big.excerpts):
        its = [each for each in canned if each.excerpt_id == excerpt.id]
        assert evidence(dataclasses.replace(big, excerpts=(excerpt,)), its).complete, at
    works = tuple(Work(f"w{n}", f"w{n}", None, n, n + 1) for n in range(6))
    assert not evidence(dataclasses.replace(big, works=works), canned).complete


def test_a_census_beyond_its_memory_keeps_a_share_of_the_runs(
    book, answers, monkeypatch
):
    generations = first_rounds(answers, 2)
    whole = {
        margin.rule: margin.value for margin in evidence(book, generations).margins
    }
    monkeypatch.setattr(generation_kinds, "_MOST_RUNS", 16_000)
    kept = counted(book, generations, together=17)
    assert 8_000 <= len(kept.runs) <= 16_000
    results = {
        margin.rule: margin.value
        for margin in completeness(kept, NOTHING_GIVEN).margins
    }
    assert results == pytest.approx(whole, abs=0.02)


def test_equal_runs_have_equal_hashes():
    for length in range(1, 33):
        words = [f"w{at}" for at in range(40)]
        hashes = run_hashes(keys_of(["a", *words, "b", *words]), length)
        assert len(hashes) == 82 - length + 1
        assert (hashes[1 : 42 - length] == hashes[42 : 83 - length]).all()
        assert len(np.unique(hashes[: 42 - length + 1])) == 42 - length + 1
        swapped = run_hashes(keys_of(words[::-1]), length)
        assert length == 1 or not np.isin(swapped, hashes).any()
    assert len(run_hashes(keys_of(["a"] * 7), 8)) == 0
    # They differ where two words differ in their last letters alone.
    letters = "abcdefghijklmnopqrstuvwxyz"
    pairs = [
        f"1234567{letter} of 1234567{other}" for letter in letters for other in letters
    ]
    hashes = np.concatenate([run_hashes(keys_of(pair.split()), 3) for pair in pairs])
    assert len(np.unique(hashes)) == len(pairs)


@given(
    st.lists(st.text("abé木", min_size=1, max_size=11), unique=True, max_size=300),
    st.data(),
)
def test_words_have_their_numbers_and_others_none(numbered, data):
    requested = [
        *numbered,
        *data.draw(st.lists(st.text("abé木", min_size=1, max_size=11))),
    ]
    expected = [numbered.index(one) + 1 if one in numbered else 0 for one in requested]
    assert WordNumbers(numbered).of(keys_of(requested)).tolist() == expected


@given(st.sets(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1)))
def test_known_runs_are_those_of_the_set(known, asked):
    hashes = np.array([*asked, *known], dtype=np.uint64)
    result = RunSet([np.array(sorted(known), dtype=np.uint64)]).places(hashes)
    assert result.tolist() == [
        at for at, one in enumerate(hashes.tolist()) if one in known
    ]


def test_prose_orders_words_by_count_then_alphabet_and_pairs_within_excerpts():
    book = book_of("small", ["b", "a", "c", "a", "c", "b"], words=3)
    prose = Prose.of(book, "paper")
    assert list(prose.marks) == ["a", "b", "c"]
    assert prose.common == 1
    # "c a" stands across the excerpts alone.
    for pair, order in {"ba": 1, "ab": 2, "ac": 1, "ca": 2}.items():
        assert prose.order[tuple(prose.marks[word] for word in pair)] == order
