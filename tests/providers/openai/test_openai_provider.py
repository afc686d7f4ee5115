"""What is the "openai" provider's own, against an OpenAI server on loopback."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

import clients
import pytest
from clients import DIGEST, INSTRUCTION, OTHER, make_provider, requests_of, sample, training
from faults import Fault, FaultKind, drop, lose, server_error
from http_server import Response

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.interfaces.protocols import JobStatus, SampleRequest
from pytest_memleak.providers.call_errors import Refused
from pytest_memleak.providers.openai.choices import read_completions
from pytest_memleak.records import FinishReason

KEY = "sk-proj-Vq3x9LmT0aZr7Bn2Kd5W"
provider_of = partial(make_provider, "openai")
last_body = partial(clients.last_body, endpoint="chat")


@pytest.fixture
def name():
    return "openai"


def test_the_key_comes_from_the_named_variable(serve, monkeypatch):
    server = serve(key=KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-one-0123456789")
    monkeypatch.setenv("MY_SERVER_KEY", KEY)
    assert sample(provider_of(server, api_key_env="MY_SERVER_KEY").open(None))
    with pytest.raises(Refused):
        sample(provider_of(server).open(None))


# --- sampling ------------------------------------------------------------------------------


def test_a_request_says_what_was_asked(serve):
    server = serve()
    options = {"extra_body": {"top_p": 0.5}, "system": "Be brief.", "sampling": "server"}
    sample(provider_of(server, **options).open(None), 2)
    assert last_body(server) == {
        "model": "base",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": INSTRUCTION},
        ],
        "n": 2,
        "temperature": 1.0,
        "max_completion_tokens": 30,
        "seed": 7,
        "top_p": 0.5,
    }
    sample(provider_of(server).open(None), seed=None)
    assert "seed" not in last_body(server)


# --- faults of transport -------------------------------------------------------------------


def test_the_time_to_wait_may_be_a_date(serve, monkeypatch):
    server = serve()
    late = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    busy = Response.json({"error": {}}, status=503, headers={"Retry-After": late})
    monkeypatch.setattr(server, "check_key", lambda request: None)
    monkeypatch.setattr(server, "_work", lambda route, request: busy)
    with pytest.raises(ProviderBusy) as error:
        sample(provider_of(server).open(None))
    assert 0 < error.value.retry_after <= 100


# --- refusals of the server ----------------------------------------------------------------


def test_a_server_that_has_no_batches(serve):
    server = serve(server_error("files.*", status=404))
    endpoint = provider_of(server, batch=True).open(None)
    with pytest.raises(Refused, match="404 Not Found") as error:
        endpoint.start_batch(requests_of(), digest=DIGEST)
    assert "options.batch" in error.value.hint


def test_an_account_without_credit_is_not_asked_again(serve):
    fault = server_error("chat", status=429, code="insufficient_quota")
    with pytest.raises(Refused) as error:
        sample(provider_of(serve(fault)).open(None))
    assert "no credit" in error.value.hint


def test_an_echo_of_the_request_is_not_shown(serve, monkeypatch):
    server = serve()
    echo = Response.json({"detail": [{"msg": "no", "input": INSTRUCTION}]}, status=422)
    monkeypatch.setattr(server, "_work", lambda route, request: echo)
    with pytest.raises(Refused) as error:
        sample(provider_of(server).open(None))
    assert INSTRUCTION[:30] not in str(error.value)


def test_text_that_cannot_be_sent():
    endpoint = provider_of(base_url="http://127.0.0.1:9/v1").open(None)
    with pytest.raises(ProviderError, match="can't be sent"):
        endpoint.sample("\ud800", n=1, temperature=1.0, max_tokens=5, seed=None)


# --- faults of content ---------------------------------------------------------------------


def test_an_old_server_is_asked_by_the_old_name(serve, books):
    server = serve(Fault(FaultKind.OLD_MAX_TOKENS))
    provider = provider_of(server)
    for _ in range(2):
        assert len(sample(provider.open(None))) == 3
    assert last_body(server)["max_tokens"] == 30
    # The first call was refused (and cost nothing); then the old name was remembered.
    assert server.plan.calls("chat") == 3
    assert len(books.rows("completion")) == 6


def test_threads_that_learn_the_old_name_at_once(serve):
    server = serve(Fault(FaultKind.OLD_MAX_TOKENS))
    endpoint, gate = provider_of(server).open(None), threading.Barrier(6)

    def ask(seed: int) -> int:
        gate.wait()
        return len(sample(endpoint, seed=seed))

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6))) == [3] * 6


def test_a_server_that_ignores_the_new_name_is_asked_by_the_old_one(serve):
    server = serve(Fault(FaultKind.DEAF_MAX_TOKENS))
    endpoint = provider_of(server).open(None)
    first, second = sample(endpoint, 1), sample(endpoint, 1)
    assert first[0].completion_tokens > 30
    assert second[0].completion_tokens == 30


def test_a_name_that_the_suite_has_settled_is_kept(serve):
    server = serve(Fault(FaultKind.OLD_MAX_TOKENS))
    with pytest.raises(Refused, match="max_completion_tokens"):
        sample(provider_of(server, max_tokens_parameter="max_completion_tokens").open(None))
    sample(provider_of(server, max_tokens_parameter="max_tokens").open(None))
    assert "max_completion_tokens" not in last_body(server)


def test_a_server_that_allows_fewer_completions_in_a_call(serve):
    server = serve(most_choices=4)
    endpoint = provider_of(server).open(None)
    assert len(sample(endpoint, 10)) == 4
    assert len(sample(endpoint, 10)) == 4
    assert len(sample(endpoint, 1)) == 1
    assert server.plan.calls("chat") == 4
    with pytest.raises(Refused, match="expected a value of 1 to 0"):
        sample(provider_of(serve(most_choices=0)).open(None), 8)


# --- answers that are kept -----------------------------------------------------------------


def test_an_answer_lost_on_its_way_is_found_again(serve, books):
    endpoint = provider_of(serve(lose("chat", calls=(0,))), store=True).open(None)
    settings = {"n": 3, "temperature": 1.0, "max_tokens": 30, "seed": 1}
    with pytest.raises(ProviderBusy):
        endpoint.sample_as("run-1/0", INSTRUCTION, **settings)
    found = endpoint.recover("run-1/0")
    assert [one.text for one in found] == [row["text"] for row in books.rows("completion")]
    assert {row["request"] for row in books.rows("completion")} == {"run-1/0"}
    assert found == endpoint.sample_as("run-1/1", INSTRUCTION, **settings)


def test_a_call_that_never_arrived_left_nothing(serve):
    endpoint = provider_of(serve(drop("chat")), store=True).open(None)
    with pytest.raises(ProviderBusy):
        endpoint.sample_as("a", INSTRUCTION, n=1, temperature=1.0, max_tokens=5, seed=None)
    assert endpoint.recover("a") is None


def test_only_named_requests_are_kept(serve):
    server = serve()
    sample(provider_of(server, store=True).open(None))
    assert "store" not in last_body(server)


# --- fine-tuning ---------------------------------------------------------------------------


def test_the_job_carries_recipe_digest_and_examples(serve, books):
    server = serve()
    recipe = {"epochs": 2, "learning_rate_multiplier": 0.5, "seed": 11, "suffix": "mine"}
    provider_of(server, finetune=recipe, system="Be brief.").start_finetune(training())
    (row,) = books.rows("finetune")
    assert row["hyperparameters"] == {
        "n_epochs": 2,
        "batch_size": 1,
        "learning_rate_multiplier": 0.5,
    }
    assert (row["seed"], row["suffix"], row["model"]) == (11, "mine", "base")
    assert row["metadata"] == {"memleak_digest": DIGEST}
    (upload,) = books.rows("upload")
    assert upload["purpose"] == "fine-tune"
    lines = server._files[upload["id"]].data.decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "messages": [
                {"role": "user", "content": "Write the other."},
                {"role": "assistant", "content": OTHER},
            ]
        }
    ]


def test_the_papers_recipe_is_the_default(serve, books):
    provider_of(serve()).start_finetune(training())
    (row,) = books.rows("finetune")
    assert row["hyperparameters"] == {"n_epochs": 1, "batch_size": 1}
    assert row["suffix"] == f"memleak-{DIGEST[:12]}"


def test_a_server_that_cannot_filter_by_metadata(serve):
    server = serve(filters=False)
    provider = provider_of(server, store=True)
    provider.start_finetune(training())
    assert provider.find_finetune("0" * 64) is None
    endpoint = provider.open(None)
    endpoint.sample_as("a", INSTRUCTION, n=1, temperature=1.0, max_tokens=5, seed=None)
    assert endpoint.recover("b") is None
    assert len(endpoint.recover("a")) == 1


# --- batches -------------------------------------------------------------------------------


def test_the_size_of_a_batch_is_known_beforehand(serve):
    server = serve()
    endpoint = provider_of(server, batch=True).open(None)
    requests = [*requests_of(3), SampleRequest("é", "“ö\ud800”", 1, 0.5, 3)]
    endpoint.start_batch(requests, digest=DIGEST)
    (file,) = server._files.values()
    assert len(file.data) == sum(endpoint.request_bytes(request) for request in requests)
    assert (endpoint.max_batch_requests, endpoint.max_batch_bytes) == (50_000, 200_000_000)


def test_a_batch_that_was_cancelled_keeps_what_was_answered(serve):
    server = serve(Fault(FaultKind.PARTIAL, "batches.create", share=0.5), polls=0)
    endpoint = provider_of(server, batch=True).open(None)
    batch = endpoint.start_batch(requests_of(), digest=DIGEST)
    endpoint.poll_batch(batch)
    server._batches[batch].object["status"] = "cancelled"
    state = endpoint.poll_batch(batch)
    assert state.status is JobStatus.SUCCEEDED
    assert state.detail == "cancelled: 2 of 4 requests were answered"


def test_a_results_file_that_is_damaged(serve):
    server = serve(polls=0)
    endpoint = provider_of(server, batch=True).open(None)
    batch = endpoint.start_batch(requests_of(), digest=DIGEST)
    endpoint.poll_batch(batch)
    file = server._files[server._batches[batch].object["output_file_id"]]
    file.data = file.data[:-40] + b"\n"
    with pytest.raises(ProviderBusy, match=r"line 4 of file \S+ isn't a JSON object"):
        list(endpoint.read_batch(batch))


# --- reading answers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "text", "reason"),
    [
        ({"message": {"content": "a"}, "finish_reason": "stop"}, "a", FinishReason.STOP),
        ({"message": {"content": "a"}, "finish_reason": "length"}, "a", FinishReason.LENGTH),
        ({"message": {"content": "a"}, "finish_reason": None}, "a", FinishReason.UNKNOWN),
        ({"message": {"content": " \n"}, "finish_reason": "stop"}, " \n", FinishReason.EMPTY),
        ({"message": {"content": None}, "finish_reason": "length"}, "", FinishReason.EMPTY),
        ({"message": None, "finish_reason": "stop"}, "", FinishReason.EMPTY),
        ({"message": {"content": "a"}, "finish_reason": "abort"}, "a", FinishReason.UNKNOWN),
        (
            {"message": {"content": "a"}, "finish_reason": "content_filter"},
            "a",
            FinishReason.CONTENT_FILTER,
        ),
        (
            {"message": {"content": None}, "finish_reason": "content_filter: RECITATION"},
            "",
            FinishReason.RECITATION,
        ),
        (
            {"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"},
            "No.",
            FinishReason.REFUSAL,
        ),
        (
            {
                "message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}, 3]},
                "finish_reason": "stop",
            },
            "ab",
            FinishReason.STOP,
        ),
    ],
)
def test_finish_reasons(choice, text, reason):
    (completion,) = read_completions({"choices": [choice]})
    assert (completion.text, completion.finish_reason) == (text, reason)
    assert (completion.prompt_tokens, completion.completion_tokens) == (None, None)
