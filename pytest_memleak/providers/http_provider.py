"""The class of a provider for an HTTP API, of which only the JSON is the author's.

    class StoryProvider(HttpProvider):
        name = "storyserver"
        address = "https://api.story.example/v2"
        path = "write"
        key_variable = "STORYSERVER_API_KEY"

        def body(self, model, request):
            return {"engine": model, "input": request.instruction, "count": request.n}

        def completions(self, answer):
            return [self.completion(text, "stop") for text in answer["texts"]]

Everything else is here: the key, the options, errors and their redaction, caps on time
and size, and checks of the server's address. Sampling adds retries, prices, and the
ledger, as for every provider.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import Field

from pytest_memleak.errors import MemleakError
from pytest_memleak.interfaces.abilities import Abilities
from pytest_memleak.interfaces.protocols import (
    Completion,
    ProviderSetup,
    RequestEndpoint,
    SampleRequest,
    Served,
)
from pytest_memleak.providers.call_errors import (
    CallErrorFactory,
    ErrorResponse,
    RequestRejected,
)
from pytest_memleak.providers.error_bodies import error_code, error_message
from pytest_memleak.providers.http_calls import PACKAGES, HttpCalls
from pytest_memleak.providers.option_tables import Address, Table, read_table
from pytest_memleak.providers.provider_registry import (
    ProviderNeeds,
    host_of,
    validate_installed,
)
from pytest_memleak.providers.response_fields import (
    FILTER_CODES,
    MOST_CHOICES,
    filtered,
    finish_reason_of_answer,
    server_name,
    token_count,
)
from pytest_memleak.records import FinishReason

# Requests that differ in every setting, to identify what a body always has.
_SPECIMENS = (
    SampleRequest(
        "",
        "prompt",
        n=1,
        temperature=None,
        max_tokens=1,
    ),
    SampleRequest(
        "",
        "prompt",
        n=2,
        temperature=1.0,
        max_tokens=2,
        seed=1,
    ),
)


class HttpOptions(Table):
    """`[model.options]` of a provider for an HTTP API; a subclass adds its own.

    base_url: another server with this API; default the provider's own
    api_key_env: the environment variable of the API key; default the provider's
    concurrency: how many calls may run at once; by default 8 to 64
    completions_per_call: the most completions per call; default the provider's
    """

    base_url: Address | None = None
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    concurrency: int | None = Field(default=None, ge=1)
    completions_per_call: int | None = Field(default=None, ge=1)


class HttpProvider(ABC):
    """One model behind an HTTP API. Creating it calls nothing.

    name: of the provider in suites and messages
    address: of the provider's own server, with https://
    path: below the address; "{model}" stands for the model's name
    key_variable: the environment variable of the API key; "" if there are no keys
    completions_per_call: the most completions per call, by default
    converses: whether `body` sends `request.before`, the conversation before the
        instruction
    finish_reasons: what the API's own finish words mean. Common words are known; after
        any other word, an answer counts as withheld
    filter_codes: the API's names of the error that a filter rejected the prompt
    options_table: what `[model.options]` may have
    options: the suite's `[model.options]`
    """

    name: str
    address: str
    path: str
    key_variable = ""
    free = False
    batch = False
    concurrency: int | None = None
    completions_per_call = 1
    converses = False
    finish_reasons: Mapping[str, FinishReason] = {}
    filter_codes: frozenset[str] = FILTER_CODES
    options_table: ClassVar[type[HttpOptions]] = HttpOptions

    def __init__(self, setup: ProviderSetup) -> None:
        self.options: Any = read_table(
            self.options_table,
            setup.model.options,
            place=setup.place,
            name="options",
        )
        self._untuned = setup.untuned('base_model = "NAME"')
        self.concurrency = self.options.concurrency or self.concurrency
        self.completions_per_call = (
            self.options.completions_per_call or self.completions_per_call
        )
        if setup.hosts is not None:
            self._validate_host(setup, setup.hosts)
        validate_installed(f"provider {self.name!r}", PACKAGES, extra="http")
        self._calls = HttpCalls(
            self.options.base_url or self.address,
            key_variable=self.options.api_key_env or self.key_variable,
            needs_key=bool(self.key_variable) and self.options.base_url is None,
            timeout=setup.deadline,
            headers=self.headers,
            read_error_response=self._read_error_response,
        )

    @abstractmethod
    def body(self, model: str, request: SampleRequest) -> Mapping[str, Any]:
        """Return the JSON object that requests completions; without its keys of None.

        It has to be the same for the same request, since it identifies stored
        generations: leave out times and random values.
        """

    @abstractmethod
    def completions(self, answer: Any) -> Iterable[Completion]:
        """Return the completions in the JSON of a response, each by `completion`.

        An exception means that the response can't be used: it may be billed, so the
        call is repeated once.
        """

    def headers(self, key: str) -> Mapping[str, str]:
        """Return the headers that carry the API key."""
        return {"authorization": f"Bearer {key}"}

    def error_response(self, status: int, body: Any) -> ErrorResponse:
        """Read the body of an error: JSON, or else text.

        By default, the message is looked for under common names.
        """
        return ErrorResponse(status, error_message(body), code=error_code(body))

    def completion(
        self,
        text: str | None,
        finish_word: object,
        prompt_tokens: object = None,
        completion_tokens: object = None,
        *,
        reasoning: str = "",
        served: Served | None = None,
    ) -> Completion:
        """Return a completion, with the finish reason that `finish_word` means.

        Of a count that is the whole call's, give the first completion all, and the
        others 0.
        """
        text = text or ""
        if not isinstance(text, str):
            raise TypeError("a completion's text is a string")
        word = server_name(finish_word)
        reason = self.finish_reasons.get(word or "")
        if reason is None:
            reason = finish_reason_of_answer(word, text)
        elif not reason.withheld and not text.strip():
            reason = FinishReason.EMPTY
        return Completion(
            text,
            reason,
            token_count(prompt_tokens),
            token_count(completion_tokens),
            finish_word=word,
            reasoning=reasoning,
            served=served,
        )

    @property
    def abilities(self) -> Abilities:
        """What every such provider can do."""
        return Abilities(close=self._calls.close)

    def open(self, endpoint: str | None) -> HttpEndpoint:
        """Return the endpoint of a model's name; None for the suite's."""
        return HttpEndpoint(self, self._calls, endpoint or self._untuned)

    def _validate_host(self, setup: ProviderSetup, hosts: frozenset[str]) -> None:
        has_key = bool(self.options.api_key_env or self.key_variable)
        needs = ProviderNeeds(
            keys=(self.key_variable,) if has_key else (),
            host=host_of(self.address),
        )
        needs.validate_key_host(setup.model.options, hosts, place=setup.place)

    def _read_error_response(self, status: int, body: object) -> ErrorResponse:
        # A proxy's error may have another form than the author knows.
        with contextlib.suppress(Exception):
            rejection = self.error_response(status, body)
            if _is_well_formed(rejection):
                return replace(rejection, status=status)
        return HttpProvider.error_response(self, status, body)


class HttpEndpoint(RequestEndpoint):
    """A model; `id` identifies server, model, and what its requests always have."""

    def __init__(
        self,
        provider: HttpProvider,
        calls: HttpCalls,
        model: str,
    ) -> None:
        self._provider = provider
        self._calls = calls
        self._model = model
        self._path = provider.path.replace("{model}", quote(model, safe="/:@"))
        own = calls.address == provider.address.rstrip("/")
        place = provider.name if own else calls.address
        self.id = f"{place} {model}#{self._constant_request_digest()}"

    @property
    def abilities(self) -> Abilities:
        """The model's name, which responses should repeat."""
        converses = self.answer if self._provider.converses else None
        return Abilities(model_name=self._model, converses=converses)

    def answer(self, request: SampleRequest) -> Sequence[Completion]:
        """Return the request's completions, at least one.

        A prompt that the provider's filter rejects is withheld completions.
        """
        failing = self._error_factory(f"{self._path} (n = {request.n})", request)
        body = self._body(request, failing)
        try:
            answer = self._calls.post(self._path, body, failing)
        except RequestRejected as refused:
            if refused.moderated or refused.code in self._provider.filter_codes:
                return filtered(request.n)
            raise
        completions = self._completions(answer, failing)
        if not completions:
            raise failing.unusable("The response has no completions")
        return completions

    def _body(
        self, request: SampleRequest, failing: CallErrorFactory
    ) -> dict[str, Any]:
        try:
            body = self._provider.body(self._model, request)
            return {name: value for name, value in body.items() if value is not None}
        except MemleakError:
            raise
        except Exception as error:  # noqa: BLE001 - of the author's own
            failure = failing.final(
                f"`body` raised {_exception_type_and_line(error)}", _AUTHORS
            )
        raise failure

    def _completions(
        self, answer: object, failing: CallErrorFactory
    ) -> list[Completion]:
        try:
            returned = self._provider.completions(answer)
            completions = list(itertools.islice(returned, MOST_CHOICES))
        except MemleakError:
            raise
        except Exception as error:  # noqa: BLE001 - the message may quote the answer
            failure = failing.unusable(
                f"The response can't be read: {_exception_type_and_line(error)}",
                _AUTHORS,
            )
        else:
            foreign = [
                type(each).__name__
                for each in completions
                if not isinstance(each, Completion)
            ]
            if not foreign:
                return completions
            failure = failing.unusable(
                f"The response was read as {foreign[0]}; expected a Completion",
                _AUTHORS,
            )
        raise failure

    def _constant_request_digest(self) -> str:
        """Return what identifies the part of a request that never differs."""
        bodies = self._specimen_requests()
        if self._specimen_requests() != bodies:
            raise self._error_factory("open").final(
                "`body` isn't the same for the same request",
                "leave out times and random values: it identifies stored generations",
            )
        return hashlib.sha256(bodies.encode()).hexdigest()[:12]

    def _specimen_requests(self) -> str:
        failing = self._error_factory("open")
        bodies = [self._body(specimen, failing) for specimen in _SPECIMENS]
        return json.dumps([self._path, *bodies], sort_keys=True, default=repr)

    def _error_factory(
        self, call: str, request: SampleRequest | None = None
    ) -> CallErrorFactory:
        texts = () if request is None else request.texts
        return CallErrorFactory(self._provider.name, self._model, call, texts)


_AUTHORS = "correct the provider's class, or report this to its author"


def _exception_type_and_line(error: Exception) -> str:
    """Return an exception's type and the author's line, without its message."""
    frames = traceback.extract_tb(error.__traceback__)
    line = frames[min(1, len(frames) - 1)]
    return f"{type(error).__name__} at line {line.lineno} of {line.filename}"


def _is_well_formed(rejection: ErrorResponse) -> bool:
    wait, code = rejection.retry_after, rejection.code
    return (
        isinstance(rejection.message, str)
        and (code is None or isinstance(code, str))
        and (wait is None or 0 <= wait < math.inf)
    )
