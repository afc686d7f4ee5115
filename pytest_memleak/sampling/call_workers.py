"""Workers: threads that make the calls to one endpoint.

Each takes the next call in order, reserves its ordinals in the ledger, makes the call
within the deadline, and records the answer. Remaining ordinals (fewer completions than
requested, a lost call) are sampled again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from pytest_memleak.errors import CallsDropped, LedgerError
from pytest_memleak.ledger.call_outcomes import (
    Call,
    CallResult,
    end_call_unanswered,
    store_call_result,
)
from pytest_memleak.ledger.call_states import NOT_STORED
from pytest_memleak.ledger.prompts import Ask, PromptSpec, asks_by_round
from pytest_memleak.records.number_format import amount
from pytest_memleak.sampling.call_deadline import NO_THREAD
from pytest_memleak.sampling.reserved_call import (
    ReservedCall,
    SamplingContext,
    Stopped,
)

_ONE_IN_A_ROW = 2
_TELL_EVERY = 0.2
_KEEP_ALIVE_EVERY = 5.0
_LOOKAHEAD = 32  # calls to check at once while other processes have taken the next ones


class Workers:
    """Threads that sample from one endpoint.

    per_call: completions per call, which falls to 1 if the server ignores `n`
    """

    def __init__(self, context: SamplingContext) -> None:
        self._context = context
        self.per_call = max(1, context.terms.sampler.completions_per_call)
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._work: deque[Ask] = deque()
        self._crowded = False
        self._running = 0
        self._retiring = 0
        self._failure: BaseException | None = None
        self._singles = 0
        self._unstored: dict[int, CallResult] = {}  # by call

    def sample(self, wanted: Iterable[Ask], *, tell: Callable[[], None]) -> None:
        """Sample what is free of `wanted`; call `tell` a few times a second meanwhile.

        Raises the first failure of any thread, once the calls in flight have ended.
        """
        self._work = deque(wanted)
        try:
            self._start_more()
            self._watch(tell)
        except BaseException:
            self._stop.set()
            self._wait_for_calls_in_flight(tell)
            raise
        if self._failure is not None:
            if self._unstored and isinstance(self._failure, LedgerError):
                self._store_again()
            if self._unstored and isinstance(self._failure, LedgerError):
                lost = amount(len(self._unstored), "response")
                self._failure.message += f"; received and not stored: {lost}"
            raise self._failure

    def _store_again(self) -> None:
        """Store what found no room: some may be free now, or suffice for the cause."""
        ledger = self._context.ledger
        for number, answer in list(self._unstored.items()):
            try:
                store_call_result(ledger, answer)
            except LedgerError:
                with contextlib.suppress(LedgerError):
                    end_call_unanswered(
                        ledger, answer.call, billed=True, cause=NOT_STORED
                    )
            else:
                del self._unstored[number]

    def _wait_for_calls_in_flight(self, tell: Callable[[], None]) -> None:
        """Wait for the calls in flight, which may be billed."""

        def tell_number() -> None:
            in_flight = self._running
            if in_flight:
                calls = amount(in_flight, "call")
                notice = self._context.notice
                notice.others = (
                    f"{calls}; Ctrl-C now drops them, and they may be billed"
                )
                notice.ending = True
                tell()

        try:
            tell_number()
            self._watch(tell_number)
        except KeyboardInterrupt:
            in_flight = self._running
            if in_flight:
                lost = f"{amount(in_flight, 'call')} dropped, which may be billed"
                raise CallsDropped(lost) from None

    def _start_more(self) -> None:
        """Start as many threads as the work and the pace allow."""
        with self._lock:
            at_work = self._running - self._retiring
            more = min(self._context.pace.at_once - at_work, len(self._work))
            if self._stop.is_set() or more <= 0:
                return
            for _ in range(more):
                thread = threading.Thread(
                    target=self._run_thread,
                    name="memleak-worker",
                    daemon=True,
                )
                try:
                    thread.start()
                except RuntimeError:
                    raise self._context.endpoint.calls.failing("sample").final(
                        *NO_THREAD,
                    ) from None
                self._running += 1  # the thread needs the lock, held here, to end

    def _watch(self, tell: Callable[[], None]) -> None:
        seen = time.monotonic()
        while self._running:
            self._changed.wait(_TELL_EVERY)
            self._changed.clear()
            tell()
            if time.monotonic() - seen > _KEEP_ALIVE_EVERY:
                self._context.ledger.keep_alive()
                seen = time.monotonic()

    # --- in a thread ------------------------------------------------------------------

    def _run_thread(self) -> None:
        retired = False
        try:
            retired = self._sample_until_done()
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by `sample`
            with self._lock:
                self._failure = self._failure or error
            self._stop.set()
        finally:
            with self._lock:
                self._running -= 1
                self._retiring -= retired
            self._changed.set()

    def _sample_until_done(self) -> bool:
        """Work until nothing is left; tell whether the thread retires (slower pace)."""
        answer: CallResult | None = None
        try:
            while not self._stop.is_set():
                if self._retires():
                    return True
                candidates = self._next()
                if not candidates:
                    break
                # One commit records the answer and the next intent.
                call = self._claimed(candidates, answer)
                answer = None
                if call is None:
                    continue
                attempts = ReservedCall(self._context, call, self._stop)
                answer = attempts.run()
                if answer is not None:
                    self._take_up_the_rest(answer, attempts.left)
                    self._context.pace.answered()
                    self._start_more()
        finally:
            if answer is not None:
                self._unstored[answer.call.id] = answer
                store_call_result(self._context.ledger, answer)
                del self._unstored[answer.call.id]
        return False

    def _retires(self) -> bool:
        with self._lock:
            retires = self._running - self._retiring > self._context.pace.at_once
            self._retiring += retires
        return retires

    def _next(self) -> list[Ask]:
        with self._lock:
            wanted = _LOOKAHEAD if self._crowded else 1
            return [self._work.popleft() for _ in range(min(wanted, len(self._work)))]

    def _claimed(self, candidates: list[Ask], after: CallResult | None) -> Call | None:
        """Reserve a call for the first free candidate; put those behind it back."""
        call = self._context.reserve(candidates, after=after)
        taken = len(candidates)
        if call is not None:
            key = self._context.prompt_of_id[call.prompt].key
            ordinals = set(call.ordinals)
            taken = next(
                place
                for place, ask in enumerate(candidates)
                if ask.prompt.key == key and ordinals.issubset(ask.ordinals)
            )
        with self._lock:
            self._crowded = taken > 0
            self._work.extendleft(reversed(candidates[taken + 1 :]))
        return call

    def _take_up_the_rest(self, answer: CallResult, left: tuple[int, ...]) -> None:
        """Queue what is missing; `left` is what a call after a timeout omitted."""
        prompt = self._context.prompt_of_id[answer.call.prompt]
        ordinals = answer.call.ordinals
        came = len(answer.completions)
        rest = (*ordinals[came:], *left)
        with self._lock:
            if rest:
                self._work.appendleft(Ask(prompt, rest))
            if left:
                self._request_at_most(len(ordinals))
            elif len(ordinals) > 1:
                self._singles = self._singles + 1 if came == 1 else 0
                if self._singles == _ONE_IN_A_ROW:  # the server never returns more
                    self._request_at_most(1)

    def _request_at_most(self, count: int) -> None:
        """Request so many completions per call from now on."""
        self.per_call = min(count, self.per_call)
        # For further pairs; an extension's own sampler may be read-only.
        sampler = self._context.terms.sampler
        with contextlib.suppress(AttributeError):
            sampler.completions_per_call = self.per_call
        left: dict[PromptSpec, list[int]] = {}
        for ask in self._work:
            left.setdefault(ask.prompt, []).extend(ask.ordinals)
        self._work = deque(asks_by_round(left, self.per_call))
