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
    """Let handlers have log records without passwords and with few words.

    Whatever made or changed a record, this comes last before any handler.

    most_words: returns how many words a record may have, None for all
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


_STANDARD = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}
# Where a server's API begins.
_BASE_URL = re.compile(r"[a-z]+://[^/\s]*(?:/(?:api|v\d))*/?")


def _redact(record: logging.LogRecord, most_words: Callable[[], int | None]) -> None:
    message: str | None = None
    trace = ""
    with contextlib.suppress(Exception):  # logging reports invalid formats itself
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)
        message = record.getMessage()
    # Formatting may have read text, which changes the number of words allowed.
    most = most_words()
    if most is None and message is None:
        return
    _redact_message(record, str(record.msg) if message is None else message, most)
    if most is not None:
        record.exc_info = record.exc_text = record.stack_info = None
        _redact_extra(record)
    elif record.exc_info:
        record.exc_text = without_passwords(trace)
        record.exc_info = record.exc_info if record.exc_text == trace else None


def _redact_message(
    record: logging.LogRecord,
    message: str,
    most: int | None,
) -> None:
    plain = _plain_message(message, most)
    if plain == message:
        return
    match record.args:
        case (
            str() as method,
            address,
            str() as version,
            int() as status,
            str() as phrase,
        ):
            # tinker_client reads the arguments of httpx's records.
            url = without_credentials(str(address))
            record.args = (method, url, version, status, phrase)
            if most is not None:
                _redact_request(record, method, url, status)
        case _:
            record.msg = plain
            record.args = None


def _plain_message(message: str, most: int | None) -> str:
    if most is None:
        return without_passwords(message)
    return first_words(masked(message), most) if most else "redacted"


def _redact_request(
    record: logging.LogRecord,
    method: str,
    url: str,
    status: int,
) -> None:
    """Leave out of httpx's record what could carry words: a server chooses them."""
    base = _BASE_URL.match(url)
    record.msg = 'HTTP Request: %s %s "%s %d %s"'
    record.args = (
        method if method in [*HTTPMethod] else "?",
        base[0] if base else "?",
        "HTTP",
        status,
        responses.get(status, "unknown status"),
    )


def _redact_extra(record: logging.LogRecord) -> None:
    """Redact the fields of `extra`, which formatters may need, but for numbers."""
    for name in vars(record).keys() - _STANDARD:
        if not isinstance(getattr(record, name), int | float | None):
            setattr(record, name, "redacted")
