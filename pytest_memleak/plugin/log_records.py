"""Log records without passwords and, while text is about, without most of their words.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from pytest_memleak.redaction.credentials import masked, without_credentials, without_passwords
from pytest_memleak.redaction.text import first_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def safe_log_records(most_words: Callable[[], int | None]) -> Iterator[None]:
    """Make log records whose messages have no password, and at most so many words (None: all)."""
    usual = logging.getLogRecordFactory()

    def safe(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = usual(*args, **kwargs)
        message, trace = None, ""
        # Formatting may read text, and so say how many words there may be.
        with contextlib.suppress(Exception):  # what cannot be formatted is its author's matter
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
                # Clients read what httpx logs, by its arguments.
                url = without_credentials(str(address))
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
