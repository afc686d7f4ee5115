"""The scoring core beside the floor: pytest benchmarks [--scale 1] [--benchmark-compare]."""

import random
import time
from dataclasses import replace

import corpus
import floor
import measure
import pytest

from pytest_memleak.records import Scoring
from pytest_memleak.scoring.analysis import analyse
from pytest_memleak.scoring.index import Index
from pytest_memleak.scoring.matches import match_texts
from pytest_memleak.scoring.words import words

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
    assert len(benchmark(lambda: Index(book, k=5).anchors(""))) == 0


def test_matches(benchmark, book, drawn):
    index = Index(book, k=5)
    coded = [index.code_text(one.text) for one in drawn]
    benchmark(lambda: [match_texts(index, coded[at : at + 16]) for at in range(0, len(coded), 16)])


def test_whole_scoring(benchmark, book, drawn):
    found = benchmark(lambda: analyse(book, drawn, Scoring()))
    assert found.measurement.generations == len(drawn)


def test_whole_scoring_with_marks(benchmark, book, drawn):
    draw = random.Random(5)
    marked = [replace(one, text=corpus.with_marks(one.text, draw)) for one in drawn]
    benchmark(lambda: analyse(book, marked, Scoring()))


def test_oracle_on_a_part(benchmark):
    benchmark.pedantic(measure.oracle_rate, kwargs={"count": 1}, rounds=1)
