"""Errors: as drawn, as shown, and as they travel between processes."""

import copy
import pickle

import pytest

from pytest_memleak import errors
from pytest_memleak.errors import (
    BookError,
    MemleakError,
    MissingExtra,
    ProviderBusy,
    ProviderError,
    UnknownExcerpt,
)

CLASSES = [getattr(errors, name) for name in errors.__all__]
NAMED = {"provider": "openai", "endpoint": "ft:x", "call": "sample"}
PLACE, HINT = "books/x.epub, chapter 2", "put it back"


def make(kind):
    """An error of that kind, with everything it can carry."""
    if kind is MissingExtra:
        return kind("openai", package="openai", extra="openai")
    if issubclass(kind, ProviderError):
        extra = {"retry_after": 2.5, "in_doubt": True} if kind is ProviderBusy else {}
        return kind("503 overloaded", **NAMED, hint=HINT, **extra)
    if kind is UnknownExcerpt:
        return kind("p_id1", book_id="book", location=PLACE, hint=HINT)
    return kind("the file is empty", location=PLACE, hint=HINT)


ALL = [make(kind) for kind in CLASSES]


@pytest.mark.parametrize(("place", "hint", "shown"), [
    (None, None, "it is empty"), ("b.json", None, "b.json: it is empty"),
    ("b.json", "fill it", "b.json: it is empty\n  fill it"),
])  # fmt: skip
def test_place_and_hint_stand_around_the_message(place, hint, shown):
    error = BookError("it is empty", location=place, hint=hint)
    assert str(error) == shown
    assert error.line == shown.replace("\n  ", "; ")
    assert error.args == ("it is empty",)


def test_a_line_is_a_line_and_holds_everything():
    error = BookError("one\n  two\nthree\u2028four", hint="five\r\nsix")
    assert error.line == "one; two; three\\u2028four; five\\r; six"
    for error in ALL:
        assert error.message in error.line
        assert error.hint in error.line
        assert len(error.line.splitlines()) == 1


def test_control_characters_are_escaped_wherever_they_stand():
    error = BookError("a \x1b[2J", location="b\x07.json", hint="c \u202e")
    error.hint = f"{error.hint} \x9b"
    assert str(error) == "b\\x07.json: a \\x1b[2J\n  c \\u202e \\x9b"
    assert error.args == ("a \\x1b[2J",)


def test_a_providers_error_names_provider_endpoint_call_and_cause():
    error = make(ProviderError)
    assert (
        str(error) == f"openai endpoint ft:x: sample failed: 503 overloaded\n  {HINT}"
    )
    assert (error.provider, error.endpoint, error.call) == ("openai", "ft:x", "sample")
    assert error.cause == "503 overloaded"
    # When to come back, and whether the call may have been billed.
    assert make(ProviderBusy).retry_after == 2.5
    assert ProviderBusy("503", **NAMED).retry_after is None
    assert ProviderError("400", **NAMED).in_doubt is False
    assert ProviderBusy("503", **NAMED).in_doubt is None
    assert ProviderBusy("503", **NAMED).line.endswith(" 503; rerun later")
    assert ProviderError("400", **NAMED).line.endswith(", and the server's log")


class Own(MemleakError):
    """As somebody else may define it."""


@pytest.mark.parametrize("kind", [*CLASSES, Own])
def test_an_error_survives_pickling_and_copying(
    kind,
):
    error = make(kind)
    error.hint = "added later"
    error.add_note("seen by worker 3")
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    pickled = [pickle.loads(pickle.dumps(error, protocol)) for protocol in protocols]
    for again in (*pickled, copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert vars(again) == vars(error)
        assert (str(again), again.line, again.args) == (
            str(error),
            error.line,
            error.args,
        )
