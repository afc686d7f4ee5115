"""Calls to a server that answers JSON with JSON.

Like every client of this package, it doesn't retry: only the sampling package repeats a
call that may have been billed. A failure is raised outside its `except` block, so that
it holds neither headers nor texts.
"""

from __future__ import annotations

import json
import os
import re
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from pytest_memleak.formats.distinct_keys import json_with_distinct_keys
from pytest_memleak.providers.call_errors import (
    CallErrorFactory,
    ErrorResponse,
    UnfollowedRedirect,
    retry_after,
)
from pytest_memleak.providers.http_caps import ResponseCaps
from pytest_memleak.redaction.credentials import MASK, without_credentials

if TYPE_CHECKING:
    import httpx2

    from pytest_memleak.errors import ProviderError

PACKAGES = {"httpx2": "httpx2"}
"""The module that makes the calls, and its name for pip."""

_PATH = re.compile(r"[!-\[\]-~]+")  # printable ASCII without the backslash
_SENDABLE = re.compile(r"[!-~]+")


class HttpCalls:
    """One server.

    address: replaces the provider's own server; the path follows it
    key_variable: the environment variable of the key; "" for a server without keys
    needs_key: whether nothing is sent without a key
    headers: returns the headers that carry a key
    read_error_response: reads the body of an error: JSON, or else text
    """

    def __init__(
        self,
        address: str,
        *,
        key_variable: str,
        needs_key: bool,
        timeout: float,
        headers: Callable[[str], Mapping[str, str]],
        read_error_response: Callable[[int, object], ErrorResponse],
    ) -> None:
        self._address = address.rstrip("/")
        self.address = without_credentials(self._address)
        self._key_variable = key_variable
        self._needs_key = needs_key
        self._timeout = timeout
        self._headers = headers
        self._read_error_response = read_error_response
        self._client: httpx2.Client | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def post(
        self,
        path: str,
        body: object,
        failing: CallErrorFactory,
    ) -> object:
        """Post `body` as JSON, and return the JSON of the response.

        Raises RequestRejected, or ProviderBusy for what is worth a retry.
        """
        import httpx2

        url = self._checked_url(path, failing)
        content = _json_bytes(body, failing)
        headers = {"content-type": "application/json", **self._key_headers(failing)}
        errors = (
            httpx2.HTTPError,
            httpx2.InvalidURL,
            ValueError,
            RecursionError,
            TimeoutError,
            UnfollowedRedirect,
        )
        try:
            response = self._connected().post(url, content=content, headers=headers)
            if response.is_success:
                answer: object = json_with_distinct_keys(response.content)
                return answer
            failure = self._error_of_response(response, failing)
        except errors as error:
            failure = self._error_of_exception(error, failing)
        raise failure

    def _connected(self) -> httpx2.Client:
        import httpx2

        with self._lock:
            if self._client is None:
                client = httpx2.Client(
                    timeout=self._timeout,
                    follow_redirects=True,
                    event_hooks=ResponseCaps(self._timeout).hooks,
                )
                weakref.finalize(self, client.close)
                self._client = client
            return self._client

    def _checked_url(self, path: str, failing: CallErrorFactory) -> str:
        steps = path.partition("?")[0].split("/")
        if not _PATH.fullmatch(path) or not {".", ".."}.isdisjoint(steps):
            raise failing.final("The model's name can't be part of an address")
        return f"{self._address}/{path.lstrip('/')}"

    def _key_headers(self, failing: CallErrorFactory) -> Mapping[str, str]:
        key = os.environ.get(self._key_variable, "").strip()
        hint = f"set the environment variable {self._key_variable}"
        if key and not _SENDABLE.fullmatch(key):
            raise failing.final("The API key has characters that can't be sent", hint)
        if key:
            return self._headers(key)
        if self._needs_key:
            raise failing.final("No API key", hint)
        return {}

    def _error_of_response(
        self, response: httpx2.Response, failing: CallErrorFactory
    ) -> ProviderError:
        text = response.content.decode("utf-8", "replace")
        key = os.environ.get(self._key_variable, "").strip()
        if key:
            text = text.replace(key, MASK)
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            body = text
        rejection = self._read_error_response(response.status_code, body)
        wait = retry_after(response.headers)
        if wait is not None:
            rejection = replace(rejection, retry_after=wait)
        return failing.of_response(rejection, self._hint(rejection.status))

    def _error_of_exception(
        self, error: Exception, failing: CallErrorFactory
    ) -> ProviderError:
        if isinstance(error, ValueError | RecursionError):
            return failing.malformed(self.address, error)
        return failing.connection(error, server=self.address, timeout=self._timeout)

    def _hint(self, status: int) -> str | None:
        if status == HTTPStatus.UNAUTHORIZED and self._key_variable:
            return f"check the key in the environment variable {self._key_variable}"
        hints: dict[int, str] = {
            HTTPStatus.FORBIDDEN: "use a key whose account may use this model",
            HTTPStatus.NOT_FOUND: f"check that {self.address} has this model "
            "(base_model, or endpoint)",
        }
        return hints.get(status)


def _json_bytes(body: object, failing: CallErrorFactory) -> bytes:
    """Return `body` as JSON. Raises ProviderError if it has anything else."""
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        failure = failing.final(
            "The text has characters that can't be sent (lone surrogates)",
            "remove them from the book or its summaries",
        )
    except (TypeError, ValueError, RecursionError) as error:
        failure = failing.final(
            f"The request can't be written as JSON ({type(error).__name__})",
            "correct `body` of the provider's class",
        )
    raise failure
