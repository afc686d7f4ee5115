"""Calls to an OpenAI-compatible server: the SDK's client, and what its failures mean.

The SDK's own retries are off: a call that may have been paid for is tried again only by those
who keep the ledger. Every failure becomes a `ProviderBusy` (may pass) or a `Refused` (final),
raised outside the `except` block that saw it, so that no request (with its headers and texts)
hangs on to it. Messages of the server are quoted in part, without keys, and not at all where
they quote what was asked.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.providers.failures import safe_message

if TYPE_CHECKING:
    from openai import APIResponse, APIStatusError, OpenAI

__all__ = ["OFFICIAL_URL", "Calls", "Refused"]

OFFICIAL_URL = "https://api.openai.com/v1"
PROVIDER = "openai"

_Answer = TypeVar("_Answer")

# Names of parameters that a server may complain of, as they stand in its message.
_PARAMETERS = re.compile(
    r"(?<![\w.\\])(max_completion_tokens|max_tokens|n_cmpl|n_choices|n)(?![\w.])", re.ASCII
)
_TRY_AGAIN = frozenset({408, 409, 425, 429})
_OUT_OF_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


class Refused(ProviderError):
    """The server understood and said no: the HTTP `status`, its `code`, and `named` parameters."""

    def __init__(
        self,
        cause: str,
        *,
        endpoint: str,
        call: str,
        hint: str | None,
        status: int,
        code: str | None,
        named: frozenset[str],
    ) -> None:
        super().__init__(cause, provider=PROVIDER, endpoint=endpoint, call=call, hint=hint)
        self.status = status
        self.code = code
        self.named = named


class Calls:
    """One server, as the suite and the environment name it; the client is made at first use.

    base_url: None takes OPENAI_BASE_URL, or the official server.
    key_variable: the environment variable that holds the key. A server of one's own needs none.
    timeout: seconds that any wait for the server may last.
    """

    def __init__(
        self,
        *,
        base_url: str | None,
        key_variable: str,
        organization: str | None,
        project: str | None,
        timeout: float,
    ) -> None:
        self.base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or OFFICIAL_URL).rstrip("/")
        self.official = self.base_url == OFFICIAL_URL
        self._key_variable = key_variable
        self._organization = organization
        self._project = project
        self._timeout = timeout
        self._client: OpenAI | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> OpenAI:
        from openai import OpenAI

        with self._lock:
            if self._client is None:
                key = os.environ.get(self._key_variable)
                if not key and not self.official:
                    key = "no-key"  # the SDK insists on one; servers of one's own do not look
                self._client = OpenAI(
                    api_key=key,
                    base_url=self.base_url,
                    organization=self._organization,
                    project=self._project,
                    timeout=self._timeout,
                    max_retries=0,
                )
            return self._client

    def ask(
        self,
        call: str,
        function: Callable[[OpenAI], _Answer],
        *,
        endpoint: str,
        texts: Sequence[str] = (),
    ) -> _Answer:
        """What `function` gets from the client.

        call, endpoint: as error messages name them; texts: what no error message may quote.
        Raises Refused for a final no, ProviderBusy for what may pass.
        """
        try:
            return function(self._connected())
        except _failures() as error:
            failure = self._failure(error, call=call, endpoint=endpoint, texts=texts)
        raise failure

    def ask_json(
        self,
        call: str,
        function: Callable[[OpenAI], AbstractContextManager[APIResponse[Any]]],
        *,
        endpoint: str,
        texts: Sequence[str] = (),
    ) -> object:
        """As `ask`, for an answer that `function` opens as a stream: its body as JSON.

        The timeout holds for the answer as a whole, also where the server sends blanks to
        keep the connection.
        """

        def read(client: OpenAI) -> object:
            deadline = time.monotonic() + self._timeout
            body = bytearray()
            with function(client) as response:
                for piece in response.iter_bytes():
                    body += piece
                    if time.monotonic() > deadline:
                        raise TimeoutError
            return json.loads(body)

        return self.ask(call, read, endpoint=endpoint, texts=texts)

    # --- what a failure means

    def _failure(
        self, error: Exception, *, call: str, endpoint: str, texts: Sequence[str]
    ) -> ProviderError:
        import openai

        if isinstance(error, openai.APIStatusError):
            return self._status_failure(error, call=call, endpoint=endpoint, texts=texts)
        hint: str | None
        if isinstance(error, UnicodeEncodeError):
            cause, hint = "the text holds characters that cannot be sent (lone surrogates)", None
            return ProviderError(cause, provider=PROVIDER, endpoint=endpoint, call=call, hint=hint)
        if isinstance(error, openai.OpenAIError) and not isinstance(error, openai.APIError):
            cause, hint = (
                "there is no API key",
                f"set the environment variable {self._key_variable}",
            )
            return ProviderError(cause, provider=PROVIDER, endpoint=endpoint, call=call, hint=hint)
        seen = type(error.__cause__ or error).__name__
        if isinstance(error, openai.APITimeoutError) or "Timeout" in seen:
            cause, hint = f"no answer within {self._timeout:g} s", "options.timeout allows more"
        elif isinstance(error, ValueError | openai.APIResponseValidationError):
            cause, hint = "the answer was not of the expected form", f"it came from {self.base_url}"
        else:
            cause = f"the connection failed or was cut off ({seen})"
            hint = f"is {self.base_url} up, and reachable from here?"
        return ProviderBusy(cause, provider=PROVIDER, endpoint=endpoint, call=call, hint=hint)

    def _status_failure(
        self, error: APIStatusError, *, call: str, endpoint: str, texts: Sequence[str]
    ) -> ProviderError:
        status, code = error.status_code, error.code or error.type
        said = _said(error.body)
        cause = " ".join(
            part
            for part in (
                f"{status} {_phrase(status)}",
                f"({safe_message(code)})" if code and code != str(status) else "",
                f"- {safe_message(said, texts=texts)}" if said else "",
            )
            if part
        )
        passing = status in _TRY_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if passing and error.code not in _OUT_OF_MONEY:
            return ProviderBusy(
                cause,
                provider=PROVIDER,
                endpoint=endpoint,
                call=call,
                retry_after=_retry_after(error.response.headers),
            )
        named = set(_PARAMETERS.findall(said))
        return Refused(
            cause,
            endpoint=endpoint,
            call=call,
            hint=self._hint(status, error.code, call=call),
            status=status,
            code=error.code,
            named=frozenset(named | ({error.param} if error.param else set())),
        )

    def _hint(self, status: int, code: str | None, *, call: str) -> str | None:
        if code in _OUT_OF_MONEY:
            return "the account has no credit left, or has reached its own limit"
        if status == HTTPStatus.UNAUTHORIZED:
            return f"check the key in the environment variable {self._key_variable}"
        if call.startswith("fine_tuning.jobs.create"):
            return (
                "the server may not offer fine-tuning of this model (OpenAI is ending fine-tuning):"
                ' test an existing model with endpoint = "ft:...", or use another provider'
            )
        if status == HTTPStatus.FORBIDDEN:
            return "the key's account or project may not use this model or endpoint"
        if status == HTTPStatus.NOT_FOUND:
            asked = "have this model? check base, endpoint and base_url"
            if call.startswith("completions.create"):
                asked = (
                    'offer completions? probe = "probability" needs them, with echo and logprobs'
                )
            elif not call.startswith("chat.completions.create"):
                asked = (
                    "offer this at all? where it does not, leave out [model.finetune],"
                    " options.batch and options.store"
                )
            return f"does {self.base_url} {asked}"
        return None


# --- messages ------------------------------------------------------------------------------


def _said(body: object) -> str:
    """The message in an error's body; other forms of body may echo the request and are left."""
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        message = inner.get("message") if isinstance(inner, Mapping) else inner
        return message if isinstance(message, str) else ""
    return ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown status"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return float(value) * unit
    return _seconds_until(headers.get("retry-after"))


def _seconds_until(date: str | None) -> float | None:
    import email.utils
    from datetime import UTC, datetime

    if not date:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(date)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _failures() -> tuple[type[Exception], ...]:
    from openai import OpenAIError

    # A download raises the errors of the HTTP library; the SDK has moved from httpx to httpx2.
    libraries: list[Any] = [sys.modules.get(name) for name in ("httpx2", "httpx")]
    transport = (library.HTTPError for library in libraries if library is not None)
    return (OpenAIError, json.JSONDecodeError, UnicodeError, TimeoutError, *transport)
