"""Calls to Vertex AI and Cloud Storage: the SDKs' clients and their failures.

The SDKs' own retries are off: only the sampling package repeats a call that may have
been billed. Every failure becomes a `ProviderBusy` (temporary) or a `ProviderError`
(final), raised outside its `except` block, so that it doesn't hold the request with its
token and texts.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_memleak.errors import ProviderError
from pytest_memleak.providers.call_errors import (
    CallErrorFactory,
    ErrorResponse,
    UnfollowedRedirect,
    retry_after,
)
from pytest_memleak.providers.google_login import LOGIN, SCOPE, login_failure
from pytest_memleak.providers.http_caps import ResponseCaps
from pytest_memleak.providers.provider_registry import PROVIDERS
from pytest_memleak.providers.response_fields import as_list, as_mapping
from pytest_memleak.redaction.credentials import without_credentials

if TYPE_CHECKING:
    from agentplatform import Client as Platform
    from google.cloud.storage import Client as StorageClient  # type: ignore[import-untyped]
    from google.genai import Client
    from google.genai.types import HttpOptions

PROVIDER = "vertex"
NEEDS = PROVIDERS[PROVIDER].needs

_Answer = TypeVar("_Answer")

# Parameters that a message of Vertex AI may name, in any of its spellings.
_PARAMETERS = {
    "candidateCount": re.compile(
        r"candidate_?count|multiple candidates",
        re.IGNORECASE,
    ),
    "temperature": re.compile(r"\btemperature\b", re.IGNORECASE),
    "topP": re.compile(r"\btop_?p\b", re.IGNORECASE),
    "seed": re.compile(r"\bseed\b", re.IGNORECASE),
}
_LOOKED_AT = 2000


class VertexCalls:
    """One project and location; clients and credentials are created at the first call.

    project, location: None if neither suite nor environment sets it; then no call is
        possible
    base_url: a proxy for Google's servers; Cloud Storage has STORAGE_EMULATOR_HOST
    timeout: the longest wait for a server, in seconds
    """

    def __init__(
        self,
        *,
        project: str | None,
        location: str | None,
        base_url: str | None,
        timeout: float,
    ) -> None:
        self._address: str | None = None
        self.base_url: str | None = None
        address = NEEDS.address_of(base_url)
        if address:
            self._address = address.rstrip("/")
            self.base_url = without_credentials(self._address)
        self.timeout = timeout
        self.project = project
        self.location = location
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        for kind, client in self._clients.items():
            if kind != "platform":
                client.close()

    def ask(
        self,
        call: str,
        function: Callable[[], _Answer],
        *,
        endpoint: str,
        texts: Sequence[str] = (),
    ) -> _Answer:
        """Return the result of `function`; raise its ProviderError.

        call, endpoint: their names in error messages; texts: what no message may quote
        """
        failing = CallErrorFactory(PROVIDER, endpoint, call, texts)
        for name, value in (("project", self.project), ("location", self.location)):
            if not value:
                raise failing.final(
                    f"No {name} is set",
                    f"set options.{name}, or the environment variable "
                    f"{NEEDS.settings[name]}",
                )
        try:
            return function()
        except _sdk_exception_types() as error:
            failure = self._error_of_exception(error, failing)
        raise failure

    def ask_quietly(
        self,
        call: str,
        function: Callable[[], _Answer],
        *,
        endpoint: str,
    ) -> _Answer:
        """Like `ask`, for a function that always warns that it is experimental."""

        def quietly() -> _Answer:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return function()

        return self.ask(call, quietly, endpoint=endpoint)

    def request_json(
        self,
        call: str,
        path: str,
        *,
        endpoint: str,
        method: str = "GET",
        **request: Any,
    ) -> Mapping[str, Any]:
        """Return the JSON object of an endpoint or operation, by its path."""

        def send() -> Mapping[str, Any]:
            from google.api_core.exceptions import from_http_response
            from google.auth.transport.requests import AuthorizedSession

            open_session: Any = AuthorizedSession  # which has no types
            session = self._client_opened_once(
                "session", lambda: open_session(_credentials())
            )
            url = f"{self._service_address}/{path}"
            response = session.request(method, url, timeout=self.timeout, **request)
            if not response.ok:
                raise from_http_response(response)  # type: ignore[no-untyped-call]
            return as_mapping(response.json())

        return self.ask(call, send, endpoint=endpoint)

    def vertex(self) -> Client:
        """Return the client of models, batches, and tuning jobs."""
        from google.genai import Client

        place: Any = {"project": self.project, "location": self.location}
        return self._client_opened_once(
            "vertex",
            lambda: Client(vertexai=True, **place, http_options=self._http_options()),
        )

    def platform(self) -> Platform:
        """Return the client that deploys models."""
        from agentplatform import Client as Platform

        place: Any = {"project": self.project, "location": self.location}
        return self._client_opened_once(
            "platform",
            lambda: Platform(**place, http_options=self._http_options()),
        )

    @property
    def _service_address(self) -> str:
        return self._address or f"https://{self.location}-aiplatform.googleapis.com"

    def _http_options(self) -> HttpOptions:
        from google.genai.types import HttpOptions, HttpRetryOptions

        return HttpOptions(
            base_url=self._address,
            timeout=max(1, round(self.timeout * 1000)),
            retry_options=HttpRetryOptions(attempts=1),
            client_args={"event_hooks": ResponseCaps(timeout=self.timeout).hooks},
        )

    def storage(self) -> StorageClient:
        """Return the client of Cloud Storage."""
        from google.cloud.storage import Client as StorageClient

        return self._client_opened_once(
            "storage", lambda: StorageClient(project=self.project)
        )

    def _client_opened_once(self, kind: str, make: Callable[[], _Answer]) -> _Answer:
        with self._lock:
            if kind not in self._clients:
                self._clients[kind] = make()
            client: _Answer = self._clients[kind]
            return client

    def _error_of_exception(
        self, error: Exception, failing: CallErrorFactory
    ) -> ProviderError:
        server = self.base_url or "Google Cloud"
        rejection = _read_error_response(error)
        if rejection is not None:
            hint = self._hint(rejection.status, call=failing.call)
            if rejection.status == HTTPStatus.TOO_MANY_REQUESTS:
                hint = _QUOTA
            return failing.of_response(rejection, hint)
        failed_login = login_failure(error, failing)
        if failed_login is not None:
            return failed_login
        if isinstance(error, ValueError | RecursionError | Warning):
            return failing.malformed(server, error)
        return failing.connection(error, server=server, timeout=self.timeout)

    def _hint(self, status: int, *, call: str) -> str | None:
        is_storage = call.startswith("storage")
        if status == HTTPStatus.UNAUTHORIZED:
            return LOGIN
        if status == HTTPStatus.FORBIDDEN:
            role, service = "Vertex AI User", "aiplatform"
            if is_storage:
                role, service = "Storage Object User", "storage"
            return (
                f"grant the account the role {role!r} in project {self.project}, and "
                "enable the service there "
                f"(gcloud services enable {service}.googleapis.com)"
            )
        if status == HTTPStatus.NOT_FOUND and is_storage:
            return "check that the bucket in options.bucket exists"
        if call.startswith("tunings.tune"):
            return (
                f"{self.location} may not offer this model for tuning: try a different "
                "base_model or location, or test a tuned model with endpoint = "
                '"projects/..."'
            )
        if status == HTTPStatus.NOT_FOUND:
            return (
                f"{self.location} doesn't have this model: it may be retired, deleted, "
                "or in a different location; check base_model, endpoint, and "
                "options.location"
            )
        return None


_QUOTA = (
    "the project may have reached its quota for the model; decrease options.concurrency"
)


def _read_error_response(error: Exception) -> ErrorResponse | None:
    """Read the error response in an exception of either SDK, if it has one."""
    from google.genai.errors import APIError

    code: object
    body: object
    if isinstance(error, APIError):
        code, body = error.code, error.details
    elif isinstance(
        error,
        _exception_type_if_loaded("google.api_core.exceptions", "GoogleAPICallError"),
    ):
        code = getattr(error, "code", None)
        body = _json_or_none(getattr(getattr(error, "response", None), "text", ""))
    else:
        return None
    status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
    if isinstance(code, int):
        status = code
    # Only Google's form is read, since any other body may quote a generation.
    inner = as_mapping(as_mapping(body).get("error"))
    message = str(inner.get("message") or "")[:_LOOKED_AT]
    response = getattr(error, "response", None)
    wait = retry_after(getattr(response, "headers", None))
    if wait is None:
        wait = _seconds_to_wait(inner.get("details"))
    named = [name for name, pattern in _PARAMETERS.items() if pattern.search(message)]
    return ErrorResponse(
        status,
        message,
        code=str(inner.get("status") or "")[:_LOOKED_AT] or None,
        retry_after=wait,
        named=tuple(named),
    )


def _credentials() -> Any:
    import google.auth

    return google.auth.default(scopes=[SCOPE])[0]


def _json_or_none(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _seconds_to_wait(details: object) -> float | None:
    """Return the seconds to wait, from the body's google.rpc.RetryInfo."""
    for detail in as_list(details):
        delay = str(as_mapping(detail).get("retryDelay", ""))[:_LOOKED_AT]
        if re.fullmatch(r"\d+(\.\d+)?s", delay):
            return float(delay[:-1])
    return None


def _sdk_exception_types() -> tuple[type[Exception], ...]:
    """Return the exceptions of the SDKs and the libraries below them."""
    from google.auth.exceptions import GoogleAuthError
    from google.genai.errors import APIError

    modules = (
        ("httpx", "HTTPError"),
        ("httpx2", "HTTPError"),
        ("requests", "RequestException"),
        ("urllib3.exceptions", "HTTPError"),
        ("google.api_core.exceptions", "GoogleAPICallError"),
        ("google.cloud.storage.exceptions", "InvalidResponse"),
        ("google.cloud.storage.exceptions", "DataCorruption"),
    )
    loaded = (
        kind
        for module, name in modules
        for kind in _exception_type_if_loaded(module, name)
    )
    own = (UnfollowedRedirect, ValueError, RecursionError, TimeoutError, Warning)
    return (APIError, GoogleAuthError, *own, *loaded)


def _exception_type_if_loaded(module: str, name: str) -> tuple[type[Exception], ...]:
    """Return the exception of that name; nothing if its module isn't loaded."""
    kind = getattr(sys.modules.get(module), name, None)
    if kind is None:
        return ()
    return (kind,)
