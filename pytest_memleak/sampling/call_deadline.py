"""Deadlines: each call to an endpoint of a provider ends in time, or with an error.

Every failure is a ProviderError (final) or a ProviderBusy (temporary) that names
provider, endpoint, and call. `sampling.billing_doubt` tells which may have been billed.

The call runs in another thread. A call that misses its deadline is abandoned in a
daemon thread; if it returns after all, `late` gets the result.
"""

from __future__ import annotations

import os
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from pytest_memleak.errors import MemleakError, ProviderError, RequestNotSent
from pytest_memleak.interfaces.protocols import OWN_PROVIDER
from pytest_memleak.providers.call_errors import RAISE_DEADLINE, CallErrorFactory
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.sampling.billing_doubt import NoAnswer, UnforeseenError

T = TypeVar("T")

_LONGEST_MESSAGE = 1000
_GRACE = 30.0  # seconds


@dataclass(slots=True)
class TimedCalls:
    """Calls to one endpoint of a provider, each of which ends after `deadline` seconds.

    reached: whether the server has answered anything yet, in this process
    """

    provider: str
    endpoint: str
    deadline: float
    reached: bool = False

    @property
    def location(self) -> str:
        """The endpoint, for messages."""
        return f"{self.provider} endpoint {self.endpoint}"

    def patience(self, max_seconds_to_reach: float) -> float | None:
        """Return how many seconds to try the server; None if it has answered."""
        return None if self.reached else max_seconds_to_reach

    def failing(self, call: str) -> CallErrorFactory:
        """Return what creates the errors of a call."""
        return CallErrorFactory(self.provider, self.endpoint, call)

    def run(
        self,
        verb: str,
        call: Callable[[], T],
        *,
        deadline: float | None = None,
        late: Callable[[T | BaseException], object] | None = None,
    ) -> T:
        """Return what `call` returns within the deadline, which may be infinite.

        Raises NoAnswer after the deadline, and ProviderError for a foreign exception:
        it names type and place, but not the message, which may quote anything.
        """
        if deadline is None:
            deadline = self.deadline
        place = self.failing(verb).place
        try:
            # A client that keeps the deadline itself ends its call, and tells more.
            returned = within(deadline + min(_GRACE, deadline), call, late=late)
        except Overdue:
            cause = f"no response within {deadline:g} s"
            raise NoAnswer(cause, hint=RAISE_DEADLINE, in_doubt=True, **place) from None
        except NoThread:
            raise self.failing(verb).not_sent(*NO_THREAD, lasting=True) from None
        except Exception as error:
            if isinstance(error, self._expected_errors):
                self._complete(error)
                raise
            failure = self._unforeseen(error, verb)
        else:
            self.reached = True
            return returned
        # Outside the handler, the new error doesn't keep the old one alive.
        raise failure

    @property
    def _expected_errors(self) -> type[MemleakError]:
        """What a call may raise: of the user's own endpoint, a provider's errors."""
        return ProviderError if self.provider == OWN_PROVIDER else MemleakError

    def _complete(self, error: MemleakError) -> None:
        """Mask an expected error, and note whether the server was reached."""
        _mask(error)
        if isinstance(error, RequestNotSent):
            error.hint = error.hint or _NOT_SENT
        else:
            self.reached = True

    def _unforeseen(self, error: Exception, verb: str) -> UnforeseenError:
        """Build the error for a foreign exception, without its message."""
        last = traceback.extract_tb(error.__traceback__)[-1]
        return UnforeseenError(
            f"{type(error).__name__} at line {last.lineno} of {last.filename}",
            hint="call the endpoint directly to see the whole error",
            **self.failing(verb).place,
        )


_NOT_SENT = "nothing was sent or billed; check that the server runs at this address"


def _mask(error: MemleakError) -> None:
    """Mask anything that looks like a key in an error's message."""
    error.message = masked(error.message, limit=_LONGEST_MESSAGE)
    error.args = (error.message,)
    if isinstance(error, ProviderError):
        error.cause = masked(error.cause, limit=_LONGEST_MESSAGE)


class Overdue(Exception):
    """Raised if a call misses its deadline."""


class NoThread(Exception):
    """Raised if the machine allows no more threads, so a call isn't made."""


NO_THREAD = (
    "Can't start a thread: the limit on processes, threads, or memory is reached",
    (
        "raise it (ulimit -u, ulimit -v; a container's limits), or lower "
        "options.concurrency"
    ),
)


def within(
    seconds: float,
    call: Callable[[], T],
    *,
    late: Callable[[T | BaseException], object] | None = None,
) -> T:
    """Return what `call` returns; raise what it raises, or Overdue after `seconds`.

    If the call ends after that, `late` gets its value or exception.
    """
    future: Future[T] = Future()
    try:
        runner = _idle.pop()
    except IndexError:
        runner = _Runner()
        try:
            runner.start()
        except RuntimeError:
            raise NoThread from None
    runner.inbox.put((future, call))
    try:
        return future.result(min(seconds, threading.TIMEOUT_MAX))
    except TimeoutError:
        if future.done():  # just in time, or it was the call that raised this
            return future.result()
    if late is not None:
        future.add_done_callback(
            lambda ended: late(ended.exception() or ended.result()),
        )
    raise Overdue


class _Runner(threading.Thread):
    """A thread that runs one call after another, since starting a thread is slow."""

    def __init__(self) -> None:
        super().__init__(name="memleak-call", daemon=True)
        self.inbox: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = (
            queue.SimpleQueue()
        )

    def run(self) -> None:
        while True:
            _run_call(*self.inbox.get())
            _idle.append(self)


def _run_call(future: Future[T], call: Callable[[], T]) -> None:
    try:
        returned = call()
    except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
        future.set_exception(error)
    else:
        future.set_result(returned)


_idle: deque[_Runner] = deque()
if hasattr(os, "register_at_fork"):  # a forked child has none of its parent's threads
    os.register_at_fork(after_in_child=_idle.clear)
