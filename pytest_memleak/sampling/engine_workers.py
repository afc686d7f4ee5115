"""Sampling from an engine in this process, which samples many requests together.

Each request is a call with a row of its own in the ledger, as where calls are made one
by one: its ordinals are reserved before, and its answer is stored after. One thread
gives the engine as many calls at once as it takes.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from pytest_memleak.errors import (
    CallTimeout,
    LedgerError,
    MemleakError,
    ProviderBusy,
    ProviderError,
)
from pytest_memleak.ledger.call_outcomes import end_open_calls, store_call_results
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.sampling.billing_doubt import in_doubt
from pytest_memleak.sampling.call_workers import Workers
from pytest_memleak.sampling.reserved_call import SamplingContext, Stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.interfaces.abilities import Engine
    from pytest_memleak.ledger.call_outcomes import Call
    from pytest_memleak.ledger.prompts import Ask
    from pytest_memleak.sampling.checked_endpoint import Sampled


class EngineWorkers(Workers):
    """A thread that gives an engine many calls at once."""

    def __init__(self, context: SamplingContext, engine: Engine) -> None:
        super().__init__(context)
        self._engine = engine
        self._most = engine.most

    def _sample_until_done(self) -> bool:
        """Work until nothing is left; the only thread never retires."""
        while self._work and not self._stop.is_set():
            self._context.retry.run(
                self._attempt,
                self._stop,
                max_seconds_to_reach=self._context.max_seconds_to_reach,
                waiting=self._context.notice.wait,
            )
        return False

    def _attempt(self) -> None:
        """Sample what is free of the next asks, and store it.

        Raises ProviderError, BudgetExceeded, Stopped; after ProviderBusy, these asks
        are the next ones again.
        """
        if self._stop.is_set():
            raise Stopped
        together = self._take_together()
        calls, refusal = self._context.reserve_each(together)
        try:
            if calls:
                self._sample(calls)
        except ProviderBusy as error:
            self._work.extendleft(reversed(together))
            if isinstance(error, CallTimeout):
                error.halved = self._ask_for_less(together)
            raise
        if refusal is not None:
            raise refusal

    def _take_together(self) -> list[Ask]:
        """Take the next asks, as many as one call of the engine may have."""
        together: list[Ask] = []
        room = self._most
        while self._work:
            room -= len(self._work[0].ordinals)
            if together and room < 0:
                break
            together.append(self._work.popleft())
        return together

    def _ask_for_less(self, together: Sequence[Ask]) -> bool:
        """Halve what one call is asked for, after a timeout; False if it had one."""
        requested = sum(len(ask.ordinals) for ask in together)
        half = max(1, requested // 2)
        self._most = half
        if len(together) == 1:
            self._request_at_most(half)
        return requested > 1

    def _sample(self, calls: Sequence[Call]) -> None:
        """Give the engine reserved calls, and store each answer.

        Whatever it raises, no call stays open.
        """
        prompt_of_id = self._context.prompt_of_id
        try:
            sampled = self._context.endpoint.sample_many(
                [(call, prompt_of_id[call.prompt]) for call in calls],
                engine=self._engine,
                late=partial(self._store_late, calls),
            )
        except MemleakError as error:
            self._give_up(calls, error)
            raise
        self._store(calls, sampled)
        for call, answer in zip(calls, sampled, strict=True):
            if answer.error is not None:
                self._give_up([call], answer.error)
        errors = (answer.error for answer in sampled if answer.error is not None)
        first_error = next(errors, None)
        if first_error is not None:
            raise first_error

    def _store(self, calls: Sequence[Call], sampled: Sequence[Sampled]) -> None:
        """Store the completions that came for calls, in one transaction."""
        answers = [
            self._context.answer(call, answer.completions)
            for call, answer in zip(calls, sampled, strict=False)
            if answer.completions
        ]
        if not answers:
            return
        unstored = {answer.call.id: answer for answer in answers}
        self._unstored |= unstored
        self._context.ledger.write(
            lambda connection: store_call_results(connection, answers)
        )
        for number in unstored:
            del self._unstored[number]
        for answer in answers:
            self._context.counts.add(answer)

    def _store_late(self, calls: Sequence[Call], sampled: Sequence[Sampled]) -> None:
        with suppress(LedgerError):  # the ledger may be closed by now
            self._store(calls, sampled)

    def _give_up(self, calls: Sequence[Call], error: MemleakError) -> None:
        """End those of the calls that are still open."""
        cause, billed = error.message, False
        if isinstance(error, ProviderError):
            cause, billed = error.cause, in_doubt(error)
        numbers = [call.id for call in calls]
        self._context.ledger.write(
            lambda connection: end_open_calls(
                connection,
                numbers,
                billed=billed,
                cause=masked(cause),
            ),
        )
