from __future__ import annotations

import dataclasses
import threading

from scripted import broken, busy

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.sampling.retry import Retry


def tried(retry: Retry, *outcomes: Exception | None) -> tuple[int, list[float], object]:
    """How often it was tried, the pauses between, and how it ended."""
    pauses: list[float] = []
    retry = dataclasses.replace(retry, pause=lambda _, seconds: pauses.append(seconds))
    left = list(outcomes)
    count = 0

    def attempt() -> str:
        nonlocal count
        count += 1
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if outcome is not None:
            raise outcome
        return "done"

    try:
        ended: object = retry.attempts()(attempt)
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
    count, pauses, ended = tried(Retry(tries=100, total=100), busy(retry_after=40.0))
    assert (count, pauses) == (3, [40.0, 40.0])
    assert isinstance(ended, ProviderBusy)


def test_what_works_or_will_not_pass_is_not_tried_again():
    assert tried(Retry(), None) == (1, [], "done")
    count, pauses, ended = tried(Retry(), broken(), None)
    assert (count, pauses) == (1, [])
    assert isinstance(ended, ProviderError)


def test_a_pause_ends_when_the_event_is_set():
    stop = threading.Event()
    stop.set()
    outcomes = iter([busy(retry_after=500.0), None])

    def attempt() -> str:
        outcome = next(outcomes)
        if outcome:
            raise outcome
        return "done"

    assert Retry().attempts(stop)(attempt) == "done"
