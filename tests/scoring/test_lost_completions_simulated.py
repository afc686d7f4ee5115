"""False alarms of honest servers, caught filters, and the limit of alike calls, simulated."""

import numpy as np
import pytest

from pytest_memleak.scoring.control_call_count import control_calls_due
from pytest_memleak.scoring.detection_limit import (
    detection_limit,
    detection_limit_if_lost_recalled,
)
from pytest_memleak.scoring.loss_tests import TEST_LEVEL, p_control, p_uneven

EXCERPTS = 20


def alarms(rng, *, samples, share, control_share):
    """Tell whether a run's losses are an issue: each completion is lost by chance."""
    delivered = np.full(EXCERPTS, samples)
    lost = rng.negative_binomial(delivered, 1 - share)
    requested = delivered + lost
    if p_uneven(requested.tolist(), lost.tolist()) <= TEST_LEVEL:
        return True
    due = control_calls_due(int(requested.sum()), int(lost.sum()))
    if not due:
        return False
    control_lost = int(rng.negative_binomial(due, 1 - control_share))
    counts = due + control_lost, control_lost
    return p_control(int(requested.sum()), int(lost.sum()), *counts) <= TEST_LEVEL


@pytest.mark.parametrize("share", [0.005, 0.02, 0.05, 0.2])
@pytest.mark.parametrize("samples", [10, 66])
def test_of_200_honest_runs_at_most_9_are_false_alarms(samples, share):
    rng = np.random.default_rng(7)
    runs = [
        alarms(rng, samples=samples, share=share, control_share=share)
        for _ in range(200)
    ]
    assert sum(runs) <= 9


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_a_filter_that_drops_a_share_of_a_book_is_caught(share):
    rng = np.random.default_rng(7)
    runs = [alarms(rng, samples=66, share=share, control_share=0.0) for _ in range(200)]
    assert sum(runs) >= 195


def test_the_limit_of_ten_alike_calls_holds():
    """At n = 100, of a passage as likely as the limit, in calls of ten alike."""
    rng = np.random.default_rng(7)
    limit = detection_limit(10, confidence=0.95)
    seen = (rng.random((20_000, 10)) < limit).any(axis=1)
    assert seen.mean() >= 0.94


def test_counting_each_completion_of_alike_calls_would_not_hold():
    rng = np.random.default_rng(7)
    limit = detection_limit(100, confidence=0.95)
    seen = (rng.random((20_000, 10)) < limit).any(axis=1)
    assert seen.mean() < 0.35


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_the_limit_holds_where_a_server_hides_each_passage(rate):
    rng = np.random.default_rng(7)
    hidden = rng.binomial(100, rate, size=2_000)
    limits = [
        detection_limit_if_lost_recalled(int(n), 100 - int(n), confidence=0.95)
        for n in hidden
    ]
    assert np.mean(rate <= np.array(limits)) >= 0.94


def test_without_losses_the_hidden_limit_is_the_detection_limit():
    assert detection_limit_if_lost_recalled(0, 59, confidence=0.95) == detection_limit(
        59, confidence=0.95
    )


def test_losses_raise_the_hidden_limit():
    assert detection_limit_if_lost_recalled(5, 59, confidence=0.95) > 0.15
