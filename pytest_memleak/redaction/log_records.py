"""Log records without passwords and with a limited number of words."""

from __future__ import annotations

import contextlib
import logging
import re
from http import HTTPMethod
from http.client import responses
from typing import TYPE_CHECKING

from pytest_memleak.redaction.credentials import (
    masked,
    without_credentials,
    without_passwords,
)
from pytest_memleak.redaction.text import first_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def safe_log_records(most_words: Callable[[], int | None]) -> Iterator[None]:
    """Let handlers have log records without passwords, of at most `most_words()` words (None: all).

    Whatever made or changed a record, this comes last before any handler.
    """
    usual = logging.Logger.callHandlers

    def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
        _redact(record, most_words)
        usual(logger, record)

    logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        logging.Logger.callHandlers = usual  # type: ignore[method-assign]


def _redact(record: logging.LogRecord, most_words: Callable[[], int | None]) -> None:
    message, trace = None, ""
    # Formatting may read text, which changes the number of words allowed.
    with contextlib.suppress(Exception):  # logging reports invalid formats itself
        trace = (
            logging.Formatter().formatException(record.exc_info)
            if record.exc_info
            else ""
        )
        message = record.getMessage()
    most = most_words()
    if most is None and message is None:
        return
    message = str(record.msg) if message is None else message
    if most is None:
        plain = without_passwords(message)
    else:
        plain = first_words(masked(message), most) if most else "redacted"
    match record.args:
        case _ if plain == message:
            pass
        case (
            str() as method,
            address,
            str() as version,
            int() as status,
            str() as phrase,
        ):
            # tinker_client reads the arguments of httpx's records.
            url = without_credentials(str(address))
            if (
                most is not None
            ):  # path and phrase, which a server chooses, could carry words
                record.msg = 'HTTP Request: %s %s "%s %d %s"'
                method = method if method in [*HTTPMethod] else "?"
                base = _BASE_URL.match(url)
                url, version = base[0] if base else "?", "HTTP"
                phrase = responses.get(status, "unknown status")
            record.args = (method, url, version, status, phrase)
        case _:
            record.msg, record.args = plain, None
    if most is not None:
        record.exc_info = record.exc_text = record.stack_info = None
        for name in (
            vars(record).keys() - _STANDARD
        ):  # of `extra`, which formatters may need
            if not isinstance(getattr(record, name), int | float | None):
                setattr(record, name, "redacted")
    elif record.exc_info:
        record.exc_text = without_passwords(trace)
        record.exc_info = record.exc_info if record.exc_text == trace else None


_STANDARD = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}
_BASE_URL = re.compile(
    r"[a-z]+://[^/\s]*(?:/(?:api|v\d))*/?"
)  # where a server's API begins
