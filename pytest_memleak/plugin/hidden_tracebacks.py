"""Errors of a pair's test without tracebacks, whose lines and locals may quote books.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from pytest_memleak.errors import MemleakError
from pytest_memleak.plugin.collect_suites import (
    PairInconclusive,
)
from pytest_memleak.plugin.internal_errors import internal_error_text
from pytest_memleak.plugin.redacted_tests import redaction_key

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def hiding_tracebacks(config: pytest.Config) -> Iterator[None]:
    """Report errors without a traceback, whose lines and locals may quote books."""
    redaction = config.stash.get(redaction_key, None)
    try:
        with redaction.shortening_output() if redaction else contextlib.nullcontext():
            yield
    except (Exception, pytest.skip.Exception, pytest.xfail.Exception) as error:  # noqa: BLE001
        # Its frames may hold protected text. A provider that skips leaves no evidence
        # either.
        if interrupt := _interrupt_behind(error):
            raise interrupt from None
        if isinstance(error, MemleakError):
            raise PairInconclusive(str(error)) from None
        raise PairInconclusive(internal_error_text(error, config)) from None


def _interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """Return the Ctrl-C that an error came from; SQLAlchemy's commit hides it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error
