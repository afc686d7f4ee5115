"""A proxy before a server of OpenAI's API that ends answers at passages of protected books."""

from __future__ import annotations

import asyncio
import codecs
import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, web
from aiohttp.client_exceptions import ClientConnectorError, ConnectionTimeoutError
from aiohttp.http_exceptions import HttpProcessingError

from pytest_memleak.library.guarded_openai_answer import LONGEST_NAME, GuardedAnswer
from pytest_memleak.redaction.credentials import without_credentials

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pytest_memleak.library.guarded_openai_answer import Stop
    from pytest_memleak.library.library import Library

_LOG = logging.getLogger(__name__)

_GUARDED = ("/v1/chat/completions", "/v1/completions")
_MODELS = "/v1/models"
_COUNTS = "/guard"
_LARGEST, _LARGEST_CHUNK = 1 << 26, 1 << 20  # bytes
_TIMES = ClientTimeout(total=None, sock_connect=30, sock_read=600)
# What describes one connection or the bytes sent over it.
_OWN_HEADERS = {
    *("accept-encoding", "connection", "content-encoding", "content-length", "expect", "host"),
    *("keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"),
}
_KEPT_HEADERS = ("retry-after", "x-request-id")
_TYPE = "memleak_guard"
_BROKEN = (ClientError, HttpProcessingError, TimeoutError, ValueError, RecursionError)


class GuardProxy:
    """The proxy before `upstream`, the address of a server up to `/v1`; `app` is its application.

    counts: requests, choices that it ended (stops), stops by book, and errors of the server
    """

    def __init__(self, library: Library, upstream: str, limit: int) -> None:
        self.counts: Counter[str] = Counter(requests=0, stops=0, upstream_errors=0)
        self._library, self._upstream, self._limit = library, upstream.rstrip("/"), limit

    def app(self) -> web.Application:
        """Return the application that serves the guarded paths, the models, and the counts."""
        app = web.Application(client_max_size=_LARGEST)
        app.cleanup_ctx.append(self._connected)
        app.router.add_get(_COUNTS, self._show_counts)
        app.router.add_get(_MODELS, self._answer)
        for path in _GUARDED:
            app.router.add_post(path, self._answer)
        app.router.add_route("*", "/{path:.*}", _reject)
        return app

    async def _connected(self, _: web.Application) -> AsyncIterator[None]:
        cookies = DummyCookieJar()  # clients share no session of the server's
        async with ClientSession(
            timeout=_TIMES, read_bufsize=_LARGEST_CHUNK, cookie_jar=cookies
        ) as self._session:
            yield

    async def _show_counts(self, _: web.Request) -> web.Response:
        return web.json_response(dict(self.counts))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        lists_models = request.path == _MODELS
        self.counts["requests"] += not lists_models
        data = await request.read()
        try:
            asked = {} if lists_models else _object(json.loads(data))
        except (ValueError, RecursionError):
            return _error(400, "the request isn't a JSON object")
        answer = GuardedAnswer(self._library, asked, self._limit)
        url = self._upstream + request.path.removeprefix("/v1")
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _OWN_HEADERS
        }
        try:
            async with self._session.request(
                "GET" if lists_models else "POST",
                url, data=data, headers=headers, allow_redirects=lists_models,
            ) as upstream:  # fmt: skip
                if lists_models and not upstream.ok:
                    message = f"the upstream answered {_MODELS} with status {upstream.status}"
                    return self._fail(message, upstream.status)
                if upstream.content_type == "text/event-stream":
                    return await self._stream(request, answer, upstream)
                body = await _body(upstream)
        except _BROKEN as error:
            return self._fail(self._cause(error))
        (guarded,) = await asyncio.to_thread(answer.read, body, whole=True)
        self._note(answer.stops)
        kept = {
            name: value
            for name in _KEPT_HEADERS
            if 0 < len(value := upstream.headers.get(name, "")) <= LONGEST_NAME
        }
        return web.json_response(guarded, status=upstream.status, headers=kept)

    async def _stream(
        self, request: web.Request, answer: GuardedAnswer, upstream: ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(chunks: list[dict[str, Any]]) -> None:
            for chunk in chunks:
                await response.write(b"data: %b\n\n" % json.dumps(chunk).encode())

        noted = 0
        async for chunk in _chunks(upstream):
            if isinstance(chunk, str):
                if not answer.ended:
                    self._fail(chunk)
                    await send([*answer.end(), {"error": {"message": chunk, "type": _TYPE}}])
                    return response
                break
            await send(answer.read(chunk))
            self._note(answer.stops[noted:])
            noted = len(answer.stops)
            if chunk.get("error"):
                return response
            if noted and answer.ended:
                break
        await send(answer.end())
        self._note(answer.stops[noted:])
        await response.write(b"data: [DONE]\n\n")
        return response

    def _note(self, stops: list[Stop]) -> None:
        """Log and count stops: places, no text."""
        for choice, field, passage in stops:
            self.counts["stops"] += 1
            self.counts[f"stops in {passage.book}"] += 1
            _LOG.warning(
                "stopped choice %d (%s) at %s, words %d-%d: %d words, %s", choice, field,
                passage.book, passage.start, passage.end, passage.words,
                "near-verbatim" if passage.near else "verbatim",
            )  # fmt: skip

    def _cause(self, error: BaseException) -> str:
        """Return what failed, without a text of the server's."""
        if isinstance(error, ClientConnectorError | ConnectionTimeoutError):
            return (
                f"the upstream {without_credentials(self._upstream)} can't be reached "
                f"({getattr(error, 'strerror', None) or error}); start it or change --upstream"
            )
        if type(error) is ValueError:  # of this module; a subclass may quote the answer
            return str(error)
        return f"the server failed: {type(error).__name__}"

    def _fail(self, message: str, status: int = 502) -> web.Response:
        """Count and log a failure of the upstream; return the error for the client."""
        self.counts["upstream_errors"] += 1
        _LOG.warning("%s", message)
        return _error(status, message)


async def _chunks(upstream: ClientResponse) -> AsyncIterator[dict[str, Any] | str]:
    """Yield the chunks of a stream; at last, if it was cut or can't be read, what happened."""
    try:
        async for data in _events(upstream):
            if data == b"[DONE]":
                return
            if data:
                yield _object(json.loads(data))
        failure = "the server ended the stream early"
    except _BROKEN as error:
        failure = f"the server's stream failed: {type(error).__name__}"
    yield failure


async def _events(upstream: ClientResponse) -> AsyncIterator[bytes]:
    """Yield the data of each server-sent event."""
    mark, data = codecs.BOM_UTF8, bytearray()
    async for line in upstream.content:
        name, _, value = line.removeprefix(mark).rstrip(b"\r\n").partition(b":")
        mark = b""
        if name == b"data":
            data += value + b"\n"
        if len(data) > _LARGEST:
            raise ValueError("the event is too long")
        if not line.strip():
            yield bytes(data).strip()
            data.clear()
    yield bytes(data).strip()


async def _body(upstream: ClientResponse) -> dict[str, Any]:
    body = bytearray()
    async for part in upstream.content.iter_chunked(_LARGEST_CHUNK):
        body += part
        if len(body) > _LARGEST:
            raise ValueError(f"the upstream's answer is over {_LARGEST:,} bytes")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        text = f"the upstream's answer isn't JSON ({upstream.content_type})"
        raise ValueError(text) from None
    return _object(answer)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("the upstream's answer isn't a JSON object")  # noqa: TRY004 - the JSON's value is wrong
    return value


def _error(status: int, message: str, **headers: str) -> web.Response:
    error = {"message": message, "type": _TYPE, "param": None, "code": None}
    return web.json_response({"error": error}, status=status, headers=headers)


async def _reject(request: web.Request) -> web.Response:
    method = "POST" if request.path in _GUARDED else "GET"
    if request.path in (*_GUARDED, _MODELS, _COUNTS):
        message = f"{request.path} doesn't take {request.method}: use {method}"
        return _error(405, message, Allow=method)
    paths = ", ".join((*_GUARDED, _MODELS))
    return _error(404, f"memleak guard forwards {paths}, and not {request.path}")
