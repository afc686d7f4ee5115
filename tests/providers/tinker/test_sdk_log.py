"""What the SDK of Tinker says to a log, overheard without making anybody's log longer."""

import logging
import time

import pytest

from pytest_memleak.providers.tinker.tinker_client import SdkLog

URL = "https://server/api/v1/asample"


@pytest.fixture(autouse=True)
def _loggers_as_they_were():
    loggers = [logging.getLogger(name) for name in ("httpx", "tinker")]
    before = [(one, one.level, list(one.filters), list(one.handlers)) for one in loggers]
    for one in loggers:
        one.setLevel(logging.NOTSET)
        one.filters.clear()
    yield
    for one, level, filters, handlers in before:
        one.setLevel(level)
        one.filters[:], one.handlers[:] = filters, handlers


@pytest.fixture
def log():
    listening = SdkLog()
    listening.listen()
    return listening


def answered(status, phrase, url=URL):
    """As the HTTP library logs it."""
    logging.getLogger("httpx").info(
        'HTTP Request: %s %s "%s %d %s"', "POST", url, "HTTP/1.1", status, phrase
    )


def test_the_latest_refusal_and_warning_are_kept(log):
    began = time.monotonic()
    assert log.refusal_since(began) is None
    answered(500, "Internal Server Error")
    answered(429, "Too Many Requests")
    answered(200, "OK")
    logging.getLogger("tinker.lib").warning("paused: %s", "billing")
    logging.getLogger("tinker.lib").info("all is well")
    assert log.refusal_since(began) == "429 Too Many Requests"
    assert log.warning_since(began) == "paused: billing"
    assert log.refusal_since(time.monotonic()) is log.warning_since(time.monotonic()) is None


def test_other_servers_are_not_listened_to(log):
    answered(429, "Too Many Requests", "https://elsewhere/v1/chat/completions")
    assert log.refusal_since(0) is None


def test_nobody_gets_to_see_more_than_before_unless_they_want_to(log, caplog):
    answered(429, "Too Many Requests")
    assert caplog.records == []
    logging.getLogger("httpx").warning("something else")
    assert [record.getMessage() for record in caplog.records] == ["something else"]
    with caplog.at_level(logging.INFO):
        answered(429, "Too Many Requests")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert log.refusal_since(0) == "429 Too Many Requests"


def test_a_level_of_the_librarys_own_is_respected(caplog):
    logging.getLogger("httpx").setLevel(logging.ERROR)
    listening = SdkLog()
    listening.listen()
    listening.listen()
    with caplog.at_level(logging.DEBUG):
        answered(429, "Too Many Requests")
        logging.getLogger("httpx").warning("something else")
    assert caplog.records == []
    assert listening.refusal_since(0) == "429 Too Many Requests"
