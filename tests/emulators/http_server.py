"""A small threaded HTTP server on loopback that the emulators are made of, and what they share.

An emulator is a subclass of `HttpServer` that registers its endpoints by `route`, under
the names that a fault plan has for them. The server acts out faults of transport;
faults of content reach the handler (`request.fault(kind)`). Its models are those of
reciter.py. A handler
that raises anything but `RequestRejected` answers 500 and makes `stop` raise, so that a broken
emulator cannot pass for a broken connection.
"""

import contextlib
import email
import email.message
import http.client
import http.server
import itertools
import json
import os
import random
import re
import socket
import sys
import threading
import urllib.parse
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from faults import FaultKind, FaultPlan, Strike
from hostile import ACTS, head

_PIECES = 20
_RECENT = 50


def free_port():
    """A port for a process that is about to start: one of those that no connection is given."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class Books:
    """A record of what was billed, a JSON object a line: `row` (a number), `kind`, and more.

    A row is one write, so it is there whole or not at all, also after the process is
    killed.
    """

    def __init__(self, path):
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rows = len(self.rows()) if path.exists() else 0
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def record(self, kind, **fields):
        self.record_all(kind, [fields])

    def record_all(self, kind, rows):
        """Append several rows in one write (the completions of a call)."""
        with self._lock:
            lines = [
                json.dumps(
                    {"row": self._rows + offset, "kind": kind, **row},
                    ensure_ascii=False,
                )
                for offset, row in enumerate(rows)
            ]
            data = "".join(f"{line}\n" for line in lines).encode(
                "utf-8", "surrogatepass"
            )
            while data:
                data = data[os.write(self._file, data) :]
            self._rows += len(rows)

    def rows(self, kind=None):
        text = self.path.read_bytes().decode("utf-8", "surrogatepass")
        rows = [json.loads(line) for line in text.split("\n") if line]
        return [row for row in rows if kind is None or row["kind"] == kind]

    def close(self):
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Request:
    """What came in: `params` from the path's pattern, `query` with the last value of each key.

    `call` is the number of this call of its endpoint, from 0.
    """

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: email.message.Message
    body: bytes = field(repr=False)
    strike: Strike

    @property
    def call(self):
        return self.strike.call

    def fault(self, kind):
        return self.strike.content.get(kind)

    def json(self):
        return json.loads(self.body or b"{}")

    def parts(self):
        """File name and data of the parts of a multipart/form-data body, by name."""
        kind = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n"
        parts = email.message_from_bytes(kind.encode() + self.body).get_payload()
        names = [part.get_param("name", header="content-disposition") for part in parts]
        files = [(part.get_filename(), part.get_payload(decode=True)) for part in parts]
        return dict(zip(names, files, strict=True))


@dataclass(frozen=True, slots=True)
class Response:
    status: int = 200
    body: bytes = field(default=b"", repr=False)
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value, *, status=200, headers=None):
        return cls(status, json.dumps(value).encode(), headers=headers or {})


class RequestRejected(Exception):
    """Raised by a handler to answer with an error; `details` go to `HttpServer.refusal`."""

    def __init__(self, status, message, **details):
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details


class HttpServer:
    """One thread a connection. recent: the last requests, each with its endpoint's name."""

    def __init__(self, *, plan=None, books=None, port=0):
        self.plan = plan or FaultPlan()
        self.recent = deque(maxlen=_RECENT)
        self.books = books
        self._routes = []
        self._errors = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._active = Counter()
        self._peaks = Counter()
        self._server = _Listener(("127.0.0.1", port), self)
        self._thread = None

    @property
    def port(self):
        return int(self._server.server_address[1])

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def peak(self, endpoint):
        return self._peaks[endpoint]

    def route(self, method, pattern, endpoint, handler):
        """Answer `method` on paths like `pattern` with `handler`, under the name `endpoint`.

        `{name}` in the pattern stands for anything up to the next "/" or ":", `{name*}`
        for anything at all; both arrive in `request.params`, unquoted. The first fit is
        taken.
        """
        pieces = re.split(r"\{(\w+\*?)\}", pattern)
        expression = "".join(
            (f"(?P<{piece[:-1]}>.+)" if piece.endswith("*") else f"(?P<{piece}>[^/:]+)")
            if number % 2
            else re.escape(piece)
            for number, piece in enumerate(pieces)
        )
        self._routes.append((method, re.compile(expression), endpoint, handler))

    def refusal(self, status, message, details):
        """The provider's form of an error; emulators override it."""
        return Response.json({"error": {"message": message, **details}}, status=status)

    def start(self):
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            daemon=True,
        )
        self._thread.start()
        return self

    def stop(self):
        """Stop serving and cut open connections; raises what a handler raised, if any did."""
        self._stopping.set()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.cut_connections()
        if self._errors:
            raise self._errors[0]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def broken(self, error):
        """Remember what went wrong in the emulator itself; `stop` raises the first."""
        self._errors.append(error)

    def answer(self, exchange, body):
        url, method = urllib.parse.urlsplit(exchange.path), exchange.command
        fitting = (
            (match, endpoint, handler)
            for wanted, pattern, endpoint, handler in self._routes
            if wanted == method and (match := pattern.fullmatch(url.path))
        )
        match, endpoint, handler = next(fitting, (None, None, None))
        if match is None:
            exchange.send(self.refusal(404, f"no such path: {method} {url.path}", {}))
            return
        strike = self.plan.strike(endpoint, f"{url.path} {body.decode('latin-1')}")
        params = {
            key: urllib.parse.unquote(value) for key, value in match.groupdict().items()
        }
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        request = Request(
            method, url.path, params, query, exchange.headers, body, strike
        )
        self.recent.append((endpoint, request))
        with self._lock:
            self._active[endpoint] += 1
            self._peaks[endpoint] = max(self._peaks[endpoint], self._active[endpoint])
        try:
            self._act(exchange, handler, request, strike.transport)
        finally:
            with self._lock:
                self._active[endpoint] -= 1

    def _act(self, exchange, handler, request, fault):
        kind = fault.kind if fault else None
        if fault and kind is FaultKind.STATUS:
            refusal = self.refusal(
                fault.status, fault.message, {"code": fault.code} if fault.code else {}
            )
            wait = fault.retry_after
            headers = {} if wait is None else {"Retry-After": f"{wait:g}"}
            exchange.send(replace(refusal, headers={**refusal.headers, **headers}))
            return
        if kind is FaultKind.DROP:
            exchange.cut()
            return
        response = self._work(handler, request)
        if kind is FaultKind.LOSE:
            exchange.cut()
        elif fault and kind is FaultKind.HOSTILE:
            exchange.act(ACTS[fault.code or ""], response, self._stopping)
        elif fault and kind is FaultKind.TRICKLE:
            exchange.trickle(
                response, pause=lambda: self._stopping.wait(fault.seconds / _PIECES)
            )
        else:
            if fault and kind is FaultKind.SLOW:
                self._stopping.wait(fault.seconds)
            exchange.send(response, half=kind is FaultKind.TRUNCATE)

    def _work(self, handler, request):
        try:
            return handler(request)
        except RequestRejected as refused:
            return self.refusal(refused.status, refused.message, refused.details)
        except Exception as error:  # noqa: BLE001 - kept, and raised by `stop`
            self.broken(error)
            return self.refusal(500, f"the emulator is broken: {error!r}", {})


class _Listener(http.server.ThreadingHTTPServer):
    """The socket, and the connections that are open on it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address, owner):
        self.owner = owner
        self._open = set()
        self._open_lock = threading.Lock()
        super().__init__(address, _Exchange)

    def process_request(self, request, client_address):
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut_connections(self):
        """Wake the threads that wait for another request on an open connection."""
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        # A client that went away, or was killed, is part of the trade.
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.owner.broken(error)


class _Exchange(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def handle_any(self):
        expected = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(expected)
        if len(body) < expected:
            self.cut()  # the client went away in the middle of its request: nothing was asked
            return
        self.server.owner.answer(self, body)

    # The library calls the method of that name.
    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815

    def send(self, response, *, half=False):
        """Write `response` in one piece; with `half`, break off in the middle of its body."""
        body = b"" if self.command == "HEAD" else response.body
        self.wfile.write(_head(response) + (body[: len(body) // 2] if half else body))
        if half:
            self.cut()

    def trickle(self, response, *, pause):
        """Write `response` in `_PIECES` pieces, with a pause before each."""
        self.wfile.write(_head(response))
        size = len(response.body) // _PIECES + 1
        for start in range(0, len(response.body), size):
            pause()
            self.wfile.write(response.body[start : start + size])

    def act(self, act, response, stopping):
        """Act out an answer that is none, and close the connection behind it."""
        self.close_connection = True
        with contextlib.suppress(OSError):  # nobody listens to the end
            act(self.connection, response, stopping)

    def cut(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format, *args):  # noqa: A002 - the library's name
        """Be quiet."""


def _head(response):
    status = (
        f"{response.status} {http.client.responses.get(response.status, 'Unknown')}"
    )
    kept = {
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
    }
    return head(status, **{**kept, **response.headers})


@dataclass(slots=True)
class Job:
    """A fine-tune or a batch: its JSON object, and the polls until it ends."""

    object: dict[str, Any]
    strike: Strike
    polls: int

    def step(self, key, states):
        """One poll further, while `key` is one of the states; whether the job ends by it."""
        if self.object[key] not in states:
            return False
        if self.polls > 0:
            self.object[key] = states[max(1, len(states) - self.polls)]
            self.polls -= 1
            return False
        return True


class ModelServer(HttpServer):
    """key: what a request must carry, if given; polls: how often a job is running when asked."""

    fixtures = ()  # what tests/providers/conftest.py gives to it, by name

    def __init__(self, *, key=None, polls=1, **common):
        super().__init__(**common)
        self.key = key
        self._polls = polls
        self._state = threading.RLock()
        self._numbers = itertools.count(1)

    def credentials(self, folder):
        """Variables of the environment by which a client has access."""
        return {}

    def add_routes(self, below, *routes):
        for method, path, endpoint, handler in routes:
            self.route(method, below + path, endpoint, partial(self._checked, handler))

    def _checked(self, handler, request):
        self.check(request)
        with self._state:
            return handler(request)

    def check(self, request):
        sent = (request.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.key is not None and sent != self.key:
            raise RequestRejected(
                401, f"Incorrect API key provided: {sent}.", code="invalid_api_key"
            )

    def look_at(self, jobs, key, states, end, request):
        """A job, one poll further; `end` ends it."""
        job = jobs.get(request.params["id"])
        if job is None:
            raise RequestRejected(404, f"There is no job {request.params['id']}.")
        if job.step(key, states):
            end(job)
        return Response.json(job.object)


def read_examples(data, key, content):
    """The (instruction, text) pairs of a training file; refused where it is none."""
    pairs = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            turns = json.loads(line)[key]
            spoken = [turn for turn in turns if turn.get("role") != "system"]
            user, model = map(content, spoken)
            pairs.append((user, model))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise RequestRejected(
                400, f"Line {number} of the file is not an example."
            ) from None
    if not pairs:
        raise RequestRejected(400, "The training file holds no example.")
    return pairs
