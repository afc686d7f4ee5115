"""How long a run waits: for one call, between tries, for others, for a job.

    retry = Retry(deadline=600, tries=8)
    for attempt in retry.attempts(stop):
        with attempt: ...                     # ProviderBusy is tried again, all else is raised

Waiting goes through `pause`, so that a test can wait without time passing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.wait import wait_base, wait_exponential_jitter

from pytest_memleak.errors import ProviderBusy, RequestNotSent

LOOK_AGAIN = 1.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Times in seconds.

    deadline:     what one call to a provider may take
    tries, total: how often a busy provider is asked, and the pauses in all
    first, most:  the first pause between tries, doubled each time, and the longest
    unreached:    the pauses in all for a server that has never answered
    grace:        what calls in flight get after Ctrl-C
    recovery:     how old a call that was cut off must be before a provider that has no answer
                  to it is believed
    deploying:    the same of a deployment, which no list may show at once
    poll, poll_most: the first pause between looks at a job or a batch, and the longest
    pause:        waits for so many seconds, or until the event is set
    """

    deadline: float = 600.0
    tries: int = 8
    total: float = 900.0
    first: float = 1.0
    most: float = 60.0
    unreached: float = 5.0
    grace: float = 1.5
    recovery: float = 20.0
    deploying: float = 120.0
    poll: float = 5.0
    poll_most: float = 60.0
    pause: Callable[[threading.Event, float], object] = threading.Event.wait

    def attempts(
        self,
        stop: threading.Event | None = None,
        *,
        unreached: Callable[[], float | None] = lambda: None,
    ) -> Retrying:
        """Tries at a call: again after ProviderBusy, with growing pauses or as it asked for.

        unreached: how many seconds to try a server that has never answered, None where it has

        The last ProviderBusy is raised once `tries` or `total` is used up. What was RequestNotSent
        is tried no longer than `unreached` says, and not again at all where that is of no use.
        """
        pausing = stop or threading.Event()

        def give_up(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            idle = state.idle_for + state.upcoming_sleep
            if isinstance(error, RequestNotSent):
                passed = max(idle, (state.seconds_since_start or 0.0) + state.upcoming_sleep)
                most = unreached()
                if error.lasting or (most is not None and passed > most):
                    return True
            return state.attempt_number >= self.tries or idle > self.total

        def sleep(seconds: float) -> None:
            self.pause(pausing, seconds)

        backoff = wait_exponential_jitter(self.first, self.most, jitter=self.first)
        return Retrying(
            retry=retry_if_exception_type(ProviderBusy),
            wait=_AsAsked(backoff),
            stop=give_up,
            sleep=sleep,
            reraise=True,
        )


class _AsAsked(wait_base):
    """At least as long as the provider asked to wait."""

    def __init__(self, backoff: wait_base) -> None:
        self._backoff = backoff

    def __call__(self, retry_state: RetryCallState) -> float:
        pause = self._backoff(retry_state)
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = error.retry_after if isinstance(error, ProviderBusy) else None
        return max(pause, asked or 0.0)
