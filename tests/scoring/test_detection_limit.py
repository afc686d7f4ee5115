"""What a number of answers would have seen, METRICS section 6."""

import math

import pytest

from pytest_memleak.errors import SettingsError
from pytest_memleak.scoring.detection_limit import (
    answers_to_detect,
    detection_limit,
    rounds_to_detect,
)
from pytest_memleak.scoring.rounds import blocks_of


@pytest.mark.parametrize(("answers", "expected"), [(1, 0.95), (59, 0.05), (299, 0.010)])
def test_a_passage_above_it_would_have_been_seen(answers, expected):
    d = detection_limit(answers, confidence=0.95)
    assert d == pytest.approx(expected, rel=0.02)
    assert 1 - (1 - d) ** answers == pytest.approx(0.95)


def test_no_answer_sees_nothing_and_no_confidence_asks_for_none():
    assert detection_limit(0, confidence=0.95) == 1
    assert detection_limit(10, confidence=0) == 0


@pytest.mark.parametrize(
    ("probability", "answers"), [(1, 1), (0.95, 1), (0.26, 10), (0.05, 59), (0.03, 99), (0.01, 299)]
)
def test_the_answers_it_takes(probability, answers):
    assert answers_to_detect(probability, confidence=0.95) == answers
    assert detection_limit(answers, confidence=0.95) <= probability
    if answers > 1:
        assert detection_limit(answers - 1, confidence=0.95) > probability


def test_as_many_answers_as_a_probability_came_from_detect_it():
    for answers in range(1, 400):
        limit = detection_limit(answers, confidence=0.9)
        assert answers_to_detect(limit, confidence=0.9) == answers


def test_what_is_out_of_range_is_refused():
    for probability in (0, 5e-324, -0.1, 1.1, math.nan, math.inf):
        with pytest.raises(SettingsError, match="detection_limit"):
            answers_to_detect(probability, confidence=0.95)
    for confidence in (-0.1, 1, math.nan):
        for limit in (detection_limit, answers_to_detect):
            with pytest.raises(SettingsError, match="confidence"):
                limit(1, confidence=confidence)


def test_where_rounds_are_not_alike_blocks_have_to_be_as_many():
    assert rounds_to_detect(0.05, confidence=0.95, alike=True) == 59
    for probability in (0.9, 0.5, 0.26, 0.1, 0.05):
        rounds = rounds_to_detect(probability, confidence=0.95, alike=False)
        blocks = [int(blocks_of(n)[-1]) + 1 for n in range(1, rounds + 1)]
        wanted = answers_to_detect(probability, confidence=0.95)
        assert blocks[-1] >= wanted
        assert all(one < wanted for one in blocks[:-1])
