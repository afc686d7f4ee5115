"""Answers of a server that means ill, or has gone mad: one act each, on the wire.

`Fault(FaultKind.HOSTILE, "chat", code="endless_body")` acts out `ACTS["endless_body"]`
instead of the answer. An act gets the connection, the honest answer and an event that
is set when the server stops; whatever it leaves open is closed behind it.
"""

import gzip
import itertools
import json
import os
import socket
import struct

PIECE = 65_536
DRIP = 0.05  # seconds between the bytes of what comes slowly


def head(status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def _whole(body, status="200 OK", **headers):
    kept = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers,
    }
    return head(status, **kept) + body


def _wire(change, *, pause=0.0):
    """Writes what `change` makes of the answer, all at once or piece by piece."""

    def act(wire, answer, stopping):
        pieces = change(answer)
        for piece in [pieces] if isinstance(pieces, bytes) else pieces:
            if stopping.wait(pause) if pause else stopping.is_set():
                return
            wire.sendall(piece)

    return act


def _body(change, status="200 OK", **headers):
    """Writes another body in the place of the honest one."""
    return _wire(
        lambda answer: _whole(
            change(answer.body),
            status,
            **{"Content-Type": answer.content_type, **headers},
        )
    )


def _instead(body, status="200 OK", **headers):
    return _wire(lambda _: _whole(body, status, **headers))


def _endless(begun, piece):
    return _wire(lambda _: itertools.chain([begun], itertools.repeat(piece)))


def _json(changed):
    """Writes the honest JSON, each value changed by its key; what is no JSON goes as it is."""

    def change(body):
        try:
            report = json.loads(body)
        except ValueError:
            return body
        return json.dumps(_changed(report, changed)).encode()

    return _body(change)


def _changed(value, changed, key=None):
    new = changed(key, value)
    if new is not value:
        return new
    if isinstance(value, dict):
        return {name: _changed(inner, changed, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_changed(inner, changed) for inner in value]
    return value


def _each(kind, change):
    return _json(lambda _, value: change(value) if type(value) is kind else value)


# What holds an answer's completions, and what stands beside them, in any provider's
# form.
CHOICES = ("choices", "candidates")
USAGE = ("usage", "usageMetadata")


def _key(names, change):
    """The values of the keys of these names, changed."""
    return _json(lambda key, value: change(value) if key in names else value)


def _counts(change):
    return _key(USAGE, lambda usage: dict.fromkeys(usage, change))


def _words(change):
    """The texts that the model wrote, changed."""
    names = ("content", "text")
    return _json(
        lambda key, value: (
            change(value) if key in names and type(value) is str else value
        )
    )


def _with_text_before_text(body):
    """Write another text before each one, under the same key, which parsers skip."""
    for name in ("content", "text"):
        key = f'"{name}":'.encode()
        body = body.replace(key, key + b' "It rained.", ' + key)
    return body


def _silence(_wire, _answer, stopping):
    stopping.wait()


def _nothing(_wire, _answer, _stopping):
    """The connection is closed."""


def _reset(wire, _answer, _stopping):
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _bytes_of(body):
    return [body[at : at + 1] for at in range(len(body))]


def _slow(pieces, then=b" "):
    return _wire(lambda _: itertools.chain(pieces, itertools.repeat(then)), pause=DRIP)


def _half(body):
    return body[: len(body) // 2]


def _after(begun, body):
    return begun + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _as_it_is(answer):
    return _whole(answer.body, **{"Content-Type": answer.content_type})


def _json_instead(value):
    return _instead(json.dumps(value).encode(), BAD)


def _redirect(where, status="307 Temporary Redirect"):
    return _wire(
        lambda _: head(status, Location=where, Content_Length="0", Connection="close")
    )


CHUNKED = {"Content_Type": "application/json", "Transfer_Encoding": "chunked"}
PLAIN = {"Content_Type": "application/json", "Connection": "close"}
CHUNK = b"10000\r\n" + b" " * PIECE + b"\r\n"
LONG_LINE = b"a." * 60_000
LONG_ERROR = {"message": LONG_LINE.decode(), "code": 400}
PAGE = b"<html>" + b"<p>no</p>" * 500_000
OK = b"HTTP/1.1 200 OK\r\n"
MANY_HEADERS = head(**{f"X-{n}": "1" for n in range(20_000)})[:-2]
MANY_COOKIES = OK + b"".join(
    b"Set-Cookie: c%d=1; Domain=.com\r\n" % n for n in range(500)
)
BAD, BUSY = "400 Bad Request", "429 Too Many Requests"
TEXT_OPENED = b'{"choices": [{"message": {"content": "'
TERMINAL = '{"error": {"message": "\\u001b[2J\\u001b]0;owned\\u0007\\u202e", "code": "\\u001b[2J"}}'
SURROGATES = '{"error": {"message": "\\ud800\\udfff\\ud800"}, "detail": "\\ud800"}'
OTHER_TYPES = {"message": {"a": [1]}, "code": {"a": 1}, "status": [1]}


ACTS = {
    # without an end
    "endless_chunks": _endless(head(**CHUNKED), CHUNK),
    "endless_body": _endless(head(**PLAIN), b" " * PIECE),
    "endless_text": _endless(head(**PLAIN) + TEXT_OPENED, b"a" * PIECE),
    "endless_lists": _endless(head(**PLAIN), b"[" * PIECE),
    "endless_error": _endless(head("403 Forbidden", **PLAIN), b"a" * PIECE),
    "endless_server_error": _endless(
        head("503 Service Unavailable", **PLAIN), b"a." * 32_768
    ),
    "endless_headers": _endless(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n" * 1000),
    "endless_header": _endless(b"HTTP/1.1 200 OK\r\nX-More: ", b"1" * PIECE),
    "endless_status": _endless(b"HTTP/1.1 200 ", b"OK" * 1000),
    "endless_chunk_extension": _endless(head(**CHUNKED) + b"1", b";x" * 1000),
    "endless_trailers": _endless(
        head(**CHUNKED) + b"2\r\n{}\r\n0\r\n", b"X-More: 1\r\n" * 1000
    ),
    # slow
    "silence": _silence,
    "slow_headers": _slow(_bytes_of(b"HTTP/1.1 200 OK\r\nX: ")),
    "slow_body": _slow([head(**PLAIN), b"{"]),
    "slow_error": _slow([head("500 Oh", **PLAIN)]),
    "slow_1xx": _slow((), b"HTTP/1.1 102 Processing\r\n\r\n"),
    "promises_more": _wire(
        lambda answer: [head(Content_Length=str(10**10)) + answer.body]
    ),
    # broken off
    "nothing": _nothing,
    "reset": _reset,
    "half_a_head": _wire(lambda _: b"HTTP/1.1 200 OK\r\nContent-Type: appl"),
    "half_a_body": _wire(
        lambda answer: _whole(answer.body)[: -(len(answer.body) // 2 or 1)]
    ),
    "half_without_length": _wire(lambda answer: head(**PLAIN) + _half(answer.body)),
    "half_a_chunk": _wire(
        lambda answer: head(**CHUNKED) + b"FFFF\r\n" + answer.body[:50]
    ),
    # no HTTP, or hardly
    "another_protocol": _wire(lambda _: b"SSH-2.0-OpenSSH_9.9\r\n"),
    "no_head": _wire(lambda answer: answer.body),
    "huge_length": _wire(lambda answer: head(Content_Length="9" * 400) + answer.body),
    "bad_chunk": _wire(lambda _: head(**CHUNKED) + b"zz\r\n{}\r\n0\r\n\r\n"),
    "many_headers": _wire(lambda answer: _after(MANY_HEADERS, answer.body)),
    "long_header": _wire(lambda answer: _whole(answer.body, X="1" * 10_000_000)),
    "many_cookies": _wire(lambda answer: _after(MANY_COOKIES, answer.body)),
    "two_answers": _wire(
        lambda answer: _whole(answer.body) + _whole(b'{"choices": []}')
    ),
    "1xx_before": _wire(
        lambda answer: b"HTTP/1.1 102 Processing\r\n\r\n" * 20 + _as_it_is(answer)
    ),
    # another status
    "status_204": _wire(lambda _: head("204 No Content")),
    "status_304": _wire(lambda _: head("304 Not Modified")),
    "status_999": _instead(b"{}", "999 Beyond"),
    "status_206": _body(_half, "206 Partial Content"),
    # sent away
    "redirect_elsewhere": _redirect("http://127.0.0.1:9/v1"),
    "redirect_to_a_file": _redirect("file:///etc/passwd"),
    "redirect_nowhere": _wire(lambda _: head("302 Found", Content_Length="0")),
    "redirect_with_password": _redirect("http://me:hunter2hunter2@127.0.0.1:9/"),
    "redirect_to_many_labels": _redirect(f"http://{'.'.join('abcdefghijklm')}/"),
    "redirect_for_ever": _redirect("?again"),
    "redirect_unreadable": _redirect("http://[::1"),
    # errors
    "long_line": _instead(LONG_LINE, BAD),
    "long_busy_line": _instead(LONG_LINE, "503 Service Unavailable"),
    "long_message": _json_instead({"error": LONG_ERROR, "detail": LONG_LINE.decode()}),
    "error_page": _instead(PAGE, "502 Bad Gateway", **{"Content-Type": "text/html"}),
    "error_of_lists": _instead(b"[" * 50_000, BAD),
    "error_of_terminal": _instead(TERMINAL.encode(), BAD),
    "error_of_surrogates": _instead(SURROGATES.encode(), BAD),
    "error_of_other_types": _json_instead({"error": OTHER_TYPES, "detail": [None, 7]}),
    "wait_for_ever": _instead(b"{}", BUSY, **{"Retry-After": "1e308"}),
    "wait_nan": _instead(b"{}", BUSY, **{"Retry-After": "nan"}),
    "wait_long": _instead(b"{}", BUSY, **{"Retry-After": "9" * 300}),
    "wait_until": _instead(
        b"{}", "503 No", **{"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}
    ),
    # another body
    "empty": _instead(b""),
    "null": _instead(b"null"),
    "string": _instead(b'"all is well"'),
    "list": _instead(b"[]"),
    "object": _instead(b"{}"),
    "page": _instead(b"<html><h1>Log in</h1></html>", **{"Content-Type": "text/html"}),
    "binary": _instead(
        os.urandom(5000), **{"Content-Type": "application/octet-stream"}
    ),
    "not_utf8": _body(lambda body: body.replace(b"a", b"\xff")),
    "deep_lists": _instead(b"[" * 100_000 + b"]" * 100_000),
    "long_number": _instead(b'{"created": ' + b"9" * 100_000 + b"}"),
    "gzip_bomb": _wire(lambda _: _whole(_bomb(), **{"Content-Encoding": "gzip"})),
    "unknown_packing": _body(bytes, **{"Content-Encoding": "br, zstd, gzip"}),
    "wrong_content_type": _body(bytes, **{"Content-Type": "text/csv"}),
    "no_content_type": _body(bytes, **{"Content-Type": ""}),
    "unknown_charset": _body(
        bytes, **{"Content-Type": "application/json; charset=klingon"}
    ),
    # another content
    "key_twice": _body(_with_text_before_text),
    "nan": _each(int, lambda _: float("nan")),
    "infinity": _each(int, lambda _: float("inf")),
    "nulls": _each(str, lambda _: None),
    "numbers_for_texts": _each(str, lambda _: 7),
    "lists_for_texts": _each(str, lambda one: [one]),
    "null_choices": _key(CHOICES, lambda _: None),
    "no_choices": _key(CHOICES, lambda _: []),
    "choices_of_anything": _key(CHOICES, lambda _: [None, 7, "a", [], {}]),
    "choice_alone": _key(CHOICES, lambda choices: choices[0]),
    "a_million_choices": _key(CHOICES, lambda _: [{}] * 1_000_000),
    "too_many_choices": _key(CHOICES, lambda choices: choices * 50),
    "null_usage": _key(USAGE, lambda _: None),
    "negative_usage": _counts(-5),
    "huge_usage": _counts(2**63),
    "usage_of_words": _counts("many"),
    "surrogates": _words("\ud800".join),
    "terminal": _words(lambda text: f"\x1b[2J\x1b]0;owned\x07\u202e{text}"),
    "nul": _words(lambda text: text.replace(" ", "\0")),
    "long_text": _words(lambda text: text + "ab " * 2_000_000),
    "long_word": _words(lambda _: "a" * 4_000_000),
    "finish_unknown": _key(
        ("finish_reason", "finishReason"), lambda _: "\x1b[2Jbecause"
    ),
    "finish_of_objects": _key(("finish_reason", "finishReason"), lambda _: {"a": [1]}),
    "another_model": _key(("model", "modelVersion"), lambda _: "m" * 1_000_000),
    "another_id": _key(("id", "responseId"), lambda _: "\x1b[2J" + "i" * 1_000_000),
    # The call is left behind, and goes on reading until the run ends: so it comes last.
    "endless_1xx": _endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 1000),
}


def _bomb():
    """A megabyte that is a gigabyte."""
    part = gzip.compress(b" " * 100_000_000)
    return part * 10
