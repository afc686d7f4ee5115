"""Backoff: waits between the attempts at a call, and the number of concurrent calls.

Waiting goes through `Retry.pause`, so that a test can wait without time passing. A pace
doubles while that brings answers faster, and steps back if it doesn't: a server that
works through calls one by one would only make them wait. After a rejection (429), it
halves, and then grows by one at a time.
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


FIRST = 8
MOST = 64
# Doubling must bring answers this many times as fast.
_WORTH_IT = 1.25
# Answers per concurrent call before a pace is judged.
_JUDGED_BY = 2


class AdaptiveConcurrency:
    """The number of concurrent calls to one endpoint, shared by threads.

    fixed: the suite's number, whatever the server does; None to adapt it.
    clock: seconds.
    """

    def __init__(
        self,
        fixed: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.at_once = FIRST if fixed is None else max(1, fixed)
        self._fixed = self._settled = fixed is not None
        self._clock = clock
        self._lock = threading.Lock()
        self._doubling = True
        # Calls at once, and answers a second.
        self._slower: tuple[int, float] | None = None
        self._answers = 0
        self._since = clock()
        self._excused = 0  # calls in flight when it last halved

    def answered(self) -> None:
        """Note that a call was answered."""
        with self._lock:
            self._answers += 1
            self._excused = max(0, self._excused - 1)
            enough = _JUDGED_BY * self.at_once
            if self._answers >= enough and not self._settled:
                self._judge_rate()

    def turned_away(self) -> None:
        """Note that the server had no room for a call."""
        with self._lock:
            if self._fixed:
                return
            if self._excused:
                self._excused -= 1
                return
            self._excused = self.at_once - 1
            self._doubling = False
            self._settled = False
            half = self.at_once // 2
            self._continue_with(max(1, half))

    def _judge_rate(self) -> None:
        seconds = self._clock() - self._since
        rate = self._answers / max(seconds, 1e-9)
        if not self._doubling:
            self._continue_with(min(self.at_once + 1, MOST))
            return
        if self._slower is not None:
            slower_at_once, slower_rate = self._slower
            if rate < _WORTH_IT * slower_rate:
                self._settled = True
                self._continue_with(slower_at_once)
                return
        self._slower = (self.at_once, rate)
        self._continue_with(min(2 * self.at_once, MOST))

    def _continue_with(self, at_once: int) -> None:
        self.at_once = at_once
        self._answers = 0
        self._since = self._clock()
