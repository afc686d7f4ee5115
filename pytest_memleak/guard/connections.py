"""The connections of a server: how many an address may have, and for how long idle."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pytest_memleak.guard.json_errors import RequestHandler, error_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler, Middleware

CONNECTIONS = 512
"""The most open connections of one address, by default."""

_FIRST = 8.0  # seconds until the head of the first request is there
_NEXT = 30.0  # seconds until the head of the next one is
_TOO_MANY = json.dumps(error_body("too many connections of this address")).encode()
_TOO_MANY_HEAD = (
    "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(_TOO_MANY)}\r\n\r\n"
).encode()
# lingering_time: seconds for the rest of a request that was answered already
_SETTINGS: dict[str, Any] = {"access_log": None, "lingering_time": 1.0}


class Connections:
    """The open connections of an application's server.

    One without a request, or with half the head of one, is closed: after 8 seconds, or
    30 after an answer.
    """

    def __init__(
        self,
        most: int = CONNECTIONS,
        *,
        first: float = _FIRST,
        then: float = _NEXT,
    ) -> None:
        """Limit each address to `most` connections; first, then: seconds to wait."""
        self.most = most
        self.first = first
        self.then = then
        self.by_address: Counter[str] = Counter()
        self._open: dict[web.RequestHandler, _Connection] = {}

    def accept(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """Return what asyncio makes for each connection to a server."""

        def new_connection() -> asyncio.Protocol:
            handler = RequestHandler(
                server,
                loop=asyncio.get_running_loop(),
                keepalive_timeout=self.then,
                **_SETTINGS,
            )
            self._open[handler] = connection = _Connection(self, handler)
            return connection

        return new_connection

    def forget(self, handler: web.RequestHandler) -> None:
        """Forget a connection that was closed."""
        self._open.pop(handler, None)

    def idle_timeout_middleware(self) -> Middleware:
        """Return the middleware that stops the idle clock during an answer."""

        @web.middleware
        async def watch(
            request: web.Request,
            handler: Handler,
        ) -> web.StreamResponse:
            connection = self._open.get(request.protocol)
            if connection is None:
                return await handler(request)
            connection.expect_nothing()
            try:
                return await handler(request)
            finally:
                connection.expect_request(self.then)

        return watch


class _Connection(asyncio.Protocol):
    """A connection that passes all it gets on to aiohttp's handler."""

    def __init__(
        self,
        connections: Connections,
        handler: RequestHandler,
    ) -> None:
        self._connections = connections
        self._handler = handler
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._closing: asyncio.TimerHandle | None = None
        self._is_accepted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream
        self._transport = transport
        name = transport.get_extra_info("peername")
        self._address = str(name[0]) if name else ""
        counts = self._connections.by_address
        counts[self._address] += 1
        if counts[self._address] > self._connections.most:
            transport.write(_TOO_MANY_HEAD + _TOO_MANY)
            transport.close()
            return
        self._is_accepted = True
        self._handler.connection_made(transport)
        self.expect_request(self._connections.first)

    def expect_request(self, seconds: float) -> None:
        """Close the connection unless a request comes in time."""
        self.expect_nothing()
        if self._transport and not self._transport.is_closing():
            loop = asyncio.get_running_loop()
            self._closing = loop.call_later(seconds, self._transport.abort)

    def expect_nothing(self) -> None:
        """Leave the connection open, since a request is answered."""
        if self._closing:
            self._closing.cancel()
            self._closing = None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.expect_nothing()
        counts = self._connections.by_address
        counts[self._address] -= 1
        if not counts[self._address]:
            del counts[self._address]
        self._connections.forget(self._handler)
        if self._is_accepted:
            self._handler.connection_lost(exc)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        if self._is_accepted:
            self._handler.data_received(data)

    def eof_received(self) -> None:
        if self._is_accepted:
            self._handler.eof_received()

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()
