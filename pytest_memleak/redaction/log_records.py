"""Log records without passwords and with a limited number of words."""

from __future__ import annotations

import contextlib
import logging
import re
from http import HTTPMethod, HTTPStatus
from typing import TYPE_CHECKING, Any

from pytest_memleak.redaction.credentials import masked, without_credentials, without_passwords
from pytest_memleak.redaction.text import first_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def safe_log_records(most_words: Callable[[], int | None]) -> Iterator[None]:
    """Make log records without passwords and with at most `most_words()` words (None: all)."""
    usual = logging.getLogRecordFactory()

    def safe(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = usual(*args, **kwargs)
        message, trace = None, ""
        # Formatting may read text, which changes the number of words allowed.
        with contextlib.suppress(Exception):  # logging reports invalid formats itself
            trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
            message = record.getMessage()
        most = most_words()
        if most is None and message is None:
            return record
        message = str(record.msg) if message is None else message
        if most is None:
            plain = without_passwords(message)
        else:
            plain = first_words(masked(message), most) if most else "redacted"
        match record.args:
            case _ if plain == message:
                pass
            case (str() as method, address, str() as version, int() as status, str() as phrase):
                # Clients read the arguments of httpx's records.
                url = without_credentials(str(address))
                if most is not None:
                    record.msg, url = _HTTP_RECORD, _base_of(url)
                    method = method if method in [*HTTPMethod] else "?"
                    version, phrase = "HTTP", _phrase_of(status)
                record.args = (method, url, version, status, phrase)
            case _:
                record.msg, record.args = plain, None
        if most is not None:
            record.exc_info = record.exc_text = record.stack_info = None
        elif record.exc_info:
            record.exc_text = without_passwords(trace)
            record.exc_info = record.exc_info if record.exc_text == trace else None
        return record

    logging.setLogRecordFactory(safe)
    try:
        yield
    finally:
        logging.setLogRecordFactory(usual)


_HTTP_RECORD = 'HTTP Request: %s %s "%s %d %s"'
_BASE_URL = re.compile(r"[a-z]+://[^/\s]*(?:/(?:api|v\d))*/?")


def _phrase_of(status: int) -> str:
    """Return the standard's phrase; the server's own could carry words."""
    return next((member.phrase for member in HTTPStatus if member == status), "unknown status")


def _base_of(url: str) -> str:
    """Return where a server's API begins; the rest of a path could carry words."""
    base = _BASE_URL.match(url)
    return base[0] if base else "?"
