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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.providers.failures import safe_message

if TYPE_CHECKING:
    from google.cloud.storage import Client as StorageClient  # type: ignore[import-untyped]
    from google.genai import Client

__all__ = ["PROVIDER", "TRY_AGAIN", "Calls", "Refused"]

PROVIDER = "vertex"
TRY_AGAIN = frozenset({408, 409, 425, 429, 499})

_Answer = TypeVar("_Answer")

_LOGIN = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
_CANDIDATES = re.compile(r"candidate_?count|multiple candidates", re.IGNORECASE)


class Refused(ProviderError):
    """Vertex AI understood and said no.

    status: of HTTP. too_many_candidates: whether it complains of `candidateCount`.
    """

    def __init__(
        self,
        cause: str,
        *,
        endpoint: str,
        call: str,
        hint: str | None,
        status: int,
        too_many_candidates: bool,
    ) -> None:
        super().__init__(cause, provider=PROVIDER, endpoint=endpoint, call=call, hint=hint)
        self.status = status
        self.too_many_candidates = too_many_candidates


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
        self.base_url = base_url.rstrip("/") if base_url else None
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
            failure = self._failure(error, call=call, endpoint=endpoint, texts=texts)
        raise failure

    def ask_storage(
        self, call: str, function: Callable[[StorageClient], _Answer], *, endpoint: str
    ) -> _Answer:
        """What `function` gets from Cloud Storage; raises as `ask` does."""
        self._check_place(call=call, endpoint=endpoint)
        try:
            return function(self._stored())
        except _failures() as error:
            failure = self._failure(error, call=call, endpoint=endpoint, texts=())
        raise failure

    # --- clients

    def _check_place(self, *, call: str, endpoint: str) -> None:
        for name, value in (("project", self._project), ("location", self._location)):
            if not value:
                raise ProviderError(
                    f"there is no {name}",
                    provider=PROVIDER,
                    endpoint=endpoint,
                    call=call,
                    hint=f"set options.{name}, or the environment variable "
                    f"GOOGLE_CLOUD_{name.upper()}",
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
                        base_url=self.base_url,
                        timeout=max(1, round(self.timeout * 1000)),
                        retry_options=HttpRetryOptions(attempts=1),
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

    def _failure(
        self, error: Exception, *, call: str, endpoint: str, texts: Sequence[str]
    ) -> ProviderError:
        from google.auth import exceptions as auth

        said = _said(error)
        if said is not None:
            return self._status_failure(said, call=call, endpoint=endpoint, texts=texts)
        final = _Failing(ProviderError, endpoint, call)
        busy = _Failing(ProviderBusy, endpoint, call)
        if isinstance(error, auth.DefaultCredentialsError):
            return final("there are no credentials", _LOGIN)
        if isinstance(error, auth.GoogleAuthError) and not isinstance(error, auth.TransportError):
            kind = busy if error.retryable else final
            return kind(f"the credentials are of no use ({type(error).__name__})", _LOGIN)
        seen = " ".join(type(one).__name__ for one in _chain(error))
        if "Timeout" in seen:
            return busy(f"no answer within {self.timeout:g} s", "options.timeout allows more")
        server = self.base_url or "Google Cloud"
        if isinstance(error, ValueError | Warning):
            return busy("the answer was not of the expected form", f"it came from {server}")
        return busy(
            f"the connection failed or was cut off ({type(error).__name__})",
            f"is {server} up, and reachable from here?",
        )

    def _status_failure(
        self, said: _Said, *, call: str, endpoint: str, texts: Sequence[str]
    ) -> ProviderError:
        cause = " ".join(
            part
            for part in (
                f"{said.status} {_phrase(said.status)}",
                f"({said.name})" if said.name else "",
                f"- {safe_message(said.message, texts=texts)}" if said.message else "",
            )
            if part
        )
        if said.status in TRY_AGAIN or said.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ProviderBusy(
                cause,
                provider=PROVIDER,
                endpoint=endpoint,
                call=call,
                hint=_QUOTA if said.status == HTTPStatus.TOO_MANY_REQUESTS else None,
                retry_after=said.retry_after,
            )
        return Refused(
            cause,
            endpoint=endpoint,
            call=call,
            hint=self._hint(said.status, call=call),
            status=said.status,
            too_many_candidates=said.status == HTTPStatus.BAD_REQUEST
            and _CANDIDATES.search(said.message) is not None,
        )

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


@dataclass(frozen=True, slots=True)
class _Failing:
    """Makes errors of one kind about one call."""

    kind: type[ProviderError]
    endpoint: str
    call: str

    def __call__(self, cause: str, hint: str) -> ProviderError:
        return self.kind(
            cause, provider=PROVIDER, endpoint=self.endpoint, call=self.call, hint=hint
        )


# --- what an exception says ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Said:
    """A server's refusal; `retry_after` in seconds."""

    status: int
    name: str | None
    message: str = field(repr=False)
    retry_after: float | None


def _said(error: Exception) -> _Said | None:
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
    return _Said(
        status=int(code) if isinstance(code, int) else HTTPStatus.INTERNAL_SERVER_ERROR,
        name=str(inner.get("status") or "") or None,
        message=str(inner.get("message") or ""),
        retry_after=_retry_after(
            getattr(getattr(error, "response", None), "headers", None), inner.get("details")
        ),
    )


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _retry_after(headers: Mapping[str, str] | None, details: object) -> float | None:
    """Seconds to wait, from a Retry-After header or the body's google.rpc.RetryInfo."""
    value = str((headers or {}).get("retry-after", ""))
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    for detail in details if isinstance(details, list) else ():
        delay = str(_mapping(detail).get("retryDelay", ""))
        if re.fullmatch(r"\d+(\.\d+)?s", delay):
            return float(delay[:-1])
    return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown status"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


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
    return (APIError, GoogleAuthError, ValueError, TimeoutError, Warning, *loaded)


def _loaded(module: str, name: str) -> tuple[type[Exception], ...]:
    """The exception of that name; nothing if its module is not loaded, and so raised none."""
    kind = getattr(sys.modules.get(module), name, None)
    return () if kind is None else (kind,)
