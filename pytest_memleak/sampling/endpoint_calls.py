"""A line to an endpoint: one call at a time, within the deadline, answers as Completions.

    line = Line(endpoint, endpoint_id=..., provider=..., deadline=600)
    line.sample(call, question, late=...)    -> tuple[Completion, ...]
    line.recover(call.request_id)            -> tuple[Completion, ...] | None

Whatever goes wrong comes out as a ProviderError (final) or a ProviderBusy (may pass), which
names provider, endpoint and call. `in_doubt` tells whether the failed call may have been billed.
"""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TypeGuard, TypeVar, cast

from pytest_memleak.errors import MemleakError, ProviderBusy, ProviderError, RequestNotSent
from pytest_memleak.interfaces.capabilities import ObeyingEndpoint
from pytest_memleak.interfaces.protocols import (
    Completion,
    Endpoint,
    RecoverableEndpoint,
    Served,
)
from pytest_memleak.ledger.calls import Call
from pytest_memleak.ledger.prompts import PromptSpec
from pytest_memleak.records import FinishReason
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.sampling.deadline import Overdue, within

T = TypeVar("T")

_LONGEST_MESSAGE = 1000
_MOST_TOKENS = 2**31  # whoever counts more, or below 0, does not know
_MOST_CHARACTERS = 500  # of what a server says of itself
# No model writes as much in one answer: what goes on behind is cut off, and told.
_LONGEST_ANSWER = 1_000_000
# Where these are refused, fewer are asked for, or the same is said by another name.
_SAID_OTHERWISE = {"api", "candidateCount", "max_completion_tokens", "n"}
_HTTP_STATUS = re.compile(r"(\d{3})\b")
# Answers of a server or gateway that gave up waiting while the work may have been done.
_UNSURE = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.GATEWAY_TIMEOUT,
}


@dataclass(slots=True)
class Reach:
    """Whether a server has answered anything yet, in this process."""

    reached: bool = False


class Line:
    """Calls to one endpoint, each of which ends."""

    def __init__(
        self, endpoint: Endpoint, *, endpoint_id: str, provider: str, deadline: float
    ) -> None:
        self._endpoint = endpoint
        self.endpoint_id = endpoint_id
        self._provider = provider
        self._deadline = deadline
        self.reach = Reach()
        # Asked once: looking for a protocol's methods takes as long as a row's writing.
        self._keeping = endpoint if isinstance(endpoint, RecoverableEndpoint) else None
        self._obeying = endpoint if isinstance(endpoint, ObeyingEndpoint) else None

    @property
    def recoverable(self) -> bool:
        """Whether the provider keeps answers by request id."""
        return self._keeping is not None

    def sample(
        self,
        call: Call,
        question: PromptSpec,
        *,
        late: Callable[[tuple[Completion, ...]], object],
    ) -> tuple[Completion, ...]:
        """What the endpoint answers; `late` gets an answer that comes after the deadline."""
        sample_it = (
            functools.partial(self._keeping.sample_as, call.request_id)
            if self._keeping is not None
            else self._endpoint.sample
        )

        def sample() -> Sequence[Completion | str]:
            return sample_it(
                question.instruction,
                n=len(call.ordinals),
                temperature=question.temperature,
                max_tokens=question.max_tokens,
                seed=question.seed_from(call.ordinals[0]),
            )

        def too_late(answers: object) -> None:
            if not isinstance(answers, BaseException):
                try:
                    late(self.completions(answers, "sample", temperature=question.temperature))
                except BadAnswer as error:
                    late(error.kept)

        answers = self.within("sample", sample, late=too_late)
        return self.completions(answers, "sample", temperature=question.temperature)

    def recover(self, request_id: str) -> tuple[Completion, ...] | None:
        """The answer that the provider kept; None where it has none, or keeps none."""
        keeping = self._keeping
        if keeping is None:
            return None
        kept = self.within("recover", lambda: keeping.recover(request_id))
        return None if kept is None else self.completions(kept, "recover")

    def within(
        self,
        verb: str,
        call: Callable[[], T],
        *,
        late: Callable[[T | BaseException], object] | None = None,
    ) -> T:
        """As `timed`, for this endpoint."""
        return timed(
            call,
            provider=self._provider,
            endpoint=self.endpoint_id,
            verb=verb,
            deadline=self._deadline,
            late=late,
            reach=self.reach,
        )

    def no_completions(self, times: int) -> ProviderError:
        """The error for an endpoint that answers with nothing at all."""
        return self._error(f"no completions came, {times} times in a row", "sample")

    def completions(
        self, answers: object, verb: str, *, temperature: float | None = None
    ) -> tuple[Completion, ...]:
        """The answers of a verb as Completions; blank ones are EMPTY, impossible counts None.

        temperature: the one that was asked for, to tell whether it was refused. Raises BadAnswer,
        with those that are of the expected form, where one is not.
        """
        if isinstance(answers, str | bytes) or not isinstance(answers, Sequence):
            raise self._error(
                f"it returned {_kind(answers)}; expected a sequence of completions", verb
            )
        given = [Completion(one) if isinstance(one, str) else one for one in answers]
        refused = self._refused(temperature)
        kept = tuple(_bounded(one, refused) for one in given if _well_formed(one))
        for one in given:
            if not _well_formed(one):
                raise self._error(
                    f"it returned {_kind(one)} among its completions; expected a string or a"
                    " Completion",
                    verb,
                    kept,
                )
        return kept

    def _refused(self, temperature: float | None) -> tuple[str, ...]:
        """What the server would not take of how to sample, as far as it has said by now.

        A server that takes one temperature only has refused the others, which is no matter here.
        """
        if self._obeying is None:
            return ()
        return tuple(
            name
            for name, told in self._obeying.obeyed.items()
            if name not in _SAID_OTHERWISE
            and (temperature in told.refused if name == "temperature" else told.refused)
        )

    def _error(self, cause: str, verb: str, kept: tuple[Completion, ...] = ()) -> ProviderError:
        error = BadAnswer(cause, provider=self._provider, endpoint=self.endpoint_id, call=verb)
        error.kept = kept
        return error


def timed(
    call: Callable[[], T],
    *,
    provider: str,
    endpoint: str,
    verb: str,
    deadline: float | None,
    late: Callable[[T | BaseException], object] | None = None,
    reach: Reach | None = None,
) -> T:
    """What `call` returns, if it does within `deadline` seconds (None: however long it takes).

    `reach` is told of any answer, be it an error, that shows that there is a server.

    Raises NoAnswer where it does not, ProviderError for an exception that is not of this
    project: its type and place are named, but not its message, which may quote anything.
    """
    try:
        returned = within(deadline, call, late=late)
    except Overdue:
        cause = f"no answer within {deadline:g} s"
        raise NoAnswer(cause, provider=provider, endpoint=endpoint, call=verb) from None
    except MemleakError as error:
        _mask(error)
        if isinstance(error, RequestNotSent):
            error.hint = error.hint or _NOT_SENT
        elif reach is not None:
            reach.reached = True
        raise
    except Exception as error:  # noqa: BLE001 - whatever an SDK or a class of the user's raises
        last = traceback.extract_tb(error.__traceback__)[-1]
        cause = f"{type(error).__name__} at line {last.lineno} of {last.filename}"
        hint = "call the endpoint by itself to see the whole error"
        failure = _Unforeseen(cause, provider=provider, endpoint=endpoint, call=verb, hint=hint)
    else:
        if reach is not None:
            reach.reached = True
        return returned
    # Outside the handler: nothing that the error holds on to comes along.
    raise failure


_NOT_SENT = "nothing was sent and nothing is billed: is the server there, at that address?"


def _mask(error: MemleakError) -> None:
    """Take what looks like a key out of a message, whoever wrote it."""
    error.message = masked(error.message, limit=_LONGEST_MESSAGE)
    error.args = (error.message,)
    if isinstance(error, ProviderError):
        error.cause = masked(error.cause, limit=_LONGEST_MESSAGE)


class NoAnswer(ProviderBusy):
    """A call that has not returned by its deadline, and may yet do its work."""

    def __init__(self, cause: str, *, provider: str, endpoint: str, call: str) -> None:
        super().__init__(cause, provider=provider, endpoint=endpoint, call=call, in_doubt=True)


class _Unforeseen(ProviderError):
    """What no provider is meant to do: it may have been billed all the same."""

    in_doubt = True


class BadAnswer(_Unforeseen):
    """An answer that is not of the expected form; `kept` are those of its completions that are."""

    kept: tuple[Completion, ...] = ()


def in_doubt(error: ProviderError) -> bool:
    """Whether a call that failed so may have been answered, and billed, all the same.

    As the error itself says. Where it does not: what broke off on its way is in doubt, and what
    has a time to come back at, or an HTTP status in front of its cause, was refused.
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
    """With what the ledger can hold, whatever a server says; a blank answer is EMPTY.

    What is longer than any answer is cut, and withheld by that: the rest is not looked at.
    """
    if max(len(answer.text), len(answer.reasoning)) > _LONGEST_ANSWER:
        word = f"longer than {_LONGEST_ANSWER:,} characters"
        answer = replace(answer, finish_reason=FinishReason.UNKNOWN, finish_word=word)
    answer = replace(
        answer,
        text=_characters(answer.text[:_LONGEST_ANSWER]),
        reasoning=_characters(answer.reasoning[:_LONGEST_ANSWER]),
    )
    blank = not answer.text.strip() and not answer.finish_reason.withheld
    served = answer.served
    if refused:
        served = served or Served()
        served = replace(served, refused=(*served.refused, *refused))
    return replace(
        answer,
        finish_reason=FinishReason.EMPTY if blank else answer.finish_reason,
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
    """The text without halves of characters, which nobody sees, but which part words."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return text


def _tokens(count: object) -> int | None:
    right = isinstance(count, int) and not isinstance(count, bool) and 0 <= count < _MOST_TOKENS
    return cast(int, count) if right else None


def _word(said: object) -> str | None:
    return None if said is None else str(said)[:_MOST_CHARACTERS]


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
