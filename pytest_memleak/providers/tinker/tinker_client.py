"""Calls to a Tinker server: the SDK's clients, our deadlines, and failures.

The SDK alone retries for five minutes without a connection, and for an hour without
credit. So each call ends after `timeout` seconds. Retries within that time cost
nothing, since the server does numbered work once; those under a new number are disabled
(tinker_sampling.py).

Every failure becomes a `ProviderBusy` (temporary) or a `ProviderError` (final), raised
outside its `except` block, so that it doesn't hold the request with its headers and
texts.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.providers.call_errors import (
    RAISE_DEADLINE,
    CallErrorFactory,
    ErrorResponse,
    RequestRejected,
    UnfollowedRedirect,
    retry_after,
    safe_message,
)
from pytest_memleak.providers.http_caps import ResponseCaps, ResponseTooLong
from pytest_memleak.providers.provider_registry import PROVIDERS
from pytest_memleak.providers.response_fields import as_mapping
from pytest_memleak.redaction.credentials import without_credentials

if TYPE_CHECKING:
    from tinker import APIFuture, APIStatusError, RestClient, ServiceClient

PROVIDER = "tinker"
NEEDS = PROVIDERS[PROVIDER].needs
(KEY_VARIABLE,) = NEEDS.keys

_T = TypeVar("_T")

# Twice the SDK's wait for any piece of a response, long polls included.
_LONGEST_ANSWER = 120.0
_WHY = "memleak_why"
_PROBE = 5.0  # seconds for a call that only tests the server
_PAUSE = 5.0  # seconds without any call of the SDK after a 429
_LOOKED_AT = 2000  # characters of a message
_AS_JSON = "only supports as proto"
_HINTS: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: (
        "check that the server offers this base model and these settings"
    ),
    HTTPStatus.UNAUTHORIZED: (
        f"check the key in the environment variable {KEY_VARIABLE}"
    ),
    HTTPStatus.PAYMENT_REQUIRED: "add credit to the account, or set up billing",
    HTTPStatus.FORBIDDEN: (
        "use a key whose account and project may use this model or checkpoint"
    ),
    HTTPStatus.NOT_FOUND: (
        "check that the server has this model or checkpoint; it may have expired"
    ),
}


class SdkLog:
    """What the SDK only logs: its latest warning and HTTP error, with their times.

    One for all clients, since the SDK has one log per process.
    """

    def __init__(self) -> None:
        self._warning: tuple[float, str] | None = None
        self._rejection: tuple[float, str] | None = None
        self._level = logging.NOTSET
        self._warnings = logging.Handler(logging.WARNING)
        self._warnings.emit = self._keep_warning  # type: ignore[method-assign]

    def listen(self) -> None:
        """Listen to both loggers; once is enough."""
        logging.getLogger("tinker").addHandler(self._warnings)
        library = logging.getLogger("httpx")
        if self._keep_http_error not in library.filters:
            self._level = library.level
            library.addFilter(self._keep_http_error)
            if not library.isEnabledFor(logging.INFO):
                library.setLevel(logging.INFO)

    def warning_since(self, moment: float) -> str | None:
        """Return the latest warning, unless it is older than `moment` (monotonic)."""
        return _warning_after(self._warning, moment)

    def rejection_since(self, moment: float) -> str | None:
        """Return the latest HTTP error ("429 Too Many Requests") unless it is older."""
        return _warning_after(self._rejection, moment)

    def _keep_warning(self, record: logging.LogRecord) -> None:
        self._warning = time.monotonic(), record.getMessage()

    def _keep_http_error(self, record: logging.LogRecord) -> bool:
        """Keep an HTTP error; return False for a record that exists only for us.

        The library logs every response as information.
        """
        match record.args:
            case (_, url, _, int(status), phrase) if (
                status >= HTTPStatus.BAD_REQUEST and "/api/v1/" in str(url)
            ):
                self._rejection = time.monotonic(), f"{status} {phrase}"
        return record.levelno >= (
            self._level or logging.getLogger().getEffectiveLevel()
        )


def _warning_after(entry: tuple[float, str] | None, moment: float) -> str | None:
    if entry is None:
        return None
    time_of_entry, text = entry
    if time_of_entry < moment:
        return None
    return text


SDK_LOG = SdkLog()


@functools.cache
def cap_sdk_responses() -> None:
    """Limit what the SDK reads and which redirects it follows, by `ResponseCaps`."""
    import httpx
    from tinker import _base_client as sdk

    bounds = ResponseCaps(timeout=_LONGEST_ANSWER)

    class Bounded(sdk.AsyncHttpxClientWrapper):
        def __init__(self, **settings: Any) -> None:
            settings.pop("transport", None)
            super().__init__(**{**settings, "event_hooks": bounds.async_hooks})

        async def send(self, request: httpx.Request, **settings: Any) -> httpx.Response:
            """Return the response, or a 406 for one beyond the limits.

            After an exception, the SDK would retry until the process ends, and keep all
            it read.
            """
            try:
                return await super().send(request, **settings)
            except (UnfollowedRedirect, ResponseTooLong) as error:
                why = type(error)(*error.args)
            return httpx.Response(
                HTTPStatus.NOT_ACCEPTABLE,
                request=request,
                extensions={_WHY: why},
            )

    sdk.AsyncHttpxClientWrapper = Bounded  # type: ignore[misc]


class SessionGone(ProviderBusy):
    """The session or the pending response no longer exists; a new session may work."""


class TinkerCalls:
    """One server; its clients are created at the first call.

    base_url: None for TINKER_BASE_URL or Tinker; the attribute has no password
    timeout: the longest call, connecting included, in seconds
    """

    def __init__(self, *, base_url: str | None, timeout: float) -> None:
        self._address: str | None = None
        self.base_url: str | None = None
        address = NEEDS.address_of(base_url)
        if address:
            self._address = address.rstrip("/")
            self.base_url = without_credentials(self._address)
        self.timeout = timeout
        self._openings: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()

    def key(self, *, endpoint: str, call: str) -> str:
        """Return the API key; ProviderError if the environment has none."""
        key = os.environ.get(KEY_VARIABLE)
        if key:
            return key
        raise CallErrorFactory(PROVIDER, endpoint, call).final(
            "No API key",
            f"set the environment variable {KEY_VARIABLE} (for your own server,"
            ' any value that begins with "tml-")',
        )

    def service(self, *, endpoint: str, call: str) -> ServiceClient:
        """Return the client for training and sampling, with an open session."""
        client: ServiceClient = self._client_opened_once(
            "ServiceClient", endpoint, call
        )
        return client

    def rest(self, *, endpoint: str, call: str) -> RestClient:
        """Return the client for lookups, which has no session."""
        client: RestClient = self._client_opened_once("RestClient", endpoint, call)
        return client

    def ask(
        self,
        call: str,
        function: Callable[[], APIFuture[_T]],
        *,
        endpoint: str,
        texts: Sequence[str] = (),
    ) -> _T:
        """Return the result of `function`; see `begin` and `result`."""
        future = self.begin(call, function, endpoint=endpoint)
        return self.result(
            future,
            call=call,
            endpoint=endpoint,
            texts=texts,
        )

    def begin(
        self,
        call: str,
        function: Callable[[], APIFuture[_T]],
        *,
        endpoint: str,
    ) -> Future[_T]:
        """Submit a call without waiting for it."""
        try:
            return function().future()
        except Exception as error:  # noqa: BLE001 - any exception of the SDK is a failure
            failure = self._failure(error, CallErrorFactory(PROVIDER, endpoint, call))
        raise failure

    def result(
        self,
        future: Future[_T],
        *,
        call: str,
        endpoint: str,
        texts: Sequence[str] = (),
        keep: bool = False,
    ) -> _T:
        """Return a submitted call's result; raise SessionGone or another ProviderError.

        call, endpoint: their names in error messages; texts: what no message may quote
        keep: whether the call continues after its deadline
        """
        began = time.monotonic()
        failing = CallErrorFactory(PROVIDER, endpoint, call, texts)
        try:
            return future.result(self.timeout)
        except Exception as error:  # noqa: BLE001 - any exception of the SDK is a failure
            if future.done():
                failure = self._failure(error, failing)
            else:
                failure = self._timeout_error(began, failing)
        finally:
            if not keep and not future.done():
                future.cancel()
        if isinstance(failure, SessionGone):
            with self._lock:
                self._openings.pop("ServiceClient", None)
        raise failure

    def _client_opened_once(
        self,
        kind: str,
        endpoint: str,
        call: str,
    ) -> Any:
        """Return a client, created in a thread since that waits for the server."""
        key = self.key(endpoint=endpoint, call=call)
        with self._lock:
            opening = self._openings.get(kind)
            has_failed = opening and opening.done() and opening.exception()
            if opening is None or has_failed:
                self._validate_reachable(endpoint=endpoint, call=call)
                opening = _start_in_daemon_thread(
                    lambda: _create_sdk_client(kind, self._address, key)
                )
                self._openings[kind] = opening
        return self.result(
            opening,
            call=f"{call}: connecting",
            endpoint=endpoint,
            keep=True,
        )

    def _validate_reachable(self, *, endpoint: str, call: str) -> None:
        from tinker.lib.base_url import resolve_base_url

        url = urllib.parse.urlsplit(resolve_base_url(self._address))
        if url.scheme in urllib.request.getproxies():
            return  # the proxy connects
        tls = url.scheme == "https"
        host = url.hostname or ""
        port = url.port or (443 if tls else 80)
        try:
            _shake_hands(host, port, tls=tls, timeout=min(_PROBE, self.timeout))
        except OSError as error:
            distrusted = isinstance(error, ssl.SSLCertVerificationError)
            seen = type(error).__name__
            if error.strerror and not distrusted:
                seen = error.strerror
        else:
            return
        raise CallErrorFactory(PROVIDER, endpoint, call).not_sent(
            f"Connection to {host}:{port} failed ({seen}). Nothing was sent or billed",
            "check that the server runs and is reachable",
            lasting=distrusted,
        )

    def _timeout_error(self, began: float, failing: CallErrorFactory) -> ProviderError:
        cause = f"no response within {self.timeout:g} s"
        warning = SDK_LOG.warning_since(began)
        rejection = SDK_LOG.rejection_since(began - _PAUSE)
        if warning:
            cause += f"; the SDK says: {safe_message(warning, texts=failing.texts)}"
        if rejection:
            cause += f"; the server said {safe_message(rejection)}, and the SDK retried"
        hint: str | None = RAISE_DEADLINE
        with self._lock:
            ended = [opening for opening in self._openings.values() if opening.done()]
        opened = [opening for opening in ended if not opening.exception()]
        if opened:
            failure = self._failure_of_free_call(opened[0].result().holder, failing)
            if isinstance(failure, RequestRejected):
                cause = f"{cause}; it answered another call with: {failure.cause}"
                answered = ErrorResponse(failure.status)
                return RequestRejected(
                    cause, answered, hint=failure.hint, **failing.place
                )
            if failure is None:
                hint = f"the server answers other calls: {hint}"
            else:
                cause = f"{cause}; another call failed, too: {failure.cause}"
                hint = failure.hint
        return failing.overdue(cause, hint)

    def _failure_of_free_call(
        self, holder: Any, failing: CallErrorFactory
    ) -> ProviderError | None:
        """Return the failure of another call, which is free; None if it succeeds."""
        from tinker.lib.client_connection_pool_type import ClientConnectionPoolType
        from tinker.types import GetServerCapabilitiesResponse

        async def once() -> None:
            with holder.aclient(ClientConnectionPoolType.TRAIN) as client:
                await client.get(
                    "/api/v1/get_server_capabilities",
                    cast_to=GetServerCapabilitiesResponse,
                    options={"max_retries": 0},
                )

        future: Future[None] = holder.run_coroutine_threadsafe(once()).future()
        try:
            future.result(min(_PROBE, self.timeout))
        except Exception as error:  # noqa: BLE001 - any failure is the result
            future.cancel()
            return self._failure(error, replace(failing, texts=()))
        return None

    def _failure(
        self, error: BaseException, failing: CallErrorFactory
    ) -> ProviderError:
        import tinker

        rejection = _status_error(error)
        if rejection is not None:
            return _status_failure(rejection, failing)
        if isinstance(error, tinker.RequestFailedError):
            # The SDK adds words around the server's message.
            message = error.message[:_LOOKED_AT].removeprefix("Request failed: ")
            message = message.partition(" for self.")[0]
            cause = f"the server gave up: {safe_message(message, texts=failing.texts)}"
            is_users = error.category is tinker.types.RequestErrorCategory.User
            return failing.final(cause) if is_users else failing.busy(cause)
        if isinstance(error, TimeoutError | tinker.APIConnectionError):
            # Never RequestNotSent, since an earlier try of the SDK may have arrived.
            seen = type(error.__cause__ or error).__name__
            return failing.busy(
                f"The connection failed or was interrupted ({seen})",
                "check that the server runs and is reachable",
            )
        if isinstance(
            error,
            ValueError | AssertionError | tinker.APIResponseValidationError,
        ):
            return _error_of_malformed_response(
                error, failing, self.base_url or "Tinker"
            )
        if isinstance(error, tinker.TinkerError):
            return failing.final(safe_message(str(error), texts=failing.texts))
        return failing.final(
            f"The SDK raised {type(error).__name__}",
            "run pip install -U tinker; if it fails again, report it to the provider",
        )


def _error_of_malformed_response(
    error: Exception,
    failing: CallErrorFactory,
    server: str,
) -> ProviderError:
    if _AS_JSON not in str(error):
        return failing.malformed(server)
    return failing.final(
        "The server answers in JSON, which this SDK no longer reads",
        f"tinker {version('tinker')} requires protobuf: upgrade the server; SkyRL "
        "0.3.0 is too old",
    )


def _status_failure(error: APIStatusError, failing: CallErrorFactory) -> ProviderError:
    why = error.response.extensions.get(_WHY)
    if isinstance(why, UnfollowedRedirect):
        return failing.astray(why, server=error.request.url.host)
    if why is not None:
        return failing.unusable(f"The response was {why}")
    status = error.status_code
    message = ""
    detail = as_mapping(error.body).get("detail")
    if isinstance(detail, str):
        message = detail[:_LOOKED_AT]
    wait = retry_after(error.response.headers)
    rejection = ErrorResponse(status, message, retry_after=wait)
    if status == HTTPStatus.GONE:
        return SessionGone(failing.cause(rejection), **failing.place)
    return failing.of_response(rejection, _HINTS.get(status))


def _status_error(error: BaseException | None) -> APIStatusError | None:
    """Return the HTTP error behind an exception of the SDK, which wraps some."""
    import tinker

    while error is not None and not isinstance(error, tinker.APIStatusError):
        error = error.__cause__
    return error


def _shake_hands(
    host: str,
    port: int,
    *,
    tls: bool,
    timeout: float,
) -> None:
    """Connect, and validate the server's certificate as the SDK's HTTP library does."""
    with socket.create_connection((host, port), timeout) as plain:
        if tls:
            import httpx

            with httpx.create_ssl_context().wrap_socket(plain, server_hostname=host):
                pass


def _create_sdk_client(
    kind: str,
    base_url: str | None,
    key: str,
) -> Any:
    # The SDK reads it for each client: it reports nothing of a user's measurements.
    os.environ.setdefault("TINKER_TELEMETRY", "0")
    import tinker

    SDK_LOG.listen()
    cap_sdk_responses()
    client = getattr(tinker, kind)(base_url=base_url, api_key=key)
    if kind == "ServiceClient":
        _ = client.holder  # opens the session
    return client


def _start_in_daemon_thread(make: Callable[[], _T]) -> Future[_T]:
    """Return the result of `make` from a daemon thread."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(make())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            future.set_exception(error)

    threading.Thread(
        target=run,
        name="memleak-tinker",
        daemon=True,
    ).start()
    return future
