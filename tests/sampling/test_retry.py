"""Tries that are made again, and how many calls run at once where the suite does not say."""

import dataclasses
import threading

import pytest
from scripted import Scripted, answers, broken, busy, sample_all, terms

from pytest_memleak.errors import ProviderBusy, ProviderError, UnusableResponse
from pytest_memleak.sampling.adaptive_concurrency import (
    FIRST_AT_ONCE,
    MOST_AT_ONCE,
    AdaptiveConcurrency,
)
from pytest_memleak.sampling.retry import Retry


def tried(retry, *outcomes):
    """How often it was tried, the pauses between, and how it ended."""
    pauses = []
    retry = dataclasses.replace(retry, pause=lambda _, seconds: pauses.append(seconds))
    left = list(outcomes)
    count = 0

    def attempt():
        nonlocal count
        count += 1
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if outcome is not None:
            raise outcome
        return "done"

    try:
        ended = retry.run(attempt)
    except ProviderError as error:
        ended = error
    return count, pauses, ended


def test_pauses_grow_to_the_longest():
    count, pauses, ended = tried(Retry(first=1, most=10, tries=8), *[busy()] * 6, None)
    assert (count, ended) == (7, "done")
    for number, pause in enumerate(pauses):
        assert min(10, 2**number) <= pause <= min(10, 2**number + 1)


def test_a_provider_is_left_alone_as_long_as_it_asks():
    _, pauses, ended = tried(Retry(first=1, total=100), busy(retry_after=42.0), None)
    assert (pauses, ended) == ([42.0], "done")


def test_tries_are_counted_and_pauses_added_up():
    last = busy("the last")
    count, pauses, ended = tried(Retry(tries=3), busy(), busy(), last)
    assert (count, len(pauses)) == (3, 2)
    assert ended is last
    assert str(ended).splitlines()[0].endswith("the last (tried 3 times)")
    count, pauses, ended = tried(Retry(tries=100, total=100), busy(retry_after=40.0))
    assert (count, pauses) == (3, [40.0, 40.0])
    assert isinstance(ended, ProviderBusy)


def test_success_and_final_errors_are_not_retried():
    assert tried(Retry(), None) == (1, [], "done")
    count, pauses, ended = tried(Retry(), broken(), None)
    assert (count, pauses) == (1, [])
    assert isinstance(ended, ProviderError)


def test_a_response_that_cannot_be_used_is_requested_once_more():
    bad = UnusableResponse(
        "not JSON", provider="p", endpoint="e", call="sample", in_doubt=True
    )
    assert tried(Retry(), bad, None)[::2] == (2, "done")
    count, _, ended = tried(Retry(), busy(), bad, busy(), bad, None)
    assert (count, ended) == (4, bad)


def test_a_pause_ends_when_the_event_is_set():
    stop, failures = threading.Event(), [busy(retry_after=500.0)]
    stop.set()

    def attempt():
        if failures:
            raise failures.pop()
        return "done"

    assert Retry().run(attempt, stop) == "done"


class Server:
    """Works at so many calls at once, each for a second; the others wait their turn."""

    def __init__(self, at_once):
        self.at_once = at_once
        self.now = 0.0

    def answer(self, pace, times):
        """Let it answer, and say how many may call at once after each."""
        seen = []
        for _ in range(times):
            self.now += 1 / min(pace.at_once, self.at_once)
            pace.answered()
            seen.append(pace.at_once)
        return seen


def test_a_pace_doubles_while_that_is_faster():
    server = Server(at_once=1000)
    seen = server.answer(AdaptiveConcurrency(None, clock=lambda: server.now), 1000)
    assert list(dict.fromkeys(seen)) == [FIRST_AT_ONCE, 16, 32, MOST_AT_ONCE]


@pytest.mark.parametrize(
    ("at_once", "found"), [(1, 8), (8, 8), (16, 16), (18, 16), (32, 32)]
)
def test_a_pace_steps_back_if_doubling_is_not_faster(at_once, found):
    server = Server(at_once)
    seen = server.answer(AdaptiveConcurrency(None, clock=lambda: server.now), 1000)
    assert seen[-1] == found
    assert max(seen) <= 2 * found


def test_a_pace_halves_once_for_all_calls_in_flight_and_then_grows_by_one():
    server = Server(at_once=16)
    pace = AdaptiveConcurrency(None, clock=lambda: server.now)
    assert server.answer(pace, 1000)[-1] == 16  # it has settled
    pace.turned_away()
    assert pace.at_once == 8
    server = Server(at_once=1000)
    pace = AdaptiveConcurrency(None, clock=lambda: server.now)
    server.answer(pace, 16)
    assert pace.at_once == 16
    for times, at_once in ((16, 8), (9, 4), (100, 1)):
        for _ in range(times):
            pace.turned_away()
        assert pace.at_once == at_once
        if times == 16:
            assert server.answer(pace, 16)[-1] == 9


def test_a_suites_pace_holds_whatever_the_server_does():
    server = Server(at_once=1000)
    pace = AdaptiveConcurrency(3, clock=lambda: server.now)
    assert set(server.answer(pace, 100)) == {3}
    pace.turned_away()
    assert pace.at_once == 3


class Crowd:
    """Has `room` for so many calls at once; later ones wait until there were `least`."""

    def __init__(self, room, least):
        self.room, self.least = room, least
        self.most = self.turned_away = self._now = 0
        self._lock, self._crowded = threading.Lock(), threading.Event()

    def __call__(self, request):
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            full = self._now > self.room
            self.turned_away += full
            if self.most >= self.least:
                self._crowded.set()
        try:
            if full:
                raise busy()
            if request.number >= 2 * FIRST_AT_ONCE:
                self._crowded.wait(20)
            return answers(request)
        finally:
            with self._lock:
                self._now -= 1


@pytest.mark.parametrize(("room", "concurrency", "least"), [
    (1000, None, FIRST_AT_ONCE + 1), (3, None, 4), (1000, 2, 2),
])  # fmt: skip
def test_a_run_finds_out_what_a_server_bears_unless_the_suite_says(
    memory, ask, room, concurrency, least
):
    crowd, retry = Crowd(room, least), Retry(tries=100, first=0.005, most=0.02)
    prompts, endpoint = ask(excerpts=10, samples=10), Scripted(*[crowd] * 2000)
    counts = sample_all(memory, endpoint, prompts, retry, terms(concurrency))
    assert (counts.got, counts.lost) == (100, 0)
    assert (crowd.turned_away > 0) is (room == 3)
    assert least <= crowd.most <= (concurrency or MOST_AT_ONCE)
