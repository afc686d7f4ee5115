"""Caps on a server's responses: their size, time, and host.

    client = DefaultHttpxClient(event_hooks=Bounds(timeout=300).hooks)

Hooks for an HTTP client like httpx, in any version: a response is read up to a size and
a time, an error's body is truncated, and a redirect to another host isn't followed,
since the request has key and texts; nor is one in a circle.
"""

from __future__ import annotations

import functools
import time
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pytest_memleak.providers.call_errors import CompressedResponse, UnfollowedRedirect
from pytest_memleak.redaction.text import server_word

_LONGEST_ERROR = 64_000  # bytes
_LONGEST_ANSWER = 16_000_000
_LONGEST_FILE = 4_000_000_000
_MOST_REDIRECTS = 2
_GZIP = {"gzip", "x-gzip", "deflate"}
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # as its header says
_PART = 65_536  # bytes
# Of a request and its redirects: when it began, and how often it was sent.
_BEGAN, _SENT = "memleak_began", "memleak_sent"
_STREAMS = {"SyncByteStream", "AsyncByteStream"}


class ResponseTooLong(ValueError):
    """A response longer than any valid one."""


@dataclass(frozen=True, slots=True)
class ResponseCaps:
    """The caps on one client's responses.

    timeout: the longest time from the request to the end of the response, in seconds;
        none for a file (a path that ends with "/content")
    uploads: ends of paths whose redirect the client itself follows, without the key
    """

    timeout: float
    uploads: tuple[str, ...] = ()

    @property
    def hooks(self) -> dict[str, list[Callable[[Any], None]]]:
        """The `event_hooks` of a client."""
        return {
            "request": [self._forbid_compression_and_note_start],
            "response": [self._cap_response],
        }

    @property
    def async_hooks(
        self,
    ) -> dict[str, list[Callable[[Any], Coroutine[Any, Any, None]]]]:
        """The `event_hooks` of an asynchronous client."""

        async def asked(request: Any) -> None:
            self._forbid_compression_and_note_start(request)

        async def answered(response: Any) -> None:
            self._cap_response(response)

        return {"request": [asked], "response": [answered]}

    def _forbid_compression_and_note_start(self, request: Any) -> None:
        # A few compressed kilobytes can be gigabytes.
        request.headers["accept-encoding"] = "identity"
        sent = request.extensions.get(_SENT, 0) + 1
        request.extensions = {
            _BEGAN: time.monotonic(),
            **request.extensions,
            _SENT: sent,
        }

    def _cap_response(self, response: Any) -> None:
        request = response.request
        is_upload = request.url.path.endswith(self.uploads)
        if response.has_redirect_location and not is_upload:
            _validate_redirect(request, response.headers["location"])
        encoding = response.headers.get("content-encoding", "identity").lower().strip()
        allowed = self._allowed(response)
        if encoding in _GZIP:
            allowed.expand = _BodyDecompressor()
            # Else the library would expand it, a bomb as a whole.
            del response.headers["content-encoding"]
        elif encoding not in {"", "identity"}:
            raise CompressedResponse(encoding)
        stream = response.stream
        kind: Any = type(stream)
        response.stream = _capped_stream_class(kind)(stream, allowed)

    def _allowed(self, response: Any) -> _BodyAllowance:
        """Return how much of a body may be read."""
        request = response.request
        began = request.extensions.get(_BEGAN, time.monotonic())
        until = began + self.timeout
        if response.is_error:
            return _BodyAllowance(_LONGEST_ERROR, until, cut_off=True)
        if request.url.path.endswith("/content"):
            return _BodyAllowance(_LONGEST_FILE, None)
        return _BodyAllowance(_LONGEST_ANSWER, until)


def _validate_redirect(request: Any, location: str) -> None:
    """Raise UnfollowedRedirect for a redirect that isn't followed."""
    if request.extensions.get(_SENT, 1) > _MOST_REDIRECTS:
        raise UnfollowedRedirect("the server redirects in a circle")
    here = request.url
    try:
        there = here.join(location)
    except Exception:  # noqa: BLE001 - each version of the library has its own errors
        raise UnfollowedRedirect("the server redirects to an invalid address") from None
    is_here = (
        there.scheme == here.scheme
        and there.host == here.host
        and there.port == here.port
    )
    if not is_here:
        address = f"{there.scheme}:"
        if there.host:
            address += f"//{there.netloc.decode()}"
        place = server_word(address)
        raise UnfollowedRedirect(
            f"the server redirects to a different server ({place})"
        )


@dataclass(slots=True)
class _BodyAllowance:
    """The part of a body that may still be read: `most` bytes in all, until a time.

    cut_off: whether a longer body is truncated; else it is an error
    expand: makes the parts of a piece
    """

    most: int
    until: float | None
    cut_off: bool = False
    taken: int = 0
    expand: Callable[[bytes], Iterator[bytes]] = lambda piece: iter((piece,))

    def parts(self, piece: bytes) -> Iterator[bytes]:
        """Yield the allowed parts of a piece; raise ResponseTooLong or TimeoutError."""
        for part in self.expand(piece):
            yield self._take_up_to_cap(part)
            if self.used_up:
                return

    def parts_of_all(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the allowed parts of a whole body."""
        for piece in pieces:
            yield from self.parts(piece)
            if self.used_up:
                return

    def _take_up_to_cap(self, piece: bytes) -> bytes:
        if self.until is not None and time.monotonic() > self.until:
            raise TimeoutError
        kept = piece[: self.most - self.taken]
        if len(kept) < len(piece) and not self.cut_off:
            raise ResponseTooLong(f"longer than {self.most} bytes")
        self.taken += len(kept)
        return kept

    @property
    def used_up(self) -> bool:
        return self.cut_off and self.taken >= self.most


class _BodyDecompressor:
    """Expands a compressed body piece by piece, each part of a limited size."""

    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(_GZIP_OR_ZLIB)

    def __call__(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            try:
                part = self._decompressor.decompress(piece, _PART)
            except zlib.error:
                raise CompressedResponse("damaged") from None
            yield part
            piece = self._decompressor.unconsumed_tail


@functools.cache
def _capped_stream_class(kind: type[Any]) -> Any:
    # The HTTP library's own class, in any version.
    library_kind: Any = next(base for base in kind.__mro__ if base.__name__ in _STREAMS)

    class Bounded(library_kind):  # type: ignore[misc]
        """The allowed part of a stream; closing it closes the stream."""

        def __init__(self, stream: Any, allowed: _BodyAllowance) -> None:
            self._stream = stream
            self._allowed = allowed

        def __iter__(self) -> Iterator[bytes]:
            yield from self._allowed.parts_of_all(self._stream)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for piece in self._stream:
                for part in self._allowed.parts(piece):
                    yield part
                if self._allowed.used_up:
                    return

        def close(self) -> None:
            self._stream.close()

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Bounded
