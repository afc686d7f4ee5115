"""Calls to a Tinker server: the SDK's clients, deadlines of our own, and what failures mean.

Left alone, the SDK goes on trying: five minutes where no connection can be had, an hour where
the account is out of money. So every call is waited for `timeout` seconds and no longer. Its
tries within that time cost nothing: each piece of work carries a number, and the server does
numbered work once. Its other habit, to ask for a sample again under a new number, is turned
off where samplers are opened.

Every failure becomes a `ProviderBusy` (may pass) or a `ProviderError` (final), raised outside
the `except` block that saw it, so that no request with its headers and texts hangs on to it.
"""

from __future__ import annotations

import functools
import os
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.providers.call_errors import (
    Astray,
    Failing,
    Refusal,
    Refused,
    retry_after,
    safe_message,
)
from pytest_memleak.providers.http_caps import Bounds, Endless
from pytest_memleak.providers.provider_registry import PROVIDERS
from pytest_memleak.providers.tinker.sdk_log import SDK_LOG
from pytest_memleak.redaction.credentials import without_credentials

# Twice what the SDK waits for any piece of an answer, its long polls included.
_LONGEST_ANSWER = 120.0
_WHY = "memleak_why"


@functools.cache
def bound_the_sdk() -> None:
    """From now on the SDK reads no more, and follows no further, than `Bounds` allow."""
    import httpx
    from tinker import _base_client as sdk

    bounds = Bounds(timeout=_LONGEST_ANSWER)

    class Bounded(sdk.AsyncHttpxClientWrapper):
        def __init__(self, **settings: Any) -> None:
            settings.pop("transport", None)
            super().__init__(**{**settings, "event_hooks": bounds.async_hooks})

        async def send(self, request: httpx.Request, **settings: Any) -> httpx.Response:
            """An answer; in the place of one that is not taken, an error.

            An exception would have the SDK ask again, for as long as the process lives, and
            keep all that it had read. Of the errors with a status this is one that it takes.
            """
            try:
                return await super().send(request, **settings)
            except (Astray, Endless) as error:
                why = type(error)(*error.args)
            return httpx.Response(
                HTTPStatus.NOT_ACCEPTABLE, request=request, extensions={_WHY: why}
            )

    sdk.AsyncHttpxClientWrapper = Bounded  # type: ignore[misc]


def not_taken(response: Any) -> Astray | Endless | None:
    """Why an answer was not taken; None where it was."""
    why: Astray | Endless | None = response.extensions.get(_WHY)
    return why


if TYPE_CHECKING:
    from tinker import APIFuture, APIStatusError, RestClient, ServiceClient

PROVIDER = "tinker"
NEEDS = PROVIDERS[PROVIDER].needs
(KEY_VARIABLE,) = NEEDS.keys

_T = TypeVar("_T")

_LOOK = 5.0
_PAUSE = 5.0  # as long as the SDK may send nothing, for any call, after a 429
_LOOKED_AT = 2000
_AS_JSON = "only supports as proto"
_HINTS = {
    HTTPStatus.BAD_REQUEST: "check that the server offers this base model and these settings",
    HTTPStatus.UNAUTHORIZED: f"check the key in the environment variable {KEY_VARIABLE}",
    HTTPStatus.PAYMENT_REQUIRED: "the account has no credit left, or no billing set up",
    HTTPStatus.FORBIDDEN: "the key's account or project lacks access to this model or checkpoint",
    HTTPStatus.NOT_FOUND: "check that the server has this model or checkpoint; it may have expired",
}


class Gone(ProviderBusy):
    """The session, or the promise of an answer, is no longer there; a new session may do."""


class TinkerCalls:
    """One server, as the suite and the environment name it; clients are made at first use.

    base_url: None takes TINKER_BASE_URL, or the official server.
    timeout:  seconds that any call may last, connecting to the server included.
    """

    def __init__(self, *, base_url: str | None, timeout: float) -> None:
        given = NEEDS.address_of(base_url)
        self._address = given.rstrip("/") if given else None
        self.base_url = without_credentials(self._address) if self._address else None
        self.timeout = timeout
        self._openings: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()

    def key(self, *, endpoint: str, call: str) -> str:
        """The API key; ProviderError where the environment has none."""
        key = os.environ.get(KEY_VARIABLE)
        if key:
            return key
        raise Failing(PROVIDER, endpoint, call).final(
            "No API key",
            f"set the environment variable {KEY_VARIABLE} (for your own server,"
            ' any value that begins with "tml-")',
        )

    def service(self, *, endpoint: str, call: str) -> ServiceClient:
        """The client for training and sampling, its session open."""
        return cast("ServiceClient", self._opened("service", _open_service, endpoint, call))

    def rest(self, *, endpoint: str, call: str) -> RestClient:
        """The client for looking things up; it has no session."""
        return cast("RestClient", self._opened("rest", _open_rest, endpoint, call))

    def ask(
        self,
        call: str,
        function: Callable[[], APIFuture[_T]],
        *,
        endpoint: str,
        texts: Sequence[str] = (),
    ) -> _T:
        """What `function` promises; see `begin` and `result`."""
        future = self.begin(call, function, endpoint=endpoint)
        return self.result(future, call=call, endpoint=endpoint, texts=texts)

    def begin(
        self, call: str, function: Callable[[], APIFuture[_T]], *, endpoint: str
    ) -> Future[_T]:
        """Submit what `function` asks of a client, without waiting."""
        try:
            return function().future()
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises is its answer
            failure = self._failure(error, Failing(PROVIDER, endpoint, call))
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
        """What was submitted brings, within the deadline; abandoned after it unless `keep`.

        call, endpoint: as error messages name them; texts: what no error message may quote.
        Raises Refused, Gone, ProviderBusy or ProviderError.
        """
        began, failing = time.monotonic(), Failing(PROVIDER, endpoint, call, texts)
        try:
            return future.result(self.timeout)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises is its answer
            overdue = not future.done()
            failure = self._overdue(began, failing) if overdue else self._failure(error, failing)
        finally:
            if not keep and not future.done():
                future.cancel()
        if isinstance(failure, Gone):
            with self._lock:
                self._openings.pop("service", None)
        raise failure

    # --- clients

    def _opened(
        self, kind: str, make: Callable[[str | None, str], object], endpoint: str, call: str
    ) -> object:
        """A client; made in a thread, for making one blocks until the server has answered."""
        key = self.key(endpoint=endpoint, call=call)
        with self._lock:
            opening = self._openings.get(kind)
            if opening is None or (opening.done() and opening.exception()):
                self._check_reachable(endpoint=endpoint, call=call)
                opening = _in_thread(lambda: make(self._address, key))
                self._openings[kind] = opening
        return self.result(opening, call=f"{call}: connecting", endpoint=endpoint, keep=True)

    def _check_reachable(self, *, endpoint: str, call: str) -> None:
        from tinker.lib.base_url import resolve_base_url

        url = urllib.parse.urlsplit(resolve_base_url(self._address))
        if url.scheme in urllib.request.getproxies():
            return  # what the proxy reaches is not known here
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        try:
            _shake_hands(host, port, tls=url.scheme == "https", timeout=min(_LOOK, self.timeout))
        except OSError as error:
            distrusted = isinstance(error, ssl.SSLCertVerificationError)
            seen = type(error).__name__ if distrusted else error.strerror or type(error).__name__
        else:
            return
        raise Failing(PROVIDER, endpoint, call).not_sent(
            f"Connection to {host}:{port} failed ({seen}). Nothing was sent or billed",
            "Check that the server runs and is reachable.",
            lasting=distrusted,
        )

    # --- what a failure means

    def _overdue(self, began: float, failing: Failing) -> ProviderError:
        cause = f"no answer within {self.timeout:g} s"
        warning, refusal = SDK_LOG.warning_since(began), SDK_LOG.refusal_since(began - _PAUSE)
        if warning:
            cause += f"; the SDK says: {safe_message(warning, texts=failing.texts)}"
        if refusal:
            cause += f"; the server said {safe_message(refusal)}, and the SDK retried"
        hint: str | None = "Increase options.timeout."
        with self._lock:
            ended = [opening for opening in self._openings.values() if opening.done()]
        opened = [opening for opening in ended if not opening.exception()]
        if opened:
            seen = self._look(opened[0].result().holder, failing)
            if isinstance(seen, Refused):
                named: Any = {"provider": PROVIDER, "endpoint": failing.endpoint}
                cause = f"{cause}; it answered another call with: {seen.cause}"
                named |= {"call": failing.call, "hint": seen.hint, "status": seen.status}
                return Refused(cause, **named)
            if seen is None:
                hint = f"the server answers other calls: {hint}"
            else:
                cause, hint = f"{cause}; another call failed, too: {seen.cause}", seen.hint
        return failing.busy(cause, hint)

    def _look(self, holder: Any, failing: Failing) -> ProviderError | None:
        """Why a call may have had no answer: how another fares that costs nothing."""
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
            future.result(min(_LOOK, self.timeout))
        except Exception as error:  # noqa: BLE001 - any failure is what was looked for
            future.cancel()
            return self._failure(error, replace(failing, texts=()))
        return None

    def _failure(self, error: BaseException, failing: Failing) -> ProviderError:
        import tinker

        refusal = _status_error(error)
        if refusal is not None:
            return _status_failure(refusal, failing)
        if isinstance(error, tinker.RequestFailedError):
            # The server's own message stands between words of the SDK.
            message = error.message[:_LOOKED_AT].removeprefix("Request failed: ")
            message = message.partition(" for self.")[0]
            cause = f"the server gave up: {safe_message(message, texts=failing.texts)}"
            final = error.category is tinker.types.RequestErrorCategory.User
            return failing.final(cause) if final else failing.busy(cause)
        if isinstance(error, TimeoutError | tinker.APIConnectionError):
            # Never RequestNotSent: the SDK has tried before, and an earlier try may have arrived.
            seen = type(error.__cause__ or error).__name__
            return failing.busy(
                f"The connection failed or was interrupted ({seen})",
                "Check that the server runs and is reachable.",
            )
        if isinstance(error, ValueError | AssertionError | tinker.APIResponseValidationError):
            return _malformed(error, failing)
        if isinstance(error, tinker.TinkerError):
            return failing.final(safe_message(str(error), texts=failing.texts))
        return failing.final(f"The SDK raised {type(error).__name__}")


def _malformed(error: Exception, failing: Failing) -> ProviderError:
    if _AS_JSON not in str(error):
        return failing.busy("The answer has an unexpected form")
    return failing.final(
        "The server answers in JSON, which this SDK no longer reads",
        f"tinker {version('tinker')} wants protobuf: use a newer release of the server;"
        " SkyRL 0.3.0 is too old",
    )


def _status_failure(error: APIStatusError, failing: Failing) -> ProviderError:
    why = not_taken(error.response)
    if isinstance(why, Astray):
        return failing.astray(why, server=error.request.url.host)
    if why is not None:
        return failing.busy(f"The answer was {why}")
    status = error.status_code
    detail = error.body.get("detail") if isinstance(error.body, dict) else None
    refusal = Refusal(
        status,
        detail[:_LOOKED_AT] if isinstance(detail, str) else "",
        retry_after=retry_after(error.response.headers),
    )
    if status == HTTPStatus.GONE:
        return Gone(
            failing.cause(refusal), provider=PROVIDER, endpoint=failing.endpoint, call=failing.call
        )
    return failing.refusal(
        refusal, next((_HINTS[hinted] for hinted in _HINTS if hinted == status), None)
    )


def _status_error(error: BaseException | None) -> APIStatusError | None:
    """The answer with an HTTP status behind an exception; the SDK wraps some of them."""
    import tinker

    while error is not None and not isinstance(error, tinker.APIStatusError):
        error = error.__cause__
    return error


# --- what blocks ---------------------------------------------------------------------------


def _shake_hands(host: str, port: int, *, tls: bool, timeout: float) -> None:
    """Connect, and hold the server's certificate against what the SDK's HTTP library trusts."""
    with socket.create_connection((host, port), timeout) as plain:
        if tls:
            import httpx

            with httpx.create_ssl_context().wrap_socket(plain, server_hostname=host):
                pass


def _open_service(base_url: str | None, key: str) -> ServiceClient:
    tinker = _imported()
    service: ServiceClient = tinker.ServiceClient(base_url=base_url, api_key=key)
    _ = service.holder  # opens the session
    return service


def _open_rest(base_url: str | None, key: str) -> RestClient:
    client: RestClient = _imported().RestClient(base_url=base_url, api_key=key)
    return client


def _imported() -> Any:
    # Read when a client is made: what is measured here is nobody else's business.
    os.environ.setdefault("TINKER_TELEMETRY", "0")
    import tinker

    SDK_LOG.listen()
    bound_the_sdk()
    return tinker


def _in_thread(make: Callable[[], _T]) -> Future[_T]:
    """What `make` returns, from a thread that keeps nobody from ending."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(make())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            future.set_exception(error)

    threading.Thread(target=run, name="memleak-tinker", daemon=True).start()
    return future
