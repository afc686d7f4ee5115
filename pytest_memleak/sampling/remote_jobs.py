"""Jobs at the provider, fine-tunes and batches alike: started once, looked at until they end.

A job's row is written before it is started, and held by who starts it. Whoever finds a row that
was not started to its end looks for the job at the provider, by its digest, before starting it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pytest_memleak.contracts.protocols import JobState
from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.sampling.asking import NoAnswer, in_doubt, timed
from pytest_memleak.sampling.retry import Patience

__all__ = [
    "StartUnanswered",
    "Verbs",
    "found_or_started",
    "looked_at",
    "pauses",
]

T = TypeVar("T")

LOOK_AGAIN = 1.0


@dataclass(frozen=True, slots=True)
class Verbs:
    """The three things to do with a job, and the names that errors give them."""

    provider: str
    endpoint: str
    names: tuple[str, str, str]
    find: Callable[[], str | None]
    start: Callable[[], str]
    poll: Callable[[str], JobState]


class StartUnanswered(ProviderError):
    """A start that did not return by its deadline, and may yet begin a job."""


def found_or_started(
    verbs: Verbs,
    patience: Patience,
    *,
    deadline: float | None,
    doubtful_until: float,
    starting: Callable[[], object],
    late: Callable[[str | BaseException], object],
) -> str:
    """The id of the job: found at the provider, or else started there.

    doubtful_until: when (seconds since 1970) a job that cannot be found does not exist either;
                    until then one may be on its way from an earlier start
    starting:       called before each start
    late:           called with what a start that was given up brings after all

    Raises StartUnanswered where a start does not return by `deadline`: it is not repeated.
    """
    find_name, start_name, _ = verbs.names
    stop = threading.Event()
    for attempt in patience.attempts(stop):
        with attempt:
            while True:
                found = _timed(verbs, find_name, verbs.find, patience.deadline)
                if found is not None:
                    return found
                if time.time() >= doubtful_until:
                    break
                patience.pause(stop, min(LOOK_AGAIN, max(0.0, doubtful_until - time.time())))
            starting()
            try:
                return _timed(verbs, start_name, verbs.start, deadline, late=late)
            except NoAnswer as error:
                raise StartUnanswered(
                    error.cause,
                    provider=verbs.provider,
                    endpoint=verbs.endpoint,
                    call=start_name,
                    hint="run again later: it is looked for at the provider first",
                ) from None
            except ProviderBusy as error:
                if in_doubt(error):
                    doubtful_until = time.time() + patience.recovery
                raise
    raise AssertionError("the last attempt raises")


def looked_at(verbs: Verbs, job_id: str, patience: Patience) -> JobState:
    """Where the job stands at the provider."""
    name = verbs.names[2]
    for attempt in patience.attempts():
        with attempt:
            return _timed(verbs, name, lambda: verbs.poll(job_id), patience.deadline)
    raise AssertionError("the last attempt raises")


def pauses(patience: Patience) -> Iterator[None]:
    """Waits between looks, longer each time."""
    stop = threading.Event()
    pause = patience.poll
    while True:
        yield
        patience.pause(stop, pause)
        pause = min(2 * pause, patience.poll_most)


def _timed(
    verbs: Verbs,
    name: str,
    call: Callable[[], T],
    deadline: float | None,
    *,
    late: Callable[[T | BaseException], object] | None = None,
) -> T:
    return timed(
        call,
        provider=verbs.provider,
        endpoint=verbs.endpoint,
        verb=name,
        deadline=deadline,
        late=late,
    )
