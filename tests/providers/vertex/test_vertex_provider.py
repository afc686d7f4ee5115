"""What is the "vertex" provider's own, against a Vertex AI and a Cloud Storage server."""

import json
import warnings
from functools import partial

import clients
import pytest
from clients import (
    DIGEST,
    INSTRUCTION,
    OTHER,
    deploy,
    finish,
    make_provider,
    requests_of,
    sample,
    training,
)
from faults import drop, lose, rate_limit, server_error, slow, truncate
from gcs_server import read_object, write_object
from hypothesis import given
from hypothesis import strategies as st
from marks import full

from pytest_memleak.errors import (
    ProviderBusy,
    ProviderError,
    RequestNotSent,
    SuiteError,
)
from pytest_memleak.interfaces.protocols import JobStatus, TrainingExample, TrainingSet
from pytest_memleak.providers.call_errors import RequestRejected
from pytest_memleak.providers.vertex import vertex_batch
from pytest_memleak.providers.vertex.gemini import read_completions
from pytest_memleak.records import FinishReason

ATTACHED = "projects/some-project/locations/us-central1/endpoints/77"
OUTPUT = "predictions.jsonl"
OPEN = "meta/small@small-1b"
ASIDE = "a whole page of it"
provider_of = partial(make_provider, "vertex")


@pytest.fixture
def batching(tuning):
    return lambda server, **options: tuning(server, batch=True, **options).open(None)


def last_body(server, endpoint="generate"):
    return clients.last_body(server, endpoint)


def run_batch(endpoint):
    """Start a batch and wait for its end: its name, and its last state."""
    batches = endpoint.abilities.batches
    batch = batches.start(requests_of(), DIGEST)
    return batch, finish(batches.poll, batch)[-1]


def test_contradicting_options_are_rejected():
    for options, message in (
        ({"endpoint": "gs://bucket/weights"}, "must be deployed"),
        ({"endpoint": ATTACHED, "deployment": {}}, "is already deployed"),
        (
            {"endpoint": ATTACHED, "location": "europe-west4"},
            "the endpoint is in 'us-central1'",
        ),
    ):
        with pytest.raises(SuiteError, match=message):
            provider_of(**options)
    assert provider_of(
        endpoint="gs://bucket/weights", deployment={}
    ).abilities.deployments.needed(None)


@pytest.mark.parametrize("name", ["project", "location"])
def test_a_missing_place_is_named_with_option_and_variable(monkeypatch, name):
    monkeypatch.delenv(f"GOOGLE_CLOUD_{name.upper()}")
    with pytest.raises(ProviderError, match=f"No {name} is set") as error:
        sample(provider_of().open(None))
    assert f"options.{name}" in error.value.hint
    assert f"GOOGLE_CLOUD_{name.upper()}" in error.value.hint


def test_endpoint_options_or_environment_say_whose_and_where(serve, monkeypatch):
    server = serve()
    sample(provider_of(server, project="mine", location="europe-west4").open(None))
    place = "/v1beta1/projects/mine/locations/europe-west4"
    request_path = f"{place}/publishers/google/models/base:generateContent"
    assert server.recent[-1][1].path == request_path
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", server.url)
    assert len(sample(provider_of().open(None))) == 3
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "europe-west4")
    attached = provider_of(server, base=None, endpoint=ATTACHED)
    attached.find_finetune(DIGEST)
    place = "/v1beta1/projects/some-project/locations/us-central1"
    assert server.recent[-1][1].path == f"{place}/tuningJobs"
    with pytest.raises(RequestRejected, match="404 Not Found") as error:
        sample(attached.open(None))
    assert "us-central1 doesn't have this model" in error.value.hint
    assert server.recent[-1][1].path == f"/v1beta1/{ATTACHED}:generateContent"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (server_error("token", status=400), ProviderError),
        (drop("token"), RequestNotSent),
    ],
)
def test_credentials_that_are_not_honoured(serve, fault, kind):
    with pytest.raises(ProviderError) as error:
        sample(provider_of(serve(fault)).open(None))
    assert type(error.value) is kind
    assert error.value.__context__ is None


def test_a_request_says_what_was_asked(serve):
    server = serve()
    config = {"topP": 0.5}
    options = {
        "system": "Be brief.",
        "safety_threshold": "OFF",
        "generation_config": config,
    }
    sample(provider_of(server, **options).open(None), 2)
    body = last_body(server)
    harms = body.pop("safetySettings")
    assert {harm["threshold"] for harm in harms} == {"OFF"}
    assert len({harm["category"] for harm in harms}) == 4
    settings = {
        "candidateCount": 2,
        "temperature": 1.0,
        "maxOutputTokens": 30,
        "seed": 7,
    }
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": INSTRUCTION}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {**settings, **config},
    }
    sample(provider_of(server).open(None), seed=None)
    assert last_body(server).keys() == {"contents", "generationConfig"}
    assert "seed" not in last_body(server)["generationConfig"]
    assert sample(
        provider_of(server).open(None), seed=(1 << 63) + 5
    )  # as the API takes it


def test_thoughts_have_room_of_their_own_and_are_billed(serve, books):
    server = serve(thinks=40)
    thinking = sample(provider_of(server, thinking_budget=40).open(None), 2)
    assert last_body(server)["generationConfig"]["thinkingConfig"] == {
        "thinkingBudget": 40
    }
    assert last_body(server)["generationConfig"]["maxOutputTokens"] == 70
    thoughtless = sample(provider_of(server, thinking_budget=0).open(None), 2)
    assert [answer.text for answer in thinking] == [
        answer.text for answer in thoughtless
    ]
    assert "Let me think" not in thinking[0].text
    assert thinking[0].reasoning == "Let me think."
    assert thinking[0].finish_word in {"STOP", "MAX_TOKENS"}
    rows = books.rows("completion")[:2]
    assert sum(answer.completion_tokens for answer in thinking) == 2 * (40 + 30)
    assert sum(row["completion_tokens"] for row in rows) == 2 * (40 + 30)
    unbidden = sample(provider_of(server).open(None), 2)  # no room to answer
    assert [answer.finish_reason for answer in unbidden] == [FinishReason.EMPTY] * 2
    assert [answer.completion_tokens for answer in unbidden] == [30, 30]


@pytest.mark.full
def test_an_attached_endpoint_of_an_open_model_is_asked_in_its_form(serve, books):
    """As is one by provider "openai", with Google's credentials."""
    server = serve(open_models=[OPEN])
    name = deploy(provider_of(server, base=OPEN, deployment={"accept_eula": True}))
    assert all(
        answer.finish_word
        for answer in sample(provider_of(server, endpoint=name).open(None))
    )
    body = last_body(server, "chat")
    assert (body["model"], body["top_k"]) == ("", -1)
    with pytest.raises(
        ProviderError, match=r"doesn't support options\.thinking_budget"
    ):
        sample(provider_of(server, endpoint=name, thinking_budget=9).open(None))
    url = f"{server.url}/v1/{name}/invoke/v1"
    assert (
        len(sample(make_provider("openai", base_url=url, auth="google").open(None)))
        == 3
    )
    assert len(books.rows("completion")) == 6


@pytest.mark.parametrize(
    "beside",
    [
        *(
            {"functionCall": {"name": "f", "args": {"t": message}}}
            for message in (ASIDE, ASIDE.split())
        ),
        {"executableCode": {"language": "PYTHON", "code": ASIDE}},
        {"text": ASIDE, "thought": True},
        ASIDE,
    ],
    ids=str,
)
def test_whatever_is_written_beside_the_answer_is_kept(beside):
    candidate = {
        "content": {"parts": [{"text": "It rained."}, beside]},
        "finishReason": "STOP",
    }
    (answer,) = read_completions({"candidates": [candidate]}, n=1)
    assert (answer.text, answer.reasoning) == ("It rained.", ASIDE)
    (answer,) = read_completions(
        {"candidates": [candidate], "draft": "of no candidate"}, n=1
    )
    assert "of no candidate" in answer.written


def test_candidates_come_by_index_and_text_without_thoughts():
    parts = [
        {"text": "Hm.", "thought": True},
        {"text": "Once "},
        {"text": "more."},
        {"x": 1},
    ]
    second = {
        "index": 1,
        "content": {"parts": [{"text": "Second."}]},
        "finishReason": "STOP",
    }
    first = {"content": {"parts": parts}, "finishReason": "STOP"}
    completions = read_completions({"candidates": [second, first]}, n=2)
    assert [answer.text for answer in completions] == ["Once more.", "Second."]
    # One that was billed and is none counts as empty.
    completions = read_completions({"usageMetadata": {"promptTokenCount": 9}}, n=3)
    assert [answer.finish_reason for answer in completions] == [FinishReason.EMPTY] * 3
    assert [answer.prompt_tokens for answer in completions] == [9, 0, 0]


FIELDS = (
    *("blockReason", "candidates", "content", "finishReason", "index", "parts"),
    *("promptFeedback", "promptTokenCount", "text", "usageMetadata"),
)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS), inner),
    )
)
def test_no_answer_is_a_crash(answer):
    assert isinstance(read_completions(answer, n=2), list)


def test_the_job_carries_recipe_digest_and_examples(
    serve, books, tuning, bucket, storage
):
    server = serve()
    recipe = {"epochs": 2, "learning_rate_multiplier": 0.5, "adapter_size": 4}
    tuning(server, finetune=recipe).start_finetune(training())
    tuning(server).start_finetune(training("0" * 64))
    row, plain = books.rows("finetune")
    rate = {"learningRateMultiplier": 0.5}
    assert row["hyperparameters"] == {
        "epochCount": 2,
        **rate,
        "adapterSize": "ADAPTER_SIZE_FOUR",
    }
    assert plain["hyperparameters"] == {}  # Vertex chooses
    assert (row["model"], row["display_name"]) == ("base", f"memleak-{DIGEST}")
    assert row["file"].startswith(f"{bucket}/memleak/finetune-{DIGEST}-")
    lines = read_object(storage, row["file"]).decode().splitlines()
    turns = (("user", "Write the other."), ("model", OTHER))
    contents = [{"role": role, "parts": [{"text": text}]} for role, text in turns]
    assert [json.loads(line) for line in lines] == [{"contents": contents}]


@pytest.mark.parametrize(
    "fault", [lose("upload", calls=(0,)), truncate("upload", calls=(0,))]
)
def test_training_data_is_written_once_and_never_over(
    serve, books, tuning, door, storage, fault
):
    stand = door(fault)
    provider = tuning(serve())
    with pytest.raises(ProviderBusy, match=r"storage\.upload failed"):
        provider.start_finetune(training())
    provider.start_finetune(training())
    (row,) = books.rows("finetune")
    twice = read_object(storage, row["file"]) * 2
    write_object(storage, row["file"], twice)
    provider.start_finetune(training())
    assert stand.plan.calls("upload") == 3
    assert len({row["file"] for row in books.rows("finetune")}) == 1
    assert read_object(storage, row["file"]) == twice


def test_a_large_training_set_is_uploaded_in_parts(serve, tuning, door, storage):
    stand = door()
    server = serve(server_error("tunings.create", status=400))
    examples = (TrainingExample("Write it.", OTHER * 3_000),)
    with pytest.raises(RequestRejected):
        tuning(server).start_finetune(TrainingSet(examples, DIGEST))
    assert stand.plan.calls("upload") > 1
    uri = last_body(server, "tunings.create")["supervisedTuningSpec"][
        "trainingDatasetUri"
    ]
    kept = json.loads(read_object(storage, uri))
    assert kept["contents"][1]["parts"][0]["text"] == examples[0].text


def test_a_job_in_an_odd_state(serve, tuning):
    server = serve(polls=0)
    provider = tuning(server)
    job = provider.start_finetune(training())
    kept = server._tunings[job.rpartition("/")[2]].object
    kept["state"] = "JOB_STATE_NEW"
    # The SDK warns of it, and warnings are errors here, as they may be in anybody's
    # tests.
    with pytest.raises(ProviderBusy, match="has an unexpected format"):
        provider.poll_finetune(job)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert provider.poll_finetune(job).status is JobStatus.RUNNING
    kept["state"] = "JOB_STATE_SUCCEEDED"
    state = provider.poll_finetune(job)
    assert (state.status, state.endpoint) == (JobStatus.FAILED, None)
    assert "without naming an endpoint" in state.detail


@pytest.mark.parametrize(
    "kind", [rate_limit, lose, *map(full, (server_error, drop, truncate))]
)
@pytest.mark.parametrize("place", ["upload", "list", "download"])
def test_storage_that_may_be_tried_again(serve, batching, door, kind, place):
    stand = door()
    endpoint = batching(serve(polls=0))
    if place == "upload":
        stand.plan.replace([kind(place)])
        with pytest.raises(ProviderBusy, match=r"storage\.upload failed"):
            run_batch(endpoint)
        stand.plan.replace([])
    batch, _ = run_batch(endpoint)
    if place != "upload":
        stand.plan.replace([kind(place)])
        with pytest.raises(ProviderBusy, match=r"storage\.download failed") as error:
            list(endpoint.abilities.batches.read(batch))
        assert error.value.__context__ is None
        stand.plan.replace([])
    assert len(dict(endpoint.abilities.batches.read(batch))) == 4


def test_storage_that_takes_too_long(serve, tuning, door):
    door(slow("upload", seconds=60))
    with pytest.raises(ProviderBusy, match=r"no response within 0\.4 s"):
        tuning(serve(), timeout=0.4).start_finetune(training())


@pytest.mark.parametrize(("fault", "bucket_of", "kind", "message"), [
    (rate_limit("upload", retry_after=2.5), None, ProviderBusy, "emulated rate limit"),
    (server_error("upload", status=403), None, RequestRejected, "Storage Object User"),
    (None, "gs://nonesuch", RequestRejected,
     "(?s)404 Not Found.*check that the bucket in options.bucket exists"),
    (None, "", ProviderError, r"options\.bucket"),
])  # fmt: skip
def test_storage_that_refuses(serve, bucket, door, fault, bucket_of, kind, message):
    door(*([fault] if fault else []))
    own = {"bucket": bucket_of or bucket} if bucket_of != "" else {}
    with pytest.raises(kind, match=message) as error:
        provider_of(serve(), **own).start_finetune(training())
    assert getattr(error.value, "retry_after", None) == (
        2.5 if kind is ProviderBusy else None
    )


def test_a_batch_asks_as_a_call_does(serve, batching, storage, books):
    server = serve()
    options = {"system": "Be brief.", "safety_threshold": "OFF", "thinking_budget": 5}
    endpoint = batching(server, **options)
    (request,) = requests_of(1)
    endpoint.abilities.batches.start([request], DIGEST)
    line = read_object(storage, books.rows("batch")[0]["file"])
    sent = json.loads(line)["request"]
    assert len(line) == endpoint.abilities.batches.request_bytes(request)
    assert len(sent.pop("labels")) == 1
    sample(endpoint, request.n, request.instruction, max_tokens=20, seed=request.seed)
    assert sent == last_body(server)


def test_a_batch_of_a_tuned_model_goes_to_the_model_behind_the_endpoint(
    serve, books, tuning
):
    server = serve(polls=0)
    for digest in (DIGEST, "0" * 64):
        job = tuning(server).start_finetune(training(digest))
        tuned = tuning(server).poll_finetune(job).endpoint
    # With the project's id instead of its number, as a user would write it.
    endpoint = tuned.replace(tuned.split("/")[1], "test-project")
    attached = tuning(server, batch=True, base=None, endpoint=endpoint)
    batch, state = run_batch(attached.open(None))
    assert state.status is JobStatus.SUCCEEDED
    assert [row["model"] for row in books.rows("batch")] == [tuned]
    assert "/models/" in last_body(server, "batches.create")["model"]
    assert len(dict(attached.open(None).abilities.batches.read(batch))) == 4


def test_a_batch_of_an_endpoint_that_was_not_tuned(serve, batching):
    with pytest.raises(ProviderError, match="No tuning job") as error:
        run_batch(batching(serve(), base=None, endpoint=ATTACHED))
    assert "options.batch" in error.value.hint


NOTES = {"notes.txt": ["not for us"]}
FILES = {
    "unlabeled": lambda rows: {OUTPUT: [*rows[:2], {**rows[2], "request": {}}]},
    "damaged": lambda rows: {OUTPUT: [rows[0], "[1, 2"]},
    "doubled": lambda rows: {OUTPUT: rows * 2},
    "scattered": lambda rows: {
        OUTPUT: rows[:2],
        "predictions-2.jsonl": rows[2:],
        **NOTES,
    },
}


@pytest.mark.parametrize(("files", "kind", "message"), [
    ("unlabeled", ProviderError, "lacks its request's labels"),
    ("damaged", ProviderBusy, "line 2 of the files in gs://bucket"),
    *(("doubled", None, ""), ("scattered", None, "")),
])  # fmt: skip
def test_the_files_of_a_batch(serve, batching, storage, files, kind, message):
    server = serve()
    endpoint = batching(server)
    batch, _ = run_batch(endpoint)
    job = server._batches[batch.rpartition("/")[2]].object
    folder = job["outputInfo"]["gcsOutputDirectory"]
    lines = read_object(storage, f"{folder}/{OUTPUT}").splitlines()
    for name, rows in FILES[files]([json.loads(line) for line in lines]).items():
        text = "\n".join(
            row if isinstance(row, str) else json.dumps(row) for row in rows
        )
        write_object(storage, f"{folder}/{name}", text.encode())
    if kind is None:
        assert len(dict(endpoint.abilities.batches.read(batch))) == 4
        # They are found where only the destination is known.
        del job["outputInfo"], job["completionStats"]
        assert endpoint.abilities.batches.poll(batch).status is JobStatus.SUCCEEDED
        assert len(dict(endpoint.abilities.batches.read(batch))) == 4
        return
    with pytest.raises(kind, match=message):
        list(endpoint.abilities.batches.read(batch))


@given(st.text(min_size=1, max_size=300))
def test_any_key_travels_as_labels(key):
    labels = vertex_batch._labels_of_key(key)
    assert all(len(value) <= 63 for value in labels.values())
    assert all(
        set(value) <= set("abcdefghijklmnopqrstuvwxyz234567")
        for value in labels.values()
    )
    assert vertex_batch._key_in_row({"request": {"labels": labels}}) == key
    for labels in (None, {}, {"memleak_key_0": "1"}, {"memleak_key_0": "!!"}, []):
        assert vertex_batch._key_in_row({"request": {"labels": labels}}) is None
