"""Google's credentials, found by its own library.

    token = GoogleToken()
    token()                                # a valid access token

From `gcloud auth application-default login`, GOOGLE_APPLICATION_CREDENTIALS, or the
machine's account. google-auth is part of the extra `vertex`, and imported with the
first token.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from pytest_memleak.errors import ProviderError
from pytest_memleak.providers.call_errors import CallErrorFactory

LOGIN = (
    "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
)
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_ERRORS = "google.auth.exceptions"


class GoogleToken:
    """Returns an access token until it expires; raises google-auth's exceptions."""

    def __init__(self) -> None:
        self._credentials: Any = None
        self._lock = threading.Lock()

    def __call__(self) -> str:
        """Return a valid token."""
        import google.auth
        from google.auth.transport.requests import Request

        with self._lock:
            if self._credentials is None:
                self._credentials, _ = google.auth.default(scopes=[SCOPE])
            if not self._credentials.valid:
                self._credentials.refresh(Request())
            return str(self._credentials.token)


def login_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of google-auth; nothing if it isn't loaded."""
    kind = getattr(sys.modules.get(_ERRORS), "GoogleAuthError", None)
    return () if kind is None else (kind,)


def login_failure(error: Exception, failing: CallErrorFactory) -> ProviderError | None:
    """Return the failure that an exception of google-auth means; None for any other."""
    if not isinstance(error, login_errors()):
        return None
    from google.auth import exceptions as auth

    name = type(error).__name__
    if isinstance(error, auth.DefaultCredentialsError):
        return failing.final("No credentials", LOGIN)
    if isinstance(error, auth.TransportError):
        # Fetching credentials precedes the call.
        return failing.not_sent(f"No credentials received ({name})", LOGIN)
    kind = failing.not_sent if error.retryable else failing.final  # type: ignore[attr-defined]
    return kind(f"the credentials don't work ({name})", LOGIN)
