"""What is the "vertex" provider's own, against a Vertex AI and a Cloud Storage server."""

from __future__ import annotations

import json
import time
import warnings
from functools import partial

import clients
import pytest
from clients import (
    DIGEST,
    INSTRUCTION,
    OTHER,
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

from pytest_memleak.errors import ProviderBusy, ProviderError, RequestNotSent, SuiteError
from pytest_memleak.interfaces.protocols import JobStatus, TrainingExample, TrainingSet
from pytest_memleak.providers.call_errors import Refused
from pytest_memleak.providers.vertex import vertex_batch
from pytest_memleak.providers.vertex.gemini import read_completions
from pytest_memleak.records import FinishReason

ATTACHED = "projects/some-project/locations/us-central1/endpoints/77"
provider_of = partial(make_provider, "vertex")


@pytest.fixture
def name():
    return "vertex"


def last_body(server, endpoint="generate"):
    return clients.last_body(server, endpoint)


def drawn(endpoint, count: int = 4, n: int = 2, *, digest: str = DIGEST):
    """Start a batch and wait for its end: its name, and its last state."""
    batch = endpoint.start_batch(requests_of(count, n), digest=digest)
    return batch, finish(endpoint.poll_batch, batch)[-1]


# --- options -------------------------------------------------------------------------------


def test_a_folder_of_weights_has_to_be_deployed_and_an_endpoint_not():
    with pytest.raises(SuiteError, match="must be deployed"):
        provider_of(endpoint="gs://bucket/weights")
    assert provider_of(endpoint="gs://bucket/weights", deployment={}).deployment(None)
    with pytest.raises(SuiteError, match="is already deployed"):
        provider_of(endpoint=ATTACHED, deployment={})


def test_an_endpoint_elsewhere_than_the_options_say():
    with pytest.raises(SuiteError, match="the endpoint is in 'us-central1'"):
        provider_of(endpoint=ATTACHED, location="europe-west4")


# --- project, location, credentials --------------------------------------------------------


@pytest.mark.parametrize("name", ["project", "location"])
def test_without_a_place_option_and_variable_are_named(monkeypatch, name):
    monkeypatch.delenv(f"GOOGLE_CLOUD_{name.upper()}")
    with pytest.raises(ProviderError, match=f"No {name} is set") as error:
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


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(server_error("token", status=400), ProviderError), (drop("token"), RequestNotSent)],
)
def test_credentials_that_are_not_honoured(serve, fault, kind):
    with pytest.raises(ProviderError) as error:
        sample(provider_of(serve(fault)).open(None))
    assert type(error.value) is kind
    assert error.value.__context__ is None


# --- sampling ------------------------------------------------------------------------------


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


def test_thoughts_have_room_of_their_own_and_are_billed(serve, books):
    server = serve(thinks=40)
    thinking = sample(provider_of(server, thinking_budget=40).open(None), 2)
    assert last_body(server)["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 40}
    assert last_body(server)["generationConfig"]["maxOutputTokens"] == 70
    thoughtless = sample(provider_of(server, thinking_budget=0).open(None), 2)
    assert [one.text for one in thinking] == [one.text for one in thoughtless]
    assert "Let me think" not in thinking[0].text
    assert thinking[0].reasoning == "Let me think."
    assert thinking[0].finish_word in {"STOP", "MAX_TOKENS"}
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


@pytest.mark.full
def test_an_attached_endpoint_of_an_open_model_is_asked_in_its_form(serve, books):
    """As is one by provider "openai", with Google's credentials."""
    server = serve(open_models=["meta/small@small-1b"])
    open_model = provider_of(server, base="meta/small@small-1b", deployment={"accept_eula": True})
    name = deployed(open_model)
    assert [one.finish_word for one in sample(provider_of(server, endpoint=name).open(None))]
    body = last_body(server, "chat")
    assert (body["model"], body["top_k"]) == ("", -1)
    with pytest.raises(ProviderError, match=r"doesn't support options\.thinking_budget"):
        sample(provider_of(server, endpoint=name, thinking_budget=9).open(None))
    url = f"{server.url}/v1/{name}/invoke/v1"
    assert len(sample(make_provider("openai", base_url=url, auth="google").open(None))) == 3
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
    with pytest.raises(RequestNotSent, match="isn't deployed"):
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


def test_the_time_to_wait_may_stand_among_the_details(serve, monkeypatch):
    server = serve()
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "23.5s"}
    busy = server.refusal(429, "slow down", {"details": [{"@type": "other"}, info]})
    endpoint = provider_of(server).open(None)
    sample(endpoint)
    monkeypatch.setattr(server, "_work", lambda route, request: busy)
    with pytest.raises(ProviderBusy) as error:
        sample(endpoint)
    assert error.value.retry_after == 23.5
    assert "options.concurrency" in error.value.hint


def test_a_job_in_a_state_that_the_sdk_warns_of(serve, bucket):
    server = serve(polls=0)
    provider = provider_of(server, bucket=bucket)
    job = provider.start_finetune(training())
    server._tunings[job.rpartition("/")[2]].object["state"] = "JOB_STATE_NEW"
    # Warnings are errors here, as they may be in anybody's tests.
    with pytest.raises(ProviderBusy, match="has an unexpected form"):
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


def test_a_permission_that_is_missing(serve):
    fault = server_error("generate", status=403, message="Permission denied")
    with pytest.raises(Refused, match="Permission denied") as error:
        sample(provider_of(serve(fault)).open(None))
    assert "Vertex AI User" in error.value.hint
    assert "test-project" in error.value.hint


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


def test_a_job_without_an_endpoint_has_failed(serve, bucket):
    server = serve(polls=0)
    provider = provider_of(server, bucket=bucket)
    job = provider.start_finetune(training())
    provider.poll_finetune(job)
    del server._tunings[job.rpartition("/")[2]].object["tunedModel"]
    state = provider.poll_finetune(job)
    assert (state.status, state.endpoint) == (JobStatus.FAILED, None)
    assert "without naming an endpoint" in state.detail


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
    with pytest.raises(ProviderError, match="No tuning job") as error:
        drawn(provider.open(None))
    assert "options.batch" in error.value.hint


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
    with pytest.raises(ProviderError, match="doesn't repeat its request's labels"):
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
