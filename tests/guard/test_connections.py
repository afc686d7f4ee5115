"""A guard's connections: none stays open without a request, and no address has too many."""

import asyncio
import contextlib
import json
import socket
import threading
import time

import httpx
import pytest
from disguised_texts import prose
from guarded_texts import library

pytest.importorskip("aiohttp", reason="the extra guard is not installed")
from aiohttp import web
from chat_streams import ChatStreams, serving

from pytest_memleak.guard.connections import Connections
from pytest_memleak.guard.guard_metrics import metrics_app
from pytest_memleak.guard.guard_proxy import GuardProxy
from pytest_memleak.guard.guard_server import guard_server

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
LEAK = {"choices": [{"message": {"content": " ".join(prose("the-lamplighter")[:60])}}]}


@contextlib.contextmanager
def guard_at(upstream, connections):
    """Serve a guard in a thread; yields its proxy and its port."""
    proxy = GuardProxy(library(), f"{upstream}/v1", 38, connections=connections)
    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    started, ended = threading.Event(), asyncio.Event()

    async def serve():
        async with guard_server(proxy, listener):
            started.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    try:
        assert started.wait(30)
        yield proxy, listener.getsockname()[1]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


@pytest.fixture
def quick():
    """A guard that waits a fifth of a second, for 8 connections; its proxy and port."""
    server = ChatStreams()
    server.answers["m"] = LEAK
    with serving(server.app) as (upstream,):
        connections = Connections(8, first=0.2, then=0.4)
        with guard_at(upstream, connections) as (proxy, port):
            yield proxy, port


def connected(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def seconds_until_closed(connection):
    start = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(1 << 16):
            pass
    return time.monotonic() - start


def ended(connection):
    """Tell whether the guard has closed a connection, without waiting for it."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except BlockingIOError:
        return False


@pytest.mark.parametrize("sent", [b"", b"POST", HEAD])
def test_a_connection_without_a_whole_head_is_closed(quick, sent):
    with connected(quick[1]) as connection:
        connection.sendall(sent)
        assert seconds_until_closed(connection) < 2


def test_a_head_that_comes_bit_by_bit_is_not_waited_for(quick):
    with connected(quick[1]) as connection:
        start = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in HEAD * 9:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        assert time.monotonic() - start < 2


def test_a_half_sent_body_is_answered_with_408(quick):
    with connected(quick[1]) as connection:
        connection.sendall(HEAD + b"Content-Length: 90\r\n\r\n{")
        answer = connection.recv(1 << 16)
        assert b"408 Request Timeout" in answer.splitlines()[0]
        assert seconds_until_closed(connection) < 3


@pytest.mark.parametrize(
    "sent",
    [
        b"BAD\r\n\r\n",
        b"GET /guard HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /guard HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
    ],
    ids=["no request", "no header", "a long header", "a length below 0"],
)
def test_bad_http_is_answered_with_an_error_in_json(quick, sent):
    with connected(quick[1]) as connection:
        connection.sendall(sent)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 400 Bad Request" in head.splitlines()[0]
    assert b"Content-Type: application/json" in head
    error = json.loads(body)["error"]
    assert error["message"] == "Bad Request: the request isn't valid HTTP"
    assert error["type"] == "memleak_guard"


def test_a_failure_of_the_guard_is_an_error_in_json(quick, monkeypatch):
    def fail(*_):
        raise RuntimeError("It was the best of times")

    monkeypatch.setattr(GuardProxy, "_read_request", fail)
    url = f"http://127.0.0.1:{quick[1]}/v1/chat/completions"
    answer = httpx.post(url, json=ASKED)
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert error["message"] == "memleak guard failed; nothing unread was sent"


def test_a_connection_serves_one_request_after_another(quick):
    with httpx.Client(base_url=f"http://127.0.0.1:{quick[1]}") as client:
        for _ in range(4):
            answer = client.post("/v1/chat/completions", json=ASKED)
            assert answer.json()["choices"][0]["finish_reason"] == "content_filter"
            time.sleep(0.1)
        assert quick[0].connections.by_address == {"127.0.0.1": 1}


def test_an_address_has_no_more_connections_than_allowed(quick):
    proxy, port = quick
    with contextlib.ExitStack() as opened:
        for _ in range(8):
            opened.enter_context(connected(port))
        with connected(port) as ninth:
            answer = ninth.recv(1 << 16)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"429 Too Many Requests" in head
    assert "too many connections" in json.loads(body)["error"]["message"]
    ends = time.monotonic() + 5
    while proxy.connections.by_address and time.monotonic() < ends:
        time.sleep(0.02)
    assert not proxy.connections.by_address
    assert httpx.get(f"http://127.0.0.1:{port}/guard").status_code == 200


def test_a_long_answer_is_not_cut(quick):
    """Answers take longer than a connection may wait for its next request."""

    async def slow(request, asked):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(8):
            delta = {"choices": [{"index": 0, "delta": {"content": "Yes. "}}]}
            await response.write(f"data: {json.dumps(delta)}\n\n".encode())
            await asyncio.sleep(0.1)
        await response.write(b"data: [DONE]\n\n")
        return response

    server = ChatStreams()
    server.answers["m"] = slow
    with serving(server.app) as (upstream,):
        connections = Connections(8, first=0.2, then=0.2)
        with guard_at(upstream, connections) as (_, port):
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            answer = httpx.post(url, json={**ASKED, "stream": True})
    assert answer.text.count("Yes.") == 8
    assert "[DONE]" in answer.text


def test_counts_name_books_without_their_folders():
    proxy = GuardProxy(library(), "http://127.0.0.1:1/v1", 38)
    with serving(lambda: metrics_app(proxy)) as (address,):
        proxy.counts["stops"] += 2
        proxy.stops['a "b".epub'] += 2
        metrics = httpx.get(f"{address}/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert 'memleak_guard_stops_total{book="a \\"b\\".epub"} 2.0' in metrics.text
    assert "memleak_guard_requests_total 0.0" in metrics.text


@pytest.mark.full
def test_400_half_open_connections_are_closed_in_10_seconds():
    with contextlib.ExitStack() as opened:
        (upstream,) = opened.enter_context(serving(ChatStreams().app))
        proxy, port = opened.enter_context(guard_at(upstream, Connections()))
        clients = [opened.enter_context(connected(port)) for _ in range(400)]
        for client in clients:
            client.sendall(HEAD)
        by_address = proxy.connections.by_address
        ends = time.monotonic() + 5
        while by_address["127.0.0.1"] < 400 and time.monotonic() < ends:
            time.sleep(0.02)
        assert by_address == {"127.0.0.1": 400}
        time.sleep(10)
        assert not by_address
        for client in clients:
            assert ended(client)
