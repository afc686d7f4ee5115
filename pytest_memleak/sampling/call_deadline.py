"""Deadlines: each call to an endpoint ends in time, with its answers checked, or with an error.

Every failure is a ProviderError (final) or a ProviderBusy (temporary) that names
provider, endpoint, and call. `in_doubt` tells whether the failed call may have been
billed.

The call runs in another thread. A call that misses its deadline is abandoned in a
daemon thread; if it returns after all, `late` gets the result.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, TypeGuard, TypeVar, cast

from pytest_memleak.errors import (
    CallTimeout,
    MemleakError,
    ProviderBusy,
    ProviderError,
    RequestNotSent,
)
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.interfaces.protocols import (
    OWN_PROVIDER,
    Completion,
    Endpoint,
    Served,
)
from pytest_memleak.ledger.call_outcomes import Call
from pytest_memleak.ledger.prompts import PromptSpec
from pytest_memleak.providers.call_errors import RAISE_DEADLINE, Failing
from pytest_memleak.records import FinishReason
from pytest_memleak.redaction.credentials import masked

T = TypeVar("T")

_LONGEST_MESSAGE = 1000
_GRACE = 30.0  # seconds
_MOST_TOKENS = 2**31  # a count outside 0 to this is invalid
_MOST_CHARACTERS = 500  # of a server's own names
# No model generates more in one answer; the rest is cut off, and reported.
_LONGEST_ANSWER = 1_000_000
# If these are rejected, fewer completions are requested, or another name is used.
_SUBSTITUTED = {"api", "candidateCount", "max_completion_tokens", "n", "stream_options"}
_HTTP_STATUS = re.compile(r"(\d{3})\b")
# With these, the server may still have done the work.
_UNSURE = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.GATEWAY_TIMEOUT,
}


@dataclass(slots=True)
class TimedCalls:
    """Calls to one endpoint of a provider, each of which ends after `deadline` seconds.

    reached: whether the server has answered anything yet, in this process
    """

    provider: str
    endpoint: str
    deadline: float
    reached: bool = False

    def failing(self, call: str) -> Failing:
        """Return what creates the errors of a call."""
        return Failing(self.provider, self.endpoint, call)

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
        deadline = self.deadline if deadline is None else deadline
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
            # From an endpoint of the user's own, only a provider's error may come with
            # its words.
            expected = ProviderError if self.provider == OWN_PROVIDER else MemleakError
            if isinstance(error, expected):
                _mask(error)
                if isinstance(error, RequestNotSent):
                    error.hint = error.hint or _NOT_SENT
                else:
                    self.reached = True
                raise
            last = traceback.extract_tb(error.__traceback__)[-1]
            cause = f"{type(error).__name__} at line {last.lineno} of {last.filename}"
            hint = "call the endpoint directly to see the whole error"
            failure = _Unforeseen(cause, hint=hint, **place)
        else:
            self.reached = True
            return returned
        # Outside the handler, the new error doesn't keep the old one alive.
        raise failure


class CheckedEndpoint:
    """An endpoint whose calls end in time, and whose answers are checked."""

    def __init__(
        self, endpoint: Endpoint, *, endpoint_id: str, provider: str, deadline: float
    ) -> None:
        self._endpoint = endpoint
        self.id = endpoint_id
        self.calls = TimedCalls(provider, endpoint_id, deadline)
        abilities = abilities_of(endpoint)
        self._recovery, self._obeyed = abilities.recovery, abilities.obeyed

    @property
    def recoverable(self) -> bool:
        """Whether the provider stores answers by request id."""
        return self._recovery is not None

    def sample(
        self,
        call: Call,
        question: PromptSpec,
        *,
        late: Callable[[tuple[Completion, ...]], object],
    ) -> tuple[Completion, ...]:
        """Return the endpoint's answer; `late` gets one that misses the deadline."""
        request = question.request(call.request_id, call.ordinals)

        def sample() -> Sequence[Completion | str]:
            if self._recovery is not None:
                return self._recovery.sample(request)
            return self._endpoint.sample(
                request.instruction,
                n=request.n,
                temperature=request.temperature,
                max_tokens=request.max_tokens,
                seed=request.seed,
            )

        def too_late(answers: object) -> None:
            if not isinstance(answers, BaseException):
                try:
                    late(
                        self.completions(
                            answers, "sample", temperature=question.temperature
                        )
                    )
                except BadAnswer as error:
                    late(error.kept)

        answers = self.calls.run("sample", sample, late=too_late)
        completions = self.completions(
            answers, "sample", temperature=question.temperature
        )
        if not completions:
            raise self.calls.failing("sample").unusable("no completions")
        return completions

    def recover(self, request_id: str) -> tuple[Completion, ...] | None:
        """Return the answer that the provider stored; None if there is none."""
        recovery = self._recovery
        if recovery is None:
            return None
        kept = self.calls.run("recover", lambda: recovery.recover(request_id))
        return None if kept is None else self.completions(kept, "recover")

    def completions(
        self, answers: object, verb: str, *, temperature: float | None = None
    ) -> tuple[Completion, ...]:
        """Convert a call's answers to Completions; blank ones are EMPTY, invalid counts None.

        temperature: the requested one, to tell whether it was rejected. Raises
        BadAnswer, with the valid completions, if one is invalid.
        """
        if isinstance(answers, str | bytes) or not isinstance(answers, Sequence):
            raise self._error(
                f"it returned {_kind(answers)}; expected a sequence of completions",
                verb,
            )
        completions = [
            Completion(answer) if isinstance(answer, str) else answer
            for answer in answers
        ]
        refused = self._refused(temperature)
        kept = tuple(
            _bounded(answer, refused) for answer in completions if _well_formed(answer)
        )
        for answer in completions:
            if not _well_formed(answer):
                raise self._error(
                    f"it returned {_kind(answer)} among its completions; expected a "
                    "string or a"
                    " Completion",
                    verb,
                    kept,
                )
        return kept

    def _refused(self, temperature: float | None) -> tuple[str, ...]:
        """Return the sampling settings that the server has rejected so far.

        A server that accepts one temperature only has rejected others, which doesn't
        matter here.
        """
        return tuple(
            name
            for name, support in self._obeyed().items()
            if name not in _SUBSTITUTED
            and (
                temperature in support.rejected
                if name == "temperature"
                else support.rejected
            )
        )

    def _error(
        self, cause: str, verb: str, kept: tuple[Completion, ...] = ()
    ) -> ProviderError:
        error = BadAnswer(cause, **self.calls.failing(verb).place)
        error.kept = kept
        return error


_NOT_SENT = "nothing was sent or billed; check that the server runs at this address"


def _mask(error: MemleakError) -> None:
    """Mask anything that looks like a key in an error's message."""
    error.message = masked(error.message, limit=_LONGEST_MESSAGE)
    error.args = (error.message,)
    if isinstance(error, ProviderError):
        error.cause = masked(error.cause, limit=_LONGEST_MESSAGE)


class NoAnswer(CallTimeout):
    """A call that was abandoned, and may still do its work."""


class _Unforeseen(ProviderError):
    """An error that no provider should raise; the call may have been billed."""

    in_doubt = True


class BadAnswer(_Unforeseen):
    """An invalid answer; `kept` are its valid completions."""

    kept: tuple[Completion, ...] = ()


def in_doubt(error: ProviderError) -> bool:
    """Tell whether a failed call may have been answered and billed.

    The error decides if it knows. Otherwise, a broken connection is in doubt; an error
    with a retry time, or with an HTTP status at the start of its cause, was a
    rejection.
    """
    if error.in_doubt is not None:
        return error.in_doubt
    if isinstance(error, ProviderBusy) and error.retry_after is not None:
        return False
    status = _HTTP_STATUS.match(error.cause)
    return status is None or int(status[1]) in _UNSURE


def _well_formed(answer: object) -> TypeGuard[Completion]:
    return (
        isinstance(answer, Completion)
        and isinstance(answer.text, str)
        and isinstance(answer.reasoning, str)
        and isinstance(answer.finish_reason, FinishReason)
    )


def _bounded(answer: Completion, refused: tuple[str, ...]) -> Completion:
    """Limit an answer to what the ledger can hold; a blank answer is EMPTY.

    An answer longer than any model's is cut and marked as withheld: its rest isn't
    measured.
    """
    if max(len(answer.text), len(answer.reasoning)) > _LONGEST_ANSWER:
        word = f"longer than {_LONGEST_ANSWER:,} characters"
        answer = replace(answer, finish_reason=FinishReason.UNKNOWN, finish_word=word)
    text = _characters(answer.text[:_LONGEST_ANSWER])
    blank = not text.strip() and not answer.finish_reason.withheld
    served = answer.served
    if refused:
        served = served or Served()
        served = replace(served, refused=(*served.refused, *refused))
    return Completion(
        text,
        FinishReason.EMPTY if blank else answer.finish_reason,
        reasoning=_characters(answer.reasoning[:_LONGEST_ANSWER]),
        prompt_tokens=_tokens(answer.prompt_tokens),
        completion_tokens=_tokens(answer.completion_tokens),
        served=served
        and Served(
            _word(served.model),
            _word(served.fingerprint),
            _word(served.response_id),
            tuple(map(str, served.refused)),
        ),
        finish_word=_word(answer.finish_word),
    )


def _characters(text: str) -> str:
    """Remove lone surrogates, which are invisible but split words."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return text


def _tokens(count: object) -> int | None:
    valid = (
        isinstance(count, int)
        and not isinstance(count, bool)
        and 0 <= count < _MOST_TOKENS
    )
    return cast(int, count) if valid else None


def _word(value: object) -> str | None:
    return None if value is None else str(value)[:_MOST_CHARACTERS]


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


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

    `late` is called with the value or the exception if the call ends after Overdue was
    raised.
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
            lambda ended: late(ended.exception() or ended.result())
        )
    raise Overdue


class _Runner(threading.Thread):
    """A thread that runs one call after another: starting a thread for each is slower."""

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
