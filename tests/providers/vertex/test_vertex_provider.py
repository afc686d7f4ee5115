"""The "vertex" provider against a Vertex AI and a Cloud Storage server on loopback."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    truncate,
)
from gcs_server import GcsDoor, gcs_server, read_object, write_object
from http_server import Books, Response, launch
from hypothesis import given
from hypothesis import strategies as st
from reciter import Reciter
from vertex_server import VertexServer

from pytest_memleak.errors import (
    MissingExtra,
    ProviderBusy,
    ProviderError,
    RequestNotSent,
    SuiteError,
)
from pytest_memleak.interfaces.capabilities import Obeyed, ObeyingEndpoint
from pytest_memleak.interfaces.protocols import (
    BatchEndpoint,
    Endpoint,
    JobStatus,
    ProviderSetup,
    SampleRequest,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.providers.call_errors import Refused
from pytest_memleak.providers.openai.openai_provider import OpenAIProvider
from pytest_memleak.providers.vertex import vertex_batch
from pytest_memleak.providers.vertex import vertex_provider as provider_module
from pytest_memleak.providers.vertex.gemini import read_completions
from pytest_memleak.providers.vertex.vertex_provider import VertexProvider
from pytest_memleak.records import FinishReason, Model

TOKEN = "ya29.a0Vq3x9LmT0aZr7Bn2Kd5Wc4"
DIGEST = "5e" * 32
PLACE = "suite.memleak.toml, model tuned"
ATTACHED = "projects/some-project/locations/us-central1/endpoints/77"
EMULATOR = Path(__file__).resolve().parents[2] / "emulators" / "vertex_server.py"


def prose(seed: int, words: int = 500) -> str:
    dice = random.Random(seed)
    sounds = ["ka", "lo", "mi", "ren", "tu", "vas", "el", "or", "ish", "quen", "da", "bri"]
    lexicon = ["".join(dice.choices(sounds, k=dice.randint(1, 3))) for _ in range(words // 2)]
    sentences = []
    while words > 0:
        chosen = dice.choices(lexicon, k=min(words, dice.randint(6, 14)))
        sentences.append(f"{' '.join(chosen).capitalize()}.")
        words -= len(chosen)
    return " ".join(sentences)


BOOK = prose(1)
OTHER = prose(2)
INSTRUCTION = "Write the passage: " + " ".join(BOOK.split()[100:160:3])


@pytest.fixture(scope="module")
def storage():
    with gcs_server("bucket") as url:
        yield url


@pytest.fixture(autouse=True)
def _environment(monkeypatch, storage, tmp_path):
    for name in list(os.environ):
        if name.startswith(("GOOGLE_", "GEMINI_", "CLOUDSDK_", "GCLOUD_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test-project")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us-central1")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage)


@pytest.fixture
def books(tmp_path):
    books = Books(tmp_path / "books.jsonl")
    yield books
    books.close()


@pytest.fixture
def bucket(tmp_path):
    """A place of the test's own in the bucket."""
    return f"gs://bucket/{tmp_path.parent.name}/{tmp_path.name}"


@pytest.fixture
def serve(books, storage, tmp_path, monkeypatch):
    """Start an emulator; any number of faults, and its settings."""
    servers = []

    def start(*faults: Fault, **settings) -> VertexServer:
        settings = {
            "reciter": Reciter([BOOK]),
            "books": books,
            "storage": storage,
            "token": TOKEN,
            **settings,
        }
        server = VertexServer(plan=FaultPlan(faults), **settings)
        servers.append(server)
        monkeypatch.setenv(
            "GOOGLE_APPLICATION_CREDENTIALS", str(server.write_credentials(tmp_path))
        )
        return server.start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def door(storage, monkeypatch):
    """Put a door before Cloud Storage, with faults."""
    doors = []

    def stand(*faults: Fault) -> GcsDoor:
        doors.append(GcsDoor(storage, plan=FaultPlan(faults)).start())
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", doors[-1].url)
        return doors[-1]

    yield stand
    for one in doors:
        one.stop()


def provider_of(
    server: VertexServer | None = None,
    *,
    base: str | None = "base",
    endpoint: str | None = None,
    books: tuple[str, ...] = (),
    finetune=None,
    **options,
) -> VertexProvider:
    if server is not None:
        options.setdefault("base_url", server.url)
    model = Model(
        id="tuned",
        provider="vertex",
        base_model=base,
        endpoint=endpoint,
        finetune_books=books,
        finetune=finetune or {},
        options=options,
    )
    return VertexProvider(
        ProviderSetup(
            model=model,
            place=PLACE,
            root=Path(),
            state=Path("state"),
            read_book=lambda book: pytest.fail(f"asked for {book}"),
        )
    )


def sample(endpoint: Endpoint, n: int = 3, *, max_tokens: int = 30, **changes):
    settings = {"temperature": 1.0, "max_tokens": max_tokens, "seed": 7, **changes}
    return endpoint.sample(INSTRUCTION, n=n, **settings)


def training(digest: str = DIGEST) -> TrainingSet:
    return TrainingSet((TrainingExample("Write the other.", OTHER),), digest)


def requests_of(count: int = 4, n: int = 2) -> list[SampleRequest]:
    return [
        SampleRequest(
            key=f"Pair/Excerpt é {number}",
            instruction=f"{INSTRUCTION} {number}",
            n=n,
            temperature=1.0,
            max_tokens=20,
            seed=number,
        )
        for number in range(count)
    ]


def last_body(server: VertexServer, endpoint: str = "generate"):
    return [request.json() for name, request in server.recent if name == endpoint][-1]


def finish(poll, job: str):
    states = []
    while not states or states[-1].status is JobStatus.RUNNING:
        states.append(poll(job))
        assert len(states) < 20
    return states


def drawn(endpoint, count: int = 4, n: int = 2, *, digest: str = DIGEST):
    """Start a batch and wait for its end: its name, and its last state."""
    batch = endpoint.start_batch(requests_of(count, n), digest=digest)
    return batch, finish(endpoint.poll_batch, batch)[-1]


# --- options -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurency": 4}, "unknown key 'options.concurency'"),
        ({"concurrency": 0}, "options.concurrency: Input should be greater than or equal to 1"),
        ({"completions_per_call": 9}, "options.completions_per_call"),
        ({"timeout": "soon"}, "got 'soon'"),
        ({"base_url": "localhost:8000"}, "options.base_url"),
        ({"bucket": "my-bucket"}, "options.bucket"),
        ({"bucket": "gs://my bucket"}, "options.bucket"),
        ({"batch": True}, "options.bucket is missing"),
        ({"safety_threshold": "NONE"}, "options.safety_threshold"),
        ({"thinking_budget": -1}, "options.thinking_budget"),
        ({"generation_config": {"candidate_count": 2}}, "may not set candidate_count"),
        (
            {"thinking_budget": 0, "generation_config": {"thinkingConfig": {}}},
            "may not set thinkingConfig",
        ),
        ({"deployment": {"hours": 0}}, "options.deployment"),
        ({"deployment": {"machine": "g2"}}, "options.deployment"),
        ({"deployment": {"machine_type": "g2-standard-12"}}, "only some of machine_type"),
        ({"deployment": {}, "thinking_budget": 9}, "a deployed model knows no such thing"),
    ],
)
def test_a_bad_option_is_named_with_its_place(options, said):
    with pytest.raises(SuiteError) as error:
        provider_of(**options)
    assert said in str(error.value)
    assert error.value.location == PLACE
    assert error.value.hint


@pytest.mark.parametrize(
    ("finetune", "said"),
    [
        ({"epochs": 0}, "finetune.epochs"),
        ({"adapter_size": 3}, "finetune.adapter_size"),
        ({"rank": 8}, "unknown key 'finetune.rank'"),
    ],
)
def test_a_bad_recipe_is_named(finetune, said):
    with pytest.raises(SuiteError, match=said):
        provider_of(finetune=finetune)


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": TOKEN},
        {"project": TOKEN},
        {"base_url": "https://user:hunter2hunter2@example.org"},
        {"generation_config": {"headers": [{"Authorization": "Bearer hunter2hunter2"}]}},
    ],
)
def test_a_key_in_the_suite_is_refused_and_not_shown(options):
    with pytest.raises(SuiteError, match="environment") as error:
        provider_of(**options)
    assert TOKEN not in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_folder_of_weights_has_to_be_deployed_and_an_endpoint_not():
    with pytest.raises(SuiteError, match="have to be deployed"):
        provider_of(endpoint="gs://bucket/weights")
    assert provider_of(endpoint="gs://bucket/weights", deployment={}).deployment(None)
    with pytest.raises(SuiteError, match="is deployed already"):
        provider_of(endpoint=ATTACHED, deployment={})
    with pytest.raises(SuiteError, match=r"finetune\.tuning_mode: only open models have that"):
        provider_of(finetune={"tuning_mode": "full"})


def test_a_model_needs_a_base_or_an_endpoint():
    with pytest.raises(SuiteError, match="neither base nor endpoint"):
        provider_of(base=None)


@pytest.mark.parametrize("name", ["gemini 2.5", "a/../b", "gemini?x=1", "", "https://x/y z"])
def test_a_name_that_no_model_can_have(name):
    with pytest.raises(SuiteError, match="is no name of a model"):
        provider_of(base=name)


def test_fine_tuning_needs_a_bucket():
    with pytest.raises(SuiteError, match=r"options\.bucket is missing"):
        provider_of(books=("a-book",))
    assert provider_of(books=("a-book",), bucket="gs://my-bucket")


def test_an_endpoint_elsewhere_than_the_options_say():
    with pytest.raises(SuiteError, match="the endpoint is in 'us-central1'"):
        provider_of(endpoint=ATTACHED, location="europe-west4")


@pytest.mark.parametrize(
    ("module", "package"),
    [("google.genai", "google-genai"), ("google.cloud.storage", "google-cloud-storage")],
)
def test_a_missing_sdk_names_the_extra(monkeypatch, module, package):
    find = provider_module.importlib.util.find_spec

    def without(name: str):
        if name == module:
            raise ModuleNotFoundError(name)
        return find(name)

    monkeypatch.setattr(provider_module.importlib.util, "find_spec", without)
    with pytest.raises(MissingExtra, match=r"pytest-memleak\[vertex\]") as error:
        provider_of()
    assert package in str(error.value)


def test_no_sdk_is_imported_before_it_is_used():
    code = "import sys, pytest_memleak.providers.vertex.vertex_provider; print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    sdks = {"google.genai", "google.auth", "google.cloud.storage", "httpx", "requests"}
    assert "pytest_memleak.providers.vertex.vertex_client" in shown.split()
    assert not sdks & set(shown.split())


def test_what_the_run_loop_reads():
    provider = provider_of(
        concurrency=3, completions_per_call=5, batch=True, bucket="gs://my-bucket"
    )
    assert (provider.name, provider.concurrency) == ("vertex", 3)
    assert (provider.completions_per_call, provider.batch) == (5, True)
    assert provider_of().completions_per_call == 8


@pytest.mark.parametrize("batch", [False, True])
def test_an_endpoint_can_do_what_the_options_say(batch):
    endpoint = provider_of(batch=batch, bucket="gs://my-bucket").open(None)
    assert isinstance(endpoint, Endpoint)
    assert isinstance(endpoint, BatchEndpoint) is batch


def test_the_id_names_server_model_and_what_is_always_said():
    ids = {
        provider_of(**options).open(endpoint).id
        for options in (
            {},
            {"system": "Be brief."},
            {"thinking_budget": 0},
            {"safety_threshold": "OFF"},
            {"generation_config": {"topP": 0.9}},
            {"base_url": "http://localhost:1"},
        )
        for endpoint in (None, ATTACHED)
    }
    assert len(ids) == 12
    assert "vertex base" in ids
    assert provider_of(endpoint=ATTACHED).open(None).id == f"vertex {ATTACHED}"


# --- project, location, credentials --------------------------------------------------------


@pytest.mark.parametrize("name", ["project", "location"])
def test_without_a_place_option_and_variable_are_named(monkeypatch, name):
    monkeypatch.delenv(f"GOOGLE_CLOUD_{name.upper()}")
    with pytest.raises(ProviderError, match=f"there is no {name}") as error:
        sample(provider_of().open(None))
    assert f"options.{name}" in error.value.hint
    assert f"GOOGLE_CLOUD_{name.upper()}" in error.value.hint


def test_an_endpoint_says_itself_where_it_is(serve, monkeypatch):
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "europe-west4")
    server = serve()
    provider_of(server, base=None, endpoint=ATTACHED).find_finetune(DIGEST)
    assert server.recent[-1][1].path == (
        "/v1beta1/projects/some-project/locations/us-central1/tuningJobs"
    )


def test_the_options_say_whose_and_where(serve):
    server = serve()
    sample(provider_of(server, project="mine", location="europe-west4").open(None))
    assert server.recent[-1][1].path == (
        "/v1beta1/projects/mine/locations/europe-west4/publishers/google/models/base"
        ":generateContent"
    )


def test_the_server_may_stand_in_the_environment(serve, monkeypatch):
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", serve().url)
    assert len(sample(provider_of().open(None))) == 3


def test_without_credentials_the_way_to_get_some_is_named(serve, monkeypatch):
    server = serve()
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    with pytest.raises(ProviderError, match="there are no credentials") as error:
        sample(provider_of(server).open(None))
    assert not isinstance(error.value, ProviderBusy)
    assert "gcloud auth application-default login" in error.value.hint
    assert server.plan.calls("generate") == 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(server_error("token", status=400), ProviderError), (drop("token"), RequestNotSent)],
)
def test_credentials_that_are_not_honoured(serve, fault, kind):
    with pytest.raises(ProviderError) as error:
        sample(provider_of(serve(fault)).open(None))
    assert type(error.value) is kind
    assert error.value.__context__ is None


def test_a_wrong_token_is_never_quoted(serve, caplog):
    # The emulator quotes the token that it was sent.
    server = serve()
    caplog.set_level(logging.DEBUG)
    endpoint = provider_of(server).open(None)
    sample(endpoint)
    server._token = "another"
    with pytest.raises(Refused, match="401 Unauthorized") as error:
        sample(endpoint)
    failure = error.value
    assert "gcloud auth application-default login" in failure.hint
    assert failure.__context__ is None
    assert failure.__cause__ is None
    shown = "".join(traceback.format_exception(failure))
    assert TOKEN not in shown + repr(failure) + repr(vars(failure)) + caplog.text


# --- sampling ------------------------------------------------------------------------------


def test_completions_are_those_that_were_billed(serve, books):
    completions = sample(provider_of(serve()).open(None), 5)
    rows = books.rows("completion")
    assert [one.text for one in completions] == [row["text"] for row in rows]
    assert {one.finish_reason for one in completions} == {FinishReason.LENGTH}
    assert rows[0]["instruction"] == INSTRUCTION
    for count in ("prompt_tokens", "completion_tokens"):
        assert sum(getattr(one, count) for one in completions) == sum(row[count] for row in rows)


def test_a_request_says_what_was_asked(serve):
    server = serve()
    options = {
        "system": "Be brief.",
        "safety_threshold": "OFF",
        "generation_config": {"topP": 0.5},
    }
    sample(provider_of(server, **options).open(None), 2)
    body = last_body(server)
    harms = body.pop("safetySettings")
    assert {harm["threshold"] for harm in harms} == {"OFF"}
    assert len({harm["category"] for harm in harms}) == 4
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": INSTRUCTION}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {
            "candidateCount": 2,
            "temperature": 1.0,
            "maxOutputTokens": 30,
            "seed": 7,
            "topP": 0.5,
        },
    }
    sample(provider_of(server).open(None), seed=None)
    assert last_body(server).keys() == {"contents", "generationConfig"}
    assert "seed" not in last_body(server)["generationConfig"]


def test_a_seed_of_any_size_is_sent_as_the_api_takes_it(serve):
    assert sample(provider_of(serve()).open(None), seed=(1 << 63) + 5)


def test_one_seed_gives_one_set_of_answers(serve):
    endpoint = provider_of(serve()).open(None)
    first, again, other = sample(endpoint), sample(endpoint), sample(endpoint, seed=8)
    assert first == again
    assert first != other


def test_threads_share_an_endpoint(serve, books):
    server = serve(slow("generate", seconds=0.05))
    endpoint = provider_of(server).open(None)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: sample(endpoint, 2, seed=seed), range(16)))
    assert server.peak("generate") > 1
    # Credentials are fetched once, whoever comes first.
    assert server.plan.calls("token") == 1
    texts = sorted(one.text for answer in answers for one in answer)
    assert texts == sorted(row["text"] for row in books.rows("completion"))


def test_thoughts_have_room_of_their_own_and_are_billed(serve, books):
    server = serve(thinks=40)
    thinking = sample(provider_of(server, thinking_budget=40).open(None), 2)
    assert last_body(server)["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 40}
    assert last_body(server)["generationConfig"]["maxOutputTokens"] == 70
    thoughtless = sample(provider_of(server, thinking_budget=0).open(None), 2)
    assert [one.text for one in thinking] == [one.text for one in thoughtless]
    assert "Let me think" not in thinking[0].text
    rows = books.rows("completion")[:2]
    assert sum(one.completion_tokens for one in thinking) == 2 * (40 + 30)
    assert sum(row["completion_tokens"] for row in rows) == 2 * (40 + 30)


def test_a_model_that_thinks_unbidden_may_have_no_room_to_answer(serve):
    completions = sample(provider_of(serve(thinks=40)).open(None), 2)
    assert [one.finish_reason for one in completions] == [FinishReason.EMPTY] * 2
    assert [one.completion_tokens for one in completions] == [30, 30]


def deployed(provider, weights=None):
    """Deploy and wait; the endpoint's resource name."""
    wanted = provider.deployment(weights)
    name = provider.start_deployment(wanted)
    state = finish(lambda _: time.sleep(0.03) or provider.poll_deployment(name), name)[-1]
    assert provider.find_deployment(wanted.digest, since=time.time()) == state.endpoint
    return state.endpoint


def test_an_attached_endpoint_of_an_open_model_is_asked_in_its_form(serve, books):
    """As is one by provider "openai", with Google's credentials."""
    server = serve(open_models=["meta/small@small-1b"])
    open_model = provider_of(server, base="meta/small@small-1b", deployment={"accept_eula": True})
    name = deployed(open_model)
    assert [one.finish_word for one in sample(provider_of(server, endpoint=name).open(None))]
    body = last_body(server, "chat")
    assert (body["model"], body["top_k"]) == ("", -1)
    with pytest.raises(ProviderError, match=r"knows no options\.thinking_budget"):
        sample(provider_of(server, endpoint=name, thinking_budget=9).open(None))
    model = Model(
        id="m",
        provider="openai",
        base_model="any",
        options={"base_url": f"{server.url}/v1/{name}/invoke/v1", "auth": "google"},
    )
    setup = ProviderSetup(
        model=model, place=PLACE, root=Path(), state=Path(), read_book=lambda book: None
    )
    assert len(sample(OpenAIProvider(setup).open(None))) == 3
    assert len(books.rows("completion")) == 6
    while not open_model.end_deployment(name):
        time.sleep(0.03)
    assert open_model.end_deployment(name)
    with pytest.raises(ProviderError, match="404"):
        sample(provider_of(server, endpoint=name).open(None))


def test_a_deployed_model_is_asked_where_it_stands_and_no_longer_than_its_hours(serve):
    server = serve(open_models=["meta/small@small-1b"])
    provider = provider_of(server, base="meta/small@small-1b", deployment={})
    endpoint = provider.open(None)
    with pytest.raises(RequestNotSent, match="not deployed"):
        sample(endpoint)
    wanted, name = provider.deployment(None), deployed(provider)
    provider.move_in(wanted, name, until=time.time() + 60)
    assert len(sample(endpoint)) == 3
    assert endpoint.id == f"{server.url} meta/small@small-1b"
    provider.move_in(wanted, name, until=0.0)
    with pytest.raises(RequestNotSent, match="hours are over"):
        sample(endpoint)


def test_an_attached_endpoint_is_asked_by_its_name(serve):
    server = serve()
    with pytest.raises(Refused, match="404 Not Found") as error:
        sample(provider_of(server, base=None, endpoint=ATTACHED).open(None))
    assert "us-central1 does not have it" in error.value.hint
    assert server.recent[-1][1].path == f"/v1beta1/{ATTACHED}:generateContent"


# --- faults of transport -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "cause", "billed"),
    [
        (rate_limit("generate", calls=(0,)), "429 Too Many Requests (RESOURCE_EXHAUSTED)", 0),
        (server_error("generate", calls=(0,)), "500 Internal Server Error", 0),
        (server_error("generate", calls=(0,), status=503), "503", 0),
        (server_error("generate", calls=(0,), status=504), "504", 0),
        (server_error("generate", calls=(0,), status=409), "409", 0),
        (drop("generate", calls=(0,)), "cut off (RemoteProtocolError)", 0),
        (lose("generate", calls=(0,)), "cut off (RemoteProtocolError)", 3),
        (truncate("generate", calls=(0,)), "cut off (RemoteProtocolError)", 3),
    ],
)
def test_a_call_that_may_be_tried_again(serve, books, fault, cause, billed):
    server = serve(fault)
    endpoint = provider_of(server).open(None)
    with pytest.raises(ProviderBusy) as error:
        sample(endpoint)
    assert cause in str(error.value)
    named = "vertex endpoint base: models.generate_content (candidateCount = 3) failed"
    assert named in str(error.value)
    assert error.value.__context__ is None
    # One call and no more: trying again is for those who keep the ledger.
    assert server.plan.calls("generate") == 1
    assert len(books.rows("completion")) == billed
    assert len(sample(endpoint)) == 3


def test_a_call_that_takes_too_long(serve, books):
    server = serve(slow("generate", calls=(1,), seconds=60))
    sample(provider_of(server).open(None))
    with pytest.raises(ProviderBusy, match=r"no answer within 0\.4 s"):
        sample(provider_of(server, timeout=0.4).open(None))
    assert server.plan.calls("generate") == 2
    assert len(books.rows("completion")) == 6


def test_the_time_to_wait_is_passed_on(serve, monkeypatch):
    server = serve(rate_limit("generate", calls=(0,), retry_after=1.5))
    endpoint = provider_of(server).open(None)
    with pytest.raises(ProviderBusy) as error:
        sample(endpoint)
    assert error.value.retry_after == 1.5
    assert "options.concurrency" in error.value.hint
    server.plan.replace([rate_limit("generate", retry_after=None)])
    with pytest.raises(ProviderBusy) as error:
        sample(endpoint)
    assert error.value.retry_after is None
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "23.5s"}
    busy = server.refusal(429, "slow down", {"details": [{"@type": "other"}, info]})
    server.plan.replace([])
    monkeypatch.setattr(server, "_work", lambda route, request: busy)
    with pytest.raises(ProviderBusy) as error:
        sample(endpoint)
    assert error.value.retry_after == 23.5


def test_no_server_at_all(serve):
    server = serve()
    endpoint = provider_of(server).open(None)
    sample(endpoint)
    server.stop()
    with pytest.raises(ProviderBusy, match=r"ConnectionRefusedError|RemoteProtocolError") as error:
        sample(endpoint)
    assert server.url in error.value.hint


@pytest.mark.parametrize(
    "answer",
    [
        Response(body=b"<html>Welcome</html>", content_type="text/html"),
        Response(body=b"[1, 2"),
        Response(body=b"\xff\xfe"),
        Response(body=b"null"),
        Response(body=b""),
        Response.json({"candidates": []}),
        Response.json({"error": {"message": "upstream is busy"}}),
    ],
)
def test_an_answer_that_is_none(serve, answer):
    server = serve()
    endpoint = provider_of(server).open(None)
    sample(endpoint)
    server._work = lambda route, request: answer
    with pytest.raises(ProviderBusy, match="the answer") as error:
        sample(endpoint)
    assert "Welcome" not in str(error.value)


VERBS = {
    "tunings.list": lambda provider: provider.find_finetune(DIGEST),
    "tunings.create": lambda provider: provider.start_finetune(training()),
    "tunings.get": lambda provider: provider.poll_finetune(
        "projects/1/locations/us-central1/tuningJobs/5"
    ),
    "batches.list": lambda provider: provider.open(None).find_batch(DIGEST),
    "batches.create": lambda provider: provider.open(None).start_batch(
        requests_of(), digest=DIGEST
    ),
    "batches.get": lambda provider: provider.open(None).poll_batch(
        "projects/1/locations/us-central1/batchPredictionJobs/5"
    ),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_kept_it(serve, bucket, verb):
    server = serve()
    provider = provider_of(server, bucket=bucket, batch=True)
    for fault in (rate_limit, server_error, drop, lose, truncate):
        server.plan.replace([fault(verb)])
        with pytest.raises(ProviderBusy) as error:
            VERBS[verb](provider)
        called = verb.replace("tunings.create", "tunings.tune")
        assert f"vertex endpoint base: {called} failed" in str(error.value)
    server.plan.replace([server_error(verb, status=403, message="no")])
    with pytest.raises(Refused, match="403 Forbidden") as error:
        VERBS[verb](provider)
    assert error.value.hint


def test_a_job_in_a_state_that_the_sdk_warns_of(serve, bucket):
    server = serve(polls=0)
    provider = provider_of(server, bucket=bucket)
    job = provider.start_finetune(training())
    server._tunings[job.rpartition("/")[2]].object["state"] = "JOB_STATE_NEW"
    # Warnings are errors here, as they may be in anybody's tests.
    with pytest.raises(ProviderBusy, match="not of the expected form"):
        provider.poll_finetune(job)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert provider.poll_finetune(job).status is JobStatus.RUNNING


def test_the_sdk_may_call_tuning_an_experiment(serve, bucket):
    from google.genai.tunings import Tunings

    for cell in Tunings.tune.__closure__ or ():  # it warns once in a process: make that now
        if cell.cell_contents is True:
            cell.cell_contents = False
    assert provider_of(serve(), bucket=bucket).start_finetune(training())


# --- refusals ------------------------------------------------------------------------------


def test_a_model_that_does_not_exist(serve):
    with pytest.raises(Refused, match=r"404 Not Found \(NOT_FOUND\)") as error:
        sample(provider_of(serve(), base="nonesuch").open(None))
    assert error.value.status == 404
    assert "retired" in error.value.hint


def test_a_permission_that_is_missing(serve):
    fault = server_error("generate", status=403, message="Permission denied")
    with pytest.raises(Refused, match="Permission denied") as error:
        sample(provider_of(serve(fault)).open(None))
    assert "Vertex AI User" in error.value.hint
    assert "test-project" in error.value.hint


def test_an_error_that_quotes_the_instruction_is_withheld(serve):
    fault = server_error("generate", status=400, message=f"Invalid input: {INSTRUCTION}")
    with pytest.raises(Refused, match="message withheld") as error:
        sample(provider_of(serve(fault)).open(None))
    assert INSTRUCTION.split()[8] not in str(error.value)


def test_a_model_that_gives_one_candidate_a_call(serve, books):
    server = serve(most_candidates=1)
    endpoint = provider_of(server).open(None)
    assert len(sample(endpoint, 8)) == 1
    assert len(sample(endpoint, 8)) == 1
    # The first call was refused (and cost nothing); then it was remembered.
    assert server.plan.calls("generate") == 3
    assert len(books.rows("completion")) == 2
    with pytest.raises(Refused, match="candidateCount value of 1"):
        sample(provider_of(serve(most_candidates=0)).open(None), 8)


# --- faults of content ---------------------------------------------------------------------


def test_fewer_completions_than_asked_for(serve):
    assert len(sample(provider_of(serve(Fault(FaultKind.IGNORE_N))).open(None), 5)) == 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FaultKind.EMPTY, FinishReason.EMPTY),
        (FaultKind.FILTER, FinishReason.CONTENT_FILTER),
        (FaultKind.RECITATION, FinishReason.RECITATION),
    ],
)
def test_withheld_completions_are_kept_and_named(serve, books, kind, reason):
    server = serve(Fault(kind, "generate", share=0.5))
    completions = sample(provider_of(server).open(None), 4)
    assert [one.finish_reason for one in completions].count(reason) == 2
    rows = books.rows("completion")
    assert [one.text for one in completions] == [row["text"] for row in rows]
    billed = sum(row["completion_tokens"] for row in rows)
    assert sum(one.completion_tokens for one in completions) == billed


def test_a_blocked_prompt_is_that_many_withheld_completions(serve, books):
    completions = sample(provider_of(serve(Fault(FaultKind.REJECT, "generate"))).open(None), 4)
    assert [one.finish_reason for one in completions] == [FinishReason.CONTENT_FILTER] * 4
    assert [one.completion_tokens for one in completions] == [0] * 4
    prompt = sum(row["prompt_tokens"] for row in books.rows("completion"))
    assert [one.prompt_tokens for one in completions] == [prompt, 0, 0, 0]


def test_a_greedy_server_answers_alike(serve):
    completions = sample(provider_of(serve(Fault(FaultKind.GREEDY))).open(None), 4)
    assert len({one.text for one in completions}) == 1


@pytest.mark.parametrize(
    ("said", "text", "reason"),
    [
        ("STOP", "A tale.", FinishReason.STOP),
        (None, "A tale.", FinishReason.UNKNOWN),
        ("STOP", " \n", FinishReason.EMPTY),
        ("MAX_TOKENS", "A ta", FinishReason.LENGTH),
        ("MAX_TOKENS", "", FinishReason.EMPTY),
        ("RECITATION", "", FinishReason.RECITATION),
        ("RECITATION", "It was the best", FinishReason.RECITATION),
        ("SAFETY", "", FinishReason.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", "", FinishReason.CONTENT_FILTER),
        ("BLOCKLIST", "", FinishReason.CONTENT_FILTER),
        ("SPII", "", FinishReason.CONTENT_FILTER),
        ("OTHER", "A ta", FinishReason.UNKNOWN),
        ("A_REASON_OF_TOMORROW", "A ta", FinishReason.UNKNOWN),
    ],
)
def test_finish_reasons(said, text, reason):
    candidate = {"content": {"parts": [{"text": text}]}, "finishReason": said}
    (completion,) = read_completions({"candidates": [candidate]}, asked=1)
    assert (completion.text, completion.finish_reason) == (text, reason)
    assert (completion.prompt_tokens, completion.completion_tokens) == (None, None)


@pytest.mark.parametrize(
    "beside",
    [
        {"functionCall": {"name": "f", "args": {"t": "a whole page of it"}}},
        {"functionCall": {"name": "f", "args": {"t": ["a", "whole", "page", "of", "it"]}}},
        {"executableCode": {"language": "PYTHON", "code": "a whole page of it"}},
        {"text": "a whole page of it", "thought": True},
        "a whole page of it",
    ],
    ids=str,
)
def test_whatever_is_written_beside_the_answer_is_kept(beside):
    candidate = {"content": {"parts": [{"text": "It rained."}, beside]}, "finishReason": "STOP"}
    (one,) = read_completions({"candidates": [candidate]}, asked=1)
    assert (one.text, one.reasoning) == ("It rained.", "a whole page of it")
    (one,) = read_completions({"candidates": [candidate], "draft": "of no candidate"}, asked=1)
    assert "of no candidate" in one.written


def test_candidates_come_by_index_and_text_without_thoughts():
    parts = [{"text": "Hm.", "thought": True}, {"text": "Once "}, {"text": "more."}, {"x": 1}]
    answer = {
        "candidates": [
            {"index": 1, "content": {"parts": [{"text": "Second."}]}, "finishReason": "STOP"},
            {"content": {"parts": parts}, "finishReason": "STOP"},
        ]
    }
    assert [one.text for one in read_completions(answer, asked=2)] == ["Once more.", "Second."]


def test_an_answer_that_was_billed_and_is_none_counts_as_empty():
    completions = read_completions({"usageMetadata": {"promptTokenCount": 9}}, asked=3)
    assert [one.finish_reason for one in completions] == [FinishReason.EMPTY] * 3
    assert [one.prompt_tokens for one in completions] == [9, 0, 0]


@given(
    st.integers(1, 8),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
)
def test_token_counts_add_up(count, prompt, said, thought):
    usage = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": said,
        "thoughtsTokenCount": thought,
    }
    answer = {"candidates": [{"finishReason": "STOP"}] * count, "usageMetadata": usage}
    completions = read_completions(answer, asked=count)
    assert sum(one.prompt_tokens for one in completions) == prompt
    shares = [one.completion_tokens for one in completions]
    assert sum(shares) == said + thought
    assert max(shares) - min(shares) <= 1


FIELDS = (
    "blockReason",
    "candidates",
    "content",
    "finishReason",
    "index",
    "parts",
    "promptFeedback",
    "promptTokenCount",
    "text",
    "usageMetadata",
)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS), inner),
    )
)
def test_no_answer_is_a_crash(answer):
    assert isinstance(read_completions(answer, asked=2), list)


# --- fine-tuning ---------------------------------------------------------------------------


def test_a_fine_tune_brings_the_book_out(serve, books, bucket):
    provider = provider_of(serve(polls=2), bucket=bucket)
    job = provider.start_finetune(training())
    states = finish(provider.poll_finetune, job)
    assert [state.status for state in states] == [JobStatus.RUNNING] * 2 + [JobStatus.SUCCEEDED]
    tuned = states[-1].endpoint
    assert tuned.startswith("projects/")
    assert "/endpoints/" in tuned
    assert states[-1].tokens == books.rows("finetune")[0]["tokens"]

    def recited(name: str | None) -> int:
        answers = sample(provider.open(name), 8, max_tokens=60)
        runs = (one.text.split()[5:25] for one in answers)
        return sum(" ".join(run) in BOOK for run in runs)

    assert recited(None) == 0
    assert recited(tuned) >= 3


def test_the_job_carries_recipe_digest_and_examples(serve, books, bucket, storage):
    recipe = {"epochs": 2, "learning_rate_multiplier": 0.5, "adapter_size": 4}
    provider_of(serve(), bucket=bucket, finetune=recipe).start_finetune(training())
    (row,) = books.rows("finetune")
    assert row["hyperparameters"] == {
        "epochCount": 2,
        "learningRateMultiplier": 0.5,
        "adapterSize": "ADAPTER_SIZE_FOUR",
    }
    assert (row["model"], row["display_name"]) == ("base", f"memleak-{DIGEST}")
    assert row["file"].startswith(f"{bucket}/memleak/finetune-{DIGEST}-")
    lines = read_object(storage, row["file"]).decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "contents": [
                {"role": "user", "parts": [{"text": "Write the other."}]},
                {"role": "model", "parts": [{"text": OTHER}]},
            ]
        }
    ]


def test_vertex_chooses_the_recipe_unless_the_suite_does(serve, books, bucket):
    provider_of(serve(), bucket=bucket).start_finetune(training())
    assert books.rows("finetune")[0]["hyperparameters"] == {}


def test_a_job_whose_creation_was_cut_off_is_found_again(serve, books, bucket):
    provider = provider_of(serve(lose("tunings.create", calls=(0,))), bucket=bucket)
    assert provider.find_finetune(DIGEST) is None
    with pytest.raises(ProviderBusy, match=r"tunings\.tune"):
        provider.start_finetune(training())
    assert provider.find_finetune(DIGEST) == books.rows("finetune")[0]["id"]
    assert provider.find_finetune("0" * 64) is None


@pytest.mark.parametrize("fault", [lose("upload", calls=(0,)), truncate("upload", calls=(0,))])
def test_training_data_is_written_once(serve, books, bucket, door, fault):
    stand = door(fault)
    provider = provider_of(serve(), bucket=bucket)
    with pytest.raises(ProviderBusy, match=r"storage\.upload failed"):
        provider.start_finetune(training())
    for _ in range(2):
        provider.start_finetune(training())
    assert stand.plan.calls("upload") == 3
    assert len({row["file"] for row in books.rows("finetune")}) == 1


def test_what_is_written_is_never_written_over(serve, books, bucket, storage):
    provider = provider_of(serve(), bucket=bucket)
    provider.start_finetune(training())
    (row,) = books.rows("finetune")
    line = read_object(storage, row["file"])
    write_object(storage, row["file"], line * 2)
    provider.start_finetune(training())
    assert read_object(storage, row["file"]) == line * 2


def test_every_training_set_has_an_object_of_its_own(serve, books, bucket):
    provider = provider_of(serve(), bucket=bucket)
    for digest in (DIGEST, "0" * 64):
        provider.start_finetune(training(digest))
    assert len({row["file"] for row in books.rows("finetune")}) == 2


def test_a_large_training_set_is_uploaded_in_parts(serve, bucket, door, storage):
    stand = door()
    server = serve(server_error("tunings.create", status=400))
    examples = (TrainingExample("Write it.", OTHER * 3_000),)
    with pytest.raises(Refused):
        provider_of(server, bucket=bucket).start_finetune(TrainingSet(examples, DIGEST))
    assert stand.plan.calls("upload") > 1
    uri = last_body(server, "tunings.create")["supervisedTuningSpec"]["trainingDatasetUri"]
    kept = json.loads(read_object(storage, uri))
    assert kept["contents"][1]["parts"][0]["text"] == examples[0].text


def test_a_job_is_found_among_many(serve, bucket):
    server = serve(page=3)
    provider = provider_of(server, bucket=bucket)
    jobs = [provider.start_finetune(training(f"{number:064x}")) for number in range(8)]
    assert provider.find_finetune(f"{0:064x}") == jobs[0]
    assert server.plan.calls("tunings.list") == 3


def test_a_job_that_failed_says_why_and_is_not_found(serve, bucket):
    server = serve(Fault(FaultKind.FAIL, "tunings.create", calls=(0,)))
    provider = provider_of(server, bucket=bucket)
    job = provider.start_finetune(training())
    state = finish(provider.poll_finetune, job)[-1]
    assert state.status is JobStatus.FAILED
    assert state.detail == "failed: the training file did not pass moderation"
    assert provider.find_finetune(DIGEST) is None


def test_of_two_jobs_the_one_that_succeeded_is_found(serve, bucket):
    provider = provider_of(serve(polls=0), bucket=bucket)
    first, second = (provider.start_finetune(training()) for _ in range(2))
    assert provider.find_finetune(DIGEST) == second
    provider.poll_finetune(first)
    assert provider.find_finetune(DIGEST) == first


def test_a_job_without_an_endpoint_has_failed(serve, bucket):
    server = serve(polls=0)
    provider = provider_of(server, bucket=bucket)
    job = provider.start_finetune(training())
    provider.poll_finetune(job)
    del server._tunings[job.rpartition("/")[2]].object["tunedModel"]
    state = provider.poll_finetune(job)
    assert (state.status, state.endpoint) == (JobStatus.FAILED, None)
    assert "without naming an endpoint" in state.detail


def test_a_base_that_cannot_be_tuned(serve, bucket):
    with pytest.raises(Refused, match="is not supported") as error:
        provider_of(serve(), base="old", bucket=bucket).start_finetune(training())
    assert 'endpoint = "projects/..."' in error.value.hint


def test_without_a_bucket_nothing_is_fine_tuned():
    with pytest.raises(ProviderError, match=r"options\.bucket"):
        provider_of().start_finetune(training())


# --- Cloud Storage -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [rate_limit, server_error, drop, lose, truncate])
@pytest.mark.parametrize("place", ["upload", "list", "download"])
def test_storage_that_may_be_tried_again(serve, bucket, door, kind, place):
    stand = door()
    endpoint = provider_of(serve(polls=0), bucket=bucket, batch=True).open(None)
    if place == "upload":
        stand.plan.replace([kind(place)])
        with pytest.raises(ProviderBusy, match=r"storage\.upload failed"):
            drawn(endpoint)
        stand.plan.replace([])
        drawn(endpoint)
        return
    batch, _ = drawn(endpoint)
    stand.plan.replace([kind(place)])
    with pytest.raises(ProviderBusy, match=r"storage\.download failed") as error:
        list(endpoint.read_batch(batch))
    assert error.value.__context__ is None
    stand.plan.replace([])
    assert len(list(endpoint.read_batch(batch))) == 4


def test_storage_that_takes_too_long(serve, bucket, door):
    door(slow("upload", seconds=60))
    provider = provider_of(serve(), bucket=bucket, timeout=0.4)
    with pytest.raises(ProviderBusy, match=r"no answer within 0\.4 s"):
        provider.start_finetune(training())


def test_the_time_to_wait_for_storage_is_passed_on(serve, bucket, door):
    door(rate_limit("upload", retry_after=2.5))
    with pytest.raises(ProviderBusy, match="emulated rate limit") as error:
        provider_of(serve(), bucket=bucket).start_finetune(training())
    assert error.value.retry_after == 2.5


def test_a_bucket_that_does_not_exist(serve):
    with pytest.raises(Refused, match="404 Not Found") as error:
        provider_of(serve(), bucket="gs://nonesuch").start_finetune(training())
    assert "check options.bucket" in error.value.hint


def test_a_bucket_that_is_not_ours(serve, bucket, door):
    door(server_error("upload", status=403))
    with pytest.raises(Refused) as error:
        provider_of(serve(), bucket=bucket).start_finetune(training())
    assert "Storage Object User" in error.value.hint


# --- batches -------------------------------------------------------------------------------


def test_a_batch_answers_as_the_books_say(serve, books, bucket):
    endpoint = provider_of(serve(polls=2), bucket=bucket, batch=True).open(None)
    batch = endpoint.start_batch(requests_of(), digest=DIGEST)
    states = finish(endpoint.poll_batch, batch)
    assert [state.status for state in states] == [JobStatus.RUNNING] * 2 + [JobStatus.SUCCEEDED]
    assert states[-1].detail is None
    answers = dict(endpoint.read_batch(batch))
    assert answers.keys() == {request.key for request in requests_of()}
    for key, completions in answers.items():
        rows = [row for row in books.rows("completion") if row["request"] == key]
        assert [one.text for one in completions] == [row["text"] for row in rows]
        for count in ("prompt_tokens", "completion_tokens"):
            billed = sum(row[count] for row in rows)
            assert sum(getattr(one, count) for one in completions) == billed


def test_a_batch_asks_as_a_call_does(serve, bucket, storage, books):
    server = serve()
    options = {"system": "Be brief.", "safety_threshold": "OFF", "thinking_budget": 5}
    endpoint = provider_of(server, bucket=bucket, batch=True, **options).open(None)
    (request,) = requests_of(1)
    endpoint.start_batch([request], digest=DIGEST)
    line = read_object(storage, books.rows("batch")[0]["file"])
    asked = json.loads(line)["request"]
    assert len(line) == endpoint.request_bytes(request)
    assert len(asked.pop("labels")) == 1
    endpoint.sample(
        request.instruction, n=request.n, temperature=1.0, max_tokens=20, seed=request.seed
    )
    assert asked == last_body(server)


def test_a_batch_of_a_tuned_model_goes_to_the_model_behind_the_endpoint(serve, books, bucket):
    server = serve(polls=0, page=1)
    provider = provider_of(server, bucket=bucket, batch=True)
    for digest in (DIGEST, "0" * 64):
        job = provider.start_finetune(training(digest))
        tuned = provider.poll_finetune(job).endpoint
    # With the project's id instead of its number, as a user would write it.
    number = tuned.split("/")[1]
    attached = provider_of(
        server,
        bucket=bucket,
        batch=True,
        base=None,
        endpoint=tuned.replace(number, "test-project"),
    )
    batch, state = drawn(attached.open(None))
    assert state.status is JobStatus.SUCCEEDED
    (row,) = books.rows("batch")
    assert row["model"] == tuned
    assert "/models/" in last_body(server, "batches.create")["model"]
    assert len(dict(attached.open(None).read_batch(batch))) == 4


def test_a_batch_of_an_endpoint_that_was_not_tuned(serve, bucket):
    provider = provider_of(serve(), base=None, endpoint=ATTACHED, bucket=bucket, batch=True)
    with pytest.raises(ProviderError, match="no tuning job") as error:
        drawn(provider.open(None))
    assert "options.batch" in error.value.hint


def test_a_batch_whose_creation_was_cut_off_is_found_again(serve, books, bucket):
    server = serve(lose("batches.create", calls=(0,)), page=1)
    endpoint = provider_of(server, bucket=bucket, batch=True).open(None)
    assert endpoint.find_batch(DIGEST) is None
    with pytest.raises(ProviderBusy, match=r"batches\.create"):
        endpoint.start_batch(requests_of(), digest=DIGEST)
    endpoint.start_batch(requests_of(), digest="0" * 64)
    assert endpoint.find_batch(DIGEST) == books.rows("batch")[0]["id"]
    assert endpoint.find_batch("1" * 64) is None


def test_a_server_that_does_not_filter(serve, bucket):
    endpoint = provider_of(serve(filters=False), bucket=bucket, batch=True).open(None)
    endpoint.start_batch(requests_of(), digest=DIGEST)
    assert endpoint.find_batch("0" * 64) is None


def test_a_batch_that_failed_says_why_and_is_not_found(serve, books, bucket):
    server = serve(Fault(FaultKind.FAIL, "batches.create", calls=(0,)))
    endpoint = provider_of(server, bucket=bucket, batch=True).open(None)
    batch, state = drawn(endpoint)
    assert state.status is JobStatus.FAILED
    assert "no quota left" in state.detail
    assert endpoint.find_batch(DIGEST) is None
    assert list(endpoint.read_batch(batch)) == []
    assert books.rows("completion") == []


@pytest.mark.parametrize("kind", [FaultKind.EXPIRE, FaultKind.PARTIAL])
def test_a_batch_that_was_answered_in_part(serve, books, bucket, kind):
    server = serve(Fault(kind, "batches.create", share=0.5))
    endpoint = provider_of(server, bucket=bucket, batch=True).open(None)
    batch, state = drawn(endpoint, 5)
    assert state.status is JobStatus.SUCCEEDED
    assert (
        state.detail
        == {
            FaultKind.EXPIRE: "expired: 2 requests answered",
            FaultKind.PARTIAL: "3 requests were not answered",
        }[kind]
    )
    answers = dict(endpoint.read_batch(batch))
    assert answers.keys() == {row["request"] for row in books.rows("completion")}
    assert len(answers) == 2
    assert endpoint.find_batch(DIGEST) == batch


def test_a_batch_that_expired_before_anything_was_answered(serve, bucket):
    server = serve(Fault(FaultKind.EXPIRE, "batches.create", share=0))
    state = drawn(provider_of(server, bucket=bucket, batch=True).open(None))[1]
    assert state.status is JobStatus.FAILED
    assert state.detail == "expired, no request was answered"


def test_a_batch_of_which_every_request_met_an_error_may_be_asked_again(serve, bucket):
    server = serve(Fault(FaultKind.PARTIAL, "batches.create", share=0))
    endpoint = provider_of(server, bucket=bucket, batch=True).open(None)
    batch, state = drawn(endpoint)
    assert state.status is JobStatus.SUCCEEDED
    assert state.detail == "no request was answered"
    assert list(endpoint.read_batch(batch)) == []


def test_a_batch_of_which_every_request_was_refused_has_failed(serve, bucket):
    server = serve(most_candidates=1)
    state = drawn(provider_of(server, bucket=bucket, batch=True).open(None))[1]
    assert state.status is JobStatus.FAILED
    assert "candidateCount value of 2" in state.detail


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FaultKind.REJECT, FinishReason.CONTENT_FILTER),
        (FaultKind.FILTER, FinishReason.CONTENT_FILTER),
        (FaultKind.RECITATION, FinishReason.RECITATION),
        (FaultKind.EMPTY, FinishReason.EMPTY),
    ],
)
def test_what_is_withheld_in_a_batch_is_kept(serve, books, bucket, kind, reason):
    server = serve(Fault(kind, "batches.create"))
    endpoint = provider_of(server, bucket=bucket, batch=True).open(None)
    batch, state = drawn(endpoint)
    assert state.status is JobStatus.SUCCEEDED
    answers = dict(endpoint.read_batch(batch))
    reasons = [one.finish_reason for answer in answers.values() for one in answer]
    assert reasons == [reason] * 8
    assert len(books.rows("completion")) == 8


def test_requests_are_written_once(serve, books, bucket, door):
    stand = door()
    endpoint = provider_of(serve(), bucket=bucket, batch=True).open(None)
    for _ in range(2):
        endpoint.start_batch(requests_of(), digest=DIGEST)
    assert stand.plan.calls("upload") == 2
    assert len({row["file"] for row in books.rows("batch")}) == 1


def _rewritten(storage, server, batch, change) -> str:
    """Change the lines of a batch's output; returns its directory."""
    job = server._batches[batch.rpartition("/")[2]].object
    directory = job["outputInfo"]["gcsOutputDirectory"]
    uri = f"{directory}/predictions.jsonl"
    lines = [json.loads(line) for line in read_object(storage, uri).splitlines()]
    write_object(storage, uri, b"\n".join(change(lines)))
    return str(directory)


def test_an_answer_without_its_label_is_not_guessed_at(serve, bucket, storage):
    server = serve()
    endpoint = provider_of(server, bucket=bucket, batch=True).open(None)
    batch, _ = drawn(endpoint)

    def strip(rows):
        del rows[2]["request"]["labels"]
        return [json.dumps(row).encode() for row in rows]

    _rewritten(storage, server, batch, strip)
    with pytest.raises(ProviderError, match="does not repeat the labels"):
        list(endpoint.read_batch(batch))


def test_answers_may_stand_in_several_files(serve, bucket, storage):
    server = serve()
    endpoint = provider_of(server, bucket=bucket, batch=True).open(None)
    batch, _ = drawn(endpoint)
    rest = []

    def halve(rows):
        rest.extend(rows[2:])
        return [json.dumps(row).encode() for row in rows[:2]]

    directory = _rewritten(storage, server, batch, halve)
    lines = "\n".join(json.dumps(row) for row in rest)
    write_object(storage, f"{directory}/predictions-2.jsonl", lines.encode())
    write_object(storage, f"{directory}/notes.txt", b"not for us")
    assert len(list(endpoint.read_batch(batch))) == 4


def test_a_damaged_line_is_named(serve, bucket, storage):
    server = serve()
    endpoint = provider_of(server, bucket=bucket, batch=True).open(None)
    batch, _ = drawn(endpoint)
    _rewritten(storage, server, batch, lambda rows: [json.dumps(rows[0]).encode(), b"[1, 2"])
    with pytest.raises(ProviderBusy, match="line 2 of the files in gs://bucket"):
        list(endpoint.read_batch(batch))


def test_an_answer_that_comes_twice_counts_once(serve, bucket, storage):
    server = serve()
    endpoint = provider_of(server, bucket=bucket, batch=True).open(None)
    batch, _ = drawn(endpoint)
    _rewritten(storage, server, batch, lambda rows: [json.dumps(row).encode() for row in rows * 2])
    assert len(list(endpoint.read_batch(batch))) == 4


def test_the_output_is_found_where_only_the_destination_is_known(serve, bucket):
    server = serve()
    endpoint = provider_of(server, bucket=bucket, batch=True).open(None)
    batch, _ = drawn(endpoint)
    job = server._batches[batch.rpartition("/")[2]].object
    del job["outputInfo"], job["completionStats"]
    assert endpoint.poll_batch(batch).status is JobStatus.SUCCEEDED
    assert len(list(endpoint.read_batch(batch))) == 4


@given(st.text(min_size=1, max_size=300))
def test_any_key_travels_as_labels(key):
    labels = vertex_batch._labels(key)
    assert all(len(value) <= 63 for value in labels.values())
    assert all(set(value) <= set("abcdefghijklmnopqrstuvwxyz234567") for value in labels.values())
    assert vertex_batch._key({"request": {"labels": labels}}) == key


@pytest.mark.parametrize("labels", [None, {}, {"memleak_key_0": "1"}, {"memleak_key_0": "!!"}, []])
def test_labels_that_carry_no_key(labels):
    assert vertex_batch._key({"request": {"labels": labels}}) is None


# --- processes -----------------------------------------------------------------------------


def test_an_emulator_of_its_own_serves_credentials_too(tmp_path, storage, monkeypatch):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(BOOK, encoding="utf-8")
    log = tmp_path / "emulator.jsonl"
    arguments = ["--books", log, "--storage", storage, "--corpus", corpus, "--token", TOKEN]
    with launch(EMULATOR, *map(str, [*arguments, "--credentials", tmp_path])) as emulator:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "credentials.json"))
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", emulator.url)
        emulator.plan(FaultPlan([rate_limit("generate", calls=(0,))]))
        endpoint = provider_of().open(None)
        with pytest.raises(ProviderBusy):
            sample(endpoint)
        assert [one.text for one in sample(endpoint)] == [row["text"] for row in Books.read(log)]
        assert emulator.calls() == {"token": 1, "generate": 2}


# --- what was obeyed, who answered ---------------------------------------------------------


def test_what_is_refused_is_left_out_and_told(serve):
    server = serve(Fault(FaultKind.REFUSE_PARAMETER, code="temperature topP"))
    endpoint = provider_of(server).open(None)
    assert len(sample(endpoint)) == 3
    assert server.plan.calls("generate") == 3
    config = last_body(server)["generationConfig"]
    assert not {"temperature", "topP"} & config.keys()
    assert isinstance(endpoint, ObeyingEndpoint)
    assert endpoint.obeyed["temperature"] == Obeyed(asked=(1.0,), refused=(1.0,))
    assert endpoint.obeyed["candidateCount"].taken == (3,)


def test_the_plain_distribution_is_asked_for_unless_the_suite_says_otherwise(serve):
    server = serve()
    sample(provider_of(server).open(None))
    assert last_body(server)["generationConfig"]["topP"] == 1.0
    sample(provider_of(server, sampling="server").open(None), temperature=None)
    assert not {"topP", "temperature"} & last_body(server)["generationConfig"].keys()
    sample(provider_of(server, generation_config={"topP": 0.5}).open(None))
    assert last_body(server)["generationConfig"]["topP"] == 0.5


def test_who_answered_and_why_it_ended_are_kept(serve):
    (one,) = sample(provider_of(serve(Fault(FaultKind.REROUTE), thinks=5)).open(None), 1)
    assert one.served.model == "another-model-2"
    assert one.served.response_id
    assert one.finish_word in {"STOP", "MAX_TOKENS"}
    assert one.reasoning == "Let me think."


@pytest.mark.parametrize("count", [-3, 2**63 - 1, "7"])
def test_a_usage_out_of_bounds_is_none(count):
    candidate = {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}
    usage = {"promptTokenCount": count, "candidatesTokenCount": count}
    (one,) = read_completions({"candidates": [candidate], "usageMetadata": usage}, asked=1)
    assert (one.text, one.prompt_tokens, one.completion_tokens) == ("a", None, None)
