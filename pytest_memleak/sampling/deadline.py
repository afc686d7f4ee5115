"""Every call to a provider has a deadline of ours, whatever its SDK thinks of time.

    answers = within(600, lambda: endpoint.sample(...), late=record)

The call runs in another thread. One that does not return in time is left behind (a daemon: it
keeps nobody from ending); should it return after all, `late` gets what it brought.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Overdue(Exception):
    """The call has not returned in time."""


def within(
    seconds: float | None,
    call: Callable[[], T],
    *,
    late: Callable[[T | BaseException], object] | None = None,
) -> T:
    """What `call` returns; raises what it raises, or Overdue after `seconds` (None: never).

    `late` is called in the call's own thread, with the value or the exception, if it ends
    after Overdue was raised.
    """
    running = _Call(call, late)
    try:
        runner = _idle.pop()
    except IndexError:
        runner = _Runner()
        runner.start()
    runner.inbox.put(running)
    if not running.returned.wait(seconds) and running.abandon():
        raise Overdue
    if isinstance(running.result, BaseException):
        raise running.result
    return cast(T, running.result)


class _Call(Generic[T]):
    def __init__(
        self, call: Callable[[], T], late: Callable[[T | BaseException], object] | None
    ) -> None:
        self._call = call
        self._late = late
        self._meeting = threading.Lock()
        self._abandoned = False
        self.returned = threading.Event()
        self.result: T | BaseException | None = None

    def run(self) -> None:
        result: T | BaseException
        try:
            result = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            result = error
        with self._meeting:
            self.result = result
            self.returned.set()
        if self._abandoned and self._late is not None:
            self._late(result)

    def abandon(self) -> bool:
        """Whether the call is given up; not if it has returned just now."""
        with self._meeting:
            self._abandoned = not self.returned.is_set()
            return self._abandoned


class _Runner(threading.Thread):
    """Runs one call after the other; beginning a thread for each would take longer."""

    def __init__(self) -> None:
        super().__init__(name="memleak-call", daemon=True)
        self.inbox: queue.SimpleQueue[_Call[Any]] = queue.SimpleQueue()

    def run(self) -> None:
        while True:
            self.inbox.get().run()
            _idle.append(self)


_idle: deque[_Runner] = deque()
if hasattr(os, "register_at_fork"):  # a forked child has none of its parent's threads
    os.register_at_fork(after_in_child=_idle.clear)
