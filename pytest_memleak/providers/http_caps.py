"""Bounds on what a server may send: how much, how long, and from where.

    client = DefaultHttpxClient(event_hooks=Bounds(timeout=300).hooks)

Hooks for an HTTP client of httpx's kind (whichever of its versions an SDK rides on): an answer
is read up to a size and a time, an error's body is cut off, and a redirect to another host is
not followed, since the request carries key and texts.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from pytest_memleak.providers.call_errors import Astray
from pytest_memleak.redaction.text import server_word

_MEGABYTE = 1_000_000
_LONGEST_ERROR = 64_000
_BEGAN = "memleak_began"
_STREAMS = {"SyncByteStream", "AsyncByteStream"}


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
        """The `event_hooks` of a client."""
        return {"request": [self._asked], "response": [self._answered]}

    @property
    def async_hooks(self) -> dict[str, list[Callable[[Any], Coroutine[Any, Any, None]]]]:
        """The `event_hooks` of an asynchronous client."""

        async def asked(request: Any) -> None:
            self._asked(request)

        async def answered(response: Any) -> None:
            self._answered(response)

        return {"request": [asked], "response": [answered]}

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
                raise Astray("the server redirects to an invalid address") from None
            if (there.scheme, there.host, there.port) != (
                request.url.scheme,
                request.url.host,
                request.url.port,
            ):
                place = server_word(there.host or f"{there.scheme}:")
                raise Astray(f"the server redirects to another server ({place})")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise Endless("compressed, which the request doesn't allow")
        until = request.extensions.get(_BEGAN, time.monotonic()) + self.timeout
        if response.is_error:
            allowed = _Allowed(_LONGEST_ERROR, until, cut_off=True)
        elif request.url.path.endswith("/content"):
            allowed = _Allowed(self.most_of_a_file, None)
        else:
            allowed = _Allowed(self.most, until)
        stream = response.stream
        response.stream = _bounded(_library_kind(type(stream)))(stream, allowed)


@dataclass(slots=True)
class _Allowed:
    """What of a body may still be read: `most` bytes in all, until that moment.

    cut_off: whether what is longer ends there; it is an error else.
    """

    most: int
    until: float | None
    cut_off: bool = False
    taken: int = 0

    def take(self, piece: bytes) -> bytes:
        """What is taken of the next piece; raises Endless or TimeoutError."""
        if self.until is not None and time.monotonic() > self.until:
            raise TimeoutError
        kept = piece[: self.most - self.taken]
        if len(kept) < len(piece) and not self.cut_off:
            raise Endless(f"longer than {self.most} bytes")
        self.taken += len(kept)
        return kept

    @property
    def used_up(self) -> bool:
        return self.cut_off and self.taken >= self.most


def _library_kind(kind: type[Any]) -> Any:
    """What the HTTP library wants a stream to be, of whichever version it is."""
    return next(base for base in kind.__mro__ if base.__name__ in _STREAMS)


@functools.cache
def _bounded(library_kind: type[Any]) -> Any:
    class Bounded(library_kind):  # type: ignore[misc]
        """As much of a stream as is allowed; closing it closes the stream."""

        def __init__(self, stream: Any, allowed: _Allowed) -> None:
            self._stream = stream
            self._allowed = allowed

        def __iter__(self) -> Iterator[bytes]:
            for piece in self._stream:
                yield self._allowed.take(piece)
                if self._allowed.used_up:
                    return

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for piece in self._stream:
                yield self._allowed.take(piece)
                if self._allowed.used_up:
                    return

        def close(self) -> None:
            self._stream.close()

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Bounded
