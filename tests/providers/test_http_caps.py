"""Answers without end, endless errors, redirects: real sockets on loopback, each client."""

import contextlib
import http.server
import threading
from functools import partialmethod

import pytest
from clients import SECRETS, make_provider, sample
from google.oauth2.credentials import Credentials

from pytest_memleak.errors import ProviderError
from pytest_memleak.providers import http_caps
from pytest_memleak.providers.call_errors import Refused
from pytest_memleak.providers.tinker.tinker_client import TinkerCalls, bound_the_sdk
from pytest_memleak.redaction.text import server_words

PIECE = b" " * 65_536


class Hostile(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked += 1
        status, headers, pieces = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            for piece in pieces():
                self.wfile.write(piece)
                self.server.sent += len(piece)
        self.close_connection = True

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def hostile(status, headers, pieces):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.daemon_threads = True
    server.answer = status, {"Content-Type": "application/json", **headers}, pieces
    server.sent = server.asked = 0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def endless():
    while True:
        yield PIECE


@pytest.fixture(autouse=True)
def _bounds(monkeypatch):
    """Small bounds; and the SDK of Tinker as if nobody had bound it yet, afterwards as it was."""
    from tinker import _base_client as sdk

    monkeypatch.setattr(sdk, "AsyncHttpxClientWrapper", sdk.DefaultAsyncHttpxClient)
    monkeypatch.setenv("OPENAI_API_KEY", SECRETS["openai"])
    monkeypatch.setenv("TINKER_API_KEY", "tml-of-a-test")
    small = partialmethod(http_caps.Bounds.__init__, most=2_000_000)
    monkeypatch.setattr(http_caps.Bounds, "__init__", small)
    credentials = Credentials(token="token-of-a-test")
    monkeypatch.setattr("google.auth.default", lambda *_, **__: (credentials, "p"))
    bound_the_sdk.cache_clear()
    yield
    bound_the_sdk.cache_clear()


def failure_of(name, server, *, timeout=20.0):
    url = f"http://127.0.0.1:{server.server_address[1]}"
    google = {"base_url": url, "project": "p", "location": "l"}
    options = google if name == "vertex" else {"base_url": f"{url}/v1"}

    def ask():
        if name == "tinker":
            TinkerCalls(base_url=url, timeout=timeout).service(endpoint="m", call="sample")
        sample(make_provider(name, timeout=timeout, **options).open(None))

    with pytest.raises(ProviderError) as error:
        ask()
    return error.value


EVERY = pytest.mark.parametrize("name", ["openai", "vertex", "tinker"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *((name, "has an unexpected form") for name in ("openai", "vertex")),
        ("tinker", "The answer was longer than 2000000 bytes"),
    ],
)
def test_an_answer_that_never_ends_is_read_up_to_a_bound(name, said):
    with hostile(200, {}, endless) as server:
        assert said in failure_of(name, server).cause
        assert server.sent < 20_000_000
    if name == "openai":  # nothing packed is unpacked
        with hostile(200, {"Content-Encoding": "gzip"}, endless) as server:
            assert said in failure_of(name, server).cause


@pytest.mark.parametrize("status", [403, 400])
@EVERY
def test_an_error_that_is_long_is_cut_off_and_keeps_its_status(name, status):
    line = b'{"error": {"message": "' + b"a." * 25_000 + b'", "code": 400}}'
    whole = {"Content-Length": str(len(line))}, lambda: [line]
    with hostile(status, *(whole if status == 400 else ({}, endless))) as server:
        error = failure_of(name, server)
        assert isinstance(error, Refused)
        assert error.status == status
        assert len(error.cause) < 1000
        assert server.sent < 20_000_000


@EVERY
def test_a_redirect_to_another_host_is_not_followed(name):
    with hostile(200, {}, lambda: [b"{}"]) as other:
        there = f"http://127.0.0.1:{other.server_address[1]}/v1/chat/completions"
        with hostile(307, {"Location": there, "Content-Length": "0"}, list) as server:
            failure_of(name, server)
            assert (server.asked, other.asked) == (1, 0)


@EVERY
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("http://[::1", "redirects to an invalid address"),
        ("file:///etc/passwd", "redirects to another server (file:)"),
        ("http://me:hunter2hunter2@127.0.0.1:9/", "redirects to another server (127.0.0.1)"),
        (f"http://{'.'.join('abcdefghijklm')}/", "another server (a.b.c.d.e.f.g.h.i.j.k.l … #"),
    ],
)
def test_where_a_redirect_leads_is_told(name, where, said):
    with hostile(302, {"Location": where, "Content-Length": "0"}, list) as server:
        error = failure_of(name, server)
        assert said in error.cause
        assert "hunter2" not in str(error)
        assert server.asked == 1
        with server_words(0):
            error = failure_of(name, server)
        assert "127" not in error.cause
        assert "a.b" not in error.cause


@pytest.mark.parametrize("name", ["openai", "vertex"])
def test_an_error_has_as_much_time_as_an_answer(name):
    ended = threading.Event()

    def slowly():
        while not ended.wait(0.05):
            yield b" "

    try:
        with hostile(500, {}, slowly) as server:
            assert "no answer within 0.4 s" in failure_of(name, server, timeout=0.4).cause
    finally:
        ended.set()


def test_a_body_that_is_no_error_of_googles_is_not_quoted():
    text = b'{"candidates": [{"content": {"parts": [{"text": "the ferryman counted nine lan'
    for body in (text, text + b'terns"}]}}]}', b"the ferryman counted nine lanterns"):
        with hostile(206, {"Content-Length": str(len(body))}, lambda body=body: [body]) as server:
            assert "ferryman" not in str(failure_of("vertex", server))
