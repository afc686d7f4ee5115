"""Google's credentials, as any of its libraries finds them, for whoever sends their tokens.

    token = GoogleToken()
    token()                                # an access token that is good for a while yet

`gcloud auth application-default login`, GOOGLE_APPLICATION_CREDENTIALS, or the machine's own
account. google-auth comes with the extra `vertex`, and is imported at the first token.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from pytest_memleak.errors import ProviderError
from pytest_memleak.providers.call_errors import Failing

LOGIN = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_ERRORS = "google.auth.exceptions"


class GoogleToken:
    """Gives access tokens: the same one until it runs out. Raises google-auth's exceptions."""

    def __init__(self) -> None:
        self._credentials: Any = None
        self._lock = threading.Lock()

    def __call__(self) -> str:
        """The token that is good now."""
        import google.auth
        from google.auth.transport.requests import Request

        with self._lock:
            if self._credentials is None:
                self._credentials, _ = google.auth.default(scopes=[SCOPE])
            if not self._credentials.valid:
                self._credentials.refresh(Request())
            return str(self._credentials.token)


def login_errors() -> tuple[type[Exception], ...]:
    """What google-auth raises; nothing where it is not loaded, and so raised none."""
    kind = getattr(sys.modules.get(_ERRORS), "GoogleAuthError", None)
    return () if kind is None else (kind,)


def login_failure(error: Exception, failing: Failing) -> ProviderError | None:
    """What an exception of google-auth's means; None for any other."""
    if not isinstance(error, login_errors()):
        return None
    from google.auth import exceptions as auth

    name = type(error).__name__
    if isinstance(error, auth.DefaultCredentialsError):
        return failing.final("No credentials", LOGIN)
    if isinstance(error, auth.TransportError):
        # What fetches the credentials, before anything is asked.
        return failing.not_sent(f"No credentials received ({name})", LOGIN)
    kind = failing.not_sent if error.retryable else failing.final  # type: ignore[attr-defined]
    return kind(f"the credentials don't work ({name})", LOGIN)
