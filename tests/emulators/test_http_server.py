"""The server and the fault plan that the emulators are made of."""

import http.client
import json
import socket
import urllib.error
import urllib.request
from contextlib import closing

import pytest
from faults import (
    FaultPlan,
    drop,
    lose,
    rate_limit,
    server_error,
    slow,
    trickle,
    truncate,
)
from http_server import Books, HttpServer, Response


class Greeter(HttpServer):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.route("POST", "/v1/greet/{name}", "greet", self._greet)

    def _greet(self, request):
        self.books.record("greeting", name=request.params["name"], call=request.call)
        return Response.json({"hello": request.params["name"] * 30})


@pytest.fixture
def books(tmp_path):
    with closing(Books(tmp_path / "books.jsonl")) as books:
        yield books


def post(server, path="/v1/greet/ada"):
    with urllib.request.urlopen(server.url + path, data=b"{}", timeout=10) as answer:
        return answer.read()


def test_faults_of_transport(books):
    plan = FaultPlan(
        [
            rate_limit("greet", calls=(0,), retry_after=2.5),
            server_error("greet", calls=(1,), status=503, code="overloaded"),
            drop("greet", calls=(2,)),
            lose("greet", calls=(3,)),
            truncate("greet", calls=(4,)),
            slow("greet", calls=(5,), seconds=0.01),
            trickle("greet", calls=(6,), seconds=0.01),
        ]
    )
    with Greeter(plan=plan, books=books) as server:
        for status, header in ((429, "2.5"), (503, None)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                post(server)
            assert (refused.value.code, refused.value.headers["Retry-After"]) == (status, header)
            refused.value.close()
        assert books.rows() == []
        with pytest.raises(http.client.RemoteDisconnected):
            post(server)
        assert books.rows() == []
        with pytest.raises(http.client.RemoteDisconnected):
            post(server)
        with pytest.raises(http.client.IncompleteRead):
            post(server)
        whole = [post(server) for _ in range(3)]
        assert {json.loads(body)["hello"] for body in whole} == {"ada" * 30}
        assert plan.counts() == {"greet": 8}
    assert [row["call"] for row in books.rows("greeting")] == [3, 4, 5, 6, 7]


def test_half_a_request_asks_for_nothing(books):
    with Greeter(books=books) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"POST /v1/greet/ada HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) == b""
        assert server.plan.counts() == {}


def test_a_broken_handler_does_not_pass_for_a_fault(books):
    server = Greeter(books=books)
    server.route("POST", "/v1/broken", "uncollected", lambda request: {}["missing"])
    server.start()
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(server, "/v1/broken")
    refused.value.close()
    with pytest.raises(KeyError, match="missing"):
        server.stop()
