"""Retries of a call, with longer and longer waits between them.

Waiting goes through `Retry.pause`, so that a test can wait without time passing.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pytest_memleak.errors import (
    CallTimeout,
    ProviderBusy,
    RequestNotSent,
    UnusableResponse,
)

T = TypeVar("T")

_LOOK_AGAIN = 1.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Times in seconds.

    deadline:     the most that one call may take
    tries, total: the number of attempts at a busy provider, and the sum of the pauses;
                  with two timeouts that leave nothing to halve, also of their waits
    first, most:  the first pause between attempts, doubled each time, and the longest
    unreached:    the sum of the pauses for a server that has never answered
    recovery:     how long the answer to an interrupted call may still appear
    deploying:    the same for a deployment, since lists may not show it at once
    poll, poll_most: the first pause between polls of a job or a batch, and the longest
    pause:        waits this many seconds, or until the event is set
    """

    deadline: float = 600.0
    tries: int = 8
    total: float = 900.0
    first: float = 1.0
    most: float = 60.0
    max_seconds_to_reach: float = 5.0
    recovery: float = 20.0
    deploying: float = 120.0
    poll: float = 5.0
    poll_most: float = 60.0
    pause: Callable[[threading.Event, float], object] = threading.Event.wait

    def run(
        self,
        attempt: Callable[[], T],
        stop: threading.Event | None = None,
        *,
        max_seconds_to_reach: Callable[[], float | None] = lambda: None,
        waiting: Callable[[ProviderBusy, float], object] | None = None,
    ) -> T:
        """Return what `attempt` returns, repeated after ProviderBusy and a pause.

        unreached: how many seconds to try a server; None if it has answered before
        waiting:   receives the cause and the seconds of each pause before it begins

        The last ProviderBusy is raised once `tries` or `total` is used up; a timeout
        after which nothing can be halved is repeated at least once.
        RequestNotSent is retried for at most `max_seconds_to_reach` seconds, and not at
        all if it is `lasting`. A response that can't be used may be billed, so the
        second one is final.
        """
        pausing = stop or threading.Event()
        began = time.monotonic()
        tries = 0
        unusable = 0
        timeouts = 0
        idle = unanswered = 0.0
        backoff = self.first
        while True:
            asked = time.monotonic()
            try:
                return attempt()
            except ProviderBusy as error:
                failure = error
            tries += 1
            unusable += isinstance(failure, UnusableResponse)
            if isinstance(failure, CallTimeout) and not failure.halved:
                timeouts += 1
                unanswered += time.monotonic() - asked
            jitter = random.uniform(0, self.first)  # noqa: S311 - no secret
            pause = min(backoff + jitter, self.most)
            pause = max(pause, failure.retry_after or 0.0)
            idle += pause
            backoff = min(2 * backoff, self.most)
            waited = idle + (unanswered if timeouts > 1 else 0.0)
            if unusable > 1 or tries >= self.tries or waited > self.total:
                if tries > 1:
                    failure.message += f" (tried {tries} times)"
                raise failure
            if isinstance(failure, RequestNotSent):
                passed = max(idle, time.monotonic() - began + pause)
                most = max_seconds_to_reach()
                too_long = most is not None and passed > most
                if failure.lasting or too_long:
                    raise failure
            if waiting is not None:
                waiting(failure, pause)
            self.pause(pausing, pause)

    def look_again(self, until: float) -> None:
        """Pause before searching a provider again, at most until then (since 1970)."""
        left = max(0.0, until - time.time())
        self.pause(threading.Event(), min(_LOOK_AGAIN, left))
