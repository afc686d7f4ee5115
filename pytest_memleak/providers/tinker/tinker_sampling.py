"""An endpoint at Tinker: a base model, or weights saved for sampling.

Tinker identifies a sample by its sampling session and its number in it, and does
numbered work once: repeated in the same words, it returns the first result, to another
process, too, as long as the session lives. So sampler, number, and words of each call
are stored before it is made: one file per sampling session, one line per call. Files
are deleted after a week.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.interfaces.abilities import Abilities, Recovery
from pytest_memleak.interfaces.protocols import (
    Completion,
    RequestEndpoint,
    SampleRequest,
    Served,
)
from pytest_memleak.providers.call_errors import (
    RAISE_DEADLINE,
    CallErrorFactory,
    RequestRejected,
)
from pytest_memleak.providers.tinker.tinker_client import (
    PROVIDER,
    SessionGone,
    TinkerCalls,
)
from pytest_memleak.providers.tinker.tinker_format import ChatFormat, PlainFormat
from pytest_memleak.records import FinishReason
from pytest_memleak.records.generation import finish_reason_from_word
from pytest_memleak.redaction.file_writing import private_folder

if TYPE_CHECKING:
    from tinker import APIFuture, SampleResponse, SamplingClient

SCHEME = "tinker://"
_TEXT = "text"  # the format of an endpoint that continues texts
_LOST = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_FOUND},
)
_WEEK = 7 * 24 * 3600


class TinkerEndpoint(RequestEndpoint):
    """Samples of `model`, a path of saved weights or the name of a base model.

    A call that misses its deadline continues at the server, and `recover` waits for it
    again; so it does for a call of an ended process, as long as the server keeps that
    session. `id` identifies server, model, and format.

    load_format: loads the tokenizer, perhaps from the network, so at the first use only
    journal: the folder of stored calls
    """

    def __init__(
        self,
        model: str,
        *,
        calls: TinkerCalls,
        load_format: Callable[[], ChatFormat],
        journal: Path,
        renderer: str | None,
    ) -> None:
        self._model = model
        self._calls = calls
        self._load_format = load_format
        self._renderer = renderer
        self._journal = journal
        self._lock = threading.Lock()
        self._sampler: _Sampler | None = None
        self._pending: dict[str, tuple[Future[SampleResponse], SamplingCall]] = {}
        place = calls.base_url or PROVIDER
        self.id = "#".join(part for part in (f"{place} {model}", renderer) if part)

    @property
    def abilities(self) -> Abilities:
        """Saved weights never change."""
        return Abilities(
            fixed_weights=True,
            continuing=self.continuing,
            converses=None if self._renderer == _TEXT else self.answer,
            recovery=Recovery(self.answer, self.recover),
        )

    def continuing(self) -> TinkerEndpoint | None:
        """Return the same weights without a format; None if they have a renderer."""
        if self._renderer not in (None, _TEXT):
            return None
        return TinkerEndpoint(
            self._model,
            calls=self._calls,
            load_format=self._text_format,
            journal=self._journal,
            renderer=_TEXT,
        )

    @property
    def _chat(self) -> ChatFormat:
        return self._load_format()

    def _text_format(self) -> ChatFormat:
        chat = self._chat
        return chat.as_text() if isinstance(chat, PlainFormat) else chat

    def answer(self, request: SampleRequest) -> Sequence[Completion]:
        """Return up to `n` completions; the first has the prompt's tokens."""
        key = request.key or uuid.uuid4().hex
        draw = SamplingCall(
            self._chat.prompt(request.instruction, request.before),
            request.n,
            request.temperature,
            request.max_tokens,
            request.seed,
        )
        call = f"sample (n = {request.n})"
        sampler = self._sampler_opened_once(call)
        future = self._calls.begin(
            call,
            lambda: sampler.sample(key, draw, self._chat.stop),
            endpoint=self._model,
        )
        self._pending[key] = future, draw
        return self._completions_when_ready(key, call=call, texts=request.texts)

    def recover(self, key: str) -> Sequence[Completion] | None:
        """Wait again for the response to a call.

        Returns None for a call that was never made, has failed, or is unknown to the
        server.
        """
        call = "sample (asked again)"
        if key not in self._pending:
            stored = _stored_call(self._journal, key)
            if stored is None:
                return None
            future = self._calls.begin(
                call,
                lambda: self._resubmit_stored_call(stored, call),
                endpoint=self._model,
            )
            self._pending[key] = future, stored.draw
        try:
            return self._completions_when_ready(key, call=call, texts=())
        except SessionGone:
            return None
        except ProviderBusy:
            raise
        except RequestRejected as refused:
            if refused.status not in _LOST:
                raise
        except ProviderError:
            pass  # the server gave up the work
        return None

    def _completions_when_ready(
        self,
        key: str,
        *,
        call: str,
        texts: Sequence[str],
    ) -> Sequence[Completion]:
        future, draw = self._pending[key]
        try:
            answer = self._calls.result(
                future,
                call=call,
                endpoint=self._model,
                texts=texts,
                keep=True,
            )
        except ProviderError:
            # The session may be the cause: the next call opens another.
            self._sampler = None
            raise
        finally:
            if future.done():
                self._pending.pop(key, None)
        if not answer.sequences:
            raise CallErrorFactory(PROVIDER, self._model, call).unusable(
                "The response has no completion",
                "check that the server serves this model",
            )
        completions = []
        prompt_tokens = len(draw.prompt)
        for sequence in answer.sequences:
            completion = self._completion(
                sequence.tokens,
                sequence.stop_reason,
                prompt_tokens,
            )
            completions.append(completion)
            prompt_tokens = 0  # they count once
        return completions

    def _completion(
        self,
        tokens: Sequence[int],
        stop_reason: str,
        prompt: int,
    ) -> Completion:
        text = self._chat.text(tokens)
        reason = finish_reason_from_word(stop_reason)
        if not reason.withheld and not text.strip():
            reason = FinishReason.EMPTY
        return Completion(
            text,
            reason,
            prompt_tokens=prompt,
            completion_tokens=len(tokens),
            finish_word=stop_reason,
            # The server states nothing; the path identifies the weights.
            served=Served(model=self._model),
            reasoning=self._chat.thoughts(tokens),
        )

    def _sampler_opened_once(self, call: str) -> _Sampler:
        """Return the sampler; the first call opens it, and others wait for that."""
        if not self._lock.acquire(timeout=self._calls.timeout):
            raise CallErrorFactory(PROVIDER, self._model, call).busy(
                f"No sampler within {self._calls.timeout:g} s: another call is still "
                "opening it",
                RAISE_DEADLINE,
            )
        try:
            sampler = self._sampler or _Sampler(self._client(call), self._journal)
            self._sampler = sampler
            return sampler
        finally:
            self._lock.release()

    def _client(self, call: str) -> SamplingClient:
        service = self._calls.service(endpoint=self._model, call=call)
        path = base = None
        if self._model.startswith(SCHEME):
            path = self._model
        else:
            base = self._model
        return self._calls.ask(
            "create_sampling_client",
            lambda: service.create_sampling_client(
                model_path=path,
                base_model=base,
                retry_config=_disable_sdk_retries(),
            ),
            endpoint=self._model,
        )

    def _resubmit_stored_call(
        self, stored: _StoredCall, call: str
    ) -> APIFuture[SampleResponse]:
        """Submit a stored call again under its own number."""
        import tinker

        key = self._calls.key(endpoint=self._model, call=call)
        original = tinker.SamplingClient.from_sampler_handle(stored.handle, api_key=key)
        client = tinker.SamplingClient(
            original.holder,
            sampling_session_id=original._sampling_session_id,  # noqa: SLF001 - no public name
            base_model=original.get_base_model(),
            retry_config=_disable_sdk_retries(),
        )
        # The SDK counts from here; it has no public way to set the next number.
        client._request_id_counter = stored.number  # noqa: SLF001
        return _sample(client, stored.draw, self._chat.stop)


@dataclass(frozen=True, slots=True)
class SamplingCall:
    """The words of one call; `prompt` are its tokens."""

    prompt: list[int] = field(repr=False)
    n: int
    temperature: float | None
    max_tokens: int | None
    seed: int | None


@dataclass(frozen=True, slots=True)
class _StoredCall:
    """A call: the time, the sampler's handle, the number, and the words."""

    time: float
    handle: str = field(repr=False)
    number: int
    draw: SamplingCall


class _Sampler:
    """A sampling session and its file; calls are numbered as the SDK does."""

    def __init__(self, client: SamplingClient, journal: Path) -> None:
        private_folder(journal)
        for path in journal.glob("*.jsonl"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _WEEK:
                    path.unlink()
        path = journal / f"{uuid.uuid4().hex}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._client = client
        self._next = 0
        self._lock = threading.Lock()
        self._write({"handle": client.get_sampler_handle()})

    def sample(
        self,
        key: str,
        draw: SamplingCall,
        stop: list[int] | list[str],
    ) -> APIFuture[SampleResponse]:
        """Store the call, then make it, one at a time to keep the numbers in order."""
        with self._lock:
            row = {"request": key, "number": self._next, "time": time.time()}
            self._write({**row, **asdict(draw)})
            future = _sample(self._client, draw, stop)
            self._next += 1
        return future

    def _write(self, row: dict[str, Any]) -> None:
        data = f"{json.dumps(row)}\n".encode()
        while data:
            data = data[os.write(self._file, data) :]

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._file)


def _stored_call(journal: Path, key: str) -> _StoredCall | None:
    """Return the latest call of that key, of any process."""
    calls: list[_StoredCall] = []
    for path in sorted(journal.glob("*.jsonl")):
        with contextlib.suppress(OSError):
            calls += _stored_calls(path, key)
    return max(calls, key=lambda call: call.time, default=None)


def _stored_calls(path: Path, key: str) -> Iterator[_StoredCall]:
    handle = ""
    for line in path.read_text("utf-8").split("\n"):
        # A process that ended may have truncated its last line.
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            handle = row.pop("handle", handle)
            if row.pop("request", None) == key:
                yield _StoredCall(
                    row.pop("time"),
                    handle,
                    row.pop("number"),
                    SamplingCall(**row),
                )


def _sample(
    client: SamplingClient,
    draw: SamplingCall,
    stop: list[int] | list[str],
) -> APIFuture[SampleResponse]:
    from tinker import types

    # Without a temperature, the server has its default.
    temperature = {}
    if draw.temperature is not None:
        temperature["temperature"] = draw.temperature
    params = types.SamplingParams(
        max_tokens=draw.max_tokens,
        seed=draw.seed,
        stop=stop,
        **temperature,
    )
    return client.sample(
        prompt=types.ModelInput.from_ints(draw.prompt),
        num_samples=draw.n,
        sampling_params=params,
    )


def _disable_sdk_retries() -> Any:
    """Disable the SDK's retries, which would be billed again."""
    from tinker.lib.retry_handler import RetryConfig

    return RetryConfig(enable_retry_logic=False)
