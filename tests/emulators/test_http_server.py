"""The server and the fault plan that the emulators are made of."""

import socket
import urllib.error
import urllib.request

import pytest
from http_server import HttpServer, Response


@pytest.fixture
def server():
    server = HttpServer()
    server.route("POST", "/v1/greet", "greet", lambda request: Response.json({}["missing"]))
    return server.start()


def test_half_a_request_asks_for_nothing(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/greet HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert server.plan.counts() == {}
    server.stop()


def test_a_broken_handler_does_not_pass_for_a_fault(server):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.url}/v1/greet", data=b"{}", timeout=10)
    refused.value.close()
    with pytest.raises(KeyError, match="missing"):
        server.stop()
