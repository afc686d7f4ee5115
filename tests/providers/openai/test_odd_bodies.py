"""Answers in an odd form: packed, marked, or ended by a failure."""

import gzip
import json
import zlib

import pytest
from clients import make_provider, sample
from http_server import HttpServer, Response

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.sampling.billing_doubt import in_doubt

TEXT = "The lamp went over the quay."


def choice_of(text, ended="stop", **more):
    return {"message": {"content": text}, "finish_reason": ended, **more}


FAILED = choice_of("", "error", error={"code": 502, "message": "Upstream gave up"})


@pytest.fixture
def answered_with():
    """Sample two completions of a server that sends this body."""
    servers = []

    def answer(body, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        server = HttpServer()
        response = Response(body=body, headers=named)
        server.route("POST", "/v1/chat/completions", "chat", lambda _: response)
        servers.append(server.start())
        provider = make_provider("openai", base_url=f"{server.url}/v1")
        return sample(provider.open(None), n=2)

    yield answer
    for server in servers:
        server.stop()


def body_of(*choices):
    return json.dumps({"choices": choices}).encode()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)],
)
def test_a_packed_answer_is_read(answered_with, encoding, pack):
    body = pack(body_of(choice_of(TEXT)))
    (completion,) = answered_with(body, content_encoding=encoding)
    assert completion.text == TEXT


@pytest.mark.parametrize(
    ("encoding", "body", "name"),
    [("br", b"\x0b\x02\x80", "(br)"), ("gzip", b"no gzip at all", "(damaged)")],
)
def test_an_unreadable_packing_is_named_and_not_asked_for_again(
    answered_with, encoding, body, name
):
    with pytest.raises(ProviderError) as error:
        answered_with(body, content_encoding=encoding)
    assert name in error.value.cause
    assert "turn compression off" in error.value.hint
    assert not isinstance(error.value, ProviderBusy)
    assert in_doubt(error.value)


def test_a_mark_before_the_json_is_skipped(answered_with):
    body = "\ufeff".encode() + body_of(choice_of(TEXT))
    (completion,) = answered_with(body)
    assert completion.text == TEXT


def test_a_choice_that_a_failure_ended_is_missing(answered_with):
    (completion,) = answered_with(body_of(FAILED, choice_of(TEXT)))
    assert completion.text == TEXT


def test_what_a_failure_left_of_a_text_is_kept_as_withheld(answered_with):
    (completion,) = answered_with(body_of(choice_of(TEXT, "error")))
    assert completion.text == TEXT
    assert completion.finish_word == "error"
    assert completion.finish_reason.withheld


@pytest.mark.parametrize("place", ["reasoning", "error"])
def test_a_passage_beside_a_failure_is_kept_as_withheld(answered_with, place):
    passage = " ".join(f"word{number}" for number in range(20))
    text = {"message": passage} if place == "error" else passage
    (completion,) = answered_with(body_of(choice_of("", "error", **{place: text})))
    assert "word0 word1" in completion.reasoning
    assert completion.finish_reason.withheld


def test_an_answer_of_failures_alone_is_worth_another_try(answered_with):
    with pytest.raises(ProviderBusy, match="Upstream gave up"):
        answered_with(body_of(FAILED, FAILED))
