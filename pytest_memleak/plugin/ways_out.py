"""The ways out of a pair's test: all that it could tell is cleaned before anybody is told.

PYTEST_DONT_REWRITE

Whatever a test raises, skips with, warns of, logs, prints or records goes through `withholding`
before pytest, or any other plugin, tells it: every part of a report, and the exception behind it.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.plugin.withholding import quoted_words, withholding_of
from pytest_memleak.redaction.credentials import masked, without_credentials, without_passwords

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from warnings import WarningMessage

__all__ = ["WaysOut", "logs_without_passwords"]

_SDK = "tinker"  # its clients read what it warns of
_LONGEST_WARNING = 1_000  # characters


class WaysOut:
    """What pytest and other plugins would tell, cleaned before they are told."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._items: dict[str, pytest.Item] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """While a test of a pair runs, log records are made without their text."""
        self._items[item.nodeid] = item
        withholding = withholding_of(item)
        if withholding is None:
            return (yield)
        try:
            with _logs_withheld(quoted_words(self._config) or 0):
                return (yield)
        except (pytest.exit.Exception, KeyboardInterrupt) as error:
            raise withholding.stop(error) from None
        finally:
            for name in ("shouldstop", "shouldfail"):
                reason = getattr(item.session, name)
                if isinstance(reason, str):
                    setattr(item.session, name, withholding.text(reason))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        """What a fixture raises, at once or when it ends, some tell before there is a report."""
        item = getattr(request, "_pyfuncitem", None)
        withholding = item and withholding_of(item)
        if not withholding:
            return (yield)
        with withholding.raising():
            result = yield
        finalizers = getattr(fixturedef, "_finalizers", [])
        finalizers[:] = [withholding.raising()(one) for one in finalizers]
        return result

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, Any, Any]:
        """The innermost: no other plugin has seen report or exception yet."""
        report = yield
        if withholding := withholding_of(item):
            withholding.report(report, call.excinfo and call.excinfo.value)
            withholding.call(call)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, Any, Any]:
        """The outermost: what others have added to the report, and the reports of subtests."""
        item = self._items.get(report.nodeid)
        if item is not None and (withholding := withholding_of(item)):
            withholding.report(report)
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: WarningMessage, nodeid: str) -> None:
        """A warning's message, too."""
        item = self._items.get(nodeid)
        if item is not None and (withholding := withholding_of(item)):
            warning_message.message = withholding.warning(warning_message.message)


def _first_words(text: str, most: int) -> str:
    words = text.split()
    return " ".join(words[:most]) + (" …" if len(words) > most else "")


@contextlib.contextmanager
def logs_without_passwords() -> Iterator[None]:
    """Whatever may be quoted, no password: HTTP libraries log the addresses that they ask."""
    usual = logging.getLogRecordFactory()

    def without(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = usual(*args, **kwargs)
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a message that cannot be formatted is its author's matter
            return record
        cleaned = without_passwords(message)
        match record.args:
            case _ if cleaned == message:
                pass
            case (str() as method, address, str() as version, int() as status, str() as phrase):
                # Clients read what httpx logs, by its arguments.
                plain = without_credentials(str(address))
                record.args = (method, plain, version, status, phrase)
            case _:
                record.msg, record.args = cleaned, None
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)
            record.exc_text = without_passwords(trace)
            record.exc_info = record.exc_info if record.exc_text == trace else None
        return record

    logging.setLogRecordFactory(without)
    try:
        yield
    finally:
        logging.setLogRecordFactory(usual)


@contextlib.contextmanager
def _logs_withheld(most: int) -> Iterator[None]:
    """Records without text: handlers that write them at once are nobody's to stop afterwards.

    Of what Tinker's SDK warns of, why it waits for one, the first `most` words are kept.
    """
    usual = logging.getLogRecordFactory()

    def without_text(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = usual(*args, **kwargs)
        match record.name, record.args:
            case "httpx", (str(), _, str(), int(), str()):
                return record  # method, address and status: no text, and clients read it
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a message that cannot be formatted is its author's matter
            message = str(record.msg)
        if record.name.partition(".")[0] == _SDK and record.levelno >= logging.WARNING and most:
            record.msg = _first_words(masked(message[:_LONGEST_WARNING]), most)
        else:
            record.msg = f"{len(message):,} characters withheld, since they may quote the book"
        record.args = record.exc_info = record.exc_text = record.stack_info = None
        return record

    logging.setLogRecordFactory(without_text)
    try:
        yield
    finally:
        logging.setLogRecordFactory(usual)
