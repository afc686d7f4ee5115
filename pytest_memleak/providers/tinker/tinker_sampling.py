"""An endpoint at Tinker: a base model, or weights saved for sampling."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import ProviderBusy, ProviderError, TopKUnavailable
from pytest_memleak.interfaces.abilities import Abilities, Probabilities, Recovery
from pytest_memleak.interfaces.protocols import (
    Completion,
    SampleRequest,
    Served,
    Window,
    WindowLogs,
)
from pytest_memleak.providers.call_errors import Failing, Refused
from pytest_memleak.providers.tinker.journal import Draw, Journal, Noted, Page
from pytest_memleak.providers.tinker.tinker_client import PROVIDER, Gone, TinkerCalls
from pytest_memleak.providers.tinker.tinker_format import ChatFormat, PlainFormat
from pytest_memleak.records import FinishReason
from pytest_memleak.records.generation import finish_reason

if TYPE_CHECKING:
    from tinker import APIFuture, SampleResponse, SamplingClient

_CALL = "sample (prompt_logprobs)"
_COMPLAINTS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})


class TokenLogs:
    """Asks one model; `begin` are the tokens that begin a text, `client` opens a session."""

    def __init__(
        self,
        model: str,
        calls: TinkerCalls,
        *,
        begin: Sequence[int],
        client: Callable[[str], SamplingClient],
    ) -> None:
        self._model = model
        self._calls = calls
        self._begin = begin
        self._open = client
        # A session of its own: those of samples number their calls for the journal.
        self._client: SamplingClient | None = None
        self._opening = threading.Lock()

    def plain(self, window: Window) -> list[float]:
        """Of each token of the suffix. Raises ProviderError where the server leaves one out."""
        return self._own(window, self._ask(window, 0))

    def in_top_k(self, window: Window, *, top_k: int, temperature: float) -> WindowLogs:
        """Those, and the same among the likeliest; see `Probabilities`."""
        from pytest_memleak.scoring.extraction import among_likeliest

        if not top_k:
            raise self._too_few("The server doesn't return the probabilities of all tokens")
        try:
            answer = self._ask(window, top_k)
        except Refused as refused:
            if refused.status not in _COMPLAINTS:
                raise
            cause = f"The server rejects topk_prompt_logprobs = {top_k}: {refused.cause}"
            raise self._too_few(cause) from None
        own = self._own(window, answer)
        likeliest = (answer.topk_prompt_logprobs or [])[-len(window.suffix) :]
        fewest = min((len(entry or ()) for entry in likeliest), default=0)
        if len(likeliest) < len(own) or fewest < top_k:
            cause = f"Got {fewest} log-probabilities at a position, requested {top_k}"
            raise self._too_few(cause, billed=True)
        among = [
            among_likeliest(
                dict(entry or ()), int(token), value, top_k=top_k, temperature=temperature
            )
            for token, value, entry in zip(window.suffix, own, likeliest, strict=True)
        ]
        return WindowLogs(own, among)

    def _ask(self, window: Window, likeliest: int) -> SampleResponse:
        from tinker import types

        with self._opening:
            client = self._client = self._client or self._open(_CALL)
        tokens = [int(token) for token in (*self._begin, *window.prefix, *window.suffix)]
        try:
            return self._calls.ask(
                _CALL,
                lambda: client.sample(
                    prompt=types.ModelInput.from_ints(tokens),
                    num_samples=1,
                    sampling_params=types.SamplingParams(max_tokens=1),
                    include_prompt_logprobs=True,
                    topk_prompt_logprobs=likeliest,
                ),
                endpoint=self._model,
            )
        except ProviderError:
            self._client = None
            raise

    def _own(self, window: Window, answer: SampleResponse) -> list[float]:
        # The first token follows nothing: servers say None for it, or leave it out.
        asked = len(self._begin) + len(window.prefix) + len(window.suffix)
        logprobs = list(answer.prompt_logprobs or ())
        values = logprobs[-len(window.suffix) :]
        whole = len(logprobs) in {asked, asked - 1} and len(logprobs) >= len(window.suffix)
        if not whole or None in values:
            raise Failing(PROVIDER, self._model, _CALL).final(
                "The server doesn't return every token's log-probability",
                'probe = "probability" needs them all',
            )
        return [float(value) for value in values if value is not None]

    def _too_few(self, cause: str, *, billed: bool = False) -> TopKUnavailable:
        return TopKUnavailable(
            cause, provider=PROVIDER, endpoint=self._model, call=_CALL, billed=billed
        )


SCHEME = "tinker://"
_NO_LONGER_THERE = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY}
)


class TinkerEndpoint:
    """Samples of `model`, a path of saved weights or the name of a base model.

    A call that outlasts its deadline goes on at the server; `recover` waits for it again. So it
    does for a call of a process that has ended, as long as the server keeps that one's session.
    `id` names server, model and format.
    """

    def __init__(
        self,
        model: str,
        *,
        calls: TinkerCalls,
        chat: ChatFormat,
        journal: Journal,
        renderer: str | None,
    ) -> None:
        self._model = model
        self._calls = calls
        self._chat = chat
        self._journal = journal
        self._opening = threading.Lock()
        self._sampler: _Sampler | None = None
        self._told = TokenLogs(model, calls, begin=chat.begin, client=self._client)
        self._underway: dict[str, tuple[Future[SampleResponse], Draw]] = {}
        place = calls.base_url or PROVIDER
        self.id = "#".join(part for part in (f"{place} {model}", renderer) if part)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    @property
    def abilities(self) -> Abilities:
        """Saved weights never change."""
        return Abilities(
            fixed_weights=True,
            continuing=self.continuing,
            recovery=Recovery(self.sample_as, self.recover),
            probabilities=Probabilities(
                self.text_tokens,
                self.log_probabilities,
                self.top_k_log_probabilities,
                self.served,
                tokenizes_here=True,
            ),
        )

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
    ) -> Sequence[Completion]:
        """Up to `n` completions; see `sample_as`."""
        key = uuid.uuid4().hex
        return self.sample_as(SampleRequest(key, instruction, n, temperature, max_tokens, seed))

    def text_tokens(self, text: str) -> list[int]:
        """The tokenizer's tokens of a text, without special ones."""
        return self._chat.bare(text)

    def log_probabilities(self, windows: Sequence[Window]) -> list[list[float]]:
        """As `Probabilities` says.

        Raises ProviderError where the server leaves one out.
        """
        return [self._told.plain(window) for window in windows]

    def served(self) -> Served:
        """As `Probabilities` says."""
        return Served(model=self._model)

    def top_k_log_probabilities(
        self, windows: Sequence[Window], top_k: int, temperature: float
    ) -> list[WindowLogs]:
        """As `Probabilities` says."""
        return [
            self._told.in_top_k(window, top_k=top_k, temperature=temperature) for window in windows
        ]

    def continuing(self) -> TinkerEndpoint | None:
        """The same weights on plain text; None where a renderer makes their prompts."""
        if not isinstance(self._chat, PlainFormat):
            return None
        return TinkerEndpoint(
            self._model,
            calls=self._calls,
            chat=self._chat.as_text(),
            journal=self._journal,
            renderer="text",
        )

    def sample_as(self, request: SampleRequest) -> Sequence[Completion]:
        """Up to `n` completions, with their exact lengths in tokens.

        The prompt's tokens stand with the first completion: it is read once for all of them.
        """
        draw = Draw(
            self._chat.prompt(request.instruction),
            request.n,
            request.temperature,
            request.max_tokens,
            request.seed,
        )
        call = f"sample (n = {request.n})"
        sampler = self._opened(call)
        future = self._calls.begin(
            call, lambda: sampler.ask(request.key, draw, self._chat.stop), endpoint=self._model
        )
        self._underway[request.key] = future, draw
        return self._wait(request.key, call=call, texts=(request.instruction,))

    def recover(self, request_id: str) -> Sequence[Completion] | None:
        """The answer to the call of that name, waited for again.

        None if there was no such call, if it failed, and if the server has forgotten it.
        """
        call = "sample (asked again)"
        if request_id not in self._underway:
            noted = self._journal.find(request_id)
            if noted is None:
                return None
            future = self._calls.begin(call, lambda: self._again(noted, call), endpoint=self._model)
            self._underway[request_id] = future, noted.draw
        try:
            return self._wait(request_id, call=call, texts=())
        except Gone:
            return None
        except ProviderBusy:
            raise
        except Refused as refused:
            if refused.status not in _NO_LONGER_THERE:
                raise
        except ProviderError:
            pass  # the work itself was given up
        return None

    def _wait(self, request_id: str, *, call: str, texts: Sequence[str]) -> Sequence[Completion]:
        future, draw = self._underway[request_id]
        try:
            answer = self._calls.result(
                future, call=call, endpoint=self._model, texts=texts, keep=True
            )
        except ProviderError:
            # Asking again goes to a new session: this one may be the trouble.
            self._sampler = None
            raise
        finally:
            if future.done():
                self._underway.pop(request_id, None)
        if not answer.sequences:
            raise Failing(PROVIDER, self._model, call).busy("The answer has no completion")
        return [
            self._completion(
                sequence.tokens, sequence.stop_reason, 0 if place else len(draw.prompt)
            )
            for place, sequence in enumerate(answer.sequences)
        ]

    def _completion(self, tokens: Sequence[int], stop_reason: str, prompt: int) -> Completion:
        text = self._chat.text(tokens)
        reason = finish_reason(stop_reason)
        return Completion(
            text,
            reason if text.strip() or reason.withheld else FinishReason.EMPTY,
            prompt_tokens=prompt,
            completion_tokens=len(tokens),
            finish_word=stop_reason,
            # What is sampled is named by its path: the server names nothing else.
            served=Served(model=self._model),
            reasoning=self._chat.thoughts(tokens),
        )

    def _opened(self, call: str) -> _Sampler:
        """The sampler; whoever comes first opens it, and the others wait as long as it may."""
        if not self._opening.acquire(timeout=self._calls.timeout):
            raise Failing(PROVIDER, self._model, call).busy(
                f"No sampler within {self._calls.timeout:g} s: another call is opening it",
                "Increase options.timeout.",
            )
        try:
            sampler = self._sampler or self._open(call)
            self._sampler = sampler
            return sampler
        finally:
            self._opening.release()

    def _open(self, call: str) -> _Sampler:
        client = self._client(call)
        return _Sampler(client, self._journal.open(client.get_sampler_handle()))

    def _client(self, call: str) -> SamplingClient:
        service = self._calls.service(endpoint=self._model, call=call)
        saved = self._model.startswith(SCHEME)
        return self._calls.ask(
            "create_sampling_client",
            lambda: service.create_sampling_client(
                model_path=self._model if saved else None,
                base_model=None if saved else self._model,
                retry_config=_once(),
            ),
            endpoint=self._model,
        )

    def _again(self, noted: Noted, call: str) -> APIFuture[SampleResponse]:
        """The noted call, submitted once more under its own number."""
        import tinker

        key = self._calls.key(endpoint=self._model, call=call)
        original = tinker.SamplingClient.from_sampler_handle(noted.handle, api_key=key)
        client = tinker.SamplingClient(
            original.holder,
            sampling_session_id=original._sampling_session_id,  # noqa: SLF001 - it has no other name
            base_model=original.get_base_model(),
            retry_config=_once(),
        )
        # The SDK counts up from here; it has no public way to say which number comes next.
        client._request_id_counter = noted.number  # noqa: SLF001
        return _ask(client, noted.draw, self._chat.stop)


class _Sampler:
    """A sampling session of this process, its calls numbered from 0 as the SDK numbers them."""

    def __init__(self, client: SamplingClient, page: Page) -> None:
        self._client = client
        self._page = page
        self._next = 0
        self._turn = threading.Lock()

    def ask(
        self, request_id: str, draw: Draw, stop: list[int] | list[str]
    ) -> APIFuture[SampleResponse]:
        """Write the call down, then make it. One at a time, or numbers and order part."""
        with self._turn:
            self._page.note(request_id, self._next, draw)
            promised = _ask(self._client, draw, stop)
            self._next += 1
        return promised


def _ask(
    client: SamplingClient, draw: Draw, stop: list[int] | list[str]
) -> APIFuture[SampleResponse]:
    from tinker import types

    params = types.SamplingParams(
        max_tokens=draw.max_tokens,
        seed=draw.seed,
        stop=stop,
        # The server's own default, where none is asked for.
        **({} if draw.temperature is None else {"temperature": draw.temperature}),
    )
    return client.sample(
        prompt=types.ModelInput.from_ints(draw.prompt), num_samples=draw.n, sampling_params=params
    )


def _once() -> Any:
    """No second submission: it would be paid for beside the first."""
    from tinker.lib.retry_handler import RetryConfig

    return RetryConfig(enable_retry_logic=False)
