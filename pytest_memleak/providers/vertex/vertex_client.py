"""Calls to Vertex AI and Cloud Storage: the SDKs' clients, and what their failures mean.

The SDKs' own retries are off: a call that may have been paid for is tried again only by those
who keep the ledger. Every failure becomes a `ProviderBusy` (may pass) or a `ProviderError`
(final), raised outside the `except` block that saw it, so that no request (with its token and
texts) hangs on to it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_memleak.errors import ProviderError
from pytest_memleak.providers.failures import (
    Astray,
    Failing,
    Refusal,
    retry_after,
    without_password,
)
from pytest_memleak.providers.http_bounds import Bounds

if TYPE_CHECKING:
    from google.cloud.storage import Client as StorageClient  # type: ignore[import-untyped]
    from google.genai import Client

__all__ = ["PROVIDER", "Calls"]

PROVIDER = "vertex"

_Answer = TypeVar("_Answer")

_LOGIN = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
# Names of parameters that Vertex AI may complain of, in any of its spellings.
_PARAMETERS = {
    "candidateCount": re.compile(r"candidate_?count|multiple candidates", re.IGNORECASE),
    "temperature": re.compile(r"\btemperature\b", re.IGNORECASE),
    "topP": re.compile(r"\btop_?p\b", re.IGNORECASE),
    "seed": re.compile(r"\bseed\b", re.IGNORECASE),
}
_LOOKED_AT = 2000


class Calls:
    """One project and location; clients are made, and credentials looked for, at first use.

    project, location: None where neither suite nor environment says; then no call is possible.
    base_url: instead of Google's servers (a proxy); Cloud Storage has STORAGE_EMULATOR_HOST.
    timeout: seconds that any wait for a server may last.
    """

    def __init__(
        self, *, project: str | None, location: str | None, base_url: str | None, timeout: float
    ) -> None:
        base_url = base_url or os.environ.get("GOOGLE_VERTEX_BASE_URL")
        self._address = base_url.rstrip("/") if base_url else None
        self.base_url = without_password(self._address) if self._address else None
        self.timeout = timeout
        self._project = project
        self._location = location
        self._client: Client | None = None
        self._storage: StorageClient | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the connections."""
        for client in (self._client, self._storage):
            if client is not None:
                client.close()

    def ask(
        self,
        call: str,
        function: Callable[[Client], _Answer],
        *,
        endpoint: str,
        texts: Sequence[str] = (),
    ) -> _Answer:
        """What `function` gets from Vertex AI.

        call, endpoint: as error messages name them; texts: what no error message may quote.
        Raises Refused for a final no, ProviderBusy for what may pass, ProviderError without
        project, location or credentials.
        """
        self._check_place(call=call, endpoint=endpoint)
        try:
            return function(self._vertex())
        except _failures() as error:
            failure = self._failure(error, Failing(PROVIDER, endpoint, call, texts))
        raise failure

    def ask_storage(
        self, call: str, function: Callable[[StorageClient], _Answer], *, endpoint: str
    ) -> _Answer:
        """What `function` gets from Cloud Storage; raises as `ask` does."""
        self._check_place(call=call, endpoint=endpoint)
        try:
            return function(self._stored())
        except _failures() as error:
            failure = self._failure(error, Failing(PROVIDER, endpoint, call))
        raise failure

    # --- clients

    def _check_place(self, *, call: str, endpoint: str) -> None:
        for name, value in (("project", self._project), ("location", self._location)):
            if not value:
                raise Failing(PROVIDER, endpoint, call).final(
                    f"there is no {name}",
                    f"set options.{name}, or the environment variable GOOGLE_CLOUD_{name.upper()}",
                )

    def _vertex(self) -> Client:
        from google.genai import Client
        from google.genai.types import HttpOptions, HttpRetryOptions

        with self._lock:
            if self._client is None:
                self._client = Client(
                    vertexai=True,
                    project=self._project,
                    location=self._location,
                    http_options=HttpOptions(
                        base_url=self._address,
                        timeout=max(1, round(self.timeout * 1000)),
                        retry_options=HttpRetryOptions(attempts=1),
                        client_args={"event_hooks": Bounds(timeout=self.timeout).hooks},
                    ),
                )
            return self._client

    def _stored(self) -> StorageClient:
        from google.cloud.storage import Client as StorageClient

        with self._lock:
            if self._storage is None:
                self._storage = StorageClient(project=self._project)
            return self._storage

    # --- what a failure means

    def _failure(self, error: Exception, failing: Failing) -> ProviderError:
        from google.auth import exceptions as auth

        server = self.base_url or "Google Cloud"
        said = _refusal(error)
        if said is not None:
            many = said.status == HTTPStatus.TOO_MANY_REQUESTS
            hint = _QUOTA if many else self._hint(said.status, call=failing.call)
            return failing.refusal(said, hint)
        if isinstance(error, auth.DefaultCredentialsError):
            return failing.final("there are no credentials", _LOGIN)
        if isinstance(error, auth.TransportError):
            # What fetches the credentials, before anything is asked.
            return failing.not_sent(f"no credentials came ({type(error).__name__})", _LOGIN)
        if isinstance(error, auth.GoogleAuthError):
            kind = failing.not_sent if error.retryable else failing.final
            return kind(f"the credentials are of no use ({type(error).__name__})", _LOGIN)
        if isinstance(error, ValueError | RecursionError | Warning):
            return failing.malformed(server)
        return failing.connection(error, server=server, timeout=self.timeout)

    def _hint(self, status: int, *, call: str) -> str | None:
        of_storage = call.startswith("storage")
        if status == HTTPStatus.UNAUTHORIZED:
            return _LOGIN
        if status == HTTPStatus.FORBIDDEN:
            role, service = ("Storage Object User", "storage") if of_storage else _VERTEX
            return (
                f"the account needs the role {role!r} in project {self._project}, and the "
                f"project the service (gcloud services enable {service}.googleapis.com)"
            )
        if status == HTTPStatus.NOT_FOUND and of_storage:
            return "does the bucket exist? check options.bucket"
        if call.startswith("tunings.tune"):
            return (
                f"{self._location} may not offer this model for tuning: try another base or "
                'location, or test a model that is tuned already with endpoint = "projects/..."'
            )
        if status == HTTPStatus.NOT_FOUND:
            return (
                f"{self._location} does not have it: it may have been retired or deleted, or be "
                "in another location; check base, endpoint and options.location"
            )
        return None


_VERTEX = ("Vertex AI User", "aiplatform")
_QUOTA = "it may be the project's quota for this model: a smaller options.concurrency asks for less"


# --- what an exception says ----------------------------------------------------------------


def _refusal(error: Exception) -> Refusal | None:
    """The refusal in an exception of either SDK; None where there was no answer to read."""
    from google.genai.errors import APIError

    code: object
    body: object
    if isinstance(error, APIError):
        code, body = error.code, error.details
    elif isinstance(error, _loaded("google.api_core.exceptions", "GoogleAPICallError")):
        code = getattr(error, "code", None)
        body = _json(getattr(getattr(error, "response", None), "text", ""))
    else:
        return None
    inner = _mapping(_mapping(body).get("error", body))
    message = str(inner.get("message") or "")[:_LOOKED_AT]
    headers = getattr(getattr(error, "response", None), "headers", None)
    return Refusal(
        int(code) if isinstance(code, int) else HTTPStatus.INTERNAL_SERVER_ERROR,
        message,
        code=str(inner.get("status") or "")[:_LOOKED_AT] or None,
        retry_after=_delay(inner.get("details")) if _unsaid(headers) else retry_after(headers),
        named=tuple(name for name, pattern in _PARAMETERS.items() if pattern.search(message)),
    )


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _unsaid(headers: Mapping[str, str] | None) -> bool:
    return not headers or retry_after(headers) is None


def _delay(details: object) -> float | None:
    """Seconds to wait, from the body's google.rpc.RetryInfo."""
    for detail in details if isinstance(details, list) else ():
        delay = str(_mapping(detail).get("retryDelay", ""))[:_LOOKED_AT]
        if re.fullmatch(r"\d+(\.\d+)?s", delay):
            return float(delay[:-1])
    return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _failures() -> tuple[type[Exception], ...]:
    """What the SDKs and the libraries below them raise for a call that failed."""
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
    loaded = (kind for module, name in modules for kind in _loaded(module, name))
    return (
        APIError,
        GoogleAuthError,
        Astray,
        ValueError,
        RecursionError,
        TimeoutError,
        Warning,
        *loaded,
    )


def _loaded(module: str, name: str) -> tuple[type[Exception], ...]:
    """The exception of that name; nothing if its module is not loaded, and so raised none."""
    kind = getattr(sys.modules.get(module), name, None)
    return () if kind is None else (kind,)
