"""Checked endpoints: calls that end in time, and answers that the ledger can hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.abilities import Engine, abilities_of
from pytest_memleak.interfaces.protocols import (
    Completion,
    Endpoint,
    SampleRequest,
    Served,
)
from pytest_memleak.ledger.call_outcomes import Call
from pytest_memleak.ledger.prompts import PromptSpec
from pytest_memleak.records import FinishReason
from pytest_memleak.sampling.billing_doubt import UnforeseenError
from pytest_memleak.sampling.call_deadline import TimedCalls

_MOST_TOKENS = 2**31  # a count outside 0 to this is invalid
_MOST_CHARACTERS = 500  # of a server's own names
# No model generates more in one answer; the rest is cut off, and reported.
_LONGEST_ANSWER = 1_000_000
# If these are rejected, fewer completions are requested, or another name is used.
_SUBSTITUTED = {"api", "candidateCount", "max_completion_tokens", "n", "stream_options"}


class BadAnswer(UnforeseenError):
    """An invalid answer; `kept` are its valid completions."""

    kept: tuple[Completion, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampled:
    """The valid completions of one call of several, and what was wrong, if anything."""

    completions: tuple[Completion, ...]
    error: ProviderError | None = None


class CheckedEndpoint:
    """An endpoint whose calls end in time, and whose answers are checked."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        endpoint_id: str,
        provider: str,
        deadline: float,
    ) -> None:
        self._endpoint = endpoint
        self.id = endpoint_id
        self.calls = TimedCalls(provider, endpoint_id, deadline)
        abilities = abilities_of(endpoint)
        self._recovery = abilities.recovery
        self._obeyed = abilities.parameter_values
        self._converses = abilities.converses

    @property
    def recoverable(self) -> bool:
        """Whether the provider stores answers by request id."""
        return self._recovery is not None

    def sample(
        self,
        call: Call,
        prompt: PromptSpec,
        *,
        late: Callable[[tuple[Completion, ...]], object],
    ) -> tuple[Completion, ...]:
        """Return the endpoint's answer; `late` gets one that misses the deadline."""
        request = prompt.request(call.request_id, call.ordinals)

        def sample() -> Sequence[Completion | str]:
            if self._recovery is not None:
                return self._recovery.sample(request)
            if request.before:
                return self._answer_in_conversation(request)
            return self._endpoint.sample(
                request.instruction,
                n=request.n,
                temperature=request.temperature,
                max_tokens=request.max_tokens,
                seed=request.seed,
            )

        def checked(answers: object) -> tuple[Completion, ...]:
            temperature = prompt.temperature
            return self.completions(answers, "sample", temperature=temperature)

        def too_late(answers: object) -> None:
            if isinstance(answers, BaseException):
                return
            try:
                completions = checked(answers)
            except BadAnswer as error:
                completions = error.kept
            late(completions)

        completions = checked(self.calls.run("sample", sample, late=too_late))
        if not completions:
            raise self.calls.failing("sample").unusable("no completions")
        return completions

    def _answer_in_conversation(
        self,
        request: SampleRequest,
    ) -> Sequence[Completion | str]:
        if self._converses is None:
            raise self.calls.failing("sample").final(
                "the endpoint can't hold a conversation",
                "give prompts without earlier messages, or test a model that chats",
            )
        return self._converses(request)

    def sample_many(
        self,
        calls: Sequence[tuple[Call, PromptSpec]],
        *,
        engine: Engine,
        late: Callable[[Sequence[Sampled]], object],
    ) -> list[Sampled]:
        """Return the engine's answer to each call, or why it can't be used.

        Together they may take as long as one after another; `late` gets the answers
        that miss that deadline.
        """
        requests = [
            prompt.request(call.request_id, call.ordinals) for call, prompt in calls
        ]
        returned = self.calls.run(
            "sample_many",
            lambda: engine.sample_many(requests),
            deadline=self.calls.deadline * len(requests),
            late=lambda answers: late(self._checked_each(answers, calls)),
        )
        if not _is_list(returned) or len(returned) != len(requests):
            raise self._error(
                f"it returned {_kind(returned)}; expected a sequence of "
                f"{len(requests)} answers",
                "sample_many",
            )
        return self._checked_each(returned, calls)

    def _checked_each(
        self,
        answers: object,
        calls: Sequence[tuple[Call, PromptSpec]],
    ) -> list[Sampled]:
        """Check the answers to several calls; [] for what isn't a sequence of them."""
        if not _is_list(answers):
            return []
        return [
            self._sampled(answer, prompt)
            for answer, (_, prompt) in zip(answers, calls, strict=False)
        ]

    def _sampled(self, answer: object, prompt: PromptSpec) -> Sampled:
        try:
            completions = self.completions(
                answer,
                "sample_many",
                temperature=prompt.temperature,
            )
        except BadAnswer as error:
            return Sampled(error.kept, error)
        if completions:
            return Sampled(completions)
        return Sampled((), self.calls.failing("sample_many").unusable("no completions"))

    def recover(self, request_id: str) -> tuple[Completion, ...] | None:
        """Return the answer that the provider stored; None if there is none."""
        recovery = self._recovery
        if recovery is None:
            return None
        kept = self.calls.run("recover", lambda: recovery.recover(request_id))
        return None if kept is None else self.completions(kept, "recover")

    def completions(
        self,
        answers: object,
        verb: str,
        *,
        temperature: float | None = None,
    ) -> tuple[Completion, ...]:
        """Convert a call's answers to Completions.

        Blank ones are EMPTY, and invalid counts None. Raises BadAnswer, with the valid
        completions, if one is invalid.

        temperature: the requested one, to tell whether it was rejected
        """
        if not _is_list(answers):
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
                    f"it returned {_kind(answer)} among its completions; "
                    "expected a string or a Completion",
                    verb,
                    kept,
                )
        return kept

    def _refused(self, temperature: float | None) -> tuple[str, ...]:
        """Return the sampling settings that the server has rejected so far.

        A server that accepts one temperature only has rejected others, which doesn't
        matter here.
        """
        refused = []
        for name, support in self._obeyed().items():
            if name == "temperature":
                is_refused = temperature in support.rejected
            else:
                is_refused = bool(support.rejected)
            if is_refused and name not in _SUBSTITUTED:
                refused.append(name)
        return tuple(refused)

    def _error(
        self,
        cause: str,
        verb: str,
        kept: tuple[Completion, ...] = (),
    ) -> ProviderError:
        error = BadAnswer(cause, **self.calls.failing(verb).place)
        error.kept = kept
        return error


def _is_list(answers: object) -> TypeGuard[Sequence[object]]:
    return isinstance(answers, Sequence) and not isinstance(answers, str | bytes)


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
    longest = max(len(answer.text), len(answer.reasoning))
    if longest > _LONGEST_ANSWER:
        answer = replace(
            answer,
            finish_reason=FinishReason.UNKNOWN,
            finish_word=f"longer than {_LONGEST_ANSWER:,} characters",
        )
    text = _characters(answer.text[:_LONGEST_ANSWER])
    blank = not text.strip() and not answer.finish_reason.withheld
    return Completion(
        text,
        FinishReason.EMPTY if blank else answer.finish_reason,
        reasoning=_characters(answer.reasoning[:_LONGEST_ANSWER]),
        prompt_tokens=_tokens(answer.prompt_tokens),
        completion_tokens=_tokens(answer.completion_tokens),
        served=_served(answer.served, refused),
        finish_word=_word(answer.finish_word),
    )


def _served(served: Served | None, refused: tuple[str, ...]) -> Served | None:
    """Return what answered, with the settings that the server has refused."""
    if served is None:
        return Served(refused=refused) if refused else None
    return Served(
        _word(served.model),
        _word(served.fingerprint),
        _word(served.response_id),
        (*map(str, served.refused), *refused),
    )


def _characters(text: str) -> str:
    """Remove lone surrogates, which are invisible but split words."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return text


def _tokens(count: object) -> int | None:
    if not isinstance(count, int) or isinstance(count, bool):
        return None
    return count if 0 <= count < _MOST_TOKENS else None


def _word(value: object) -> str | None:
    return None if value is None else str(value)[:_MOST_CHARACTERS]


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
