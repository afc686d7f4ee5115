"""The automaton and the normal path find the same matches; METRICS section 2 says which."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from scored_books import book_of

from pytest_memleak.records import Generation, Origin
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.second_opinion import Sample, automaton_matches, differences

WORDS = st.lists(st.sampled_from(["a", "b", "Averylongword", "é", "9-9", "Кот"]), max_size=40)
TEXTS = st.lists(WORDS.map(" ".join), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 8), st.booleans())
def test_both_paths_find_what_the_oracle_finds(oracle, excerpts, texts, k, contiguous):
    excerpts = [*excerpts, "9 a é " * 9]
    book = book_of(*excerpts, contiguous=contiguous)
    parts = oracle.parts_of({"excerpts": excerpts, "contiguous": contiguous}, oracle.unicode_words)
    expected = {
        (number, place, start): words
        for number, text in enumerate(texts)
        for start, place, words in oracle.matches_at(parts, oracle.unicode_words(text), k)
    }
    assert automaton_matches(book, texts, k=k, mode="unicode") == expected
    index = SharedIndex([book], k=k, mode="unicode")
    generations = [Generation("p_id1", n, text) for n, text in enumerate(texts)]
    assert list(differences(("b", book), index, generations)) == []


def test_the_sample_is_seeded_and_one_in_a_hundred_of_many():
    generations = [Generation(f"p_id{n % 50}", n // 50, "") for n in range(5_000)]
    shuffled = random.Random(1).sample(generations, len(generations))

    def chosen(some, seed=0):
        sample = Sample(seed)
        assert list(sample.watch(some)) == some
        return {(one.excerpt_id, one.ordinal) for one in sample.generations}

    beside = [replace(one, origin=Origin.UNREQUESTED) for one in generations]

    assert chosen(generations) == chosen(shuffled) != chosen(generations, seed=1)
    assert chosen(generations) != chosen(beside)
    assert 25 <= len(chosen(generations)) <= 90
    assert (len(chosen(generations[:60])), len(chosen(generations[:7]))) == (20, 7)
