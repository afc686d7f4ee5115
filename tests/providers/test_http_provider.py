"""A class for an HTTP API: its author's mistakes, and a server's, end in errors that say what to do."""

import itertools
import json
from dataclasses import replace

import pytest
from clients import DIGEST, INSTRUCTION, PLACE, sample
from http_server import Response
from storyserver_plugin import SOURCE, StoryProvider

from pytest_memleak.errors import (
    Inconclusive,
    ProviderBusy,
    ProviderError,
    SuiteError,
    UnusableResponse,
)
from pytest_memleak.interfaces.abilities import abilities_of, finetuning_of
from pytest_memleak.interfaces.protocols import Completion, ProviderSetup
from pytest_memleak.providers.call_errors import RequestRejected
from pytest_memleak.providers.http_provider import HttpOptions
from pytest_memleak.records import FinishReason, Model
from pytest_memleak.sampling.billing_doubt import in_doubt

SECRET_TEXT = "the lighthouse keeper counted seven herons"


@pytest.fixture
def name():
    return "storyserver"


@pytest.fixture
def make(tmp_path):
    """Make a provider of a class, for a server or the provider's own."""

    def make(kind, server=None, *, model="base", hosts=(), deadline=30.0, **options):
        if server is not None:
            options["base_url"] = server.base_url
        entry = Model("m", "storyserver", model, options=options)
        setup = ProviderSetup(entry, PLACE, tmp_path, tmp_path, str)
        return kind(replace(setup, hosts=frozenset(hosts), deadline=deadline))

    return make


def variant(**attributes):
    """The documented class with other methods or attributes."""
    return type("Variant", (StoryProvider,), attributes)


def answering(server, answer):
    server._work = lambda route, request: answer


def test_the_documented_class_has_fewer_than_40_lines():
    assert len([line for line in SOURCE.splitlines() if line.strip()]) < 40


STORY = {"content": SECRET_TEXT, "end": "done", "in": 3, "out": 7}


@pytest.mark.parametrize(("answer", "error"), [
    ({}, "KeyError"),
    ([], "TypeError"),
    (SECRET_TEXT, "TypeError"),
    ({"engine": "base", "ticket": "t", "outputs": [STORY, 3]}, "TypeError"),
    ({"engine": "base", "ticket": "t", "outputs": {SECRET_TEXT: 3}}, "TypeError"),
    ({"engine": "base", "ticket": "t", "outputs": [{**STORY, "content": [SECRET_TEXT]}]},
     "TypeError"),
    ({"fault": {"why": SECRET_TEXT}}, "KeyError"),
])  # fmt: skip
def test_a_response_that_the_class_cannot_read_is_unusable(serve, make, answer, error):
    server = serve()
    answering(server, Response.json(answer))
    with pytest.raises(UnusableResponse, match=rf"{error} at line \d+ of ") as failure:
        sample(make(StoryProvider, server).open(None))
    assert "storyserver.py" in str(failure.value)
    assert failure.value.__context__ is None
    assert failure.value.hint
    assert "heron" not in repr(vars(failure.value))


def raises(error):
    def completions(self, answer):
        raise error

    return completions


@pytest.mark.parametrize("error", [
    ValueError(SECRET_TEXT), KeyError(SECRET_TEXT), AssertionError(SECRET_TEXT),
    RecursionError(SECRET_TEXT), StopIteration(SECRET_TEXT),
], ids=repr)  # fmt: skip
def test_no_error_of_the_reader_tells_its_message(serve, make, error):
    endpoint = make(variant(completions=raises(error)), serve()).open(None)
    with pytest.raises(UnusableResponse, match=type(error).__name__) as failure:
        sample(endpoint)
    assert "heron" not in str(failure.value)


@pytest.mark.parametrize(("returned", "cause"), [
    (None, "TypeError"), (SECRET_TEXT, "read as str"), ({SECRET_TEXT: 1}, "read as str"),
    ([SECRET_TEXT], "read as str"), ([Completion("A tale."), None], "read as NoneType"),
    ([], "has no completions"),
], ids=repr)  # fmt: skip
def test_only_completions_are_completions(serve, make, returned, cause):
    kind = variant(completions=lambda self, answer: returned)
    with pytest.raises(UnusableResponse, match=cause) as failure:
        sample(make(kind, serve()).open(None))
    assert "heron" not in str(failure.value)


def test_an_error_that_the_author_raises_is_kept(serve, make):
    error = ProviderError("out of ink", provider="p", endpoint="e", call="write")
    kind = variant(completions=raises(error))
    with pytest.raises(ProviderError, match="out of ink"):
        sample(make(kind, serve()).open(None))


BODIES = [
    (lambda self, model, request: {"a": {1, 2}}, "written as JSON (TypeError)"),
    (lambda self, model, request: {"a": float("nan")}, "written as JSON (ValueError)"),
    (lambda self, model, request: {"a": "\ud800"}, "lone surrogates"),
]


@pytest.mark.parametrize(("body", "cause"), BODIES)
def test_a_body_that_is_no_json_is_never_sent(serve, make, body, cause):
    server = serve()
    endpoint = make(variant(body=body), server).open(None)
    with pytest.raises(ProviderError) as failure:
        sample(endpoint)
    assert cause in failure.value.cause
    assert not isinstance(failure.value, ProviderBusy)
    assert not in_doubt(failure.value)
    assert server.plan.counts() == {}


@pytest.mark.parametrize("body", [
    lambda self, model, request: request.instruction[SECRET_TEXT],
    lambda self, model, request: None,
])  # fmt: skip
def test_an_error_of_the_body_is_told_before_anything_is_sent(serve, make, body):
    with pytest.raises(Inconclusive, match="`body` raised ") as failure:
        make(variant(body=body), serve()).open(None)
    assert "heron" not in str(failure.value)


def test_a_changed_default_changes_the_id(make):
    def body(self, model, request):
        return {**StoryProvider.body(self, model, request), "style": "terse"}

    first, again = (make(StoryProvider).open(None).id for _ in range(2))
    assert first == again
    assert first.startswith("storyserver base#")
    assert make(variant(body=body)).open(None).id != first
    assert make(variant(path="v3/write")).open(None).id != first


def test_a_body_that_differs_every_time_cannot_identify_generations(make):
    numbers = itertools.count()
    kind = variant(body=lambda self, model, request: {"nonce": next(numbers)})
    with pytest.raises(ProviderError, match="isn't the same for the same request"):
        make(kind).open(None)


@pytest.mark.parametrize(("answer", "cause"), [
    (Response.json({"fault": {"why": "no ink", "kind": "ink"}}, status=400), "(ink) - no ink"),
    (Response.json({"fault": "no ink"}, status=400), "400 Bad Request"),
    (Response.json({"detail": [{"loc": ["count"], "msg": "too many"}]}, status=422),
     "count: too many"),
    (Response.json({"fault": {"why": ["no", "ink"], "kind": 3}}, status=400), "400 Bad Request"),
    (Response.json({"error": {"message": "no ink", "type": "ink"}}, status=400), "no ink"),
    (Response(400, b"the proxy is closed", "text/plain"), "the proxy is closed"),
    (Response(403, b"<html><title>Forbidden by us</title><p>x", "text/html"), "Forbidden by us"),
    (Response(400, b""), "400 Bad Request"),
    (Response(400, b"\xff\xfe"), "400 Bad Request"),
    (Response(304, b""), "304 Not Modified"),
], ids=str)  # fmt: skip
def test_an_error_in_any_form_is_told(serve, make, answer, cause):
    server = serve()
    answering(server, answer)
    with pytest.raises(RequestRejected) as failure:
        sample(make(StoryProvider, server).open(None))
    assert cause in failure.value.cause
    assert failure.value.status == answer.status


@pytest.mark.parametrize(
    ("wait", "expected"), [(7, 7), (-1, None), (float("nan"), None), ("soon", None)]
)
def test_the_class_may_read_how_long_to_wait(serve, make, wait, expected):
    def error_response(self, status, body):
        return replace(
            StoryProvider.error_response(self, status, body), retry_after=wait
        )

    server = serve()
    busy = Response.json({"fault": {"why": "busy", "kind": "busy"}}, status=503)
    answering(server, busy)
    endpoint = make(variant(error_response=error_response), server).open(None)
    with pytest.raises(ProviderBusy) as failure:
        sample(endpoint)
    assert failure.value.retry_after == expected
    answering(server, replace(busy, headers={"Retry-After": "2"}))
    with pytest.raises(ProviderBusy) as failure:
        sample(endpoint)
    assert failure.value.retry_after == 2


@pytest.mark.parametrize("content_type", ["text/html", "text/plain", "x", ""])
def test_json_is_read_whatever_its_content_type(serve, make, content_type):
    server = serve()
    answer = {"engine": "base", "ticket": "t", "outputs": [STORY]}
    answering(server, replace(Response.json(answer), content_type=content_type))
    (completion,) = sample(make(StoryProvider, server).open(None))
    assert completion.text == SECRET_TEXT


@pytest.mark.parametrize(("word", "text", "reason"), [
    ("done", "A tale.", FinishReason.STOP),
    ("done", " ", FinishReason.EMPTY),
    ("done", None, FinishReason.EMPTY),
    ("cut", "A tale", FinishReason.LENGTH),
    ("blocked", "", FinishReason.CONTENT_FILTER),
    ("stop", "A tale.", FinishReason.STOP),
    ("tired", "A tale", FinishReason.UNKNOWN),
    (None, "A tale", FinishReason.UNKNOWN),
])  # fmt: skip
def test_a_finish_word_that_nobody_knows_withholds_the_text(make, word, text, reason):
    completion = make(StoryProvider).completion(text, word, -1, 2**63)
    assert completion.finish_reason is reason
    assert completion.finish_word == word
    assert (completion.prompt_tokens, completion.completion_tokens) == (None, None)


@pytest.mark.parametrize(("options", "hosts", "message"), [
    ({"base_url": "https://models.example/v2"}, (), "add --memleak-host models.example"),
    ({"base_url": "http://models.example/v2"}, ("models.example",), "unencrypted"),
    ({"api_key_env": "DEPLOY_TOKEN"}, (), "DEPLOY_TOKEN would go to api.story.example"),
    ({"base_url": "https://a@models.example"}, ("models.example",), "isn't a plain address"),
])  # fmt: skip
def test_a_key_goes_only_where_it_may(make, monkeypatch, options, hosts, message):
    monkeypatch.setenv("DEPLOY_TOKEN", "secret-of-another-service")
    with pytest.raises(SuiteError) as failure:
        make(StoryProvider, hosts=hosts, **options)
    assert message in str(failure.value)


@pytest.mark.parametrize(("options", "hosts"), [
    ({}, ()),
    ({"base_url": "https://models.example/v2"}, ("models.example",)),
    ({"api_key_env": "DEPLOY_TOKEN"}, ("api.story.example",)),
])  # fmt: skip
def test_a_host_that_is_named_may_have_a_key(make, monkeypatch, options, hosts):
    monkeypatch.setenv("DEPLOY_TOKEN", "secret-of-another-service")
    assert make(StoryProvider, hosts=hosts, **options).open(None).id


def test_a_provider_without_keys_sends_no_key_that_a_suite_names(make, monkeypatch):
    monkeypatch.setenv("DEPLOY_TOKEN", "secret-of-another-service")
    with pytest.raises(SuiteError, match="DEPLOY_TOKEN would go to"):
        make(variant(key_variable=""), api_key_env="DEPLOY_TOKEN")


def test_a_key_under_any_name_is_masked(serve, make, monkeypatch):
    monkeypatch.setenv("STORY_LOGIN", "open-sesame-for-ever")
    kind = variant(key_variable="STORY_LOGIN")
    with pytest.raises(
        RequestRejected, match=r"401 .*Nobody has the key \[masked\]"
    ) as failure:
        sample(make(kind, serve(key="another")).open(None))
    assert "sesame" not in repr(vars(failure.value))
    monkeypatch.setenv("STORY_LOGIN", "open\nsesame")
    with pytest.raises(ProviderError, match="characters that can't be sent"):
        sample(make(kind, serve()).open(None))


@pytest.mark.parametrize("model", ["../admin", "a/../../b", "..", "a/./b"])
def test_a_models_name_stays_below_the_path(serve, make, model):
    server = serve()
    kind = variant(path="models/{model}/write")
    with pytest.raises(ProviderError, match="can't be part of an address"):
        sample(make(kind, server, model=model).open(None))
    assert not server.recent


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("acme/story-1", "/v2/models/acme/story-1/write"),
        ("https://elsewhere.example", "/v2/models/https://elsewhere.example/write"),
        ("a?b#c d\\e", "/v2/models/a%3Fb%23c%20d%5Ce/write"),
    ],
)
def test_a_models_name_is_quoted_in_the_path(serve, make, model, path):
    server = serve()
    kind = variant(path="models/{model}/write")
    server.route("POST", "/v2/models/{model*}/write", "chat", lambda _: Response(418))
    with pytest.raises(RequestRejected, match="418"):
        sample(make(kind, server, model=model).open(None))
    assert [request.path for _, request in server.recent] == [path]


def test_settings_that_are_none_are_left_out(serve, make):
    server = serve()
    sample(make(StoryProvider, server).open(None), temperature=None, seed=None)
    (_, request) = server.recent[-1]
    assert request.json() == {
        "engine": "base",
        "input": INSTRUCTION,
        "count": 3,
        "length": 30,
    }


class StyledOptions(HttpOptions):
    """`[model.options]` of a class with an option of its own."""

    style: str = "plain"


def test_a_class_may_have_options_of_its_own(make):
    def body(self, model, request):
        return {"style": self.options.style}

    kind = variant(options_table=StyledOptions, body=body)
    assert make(kind, style="terse").open(None).id != make(kind).open(None).id
    with pytest.raises(SuiteError, match=r"write style in place of stile"):
        make(kind, stile="terse")


def test_concurrency_and_completions_per_call_are_the_suites_or_the_classs(make):
    provider = make(StoryProvider)
    assert (provider.concurrency, provider.completions_per_call) == (None, 10)
    provider = make(StoryProvider, concurrency=2, completions_per_call=3)
    assert (provider.concurrency, provider.completions_per_call) == (2, 3)


def test_a_provider_that_cannot_fine_tune_writes_nothing_about_it(make):
    provider = make(StoryProvider)
    assert abilities_of(provider).finetuning is None
    with pytest.raises(SuiteError, match="'storyserver' can't fine-tune") as failure:
        finetuning_of(provider, place=PLACE).find(DIGEST)
    assert failure.value.location == PLACE
    assert "remove [model.finetune]" in failure.value.hint


def test_the_request_is_json(serve, make):
    server = serve()
    sample(make(StoryProvider, server).open(None), instruction="Schreib über “Öl”.")
    (_, request) = server.recent[-1]
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body)["input"] == "Schreib über “Öl”."
