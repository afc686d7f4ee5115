"""A proxy for OpenAI's and Anthropic's API; it ends answers at protected passages."""

from __future__ import annotations

import asyncio
import codecs
import json
import logging
import re
from collections import Counter
from functools import partial
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    web,
)
from aiohttp.client_exceptions import ClientConnectorError, ConnectionTimeoutError
from aiohttp.http_exceptions import HttpProcessingError

from pytest_memleak.formats.distinct_keys import distinct_keys, json_with_distinct_keys
from pytest_memleak.formats.textless_values import is_usual_value
from pytest_memleak.guard.client_budgets import client_keys_from_headers
from pytest_memleak.guard.connections import Connections
from pytest_memleak.guard.dropped_parts import dropped_options
from pytest_memleak.guard.guarded_openai_answer import GuardedAnswer
from pytest_memleak.guard.guarded_responses_and_messages import GuardedItems
from pytest_memleak.guard.json_errors import error_body, error_response
from pytest_memleak.guard.long_prompts import LONG
from pytest_memleak.guard.own_ids import OwnIds
from pytest_memleak.guard.word_budget import PlacesOfPassages
from pytest_memleak.redaction.credentials import without_credentials
from pytest_memleak.scoring.measure_table import CONVERSATION_BUDGET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pytest_memleak.guard.client_budgets import ClientBudgets
    from pytest_memleak.guard.guarded_openai_answer import StoppedChoice
    from pytest_memleak.guard.word_budget import Budget
    from pytest_memleak.library.library import Library

    _Chunks = list[dict[str, Any]]

_LOG = logging.getLogger(__name__)

_ITEMS = ("/v1/responses", "/v1/messages")  # the paths of answers in items
_FORWARDS = (
    "POST /v1/chat/completions",
    "POST /v1/completions",
    *(f"POST {path}" for path in _ITEMS),
    "GET /v1/models",
)
_LARGEST = 1 << 26  # bytes
_WITH_UNREAD_BODY = (408, 413)
_NO_OBJECT = "the request isn't a JSON object with distinct keys"
_LARGEST_CHUNK = 1 << 20  # bytes
_READ_AT_ONCE = 1 << 14  # bytes; larger requests are read in a thread
_TIMES = ClientTimeout(
    total=None,
    sock_connect=30,
    sock_read=600,
)
# What describes one connection or the bytes sent over it.
_OWN_HEADERS = {
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_IDS = ("x-request-id", "request-id")
_RETRY_AFTER = "retry-after"
_TIME = re.compile(r"[\d.]+|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT")
# Events and objects that report a failure without a key `error`.
_FAILURES = {"type": ("error", "response.failed"), "object": ("error",)}
_CUT = "the server ended the stream early"
_BROKEN = (ClientError, HttpProcessingError, TimeoutError, ValueError, RecursionError)


class _StartedAnswer(NamedTuple):
    """A request that was read, and the answer to it.

    data:        what the server gets
    rejected:    why it gets nothing
    wants_usage: whether a stream is to end with its usage
    is_long:     whether its chunks are read in a thread: each passage takes the prompt
    """

    answer: GuardedAnswer
    data: bytes
    rejected: str
    wants_usage: bool
    is_long: bool


class GuardProxy:
    """The proxy in front of `upstream`, a server's address up to `/v1`.

    counts:      requests, ended choices (stops), and errors of the server
    stops:       ended choices by book
    connections: of its clients
    """

    def __init__(
        self,
        library: Library,
        upstream: str,
        limit: int,
        *,
        budget: int | None = CONVERSATION_BUDGET,
        clients: ClientBudgets | None = None,
        excuse_context: bool = False,
        drop: bool = False,
        connections: Connections | None = None,
    ) -> None:
        """Guard by these rules.

        budget:         the most words of one book in a conversation; None: any number
        clients:        a further budget for each client
        excuse_context: whether what clients and their tools wrote excuses, too
        drop:           whether what the guard can't read may be requested; it is
                        dropped from answers
        """
        self.counts: Counter[str] = Counter(
            requests=0,
            stops=0,
            upstream_errors=0,
        )
        self.stops: Counter[str] = Counter()
        self.connections = connections or Connections()
        self._upstream = upstream.rstrip("/")
        self._clients = clients
        self._drop = drop
        self._ids = OwnIds()
        self._answer_to = partial(
            _guarded_answer,
            library=library,
            limit=limit,
            budget=budget,
            places=PlacesOfPassages(library),
            ids=self._ids,
            excuse_context=excuse_context,
        )

    def app(self) -> web.Application:
        """Return the application: the guarded paths, the models, and the counts."""
        logging.getLogger("aiohttp.server").addFilter(_log_only_kind_of_error)
        app = web.Application(
            client_max_size=_LARGEST,
            middlewares=[self.connections.idle_timeout_middleware(), _with_json_errors],
        )
        app.cleanup_ctx.append(self._open_upstream_session)
        app.router.add_get("/guard", self._show_counts)
        for route in _FORWARDS:
            method, path = route.split(" ")
            app.router.add_route(method, path, self._answer_request)
        return app

    async def _open_upstream_session(self, _: web.Application) -> AsyncIterator[None]:
        cookies = DummyCookieJar()  # clients share no session of the server's
        async with ClientSession(
            timeout=_TIMES,
            read_bufsize=_LARGEST_CHUNK,
            cookie_jar=cookies,
        ) as self._session:
            yield

    async def _show_counts(self, _: web.Request) -> web.Response:
        by_book = {f"stops in {book}": count for book, count in self.stops.items()}
        return web.json_response({**self.counts, **by_book})

    async def _answer_request(self, request: web.Request) -> web.StreamResponse:
        self.counts["requests"] += request.method == "POST"
        data = await _request_body(request, self.connections.first)
        start = partial(self._read_request, request, data)
        try:
            if len(data) < _READ_AT_ONCE:
                started = start()
            else:
                started = await asyncio.to_thread(start)
        except (ValueError, RecursionError):
            return error_response(
                400, "the request isn't a JSON object with distinct keys"
            )
        if started.rejected:
            return error_response(400, started.rejected)
        try:
            return await self._forward(request, started)
        finally:
            started.answer.close()

    def _read_request(
        self,
        request: web.Request,
        data: bytes,
    ) -> _StartedAnswer:
        """Read a request; raise ValueError or RecursionError if it's no JSON object."""
        asked = _validated_object(
            _strict_json(data) if request.method == "POST" else {}
        )
        budgets: list[Budget] = []
        if self._clients and asked:
            budgets += map(self._clients.of, client_keys_from_headers(request.headers))
        answer = self._answer_to(request.path, asked, further_budgets=budgets)
        restored = self._ids.restored(asked)
        if restored is not asked:
            data = json.dumps(restored).encode()
        options = [] if self._drop else dropped_options(asked)
        rejected = ""
        if options:
            rejected = (
                f"memleak guard can't send what {', '.join(options)} would return, "
                "since it can't read it as text; omit the option, or start the guard "
                "with --drop"
            )
        options_of_stream = _object_or_empty(asked.get("stream_options"))
        wants_usage = bool(options_of_stream.get("include_usage"))
        wants_usage |= request.path in _ITEMS
        return _StartedAnswer(answer, data, rejected, wants_usage, len(data) > LONG)

    async def _forward(
        self,
        request: web.Request,
        started: _StartedAnswer,
    ) -> web.StreamResponse:
        """Ask the server, and return what may be sent of its answer."""
        answer = started.answer
        try:
            async with self._session.request(
                request.method,
                self._upstream + request.path.removeprefix("/v1"),
                data=BytesIO(started.data),  # sent in parts, unlike bytes
                headers=_forwarded_headers(request),
                allow_redirects=request.method == "GET",
            ) as upstream:
                if upstream.ok and upstream.content_type == "text/event-stream":
                    return await self._forward_stream(request, started, upstream)
                body = await _answer_object(upstream)
        except _BROKEN as error:
            return self._count_unanswered(error)
        (guarded,) = await asyncio.to_thread(answer.read, body, whole=True)
        message = f"the upstream answered {request.path} with status {upstream.status}"
        if not guarded:
            status = 502 if upstream.ok else upstream.status
            return self._count_upstream_error(
                f"{message} and no JSON of its API", status
            )
        if not upstream.ok:
            self._count_upstream_error(message)
        elif _is_failure(body):
            self._count_upstream_error(f"{message} and an error")
        self._count_and_log_stops(answer.stops)
        headers = self._kept_headers(upstream)
        return web.json_response(guarded, status=upstream.status, headers=headers)

    async def _forward_stream(
        self,
        request: web.Request,
        started: _StartedAnswer,
        upstream: ClientResponse,
    ) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream", **self._kept_headers(upstream)}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        answer = started.answer
        noted = 0

        async def send(*chunks: dict[str, Any]) -> None:
            nonlocal noted
            self._count_and_log_stops(answer.stops[noted:])
            noted = len(answer.stops)
            for chunk in chunks:
                await response.write(answer.encoded(chunk))

        async def read(function: Callable[[], _Chunks]) -> _Chunks:
            return await asyncio.to_thread(function) if started.is_long else function()

        async for chunk in _stream_chunks(upstream):
            if isinstance(chunk, str):
                if answer.ended:
                    break
                self._count_upstream_error(chunk)
                await send(*await read(answer.end), error_body(chunk))
                return response
            failed = _is_failure(chunk)
            if failed:
                self._count_upstream_error("the upstream's stream has an error")
            await send(*await read(partial(answer.read, chunk)))
            if failed:
                return response
            if noted and answer.ended and not started.wants_usage:
                break
        self._count_early_end(answer)
        await send(*await read(answer.end))
        await response.write(answer.last_chunk)
        return response

    def _kept_headers(self, upstream: ClientResponse) -> dict[str, str]:
        """Return the headers that clients get: a time to wait, and the request's id."""
        kept: dict[str, str] = {}
        wait = upstream.headers.get(_RETRY_AFTER, "")
        if _TIME.fullmatch(wait):
            kept[_RETRY_AFTER] = wait
        for name in _IDS:
            value = upstream.headers.get(name, "")
            is_plain = is_usual_value("id", value)
            kept[name] = value if is_plain else self._ids.own(value)
        return {name: value for name, value in kept.items() if value}

    def _count_early_end(self, answer: GuardedAnswer) -> None:
        """Count an end before the choices' own; clients see it as without the guard."""
        if not answer.begun_choices_have_ended:
            self._count_upstream_error(_CUT)

    def _count_and_log_stops(self, stops: list[StoppedChoice]) -> None:
        """Log and count stops: places, no text."""
        for choice, field, passage, exceeded in stops:
            self.counts["stops"] += 1
            self.stops[PurePath(passage.book).name] += 1
            kind = "near-verbatim" if passage.near else "verbatim"
            if exceeded == "budget":
                kind += ", over the budget"
            _LOG.warning(
                "stopped choice %d (%s) at %s, words %s-%s: %d words, %s",
                choice,
                field,
                passage.book,
                f"{passage.start:,}",
                f"{passage.end:,}",
                passage.words,
                kind,
            )

    def _count_unanswered(self, error: BaseException) -> web.Response:
        """Count and log what failed, without a text of the server's.

        The client doesn't get to know where the server is.
        """
        if not isinstance(error, ClientConnectorError | ConnectionTimeoutError):
            return self._count_upstream_error(
                f"the server failed: {type(error).__name__}"
            )
        cause = getattr(error, "strerror", None) or error
        upstream = without_credentials(self._upstream)
        return self._count_upstream_error(
            f"the upstream {upstream} can't be reached ({cause}); start it or change "
            "--upstream",
            public="the server behind memleak guard can't be reached",
        )

    def _count_upstream_error(
        self,
        message: str,
        status: int = 502,
        public: str = "",
    ) -> web.Response:
        """Count and log a failure of the server; return the error for the client.

        public: what the client gets to know, if not the message
        """
        self.counts["upstream_errors"] += 1
        _LOG.warning("%s", message)
        return error_response(status, public or message)


def _guarded_answer(
    path: str,
    asked: dict[str, Any],
    **rules: Any,
) -> GuardedAnswer:
    """Return the answer to a request of the API at this path."""
    kind = GuardedItems if path in _ITEMS else GuardedAnswer
    return kind(request=asked, **rules)


async def _request_body(request: web.Request, seconds: float) -> bytes:
    """Return a request's body; raise HTTPRequestTimeout if none of it comes so long."""
    body = bytearray()
    try:
        while True:
            async with asyncio.timeout(seconds):
                part = await request.content.readany()
            if not part:
                return bytes(body)
            body += part
            if len(body) > _LARGEST:
                raise web.HTTPRequestEntityTooLarge(_LARGEST, len(body))
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def _forwarded_headers(request: web.Request) -> dict[str, str]:
    return {
        name: value
        for name, value in request.headers.items()
        if name.lower() not in _OWN_HEADERS
    }


def _is_failure(part: dict[str, Any]) -> bool:
    """Tell whether an answer, or an event of one, reports a failure of the server."""
    if part.get("error"):
        return True
    return any(part.get(key) in values for key, values in _FAILURES.items())


async def _stream_chunks(
    upstream: ClientResponse,
) -> AsyncIterator[dict[str, Any] | str]:
    """Yield the chunks of a stream; at last, if it fails, what happened."""
    try:
        async for data in _event_data(upstream):
            if data == b"[DONE]":
                return
            if data:
                yield _validated_object(json_with_distinct_keys(data))
        failure = _CUT
    except _BROKEN as error:
        failure = f"the server's stream failed: {type(error).__name__}"
    yield failure


async def _event_data(upstream: ClientResponse) -> AsyncIterator[bytes]:
    """Yield the data of each server-sent event."""
    mark = codecs.BOM_UTF8
    data = bytearray()
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


async def _answer_object(upstream: ClientResponse) -> dict[str, Any]:
    """Return the JSON object of an answer; empty if it has none, or is too long."""
    body = bytearray()
    async for part in upstream.content.iter_chunked(_LARGEST_CHUNK):
        body += part
        if len(body) > _LARGEST:
            return {}
    try:
        return _validated_object(json_with_distinct_keys(bytes(body)))
    except (ValueError, RecursionError):
        return {}


def _strict_json(data: bytes) -> Any:
    """Parse a request's body.

    Raises ValueError for what another parser could read otherwise, so that the server
    gets what the guard judged: a key twice, NaN, and infinity.
    """
    return json.loads(
        data, object_pairs_hook=distinct_keys, parse_constant=_reject_constant
    )


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _validated_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the JSON's value is wrong
    return value


def _object_or_empty(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


@web.middleware
async def _with_json_errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        message = (
            f"{error.reason}: {request.method} {request.path}; "
            f"memleak guard forwards {', '.join(_FORWARDS)}"
        )
        headers = {
            name: value for name, value in error.headers.items() if name == "Allow"
        }
        response = error_response(error.status, message, **headers)
        if error.status in _WITH_UNREAD_BODY:
            response.force_close()
    except web.RequestPayloadError:
        return error_response(400, "the request's body isn't what its headers say")
    return response


def _log_only_kind_of_error(record: logging.LogRecord) -> bool:
    """Keep only the kind of a logged error: the rest has requests' texts and keys."""
    if record.exc_info and record.exc_info[0]:
        record.msg = f"{record.msg}: {record.exc_info[0].__name__}"
        record.exc_info = None
    return True
