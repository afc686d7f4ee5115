"""What other paths find: a library streamed past all generations, and the second opinion."""

import random
import re
from dataclasses import replace

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from protected_book_cases import case_of, passages_of
from scored_books import book_of, generations_of

from pytest_memleak.errors import BookError
from pytest_memleak.records import Generation, Origin, Scoring
from pytest_memleak.scoring import catalog_scan, folding, keyed_texts, word_hashes
from pytest_memleak.scoring.catalog_scan import GenerationPrefilter, book_keys
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.ngram_prefilter import BORDER, NgramPrefilter, gram_hashes
from pytest_memleak.scoring.second_opinion import (
    Sample,
    automaton_matches,
    differences_by_automaton,
)
from pytest_memleak.scoring.word_hashes import TEXT_END


def test_survivors_are_what_the_exact_index_finds():
    survived, cases = 0, examples(600, fast=30)
    for seed in range(cases):
        rng = random.Random(seed)
        books, _, generations, settings = case_of(rng)
        scoring = Scoring(k=settings["k"], trim=0, word_mode="unicode")
        texts = [text for its in generations.values() for text in its]
        shelf = [
            book_of(
                *book["excerpts"], book_id=book["id"], contiguous=book["contiguous"]
            )
            for book in books
        ]
        try:
            its_keys = [
                (book.id, book_keys(book, k=scoring.k, mode="unicode"))
                for book in shelf
            ]
        except BookError:
            continue
        least = rng.choice([scoring.k, 12, 20])
        prefilter = GenerationPrefilter(texts, k=scoring.k, mode="unicode")
        result = list(prefilter.matching_books(its_keys, least_verbatim_words=least))
        expected = []
        for book in shelf:
            passages = passages_of([book], generations_of(texts), scoring=scoring)
            exact, near = (
                passages.longest_passage.words,
                passages.nv_longest_passage.words,
            )
            if exact >= least or near >= 20:
                expected.append((book.id, exact, near))
        assert result == expected
        survived += len(expected)
    assert survived > cases // 6


def test_a_hash_that_hits_by_chance_behind_the_last_text_is_no_run():
    book = np.array([BORDER, *range(11, 20), BORDER], dtype=np.uint64)
    text = np.array([TEXT_END, *range(12, 18), TEXT_END], dtype=np.uint64)
    hashes = gram_hashes(text, 5)
    hashes[-1] = gram_hashes(book, 5)[3]
    runs = NgramPrefilter(book, 5).runs(text, hashes)
    assert [column.tolist() for column in runs] == [[1], [2], [6]]


def test_keys_tell_nothing_of_the_text_but_short_words():
    keys = book_keys(book_of("short unforgettable words of five"), k=5)
    assert keys.words == 5
    assert keys.folded is keys.exact
    assert "short" not in repr(keys)
    assert keys.exact.dtype == np.uint64
    with pytest.raises(BookError, match="2 words"):
        book_keys(book_of("two words"), k=5)


@pytest.mark.parametrize(("module", "name", "other"), [
    (folding, "_READ_AS", {}), (folding, "_NUMBERS", re.compile("(?!)")),
    (keyed_texts, "_PARTED", re.compile(b"(?!)")), (word_hashes, "_MIX", np.uint64(7)),
    (word_hashes, "_SCRAMBLE", np.uint64(7)),
])  # fmt: skip
def test_words_that_are_read_or_numbered_in_another_way_are_another_numbering(
    monkeypatch, module, name, other
):
    today = {catalog_scan.digest_of_word_keys(mode) for mode in ("paper", "unicode")}
    assert len(today) == 2
    monkeypatch.setattr(module, name, other)
    assert catalog_scan.digest_of_word_keys.__wrapped__("paper") not in today


SHORT_WORDS = st.lists(
    st.sampled_from(["a", "b", "Averylongword", "é", "9-9", "Кот"]), max_size=40
)
TEXTS = st.lists(SHORT_WORDS.map(" ".join), min_size=1, max_size=4)


@settings(max_examples=examples(60), deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 8), st.booleans())
def test_automaton_and_index_equal_the_oracle(oracle, excerpts, texts, k, contiguous):
    excerpts = [*excerpts, "9 a é " * 9]
    book = book_of(*excerpts, contiguous=contiguous)
    parts = oracle.parts_of(
        {"excerpts": excerpts, "contiguous": contiguous}, oracle.unicode_words
    )
    expected = {
        (number, place, start): words
        for number, text in enumerate(texts)
        for start, place, words in oracle.matches_at(
            parts, oracle.unicode_words(text), k
        )
    }
    assert automaton_matches(book, texts, k=k, mode="unicode") == expected
    index = SharedIndex([book], k=k, mode="unicode")
    assert (
        list(differences_by_automaton(("b", book), index, generations_of(texts))) == []
    )


def test_the_sample_is_seeded_and_one_in_a_hundred_of_many():
    generations = [Generation(f"p_id{n % 50}", n // 50, "") for n in range(5_000)]
    shuffled = random.Random(1).sample(generations, len(generations))

    def chosen(some, seed=0):
        sample = Sample(seed)
        batches = list(sample.pass_through(some))
        assert [
            generation for batch in batches for generation in batch.generations
        ] == some
        return {
            (generation.excerpt_id, generation.ordinal)
            for generation in sample.generations
        }

    beside = [
        replace(generation, origin=Origin.UNREQUESTED) for generation in generations
    ]

    assert chosen(generations) == chosen(shuffled) != chosen(generations, seed=1)
    assert chosen(generations) != chosen(beside)
    assert 25 <= len(chosen(generations)) <= 90
    assert (len(chosen(generations[:60])), len(chosen(generations[:7]))) == (20, 7)
