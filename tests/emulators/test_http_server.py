"""The server and the fault plan that the emulators are made of."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import urllib.error
import urllib.request

import pytest
from faults import (
    Fault,
    FaultKind,
    FaultPlan,
    drop,
    lose,
    rate_limit,
    server_error,
    slow,
    trickle,
    truncate,
)
from http_server import Books, HttpServer, Refused, Request, Response


class Greeter(HttpServer):
    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.route("POST", "/v1/greet/{name}:twice", "twice", self._greet)
        self.route("POST", "/v1/greet/{name}", "greet", self._greet)
        self.route("GET", "/v1/any/{rest*}", "any", self._any)
        self.route("POST", "/v1/parts", "parts", self._parts)

    def _greet(self, request: Request) -> Response:
        if request.params["name"] == "nobody":
            raise Refused(418, "nobody is here", code="empty")
        if request.fault(FaultKind.EMPTY):
            return Response.json({})
        self.books.record("greeting", name=request.params["name"], call=request.call)
        return Response.json({"hello": request.params["name"] * 30})

    def _any(self, request: Request) -> Response:
        return Response.json({**request.params, **request.query})

    def _parts(self, request: Request) -> Response:
        part = request.parts()["file"]
        return Response(body=part.data, headers={"X-Name": part.filename or ""})


@pytest.fixture
def books(tmp_path):
    books = Books(tmp_path / "books.jsonl")
    yield books
    books.close()


def ask(server: HttpServer, path: str, body: bytes = b"{}", method: str = "POST") -> bytes:
    request = urllib.request.Request(server.url + path, data=body, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def greet(server: HttpServer, name: str = "ada") -> bytes:
    return ask(server, f"/v1/greet/{name}")


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
                greet(server)
            assert (refused.value.code, refused.value.headers["Retry-After"]) == (status, header)
            refused.value.close()
        assert books.rows() == []
        with pytest.raises(http.client.RemoteDisconnected):
            greet(server)
        assert books.rows() == []
        with pytest.raises(http.client.RemoteDisconnected):
            greet(server)
        with pytest.raises(http.client.IncompleteRead):
            greet(server)
        whole = [greet(server) for _ in range(3)]
        assert {json.loads(body)["hello"] for body in whole} == {"ada" * 30}
        assert plan.counts() == {"greet": 8}
    assert [row["call"] for row in books.rows("greeting")] == [3, 4, 5, 6, 7]


def test_a_fault_strikes_what_its_pattern_names():
    plan = FaultPlan([Fault(FaultKind.EMPTY, "files.*", (1,)), drop("chat"), lose("*")])
    strikes = [plan.strike(name) for name in ("files.list", "files.list", "chat", "jobs.get")]
    assert [set(strike.content) for strike in strikes] == [set(), {FaultKind.EMPTY}, set(), set()]
    kinds = [strike.transport.kind for strike in strikes]
    assert kinds == [FaultKind.LOSE, FaultKind.LOSE, FaultKind.DROP, FaultKind.LOSE]


def test_a_plan_goes_through_json_and_is_replaced_over_http(books):
    faults = [drop("a", calls=(0, 3)), rate_limit("b"), Fault(FaultKind.EMPTY, share=0.5)]
    text = FaultPlan(faults).to_json()
    assert FaultPlan.faults_from_json(text) == faults
    with Greeter(books=books) as server:
        greet(server)
        ask(server, "/_emulator/faults", text.encode(), "PUT")
        assert greet(server) == b"{}"
        assert json.loads(ask(server, "/_emulator/calls", None, "GET")) == {"greet": 2}


def test_paths_queries_and_refusals(books):
    with Greeter(books=books) as server:
        answer = ask(server, "/v1/any/a/b:c%20d?x=1&metadata%5Bk%5D=v", None, "GET")
        assert json.loads(answer) == {"rest": "a/b:c d", "x": "1", "metadata[k]": "v"}
        ask(server, "/v1/greet/ada:twice")
        assert [name for name, _ in server.recent] == ["any", "twice"]
        for path, status in (("/v1/greet/nobody", 418), ("/v1/nowhere", 404)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                ask(server, path)
            assert refused.value.code == status
            refused.value.close()


def test_an_upload_arrives_to_the_byte(books):
    data = bytes(range(256)) + b"\r\n--x\r\n\r\n"
    head = b'Content-Disposition: form-data; name="file"; filename="a b.bin"\r\n'
    body = b"--edge\r\n" + head + b"\r\n" + data + b"\r\n--edge--\r\n"
    with Greeter(books=books) as server:
        request = urllib.request.Request(
            f"{server.url}/v1/parts",
            data=body,
            headers={"Content-Type": "multipart/form-data; boundary=edge"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.read() == data
            assert answer.headers["X-Name"] == "a b.bin"


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
        ask(server, "/v1/broken")
    refused.value.close()
    with pytest.raises(KeyError, match="missing"):
        server.stop()


def test_rows_of_several_writers_stay_whole(tmp_path):
    books = Books(tmp_path / "rows.jsonl", fsync=True)

    def write(writer: int) -> None:
        for number in range(50):
            books.record_all("pair", [{"writer": writer, "number": number, "text": "“é”"}] * 2)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = books.rows("pair")
    assert [row["row"] for row in rows] == list(range(400))
    books.close()
    again = Books(tmp_path / "rows.jsonl")
    assert again.record("one") == 400
    again.close()
