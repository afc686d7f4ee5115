"""Limits that no text of a book is long enough to exceed."""

from types import SimpleNamespace

import pytest
from scored_books import book_of

from pytest_memleak.errors import SuiteError
from pytest_memleak.pipeline.limit_reachability import validate_limits_can_be_exceeded
from pytest_memleak.records import Scoring
from pytest_memleak.records.verdicts import Limits

WORDS = 3_000
BOOK = book_of(" ".join(f"word{number}" for number in range(WORDS)))


def validate(scoring, **limits):
    pair = SimpleNamespace(id="m/b", scoring=scoring, limits=Limits(limits))
    suite = SimpleNamespace(path="s.memleak.toml", catalog=())
    validate_limits_can_be_exceeded(pair, BOOK, suite, protected=None)


def test_as_many_spans_over_t_as_the_text_has_room_for_are_within_reach():
    validate(Scoring(k=5, span_threshold=20), spans_over=WORDS // 21 - 1)


def test_spans_of_fewer_than_k_words_do_not_bring_a_limit_within_reach():
    with pytest.raises(SuiteError, match="no text of its book is long enough"):
        validate(Scoring(k=29, span_threshold=20), spans_over=WORDS // 21 - 1)
