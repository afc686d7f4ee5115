"""The threads that draw: as many as may call at once (pace.py).

    Workers(desk, stop).draw(asks, tell=...)      # until nothing of it is left that is free

Each takes the next call in order, claims it and draws it; what is left over is taken up again.
The first failure stops all of them, once each has recorded what it has in flight.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable

from pytest_memleak.ledger.call_results import Answer, record
from pytest_memleak.ledger.calls import Call
from pytest_memleak.ledger.prompts import Ask, PromptSpec, asks
from pytest_memleak.sampling.call import Desk, Drawing, Stopped

__all__ = ["Workers"]

_NONE_IN_A_ROW = 3
_ONE_IN_A_ROW = 2
_TELL_EVERY = 0.2
_KEEP_ALIVE_EVERY = 5.0
_LOOKAHEAD = 32  # calls looked through at once where others have taken the next ones


class Workers:
    """Draws from one endpoint. `per_call` falls to 1 where the server ignores `n`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.per_call = max(1, desk.terms.sampler.completions_per_call)
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._work: deque[Ask] = deque()
        self._crowded = False
        self._running = 0
        self._retiring = 0
        self._failure: BaseException | None = None
        self._nothing: Counter[tuple[str, str]] = Counter()
        self._singles = 0

    def draw(self, wanted: Iterable[Ask], *, tell: Callable[[], None]) -> None:
        """Draw what is free of `wanted`; `tell` is called a few times a second meanwhile.

        Raises the first failure of any thread, and KeyboardInterrupt after a time of grace.
        """
        self._work = deque(wanted)
        try:
            self._start_more()
            self._watch(tell)
        except BaseException:
            self._stop.set()
            self._watch(lambda: None, until=time.monotonic() + self._desk.retry.grace)
            raise
        if self._failure is not None:
            raise self._failure

    def _start_more(self) -> None:
        """As many threads as there is work for, and room."""
        with self._lock:
            at_work = self._running - self._retiring
            more = min(self._desk.pace.at_once - at_work, len(self._work))
            if self._stop.is_set() or more <= 0:
                return
            for _ in range(more):
                threading.Thread(target=self._run, name="memleak-worker", daemon=True).start()
                self._running += 1  # it ends with the lock, which is ours

    def _watch(self, tell: Callable[[], None], *, until: float | None = None) -> None:
        seen = time.monotonic()
        while self._running and (until is None or time.monotonic() < until):
            self._changed.wait(_TELL_EVERY)
            self._changed.clear()
            tell()
            if time.monotonic() - seen > _KEEP_ALIVE_EVERY:
                self._desk.ledger.keep_alive()
                seen = time.monotonic()

    # --- in a thread -----------------------------------------------------------------------

    def _run(self) -> None:
        retired = False
        try:
            retired = self._draw_until_done()
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by `draw`
            with self._lock:
                self._failure = self._failure or error
            self._stop.set()
        finally:
            with self._lock:
                self._running -= 1
                self._retiring -= retired
            self._changed.set()

    def _draw_until_done(self) -> bool:
        """Whether it ended since fewer may call at once, and not for want of work."""
        answer: Answer | None = None
        try:
            while not self._stop.is_set():
                if self._retires():
                    return True
                if not (candidates := self._next()):
                    break
                # The answer goes in with the next intent: one commit for both.
                call = self._claimed(candidates, answer)
                answer = None
                if call is not None:
                    answer = Drawing(self._desk, call, self._stop).run()
                    if answer is not None:
                        self._take_up_the_rest(answer)
                        self._desk.pace.answered()
                        self._start_more()
        finally:
            if answer is not None:
                record(self._desk.ledger, answer)
        return False

    def _retires(self) -> bool:
        with self._lock:
            retires = self._running - self._retiring > self._desk.pace.at_once
            self._retiring += retires
        return retires

    def _next(self) -> list[Ask]:
        with self._lock:
            wanted = _LOOKAHEAD if self._crowded else 1
            return [self._work.popleft() for _ in range(min(wanted, len(self._work)))]

    def _claimed(self, candidates: list[Ask], after: Answer | None) -> Call | None:
        """A call for the first candidate that is free; those behind it go back."""
        call = self._desk.claim(candidates, after=after)
        taken = len(candidates)
        if call is not None:
            key, ordinals = self._desk.asked[call.question].key, set(call.ordinals)
            taken = next(
                place
                for place, ask in enumerate(candidates)
                if ask.question.key == key and ordinals.issubset(ask.ordinals)
            )
        with self._lock:
            self._crowded = taken > 0
            self._work.extendleft(reversed(candidates[taken + 1 :]))
        return call

    def _take_up_the_rest(self, answer: Answer) -> None:
        question = self._desk.asked[answer.call.question]
        ordinals, came = answer.call.ordinals, len(answer.completions)
        with self._lock:
            if came < len(ordinals):
                self._work.appendleft(Ask(question, ordinals[came:]))
            if len(ordinals) > 1:
                self._singles = self._singles + 1 if came == 1 else 0
                if self._singles == _ONE_IN_A_ROW:
                    self._ask_one_by_one()
            self._nothing[question.key] = 0 if came else self._nothing[question.key] + 1
            times = self._nothing[question.key]
        if times == _NONE_IN_A_ROW:
            raise self._desk.line.no_completions(times)

    def _ask_one_by_one(self) -> None:
        """The server gives one completion a call, whatever it is asked for."""
        self.per_call = 1
        left: dict[PromptSpec, list[int]] = {}
        for ask in self._work:
            left.setdefault(ask.question, []).extend(ask.ordinals)
        self._work = deque(asks(left, 1))
