"""Calls to an OpenAI-compatible server: the SDK's client and its failures.

The SDK's own retries are off: only the sampling package repeats a call that may have
been billed. Every failure becomes a `ProviderBusy` (temporary) or a `RequestRejected`
(final), raised outside its `except` block, so that it doesn't hold the request with its
headers and texts. A server's message is quoted in part, without keys, and not at all if
it quotes the prompt.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import operator
import os
import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urljoin

from pytest_memleak.errors import ProviderError
from pytest_memleak.providers.call_errors import (
    CallErrorFactory,
    ErrorResponse,
    UnfollowedRedirect,
    retry_after,
)
from pytest_memleak.providers.error_bodies import (
    error_code,
    error_fields,
    error_message,
    parameters_in,
)
from pytest_memleak.providers.google_login import (
    LOGIN,
    GoogleToken,
    login_errors,
    login_failure,
)
from pytest_memleak.providers.http_caps import ResponseCaps
from pytest_memleak.providers.openai.event_stream import read_response_body
from pytest_memleak.providers.openai.request_extras import RequestExtras
from pytest_memleak.providers.provider_registry import PROVIDERS, host_of
from pytest_memleak.providers.response_fields import as_list, as_mapping
from pytest_memleak.records.number_format import day
from pytest_memleak.redaction.credentials import without_credentials
from pytest_memleak.redaction.text import server_word

if TYPE_CHECKING:
    from openai import OpenAI


OFFICIAL_URL = "https://api.openai.com/v1"
PROVIDER = "openai"
NEEDS = PROVIDERS[PROVIDER].needs

_Answer = TypeVar("_Answer")

_ERRORS = range(400, 600)
_LISTING = 5.0  # seconds
# Without blanks, the beginning of the format that llama.cpp's server gives to base
# models.
_DEFAULT_FORMAT = "{%-formessageinmessages-%}{{-'<|im_start|>'+message.role+'"
_ENDS = re.compile(r"shutdown|deprecat|retire|sunset|expir", re.IGNORECASE)
_LONGEST_DATE = 40
# Servers that sample from the model's own distribution by default.
_PLAIN_HOSTS = ("api.openai.com", ".openai.azure.com", ".googleapis.com")


class OpenAICalls:
    """One server; its client is created at the first call.

    base_url: without its password in the attribute
    key_variable: the environment variable of the key; your own server needs none
    auth: "google" sends Google's short-lived tokens instead of a key
    timeout: the longest wait for the server, in seconds
    provider: its name in error messages
    official_url: the provider's own server, which needs a key
    plain_by_itself: whether the server samples from the model's own distribution by
        default
    sdk, kind: module and class of its client, from the same generator as OpenAI's
    uploads: the paths whose redirect that client follows without the key
    names_model: whether responses should repeat the model's name
    extras: further headers and query parameters
    """

    sdk, kind = PROVIDER, "OpenAI"
    uploads: tuple[str, ...] = ()
    names_model = True

    def __init__(
        self,
        *,
        base_url: str,
        key_variable: str = "",
        timeout: float,
        organization: str | None = None,
        project: str | None = None,
        auth: Literal["key", "google"] = "key",
        provider: str = PROVIDER,
        official_url: str = OFFICIAL_URL,
        extras: RequestExtras | None = None,
    ) -> None:
        self.provider = provider
        self._extras = extras or RequestExtras()
        self._address = base_url.rstrip("/")
        self.base_url = without_credentials(self._address)
        self.official = self.base_url == official_url
        self.plain_by_itself = host_of(self.base_url).endswith(_PLAIN_HOSTS)
        self._key_variable = key_variable
        self._account = {"organization": organization, "project": project}
        self.timeout = timeout
        self._token = GoogleToken() if auth == "google" else None
        self._client: OpenAI | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> OpenAI:
        with self._lock:
            if self._client is None:
                client: OpenAI = getattr(self._sdk, self.kind)(
                    api_key=self._token or self._key(),
                    base_url=self._address,
                    timeout=self.timeout,
                    max_retries=0,
                    http_client=self._sdk.DefaultHttpxClient(
                        base_url=self._address,
                        timeout=self.timeout,
                        event_hooks=ResponseCaps(self.timeout, self.uploads).hooks,
                    ),
                    **self._extras.for_client(),
                    **self._account,
                )
                # The SDK closes only clients that it created.
                weakref.finalize(self, client.close)
                self._client = client
            return self._client

    def _key(self) -> str | None:
        key = os.environ.get(self._key_variable)
        # The SDK requires a key; your own server ignores it.
        return key or (None if self.official else "no-key")

    def ask(
        self,
        call: str,
        function: Callable[[OpenAI], _Answer],
        *,
        endpoint: str,
        texts: Sequence[str] = (),
        sent: Iterable[str] = (),
    ) -> _Answer:
        """Return the result of `function`; raise RequestRejected or ProviderBusy.

        call, endpoint: their names in error messages; texts: what no message may quote
        sent: the settings in the request, which a message may name
        """
        failing = CallErrorFactory(self.provider, endpoint, call, texts)
        self._validate(failing)
        try:
            return function(self._connected())
        except self._failure_types() as error:
            failure = self._error_of_exception(error, failing, sent)
        raise failure

    def call(
        self,
        endpoint: str,
        method: str,
        /,
        *arguments: Any,
        **settings: Any,
    ) -> Any:
        """Return the result of the SDK's method of that name, as in "files.create"."""
        function = operator.attrgetter(method)
        return self.ask(
            method,
            lambda client: function(client)(*arguments, **settings),
            endpoint=endpoint,
        )

    def call_all(
        self,
        endpoint: str,
        method: str,
        /,
        **settings: Any,
    ) -> list[Any]:
        """Return all pages of the list that the SDK's method of that name returns."""
        function = operator.attrgetter(method)
        return self.ask(
            method,
            lambda client: [*function(client)(**settings)],
            endpoint=endpoint,
        )

    def _validate(self, failing: CallErrorFactory) -> None:
        """Raise ProviderError if no call can be made now."""
        for name in self._extras.unset:
            raise failing.final(
                f"The environment variable {name} isn't set",
                "set it: options.headers or options.query names it",
            )
        for name in self._extras.unsendable:
            raise failing.final(
                f"The environment variable {name} has characters that can't be sent",
                "use printable ASCII without blanks or a line's end around it",
            )

    def request_json(
        self,
        call: str,
        path: str,
        body: Mapping[str, Any],
        *,
        endpoint: str,
        texts: Sequence[str] = (),
    ) -> object:
        """Post `body` as it is, with any server's own parameters; return the JSON.

        path: relative to the base URL
        """
        from openai import HttpxBinaryResponseContent as Response

        def post(client: OpenAI) -> object:
            url = urljoin(f"{client.base_url}", path)
            return read_response_body(
                client.post(url, body=body, cast_to=Response).content
            )

        sent = (*body, "stream")
        answer = self.ask(
            call,
            post,
            endpoint=endpoint,
            texts=texts,
            sent=sent,
        )
        fields = as_mapping(answer)
        status = as_mapping(fields.get("error")).get("code")
        if "choices" not in fields and isinstance(status, int) and status in _ERRORS:
            # Some routers send their errors with the status 200.
            failing = CallErrorFactory(self.provider, endpoint, call, texts)
            rejection = _read_error_response(status, answer, sent=sent)
            raise failing.of_response(rejection, self._hint(rejection, call=call))
        return answer

    def models(self) -> dict[str, str]:
        """Return the server's models, each with the date of its shutdown or ""."""
        listed = map(
            as_mapping,
            as_list(self._get_json("models.list", "/models").get("data")),
        )
        return {
            f"{model['id']}": _shutdown_date(model) for model in listed if "id" in model
        }

    def has_chat_format(self) -> bool:
        """Tell whether chats have the model's own format, where the server shows it."""
        if self.official:
            return True
        try:
            properties = self._get_json(
                "props",
                f"{self._address.removesuffix('/v1')}/props",
            )
        except ProviderError:
            return True
        template = "".join(f"{properties.get('chat_template')}".split())
        return not template.startswith(_DEFAULT_FORMAT)

    def _get_json(self, call: str, address: str) -> Mapping[str, Any]:
        from openai import HttpxBinaryResponseContent as Response

        def get(client: OpenAI) -> object:
            hasty = client.with_options(timeout=min(_LISTING, self.timeout))
            return json.loads(hasty.get(address, cast_to=Response).content)

        return as_mapping(self.ask(call, get, endpoint=self.base_url))

    @property
    def _sdk(self) -> Any:
        return importlib.import_module(self.sdk)

    def _failure_types(self) -> tuple[type[Exception], ...]:
        # A download raises errors of the HTTP library, which is httpx or httpx2.
        libraries: list[Any] = [sys.modules.get(name) for name in ("httpx2", "httpx")]
        transport = (library.HTTPError for library in libraries if library is not None)
        base = self._sdk.APIError.__base__
        return (
            base,
            ValueError,
            RecursionError,
            TimeoutError,
            UnfollowedRedirect,
            *login_errors(),
            *transport,
        )

    def _error_of_exception(
        self,
        error: Exception,
        failing: CallErrorFactory,
        sent: Iterable[str] = (),
    ) -> ProviderError:
        sdk = self._sdk
        failed_login = login_failure(error, failing)
        if failed_login is not None:
            return failed_login
        if isinstance(error, sdk.APIStatusError):
            text = error.response.text
            with contextlib.suppress(ValueError, RecursionError):
                text = json.loads(text)
            wait = retry_after(error.response.headers)
            rejection = _read_error_response(
                error.status_code, text, sent=sent, wait=wait
            )
            return failing.of_response(
                rejection, self._hint(rejection, call=failing.call)
            )
        if isinstance(error, UnicodeEncodeError):
            return failing.final(
                "The text has characters that can't be sent (lone surrogates)",
                "remove them from the book or its summaries",
            )
        if isinstance(error, sdk.APIError.__base__) and not isinstance(
            error,
            sdk.APIError,
        ):
            return failing.final(
                "No API key",
                f"set the environment variable {self._key_variable}",
            )
        form = (ValueError, RecursionError, sdk.APIResponseValidationError)
        if isinstance(error, form) or isinstance(error.__cause__, form):
            return failing.malformed(self.base_url, error)
        return failing.connection(error, server=self.base_url, timeout=self.timeout)

    def _hint(self, rejection: ErrorResponse, *, call: str) -> str | None:
        if rejection.is_about_key:
            variable = f"check the key in the environment variable {self._key_variable}"
            return LOGIN if self._token else variable
        if call.startswith("fine_tuning.jobs.create"):
            return _NO_FINETUNES
        if rejection.status == HTTPStatus.FORBIDDEN:
            return "use a key whose account and project may use this model"
        if rejection.status == HTTPStatus.NOT_FOUND:
            ends = self.base_url.endswith("/v1")
            bare = "" if ends else "on most servers, base_url ends in /v1; "
            return f"{bare}check that {self.base_url} {_what_server_must_have(call)}"
        if rejection.lacks_model:
            return f"check that {self.base_url} {_HAS_MODEL}"
        return None


_NO_FINETUNES = (
    "the server may not offer fine-tuning of this model (OpenAI is ending fine-tuning):"
    ' test an existing model with endpoint = "ft:...", or use a different provider'
)
_HAS_MODEL = "has this model (base_model, or endpoint)"
# By the beginning of a call's name.
_MISSING = {
    "chat.completions.create": _HAS_MODEL,
    "models.list": "is the address of an API like OpenAI's",
    "responses.create": "offers responses of this model, or set "
    'options.api = "chat" to use chats',
    "completions.create": "offers completions of this model, or set "
    'options.api = "chat" to use chats',
    "": (
        "supports this; if not, remove [model.finetune], options.batch, and "
        "options.store"
    ),
}


def _what_server_must_have(call: str) -> str:
    return next(text for start, text in _MISSING.items() if call.startswith(start))


def _shutdown_date(model: Mapping[str, Any]) -> str:
    """Return the date until which a server offers a model, by any name; or ""."""
    for name, value in model.items():
        if (
            _ENDS.search(name)
            and isinstance(value, str | int)
            and not isinstance(value, bool)
        ):
            with contextlib.suppress(ValueError, OverflowError, OSError):  # of no date
                date = value if isinstance(value, str) else day(value)
                return server_word(date[:_LONGEST_DATE])
    return ""


def _read_error_response(
    status: int,
    body: object,
    *,
    sent: Iterable[str],
    wait: float | None = None,
) -> ErrorResponse:
    """Read an error response; `sent` are the settings that it may name."""
    message, code = error_message(body), error_code(body)
    parameter = error_fields(body).get("param")
    naming = f"{parameter}: {message}" if isinstance(parameter, str) else message
    names = parameters_in(naming, sent)
    return ErrorResponse(
        status,
        message,
        code=code,
        retry_after=wait,
        named=names,
    )
