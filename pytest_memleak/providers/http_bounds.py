"""Bounds on what a server may send: how much, how long, and from where.

    client = DefaultHttpxClient(event_hooks=Bounds(timeout=300).hooks)

Hooks for an HTTP client of httpx's kind (whichever of its versions an SDK rides on): an answer
is read up to a size and a time, an error's body is cut off, and a redirect to another host is
not followed, since the request carries key and texts.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pytest_memleak.providers.failures import Astray

__all__ = ["Bounds", "Endless"]

_MEGABYTE = 1_000_000
_LONGEST_ERROR = 64_000
_BEGAN = "memleak_began"


class Endless(ValueError):
    """An answer that is longer than any that was asked for can be."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """timeout: seconds that an answer as a whole may take, from the request on.

    most: bytes of an answer. A file (a path that ends with "/content") may be longer, and take
    as long as it takes.
    """

    timeout: float
    most: int = 16 * _MEGABYTE
    most_of_a_file: int = 4000 * _MEGABYTE

    @property
    def hooks(self) -> dict[str, list[Callable[[Any], None]]]:
        """The client's `event_hooks`."""
        return {"request": [self._asked], "response": [self._answered]}

    def _asked(self, request: Any) -> None:
        # A few kilobytes that are packed well are gigabytes: nothing packed is asked for.
        request.headers["accept-encoding"] = "identity"
        request.extensions = {**request.extensions, _BEGAN: time.monotonic()}

    def _answered(self, response: Any) -> None:
        request = response.request
        if response.has_redirect_location:
            try:
                there = request.url.join(response.headers["location"])
            except Exception:  # noqa: BLE001 - each version of the library has errors of its own
                raise Astray("the server redirects to what is no address") from None
            if (there.scheme, there.host, there.port) != (
                request.url.scheme,
                request.url.host,
                request.url.port,
            ):
                place = there.host[:100] or f"{there.scheme[:20]}:"
                raise Astray(f"the server redirects to another one ({place})")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise Endless("packed, though nobody asked for it")
        until = request.extensions.get(_BEGAN, time.monotonic()) + self.timeout
        if response.is_error:
            pieces = _up_to(_cut_off(response.stream, _LONGEST_ERROR), self.most, until)
        elif request.url.path.endswith("/content"):
            pieces = _up_to(response.stream, self.most_of_a_file, None)
        else:
            pieces = _up_to(response.stream, self.most, until)
        response.stream = _stream(type(response.stream), response.stream, pieces)


def _cut_off(stream: Any, most: int) -> Iterator[bytes]:
    left = most
    for piece in stream:
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return


def _up_to(stream: Any, most: int, deadline: float | None) -> Iterator[bytes]:
    left = most
    for piece in stream:
        left -= len(piece)
        if left < 0:
            raise Endless(f"longer than {most} bytes")
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError
        yield piece


def _stream(kind: type[Any], stream: Any, pieces: Iterator[bytes]) -> Any:
    """The pieces as a stream of the library's own kind; closing it closes the one below."""
    return _bounded(next(one for one in kind.__mro__ if one.__name__ == "SyncByteStream"))(
        stream, pieces
    )


@functools.cache
def _bounded(library_kind: type[Any]) -> Any:
    class Bounded(library_kind):  # type: ignore[misc]
        def __init__(self, stream: Any, pieces: Iterator[bytes]) -> None:
            self._stream = stream
            self._pieces = pieces

        def __iter__(self) -> Iterator[bytes]:
            return self._pieces

        def close(self) -> None:
            self._stream.close()

    return Bounded
