"""The attempts at one reserved call, until it is answered or given up.

A busy provider is called again after a pause. If a connection breaks off, the answer is
recovered from the provider where it stores answers; otherwise the call counts as lost
and billed, and a new call with its own row sends the same request.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pytest_memleak.errors import (
    CallTimeout,
    LedgerError,
    ProviderBusy,
    ProviderError,
    RequestNotSent,
)
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_outcomes import (
    Call,
    CallResult,
    end_call_unanswered,
    leave_call_open,
    mark_postponed,
    mark_resumed,
    outcomes_in_run,
    store_call_result,
)
from pytest_memleak.ledger.call_reservations import (
    CallTerms,
    Intent,
    reserve_call,
    reserve_calls,
)
from pytest_memleak.ledger.call_states import NOT_SENT, UNANSWERED, is_fault
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import Ask, PromptSpec
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.sampling.adaptive_concurrency import AdaptiveConcurrency
from pytest_memleak.sampling.billing_doubt import NoAnswer, in_doubt
from pytest_memleak.sampling.checked_endpoint import BadAnswer, CheckedEndpoint
from pytest_memleak.sampling.retry import Retry

_TOO_MANY = "429"


class Stopped(Exception):
    """Raised in a thread after another one failed, or after Ctrl-C."""


@dataclass(slots=True)
class Counts:
    """The totals added so far: generations, tokens, billionths of a US$."""

    done: int = 0
    tokens: int = 0
    cost: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, answer: CallResult) -> None:
        """Count a recorded answer."""
        with self._lock:
            self.done += len(answer.completions)
            self.tokens += (answer.prompt_tokens or 0) + (answer.completion_tokens or 0)
            self.cost += answer.cost or 0

    def clear(self) -> None:
        """Reset all counts."""
        with self._lock:
            self.done = self.tokens = self.cost = 0


@dataclass(slots=True)
class Notice:
    """What is shown at once: what the run waits for, or else `text`.

    others: processes that it waits for; else it may wait for the server
    ending: whether it only waits for the calls in flight
    """

    text: str = ""
    others: str = ""
    ending: bool = False
    _cause: str = ""
    _until: float = 0.0

    def wait(self, error: ProviderBusy, seconds: float) -> None:
        """Note a pause before the next attempt."""
        status = error.cause[:3]
        if status == _TOO_MANY:
            self._cause = f"the server's rate limit ({status})"
        elif status.isdigit():
            self._cause = f"the server ({status})"
        else:
            self._cause = "the server"
        self._until = time.monotonic() + seconds

    def __str__(self) -> str:
        if self.others:
            return f"waiting for {self.others}"
        left = math.ceil(self._until - time.monotonic())
        if left > 0:
            return f"waiting for {self._cause}, {left} s"
        return self.text


@dataclass(frozen=True, slots=True)
class SamplingContext:
    """Everything that calls to one endpoint share.

    prompt_of_id: the prompts, by row id; prompt_ids: the row ids, by the prompts' keys
    limit: the run's budget, in billionths of a US$; None without one
    pace: the number of concurrent calls
    """

    ledger: Ledger
    endpoint: CheckedEndpoint
    prompt_of_id: Mapping[int, PromptSpec]
    prompt_ids: Mapping[tuple[str, str], int]
    terms: CallTerms
    limit: int | None
    retry: Retry
    pace: AdaptiveConcurrency
    counts: Counts = field(default_factory=Counts)
    notice: Notice = field(default_factory=Notice)

    def reserve(
        self,
        candidates: Sequence[Ask],
        *,
        after: CallResult | None = None,
    ) -> Call | None:
        """Reserve a call for the first candidate that isn't being sampled, if any.

        `after`, the answer to the previous call, is recorded at the same time.
        """
        self._require_room()
        return reserve_call(self.ledger, self._intent(candidates), after=after)

    def reserve_each(self, asks: Sequence[Ask]) -> tuple[list[Call], Exception | None]:
        """Reserve a call for each ask that isn't being sampled.

        Also returns why some have no call, such as the budget.
        """
        self._require_room()
        return reserve_calls(self.ledger, [self._intent([ask]) for ask in asks])

    def answer(
        self,
        call: Call,
        came: Sequence[Completion],
        *,
        recovered: bool = False,
    ) -> CallResult:
        """Return the completions as the answer to a call, with their cost."""
        prompt = self.prompt_of_id[call.prompt]
        billed = self.terms.billed(prompt, came)
        return CallResult(call, came, *billed, recovered=recovered)

    def _require_room(self) -> None:
        if not self.terms.free:
            self.ledger.require_disk_room()

    def _intent(self, candidates: Sequence[Ask]) -> Intent:
        return Intent(
            lease=self.ledger.lease,
            run=self.ledger.run,
            provider=self.terms.sampler.name,
            candidates=candidates,
            prompt_ids=self.prompt_ids,
            estimate=self.terms.estimate,
            limit=self.limit,
        )

    def max_seconds_to_reach(self) -> float | None:
        """Return the seconds to try a server that this run hasn't reached, else None.

        0 if other processes of the run have tried in vain.
        """
        if self.endpoint.calls.reached:
            return None
        answered, in_vain = self.ledger.read(
            lambda connection: outcomes_in_run(
                connection,
                self.ledger.run,
                self.endpoint.id,
            ),
        )
        if answered:
            return None
        if in_vain:
            return 0.0
        return self.retry.max_seconds_to_reach


class ReservedCall:
    """A reserved call and its retries; `stop` prevents the next one.

    left: the ordinals that are no longer requested, since each timeout halves the call
    """

    def __init__(
        self,
        context: SamplingContext,
        call: Call,
        stop: threading.Event,
    ) -> None:
        self._context = context
        self._prompt = context.prompt_of_id[call.prompt]
        self._ordinals = call.ordinals
        self.left: tuple[int, ...] = ()
        self._stop = stop
        # The call whose row is open, and whether it was rejected or not yet made.
        self._call: Call | None = call
        self._waiting = False
        self._unmade = True
        self._turned_away = ""

    def run(self) -> CallResult | None:
        """Return the answer for the ledger; None if others took over its ordinals.

        Raises ProviderError, ProviderBusy (after all retries), BudgetExceeded, Stopped.
        """
        try:
            return self._context.retry.run(
                self._once,
                self._stop,
                max_seconds_to_reach=self._context.max_seconds_to_reach,
                waiting=self._context.notice.wait,
            )
        finally:
            if self._call is not None and (self._waiting or self._unmade):
                cause = self._turned_away
                if self._unmade:
                    cause = "abandoned before it was sent"
                end_call_unanswered(
                    self._context.ledger, self._call, billed=False, cause=cause
                )

    def _once(self) -> CallResult | None:
        if self._stop.is_set():
            raise Stopped
        call = self._ready()
        if call is None:
            return None
        kept = None
        try:
            came = self._context.endpoint.sample(
                call,
                self._prompt,
                late=functools.partial(self._come_late, call),
            )
        except ProviderBusy as error:
            if not in_doubt(error) and is_fault(error.cause):
                # A row of its own for each: what the server had and lost must show.
                self._give_up(call, error, billed=False)
                self._context.pace.turned_away()
                raise
            if not in_doubt(error):
                mark_postponed(self._context.ledger, call)
                self._waiting = True
                sent = not isinstance(error, RequestNotSent)
                if sent:
                    self._context.pace.turned_away()
                self._turned_away = "the provider was busy" if sent else NOT_SENT
                raise
            came = kept = self._recover(call, error)
        except BadAnswer as error:
            self._keep(call, error)
            raise
        except ProviderError as error:
            self._give_up(call, error, billed=in_doubt(error))
            raise
        answer = self._context.answer(call, came, recovered=kept is not None)
        self._context.counts.add(answer)
        return answer

    def _ready(self) -> Call | None:
        """Return the call to make: the reserved one, or one in place of a lost one."""
        context = self._context
        if self._waiting and self._call is not None:
            mark_resumed(context.ledger, self._call)
        elif self._call is None:
            self._call = context.reserve([Ask(self._prompt, self._ordinals)])
        self._waiting = self._unmade = False
        return self._call

    def _recover(self, call: Call, error: ProviderBusy) -> tuple[Completion, ...]:
        """Return the answer that the provider stored; without one, raise `error`."""
        try:
            kept = recovered_answer(self._context, call)
        except ProviderError:
            # The next process tries again; here, every other call would fail, too.
            leave_call_open(self._context.ledger, call)
            self._call = None
            # A final error isn't retried.
            failing = self._context.endpoint.calls.failing(error.call)
            raise failing.final(error.cause, error.hint) from None
        if kept is not None:
            return kept
        # A provider that stores answers and has none wasn't paid, unless it's working.
        stores_answers = self._context.endpoint.recoverable
        billed = not stores_answers or isinstance(error, NoAnswer)
        self._give_up(call, error, billed=billed, prefix=f"{UNANSWERED}: ")
        if isinstance(error, CallTimeout):
            error.halved = self._halve_after_timeout()
        raise error

    def _halve_after_timeout(self) -> bool:
        """Request only the first half of the ordinals from now on, if several."""
        self._context.pace.turned_away()
        if len(self._ordinals) == 1:
            return False
        half = len(self._ordinals) // 2
        self.left = (*self._ordinals[half:], *self.left)
        self._ordinals = self._ordinals[:half]
        return True

    def _keep(self, call: Call, error: BadAnswer) -> None:
        """Record the valid completions of a bad answer: they were paid for."""
        if not error.kept:
            self._give_up(call, error, billed=in_doubt(error))
            return
        answer = self._context.answer(call, error.kept)
        store_call_result(self._context.ledger, answer)
        self._call = None
        self._context.counts.add(answer)

    def _give_up(
        self,
        call: Call,
        error: ProviderError,
        *,
        billed: bool,
        prefix: str = "",
    ) -> None:
        cause = prefix + masked(error.cause)
        end_call_unanswered(self._context.ledger, call, billed=billed, cause=cause)
        self._call = None

    def _come_late(self, call: Call, came: Sequence[Completion]) -> None:
        with suppress(LedgerError):  # the ledger may be closed by now
            store_call_result(self._context.ledger, self._context.answer(call, came))


def recovered_answer(
    context: SamplingContext,
    call: Call,
) -> tuple[Completion, ...] | None:
    """Return the answer that the provider stored; None if it has none.

    The provider may still work on a call that was just interrupted, so it is asked
    until the call is `retry.recovery` seconds old.
    """
    endpoint, retry = context.endpoint, context.retry
    if not endpoint.recoverable:
        return None
    until = min(call.began, time.time()) + retry.recovery
    while True:
        kept = retry.run(
            lambda: endpoint.recover(call.request_id),
            max_seconds_to_reach=lambda: endpoint.calls.patience(
                retry.max_seconds_to_reach
            ),
        )
        if kept is not None or time.time() >= until:
            return kept
        retry.look_again(until)
