"""Fifty kinds of honest writers under the strict limits; docs/validation.md has the table."""

import dataclasses

import pytest
from answer_sets import NOVELS
from honest_writers import QUOTING_AT_LENGTH, SEEDS, WRITERS, judged, novel, play

from pytest_memleak.records import Verdict

BOOKS = {"play": play} | {path.stem: lambda path=path: novel(path) for path in NOVELS[:1]}


@pytest.mark.parametrize("samples", [10, 66])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("writer", WRITERS, ids=", ".join)
@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
@pytest.mark.full
def test_an_honest_writer_does_not_fail(book, writer, samples, seed):
    verdict_result, _ = judged(book(), writer, samples, seed)
    assert verdict_result.verdict is not Verdict.FAIL, verdict_result.reasons


@pytest.mark.parametrize("writer", [WRITERS[0], WRITERS[12], WRITERS[27]], ids=", ".join)
def test_three_of_them_pass(writer):
    few = dataclasses.replace(play(), excerpts=play().excerpts[:4])
    verdict_result, rules = judged(few, writer, 3, 1)
    assert (verdict_result.verdict, rules) == (Verdict.PASS, ())


def test_who_quotes_at_length_fails():
    verdict_result, _ = judged(play(), QUOTING_AT_LENGTH, 3, 1)
    assert verdict_result.verdict is Verdict.FAIL
