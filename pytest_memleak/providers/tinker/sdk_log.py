"""What Tinker's SDK tells nobody but a log: why it waits, and after what it asks again.

    SDK_LOG.listen()
    SDK_LOG.warning_since(began)     # capacity, billing
    SDK_LOG.refusal_since(began)     # "429 Too Many Requests"

One log for all clients of a process, since the SDK has but one.
"""

from __future__ import annotations

import logging
import time
from http import HTTPStatus

_SDK = "tinker"
_HTTP = "httpx"
_PATH = "/api/v1/"


class SdkLog:
    """The latest warning and the latest HTTP error, each with its time."""

    def __init__(self) -> None:
        self._warning: tuple[float, str] | None = None
        self._refusal: tuple[float, str] | None = None
        self._warnings = _Warnings(self)
        self._answers = _Answers(self)

    def listen(self) -> None:
        """Begin to listen; once is enough."""
        logging.getLogger(_SDK).addHandler(self._warnings)
        self._answers.listen()

    def warned(self, message: str) -> None:
        """Note a warning of the SDK."""
        self._warning = time.monotonic(), message

    def refused(self, status: str) -> None:
        """Note an answer with an HTTP error."""
        self._refusal = time.monotonic(), status

    def warning_since(self, moment: float) -> str | None:
        """The latest warning, unless it is older than `moment` (time.monotonic)."""
        return self._warning[1] if self._warning and self._warning[0] >= moment else None

    def refusal_since(self, moment: float) -> str | None:
        """The status of the latest HTTP error, unless it is older than `moment`."""
        return self._refusal[1] if self._refusal and self._refusal[0] >= moment else None


class _Warnings(logging.Handler):
    def __init__(self, log: SdkLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self._log.warned(record.getMessage())


class _Answers(logging.Filter):
    """The HTTP library logs every answer as information. Nobody gets to see more of that."""

    def __init__(self, log: SdkLog) -> None:
        super().__init__()
        self._log = log
        self._level = logging.NOTSET

    def listen(self) -> None:
        """Have the library log what it would not, for us alone."""
        library = logging.getLogger(_HTTP)
        if self in library.filters:
            return
        self._level = library.level
        library.addFilter(self)
        if not library.isEnabledFor(logging.INFO):
            library.setLevel(logging.INFO)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the status of an error; whether the record would have been made without us."""
        match record.args:
            case (_, url, _, int(status), phrase) if (
                status >= HTTPStatus.BAD_REQUEST and _PATH in str(url)
            ):
                self._log.refused(f"{status} {phrase}")
        return record.levelno >= (self._level or logging.getLogger().getEffectiveLevel())


SDK_LOG = SdkLog()
