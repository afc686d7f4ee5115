"""What every provider keeps to: each against an emulator of its server, faults included."""

import dataclasses
import importlib
import importlib.util
import inspect
import logging
import re
import ssl
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from clients import (
    BOOK,
    DIGEST,
    HTTP_APIS,
    INSTRUCTION,
    PLACE,
    SECRETS,
    deploy,
    finish,
    last_body,
    requests_of,
    sample,
    training,
)
from faults import (
    Fault,
    FaultKind,
    drop,
    lose,
    on_the_way,
    rate_limit,
    server_error,
    slow,
    trickle,
    truncate,
)
from http_server import Response
from hypothesis import given
from hypothesis import strategies as st
from marks import full

from pytest_memleak.errors import (
    Inconclusive,
    MissingExtra,
    ProviderBusy,
    ProviderError,
    RequestNotSent,
    SuiteError,
)
from pytest_memleak.interfaces.abilities import Abilities, ParameterValues, abilities_of
from pytest_memleak.interfaces.protocols import JobStatus
from pytest_memleak.providers.call_errors import RequestRejected, retry_after
from pytest_memleak.providers.openai.choices import read_completions as read_chat
from pytest_memleak.providers.option_tables import Table
from pytest_memleak.providers.provider_registry import PROVIDERS
from pytest_memleak.providers.vertex.gemini import read_completions as read_gemini
from pytest_memleak.records import Book, Excerpt, FinishReason

# The SDK of Tinker leaves the connection open by which it asks for its settings.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

# By provider, what its emulator calls the path that samples, and the one that
# fine-tunes, where fine-tunes and batches are jobs of the server.
CHAT = {"openai": "chat", "vertex": "generate", "tinker": "sample", "together": "chat"}
CHAT |= dict.fromkeys(HTTP_APIS, "chat")
TUNE = {"openai": "jobs.create", "vertex": "tunings.create", "together": "tunes.create"}
EVERY = pytest.mark.parametrize("name", CHAT)
HOSTED = pytest.mark.parametrize("name", TUNE)
# One request of the client is one of the server.
PLAIN_HTTP = (*TUNE, *HTTP_APIS)
OVER_HTTP = pytest.mark.parametrize("name", PLAIN_HTTP)
TUNING = tuple(name for name in CHAT if name not in HTTP_APIS)
WITH_BATCHES = ("openai", "vertex")
BATCHED = pytest.mark.parametrize("name", WITH_BATCHES)
THOUGHTFUL = {"generation_config": {"thinkingConfig": {}}}


@pytest.fixture
def batching(tuning):
    """Return the batches of endpoints that answer them."""
    return lambda server: tuning(server, batch=True).open(None).abilities.batches


@pytest.mark.parametrize(("name", "tables", "message"), [
    *((name, {"concurency": 4}, "unknown key 'options.concurency'") for name in CHAT),
    *((name, {"base_url": "localhost:8000"}, "options.base_url") for name in CHAT),
    *((name, {"base_url": "http://[::1"}, "base_url: expected an address") for name in CHAT),
    *(
        ("openai", {"base_url": f"http://{host}/v1"}, "base_url: expected an address")
        for host in ("h:99999", "a..b", "lo\tcal", "a" * 64)
    ),
    *((name, {"finetune": {"zoom": 8}}, "unknown key 'finetune.zoom'") for name in TUNING),
    *((name, {"base": None}, "Neither base_model nor endpoint") for name in CHAT),
    *((name, {"api_key": SECRETS[name]}, "looks like a secret") for name in CHAT),
    ("openai", {"extra_body": {"n": 5, "top_p": 0.9}}, "options.extra_body may not set n"),
    ("openai", {"api": "completions", "store": True}, "options.store needs a chat"),
    ("vertex", {"bucket": "my-bucket"}, "options.bucket"),
    ("vertex", {"bucket": "gs://my bucket"}, "options.bucket"),
    ("vertex", {"generation_config": {"candidate_count": 2}}, "may not set candidate_count"),
    ("vertex", {"thinking_budget": 0, **THOUGHTFUL}, "may not set thinkingConfig"),
    ("vertex", {"deployment": {"machine_type": "g2-standard-12"}}, "only some of machine_type"),
    ("vertex", {"deployment": {}, "thinking_budget": 9}, "not supported by a deployed model"),
    ("vertex", {"finetune": {"tuning_mode": "full"}}, "supported only for open models"),
    *(
        ("vertex", {"base": base}, "isn't a model name")
        for base in ("gemini 2.5", "a/../b", "gemini?x=1", "", "https://x/y z")
    ),
    *(
        ("together", options, "options.deployment is missing")
        for options in ({"books": ("a-book",)}, {"endpoint": "projects/p/models/ml_1"})
    ),
    ("tinker", {"tokenizer": "./nowhere"}, "no such folder"),
    ("tinker", {"base": None, "endpoint": "ft:other"}, "begins with tinker://"),
    ("tinker", {"base": None, "finetune": {"rank": 8}, "endpoint": "tinker://r/w/n"}, "no ba"),
    ("tinker", {"base": None, "endpoint": "tinker://r/w/n", "tokenizer": None}, "tokenizer"),
    ("ngram", {"base": "gpt-4o", "pretraining": ["river"]}, "an ngram model has no base model"),
    ("ngram", {"base": None, "finetune": {"rank": 32}}, r"finetune\.rank"),
    ("ngram", {"base": None}, "options.pretraining"),
    *((name, {"base": None}, "No base_model is set") for name in ("transformers", "vllm")),
    ("transformers", {"devise": "cpu"}, "unknown key 'options.devise'"),
    ("transformers", {"hub_token": "hf_" + "a1b2" * 9}, "looks like a secret"),
    ("transformers", {"finetune": {"max_tokens": 1}}, "finetune.max_tokens"),
    ("vllm", {"trust_remote_code": True}, "unknown key 'options.trust_remote_code'"),
    ("vllm", {"gpu_memory_utilization": 1.5}, "options.gpu_memory_utilization"),
    *(
        ("recorded", {"base": None, **options}, message)
        for options, message in (
            ({}, "options.path"),
            ({"path": "answers.txt"}, r"use \.jsonl, .*; got 'answers\.txt'"),
            ({"path": "answers"}, r"use \.jsonl, "),
            *(({"path": path}, "only placeholder") for path in ("{model}.json", "{book.json")),
            ({"path": "a.json", "speed": 1}, "unknown key 'options.speed'"),
        )
    ),
])  # fmt: skip
def test_a_wrong_entry_of_the_suite_is_named_by_place(
    provider_of, monkeypatch, tables, message
):
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: True
    )  # nothing is missing
    with pytest.raises(SuiteError, match=message) as error:
        provider_of(**tables)
    assert error.value.location == PLACE
    assert error.value.hint


@pytest.mark.parametrize("tables", [{"batch": True}, {"books": ("a-book",)}])
@pytest.mark.parametrize("name", ["vertex"])
def test_a_bucket_is_waited_for(provider_of, tables):
    with pytest.raises(Inconclusive, match="bucket is missing") as error:
        provider_of(**tables)
    assert error.value.location == PLACE
    assert "gs://" in error.value.hint


@pytest.mark.parametrize(("name", "module", "options", "package"), [
    *((name, name, {}, name) for name in ("openai", "tinker", "together")),
    ("together", "openai", {}, "openai"),
    ("vertex", "google.genai", {}, "google-genai"),
    ("vertex", "google.cloud.storage", {}, "google-cloud-storage"),
    ("tinker", "tinker_cookbook", {"renderer": "role_colon"}, "tinker-cookbook"),
    *(("transformers", each, {}, each) for each in ("torch", "transformers", "peft")),
    *(("vllm", each, {}, each) for each in ("vllm", "transformers")),
])  # fmt: skip
def test_a_missing_sdk_is_named_with_what_installs_it(
    provider_of, monkeypatch, module, options, package
):
    # All others are there, whether or not they are installed.
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda each: each != module or None
    )
    message = rf"(?s)needs the package '{package}'.*pip install .*\b{package}[<>]"
    with pytest.raises(MissingExtra, match=message):
        provider_of(**options)


def test_no_sdk_is_imported_before_it_is_used():
    modules = [provider.module for provider in PROVIDERS.values()]
    code = f"import importlib, sys; [*map(importlib.import_module, {modules})]; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    sdks = {sdk for provider in PROVIDERS.values() for sdk in provider.needs.packages}
    assert not {*sdks, "google.auth", "httpx", "requests"} & {*run.stdout.split()}


OF_A_PROVIDER = {"finetuning", "count_tokens", "close", "deployments"}
STORY = Book(
    "a", "Title", "Author", (Excerpt("p_id1", BOOK),), digest="", words_digest=""
)
CHATTING = "model_name parameter_values continuing chats converses"
MOST = {"concurrency": 3, "completions_per_call": 5}
OPENED = [
    (*("ngram", {"base": None, "pretraining": ["a"], "read_book": lambda _: STORY}, None),
     "fixed_weights weights_fingerprint samples_each continuing"),
    ("recorded", {"base": None, "path": "generations.jsonl"}, None, "recording"),
    ("openai", MOST, None, CHATTING),
    ("openai", {}, "ft:base:x", f"{CHATTING} fixed_weights"),
    ("openai", {"batch": True}, None, f"{CHATTING} batches"),
    ("openai", {"store": True}, None, f"{CHATTING} recovery"),
    ("openai", {"batch": True, "store": True}, None, f"{CHATTING} batches recovery"),
    ("vertex", MOST, None, "model_name parameter_values converses"),
    (*("vertex", {"batch": True, "bucket": "gs://b"}, None),
     "model_name parameter_values batches converses"),
    ("vertex", {}, "projects/p/locations/us-central1/endpoints/7", "parameter_values converses"),
    (*("vertex", {"base": "meta/llama3_1@llama-3.1-8b", "deployment": {}}, None),
     "parameter_values continuing chats converses token_logprobs"),
    ("together", MOST, None, CHATTING),
    (*("together", {"deployment": {}}, "projects/p/models/m/revisions/r"),
     "fixed_weights parameter_values continuing chats converses token_logprobs"),
    ("tinker", MOST, None, "fixed_weights continuing recovery converses"),
    (*("transformers", {}, f"transformers:base+{'a' * 64}.{'b' * 32}"),
     "fixed_weights weights_fingerprint samples_each continuing engine converses "
     "token_logprobs"),
    (*("vllm", {}, f"vllm:base+{'a' * 64}.{'b' * 32}"),
     "fixed_weights weights_fingerprint samples_each continuing engine converses"),
]  # fmt: skip
OPENED += [(name, MOST, None, "model_name") for name in HTTP_APIS]
assert {name for name, *_ in OPENED} == {*PROVIDERS, *HTTP_APIS}


@pytest.mark.parametrize(("name", "options", "endpoint", "abilities"), OPENED)
def test_a_provider_and_its_endpoint_declare_what_they_can_do(
    name, options, endpoint, abilities, provider_of, monkeypatch
):
    if name in {"transformers", "vllm"}:  # nothing of it is needed to declare
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    provider = provider_of(**options)
    assert (provider.name, provider.batch) == (name, "batch" in options)
    assert all(
        getattr(provider, key) == options[key] for key in MOST.keys() & options.keys()
    )
    declared = abilities_of(provider.open(endpoint))
    of_an_endpoint = {
        field.name for field in dataclasses.fields(Abilities)
    } - OF_A_PROVIDER
    assert {
        each
        for each in of_an_endpoint
        if getattr(declared, each) != getattr(Abilities(), each)
    } == {*abilities.split()}
    assert (abilities_of(provider).deployments is not None) == (
        name in {"vertex", "together"}
    )


@pytest.mark.parametrize(
    ("name", "options"), [row[:2] for row in OPENED if row[0] in PROVIDERS]
)
def test_a_fine_tune_depends_on_options_of_its_model(
    name, options, provider_of, monkeypatch
):
    if name in {"transformers", "vllm"}:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    tables = {
        inspect.getdoc(kind).partition("]")[0]: kind.model_fields.keys()
        for kind in vars(importlib.import_module(PROVIDERS[name].module)).values()
        if isinstance(kind, type) and issubclass(kind, Table) and kind is not Table
    }
    finetuning = abilities_of(provider_of(**options)).finetuning
    assert (finetuning is not None) == ("`[model.finetune" in tables)
    if finetuning is not None:
        assert finetuning.weights_options <= tables.get("`[model.options", set())


@pytest.mark.parametrize(("name", "endpoint", "options"), [
    ("openai", "ft:base:x", {"extra_body": {"top_p": 0.9}}),
    ("together", "acme/endpoint", {"api": "completions"}),
    ("vertex", "projects/p/locations/us-central1/endpoints/7", {"thinking_budget": 0}),
    ("vertex", "projects/p/locations/us-central1/endpoints/7", {"safety_threshold": "OFF"}),
    ("vertex", "projects/p/locations/us-central1/endpoints/7",
     {"generation_config": {"topP": 0.9}}),
])  # fmt: skip
def test_the_id_names_server_model_and_what_is_always_said(
    name, provider_of, endpoint, options
):
    ids = {
        provider_of(**each).open(opened).id
        for each in (
            {},
            {"system": "Be brief."},
            {"base_url": "http://localhost:1/v1"},
            options,
        )
        for opened in (None, endpoint)
    }
    assert len(ids) == 8
    assert f"{name} base" in ids
    assert provider_of(endpoint=endpoint).open(None).id == f"{name} {endpoint}"


@pytest.mark.parametrize(("name", "message"), [
    ("vertex", "gcloud auth application-default login"),
    *((name, f"{name.upper()}_API_KEY") for name in CHAT if name != "vertex"),
])  # fmt: skip
def test_a_provider_without_a_key_sends_nothing(
    name, serve, provider_of, monkeypatch, message
):
    server = serve()
    for variable in ("GOOGLE_APPLICATION_CREDENTIALS", f"{name.upper()}_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    own = name not in {"vertex", "tinker"}  # one of one's own needs none
    provider = provider_of(None if own else server)
    with pytest.raises(ProviderError, match=r"No (API key|credentials)") as error:
        sample(provider.open(None))
    assert not isinstance(error.value, ProviderBusy)
    assert message in str(error.value)
    assert server.plan.counts() == {}


@EVERY
def test_a_wrong_key_is_never_quoted(name, serve, provider_of, monkeypatch, caplog):
    # The emulator quotes the key that it was sent.
    server = serve(**({} if name == "vertex" else {"key": "another"}))
    monkeypatch.setenv("OPENAI_API_KEY", SECRETS["openai"])
    caplog.set_level(logging.DEBUG)
    endpoint = provider_of(server).open(None)
    if name == "vertex":
        sample(endpoint)
        server.key = "another"
    with pytest.raises(RequestRejected, match="401 Unauthorized") as error:
        sample(endpoint)
    failure = error.value
    assert "[masked]" in str(failure)
    assert {"vertex": "gcloud auth"}.get(name, f"{name.upper()}_API_KEY") in str(
        failure
    )
    assert failure.__context__ is None
    assert failure.__cause__ is None
    shown = "".join(traceback.format_exception(failure))
    assert (
        SECRETS[name] not in shown + repr(failure) + repr(vars(failure)) + caplog.text
    )


@EVERY
def test_completions_are_those_that_were_billed(name, serve, provider_of, books):
    completions = sample(provider_of(serve()).open(None), 5)
    rows = books.rows("completion")
    assert len(completions) == 5
    assert [each.text for each in completions] == [
        row["text"].strip(" ") for row in rows
    ]
    cut = [each.completion_tokens == 30 for each in completions]
    assert [each.finish_reason is FinishReason.LENGTH for each in completions] == cut
    assert INSTRUCTION in (rows[0].get("instruction") or rows[0]["prompt"])
    for count in ("prompt_tokens", "completion_tokens"):
        counts = [getattr(each, count) for each in completions]
        assert sum(counts) == sum(row[count] for row in rows) > 0
        assert max(counts) < sum(counts) or counts[1:] == [0] * 4


@EVERY
def test_threads_share_an_endpoint(name, serve, provider_of, books):
    place = "futures" if name == "tinker" else CHAT[name]
    server = serve(slow(place, seconds=0.05))
    endpoint = provider_of(server).open(None)
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda seed: sample(endpoint, 2, seed=seed), range(0, 160, 10))
        )
    assert server.peak(place) > 1
    assert server.plan.calls("token") == (
        name == "vertex"
    )  # credentials are fetched once
    texts = sorted(each.text for answer in answers for each in answer)
    assert texts == sorted(row["text"].strip(" ") for row in books.rows("completion"))
    # One seed gives one set of answers.
    again, other = (
        [each.text for each in sample(endpoint, 2, seed=seed)] for seed in (30, 33)
    )
    assert [each.text for each in answers[3]] == again != other


@pytest.mark.parametrize(("name", "names", "left_out", "calls"), [
    ("openai", "temperature min_p seed", {"temperature", "min_p", "seed"}, 4),
    ("vertex", "temperature topP", {"temperature", "topP"}, 3),
])  # fmt: skip
def test_a_rejected_setting_is_omitted_and_recorded(
    name, serve, provider_of, names, left_out, calls
):
    server = serve(Fault(FaultKind.REFUSE_PARAMETER, code=names))
    endpoint = provider_of(server).open(None)
    for number in range(2):
        assert len(sample(endpoint, seed=number)) == 3
        assert server.plan.calls(CHAT[name]) == calls + number
    body = last_body(server, CHAT[name])
    assert not left_out & body.get("generationConfig", body).keys()
    parameters = endpoint.abilities.parameter_values()
    assert parameters["temperature"] == ParameterValues(
        requested=(1.0,), rejected=(1.0,)
    )
    if name == "openai":
        assert parameters["seed"] == ParameterValues(
            requested=("given",), rejected=("given",)
        )
    assert parameters[{"openai": "n", "vertex": "candidateCount"}[name]].accepted == (
        3,
    )


@pytest.mark.parametrize(
    ("name", "own"), [("openai", "extra_body"), ("vertex", "generation_config")]
)
def test_the_plain_distribution_is_asked_for_unless_suites_differ(
    name, serve, provider_of, own
):
    server = serve()

    def sent(temperature=1.0, **options):
        endpoint = provider_of(server, **options).open(None)
        sample(endpoint, temperature=temperature)
        body = last_body(server, CHAT[name])
        return body.get("generationConfig", body), endpoint.id

    top_p = {"openai": "top_p", "vertex": "topP"}[name]
    plain, plain_id = sent()
    assert (plain[top_p], plain["temperature"]) == (1.0, 1.0)
    assert sent(**{own: {top_p: 0.5}})[0][top_p] == 0.5
    assert "temperature" not in sent(temperature=None)[0]
    servers, servers_id = sent(sampling="server")
    assert top_p not in servers
    assert plain_id != servers_id


@OVER_HTTP
def test_the_serving_model_is_kept(serve, provider_of):
    (answer,) = sample(provider_of(serve(Fault(FaultKind.REROUTE))).open(None), 1)
    assert answer.served.model == "another-model-2"
    assert answer.served.response_id


@pytest.mark.parametrize(("fault", "cause", "billed"), [
    *((rate_limit("*", calls=(0,), retry_after=wait), "429 Too Many Requests", 0)
      for wait in (1.5, None)),
    *((server_error("*", calls=(0,), status=code), f"{code}", 0)
      for code in (409, 500, 503, 504, 529)),
    (drop("*", calls=(0,)), "was interrupted (RemoteProtocolError)", 0),
    *((fault("*", calls=(0,)), "was interrupted (RemoteProtocolError)", 3)
      for fault in (lose, truncate)),
], ids=str)  # fmt: skip
@OVER_HTTP
def test_a_call_that_may_be_tried_again(
    name, serve, provider_of, books, fault, cause, billed
):
    server = serve()
    provider_of(server).open(None)
    endpoint = provider_of(server).open(None)
    if name == "vertex":  # its credentials are another server's matter
        server.plan.strike("token")
    server.plan.replace([fault])
    with pytest.raises(ProviderBusy) as error:
        sample(endpoint)
    assert cause in str(error.value)
    assert error.value.retry_after == fault.retry_after
    failed = rf"{name} endpoint base: \S+ \((n|candidateCount) = 3\) failed"
    assert re.search(failed, str(error.value))
    assert error.value.__context__ is None
    # One call and no more: trying again is for those who keep the ledger.
    assert server.plan.calls(CHAT[name]) == 1
    assert len(books.rows("completion")) == billed
    assert len(sample(endpoint)) == 3


@OVER_HTTP
def test_the_time_to_wait_may_be_a_date_or_stand_among_the_details(
    name, serve, provider_of
):
    server = serve()
    late = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    busy = Response.json({"error": {}}, status=503, headers={"Retry-After": late})
    if name == "vertex":
        info = {
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": "23.5s",
        }
        busy = server.refusal(429, "slow down", {"details": [{"@type": "other"}, info]})
    endpoint = provider_of(server).open(None)
    sample(endpoint)
    server._work = lambda route, request: busy
    with pytest.raises(ProviderBusy) as error:
        sample(endpoint)
    wait = error.value.retry_after
    assert wait == 23.5 if name == "vertex" else 0 < wait <= 100
    assert ("options.concurrency" in (error.value.hint or "")) is (name == "vertex")


@pytest.mark.parametrize(
    "date", ["2025 23:59:59 +9999999999999999", f"{10**19} 23:59:59"]
)
def test_a_date_that_is_none_is_no_time_to_wait(date):
    assert retry_after({"retry-after": f"Fri, 31 Dec {date}"}) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("vertex", slow),
        *((name, way) for name in ("openai", *HTTP_APIS) for way in (slow, trickle)),
    ],
)
def test_a_call_that_takes_too_long_is_not_made_again(name, serve, provider_of, fault):
    server = serve(fault(CHAT[name], calls=(1,), seconds=10))
    sample(provider_of(server).open(None))
    with pytest.raises(ProviderBusy, match=r"no response within 0\.2 s"):
        sample(provider_of(server, timeout=0.2).open(None))
    assert (
        server.plan.calls(CHAT[name]) <= 2
    )  # a busy machine may not even have begun the second


@pytest.fixture(scope="module")
def untrusted(tmp_path_factory):
    """The address of a server whose certificate nobody has signed but itself."""
    path = tmp_path_factory.mktemp("certificate") / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", path.with_name("key.pem"), "-out", path]
    subprocess.run([*command.split(), *named, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, path.with_name("key.pem"))
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "what", ["a closed port", "no such host", "a bad certificate", "no TLS"]
)
@EVERY
def test_a_server_that_cannot_be_reached_or_trusted_is_told_at_once(
    serve, provider_of, untrusted, what
):
    server = serve()  # of which Vertex has its credentials
    addresses = {"a closed port": "127.0.0.1:9", "no such host": "no-such-host.invalid"}
    addresses["no TLS"] = server.url.removeprefix("http://")
    address = addresses.get(what, untrusted)
    scheme = "http" if what == "a closed port" else "https"
    provider = provider_of(
        base_url=f"{scheme}://{address}", timeout=300.0, hosts=[address]
    )
    verbs = [lambda: sample(provider.open(None))]
    if (finetuning := abilities_of(provider).finetuning) is not None:
        verbs.append(lambda: finetuning.find(DIGEST))
    for verb in verbs:
        with pytest.raises(RequestNotSent, match="Nothing was sent or billed") as error:
            verb()
        assert error.value.in_doubt is False
        assert error.value.lasting is (what == "a bad certificate")
        assert address in str(error.value)
        signs = (
            "without TLS, write http://",
            "WRONG_VERSION_NUMBER",
        )  # the latter is Tinker's
        assert any(sign in str(error.value) for sign in signs) is (what == "no TLS")


@pytest.mark.parametrize("answer", [
    Response(body=b"<html>Welcome</html>", content_type="text/html"),
    Response(body=b"[1, 2"),
    Response(body=b"\xff\xfe"),
    Response(body=b"null"),
    Response(body=b""),
    Response.json({"choices": [], "candidates": []}),
    Response.json({"error": {"message": "upstream is busy"}}),
    Response.json("Welcome, said the model, and wrote no choices."),
])  # fmt: skip
@OVER_HTTP
def test_an_answer_that_is_none(serve, provider_of, answer):
    server = serve()
    endpoint = provider_of(server).open(None)
    sample(endpoint)
    server._work = lambda route, request: answer
    with pytest.raises(ProviderBusy, match="The response ") as error:
        sample(endpoint)
    assert "Welcome" not in str(error.value)


@pytest.mark.parametrize(("name", "hint"), [
    *((name, "has this model (base_model, or endpoint)")
      for name in ("openai", "together", *HTTP_APIS)),
    *(("vertex", "retired"), ("tinker", "")),
])  # fmt: skip
def test_a_model_that_does_not_exist(name, serve, provider_of, hint):
    with pytest.raises(RequestRejected) as error:
        sample(provider_of(serve(), base="nonesuch").open(None))
    assert "nonesuch" in str(error.value)
    assert error.value.status == (400 if name == "tinker" else 404)
    assert hint in (error.value.hint or "")


@pytest.mark.parametrize(
    "message", [f"Invalid input: {INSTRUCTION}", INSTRUCTION[25:90]]
)
@EVERY
def test_an_error_that_quotes_an_instruction_is_withheld(
    name, serve, provider_of, caplog, message
):
    caplog.set_level(logging.DEBUG)
    fault = server_error(CHAT[name], status=400, message=message)
    with pytest.raises(RequestRejected, match="message redacted") as error:
        sample(provider_of(serve(fault)).open(None))
    assert INSTRUCTION.split()[8] not in "".join(
        traceback.format_exception(error.value)
    )
    assert INSTRUCTION not in caplog.text


@pytest.mark.parametrize(("name", "most"), [("openai", 4), ("vertex", 1)])
def test_a_server_that_allows_fewer_completions_in_a_call(
    name, serve, provider_of, books, most
):
    server = serve(most=most)
    endpoint = provider_of(server).open(None)
    assert [len(sample(endpoint, n)) for n in (10, 10, 1)] == [most, most, 1]
    # The first call was refused (and cost nothing); then it was remembered.
    assert server.plan.calls(CHAT[name]) == 4
    assert len(books.rows("completion")) == 2 * most + 1
    with pytest.raises(
        RequestRejected, match=r"expected a value of 1 to 0|candidateCount value of 1"
    ):
        sample(provider_of(serve(most=0)).open(None), 8)


WITHHELD = [
    *((name, FaultKind.EMPTY, FinishReason.EMPTY) for name in CHAT),
    *((name, FaultKind.FILTER, FinishReason.CONTENT_FILTER) for name in PLAIN_HTTP),
    ("openai", FaultKind.REFUSE, FinishReason.REFUSAL),
    ("vertex", FaultKind.RECITATION, FinishReason.RECITATION),
]


@pytest.mark.parametrize(("name", "kind", "reason"), WITHHELD)
def test_withheld_completions_are_kept_and_named(
    name, serve, provider_of, books, kind, reason
):
    completions = sample(
        provider_of(serve(Fault(kind, CHAT[name], share=0.5))).open(None), 4
    )
    words = [each.finish_word for each in completions if each.finish_reason is reason]
    assert len(words) == 2
    assert reason is not FinishReason.REFUSAL or {*words} == {"refusal"}
    rows = books.rows("completion")
    assert [each.text for each in completions] == [
        row["text"].strip(" ") for row in rows
    ]
    billed = sum(row["completion_tokens"] for row in rows)
    assert sum(each.completion_tokens for each in completions) == billed


@OVER_HTTP
def test_a_prompt_that_a_filter_rejects_is_that_many_withheld_completions(
    name, serve, provider_of, books
):
    completions = sample(
        provider_of(serve(Fault(FaultKind.REJECT, CHAT[name]))).open(None), 4
    )
    prompt = sum(row["prompt_tokens"] for row in books.rows("completion"))
    assert (prompt > 0) is (name == "vertex")
    assert [
        (each.text, each.finish_reason, each.prompt_tokens, each.completion_tokens)
        for each in completions
    ] == [("", FinishReason.CONTENT_FILTER, tokens, 0) for tokens in (prompt, 0, 0, 0)]


ANSWER = "A tale."
TYPED = [{"type": "text", "text": "A ta"}, {"text": "le."}, 3]
REASONS = [
    *(("openai", "stop", text, FinishReason.STOP) for text in (ANSWER, TYPED)),
    ("vertex", "MAX_TOKENS", ANSWER, FinishReason.LENGTH),
    *(("openai", word, None, FinishReason.EMPTY) for word in ("stop", "length")),
    *(("vertex", word, "", FinishReason.EMPTY) for word in ("STOP", "MAX_TOKENS")),
    ("openai", "content_filter", ANSWER, FinishReason.CONTENT_FILTER),
    ("openai", "content_filter: RECITATION", None, FinishReason.RECITATION),
    ("vertex", "RECITATION", ANSWER, FinishReason.RECITATION),
    *(
        ("vertex", word, "", FinishReason.CONTENT_FILTER)
        for word in ("SAFETY", "BLOCKLIST")
    ),
    *(("vertex", word, ANSWER, FinishReason.UNKNOWN) for word in ("OTHER", None)),
    *(
        ("openai", word, ANSWER, FinishReason.UNKNOWN)
        for word in ("sensitive", "abort", None)
    ),
    ("openai", {"type": "stop"}, ANSWER, FinishReason.UNKNOWN),
]


@pytest.mark.parametrize(("name", "word", "text", "reason"), REASONS, ids=str)
def test_a_reason_that_is_not_known_to_end_an_answer_withholds_it(
    name, word, text, reason
):
    if name == "openai":
        answer = {"choices": [{"message": {"content": text}, "finish_reason": word}]}
        (completion,) = read_chat(answer)
    else:
        candidate = {"content": {"parts": [{"text": text}]}, "finishReason": word}
        (completion,) = read_gemini({"candidates": [candidate]}, n=1)
    assert completion.text == (ANSWER if text is TYPED else text or "")
    assert completion.finish_reason is reason
    assert completion.finish_word == ("(dict)" if isinstance(word, dict) else word)
    assert (completion.prompt_tokens, completion.completion_tokens) == (None, None)
    assert reason is not FinishReason.UNKNOWN or reason.withheld


@given(st.integers(1, 130), st.integers(0, 5000), st.integers(0, 100_000))
def test_token_counts_add_up_to_the_usage(choices, prompt, total):
    usage = {"prompt_tokens": prompt, "completion_tokens": total}
    choice = {"message": {"content": "a"}, "finish_reason": "stop"}
    completions = read_chat({"choices": [choice] * choices, "usage": usage})
    assert sum(each.prompt_tokens for each in completions) == prompt
    counts = [each.completion_tokens for each in completions]
    assert sum(counts) == total
    assert max(counts) - min(counts) <= 1


@HOSTED
def test_a_fine_tune_brings_the_book_out(serve, tuning, books):
    provider = tuning(serve(polls=2))
    states = finish(provider.poll_finetune, provider.start_finetune(training()))
    assert [state.status for state in states] == [JobStatus.RUNNING] * 2 + [
        JobStatus.SUCCEEDED
    ]
    assert states[-1].tokens == books.rows("finetune")[0]["tokens"]

    def recited(endpoint):
        deploy(provider, endpoint)
        answers = sample(provider.open(endpoint), 8, max_tokens=60)
        return sum(" ".join(each.text.split()[5:25]) in BOOK for each in answers)

    assert recited(None) == 0
    assert recited(states[-1].endpoint) >= 3


@HOSTED
def test_a_job_that_succeeded_is_preferred(serve, tuning):
    provider = tuning(serve(polls=0))
    first, second = (provider.start_finetune(training()) for _ in range(2))
    assert provider.find_finetune(DIGEST) == second
    provider.poll_finetune(first)
    assert provider.find_finetune(DIGEST) == first
    assert provider.find_finetune("0" * 64) is None


@HOSTED
def test_a_job_is_found_among_many(name, serve, tuning, books):
    provider = tuning(serve())
    jobs = [
        provider.start_finetune(training(f"{number:02x}" * 32)) for number in range(25)
    ]
    assert provider.find_finetune("00" * 32) == jobs[0]
    # Together knows a file by what is in it.
    assert len({row["file"] for row in books.rows("finetune")}) == (
        1 if name == "together" else 25
    )


@HOSTED
def test_a_job_that_failed_says_why_and_is_not_found(name, serve, tuning):
    provider = tuning(serve(Fault(FaultKind.FAIL, TUNE[name], calls=(0,))))
    state = finish(provider.poll_finetune, provider.start_finetune(training()))[-1]
    assert state.status is JobStatus.FAILED
    assert "the training file did not pass moderation" in state.detail
    assert provider.find_finetune(DIGEST) is None


@pytest.mark.parametrize(("name", "hint"), [
    *(("openai", 'endpoint = "ft:..."'), ("vertex", 'endpoint = "projects/..."')),
    ("together", "name a base_model that Together fine-tunes"),
])  # fmt: skip
def test_a_model_that_cannot_be_fine_tuned(serve, tuning, hint):
    with pytest.raises(
        RequestRejected, match=r"nonesuch is not (available|supported)"
    ) as error:
        tuning(serve(), base="nonesuch").start_finetune(training())
    assert hint in error.value.hint


@pytest.mark.parametrize(("name", "base", "settings"), [
    ("vertex", "meta/small@small-1b", {"open_models": ["meta/small@small-1b"]}),
    ("together", "base", {}),
])  # fmt: skip
def test_a_deployed_model_is_asked_where_it_stands_and_no_longer_than_its_hours(
    serve, provider_of, base, settings, monkeypatch
):
    # The SDK of Vertex does without it, and takes a third of the time to import.
    monkeypatch.setitem(sys.modules, "google.cloud.aiplatform", None)
    server = serve(**settings)
    provider = provider_of(server, base=base, deployment={})
    endpoint, deployments = provider.open(None), provider.abilities.deployments
    with pytest.raises(RequestNotSent, match="isn't deployed"):
        sample(endpoint)
    place, wanted = deploy(provider), deployments.needed(None)
    assert deployments.find(wanted.digest, time.time()) == place
    assert len(sample(endpoint)) == 3
    assert endpoint.id == f"{server.url} {base}"
    deployments.move_in(wanted, place, 0.0)
    with pytest.raises(RequestNotSent, match="reached its time limit"):
        sample(endpoint)


VERBS = [
    *(("openai", f"files.{verb}") for verb in ("list", "create")),
    *(("openai", f"jobs.{verb}") for verb in ("list", "create", "get")),
    *(("vertex", f"tunings.{verb}") for verb in ("list", "create", "get")),
    *(("together", f"files.{verb}") for verb in ("create", "put", "preprocess")),
    *(
        ("together", f"tunes.{verb}")
        for verb in ("list", "limits", "estimate", "create", "get")
    ),
    ("together", "whoami"),
]
BATCH_VERBS = [
    *(("openai", f"files.{verb}") for verb in ("create", "content")),
    *(
        (name, f"batches.{verb}")
        for name in WITH_BATCHES
        for verb in ("list", "create", "get")
    ),
]
# What was done all the same; that nothing was done is shown of the calls that sample.
TRANSPORT = ["lost", *map(full, ("429", "500", "dropped", "truncated"))]


def struck(name, server, call, way, verb):
    """The verb fails once, says where, and is made again; of a 403 it is told what to do."""
    server.plan.replace([server_error(call, status=403, message="no")])
    with pytest.raises(RequestRejected, match="403 Forbidden") as error:
        verb()
    assert error.value.hint
    server.plan.replace([on_the_way(way, call, calls=(server.plan.calls(call),))])
    with pytest.raises(ProviderBusy) as error:
        verb()
    assert re.search(rf"{name} endpoint base: \S+ failed", str(error.value))
    return verb()


@pytest.mark.parametrize("way", TRANSPORT)
@pytest.mark.parametrize(("name", "call"), VERBS)
def test_every_verb_of_fine_tuning_may_be_tried_again(
    name, serve, tuning, books, call, way
):
    server = serve(polls=0)
    provider = tuning(server)

    def find_or_start():
        job = provider.find_finetune(DIGEST) or provider.start_finetune(training())
        provider.poll_finetune(job)
        return job

    job = struck(name, server, call, way, find_or_start)
    assert [row["id"] for row in books.rows("finetune")] == [job]
    assert len(books.rows("upload")) == (name != "vertex")  # no file is uploaded twice


def ended(endpoint, count=4, *, digest=DIGEST):
    """A batch that was started, and its last state."""
    batch = endpoint.start(requests_of(count), digest)
    return batch, finish(endpoint.poll, batch)[-1]


@BATCHED
def test_a_batch_answers_as_the_books_say(serve, batching, books):
    endpoint = batching(serve(polls=2))
    batch = endpoint.start(requests_of(), DIGEST)
    states = finish(endpoint.poll, batch)
    assert [state.status for state in states] == [JobStatus.RUNNING] * 2 + [
        JobStatus.SUCCEEDED
    ]
    answers = dict(endpoint.read(batch))
    assert answers.keys() == {request.key for request in requests_of()}
    for request in requests_of():
        rows = [
            row for row in books.rows("completion") if row["request"] == request.key
        ]
        completions = answers[request.key]
        assert rows[0]["instruction"] == request.instruction
        assert [each.text for each in completions] == [row["text"] for row in rows]
        for count in ("prompt_tokens", "completion_tokens"):
            billed = sum(row[count] for row in rows)
            assert sum(getattr(each, count) for each in completions) == billed


@pytest.mark.parametrize(("name", "kind", "detail"), [
    ("openai", FaultKind.EXPIRE, "expired: answered 2 of 5 requests"),
    ("openai", FaultKind.PARTIAL, "answered 2 of 5 requests"),
    ("vertex", FaultKind.EXPIRE, "expired: answered 2 requests"),
    ("vertex", FaultKind.PARTIAL, "unanswered: 3 requests"),
])  # fmt: skip
def test_an_unanswered_request_of_a_batch_is_absent(
    serve, batching, books, kind, detail
):
    endpoint = batching(serve(Fault(kind, "batches.create", share=0.5)))
    endpoint.start(requests_of(), "0" * 64)
    batch, state = ended(endpoint, 5)
    assert state.status is JobStatus.SUCCEEDED
    assert state.detail.startswith(detail)
    answers = dict(endpoint.read(batch))
    assert answers.keys() == {row["request"] for row in books.rows("completion")}
    assert len(answers) == 2
    assert endpoint.find(DIGEST) == batch


@pytest.mark.parametrize(
    ("kind", "status"),
    [(FaultKind.EXPIRE, JobStatus.FAILED), (FaultKind.PARTIAL, JobStatus.SUCCEEDED)],
)
@BATCHED
def test_a_batch_without_answers_failed_unless_it_may_be_asked_again(
    serve, batching, kind, status
):
    endpoint = batching(serve(Fault(kind, "batches.create", share=0.0)))
    batch, state = ended(endpoint)
    assert state.status is status
    assert (state.detail or "").startswith("expired, no request") is (
        kind is FaultKind.EXPIRE
    )
    assert (endpoint.find(DIGEST) == batch) is (status is JobStatus.SUCCEEDED)
    assert list(endpoint.read(batch)) == []


@pytest.mark.parametrize(("name", "settings", "message"), [
    ("openai", None, "queue of this model"),
    ("vertex", None, "no quota left"),
    ("openai", {"models": ("other",)},
     "most frequent error (4 times): 404 The model `base` does not exist."),
    ("vertex", {"most": 1}, "candidateCount value of 2"),
])  # fmt: skip
def test_a_batch_that_failed_or_was_refused_says_why(
    serve, batching, books, settings, message
):
    faults = () if settings else (Fault(FaultKind.FAIL, "batches.create"),)
    endpoint = batching(serve(*faults, **(settings or {})))
    state = ended(endpoint)[1]
    assert state.status is JobStatus.FAILED
    assert message in state.detail
    assert settings or endpoint.find(DIGEST) is None
    assert books.rows("completion") == []


@pytest.mark.parametrize(("name", "kind", "reason"), [
    *(case for case in WITHHELD if case[0] in WITH_BATCHES),
    *((name, FaultKind.REJECT, FinishReason.CONTENT_FILTER) for name in WITH_BATCHES),
])  # fmt: skip
def test_a_withheld_answer_of_a_batch_is_kept(
    serve, batching, books, name, kind, reason
):
    endpoint = batching(serve(Fault(kind, "batches.create")))
    batch, state = ended(endpoint)
    assert state.status is JobStatus.SUCCEEDED
    answers = dict(endpoint.read(batch))
    reasons = [each.finish_reason for answer in answers.values() for each in answer]
    assert reasons == [reason] * 8
    free = (name, kind) == ("openai", FaultKind.REJECT)
    assert len(books.rows("completion")) == (0 if free else 8)


@BATCHED
def test_a_server_that_does_not_filter(serve, batching, tuning):
    server = serve(filters=False)
    endpoint = batching(server)
    endpoint.start(requests_of(), DIGEST)
    assert endpoint.find("0" * 64) is None
    tuning(server).start_finetune(training())
    assert tuning(server).find_finetune("0" * 64) is None


@pytest.mark.parametrize("way", TRANSPORT)
@pytest.mark.parametrize(("name", "call"), BATCH_VERBS)
def test_every_verb_of_batches_may_be_tried_again(
    name, serve, batching, books, call, way
):
    server = serve(polls=0)
    endpoint = batching(server)

    def answers():
        batch = endpoint.find(DIGEST)
        batch = batch or endpoint.start(requests_of(), DIGEST)
        assert endpoint.poll(batch).status is JobStatus.SUCCEEDED
        return dict(endpoint.read(batch))

    assert len(struck(name, server, call, way, answers)) == 4
    assert len(books.rows("batch")) == 1
