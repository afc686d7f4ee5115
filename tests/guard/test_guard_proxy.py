"""The guard between the real `openai` client and a server: no passage over the limit arrives."""

import concurrent.futures
import itertools
import json
import random
import re
import socket
import time
from itertools import islice

import httpx
import openai
import pytest
from disguised_texts import DISGUISES, planted, prose
from examples import examples
from guarded_texts import deltas, every_7th, library, longest
from marks import full

pytest.importorskip("aiohttp", reason="the extra guard is not installed")
from aiohttp import web
from chat_streams import ChatStreams, guarded, serving

from pytest_memleak.guard.guard_proxy import GuardProxy

ASKED = [{"role": "user", "content": "Tell me of the town."}]
DONE = b"data: [DONE]"


@pytest.fixture(scope="module")
def guard():
    with guarded(library()) as (server, proxy, address):
        yield server, proxy, address


@pytest.fixture
def client(guard):
    with openai.OpenAI(base_url=f"{guard[2]}/v1", api_key="k", max_retries=0) as client:
        yield client


def chunk(choice):
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "choices": [choice],
    }


def streamed(text, *end, index=0):
    for delta in deltas(text, random.Random(0)):
        said = {
            "index": index,
            "delta": {"content": delta},
            "logprobs": {"content": [delta]},
        }
        yield chunk(said)
    yield from end or (
        chunk({"index": index, "delta": {}, "finish_reason": "stop"}),
        DONE,
    )


def whole(*texts):
    return {
        "id": "c", "object": "chat.completion", "created": 1,
        "choices": [
            {"index": n, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for n, text in enumerate(texts)
        ],
    }  # fmt: skip


def read(client, model, **asked):
    """Contents and finish reasons of all choices, of a stream."""
    contents, reasons = {}, {}
    stream = client.chat.completions.create(
        model=model, messages=ASKED, stream=True, **asked
    )
    for part in stream:
        for choice in part.choices:
            content = choice.delta.content or ""
            contents[choice.index] = contents.get(choice.index, "") + content
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
    return contents, reasons


CHANGES = {
    "verbatim": (" ".join, 100),
    "every 7th": (every_7th, 100),
    "disguised": (None, 4),
}


@pytest.mark.parametrize("share", [0.02, full(1)])
@pytest.mark.parametrize(("change", "count"), CHANGES.values(), ids=CHANGES)
def test_passages_end_within_the_limit(guard, client, change, count, share):
    server, proxy, _ = guard
    changes = [change] if change else DISGUISES.values()
    changes = changes if change or share == 1 else [*changes][::16]
    texts = []
    for each in changes:
        of_each = planted(each, "the-lamplighter", length=100, trials=count)
        texts += islice(of_each, max(1, int(count * share)))
    stops = proxy.counts["stops"]
    for text in texts:
        server.answers |= {"streams": [*streamed(text)], "whole": whole(text)}
        contents, reasons = read(client, "streams")
        (choice,) = client.chat.completions.create(
            model="whole", messages=ASKED
        ).choices
        assert (reasons[0], choice.finish_reason) == (
            "content_filter",
            "content_filter",
        )
        for content in (contents[0], choice.message.content):
            assert text.startswith(content)
            assert longest(content) <= 38
            assert longest(text[: len(content) + 400]) > 38
    assert proxy.counts["stops"] - stops == 2 * len(texts)
    assert len(texts) >= 100 * share


def test_a_bad_request_is_logged_without_its_text(guard, caplog):
    url = httpx.URL(guard[2])
    head = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"
    for bad in (
        b"Content-Encoding: gzip\r\n\r\na passage",
        b"Cookie: a passage\x01\r\n\r\n",
    ):
        with socket.create_connection((url.host, url.port)) as connection:
            connection.sendall(head + bad)
            assert b"400 Bad Request" in connection.recv(1000)
    assert "BadHttpMessage" in caplog.text
    assert "passage" not in caplog.text


@pytest.mark.parametrize("count", [4, full(1_000)])
def test_honest_answers_arrive_whole(guard, client, count):
    server, proxy, _ = guard
    words, rng, stops = prose("the-seed-vault"), random.Random(1), proxy.counts["stops"]
    for _ in range(count):
        at = rng.randrange(len(words) - 200)
        text = " ".join(words[at : at + 200])
        server.answers["honest"] = [*streamed(text)]
        assert read(client, "honest") == ({0: text}, {0: "stop"})
    assert proxy.counts["stops"] == stops


def test_choices_completions_models_and_the_prompt(guard, client, caplog):
    server, proxy, address = guard
    leak, honest = (
        " ".join(prose("the-lamplighter")[:90]),
        " ".join(prose("the-seed-vault")[:90]),
    )
    texts = zip(streamed(leak, b":"), streamed(honest, b":", index=1), strict=False)
    end = chunk({"index": 1, "delta": {}, "finish_reason": "length"})
    server.answers["two"] = [*itertools.chain(*texts), end, DONE]
    contents, reasons = read(client, "two", n=2)
    assert reasons == {0: "content_filter", 1: "length"}
    assert longest(contents[0]) == 38
    assert honest.startswith(contents[1])
    assert len(contents[1]) > 200
    server.answers["text"] = {
        "choices": [{"index": 0, "text": leak, "finish_reason": "length"}]
    }
    completion = client.completions.create(model="text", prompt="It began:")
    assert completion.choices[0].finish_reason == "content_filter"
    assert longest(completion.choices[0].text) == 38
    completion = client.completions.create(model="text", prompt=leak)
    assert (completion.choices[0].text, completion.choices[0].finish_reason) == (
        leak,
        "length",
    )
    assert "two" in [model.id for model in client.models.list()]
    headers, asked = server.asked[-1]
    assert headers["Authorization"] == "Bearer k"
    assert asked == {"model": "text", "prompt": leak}
    counts = client.get(address.removesuffix("/v1") + "/guard", cast_to=object)
    assert (
        counts["stops"] == proxy.counts["stops"] == counts["stops in the-lamplighter"]
    )
    # A stop is logged by its places, without a word of text.
    stop = "stopped choice 0 (choices.text) at the-lamplighter, words 0-39: 39 words, verbatim"
    assert caplog.messages[-1] == stop
    with pytest.raises(
        openai.NotFoundError, match="forwards POST /v1/chat/completions"
    ):
        client.embeddings.create(model="text", input="a")
    with pytest.raises(openai.BadRequestError, match="isn't a JSON object"):
        client.post("/chat/completions", body=[1], cast_to=object)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"model": "m", "messages": [], "messages": 3}', 400),
        (b'{"model": "m", "messages": [], "max_tokens": NaN}', 400),
        (b'{"model": "m", "messages": [{"role": ["a"], "content": "x"}]}', 200),
    ],
    ids=["a key twice", "no number", "a role that is a list"],
)
def test_the_server_gets_what_the_guard_judged_or_nothing(guard, body, status):
    server, _, address = guard
    server.answers["m"] = whole("No passage.")
    asked = len(server.asked)
    answer = httpx.post(f"{address}/v1/chat/completions", content=body)
    assert answer.status_code == status
    assert len(server.asked) - asked == (status == 200)


async def twice(request, asked):
    text = json.dumps({"role": "assistant", "content": "It rained."})
    message = f'{text[:-1]}, "content": {json.dumps("It rained again.")}}}'
    body = f'{{"choices": [{{"index": 0, "message": {message}}}]}}'
    return web.Response(text=body, content_type="application/json")


async def overloaded(request, asked):
    body = {
        "error": {"message": "too many requests", "type": "busy", "code": "rate_limit"}
    }
    return web.json_response(
        body, status=429, headers={"Retry-After": "7", "X-Text": "no"}
    )


async def page(request, asked):
    return web.Response(
        text="<html>Bad Gateway</html>", status=503, content_type="text/html"
    )


async def cut(request, asked):
    request.transport.close()
    return web.Response()


async def elsewhere(request, asked):
    raise web.HTTPFound("http://127.0.0.1:1/")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("answer", "status", "message"), [
    (overloaded, 429, "too many requests"), (page, 503, "with status 503 and no JSON"),
    (cut, 502, "the server failed: ServerDisconnectedError"),
    (elsewhere, 502, "with status 302 and no JSON"),
    (twice, 502, "with status 200 and no JSON"),
])  # fmt: skip
def test_an_error_of_the_server_is_told(
    guard, client, caplog, answer, status, message, stream
):
    server, proxy, _ = guard
    server.answers["broken"], errors = answer, proxy.counts["upstream_errors"]
    with pytest.raises(openai.APIStatusError, match=message) as raised:
        client.chat.completions.create(model="broken", messages=ASKED, stream=stream)
    assert raised.value.status_code == status
    assert raised.value.response.headers.get("retry-after") == (
        "7" if status == 429 else None
    )
    assert "x-text" not in raised.value.response.headers
    # The log has no text of the server's.
    assert (proxy.counts["upstream_errors"], len(caplog.messages)) == (errors + 1, 1)
    assert "too many requests" not in caplog.text


WAIT = "Fri, 04 Dec 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("Retry-After", "0.5", "0.5"),
        ("Retry-After", WAIT, WAIT),
        ("Retry-After", "the town of Ebb", None),
        ("x-request-id", "req_011CSHoEeqs5C35K", "req_[0-9a-f]{24}"),
        ("x-request-id", "9f86d081-884c-4d63", "9f86d081-884c-4d63"),
        ("request-id", "the_town_of_Ebb", "id_[0-9a-f]{24}"),
        ("x-text", "the town of Ebb", None),
    ],
)
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_headers_leave_without_a_text(guard, kind, name, value, left):
    async def answer(request, asked):
        if kind == "whole":
            return web.json_response(whole("Yes."), headers={name: value})
        return web.Response(
            text="data: [DONE]\n\n",
            headers={name: value},
            content_type="text/event-stream",
        )

    server, _, address = guard
    server.answers["headed"] = answer
    asked = {"model": "headed", "messages": ASKED}
    sent = httpx.post(f"{address}/v1/chat/completions", json=asked).headers.get(name)
    assert sent is left is None or re.fullmatch(left, sent)


REACHED = "the server behind memleak guard can't be reached"
UNREACHED = r"the upstream http://127.0.0.1:1/v1 can't be reached \(.+\); start it or change --up.+"


@pytest.mark.parametrize(("upstream", "method", "path", "status", "message"), [
    ("http://u:secret@127.0.0.1:1/v1", "POST", "chat/completions", 502, REACHED),
    ("http://127.0.0.1:1/v1", "GET", "models", 502, REACHED),
    ("{server}/v2", "GET", "models", 404, "the upstream .+ /v1/models with status 404 and .+"),
    ("{server}/v1", "POST", "models", 405, "Method Not Allowed: POST /v1/m.+, GET /v1/models"),
])  # fmt: skip
def test_failures_of_the_upstream_are_errors(
    caplog, upstream, method, path, status, message
):
    def guard(server):
        return GuardProxy(library(), upstream.format(server=server), 38).app()

    with serving(ChatStreams().app, guard) as (_, address):
        response = httpx.request(method, f"{address}/v1/{path}", json={"model": "m"})
    assert response.status_code == status
    assert re.fullmatch(message, error := response.json()["error"]["message"])
    assert response.headers.get("allow") == ("GET" if status == 405 else None)
    if message == REACHED:
        (logged,) = caplog.messages  # which the operator reads
        assert re.fullmatch(UNREACHED, logged)
        assert "127.0.0.1" not in response.text
    else:
        assert caplog.messages == [error] * (status != 405)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ((), "ended the stream early"), ((b"data: {not JSON",), "JSONDecodeError"),
        ((b"data: [1]",), "ValueError"), ((b"data: " + b"9" * 3_000_000,), "LineTooLong"),
        ((b'data: {"error": {"message": "out of memory"}}',), "out of memory"),
    ],
    ids=["cut", "no JSON", "no object", "endless", "error"],
)  # fmt: skip
def test_a_stream_that_breaks_ends_in_an_error(guard, client, end, message):
    text = " ".join(prose("the-seed-vault")[:60])
    server, proxy, _ = guard
    server.answers["breaks"] = [*streamed(text, b": a comment\nevent: x\nid: 7", *end)]
    errors = proxy.counts["upstream_errors"]
    parts = client.chat.completions.create(model="breaks", messages=ASKED, stream=True)
    contents = []
    with pytest.raises(openai.APIError, match=message):
        contents.extend(part.choices[0].delta.content for part in parts)
    assert "".join(contents) == text
    assert proxy.counts["upstream_errors"] == errors + 1


def of_error(**more):
    return {"message": "out of memory", **more}


@pytest.mark.parametrize(
    "end",
    [
        (DONE,),
        (of_error(type="error"), DONE),
        (of_error(object="error", code=500), DONE),
    ],
    ids=["no reason", "type", "object"],
)
def test_a_stream_without_an_end_counts_as_a_failure(guard, caplog, end):
    text = " ".join(prose("the-seed-vault")[:60])
    server, proxy, address = guard
    server.answers["fails"] = [*streamed(text, *end)]
    errors = proxy.counts["upstream_errors"]
    asked = {"model": "fails", "messages": ASKED, "stream": True}
    answer = httpx.post(f"{address}/v1/chat/completions", json=asked).text
    chunks = re.findall(r"^data: ({.+})", answer, re.MULTILINE)
    of_choices = [
        part["choices"][0] for part in map(json.loads, chunks) if "choices" in part
    ]
    assert "".join(choice["delta"]["content"] for choice in of_choices) == text
    assert proxy.counts["upstream_errors"] == errors + 1
    assert len(caplog.messages) == 1
    assert "memory" not in caplog.text


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (whole("Yes."), 0),
        (whole("Yes.") | {"error": None}, 0),
        ({"error": of_error()}, 1),
        (of_error(object="error", code=500), 1),
    ],
)
def test_an_error_with_status_200_counts_as_a_failure(guard, client, body, count):
    server, proxy, _ = guard
    server.answers["fails"] = body
    errors = proxy.counts["upstream_errors"]
    sent = client.post("/chat/completions", body={"model": "fails"}, cast_to=object)
    assert sent.get("message") == body.get("message")
    assert proxy.counts["upstream_errors"] == errors + count


def with_mark(parts):
    first, *others = parts
    return [b"\xef\xbb\xbfdata: " + json.dumps(first).encode(), *others]


def kept_alive(parts):
    beside = b": still here", b"data:", b"data: ", {"choices": [], "error": None}
    return [line for part in parts for line in (*beside, part)]


def in_lines(parts):
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            lines = json.dumps(part, indent=1).splitlines()
            yield "\r\n".join(f"data:{line}" for line in ("", *lines)).encode()


@pytest.mark.parametrize("form", [list, with_mark, kept_alive, in_lines])
def test_any_form_of_an_event_stream_arrives_whole(guard, client, form):
    text = " ".join([*prose("the-seed-vault")[:60], *prose("the-lamplighter")[:38]])
    for end, reason in (((), "stop"), ((DONE,), None)):
        guard[0].answers["form"] = [*form(streamed(text, *end))]
        assert read(client, "form") == ({0: text}, {0: reason})


def test_clients_that_leave_and_many_streams_at_once(guard, client):
    server, proxy, _ = guard
    text = " ".join(prose("the-seed-vault")[:120])
    server.answers["slow"] = [
        *streamed(text, 0.05),
        *[chunk({"index": 0, "delta": {}}), 0.05] * 200,
    ]
    server.answers["many"] = [*streamed(text)]
    before = server.left
    stream = client.chat.completions.create(model="slow", messages=ASKED, stream=True)
    next(iter(stream))
    stream.close()
    count = examples(64, fast=10)
    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        contents = [*threads.map(lambda _: read(client, "many")[0][0], range(count))]
    assert contents == [text] * count
    ends = time.monotonic() + 10
    while server.left == before and time.monotonic() < ends:
        time.sleep(0.01)
    assert server.left == before + 1
    assert json.dumps(proxy.counts)
