"""Runs that are killed at random moments and taken up again: nothing is lost or paid for twice."""

import pytest
from accounts import contents, settled
from faults import slow
from killed_runs import moments_of
from scenarios import KINDS

from pytest_memleak.errors import LedgerError

SAMPLES = 15
CONCURRENCY = 4
RECOVERABLE = {"openai-store", "openai-batch", "vertex-batch", "tinker"}
# Kills come within so many seconds of a run's first call.
SPANS = (0.1, 0.4, 0.8, 1.2)
AT_ONCE = 5  # kills of one and the same suite


@pytest.fixture
def start_suite(killed_runs):
    def start(kind, **settings):
        options = {"samples": SAMPLES, "concurrency": CONCURRENCY}
        runs = killed_runs(kind, suite=options, **settings)
        place = runs.scenario.places.sample
        runs.scenario.plan(slow(place, seconds=0.12), slow("*", seconds=0.03))
        return runs

    return start


def texts_in(url):
    try:
        ledger = contents(url)
    except LedgerError:
        return set()  # not even begun
    return {tuple(row) for row in (*ledger.generations, *ledger.call_texts)}


def kill_and_finish(runs, moments, times):
    """Kill so many runs, or until one comes to its end, and run to the end; return the kills."""
    kills = 0
    texts = texts_in(runs.url)
    while kills < times and runs.kill(after=moments.uniform(0, moments.choice(SPANS))):
        kills += 1
        before, texts = texts, texts_in(runs.url)
        assert before <= texts
    runs.finish(4 * SAMPLES)
    assert texts <= texts_in(runs.url)
    # Only what was in flight may be lost, and only where answers cannot be found again.
    account = settled(runs.scenario, runs.url, samples=SAMPLES)
    unrecorded = len({row["call"] for row in account.unrecorded})
    in_flight = CONCURRENCY * runs.processes
    most = 0 if runs.scenario.kind in RECOVERABLE else kills * in_flight
    assert unrecorded <= account.lost <= most
    return kills


def test_a_run_that_is_killed_is_taken_up(start_suite):
    kill_and_finish(start_suite("openai"), moments_of("openai"), 2)


@pytest.mark.full
@pytest.mark.parametrize("shared", [{}, {"postgresql": True}, {"workers": 4}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_fifty_kills(start_suite, kind, shared):
    """Suites, each killed a few times and then run to its end, until there were fifty kills."""
    moments, kills = moments_of(kind, *shared), 0
    while kills < 50:
        runs = start_suite(kind, **shared)
        kills += kill_and_finish(runs, moments, min(AT_ONCE, 50 - kills))
