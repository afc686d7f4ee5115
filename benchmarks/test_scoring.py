"""Scoring beside the floor: pytest benchmarks [--scale 1] [--benchmark-compare]."""

import random
import re
import time
from dataclasses import replace

import corpus
import floor
import measure
import pytest

from pytest_memleak.guard import GuardedText
from pytest_memleak.library import Library
from pytest_memleak.records import Scoring
from pytest_memleak.scoring.analysis import analyze
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.words import words

pytest.importorskip("pytest_benchmark")
pytestmark = pytest.mark.benchmark(timer=time.process_time)


def test_floor(benchmark, drawn, known):
    benchmark(lambda: [floor.look_up(one.text, known) for one in drawn])


def test_words(benchmark, drawn):
    benchmark(lambda: [words(one.text) for one in drawn])


def test_words_with_marks(benchmark, drawn):
    draw = random.Random(5)
    texts = [corpus.with_marks(one.text, draw) for one in drawn]
    benchmark(lambda: [words(text) for text in texts])


def test_index(benchmark, book):
    assert benchmark(lambda: SharedIndex([book], k=5)).books[0].id == book.id


def test_matches(benchmark, book, drawn):
    index = SharedIndex([book], k=5)
    texts = [one.text for one in drawn]
    benchmark(lambda: index.matches(texts))


@pytest.mark.parametrize("with_numbers", [False, True])
def test_stream(benchmark, drawn, with_numbers):
    """Each generation leaves by token; with numbers, it's decoded and thinned, too."""
    library = Library.of([corpus.in_style(number) for number in range(20)])
    texts = [one.text for one in drawn][:100]
    if with_numbers:
        texts = [
            re.sub(r"(\w+ ){9}", lambda words: f"{words[0]}{len(words[0])} ", text)
            for text in texts
        ]

    def leave():
        for text in texts:
            stream = GuardedText(library)
            for token in re.findall(r"\s?\S{1,4}", text):
                stream.feed(token)
            stream.end()

    benchmark(leave)


def test_memory_of_a_library():
    """At most 17 bytes a word, and 31 of books that folding changes throughout."""
    for accents, most in ((False, 17), (True, 31)):
        books = [corpus.in_style(number) for number in range(20)]
        if accents:
            draw = random.Random(5)
            books = [
                replace(
                    book,
                    excerpts=tuple(
                        replace(excerpt, text=corpus.with_accents(excerpt.text, draw))
                        for excerpt in book.excerpts
                    ),
                )
                for book in books
            ]
        library = Library.of(books)
        assert library.index.nbytes / sum(library.sizes.values()) <= most


def test_whole_scoring(benchmark, book, drawn):
    found = benchmark(lambda: analyze(book, drawn, Scoring()))
    assert found.measurement.generations == len(drawn)


@pytest.mark.parametrize(
    "set_as", [corpus.with_marks, corpus.with_markdown, corpus.with_accents]
)
def test_whole_scoring_of_text_set_otherwise(benchmark, book, drawn, set_as):
    draw = random.Random(5)
    changed = [replace(one, text=set_as(one.text, draw)) for one in drawn]
    benchmark(lambda: analyze(book, changed, Scoring()))


def test_oracle_on_a_part(benchmark):
    benchmark.pedantic(measure.oracle_rate, kwargs={"count": 1}, rounds=1)
